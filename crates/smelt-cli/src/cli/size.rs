//! Sizes as people give them: pictures in pixels, width first; latents height first, as Core ML's tools write them.

use std::num::NonZeroUsize;
use std::str::FromStr;

use anyhow::{Result, bail};
use clap::Args;
use sd_convert::LatentSize;

/// Longest side of a picture, in pixels.
const MAX_SIDE: usize = 1 << 14;

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

/// A picture's size in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PictureSize {
    pub(crate) width: usize,
    pub(crate) height: usize,
    is_square: bool,
}

/// A size of latents as it was typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LatentArg {
    size: LatentSize,
    /// One number stood for both sides.
    is_square: bool,
}

impl FromStr for PictureSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (width, height) = text.split_once(['x', 'X', '×', '*']).unwrap_or((text, text));
        let side = |t: &str| t.trim().parse::<usize>().ok().filter(|n| (1..=MAX_SIDE).contains(n));
        match (side(width), side(height)) {
            (Some(width), Some(height)) => Ok(Self { width, height, is_square: is_one_number(text) }),
            _ => Err(format!("{text:?} is not WIDTHxHEIGHT in pixels, each 1 to {MAX_SIDE}, such as 512x768")),
        }
    }
}

impl FromStr for LatentArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(Self { size: text.parse()?, is_square: is_one_number(text) })
    }
}

fn is_one_number(text: &str) -> bool {
    text.trim().bytes().all(|b| b.is_ascii_digit())
}

/// A picture's size in words, which leave no doubt about the order.
pub(crate) fn words(size: LatentSize, scale: usize) -> String {
    format!("{} wide, {} high", size.width * scale, size.height * scale)
}

impl SizeArgs {
    /// Whether any size was asked for.
    pub(crate) fn is_given(&self) -> bool {
        !self.size.is_empty() || !self.latent_size.is_empty() || self.width.is_some() || self.height.is_some()
    }

    /// Whether the size was given in pixels, so that the model's scale is needed.
    pub(crate) fn is_in_pixels(&self) -> bool {
        self.latent_size.is_empty()
    }

    /// The options as they were typed, for a command that is suggested.
    pub(crate) fn typed(&self) -> Vec<String> {
        let list = |sizes: Vec<String>, option: &str| match sizes.is_empty() {
            true => Vec::new(),
            false => vec![option.to_owned(), sizes.join(",")],
        };
        let side =
            |side: Option<NonZeroUsize>, option: &str| list(side.iter().map(ToString::to_string).collect(), option);
        [
            list(self.size.iter().map(|s| format!("{}x{}", s.width, s.height)).collect(), "--size"),
            side(self.width, "--width"),
            side(self.height, "--height"),
            list(self.latent_size.iter().map(|l| l.size.to_string()).collect(), "--latent-size"),
        ]
        .concat()
    }

    /// The sizes of the latents, for pictures of `scale` pixels per latent; `own` is what the model was made for.
    ///
    /// # Errors
    /// For pictures that latents cannot make, one side without an `own` size for the other, and lists that may be a slip.
    pub(crate) fn latents(&self, scale: usize, own: Option<LatentSize>) -> Result<Vec<LatentSize>> {
        self.refuse_slips()?;
        if !self.latent_size.is_empty() {
            return Ok(self.latent_size.iter().map(|arg| arg.size).collect());
        }
        if self.width.is_none() && self.height.is_none() {
            return self.size.iter().map(|size| latent(size.width, size.height, scale)).collect();
        }
        let side = |given: Option<NonZeroUsize>, own: Option<usize>, name: &str| match (given, own) {
            (Some(given), _) => Ok(given.get()),
            (None, Some(own)) => Ok(own * scale),
            (None, None) => bail!("--{name} is needed too: the model does not say its size"),
        };
        let width = side(self.width, own.map(|o| o.width), "width")?;
        let height = side(self.height, own.map(|o| o.height), "height")?;
        Ok(vec![latent(width, height, scale)?])
    }

    /// The one size that was asked for, if any.
    ///
    /// # Errors
    /// As [`SizeArgs::latents`], and for several.
    pub(crate) fn latent(&self, scale: usize, own: Option<LatentSize>) -> Result<Option<LatentSize>> {
        match self.latents(scale, own)?[..] {
            [] => Ok(None),
            [size] => Ok(Some(size)),
            _ => bail!(
                "pictures have one size at a time; convert takes several, for packages that can draw each of them"
            ),
        }
    }

    /// `16,24` is two squares, and more often a slip for `16x24`.
    fn refuse_slips(&self) -> Result<()> {
        let latents = self.latent_size.iter().map(|l| (l.is_square, l.size.height));
        let pictures = self.size.iter().map(|s| (s.is_square, s.width));
        let sizes: Vec<(bool, usize)> = latents.chain(pictures).collect();
        if sizes.len() < 2 || !sizes.iter().any(|(is_square, _)| *is_square) {
            return Ok(());
        }
        let list = |join: fn(usize) -> String| sizes.iter().map(|(_, n)| join(*n)).collect::<Vec<_>>().join(",");
        let option = if self.size.is_empty() { "--latent-size" } else { "--size" };
        bail!(
            "{option} with a comma is a list of sizes: write {} for {} squares, or {} for one size",
            list(|n| format!("{n}x{n}")),
            sizes.len(),
            sizes.iter().map(|(_, n)| n.to_string()).collect::<Vec<_>>().join("x")
        )
    }
}

/// The latents of a picture, whose sides must be multiples of the scale.
fn latent(width: usize, height: usize, scale: usize) -> Result<LatentSize> {
    for (name, side) in [("width", width), ("height", height)] {
        if !side.is_multiple_of(scale) {
            let below = side / scale * scale;
            let near = if below == 0 { scale.to_string() } else { format!("{below} or {}", below + scale) };
            bail!(
                "a {name} of {side} pixels is not a multiple of {scale}, as this model's pictures are; {near} would be"
            );
        }
    }
    let text = format!("{}x{}", height / scale, width / scale);
    text.parse().map_err(anyhow::Error::msg)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        size: SizeArgs,
    }

    fn parse(args: &[&str]) -> Result<Vec<String>> {
        let line = Line::try_parse_from(["smelt"].iter().chain(args))?;
        let own = "16x24".parse().ok();
        Ok(line.size.latents(8, own)?.iter().map(ToString::to_string).collect())
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
            assert_eq!(line.size.typed(), args);
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
