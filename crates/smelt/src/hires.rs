//! A second, larger pass, as it is asked for: what was drawn is enlarged, gets new noise and is denoised again at the larger
//! size ("hires fix"), so that what stands where is decided at the size that the model was made for.

use std::fmt;
use std::str::FromStr;

use sd_convert::LatentSize;
use sd_runtime::image::Filter;
use sd_runtime::pipeline::LatentFilter;
use serde::{Deserialize, Serialize};

use crate::error::{Result, refuse};
use crate::size::{PictureSize, Sizes};

/// A second pass.
///
/// ```no_run
/// use smelt::{Hires, PipelineOptions, Request, Unwatched};
///
/// # fn main() -> Result<(), smelt::Error> {
/// let twice_as_large = Hires::new("2".parse()?);
/// let request = Request { hires: Some(twice_as_large), ..Request::new("a lighthouse in a storm") };
/// smelt::open("sd15")?.pipeline(&PipelineOptions::default())?.draw(&request, &mut Unwatched)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hires {
    /// How large the pictures become.
    pub size: HiresSize,
    /// How what was drawn is enlarged.
    #[serde(default)]
    pub by: Enlarge,
    /// How much of it may change: the share of the steps that are taken again, above 0 to 1; default 0.7.
    #[serde(default = "Hires::usual_strength")]
    pub strength: f64,
    /// Denoising steps of the second pass, of which its strength takes a share; default: as many as the first has.
    #[serde(default)]
    pub steps: Option<usize>,
}

impl Hires {
    /// A second pass at that size, everything else as is usual.
    #[must_use]
    pub fn new(size: HiresSize) -> Self {
        Self { size, by: Enlarge::default(), strength: Self::usual_strength(), steps: None }
    }

    // AUTOMATIC1111's web UI.
    const fn usual_strength() -> f64 {
        0.7
    }
}

/// How large pictures of a second pass become.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum HiresSize {
    /// So many times as wide and as high as those of the first, in whole latents.
    Factor(f64),
    /// This large; what stands out of other proportions is cut off.
    Pixels(PictureSize),
}

/// A larger factor is a slip.
const MAX_FACTOR: f64 = 8.0;

impl FromStr for HiresSize {
    type Err = crate::Error;

    fn from_str(text: &str) -> Result<Self> {
        let Ok(factor) = text.trim().parse::<f64>() else {
            return match text.parse() {
                Ok(size) => Ok(Self::Pixels(size)),
                Err(_) => refuse!("{text:?} is neither a factor, such as 2 or 1.5, nor WIDTHxHEIGHT in pixels"),
            };
        };
        match factor > 1.0 && factor <= MAX_FACTOR {
            true => Ok(Self::Factor(factor)),
            false => refuse!(
                "a factor of {text} is not above 1 and at most {MAX_FACTOR}; a size in pixels is written WIDTHxHEIGHT"
            ),
        }
    }
}

impl fmt::Display for HiresSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Factor(factor) => factor.fmt(f),
            Self::Pixels(size) => size.fmt(f),
        }
    }
}

impl TryFrom<String> for HiresSize {
    type Error = crate::Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<HiresSize> for String {
    fn from(size: HiresSize) -> Self {
        size.to_string()
    }
}

impl HiresSize {
    /// The latents of the second pass, where those of the first are of that size and make `scale` pixels each.
    pub(crate) fn latents(self, first: LatentSize, scale: usize) -> Result<LatentSize> {
        let second = match self {
            Self::Factor(factor) => {
                // Sides are rounded down, as AUTOMATIC1111's web UI does.
                let side = |latents: usize| (latents as f64 * factor) as usize;
                LatentSize { height: side(first.height), width: side(first.width) }
            }
            Self::Pixels(size) => {
                let sizes = Sizes { size: vec![size], ..Sizes::default() };
                sizes.latent(scale, None)?.unwrap_or(first)
            }
        };
        if second == first || second.height < first.height || second.width < first.width {
            let pixels = |size: LatentSize| format!("{}x{}", size.width * scale, size.height * scale);
            refuse!(
                "--hires {self} makes pictures of {} out of those of {} (width x height), and the second pass draws larger \
                 ones",
                pixels(second),
                pixels(first)
            );
        }
        Ok(second)
    }
}

/// How what was drawn is enlarged for a second pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum Enlarge {
    /// As latents, which are never decoded in between: quick, and soft unless much of it may change.
    Latents(LatentFilter),
    /// As a picture, which is decoded, resized and encoded again.
    Picture(PictureFilter),
}

/// How a picture between two passes is resized.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PictureFilter {
    /// A windowed sinc of three lobes.
    Lanczos,
    /// Each pixel several times.
    Nearest,
}

impl From<PictureFilter> for Filter {
    fn from(filter: PictureFilter) -> Self {
        match filter {
            PictureFilter::Lanczos => Self::Lanczos,
            PictureFilter::Nearest => Self::Nearest,
        }
    }
}

impl Default for Enlarge {
    fn default() -> Self {
        Self::Latents(LatentFilter::Bilinear)
    }
}

/// A way to enlarge.
struct Way {
    by: Enlarge,
    /// On command lines and in JSON.
    name: &'static str,
    /// AUTOMATIC1111's name, which pictures' texts have.
    other: &'static str,
    summary: &'static str,
}

const fn latent(filter: LatentFilter, name: &'static str, other: &'static str, summary: &'static str) -> Way {
    Way { by: Enlarge::Latents(filter), name, other, summary }
}

/// All of them, in the order in which people see them.
static WAYS: [Way; 8] = [
    latent(LatentFilter::Bilinear, "latent", "Latent", "Latents, bilinear"),
    latent(LatentFilter::BilinearAntialiased, "latent-antialiased", "Latent (antialiased)", "Latents, bilinear too"),
    latent(LatentFilter::Bicubic, "latent-bicubic", "Latent (bicubic)", "Latents, bicubic"),
    latent(
        LatentFilter::BicubicAntialiased,
        "latent-bicubic-antialiased",
        "Latent (bicubic antialiased)",
        "Latents, by a softer bicubic",
    ),
    latent(LatentFilter::Nearest, "latent-nearest", "Latent (nearest)", "Latents, each several times"),
    latent(
        LatentFilter::NearestExact,
        "latent-nearest-exact",
        "Latent (nearest-exact)",
        "Latents, each several times, about its middle",
    ),
    Way {
        by: Enlarge::Picture(PictureFilter::Lanczos),
        name: "lanczos",
        other: "Lanczos",
        summary: "The decoded picture, by Lanczos",
    },
    Way {
        by: Enlarge::Picture(PictureFilter::Nearest),
        name: "nearest",
        other: "Nearest",
        summary: "The decoded picture, each pixel several times",
    },
];

impl Enlarge {
    /// The names of all of them, with a line about each.
    pub fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
        WAYS.iter().map(|way| (way.name, way.summary))
    }

    fn way(self) -> &'static Way {
        WAYS.iter().find(|way| way.by == self).expect("invariant: every way to enlarge has a row")
    }

    /// What AUTOMATIC1111's web UI calls it.
    #[must_use]
    pub fn other_name(self) -> &'static str {
        self.way().other
    }
}

impl FromStr for Enlarge {
    type Err = crate::Error;

    /// Understands the names of AUTOMATIC1111's web UI too.
    fn from_str(text: &str) -> Result<Self> {
        match WAYS.iter().find(|way| way.name == text || way.other.eq_ignore_ascii_case(text)) {
            Some(way) => Ok(way.by),
            None => {
                let names = WAYS.iter().map(|way| way.name).collect::<Vec<_>>().join(", ");
                refuse!("nothing is enlarged by {text:?}; ways are {names}")
            }
        }
    }
}

impl fmt::Display for Enlarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.way().name)
    }
}

impl TryFrom<String> for Enlarge {
    type Error = crate::Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Enlarge> for String {
    fn from(by: Enlarge) -> Self {
        by.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_factors_or_pixels() {
        let first = LatentSize { height: 8, width: 12 };
        let latents = |text: &str| text.parse::<HiresSize>()?.latents(first, 8);
        assert_eq!(latents("2").unwrap(), LatentSize { height: 16, width: 24 });
        assert_eq!(latents("1.3").unwrap(), LatentSize { height: 10, width: 15 });
        assert_eq!(latents("160x128").unwrap(), LatentSize { height: 16, width: 20 });
        for (text, fact) in [
            ("1", "not above 1"),
            ("1024", "written WIDTHxHEIGHT"),
            ("twice", "neither a factor"),
            ("96x64", "draws larger ones"),
            ("200x32", "draws larger ones"),
            ("1.05", "draws larger ones"),
            ("165x128", "not a multiple of 8"),
        ] {
            let error = latents(text).unwrap_err().to_string();
            assert!(error.contains(fact), "{text}: {error}");
        }
    }

    #[test]
    fn ways_to_enlarge_have_two_names() {
        for Way { by, name, other, .. } in &WAYS {
            assert_eq!((name.parse::<Enlarge>().unwrap(), other.parse::<Enlarge>().unwrap()), (*by, *by));
            assert_eq!((by.to_string().as_str(), by.other_name()), (*name, *other));
        }
        use LatentFilter::*;
        let latents = [Bilinear, BilinearAntialiased, Bicubic, BicubicAntialiased, Nearest, NearestExact];
        let pictures = [PictureFilter::Lanczos, PictureFilter::Nearest].map(Enlarge::Picture);
        let all = latents.map(Enlarge::Latents).into_iter().chain(pictures);
        assert!(all.eq(WAYS.iter().map(|way| way.by)));
        assert!("esrgan".parse::<Enlarge>().unwrap_err().to_string().contains("latent-nearest-exact"));
    }

    #[test]
    fn what_is_left_out_is_as_usual() {
        let read = |json: &str| serde_json::from_str::<Hires>(json);
        assert_eq!(read(r#"{"size": "2"}"#).unwrap(), Hires::new(HiresSize::Factor(2.0)));
        let hires = Hires {
            by: Enlarge::Picture(PictureFilter::Lanczos),
            steps: Some(8),
            ..Hires::new(HiresSize::Factor(1.5))
        };
        assert_eq!(read(&serde_json::to_string(&hires).unwrap()).unwrap(), hires);
        assert!(read(r#"{"size": "2", "strenght": 1}"#).is_err() && read("{}").is_err());
    }
}
