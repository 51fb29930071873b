//! Matrix products.

use super::{
    Accepts, Default, OpError, OpSpec, Param, View,
    dims::{broadcast, meet, one, show},
    domain::{IOS15, IOS17, NUMBER},
};
use crate::types::{Dim, TensorType, Type};

const X: Param = Param::tensor("x", 'T', NUMBER);

/// `x · weightᵀ + bias`; without `bias`, zeros.
const fn linear_params(letter: char) -> [Param; 3] {
    [
        X,
        Param::tensor("weight", letter, NUMBER).constant(),
        Param::tensor("bias", letter, NUMBER).vector().constant().optional(),
    ]
}

const fn matmul_params(letter: char) -> [Param; 4] {
    [
        X,
        Param::tensor("y", letter, NUMBER),
        Param::flag("transpose_x").or(Default::Bool(false)),
        Param::flag("transpose_y").or(Default::Bool(false)),
    ]
}

const EINSUM: &[Param] = &[Param::tensors("values"), Param::other("equation", Accepts::FreeText).constant()];

pub(super) const SPECS: &[OpSpec] = &[
    OpSpec::new("linear", IOS15, &linear_params('T'), linear),
    OpSpec::new("linear", IOS17, &linear_params('U'), linear),
    OpSpec::new("matmul", IOS15, &matmul_params('T'), matmul),
    OpSpec::new("matmul", IOS17, &matmul_params('U'), matmul17),
    OpSpec::new("einsum", IOS15, EINSUM, einsum),
];

fn linear(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    let (x, weight) = (o.tensor("x")?, o.tensor("weight")?);
    let ([outer @ .., d_in], [d_out, w_in]) = (&x.shape[..], &weight.shape[..]) else {
        fail!("x {x} needs a last dimension, and weight {weight} two dimensions")
    };
    ensure!(d_in.agrees(*w_in), "the last dimensions of x {x} and weight {weight} differ");
    if let Some(bias) = o.optional_tensor("bias") {
        ensure!(bias.shape[0].agrees(*d_out), "bias {bias} does not have the {d_out} outputs of weight {weight}");
    }
    one(x.dtype, [outer, &[*d_out]].concat())
}

fn matmul(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    let x = o.tensor("x")?;
    one(x.dtype, product_shape(o)?)
}

/// Since iOS 17 the types of x and y may differ, when exactly one of them is a constant; the other's is the
/// result's. coremltools looks for a literal here; the result of a `constexpr_*` operation does not count.
fn matmul17(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    let (x, y) = (o.tensor("x")?, o.tensor("y")?);
    let dtype = match (o.literal("x").is_some(), o.literal("y").is_some()) {
        (true, false) => y.dtype,
        (false, true) => x.dtype,
        _ if x.dtype == y.dtype => x.dtype,
        _ => fail!("x {x} and y {y} may differ in type only if exactly one of them is a constant"),
    };
    one(dtype, product_shape(o)?)
}

fn product_shape(o: &View<'_>) -> Result<Vec<Dim>, OpError> {
    let (x, y) = (o.tensor("x")?, o.tensor("y")?);
    let mut a = transposed(x, o.known_bool("transpose_x")?, "x")?;
    let b = transposed(y, o.known_bool("transpose_y")?, "y")?;
    ensure!(!a.is_empty(), "x must have a dimension");
    ensure!(b.len() >= 2, "y {y} must have two dimensions");
    let is_vector = a.len() == 1;
    // Here coremltools infers a type that its own evaluation does not have.
    ensure!(!is_vector || b.len() == 2, "a vector x {x} multiplies a matrix only, not {y}");
    if is_vector {
        a.insert(0, Dim::Size(1));
    }
    let (a_batch, [rows, inner]) = split_matrix(&a);
    let (b_batch, [inner_too, columns]) = split_matrix(&b);
    ensure!(inner.agrees(inner_too), "{} and {} do not multiply: {inner} is not {inner_too}", show(&a), show(&b));
    let mut shape = broadcast(a_batch, b_batch)?;
    if !is_vector {
        shape.push(rows);
    }
    shape.push(columns);
    Ok(shape)
}

fn transposed(t: &TensorType, swap: bool, name: &str) -> Result<Vec<Dim>, OpError> {
    let mut shape = t.shape.clone();
    if swap {
        let n = shape.len();
        ensure!(n >= 2, "{name} {t} cannot be transposed");
        shape.swap(n - 1, n - 2);
    }
    Ok(shape)
}

/// The leading dimensions, and the last two; the shape has at least two.
fn split_matrix(shape: &[Dim]) -> (&[Dim], [Dim; 2]) {
    let (batch, matrix) = shape.split_at(shape.len() - 2);
    (batch, [matrix[0], matrix[1]])
}

/// Core ML knows two families: `nchw,nwhu->nchu` and `chw,whu->chu`, in any letters.
/// Both contract the last dimension of x with the third last of y; n and h broadcast.
fn einsum(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    let values = o.tensors("values")?;
    let [x, y] = values[..] else { fail!("values must be two tensors, not {}", values.len()) };
    let equation = o.known_text("equation")?;
    let Some(rank) = einsum_rank(equation) else {
        fail!("equation {equation:?} is neither of the form nchw,nwhu->nchu nor chw,whu->chu")
    };
    ensure!(x.rank() == rank && y.rank() == rank, "{equation} needs tensors of rank {rank}, not {x} and {y}");
    let end = |t: &TensorType, from_end: usize| t.shape[rank - from_end];
    ensure!(end(x, 1).agrees(end(y, 3)), "{equation} contracts {} of {x} with {} of {y}", end(x, 1), end(y, 3));
    let shared = |from_end| {
        let (a, b) = (end(x, from_end), end(y, from_end));
        match (a, b) {
            (Dim::Size(1), d) | (d, Dim::Size(1)) => Ok(d),
            _ => meet(a, b).ok_or_else(|| OpError::new(format!("{equation}: {a} of {x} is not {b} of {y}"))),
        }
    };
    let mut shape = vec![end(x, 3), shared(2)?, end(y, 1)];
    if rank == 4 {
        shape.insert(0, shared(4)?);
    }
    one(x.dtype, shape)
}

/// The rank of the family that the equation belongs to.
fn einsum_rank(equation: &str) -> Option<usize> {
    let (operands, result) = equation.split_once("->")?;
    let (x, y) = operands.split_once(',')?;
    if equation.len() > "nchw,nwhu->nchu".len() {
        return None;
    }
    let mut letters = Vec::new();
    let mut number = |term: &str| -> Vec<usize> {
        let id = |c| {
            letters.iter().position(|&l| l == c).unwrap_or_else(|| {
                letters.push(c);
                letters.len() - 1
            })
        };
        term.chars().map(id).collect()
    };
    match (&number(x)[..], &number(y)[..], &number(result)[..]) {
        ([0, 1, 2, 3], [0, 3, 2, 4], [0, 1, 2, 4]) => Some(4),
        ([0, 1, 2], [2, 1, 3], [0, 1, 3]) => Some(3),
        _ => None,
    }
}
