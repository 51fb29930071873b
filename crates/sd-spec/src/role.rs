//! Roles: what a network does in a pipeline, declared once.
//!
//! A role says what its model takes and gives and what its files are called. Which network plays it is the checkpoint's
//! choice, by class; how that computes is `sd-models`' business.

use crate::feature::{Axis, FeatureSpec};

/// What a network does in a pipeline.
///
/// The two halves of an autoencoder share one checkpoint file and play two roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Token ids to text states.
    TextEncoder,
    /// The second text encoder, of XL and 3.
    TextEncoder2,
    /// The third text encoder, of 3, which is no CLIP.
    TextEncoder3,
    /// The denoiser.
    UNet,
    /// The denoiser that takes what ControlNets add.
    ControlledUNet,
    /// The denoiser of the last steps, of XL.
    Refiner,
    /// What a picture that guides adds to the denoiser.
    ControlNet,
    /// The denoiser that is a transformer over text and picture together, of 3.
    Mmdit,
    /// Latents to pictures.
    VaeDecoder,
    /// Pictures to latents, or to the moments of their distribution.
    VaeEncoder,
    /// Scores of concepts in a picture.
    SafetyChecker,
    /// Pictures to larger ones.
    Upscaler,
    /// Contextual embeddings of macOS's NaturalLanguage, of any script, to text states.
    MultilingualProjection,
}

/// Everything that is the same for every model that plays a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoleSpec {
    /// Which role.
    pub role: Role,
    /// The name on the command line, in messages and in JSON.
    pub name: &'static str,
    /// The folder of a diffusers checkpoint, which is the entry of `model_index.json` too.
    pub folder: &'static str,
    /// Whether repositories hold its networks by themselves, without a pipeline.
    pub stands_alone: bool,
    /// Classes, as `model_index.json` names them, whose networks can play it.
    pub classes: &'static [&'static str],
    /// What packages are called.
    pub package: PackageName,
    /// What the model takes, in order.
    pub inputs: &'static [FeatureSpec],
    /// What it gives, in order.
    pub outputs: &'static [FeatureSpec],
    /// What the model file says of the model.
    pub summary: &'static str,
    /// Which ways to compress take it without its name.
    pub compression: Compression,
    /// Whether its models denoise: what runs longest, is laid out for the device, and may be cut into chunks.
    pub is_denoiser: bool,
    /// Numbers that say sizes and crop, or the aesthetic score, to a model with added conditions; 0 for roles that have none.
    pub n_size_numbers: usize,
    /// The oldest macOS on which its models are of use.
    pub oldest_macos: u8,
    /// How the model is laid out.
    pub layout: Layout,
    /// What runs it, and when a pipeline needs it.
    pub stage: Stage,
}

/// The part of a package's file name that says its role: the end, or the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackageName {
    /// As Apple's converter spells it, after the version and an underscore.
    pub apple: &'static str,
    /// As Apple's Swift package expects it.
    pub swift: &'static str,
    /// Whether it comes before the version and an underscore: one pipeline may have several models of the role.
    pub is_first: bool,
    /// Whether it is all of the name, without a version: the model serves any pipeline.
    pub is_whole: bool,
    /// Where the model lies in a folder of Apple's Swift package.
    pub bundled: Bundled,
}

impl PackageName {
    /// A name that comes last.
    #[must_use]
    pub const fn last(apple: &'static str, swift: &'static str) -> Self {
        Self { apple, swift, is_first: false, is_whole: false, bundled: Bundled::Whole }
    }

    /// A name that comes first, spelled the same by both.
    #[must_use]
    pub const fn first(name: &'static str) -> Self {
        Self { apple: name, swift: name, is_first: true, is_whole: false, bundled: Bundled::Nowhere }
    }

    /// A name that is all of the file's, spelled the same by both.
    #[must_use]
    pub const fn whole(name: &'static str) -> Self {
        Self { apple: name, swift: name, is_first: false, is_whole: true, bundled: Bundled::Whole }
    }

    /// The same name, with another place in a folder of Apple's Swift package.
    #[must_use]
    pub const fn bundled(self, bundled: Bundled) -> Self {
        Self { bundled, ..self }
    }

    /// Both spellings.
    #[must_use]
    pub const fn both(self) -> [&'static str; 2] {
        [self.apple, self.swift]
    }
}

/// Where the model of a role lies in a folder of Apple's Swift package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bundled {
    /// In the folder, under the name of the Swift package.
    Whole,
    /// The same, or in parts, which are taken before it: see [`bundle::chunk`](crate::bundle::chunk).
    WholeOrChunks,
    /// In this folder below it, each model under its own name: see [`bundle::title_case`](crate::bundle::title_case).
    Below(&'static str),
    /// None of these programs takes it.
    Nowhere,
}

/// Which ways to compress take a role's models without its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compression {
    /// Whether it is palettized while it is converted, where that is asked for: what Apple's converter takes.
    pub in_conversion: bool,
    /// Whether it is compressed with the other packages of a directory: whatever is large and bears it.
    pub in_directory: bool,
}

impl Compression {
    /// Both.
    pub const ALWAYS: Self = Self { in_conversion: true, in_directory: true };
    /// With a directory only: Apple's converter leaves it as it is.
    pub const IN_DIRECTORY: Self = Self { in_conversion: false, in_directory: true };
    /// Neither.
    pub const NEVER: Self = Self { in_conversion: false, in_directory: false };
}

/// How a converted model is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Channels first, with the attention that was asked for: for denoisers, whose time counts.
    ChannelsFirst,
    /// As the network is written.
    Plain,
}

/// When a pipeline runs a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Once for each prompt.
    Text,
    /// Once for a picture to begin with.
    Encode,
    /// Once or twice for each step.
    Denoise,
    /// Once for each picture.
    Decode,
    /// Once for each picture, where it is wanted.
    Check,
    /// Once for each part of a finished picture, where it is wanted; no pipeline needs it.
    Upscale,
}

impl RoleSpec {
    /// Whether the shapes of its model follow from the size of the picture.
    #[must_use]
    pub fn is_sized(&self) -> bool {
        self.features().flat_map(|feature| feature.axes).any(|axis| axis.is_sized())
    }

    /// Whether its model takes samples by the batch: a denoiser, or what guides one.
    #[must_use]
    pub fn is_batched(&self) -> bool {
        self.features().any(|feature| feature.axes.contains(&Axis::Batch))
    }

    /// Inputs, then outputs.
    pub fn features(&self) -> impl Iterator<Item = &'static FeatureSpec> + use<> {
        self.inputs.iter().chain(self.outputs)
    }

    /// The input of that name.
    #[must_use]
    pub fn input(&self, name: &str) -> Option<&'static FeatureSpec> {
        self.inputs.iter().find(|feature| feature.is_named(name))
    }
}
