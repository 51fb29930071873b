//! Interpolation, by whole factors.

use burn::backend::ir::{InterpolateModeIr, InterpolateOpIr};

use mil::Bound;

use super::{Failure, Lowerer, dims};

impl Lowerer<'_, '_> {
    pub(super) fn interpolate(&mut self, op: &InterpolateOpIr) -> Result<(), Failure> {
        let [h_in, w_in] = [op.x.shape[2], op.x.shape[3]];
        let [h_out, w_out] = op.output_size;
        match op.options.mode {
            InterpolateModeIr::Nearest | InterpolateModeIr::NearestExact
                if h_out.is_multiple_of(h_in) && w_out.is_multiple_of(w_in) =>
            {
                self.upsample_nearest(op, [h_out / h_in, w_out / w_in])
            }
            // Burn's plain nearest mode reads row ⌊i·in/out⌋, which is i·(in/out) here.
            InterpolateModeIr::Nearest if h_in.is_multiple_of(h_out) && w_in.is_multiple_of(w_out) => {
                self.thin_out(op, [h_in / h_out, w_in / w_out])
            }
            InterpolateModeIr::Nearest | InterpolateModeIr::NearestExact => {
                Err(Failure::Unsupported("nearest-neighbour interpolation by a whole factor, then a slice"))
            }
            InterpolateModeIr::Bilinear => self.upsample_bilinear(op),
            InterpolateModeIr::Bicubic | InterpolateModeIr::Lanczos3 => {
                Err(Failure::Unsupported("bilinear interpolation"))
            }
        }
    }

    fn upsample_nearest(&mut self, op: &InterpolateOpIr, factors: [usize; 2]) -> Result<(), Failure> {
        let x = self.value(&op.x)?;
        let [height, width] = factors.map(|n| factor(n as f64));
        let args = [("x", x.into()), ("scale_factor_height", height), ("scale_factor_width", width)];
        let value = self.emit("upsample_nearest_neighbor", args)?;
        self.bind(&op.out, value)
    }

    fn thin_out(&mut self, op: &InterpolateOpIr, steps: [usize; 2]) -> Result<(), Failure> {
        let x = self.value(&op.x)?;
        let args = [
            ("x", x.into()),
            ("begin", dims(&[0; 4])?),
            ("end", dims(&op.x.shape)?),
            ("stride", dims(&[1, 1, steps[0], steps[1]])?),
        ];
        let value = self.emit("slice_by_index", args)?;
        self.bind(&op.out, value)
    }

    fn upsample_bilinear(&mut self, op: &InterpolateOpIr) -> Result<(), Failure> {
        let [height, width] = [(op.output_size[0], op.x.shape[2]), (op.output_size[1], op.x.shape[3])]
            .map(|(out, size)| out as f64 / size as f64);
        let x = self.value(&op.x)?;
        let mut args = vec![
            ("x", x.into()),
            ("scale_factor_height", factor(height)),
            ("scale_factor_width", factor(width)),
            ("align_corners", op.options.align_corners.into()),
        ];
        if !op.options.align_corners {
            if self.emitter.function().opset < mil::Opset::CoreML6 {
                return Err(Failure::Unsupported("bilinear interpolation with aligned corners, or CoreML6"));
            }
            args.push(("half_pixel_centers", true.into()));
        }
        let values = self.emit_many("upsample_bilinear", args)?;
        self.bind(&op.out, values[0])
    }
}

/// A scale factor; Apple's converter writes them as `fp32` too.
fn factor(x: f64) -> Bound {
    Bound::from(x as f32)
}
