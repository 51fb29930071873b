//! `quantize` and `dequantize`: affine maps between floats and 8-bit integers (iOS 17).

use super::{
    call::{Call, Results, one},
    elementwise_unary::range,
    kernels::{Kernel, computes},
    value::{Data, Tensor, reserve},
};
use crate::OpFault;
use host_tensor::DType;

pub(super) const KERNELS: &[Kernel] = &[computes("dequantize", dequantize), computes("quantize", quantize)];

/// `clip(round(input / scale) + zero_point)`, to the range of `output_dtype`; ties round to even.
fn quantize(call: &mut Call<'_>) -> Results {
    let name = call.text("output_dtype")?;
    let dtype = DType::from_name(name)
        .filter(|d| matches!(d, DType::I8 | DType::U8))
        .ok_or_else(|| OpFault::value("output_dtype", name, "it must be int8 or uint8"))?;
    let (low, high) = range(dtype);
    let input = call.take("input")?;
    let affine = Affine::read(call, input.shape())?;
    let mut out = reserve(input.len())?;
    for (i, &x) in input.floats()?.iter().enumerate() {
        let (scale, zero) = affine.at(i);
        let rounded = f64::from((x / scale).round_ties_even()) + f64::from(zero);
        out.push((rounded as i64).clamp(low, high));
    }
    one(Tensor::new(input.shape(), out))
}

/// `scale · (input − zero_point)`.
fn dequantize(call: &mut Call<'_>) -> Results {
    let input = call.take("input")?;
    let affine = Affine::read(call, input.shape())?;
    let mut out = reserve(input.len())?;
    for (i, &q) in input.ints()?.iter().enumerate() {
        let (scale, zero) = affine.at(i);
        out.push(scale * (q as f32 - zero));
    }
    one(Tensor::new(input.shape(), out))
}

/// `scale` and `zero_point`: one of each, or one for each index of `axis`.
struct Affine {
    scales: Vec<f32>,
    zeros: Vec<f32>,
    inner: usize,
}

impl Affine {
    fn read(call: &Call<'_>, shape: &[usize]) -> Result<Self, OpFault> {
        let scale = call.tensor("scale")?;
        let zeros = match call.optional("zero_point")? {
            None => vec![0.0],
            Some(t) => match t.data() {
                Data::Float(v) => v.to_vec(),
                _ => t.ints()?.iter().map(|&i| i as f32).collect(),
            },
        };
        let (mut size, mut inner) = (1, 1);
        if call.has("axis") {
            let axis = call.axis("axis", shape.len())?;
            (size, inner) = (shape[axis], shape[axis + 1..].iter().product());
        }
        let scales = scale.floats()?.to_vec();
        if [scales.len(), zeros.len()].iter().any(|&n| n != 1 && n != size) {
            let rule = "scale and zero_point must be scalars, or have one element per index of axis";
            return Err(OpFault::shapes(rule, &[shape, scale.shape(), &[zeros.len()]]));
        }
        Ok(Self { scales, zeros, inner })
    }

    fn at(&self, flat: usize) -> (f32, f32) {
        let i = flat / self.inner;
        (self.scales[i % self.scales.len()], self.zeros[i % self.zeros.len()])
    }
}

#[cfg(test)]
mod tests {
    use crate::reference::testing::{counting, eval, f, floats, i, ints};

    #[test]
    fn quantization_rounds_to_even_and_clips() {
        let x = f([5], &[0.25, 0.75, -1.25, 1000., -1000.]);
        let got = ints!("quantize", input = x.clone(), scale = 0.5, output_dtype = "int8");
        assert_eq!(got.1, [0, 2, -2, 127, -128]);
        let got = ints!("quantize", input = x, scale = 0.5, zero_point = 128, output_dtype = "uint8");
        assert_eq!(got.1, [128, 130, 126, 255, 0]);
    }

    #[test]
    fn scales_may_belong_to_an_axis() {
        let q = i([2, 2], &[1, 2, 3, 4]);
        let got = floats!("dequantize", input = q, scale = f([2], &[1., 10.]), zero_point = i([2], &[1, 0]), axis = 0);
        assert_eq!(got, (vec![2, 2], vec![0., 1., 30., 40.]));
        let got = floats!("dequantize", input = i([1, 2], &[1, 2]), scale = f([2], &[1., 10.]), axis = -1);
        assert_eq!(got.1, [1., 20.]);
    }

    #[test]
    fn scales_that_fit_no_axis_are_a_fault() {
        assert!(
            eval!("quantize", input = counting([2, 2]), scale = f([3], &[1.; 3]), axis = 0, output_dtype = "int8")
                .is_err()
        );
        assert!(eval!("quantize", input = counting([2]), scale = 1.0, output_dtype = "int32").is_err());
    }
}
