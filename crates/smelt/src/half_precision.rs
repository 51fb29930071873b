//! What half precision does to a model, in words, as data, and the command that cures it.

use std::path::Path;

use sd_checkpoint::Source;
use sd_engines::{Cause, NonFinite};
use sd_spec::Role;
use serde::Serialize;

/// The first operation whose results are not finite, as `--json` prints it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Overflow {
    /// The operation's name: where it came from, when that is known.
    pub operation: String,
    /// Its type.
    pub kind: String,
    /// Position among the operations.
    pub index: usize,
    /// Element type of its result.
    pub dtype: &'static str,
    /// How many values are not finite.
    pub n_values: usize,
    /// Of how many.
    pub n_elements: usize,
    /// Largest finite magnitude that it would have given; null when nothing was finite.
    pub largest: Option<f32>,
    /// `rounding`, `arithmetic` or `constant`.
    pub cause: &'static str,
    /// All of it in words.
    pub text: String,
}

impl From<&NonFinite> for Overflow {
    fn from(found: &NonFinite) -> Self {
        Self {
            operation: found.site.name.clone(),
            kind: found.site.kind.clone(),
            index: found.site.index,
            dtype: found.dtype.name(),
            n_values: found.n_values,
            n_elements: found.n_elements,
            largest: found.largest,
            cause: match found.cause {
                Cause::Rounding => "rounding",
                Cause::Constant { .. } => "constant",
                _ => "arithmetic",
            },
            text: found.to_string(),
        }
    }
}

/// The command that converts a component in full precision.
pub(crate) fn cure(checkpoint: &Source, output: &Path, role: Role, more: &[String]) -> String {
    let output = if output.as_os_str().is_empty() { Path::new(".") } else { output };
    let mut command = format!(
        "smelt convert {} -o {} --component {role} --precision float32",
        quoted(&checkpoint.to_string()),
        quoted(&output.display().to_string())
    );
    for word in more {
        command.push(' ');
        command.push_str(&quoted(word));
    }
    command.push_str(" --force");
    command
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_./,:=+@%\\".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cure_can_be_typed_into_a_shell() {
        let cured = |checkpoint: &str, output: &str, more: &[String]| {
            cure(&Path::new(checkpoint).into(), Path::new(output), Role::VaeDecoder, more)
        };
        assert_eq!(
            cured("models/sd15", "out", &[]),
            "smelt convert models/sd15 -o out --component vae-decoder --precision float32 --force"
        );
        assert_eq!(
            cured("my models/it's", "", &["--latent-size".to_owned(), "64x96".to_owned()]),
            "smelt convert 'my models/it'\\''s' -o . --component vae-decoder --precision float32 --latent-size 64x96 --force"
        );
    }
}
