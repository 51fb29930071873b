//! What the planner makes of a program before it gives anything a place: nodes, each executed by one kernel or by the
//! reference engine.

use crate::kernel::{gemm::Gate, map, math::Activation};
use mil::ValueId;

/// One thing to do.
#[derive(Debug)]
pub(super) struct Node {
    /// The operation at whose place it is done: the last of those that it stands for.
    pub(super) op: usize,
    /// All operations that it stands for.
    pub(super) ops: Vec<usize>,
    /// What is done.
    pub(super) kind: Kind,
}

/// What is done.
#[derive(Debug)]
pub(super) enum Kind {
    /// A convolution or linear layer with what follows it.
    Product(Product),
    /// Group normalisation.
    GroupNorm(GroupNorm),
    /// Layer normalisation over one axis.
    LayerNorm(LayerNorm),
    /// Attention.
    Attention(Attention),
    /// An elementwise operation; operands are broadcast.
    Map {
        /// What is computed.
        op: map::Op,
        /// Operands: two for binary operations.
        operands: Vec<ValueId>,
        /// Result.
        out: ValueId,
    },
    /// The elements of `x` under another shape.
    Reshape {
        /// Operand.
        x: ValueId,
        /// Result.
        out: ValueId,
    },
    /// The same elements with dimensions permuted.
    Transpose {
        /// Operand.
        x: ValueId,
        /// The permutation.
        perm: Vec<usize>,
        /// Result.
        out: ValueId,
    },
    /// Parts of `x`, each with its first index and step along every dimension.
    Slices {
        /// Operand.
        x: ValueId,
        /// Parts.
        parts: Vec<Part>,
    },
    /// Tensors one after another along an axis.
    Concat {
        /// Operands.
        values: Vec<ValueId>,
        /// Axis.
        axis: usize,
        /// Result.
        out: ValueId,
    },
    /// Each pixel repeated.
    Upsample {
        /// Operand.
        x: ValueId,
        /// How often: rows, columns.
        factors: [usize; 2],
        /// Result.
        out: ValueId,
    },
    /// Rows of a table of constants.
    Rows {
        /// Table.
        table: ValueId,
        /// Which rows.
        indices: ValueId,
        /// Result.
        out: ValueId,
    },
    /// Whatever else: the reference engine does it.
    Reference,
}

/// A part of a tensor.
#[derive(Debug)]
pub(super) struct Part {
    /// First index along each dimension.
    pub(super) begin: Vec<usize>,
    /// Step along each dimension.
    pub(super) step: Vec<usize>,
    /// Elements along each dimension; the result may leave out dimensions of one.
    pub(super) shape: Vec<usize>,
    /// Result.
    pub(super) out: ValueId,
}

/// Geometry of a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    /// Height and width of the filters.
    pub(super) kernel: [usize; 2],
    /// Steps.
    pub(super) stride: [usize; 2],
    /// Distances between the filter's elements.
    pub(super) dilation: [usize; 2],
    /// Zeros above and left of the input.
    pub(super) pad: [usize; 2],
}

/// A product with constants, and what follows it.
#[derive(Debug)]
pub(super) struct Product {
    /// Left operand: `[B, C, H, W]` of a convolution, `[…, K]` of a linear layer.
    pub(super) x: ValueId,
    /// Weights `[N, …]`.
    pub(super) weight: ValueId,
    /// For convolutions.
    pub(super) window: Option<Window>,
    /// The product's own shape, before a reshape that follows.
    pub(super) shape: Vec<usize>,
    /// A number for each output.
    pub(super) bias: Option<Vec<f32>>,
    /// Factor of the sum with its bias.
    pub(super) scale: f32,
    /// A number for each batch and output, `[B or 1, N, 1, 1]`.
    pub(super) per_batch: Option<ValueId>,
    /// Added at the end; of as many elements as the product, in the same order.
    pub(super) residual: Option<ValueId>,
    /// Applied last.
    pub(super) activation: Activation,
    /// Whether one half of the outputs gates the other.
    pub(super) gate: Gate,
    /// Result.
    pub(super) out: ValueId,
}

/// `activation(gamma · normalised + beta)` over groups of channels.
#[derive(Debug)]
pub(super) struct GroupNorm {
    /// Operand `[N, C, …]`.
    pub(super) x: ValueId,
    /// Groups of channels.
    pub(super) groups: usize,
    /// Added to the variance.
    pub(super) epsilon: f32,
    /// Factors of the channels.
    pub(super) gamma: Option<Vec<f32>>,
    /// Summands of the channels.
    pub(super) beta: Option<Vec<f32>>,
    /// Applied last.
    pub(super) activation: Activation,
    /// Result.
    pub(super) out: ValueId,
}

/// Layer normalisation.
#[derive(Debug)]
pub(super) struct LayerNorm {
    /// Operand.
    pub(super) x: ValueId,
    /// The axis.
    pub(super) axis: usize,
    /// Added to the variance.
    pub(super) epsilon: f32,
    /// Factors.
    pub(super) gamma: Option<Vec<f32>>,
    /// Summands.
    pub(super) beta: Option<Vec<f32>>,
    /// Result.
    pub(super) out: ValueId,
}

/// An operand of an attention: for each role the dimension that plays it.
#[derive(Debug, Clone)]
pub(super) struct Roles {
    /// The value.
    pub(super) value: ValueId,
    /// Batch dimensions, in an order that all operands share.
    pub(super) batch: Vec<usize>,
    /// The dimension of tokens: queries or keys.
    pub(super) token: usize,
    /// The dimension of elements.
    pub(super) element: usize,
}

/// Attention.
#[derive(Debug)]
pub(super) struct Attention {
    /// Queries.
    pub(super) q: Roles,
    /// Keys.
    pub(super) k: Roles,
    /// Values.
    pub(super) v: Roles,
    /// Result.
    pub(super) out: Roles,
    /// Added to the scores: its dimensions are the scores' (batch, query, key), broadcast.
    pub(super) mask: Option<Roles>,
    /// Factor of the scores.
    pub(super) scale: f32,
    /// What a query gets that may attend to nothing.
    pub(super) nothing: f32,
}
