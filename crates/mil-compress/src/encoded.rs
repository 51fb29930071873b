//! A compressed weight, in the shapes of iOS 18; the forms of iOS 16 are written from these.

use host_tensor::HostTensor;

/// A weight after compression.
#[derive(Debug, Clone)]
pub enum Encoded {
    /// Half-precision values of a weight that was wider.
    Half(HostTensor),
    /// Indices and a palette.
    Lut(Lut),
    /// Indices and a palette, and a scale per output channel (rank of the weight) to multiply the entries by.
    ScaledLut {
        /// Of the scaled weight.
        lut: Lut,
        /// Shape of the weight with every dimension 1 but the output channels.
        scale: HostTensor,
    },
    /// Integers and their scale.
    Affine(Affine),
    /// The values that are not zero.
    Sparse {
        /// `U1` of the weight's shape; with vector palettes, of the indices' shape.
        mask: HostTensor,
        /// The values where the mask is one, in row-major order.
        values: NonZero,
    },
}

/// Indices and a palette.
#[derive(Debug, Clone)]
pub struct Lut {
    /// `U1`, `U2`, `U3`, `U4`, `U6` or `U8`; the weight's shape, divided by the vector length along its axis.
    pub indices: HostTensor,
    /// `[groups of each dimension…, 2^bits, vector length]`.
    pub lut: HostTensor,
    /// Axis along which vectors lie, when they are longer than 1.
    pub vector_axis: Option<usize>,
}

/// Integers and their scale: `scale · (data - offset)`.
#[derive(Debug, Clone)]
pub struct Affine {
    /// `I8`, `U8`, `I4` or `U4`; the weight's shape, or the stored values of a sparse one.
    pub data: HostTensor,
    /// The weight's rank; each dimension divides the weight's.
    pub scale: HostTensor,
    /// Shape of `scale`, type of `data`; zero where there is none.
    pub offset: Option<HostTensor>,
}

/// How the values of a sparse weight are stored.
#[derive(Debug, Clone)]
pub enum NonZero {
    /// As they are, one-dimensional.
    Plain(HostTensor),
    /// Palettized; the indices are one-dimensional.
    Lut(Lut),
    /// Quantized; the data is one-dimensional, scale and offset have the weight's rank.
    Affine(Affine),
}
