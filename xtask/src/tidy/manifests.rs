//! Manifests: each external dependency has its reason, each member the workspace's lints.

use super::{SourceFile, numbered};

/// Lines of `[workspace.dependencies]` that do not end with what the dependency is for.
/// Members of the workspace need none: their own manifests describe them.
pub(super) fn reasons(file: &SourceFile) -> Vec<String> {
    section(&file.text, "[workspace.dependencies]")
        .filter(|(_, line)| line.contains('=') && !line.starts_with('#') && !line.contains("path ="))
        .filter(|(_, line)| line.rsplit_once("# ").is_none_or(|(_, reason)| reason.trim().len() < 3))
        .map(|(number, line)| {
            let name = line.split('=').next().unwrap_or_default().trim();
            format!("{}:{number}: {name} does not say what it is for (a comment at the end of its line)", file.path)
        })
        .collect()
}

/// A fault unless the manifest takes over the workspace's lints, or is the root of a workspace of its own.
pub(super) fn lints(file: &SourceFile) -> Option<String> {
    let is_inherited = section(&file.text, "[lints]").any(|(_, line)| line.replace(' ', "") == "workspace=true");
    let is_root = numbered(&file.text).any(|(_, line)| line.trim() == "[workspace]");
    (!is_inherited && !is_root).then(|| format!("{}: lacks `[lints] workspace = true`", file.path))
}

/// The lines of a TOML table, with their numbers.
fn section<'a>(text: &'a str, header: &'a str) -> impl Iterator<Item = (usize, &'a str)> {
    numbered(text)
        .skip_while(move |(_, line)| line.trim() != header)
        .skip(1)
        .take_while(|(_, line)| !line.starts_with('['))
        .map(|(number, line)| (number, line.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> SourceFile {
        SourceFile { path: path.into(), text: text.into() }
    }

    #[test]
    fn a_dependency_without_a_reason_is_found() {
        let text = "[package]\nname = \"x\"\n[workspace.dependencies]\n# Each says why.\nmil = { path = \"crates/mil\" }\n\
                    half = \"2\" # f16\nbytes = \"1\"\nrayon = \"1\" # \n\n[profile.dev]\ndebug = 1\n";
        let faults = reasons(&file("Cargo.toml", text));
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert!(faults[0].starts_with("Cargo.toml:7: bytes") && faults[1].starts_with("Cargo.toml:8: rayon"));
    }

    #[test]
    fn members_inherit_the_lints() {
        assert_eq!(lints(&file("x/Cargo.toml", "[lints]\nworkspace = true\n\n[dependencies]\n")), None);
        assert_eq!(lints(&file("fuzz/Cargo.toml", "[package]\n[workspace]\n")), None);
        for text in ["[package]\n", "[lints]\n[dependencies]\nworkspace = true\n", "[lints]\nworkspace = false\n"] {
            assert!(lints(&file("x/Cargo.toml", text)).is_some(), "{text}");
        }
    }
}
