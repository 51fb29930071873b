//! Two operands element by element: arithmetic, comparison, logic; and `select`, which has three.
//!
//! Source of the rules: coremltools 9.0, whose constant folding is NumPy's.

use super::{
    broadcast::{Shaped, zip},
    call::{Call, Results, one},
    kernels::{Kernel, computes, moves},
    layout::{View, broadcast_shape},
    value::{Data, Element, PARALLEL_ELEMENTS, Tensor, for_kind},
};
use crate::OpFault;
use rayon::prelude::*;

pub(super) const KERNELS: &[Kernel] = &[
    computes("add", |c| arithmetic(c, |a, b| a + b, i64::wrapping_add)),
    computes("sub", |c| arithmetic(c, |a, b| a - b, i64::wrapping_sub)),
    computes("mul", |c| arithmetic(c, |a, b| a * b, i64::wrapping_mul)),
    computes("real_div", |c| arithmetic(c, |a, b| a / b, divide)),
    computes("floor_div", |c| rare(c, floor_div, floor_div_int)),
    computes("mod", |c| rare(c, modulo, modulo_int)),
    computes("pow", |c| rare(c, f32::powf, power)),
    computes("maximum", |c| arithmetic(c, maximum, i64::max)),
    computes("minimum", |c| arithmetic(c, minimum, i64::min)),
    computes("greater", |c| compare(c, |a, b| a > b, |a, b| a > b)),
    computes("greater_equal", |c| compare(c, |a, b| a >= b, |a, b| a >= b)),
    computes("less", |c| compare(c, |a, b| a < b, |a, b| a < b)),
    computes("less_equal", |c| compare(c, |a, b| a <= b, |a, b| a <= b)),
    computes("equal", |c| compare(c, |a, b| a == b, |a, b| a == b)),
    computes("not_equal", |c| compare(c, |a, b| a != b, |a, b| a != b)),
    computes("logical_and", |c| logic(c, |a, b| a & b)),
    computes("logical_or", |c| logic(c, |a, b| a | b)),
    computes("logical_xor", |c| logic(c, |a, b| a ^ b)),
    moves("select", select),
];

fn shaped<T: Element>(t: &Tensor) -> Result<Shaped<'_, T>, OpFault> {
    Ok(Shaped { shape: t.shape(), values: t.view()? })
}

/// An operation on floats or on integers.
fn arithmetic(call: &mut Call<'_>, float: impl Fn(f32, f32) -> f32 + Sync, int: fn(i64, i64) -> i64) -> Results {
    let (mut x, y) = (call.take("x")?, call.take("y")?);
    if let (Data::Float(_), Data::Int(_)) | (Data::Int(_), Data::Float(_)) = (x.data(), y.data()) {
        let actual = format!("{} and {}", x.kind(), y.kind());
        return Err(OpFault::Kind { param: "y".into(), expected: "of the same kind as x", actual });
    }
    if let Data::Float(_) = x.data() {
        if overwrite(&mut x, &y, &float)? {
            return one(x);
        }
        let (shape, out) = zip(&shaped(&x)?, &shaped(&y)?, call.limit, float)?;
        return one(Tensor::new(shape, out));
    }
    let (shape, out) = zip(&shaped(&x)?, &shaped(&y)?, call.limit, int)?;
    one(Tensor::new(shape, out))
}

/// The same through a function pointer: slower for floats, and less code for what is seldom used.
fn rare(call: &mut Call<'_>, float: fn(f32, f32) -> f32, int: fn(i64, i64) -> i64) -> Results {
    arithmetic(call, float, int)
}

/// Computes in place where `x` is not needed again and nothing is broadcast along it; false where it may not.
fn overwrite(x: &mut Tensor, y: &Tensor, f: &(impl Fn(f32, f32) -> f32 + Sync)) -> Result<bool, OpFault> {
    let scalar = y.len() == 1 && y.rank() <= x.rank();
    if !(scalar || x.shape() == y.shape()) || !x.is_unshared() {
        return Ok(false);
    }
    let (ys, xs) = (y.floats()?, x.floats_mut()?);
    let task = |(xs, ys): (&mut [f32], &[f32])| xs.iter_mut().zip(ys).for_each(|(a, &b)| *a = f(*a, b));
    const CHUNK: usize = PARALLEL_ELEMENTS / 4;
    if scalar {
        let b = ys[0];
        super::value::map_in_place(xs, |a| f(a, b));
    } else if xs.len() < PARALLEL_ELEMENTS {
        task((xs, ys));
    } else {
        xs.par_chunks_mut(CHUNK).zip(ys.par_chunks(CHUNK)).for_each(task);
    }
    Ok(true)
}

fn compare(call: &mut Call<'_>, float: fn(f32, f32) -> bool, int: fn(i64, i64) -> bool) -> Results {
    let (x, y) = (call.take("x")?, call.take("y")?);
    let (shape, out) = match x.data() {
        Data::Float(_) => zip(&shaped(&x)?, &shaped(&y)?, call.limit, float)?,
        _ => zip(&shaped(&x)?, &shaped(&y)?, call.limit, int)?,
    };
    one(Tensor::new(shape, out))
}

fn logic(call: &mut Call<'_>, f: fn(bool, bool) -> bool) -> Results {
    let (x, y) = (call.take("x")?, call.take("y")?);
    let (shape, out) = zip(&shaped(&x)?, &shaped(&y)?, call.limit, f)?;
    one(Tensor::new(shape, out))
}

/// `select(cond, a, b)`: `a` where `cond` holds, else `b`; all three broadcast.
fn select(call: &mut Call<'_>) -> Results {
    let (cond, a, b) = (call.take("cond")?, call.take("a")?, call.take("b")?);
    let shape = broadcast_shape(&[cond.shape(), a.shape(), b.shape()])?;
    let n = call.count(&shape)?;
    let conds = View::broadcast(cond.shape(), &shape).copy(cond.bools()?)?;
    for_kind!(a.data(), T => {
        let mut out: Vec<T> = View::broadcast(a.shape(), &shape).copy(a.view()?)?;
        let others: Vec<T> = View::broadcast(b.shape(), &shape).copy(b.view()?)?;
        debug_assert_eq!(out.len(), n);
        for ((o, other), cond) in out.iter_mut().zip(others).zip(conds) {
            if !cond {
                *o = other;
            }
        }
        one(Tensor::new(shape, out))
    })
}

/// The quotient toward zero; dividing by zero gives zero, as NumPy's integer division does.
const fn divide(a: i64, b: i64) -> i64 {
    if b == 0 { 0 } else { a.wrapping_div(b) }
}

/// The quotient toward negative infinity; dividing by zero gives zero, as in NumPy.
const fn floor_div_int(a: i64, b: i64) -> i64 {
    if b == 0 {
        return 0;
    }
    let (quotient, rest) = (a.wrapping_div(b), a.wrapping_rem(b));
    if rest != 0 && (rest < 0) != (b < 0) { quotient - 1 } else { quotient }
}

/// The remainder with the divisor's sign; dividing by zero gives zero, as in NumPy.
const fn modulo_int(a: i64, b: i64) -> i64 {
    if b == 0 {
        return 0;
    }
    let rest = a.wrapping_rem(b);
    if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest }
}

/// The remainder with the divisor's sign.
fn modulo(a: f32, b: f32) -> f32 {
    let rest = a % b;
    if rest != 0.0 && (rest < 0.0) != (b < 0.0) { rest + b } else { rest }
}

/// The quotient toward negative infinity, consistent with [`modulo`] where the quotient itself would round
/// up to the next integer: NumPy's `floor_divide`.
fn floor_div(a: f32, b: f32) -> f32 {
    if b == 0.0 || !a.is_finite() || !b.is_finite() {
        return (a / b).floor();
    }
    let quotient = (a - modulo(a, b)) / b;
    let floor = quotient.floor();
    if quotient - floor > 0.5 { floor + 1.0 } else { floor }
}

/// Integer power, wrapping; a negative exponent gives the power toward zero.
fn power(a: i64, b: i64) -> i64 {
    match (a, u32::try_from(b)) {
        (_, Ok(exponent)) => a.wrapping_pow(exponent),
        (1, _) => 1,
        (-1, _) => {
            if b % 2 == 0 {
                1
            } else {
                -1
            }
        }
        _ => 0,
    }
}

/// The larger; NaN when either is, as NumPy's `maximum`.
fn maximum(a: f32, b: f32) -> f32 {
    if a > b || a.is_nan() { a } else { b }
}

/// The smaller; NaN when either is, as NumPy's `minimum`.
fn minimum(a: f32, b: f32) -> f32 {
    if a < b || a.is_nan() { a } else { b }
}

#[cfg(test)]
mod tests {
    use crate::reference::testing::{eval, f, floats, i, ints};
    use host_tensor::HostTensor;

    #[test]
    fn operands_broadcast() {
        let (x, y) = (f([2, 1], &[1., 2.]), f([3], &[10., 20., 30.]));
        assert_eq!(floats!("add", x = x, y = y), (vec![2, 3], vec![11., 21., 31., 12., 22., 32.]));
    }

    #[test]
    fn a_scalar_of_higher_rank_makes_the_result_of_its_rank() {
        assert_eq!(floats!("mul", x = f([2], &[1., 2.]), y = f([1, 1], &[3.])), (vec![1, 2], vec![3., 6.]));
    }

    #[test]
    fn remainders_have_the_divisors_sign() {
        let (x, y) = (i([4], &[7, -7, 7, -7]), i([4], &[3, 3, -3, -3]));
        assert_eq!(ints!("mod", x = x.clone(), y = y.clone()).1, [1, 2, -2, -1]);
        assert_eq!(ints!("floor_div", x = x.clone(), y = y.clone()).1, [2, -3, -3, 2]);
        let (x, y) = (x.cast(mil::DType::F32), y.cast(mil::DType::F32));
        assert_eq!(floats!("mod", x = x.clone(), y = y.clone()).1, [1., 2., -2., -1.]);
        assert_eq!(floats!("floor_div", x = x, y = y).1, [2., -3., -3., 2.]);
    }

    #[test]
    fn integer_division_by_zero_is_zero_and_not_a_panic() {
        let (x, y) = (i([2], &[7, i32::MIN]), i([2], &[0, -1]));
        assert_eq!(ints!("floor_div", x = x.clone(), y = y.clone()).1, [0, 1 << 31]);
        assert_eq!(ints!("mod", x = x.clone(), y = y.clone()).1, [0, 0]);
        assert_eq!(ints!("real_div", x = x, y = y).1, [0, 1 << 31]);
    }

    #[test]
    fn integer_powers() {
        let (x, y) = (i([5], &[2, -1, -1, 3, 0]), i([5], &[10, -3, -2, -1, 0]));
        assert_eq!(ints!("pow", x = x, y = y).1, [1024, -1, 1, 0, 1]);
    }

    #[test]
    fn not_a_number_is_neither_larger_nor_lost() {
        let (x, y) = (f([2], &[f32::NAN, 1.]), f([2], &[1., f32::NAN]));
        assert!(floats!("maximum", x = x.clone(), y = y.clone()).1.iter().all(|v| v.is_nan()));
        assert!(floats!("minimum", x = x.clone(), y = y.clone()).1.iter().all(|v| v.is_nan()));
        assert_eq!(ints!("greater", x = x.clone(), y = y.clone()).1, [0, 0]);
        assert_eq!(ints!("not_equal", x = x, y = y).1, [1, 1]);
    }

    #[test]
    fn select_chooses_element_by_element() {
        let cond = HostTensor::from_bool([2, 1], &[true, false]);
        let got = floats!("select", cond = cond, a = f([2], &[1., 2.]), b = f([1], &[9.]));
        assert_eq!(got, (vec![2, 2], vec![1., 2., 9., 9.]));
    }

    #[test]
    fn kinds_may_not_be_mixed() {
        let err = eval!("add", x = f([1], &[1.]), y = i([1], &[1])).unwrap_err();
        assert_eq!(err.to_string(), "y must be of the same kind as x, not float and int");
    }
}
