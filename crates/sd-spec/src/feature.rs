//! Features: what a model takes and gives, by name, with axes that have a meaning instead of numbers.
//!
//! From axes follow the shapes of a model for any configuration and size ([`Dims::shape`]), and from the shapes of a model
//! its size and configuration ([`Dims::learn`]), so that neither is written down twice.

use std::collections::BTreeMap;
use std::fmt;

/// The meaning of one dimension of a feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Axis {
    /// One batch element, or a dimension that Core ML's layouts need and nothing varies along.
    One,
    /// Batch elements of the denoiser.
    Batch,
    /// Tokens of a text.
    Tokens,
    /// Width of a token's embedding.
    TextWidth,
    /// Width of a text's pooled embedding, before any projection.
    PooledWidth,
    /// Width of a text's pooled embedding as a denoiser takes it, after the projection if there is one.
    ProjectedWidth,
    /// Tokens of all text encoders, one after the other.
    JointTokens,
    /// Width of a token's embedding where the texts of all encoders stand together.
    JointWidth,
    /// Width of the pooled embeddings of several encoders, side by side.
    JointPooledWidth,
    /// Channels of what the denoiser takes: latents, and what an inpainting or editing model puts beside them.
    SampleChannels,
    /// Channels of what the denoiser gives.
    NoiseChannels,
    /// Channels of the autoencoder's latents.
    LatentChannels,
    /// Channels of what the encoder gives: mean and log-variance of every latent channel, or the latents themselves.
    MomentChannels,
    /// Channels of a picture.
    PictureChannels,
    /// Channels of a picture that guides.
    HintChannels,
    /// Rows of the latents.
    LatentHeight,
    /// Columns of the latents.
    LatentWidth,
    /// Rows of the picture.
    PictureHeight,
    /// Columns of the picture.
    PictureWidth,
    /// Rows of the picture that an upscaler makes of it.
    UpscaledHeight,
    /// Columns of the picture that an upscaler makes of it.
    UpscaledWidth,
    /// Channels of the picture that CLIP sees.
    ClipChannels,
    /// Rows, and columns, of the picture that CLIP sees.
    ClipSide,
    /// Concepts that the safety checker knows.
    Concepts,
    /// Numbers that say the picture's sizes and crop, or its aesthetic score.
    SizeNumbers,
    /// Width of the embedding of a guidance scale.
    GuidanceWidth,
    /// Channels of a residual, of a feature that is numbered.
    ResidualChannels,
    /// Rows of a residual.
    ResidualHeight,
    /// Columns of a residual.
    ResidualWidth,
    /// Always this many.
    Fixed(usize),
}

impl Axis {
    /// Whether it follows from the size of the picture.
    #[must_use]
    pub const fn is_sized(self) -> bool {
        use Axis::{LatentHeight, LatentWidth, PictureHeight, PictureWidth, ResidualHeight, ResidualWidth};
        use Axis::{UpscaledHeight, UpscaledWidth};
        let of_latents = matches!(self, LatentHeight | LatentWidth | ResidualHeight | ResidualWidth);
        of_latents || matches!(self, PictureHeight | PictureWidth | UpscaledHeight | UpscaledWidth)
    }

    /// Its number, where that is always the same.
    #[must_use]
    pub const fn fixed(self) -> Option<usize> {
        match self {
            Self::One => Some(1),
            Self::Fixed(n) => Some(n),
            _ => None,
        }
    }
}

impl fmt::Display for Axis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::One => "one",
            Self::Batch => "batch",
            Self::Tokens => "tokens",
            Self::TextWidth => "text width",
            Self::PooledWidth => "pooled text width",
            Self::ProjectedWidth => "projected text width",
            Self::JointTokens => "tokens of all text encoders",
            Self::JointWidth => "width of the joint text",
            Self::JointPooledWidth => "pooled width of the joint text",
            Self::SampleChannels => "sample channels",
            Self::NoiseChannels => "noise channels",
            Self::LatentChannels => "latent channels",
            Self::MomentChannels => "moment channels",
            Self::PictureChannels => "picture channels",
            Self::HintChannels => "channels of the picture that guides",
            Self::LatentHeight => "latent height",
            Self::LatentWidth => "latent width",
            Self::PictureHeight => "picture height",
            Self::PictureWidth => "picture width",
            Self::UpscaledHeight => "upscaled height",
            Self::UpscaledWidth => "upscaled width",
            Self::ClipChannels => "CLIP channels",
            Self::ClipSide => "CLIP side",
            Self::Concepts => "concepts",
            Self::SizeNumbers => "size numbers",
            Self::GuidanceWidth => "width of the guidance embedding",
            Self::ResidualChannels => "residual channels",
            Self::ResidualHeight => "residual height",
            Self::ResidualWidth => "residual width",
            Self::Fixed(n) => return write!(f, "{n}"),
        };
        f.write_str(name)
    }
}

/// What a feature holds, which decides its element type at the border of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Numbers: f16 or f32 as the precision says on the way in, f32 on the way out.
    Real,
    /// Numbers: f32 whatever the precision, for what the system gives in f32.
    Single,
    /// Token ids, or what is said of each: integers to the network, declared as f32 because that is how Core ML pipelines
    /// pass them.
    Ids,
}

/// How inputs for a comparison of two models are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Draw {
    /// Standard normal.
    Normal,
    /// Standard normal; in a pipeline divided by the autoencoder's scaling factor.
    Latents,
    /// Standard normal; in a pipeline a picture from −1 to 1.
    Picture,
    /// Uniform from 0 to 1.
    Unit,
    /// One step of the noise schedule for the whole batch.
    Step,
    /// Sizes of pictures, in pixels.
    Sizes,
    /// Zero.
    Zero,
    /// Whole numbers below the size of the vocabulary.
    Ids,
    /// 1 for the first half, then 0.
    Mask,
    /// Nothing: it is an output.
    Output,
}

/// Which models of a role have a feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// All of them.
    Always,
    /// Those whose network gives its axes numbers.
    WhereKnown,
    /// Those that are asked to have it.
    OnRequest,
    /// Those of families that condition their denoiser on this state of the text.
    OfText(TextState),
    /// Those whose network has residuals: one feature for each, whose names end with numbers from 0.
    Numbered,
}

impl Presence {
    /// Whether a model of the role may lack it for reasons of its own.
    #[must_use]
    pub const fn is_optional(self) -> bool {
        matches!(self, Self::WhereKnown | Self::OnRequest)
    }
}

/// A state of CLIP's that a denoiser attends to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextState {
    /// Of the last layer, normalised.
    Last,
    /// Of the last layer but one, as it is.
    Penultimate,
}

/// One input or output of a role's model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeatureSpec {
    /// The name in the model file, which is that of Apple's converter.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// What its dimensions mean, outermost first.
    pub axes: &'static [Axis],
    /// How it is drawn where two models are compared.
    pub draw: Draw,
    /// Which models have it.
    pub presence: Presence,
    /// Whether it stays as it is from step to step of a picture, so that an engine may keep what depends on it only.
    pub is_steady: bool,
    /// The description in the model file.
    pub words: &'static str,
}

impl FeatureSpec {
    /// An input of real numbers.
    #[must_use]
    pub const fn input(name: &'static str, axes: &'static [Axis], draw: Draw, words: &'static str) -> Self {
        Self { name, kind: Kind::Real, axes, draw, presence: Presence::Always, is_steady: false, words }
    }

    /// An input of token ids.
    #[must_use]
    pub const fn ids(name: &'static str, axes: &'static [Axis], words: &'static str) -> Self {
        Self { name, kind: Kind::Ids, axes, draw: Draw::Ids, presence: Presence::Always, is_steady: false, words }
    }

    /// An input that says of each token whether it counts.
    #[must_use]
    pub const fn mask(name: &'static str, axes: &'static [Axis], words: &'static str) -> Self {
        Self { name, kind: Kind::Ids, axes, draw: Draw::Mask, presence: Presence::OnRequest, is_steady: false, words }
    }

    /// An output.
    #[must_use]
    pub const fn output(name: &'static str, axes: &'static [Axis], words: &'static str) -> Self {
        Self { name, kind: Kind::Real, axes, draw: Draw::Output, presence: Presence::Always, is_steady: false, words }
    }

    /// The same, in some models only.
    #[must_use]
    pub const fn of(self, presence: Presence) -> Self {
        Self { presence, ..self }
    }

    /// The same, in f32 whatever the precision.
    #[must_use]
    pub const fn in_single(self) -> Self {
        Self { kind: Kind::Single, ..self }
    }

    /// Whether a feature of this name is this one, or one of these where they are numbered.
    #[must_use]
    pub fn is_named(&self, name: &str) -> bool {
        match self.presence {
            Presence::Numbered => name
                .strip_prefix(self.name)
                .is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())),
            _ => self.name == name,
        }
    }

    /// The same, steady.
    #[must_use]
    pub const fn steady(self) -> Self {
        Self { is_steady: true, ..self }
    }
}

/// Numbers by axis.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dims {
    known: BTreeMap<Axis, usize>,
}

/// A shape that is not what a feature's axes say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Misfit {
    /// It has another number of dimensions.
    Rank,
    /// A dimension has another number than is known of its axis.
    Axis {
        /// Which axis.
        axis: Axis,
        /// Its number.
        known: usize,
        /// The number in the shape.
        found: usize,
    },
}

impl Dims {
    /// Nothing known.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, with the number of an axis.
    #[must_use]
    pub fn with(mut self, axis: Axis, n: usize) -> Self {
        self.known.insert(axis, n);
        self
    }

    /// The same, with every number of others.
    #[must_use]
    pub fn with_all(mut self, others: &Self) -> Self {
        self.known.extend(&others.known);
        self
    }

    /// The number of an axis, where it is known.
    #[must_use]
    pub fn get(&self, axis: Axis) -> Option<usize> {
        axis.fixed().or_else(|| self.known.get(&axis).copied())
    }

    /// The shape of a feature.
    ///
    /// # Errors
    /// The first axis whose number is not known.
    pub fn shape(&self, feature: &FeatureSpec) -> Result<Vec<usize>, Axis> {
        feature.axes.iter().map(|&axis| self.get(axis).ok_or(axis)).collect()
    }

    /// Takes the numbers that a shape gives to a feature's axes.
    ///
    /// # Errors
    /// [`Misfit`] for a shape that contradicts the axes, or what was known; nothing of it is taken then.
    pub fn learn(&mut self, feature: &FeatureSpec, shape: &[usize]) -> Result<(), Misfit> {
        if feature.axes.len() != shape.len() {
            return Err(Misfit::Rank);
        }
        let mut known = self.clone();
        for (&axis, &found) in feature.axes.iter().zip(shape) {
            match known.get(axis) {
                None => known = known.with(axis, found),
                Some(number) if number == found => {}
                Some(number) => return Err(Misfit::Axis { axis, known: number, found }),
            }
        }
        *self = known;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: FeatureSpec =
        FeatureSpec::input("sample", &[Axis::Batch, Axis::Fixed(4), Axis::LatentHeight], Draw::Normal, "");

    #[test]
    fn a_shape_and_the_numbers_of_its_axes_follow_from_each_other() {
        let mut dims = Dims::new();
        assert_eq!(dims.shape(&SAMPLE), Err(Axis::Batch));
        dims.learn(&SAMPLE, &[2, 4, 64]).unwrap();
        assert_eq!((dims.get(Axis::Batch), dims.get(Axis::LatentHeight)), (Some(2), Some(64)));
        assert_eq!(dims.shape(&SAMPLE), Ok(vec![2, 4, 64]));
    }

    #[test]
    fn a_shape_that_contradicts_teaches_nothing() {
        let mut dims = Dims::new().with(Axis::LatentHeight, 32);
        let before = dims.clone();
        assert_eq!(dims.learn(&SAMPLE, &[2, 4]), Err(Misfit::Rank));
        let other = |axis, known, found| Err(Misfit::Axis { axis, known, found });
        assert_eq!(dims.learn(&SAMPLE, &[2, 9, 32]), other(Axis::Fixed(4), 4, 9));
        assert_eq!(dims.learn(&SAMPLE, &[2, 4, 64]), other(Axis::LatentHeight, 32, 64));
        assert_eq!(dims, before);
    }
}
