//! What is to be done to one weight.
//!
//! Terms and defaults are those of coremltools 9.0 (`coremltools.optimize.coreml`).

mod short;

use host_tensor::DType;
pub use short::{Named, UnknownScheme};

/// How one weight is compressed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scheme {
    /// Left as it is.
    Keep,
    /// Cast to half precision.
    Half,
    /// Indices into a palette.
    Palettize(Palettize),
    /// Integers with a scale.
    Quantize(Quantize),
    /// Only the values that are not zero, and a mask.
    Prune(Prune),
    /// Pruned, and the values that stay are palettized.
    PrunePalettize(Prune, Palettize),
    /// Pruned, and the values that stay are quantized.
    PruneQuantize(Prune, Quantize),
}

/// Which axes of a weight are its output and input channels; what consumes the weight decides it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Axes {
    /// Axis of the output channels.
    pub output: usize,
    /// Axis of the input channels.
    pub input: usize,
}

/// Palettization.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Palettize {
    /// How the palette is found.
    pub mode: PaletteMode,
    /// Which elements share a palette.
    pub groups: PaletteGroups,
    /// Length of a palette entry: 1, or vectors of consecutive elements along the channel axis.
    pub cluster_dim: usize,
    /// Whether each output channel is first divided by its largest magnitude.
    pub per_channel_scale: bool,
}

/// How a palette is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PaletteMode {
    /// The entries with the least squared error.
    KMeans {
        /// Width of an index: 1, 2, 3, 4, 6 or 8 bits.
        bits: u8,
    },
    /// Entries evenly spaced between least and greatest.
    Uniform {
        /// Width of an index: 1, 2, 3, 4, 6 or 8 bits.
        bits: u8,
    },
    /// The distinct values themselves; weights with more than 256 of them are left as they are.
    Unique,
}

/// Which elements share a palette.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PaletteGroups {
    /// All of a tensor.
    PerTensor,
    /// So many consecutive channels.
    PerGroupedChannel {
        /// Channels per palette; divides the number of channels.
        group_size: usize,
        /// Axis of the channels; the output channels where it is not given.
        axis: Option<usize>,
    },
}

/// Linear quantization.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quantize {
    /// `I8`, `U8`, `I4` or `U4`.
    pub dtype: DType,
    /// Whether zero stands in the middle of the range.
    pub symmetric: bool,
    /// Which elements share a scale.
    pub blocks: Blocks,
}

/// Which elements share a scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blocks {
    /// All of a tensor.
    PerTensor,
    /// Each output channel.
    PerChannel,
    /// So many consecutive input channels of each output channel.
    PerBlock {
        /// Input channels per scale; divides the number of input channels.
        size: usize,
    },
}

/// Pruning: which values become zero.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Prune {
    /// Magnitudes up to a threshold; weights that would be less sparse than asked are left as they are.
    Threshold {
        /// Greatest magnitude that becomes zero.
        threshold: f32,
        /// Least share of zeros, 0 to 1.
        minimum_sparsity: f32,
    },
    /// The smallest magnitudes.
    Magnitude {
        /// Share of zeros, 0 to 1.
        sparsity: f32,
    },
    /// The blocks of consecutive channels with the smallest norm.
    Block {
        /// Share of zeros, 0 to 1.
        sparsity: f32,
        /// Channels per block.
        size: usize,
        /// Axis of the blocks: 0 output channels, 1 input channels.
        axis: usize,
    },
    /// The `n` smallest of each `m` consecutive channels.
    NOfM {
        /// Zeros per group.
        n: usize,
        /// Channels per group.
        m: usize,
        /// Axis of the groups: 0 output channels, 1 input channels.
        axis: usize,
    },
}
