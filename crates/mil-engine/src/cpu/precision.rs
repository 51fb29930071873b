//! What products round their operands to.

use crate::kernel::{
    Kernels, bf16_gemm,
    gemm::{self, FEW_ROWS, Gemm},
};
use std::{fmt, str::FromStr};

/// What the operands of products are rounded to, at most. Sums are in `f32` in any case, as is everything else.
///
/// It speaks of products with weights: linear layers and convolutions in their direct form. The rest stays in `f32`:
/// 3×3 convolutions by Winograd's method, which are faster so and would lose too much; products of up to four rows,
/// which wait for memory; attention; and whatever the reference engine executes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Precision {
    /// To nothing: single precision throughout.
    #[default]
    F32,
    /// To bf16, nearest and ties to even, as PyTorch's and OpenVINO's bf16 do.
    Bf16,
    /// To the sum of two bf16 numbers, of whose four products three are computed: nearly single precision, where
    /// products in bf16 are more than three times as fast. An infinite operand makes a result that is not a number.
    Bf16x3,
}

/// A kernel for products.
pub(super) type Product = unsafe fn(&Gemm, usize, *mut f32);

impl Precision {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::F32, Self::Bf16, Self::Bf16x3];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::Bf16x3 => "bf16x3",
        }
    }

    /// The kernel for products.
    pub(super) fn kernel(self, kernels: &Kernels) -> Product {
        match self {
            Self::F32 => kernels.gemm,
            Self::Bf16 => kernels.gemm_bf16,
            Self::Bf16x3 => kernels.gemm_bf16x3,
        }
    }

    /// Items of a product.
    pub(super) fn items(self, g: &Gemm) -> usize {
        if self == Self::F32 { g.items() } else { bf16_gemm::items(g) }
    }

    /// Floats of scratch that an item of a product needs.
    pub(super) fn scratch(self) -> usize {
        if self == Self::F32 { gemm::SCRATCH } else { gemm::SCRATCH.max(bf16_gemm::SCRATCH) }
    }

    /// What a plan says of a product of so many rows, to be put behind its shapes.
    pub(super) fn describe(self, rows: usize) -> String {
        if self == Self::F32 || rows <= FEW_ROWS { String::new() } else { format!(" in {self}") }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A name that is no precision's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}: precisions are f32, bf16 and bf16x3")]
pub struct UnknownPrecision {
    /// The name.
    pub name: String,
}

impl FromStr for Precision {
    type Err = UnknownPrecision;

    fn from_str(name: &str) -> Result<Self, UnknownPrecision> {
        let found = Self::ALL.into_iter().find(|p| p.name() == name);
        found.ok_or_else(|| UnknownPrecision { name: name.into() })
    }
}
