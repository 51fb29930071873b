//! Products: which kernel computes them, and how their operands must lie.

use super::{
    Make, Planner,
    lower::{NO_PICTURE, row_stride},
    places::Places,
};
use crate::{
    EngineError,
    cpu::{
        graph::{Product, Window},
        step::{Action, Patches},
        view::{View, row_major, rows_along},
    },
    kernel::{
        epilogue::Epilogue,
        gemm::{self, Gate, Gemm},
        weights::Matrix,
        winograd::{self, Winograd},
    },
};
use std::sync::Arc;

/// Most floats of an unrolled input: a part of the picture is done after another.
const PART_FLOATS: usize = 4 << 20;
/// Floats of a transformed input that a thread has to itself: what little is left of them in the second-level cache, the
/// third holds.
const TRANSFORMED_FLOATS: usize = 512 << 10;

/// The extra operands of an epilogue as views.
struct Extras {
    bias: Option<View>,
    per_batch: Option<View>,
    residual: Option<(View, usize)>,
    rows_per_batch: usize,
    scale: f32,
    activation: crate::kernel::math::Activation,
}

impl Extras {
    fn views(&self) -> Vec<View> {
        let residual = self.residual.as_ref().map(|(v, _)| v.clone());
        self.bias.iter().cloned().chain(self.per_batch.clone()).chain(residual).collect()
    }

    fn epilogue(&self, p: &Places<'_>) -> Result<Epilogue, EngineError> {
        Ok(Epilogue {
            bias: p.of_any(self.bias.as_ref())?,
            scale: self.scale,
            per_batch: p.of_any(self.per_batch.as_ref())?,
            batch_stride: self.per_batch.as_ref().map_or(0, |v| if v.shape[0] == 1 { 0 } else { v.strides[0] }),
            rows_per_batch: self.rows_per_batch,
            residual: p.of_any(self.residual.as_ref().map(|(v, _)| v))?,
            residual_row: self.residual.as_ref().map_or(0, |(_, row)| *row),
            activation: self.activation,
        })
    }
}

impl Planner<'_, '_> {
    pub(super) fn product(&mut self, p: Product) -> Result<(), EngineError> {
        let x = self.view(p.x)?;
        let channel = if p.window.is_some() { 1 } else { p.shape.len() - 1 };
        let n = p.shape[channel];
        let w = self.matrix(p.weight, n)?;
        let mut shape = p.shape.clone();
        if p.gate != Gate::None {
            shape[channel] /= 2;
        }
        let mut out = self.result(p.out, &shape, rows_along(&shape, channel));
        if row_stride(&out, channel).is_none() {
            out = self.fresh(&shape, rows_along(&shape, channel));
        }
        let extras = self.extras(&p, channel)?;
        let rows: usize = p.shape.iter().product::<usize>() / n;
        let flops = 2.0 * (rows * w.rows * w.cols) as f64;
        match p.window {
            Some(window) if uses_winograd(&window, &p.shape, w.cols / 9) && p.gate == Gate::None => {
                self.winograd(&window, x, w, &out, extras, flops)?;
            }
            // A window that moves by one and covers one pixel is a product as it is, if nothing is padded on any side.
            Some(window)
                if window.kernel != [1, 1]
                    || window.stride != [1, 1]
                    || window.pad != [0, 0]
                    || x.shape[2..] != p.shape[2..] =>
            {
                self.patches(&window, x, w, &out, (extras, p.gate), flops)?;
            }
            _ => {
                let inner = if p.window.is_some() { 1 } else { x.shape.len() - 1 };
                let (x, a_row) = self.as_rows(x, inner)?;
                self.gemm(x, a_row, w, &out, (extras, p.gate), flops, channel);
            }
        }
        self.reshaped(&out, p.out)
    }

    fn extras(&mut self, p: &Product, channel: usize) -> Result<Extras, EngineError> {
        let bias = p.bias.clone().map(|v| self.constant_view(v));
        let per_batch = match p.per_batch {
            Some(id) => {
                let view = self.view(id)?;
                let contiguous = view.strides[1] == 1 || view.shape[1] == 1;
                Some(if contiguous { view } else { self.copied(&view, row_major(&view.shape))? })
            }
            None => None,
        };
        let residual = match p.residual {
            Some(id) => {
                let view = self.view(id)?;
                let view = self.in_shape(&view, &p.shape)?;
                Some(self.as_rows(view, channel)?)
            }
            None => None,
        };
        let rows_per_batch = if channel == 1 { p.shape[2..].iter().product::<usize>().max(1) } else { usize::MAX };
        Ok(Extras { bias, per_batch, residual, rows_per_batch, scale: p.scale, activation: p.activation })
    }

    #[allow(clippy::too_many_arguments, reason = "the operands of a product")]
    fn gemm(
        &mut self,
        x: View,
        a_row: usize,
        w: Arc<Matrix>,
        out: &View,
        (extras, gate): (Extras, Gate),
        flops: f64,
        channel: usize,
    ) {
        let m = x.len() / w.cols;
        let out_row = row_stride(out, channel).unwrap_or(w.rows);
        self.needs_scratch(self.options.precision.scratch());
        let detail = format!("{m}×{}×{} from {}{}", w.rows, w.cols, w.describe(), self.options.precision.describe(m));
        let mut views = vec![x.clone(), out.clone()];
        views.extend(extras.views());
        let (to, threads) = (out.clone(), self.threads());
        self.push("product", (detail, flops), &views, move |p| {
            Ok(Action::Gemm(Gemm {
                m,
                a: p.of(&x)?.cast_const(),
                a_row,
                w,
                out: p.of(&to)?,
                out_row,
                epilogue: extras.epilogue(p)?,
                gate,
                first_row: 0,
                threads,
                after: None,
            }))
        });
    }

    fn winograd(
        &mut self,
        window: &Window,
        x: View,
        w: Arc<Matrix>,
        out: &View,
        extras: Extras,
        flops: f64,
    ) -> Result<(), EngineError> {
        let x = self.with_channels_last(x)?;
        let [b, _, oh, ow] = out.shape[..] else { return Err(self.fault(NO_PICTURE)) };
        let channels = w.cols / 9;
        let tiles = b * oh.div_ceil(4) * ow.div_ceil(4);
        // Tiles do not depend on each other, so that results are the same whatever is one part.
        let groups =
            (TRANSFORMED_FLOATS * self.threads().min(16) / winograd::transformed(winograd::TILES, channels)).max(2);
        let per_part = tiles.div_ceil(tiles.div_ceil(groups * winograd::TILES));
        let v = self.temporary(winograd::transformed(per_part, channels));
        self.needs_scratch(winograd::SCRATCH);
        let detail = format!("F(4×4) {:?} → {:?} from {}", x.shape, out.shape, w.describe());
        let mut views = vec![x.clone(), out.clone(), v.clone()];
        views.extend(extras.views());
        let (to, pad) = (out.clone(), window.pad);
        self.push("winograd", (detail, flops), &views, move |p| {
            let part = |first| {
                Ok(Winograd {
                    out_size: [oh, ow],
                    in_size: [x.shape[2], x.shape[3]],
                    pad,
                    x: p.of(&x)?.cast_const(),
                    x_strides: [x.strides[0], x.strides[2], x.strides[3]],
                    w: w.clone(),
                    out: p.of(&to)?,
                    out_strides: [to.strides[0], to.strides[2], to.strides[3]],
                    epilogue: extras.epilogue(p)?,
                    v: p.of(&v)?,
                    first,
                    tiles: per_part.min(tiles - first),
                })
            };
            Ok(Action::Winograd((0..tiles).step_by(per_part).map(part).collect::<Result<_, EngineError>>()?))
        });
        Ok(())
    }

    /// Any convolution: the input's windows are laid out as rows, a part of them after another.
    fn patches(
        &mut self,
        window: &Window,
        x: View,
        w: Arc<Matrix>,
        out: &View,
        (extras, gate): (Extras, Gate),
        flops: f64,
    ) -> Result<(), EngineError> {
        let x = self.with_channels_last(x)?;
        let [b, _, oh, ow] = out.shape[..] else { return Err(self.fault(NO_PICTURE)) };
        let rows = b * oh * ow;
        let per_part = (PART_FLOATS / w.cols).max(gemm::ROWS).min(rows).max(1);
        let unrolled = self.temporary(per_part * w.cols);
        let out_row = row_stride(out, 1).unwrap_or(w.rows);
        self.needs_scratch(self.options.precision.scratch());
        let precision = self.options.precision.describe(rows);
        let detail = format!("direct {:?} → {:?} from {}{precision}", x.shape, out.shape, w.describe());
        let mut views = vec![x.clone(), out.clone(), unrolled.clone()];
        views.extend(extras.views());
        let (to, window, threads) = (out.clone(), *window, self.threads());
        let make: Make = Box::new(move |p| {
            let part = |first| {
                let m = per_part.min(rows - first);
                let patches = Patches {
                    x: p.of(&x)?.cast_const(),
                    x_strides: [x.strides[0], x.strides[2], x.strides[3]],
                    in_size: [x.shape[2], x.shape[3]],
                    out_size: [oh, ow],
                    channels: x.shape[1],
                    window,
                    first,
                    rows: m,
                    to: p.of(&unrolled)?,
                };
                let gemm = Gemm {
                    m,
                    a: p.of(&unrolled)?.cast_const(),
                    a_row: w.cols,
                    w: w.clone(),
                    out: p.of(&to)?.wrapping_add(first * out_row),
                    out_row,
                    epilogue: extras.epilogue(p)?,
                    gate,
                    first_row: first,
                    threads,
                    after: None,
                };
                Ok((patches, gemm))
            };
            Ok(Action::Patches((0..rows).step_by(per_part).map(part).collect::<Result<_, EngineError>>()?))
        });
        self.push("convolution", (detail, flops), &views, make);
        Ok(())
    }
}

/// Winograd's form, where it saves work: tiles that hang over the edge are computed too.
fn uses_winograd(window: &Window, out: &[usize], channels: usize) -> bool {
    let plain = window.kernel == [3, 3] && window.stride == [1, 1] && window.dilation == [1, 1];
    let [_, _, h, w] = out[..] else { return false };
    let (tiles, pixels) = (h.div_ceil(4) * w.div_ceil(4), h * w);
    plain && channels >= 8 && tiles * 36 * 3 < pixels * 9 * 2
}
