//! Steps: what a run does, one after another.

use super::{graph::Window, view::View};
use crate::kernel::{
    attention::Attention,
    gemm::Gemm,
    map::Map,
    norm::{GroupNorm, LayerNorm},
    weights::Matrix,
    winograd::Winograd,
};
use mil::ValueId;
use std::sync::Arc;

/// One step.
#[derive(Debug)]
pub(super) struct Step {
    /// The operation at whose place it stands.
    pub(super) name: String,
    /// What executes it, in a word.
    pub(super) kernel: &'static str,
    /// Shapes and encodings.
    pub(super) detail: String,
    /// Floating-point operations of the direct form.
    pub(super) flops: f64,
    /// Operations of the program that it stands for.
    pub(super) stands_for: usize,
    /// What is done.
    pub(super) action: Action,
    /// Tensors of the reference engine that nothing reads afterwards.
    pub(super) frees: Vec<ValueId>,
}

impl Step {
    /// The operation that the reference engine executes, and what it is the last to read.
    pub(super) fn reference(&self) -> Option<(usize, &[ValueId])> {
        match self.action {
            Action::Reference { op } => Some((op, &self.frees)),
            _ => None,
        }
    }
}

/// What a step does. Pointers are into the plan's own memory.
#[derive(Debug)]
pub(super) enum Action {
    /// A product.
    Gemm(Gemm),
    /// A convolution, a part of its tiles after another.
    Winograd(Vec<Winograd>),
    /// A convolution in its direct form, a part of its rows after another.
    Patches(Vec<(Patches, Gemm)>),
    /// Attention.
    Attention(Attention),
    /// Group normalisation.
    GroupNorm(GroupNorm),
    /// Layer normalisation.
    LayerNorm(LayerNorm),
    /// An elementwise operation or a copy.
    Map(Map),
    /// Rows of a table.
    Rows {
        /// The table.
        w: Arc<Matrix>,
        /// Which rows; a tensor of the reference engine.
        indices: ValueId,
        /// The operation, for messages.
        op: usize,
        /// Result.
        out: *mut f32,
    },
    /// A tensor of the reference engine becomes floats in the arena.
    Import {
        /// The tensor.
        id: ValueId,
        /// Result.
        to: *mut f32,
        /// Floats.
        len: usize,
    },
    /// Floats become a tensor of the reference engine.
    Export {
        /// The tensor.
        id: ValueId,
        /// First element.
        from: *const f32,
        /// How the others lie.
        view: View,
    },
    /// The reference engine executes an operation.
    Reference {
        /// Its position in the function's body.
        op: usize,
    },
}

/// The windows of a picture as rows: for each channel, the elements of the filter.
#[derive(Debug)]
pub(super) struct Patches {
    /// Picture, channels last and contiguous.
    pub(super) x: *const f32,
    /// Floats from one picture, row, pixel to the next.
    pub(super) x_strides: [usize; 3],
    /// Height and width.
    pub(super) in_size: [usize; 2],
    /// Height and width of the result.
    pub(super) out_size: [usize; 2],
    /// Channels.
    pub(super) channels: usize,
    /// Geometry.
    pub(super) window: Window,
    /// The first row, and how many.
    pub(super) first: usize,
    /// See `first`.
    pub(super) rows: usize,
    /// Result.
    pub(super) to: *mut f32,
}

// SAFETY: the pointers are into memory that the plan owns; a run has it for itself.
unsafe impl Send for Action {}
// SAFETY: as above; nothing is written through a shared action but by a run.
unsafe impl Sync for Action {}
// SAFETY: as above.
unsafe impl Sync for Patches {}

/// Rows of an item of [`Patches`].
const PATCH_ROWS: usize = 16;

impl Patches {
    /// How many items there are.
    pub(super) fn items(&self) -> usize {
        self.rows.div_ceil(PATCH_ROWS)
    }

    /// Writes some rows.
    ///
    /// # Safety
    /// The operands are as the fields say; no two calls with the same item run at a time.
    pub(super) unsafe fn item(&self, item: usize) {
        let [kh, kw] = self.window.kernel;
        let taps = kh * kw;
        let cols = self.channels * taps;
        for r in item * PATCH_ROWS..((item + 1) * PATCH_ROWS).min(self.rows) {
            let at = self.first + r;
            let [h, w] = self.out_size;
            let (picture, y, x) = (at / (h * w), at / w % h, at % w);
            // SAFETY: the caller's contract; pixels outside of the picture are not read.
            unsafe {
                let to = self.to.add(r * cols);
                for tap in 0..taps {
                    let (i, j) = (tap / kw, tap % kw);
                    let row =
                        (y * self.window.stride[0] + i * self.window.dilation[0]).wrapping_sub(self.window.pad[0]);
                    let col =
                        (x * self.window.stride[1] + j * self.window.dilation[1]).wrapping_sub(self.window.pad[1]);
                    let inside = row < self.in_size[0] && col < self.in_size[1];
                    if inside {
                        let [sp, sr, sc] = self.x_strides;
                        let from = self.x.add(picture * sp + row * sr + col * sc);
                        for c in 0..self.channels {
                            *to.add(c * taps + tap) = *from.add(c);
                        }
                    } else {
                        for c in 0..self.channels {
                            *to.add(c * taps + tap) = 0.0;
                        }
                    }
                }
            }
        }
    }
}
