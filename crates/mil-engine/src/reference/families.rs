//! The list of all kernels: one per operation kind, by families.

use super::{
    activation, attention, constexpr, conv, elementwise_binary, elementwise_unary, gather_scatter, generation,
    kernels::Kernel, linear_algebra, normalization, pool, quantization, rearrange, recurrent, reduction, resize, shape,
    slice,
};

const FAMILIES: [&[Kernel]; 18] = [
    activation::KERNELS,
    attention::KERNELS,
    constexpr::KERNELS,
    conv::KERNELS,
    elementwise_binary::KERNELS,
    elementwise_unary::KERNELS,
    gather_scatter::KERNELS,
    generation::KERNELS,
    linear_algebra::KERNELS,
    normalization::KERNELS,
    pool::KERNELS,
    quantization::KERNELS,
    rearrange::KERNELS,
    recurrent::KERNELS,
    reduction::KERNELS,
    resize::KERNELS,
    shape::KERNELS,
    slice::KERNELS,
];

/// Every kernel.
pub(super) fn all() -> impl Iterator<Item = &'static Kernel> {
    FAMILIES.into_iter().flatten()
}
