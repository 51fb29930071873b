//! Sizes as they are typed: pictures in pixels, width first; latents height first, as Core ML's tools write them.

use std::num::NonZeroUsize;

use clap::Args;
use smelt::{LatentArg, PictureSize, Sizes};

/// What size pictures have.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct SizeArgs {
    /// Size of the pictures in pixels, width first: 512x768 is 512 wide, 768 high; default: what the model was made for.
    #[arg(long, value_name = "WIDTHxHEIGHT", value_delimiter = ',', conflicts_with_all = ["latent_size", "width", "height"])]
    pub(crate) size: Vec<PictureSize>,
    /// Width of the pictures in pixels; without --height that stays what the model was made for.
    #[arg(long, value_name = "PIXELS", conflicts_with = "latent_size")]
    pub(crate) width: Option<NonZeroUsize>,
    /// Height of the pictures in pixels; without --width that stays what the model was made for.
    #[arg(long, value_name = "PIXELS", conflicts_with = "latent_size")]
    pub(crate) height: Option<NonZeroUsize>,
    /// The same as the size of the latents, height first, which are a fraction of the picture's: 96x64 for pictures 512
    /// wide, 768 high.
    #[arg(long, value_name = "HEIGHTxWIDTH", value_delimiter = ',')]
    pub(crate) latent_size: Vec<LatentArg>,
}

impl From<&SizeArgs> for Sizes {
    fn from(args: &SizeArgs) -> Self {
        Self { size: args.size.clone(), width: args.width, height: args.height, latent_size: args.latent_size.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Result;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        size: SizeArgs,
    }

    fn parse(args: &[&str]) -> Result<Vec<String>> {
        let line = Line::try_parse_from(["smelt"].iter().chain(args))?;
        let own = "16x24".parse().ok();
        Ok(Sizes::from(&line.size).latents(8, own)?.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn pictures_are_width_first_and_latents_height_first() {
        for (args, latents) in [
            (&["--size", "512x768"][..], "96x64"),
            (&["--size", "512"], "64x64"),
            (&["--size", "512x768,64X128"], "96x64 16x8"),
            (&["--width", "512", "--height", "768"], "96x64"),
            (&["--width", "512"], "16x64"),
            (&["--height", "512"], "64x24"),
            (&["--latent-size", "96x64"], "96x64"),
            (&["--latent-size", "64"], "64x64"),
            (&[], ""),
        ] {
            assert_eq!(parse(args).unwrap().join(" "), latents, "{args:?}");
        }
    }

    #[test]
    fn sizes_are_typed_again_as_they_were() {
        for args in [&["--size", "512x768,64x64"][..], &["--width", "512", "--height", "8"], &["--latent-size", "8x9"]]
        {
            let line = Line::try_parse_from(["smelt"].iter().chain(args)).unwrap();
            assert_eq!(Sizes::from(&line.size).typed(), args);
        }
    }

    #[test]
    fn slips_are_answered_with_what_may_be_meant() {
        for (args, words) in [
            (&["--latent-size", "16,24"][..], "16x16,24x24 for 2 squares, or 16x24 for one size"),
            (&["--size", "512,768"], "512x512,768x768"),
            (
                &["--size", "513x512"],
                "a width of 513 pixels is not a multiple of 8, as this model's pictures are; 512 or 520",
            ),
            (&["--size", "512x4"], "8 would be"),
            (&["--size", "512by512"], "is not WIDTHxHEIGHT in pixels"),
            (&["--size", "0x512"], "1 to 16384"),
            (&["--size", "512x512", "--latent-size", "64x64"], "cannot be used with"),
            (&["--size", "512x512", "--width", "64"], "cannot be used with"),
            (&["--latent-size", "2000x2000"], "1 to 1024"),
        ] {
            let error = parse(args).unwrap_err().to_string();
            assert!(error.contains(words), "{args:?}: {error}");
        }
    }
}
