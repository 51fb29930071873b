//! Short names of the schemes that people choose among: `4`, `4g16`, `4s`, `int8`, `int4b32`.
//!
//! | name | scheme |
//! |---|---|
//! | `keep` | left as it is |
//! | `N` | a palette of N bits by k-means, for the tensor |
//! | `NgG` | palettes of N bits, one for each G output channels |
//! | `Ns` | a palette of N bits, each output channel scaled first |
//! | `int8`, `int4` | integers around zero, a scale for each output channel |
//! | `int4bB` | integers around zero, a scale for each B input channels |

use super::{Blocks, PaletteGroups, PaletteMode, Palettize, Quantize, Scheme};
use host_tensor::DType;
use std::{fmt, str::FromStr};

/// A scheme that has a short name, by which options and files call it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Named(Scheme);

/// A name that no scheme has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no scheme: palettes are called by their bits (1, 2, 3, 4, 6, 8), for groups of 16 channels 4g16, with \
     scaled channels 4s; integers int8, int4, for blocks of 32 channels int4b32; keep leaves a weight"
)]
pub struct UnknownScheme(String);

impl Named {
    /// The weight is left as it is.
    pub const KEEP: Self = Self(Scheme::Keep);

    /// The scheme.
    #[must_use]
    pub const fn scheme(self) -> Scheme {
        self.0
    }

    /// Bits of an index or integer; `None` for weights that are left.
    #[must_use]
    pub const fn bits(self) -> Option<u8> {
        match self.0 {
            Scheme::Palettize(Palettize { mode: PaletteMode::KMeans { bits }, .. }) => Some(bits),
            Scheme::Quantize(q) => Some(if matches!(q.dtype, DType::I4) { 4 } else { 8 }),
            _ => None,
        }
    }
}

impl FromStr for Named {
    type Err = UnknownScheme;

    fn from_str(text: &str) -> Result<Self, UnknownScheme> {
        parse(text).map(Self).ok_or_else(|| UnknownScheme(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<Scheme> {
    let number = |text: &str| text.parse::<usize>().ok().filter(|n| *n > 0);
    if text == "keep" {
        return Some(Scheme::Keep);
    }
    if let Some(rest) = text.strip_prefix("int") {
        let (bits, blocks) = match rest.split_once('b') {
            Some((bits, size)) => (bits, Blocks::PerBlock { size: number(size)? }),
            None => (rest, Blocks::PerChannel),
        };
        let dtype = match bits {
            "4" => DType::I4,
            "8" => DType::I8,
            _ => return None,
        };
        return Some(Scheme::Quantize(Quantize { dtype, symmetric: true, blocks }));
    }
    let (bits, rest) = text.split_at(usize::from(!text.is_empty() && text.is_char_boundary(1)));
    let bits = bits.parse::<u8>().ok().filter(|bits| matches!(bits, 1 | 2 | 3 | 4 | 6 | 8))?;
    let Scheme::Palettize(plain) = Scheme::palettes(bits) else { return None };
    Some(Scheme::Palettize(match rest {
        "" => plain,
        "s" => Palettize { per_channel_scale: true, ..plain },
        _ => {
            let group_size = number(rest.strip_prefix('g')?)?;
            Palettize { groups: PaletteGroups::PerGroupedChannel { group_size, axis: None }, ..plain }
        }
    }))
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = self.bits().unwrap_or_default();
        match self.0 {
            Scheme::Palettize(Palettize { per_channel_scale: true, .. }) => write!(f, "{bits}s"),
            Scheme::Palettize(Palettize { groups: PaletteGroups::PerGroupedChannel { group_size, .. }, .. }) => {
                write!(f, "{bits}g{group_size}")
            }
            Scheme::Palettize(_) => write!(f, "{bits}"),
            Scheme::Quantize(Quantize { blocks: Blocks::PerBlock { size }, .. }) => write!(f, "int{bits}b{size}"),
            Scheme::Quantize(_) => write!(f, "int{bits}"),
            _ => f.write_str("keep"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        for name in ["keep", "1", "2", "3", "4", "6", "8", "4g16", "2g1", "4s", "int8", "int4", "int4b32", "int8b64"] {
            assert_eq!(name.parse::<Named>().unwrap().to_string(), name);
        }
        assert_eq!("6".parse::<Named>().unwrap().scheme(), Scheme::palettes(6));
        assert_eq!("int4b32".parse::<Named>().unwrap().bits(), Some(4));
    }

    #[test]
    fn what_is_no_scheme_is_refused() {
        for name in ["", "5", "16", "4g", "4g0", "4x", "4gs", "int", "int2", "int8b0", "int8b", "é", "4sg16", " 4"] {
            let error = name.parse::<Named>().unwrap_err().to_string();
            assert!(error.contains(&format!("{name:?}")), "{error}");
        }
    }
}
