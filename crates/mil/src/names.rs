//! Identifiers: what names the format allows, and how any other string becomes one.
//!
//! Source of the rule: coremltools 9.0, `NameSanitizer`, and the comment on identifiers in its `MIL.proto`.

/// Words that MIL's text form keeps for itself.
const RESERVED: [&str; 24] = [
    "any", "bool", "program", "func", "tensor", "list", "dict", "tuple", "true", "false", "string", "bf16", "fp16",
    "fp32", "fp64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "state",
];

/// True for `[A-Za-z_][A-Za-z0-9_@]*` that is no reserved word.
#[must_use]
pub fn is_identifier(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '@')
        && !RESERVED.contains(&name)
}

/// Turns any string into an identifier: other characters become `_`, a leading digit gets the prefix
/// `var_`, a reserved word the suffix `_workaround`.
#[must_use]
pub fn sanitize(name: &str) -> String {
    let mut out: String = name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect();
    if out.is_empty() || out.starts_with(|c: char| c.is_ascii_digit()) {
        out.insert_str(0, "var_");
    }
    if RESERVED.contains(&out.as_str()) {
        out.push_str("_workaround");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{is_identifier, sanitize};

    #[test]
    fn any_string_becomes_an_identifier() {
        for s in ["", "a.b", "1x", "state", "été", "x@y", "a b/c"] {
            assert!(is_identifier(&sanitize(s)), "{s:?} became {:?}", sanitize(s));
        }
        assert_eq!(sanitize("down_blocks.0.conv"), "down_blocks_0_conv");
    }
}
