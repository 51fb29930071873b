//! What is shown of pictures while they are drawn, as it is typed.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use smelt::Source;

use super::source;

/// Previews.
#[derive(Debug, Args)]
pub(crate) struct PreviewArgs {
    /// Show every N steps what is coming: in a PNG beside the picture (…-preview.png), which is removed at the end, or with
    /// --show in the terminal.
    #[arg(long, value_name = "every:N")]
    pub(crate) preview: Option<Every>,
    /// The picture of --preview (PNG, JPEG or WebP), which is replaced by each and stays at the end.
    #[arg(long, value_name = "FILE", requires = "preview")]
    pub(crate) preview_to: Option<PathBuf>,
    /// Preview with this TAESD; default: that of --taesd, or the colours that latents mean by themselves.
    #[arg(long, value_name = "SOURCE", requires = "preview", value_parser = source())]
    pub(crate) preview_taesd: Option<Source>,
}

/// Every so many steps: `every:5`, or `5`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Every(pub(crate) NonZeroUsize);

impl FromStr for Every {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.strip_prefix("every:").unwrap_or(text).parse();
        number.map(Self).map_err(|_| format!("{text:?} is no number of steps; write every:5 for every fifth"))
    }
}

impl PreviewArgs {
    /// The TAESD to preview with, where that of the pictures would do.
    pub(crate) fn taesd(&self, of_pictures: Option<&Source>) -> Option<Source> {
        self.preview.and(self.preview_taesd.as_ref().or(of_pictures)).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_between_previews_are_a_number_above_zero() {
        let parse = |text: &str| text.parse::<Every>().map(|every| every.0.get());
        assert_eq!((parse("every:5"), parse("2")), (Ok(5), Ok(2)));
        for wrong in ["0", "every:0", "every", "often", "-1"] {
            assert!(parse(wrong).unwrap_err().contains("every:5"), "{wrong}");
        }
    }
}
