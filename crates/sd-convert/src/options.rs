//! What the user may choose about a conversion.

use mil::{Opset, pass::AttentionLayout};
use sd_spec::{Kind, Role};
use std::{fmt, str::FromStr};

/// The oldest systems that a package must run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// macOS 13, iOS 16.
    MacOs13,
    /// macOS 14, iOS 17.
    MacOs14,
    /// macOS 15, iOS 18.
    MacOs15,
}

impl Target {
    /// The opset of that system.
    #[must_use]
    pub const fn opset(self) -> Opset {
        match self {
            Self::MacOs13 => Opset::CoreML6,
            Self::MacOs14 => Opset::CoreML7,
            Self::MacOs15 => Opset::CoreML8,
        }
    }
}

impl Target {
    /// This one, or the oldest on which a role's models are of use, where that is newer.
    #[must_use]
    pub const fn for_role(self, role: Role) -> Self {
        match (self, role.oldest_macos()) {
            (Self::MacOs13, 14) => Self::MacOs14,
            (Self::MacOs13 | Self::MacOs14, 15) => Self::MacOs15,
            (target, _) => target,
        }
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        match s.to_ascii_lowercase().as_str() {
            "macos13" | "ios16" => Ok(Self::MacOs13),
            "macos14" | "ios17" => Ok(Self::MacOs14),
            "macos15" | "ios18" => Ok(Self::MacOs15),
            _ => Err(format!("unknown target {s:?}; one of macOS13, macOS14, macOS15, iOS16, iOS17, iOS18")),
        }
    }
}

/// Precision of the arithmetic and the weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// Half precision, what the Neural Engine computes in.
    Float16,
    /// Single precision.
    Float32,
}

impl Precision {
    /// The one that a role is converted in where none is asked for: half, but for models that take their inputs in single.
    #[must_use]
    pub fn default_of(role: Role) -> Self {
        match role.spec().inputs.iter().any(|feature| feature.kind == Kind::Single) {
            true => Self::Float32,
            false => Self::Float16,
        }
    }
}

/// Height and width of the latent in latent pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LatentSize {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

/// Largest latent side; 1024 latent pixels are pictures of 8192.
const MAX_LATENT: usize = 1024;

impl FromStr for LatentSize {
    type Err = String;

    /// `64x96` is 64 rows of 96; `64` alone is a square.
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let (height, width) = s.split_once(['x', 'X']).unwrap_or((s, s));
        let side = |t: &str| t.trim().parse::<usize>().ok().filter(|n| (1..=MAX_LATENT).contains(n));
        match (side(height), side(width)) {
            (Some(height), Some(width)) => Ok(Self { height, width }),
            _ => Err(format!("{s:?} is not HEIGHTxWIDTH in latent pixels, each 1 to {MAX_LATENT}, such as 64x96")),
        }
    }
}

impl fmt::Display for LatentSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.height, self.width)
    }
}

/// How many samples a denoiser, or a ControlNet beside it, takes at a time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Batch {
    /// One, for guidance in two calls or none at all.
    One,
    /// Two, the negative prompt's and the prompt's, for guidance in one call.
    #[default]
    Two,
}

impl Batch {
    /// How many.
    #[must_use]
    pub const fn n(self) -> usize {
        match self {
            Self::One => 1,
            Self::Two => 2,
        }
    }
}

impl FromStr for Batch {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        match s {
            "1" => Ok(Self::One),
            "2" => Ok(Self::Two),
            _ => Err(format!(
                "{s:?} is not a number of samples that a pipeline gives a denoiser at a time, which is 1 or 2"
            )),
        }
    }
}

impl fmt::Display for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.n())
    }
}

/// What a denoiser's walk begins with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Beginning {
    /// Noise: the network composes the picture, which it has learned for its own size only.
    #[default]
    Noise,
    /// A picture that is composed already, as that of a second, larger pass is.
    Picture,
}

/// Choices for one conversion; the default is what Apple's converter does by default.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// How the UNet's attention is laid out.
    pub attention: AttentionLayout,
    /// Size of the latent; `None` takes the checkpoint's `sample_size`.
    pub latent_size: Option<LatentSize>,
    /// What the denoiser begins with: only from noise does a size far from the checkpoint's own deserve a warning.
    pub beginning: Beginning,
    /// Tokens of text that the denoiser attends to, or for Stable Diffusion 3 those of its third text encoder; `None` takes
    /// CLIP's length.
    pub text_length: Option<usize>,
    /// How many samples the UNet, and what guides it, takes at a time.
    pub unet_batch: Batch,
    /// Oldest system.
    pub target: Target,
    /// Precision; `None` takes that of the role ([`Precision::default_of`]).
    pub precision: Option<Precision>,
    /// Features that a model has only where it is asked to (`sd_spec::Presence::OnRequest`), by name.
    pub on_request: Vec<&'static str>,
    /// Name of the model in metadata and file names; `None` takes the checkpoint directory's name.
    pub model_version: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            attention: AttentionLayout::SplitEinsum,
            latent_size: None,
            beginning: Beginning::Noise,
            text_length: None,
            unet_batch: Batch::Two,
            target: Target::MacOs13,
            precision: None,
            on_request: Vec::new(),
            model_version: None,
        }
    }
}

impl Options {
    /// The precision that a role's model is in.
    #[must_use]
    pub fn precision_of(&self, role: Role) -> Precision {
        self.precision.unwrap_or_else(|| Precision::default_of(role))
    }
}

/// A package's file name: `Stable_Diffusion_version_<version>_<submodule>.mlpackage`, or `ControlNet_<version>.mlpackage`,
/// with `/` as `_`; what serves any pipeline has no version in its name.
#[must_use]
pub fn package_name(model_version: &str, role: Role) -> String {
    let package = role.spec().package;
    let name = match package.is_first {
        _ if package.is_whole => format!("{}.mlpackage", package.apple),
        true => format!("{}_{model_version}.mlpackage", package.apple),
        false => format!("Stable_Diffusion_version_{model_version}_{}.mlpackage", package.apple),
    };
    name.replace(['/', '\\'], "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latent_sizes_are_height_by_width() {
        assert_eq!("64x96".parse(), Ok(LatentSize { height: 64, width: 96 }));
        assert_eq!("32".parse(), Ok(LatentSize { height: 32, width: 32 }));
        for bad in ["", "x", "0x64", "64x", "-1x3", "1025x64", "64x64x64"] {
            assert!(bad.parse::<LatentSize>().is_err(), "{bad}");
        }
    }

    #[test]
    fn batches_are_those_that_a_pipeline_gives() {
        for batch in [Batch::One, Batch::Two] {
            assert_eq!(batch.to_string().parse(), Ok(batch));
        }
        for bad in ["", "0", "3", "01", "two"] {
            assert!(bad.parse::<Batch>().is_err(), "{bad}");
        }
    }

    #[test]
    fn package_names_are_apples() {
        assert_eq!(
            package_name("runwayml/stable-diffusion-v1-5", Role::UNet),
            "Stable_Diffusion_version_runwayml_stable-diffusion-v1-5_unet.mlpackage"
        );
        assert_eq!(
            package_name("lllyasviel/sd-controlnet-mlsd", Role::ControlNet),
            "ControlNet_lllyasviel_sd-controlnet-mlsd.mlpackage"
        );
        assert_eq!(package_name("x", Role::MultilingualProjection), "MultilingualTextEncoderProjection.mlpackage");
    }
}
