//! Sizes as people give them: pictures in pixels, width first; latents height first, as Core ML's tools write them.

use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;

use sd_convert::LatentSize;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, refuse};

/// Longest side of a picture, in pixels.
const MAX_SIDE: usize = 1 << 14;

/// What size pictures have, as it is asked for: at most one of pixels, sides and latents. Nothing: what the model was
/// made for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sizes {
    /// Sizes of the pictures in pixels.
    pub size: Vec<PictureSize>,
    /// Width of the pictures in pixels; without a height that stays what the model was made for.
    pub width: Option<NonZeroUsize>,
    /// Height of the pictures in pixels; without a width that stays what the model was made for.
    pub height: Option<NonZeroUsize>,
    /// The same as the sizes of the latents, which are a fraction of the picture's.
    pub latent_size: Vec<LatentArg>,
}

/// A picture's size in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PictureSize {
    /// Pixels per row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// One number stood for both sides.
    is_square: bool,
}

/// A size of latents as it was typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LatentArg {
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

impl From<LatentSize> for LatentArg {
    fn from(size: LatentSize) -> Self {
        Self { size, is_square: false }
    }
}

impl fmt::Display for PictureSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

impl TryFrom<String> for PictureSize {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<PictureSize> for String {
    fn from(size: PictureSize) -> Self {
        size.to_string()
    }
}

impl fmt::Display for LatentArg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.size.fmt(f)
    }
}

impl TryFrom<String> for LatentArg {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<LatentArg> for String {
    fn from(size: LatentArg) -> Self {
        size.to_string()
    }
}

fn is_one_number(text: &str) -> bool {
    text.trim().bytes().all(|b| b.is_ascii_digit())
}

/// A picture's size in words, which leave no doubt about the order.
pub(crate) fn words(size: LatentSize, scale: usize) -> String {
    format!("{} wide, {} high", size.width * scale, size.height * scale)
}

impl Sizes {
    /// Whether any size was asked for.
    #[must_use]
    pub fn is_given(&self) -> bool {
        !self.size.is_empty() || !self.latent_size.is_empty() || self.width.is_some() || self.height.is_some()
    }

    /// Whether the size was given in pixels, so that the model's scale is needed.
    #[must_use]
    pub fn is_in_pixels(&self) -> bool {
        self.latent_size.is_empty()
    }

    /// The options as they were typed, for a command that is suggested.
    #[must_use]
    pub fn typed(&self) -> Vec<String> {
        let list = |sizes: Vec<String>, option: &str| match sizes.is_empty() {
            true => Vec::new(),
            false => vec![option.to_owned(), sizes.join(",")],
        };
        let side =
            |side: Option<NonZeroUsize>, option: &str| list(side.iter().map(ToString::to_string).collect(), option);
        [
            list(self.size.iter().map(ToString::to_string).collect(), "--size"),
            side(self.width, "--width"),
            side(self.height, "--height"),
            list(self.latent_size.iter().map(ToString::to_string).collect(), "--latent-size"),
        ]
        .concat()
    }

    /// The sizes of the latents, for pictures of `scale` pixels per latent; `own` is what the model was made for.
    ///
    /// # Errors
    /// For pictures that latents cannot make, one side without an `own` size for the other, and lists that may be a slip.
    pub fn latents(&self, scale: usize, own: Option<LatentSize>) -> Result<Vec<LatentSize>> {
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
            (None, None) => refuse!("--{name} is needed too: the model does not say its size"),
        };
        let width = side(self.width, own.map(|o| o.width), "width")?;
        let height = side(self.height, own.map(|o| o.height), "height")?;
        Ok(vec![latent(width, height, scale)?])
    }

    /// The one size that was asked for, if any.
    ///
    /// # Errors
    /// As [`Sizes::latents`], and for several.
    pub fn latent(&self, scale: usize, own: Option<LatentSize>) -> Result<Option<LatentSize>> {
        match self.latents(scale, own)?[..] {
            [] => Ok(None),
            [size] => Ok(Some(size)),
            _ => refuse!(
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
        refuse!(
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
            refuse!(
                "a {name} of {side} pixels is not a multiple of {scale}, as this model's pictures are; {near} would be"
            );
        }
    }
    let text = format!("{}x{}", height / scale, width / scale);
    text.parse().map_err(|error: String| Error::Refused(error.into()))
}
