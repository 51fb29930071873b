//! One operand element by element, without activations: roots, exponentials, rounding, casts.

use super::{
    call::{Call, Results, one},
    kernels::{Kernel, computes},
    value::{Data, Tensor, map, map_in_place, round_to},
};
use crate::OpFault;
use host_tensor::DType;

pub(super) const KERNELS: &[Kernel] = &[
    computes("abs", |c| either(c, f32::abs, i64::wrapping_abs)),
    computes("cast", cast),
    computes("ceil", |c| float(c, f32::ceil)),
    computes("clip", clip),
    computes("cos", |c| float(c, f32::cos)),
    computes("erf", |c| float(c, libm::erff)),
    computes("exp", |c| float(c, f32::exp)),
    computes("exp2", |c| either(c, f32::exp2, power_of_two)),
    computes("floor", |c| float(c, f32::floor)),
    computes("inverse", |c| with_epsilon(c, |x, epsilon| 1.0 / (x + epsilon))),
    computes("log", |c| with_epsilon(c, |x, epsilon| (x + epsilon).ln())),
    computes("logical_not", logical_not),
    computes("round", |c| float(c, f32::round_ties_even)),
    computes("rsqrt", |c| with_epsilon(c, |x, epsilon| 1.0 / (x + epsilon).sqrt())),
    computes("sign", |c| either(c, sign, i64::signum)),
    computes("sin", |c| float(c, f32::sin)),
    computes("sqrt", |c| float(c, f32::sqrt)),
    computes("square", |c| either(c, |x| x * x, |x| x.wrapping_mul(x))),
];

/// An operation on floats.
pub(super) fn float(call: &mut Call<'_>, f: impl Fn(f32) -> f32 + Sync) -> Results {
    let mut x = call.take("x")?;
    map_in_place(x.floats_mut()?, f);
    one(x)
}

/// An operation on floats or on integers.
fn either(call: &mut Call<'_>, f: impl Fn(f32) -> f32 + Sync, g: impl Fn(i64) -> i64 + Sync) -> Results {
    let mut x = call.take("x")?;
    match x.data() {
        Data::Float(_) => map_in_place(x.floats_mut()?, f),
        _ => map_in_place(x.ints_mut()?, g),
    }
    one(x)
}

/// An operation with an `epsilon`, whose default is taken in the precision of `x`.
fn with_epsilon(call: &mut Call<'_>, f: impl Fn(f32, f32) -> f32 + Sync) -> Results {
    let given = call.float("epsilon")?;
    let epsilon = if call.has("epsilon") { given } else { round_to(call.dtype("x")?, given) };
    float(call, |x| f(x, epsilon))
}

/// `clip(x, alpha, beta)`: `min(max(x, alpha), beta)`.
fn clip(call: &mut Call<'_>) -> Results {
    let (low, high) = (call.float("alpha")?, call.float("beta")?);
    float(call, |x| {
        let raised = if x < low { low } else { x };
        if raised > high { high } else { raised }
    })
}

/// −1, 0 or 1; NaN stays.
fn sign(x: f32) -> f32 {
    if x == 0.0 || x.is_nan() { x } else { x.signum() }
}

/// 2ˣ toward zero, saturating.
fn power_of_two(x: i64) -> i64 {
    (x as f64).exp2() as i64
}

fn logical_not(call: &mut Call<'_>) -> Results {
    let x = call.take("x")?;
    one(Tensor::new(x.shape(), map(x.bools()?, |b: bool| !b)?))
}

/// `cast(x, dtype)`.
///
/// Between floats nothing happens here: rounding to the declared type is the interpreter's part.
fn cast(call: &mut Call<'_>) -> Results {
    let name = call.text("dtype")?;
    let dtype = DType::from_name(name).ok_or_else(|| OpFault::value("dtype", name, "it must name a type"))?;
    one(convert(call.take("x")?, dtype)?)
}

/// Floats become integers toward zero, saturating; integers are wrapped by the interpreter; anything but
/// zero is true.
pub(super) fn convert(x: Tensor, dtype: DType) -> Result<Tensor, OpFault> {
    let shape = x.shape().to_vec();
    let (low, high) = range(dtype);
    Ok(match (x.data(), dtype) {
        (Data::Float(v), DType::Bool) => Tensor::new(shape, map(v, |x| x != 0.0)?),
        (Data::Int(v), DType::Bool) => Tensor::new(shape, map(v, |x| x != 0)?),
        (Data::Bool(v), d) if d.is_float() => Tensor::new(shape, map(v, |b| f32::from(u8::from(b)))?),
        (Data::Bool(v), d) if d.is_int() => Tensor::new(shape, map(v, i64::from)?),
        (Data::Int(v), d) if d.is_float() => Tensor::new(shape, map(v, |i| i as f32)?),
        (Data::Float(v), d) if d.is_int() => Tensor::new(shape, map(v, |x| (x as i64).clamp(low, high))?),
        _ => x,
    })
}

/// Smallest and largest value of an integer type, as far as `i64` holds them.
pub(super) const fn range(dtype: DType) -> (i64, i64) {
    match (dtype.is_signed_int(), dtype.bits()) {
        (_, 64..) => (i64::MIN, i64::MAX),
        (true, bits) => (-(1 << (bits - 1)), (1 << (bits - 1)) - 1),
        (false, bits) => (0, (1 << bits) - 1),
    }
}

#[cfg(test)]
mod tests {
    use crate::reference::testing::{eval, f, floats, i, ints};
    use host_tensor::HostTensor;

    #[test]
    fn casts_truncate_saturate_and_test_for_zero() {
        let x = f([5], &[-1.9, 2.9, 0.0, f32::NAN, 1e20]);
        assert_eq!(ints!("cast", x = x.clone(), dtype = "int32").1, [-1, 2, 0, 0, i64::from(i32::MAX)]);
        assert_eq!(ints!("cast", x = x.clone(), dtype = "uint16").1, [0, 2, 0, 0, 65535]);
        assert_eq!(ints!("cast", x = x, dtype = "bool").1, [1, 1, 0, 1, 1]);
        let b = HostTensor::from_bool([2], &[true, false]);
        assert_eq!(floats!("cast", x = b.clone(), dtype = "fp16").1, [1., 0.]);
        assert_eq!(ints!("cast", x = b, dtype = "int32").1, [1, 0]);
        assert!(eval!("cast", x = f([1], &[0.]), dtype = "float32").is_err());
    }

    #[test]
    fn rounding_is_to_even() {
        assert_eq!(floats!("round", x = f([4], &[0.5, 1.5, -2.5, 2.6])).1, [0., 2., -2., 3.]);
    }

    #[test]
    fn the_error_function_is_accurate_to_its_last_digits() {
        // Abramowitz and Stegun, table 7.1.
        let got = floats!("erf", x = f([4], &[0.0, 0.5, 1.0, -2.0])).1;
        for (got, want) in got.iter().zip([0.0, 0.520_499_9, 0.842_700_8, -0.995_322_3]) {
            assert!((got - want).abs() <= 6e-8, "{got} against {want}");
        }
    }

    #[test]
    fn epsilons_default_to_the_precision_of_the_operand() {
        assert_eq!(floats!("rsqrt", x = f([1], &[0.0])).1, [1.0 / 1e-12f32.sqrt()]);
        assert_eq!(floats!("rsqrt", x = HostTensor::from_f16([1], &[0.0])).1, [f32::INFINITY]);
        assert_eq!(floats!("inverse", x = f([1], &[0.0]), epsilon = 0.5).1, [2.0]);
        assert_eq!(floats!("log", x = f([1], &[1.0])).1, [0.0]);
    }

    #[test]
    fn clipping_keeps_what_is_not_a_number() {
        let got = floats!("clip", x = f([4], &[-2., 0.5, 7., f32::NAN]), alpha = -1.0, beta = 1.0).1;
        assert_eq!(got[..3], [-1., 0.5, 1.]);
        assert!(got[3].is_nan());
    }

    #[test]
    fn integers_have_their_own_forms() {
        assert_eq!(ints!("sign", x = i([3], &[-5, 0, 9])).1, [-1, 0, 1]);
        assert_eq!(ints!("abs", x = i([1], &[-5])).1, [5]);
        assert_eq!(ints!("exp2", x = i([2], &[5, -1])).1, [32, 0]);
        assert_eq!(ints!("square", x = i([1], &[-5])).1, [25]);
        assert_eq!(ints!("logical_not", x = HostTensor::from_bool([2], &[true, false])).1, [0, 1]);
    }
}
