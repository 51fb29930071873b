//! Matrix products: `linear`, `matmul`, `einsum`.

use super::{
    call::{Call, Results, one},
    elementwise_unary::convert,
    kernels::{Kernel, computes},
    layout::{Odometer, broadcast_shape, broadcast_strides},
    product::{Matrix, Sizes, Threads, multiply, multiply_batch},
    value::{Data, Tensor, filled},
};
use crate::OpFault;
use host_tensor::{DType, Stop};
use rayon::prelude::*;

pub(super) const KERNELS: &[Kernel] =
    &[computes("einsum", einsum), computes("linear", linear), computes("matmul", matmul)];

/// Operands of different kinds, which iOS 17 allows where one is a constant, are multiplied as floats; true
/// when the result is to be integers again, because `leader` was of them.
fn unify(operands: [&mut Tensor; 2], leader: usize) -> Result<bool, OpFault> {
    let is_int = operands.each_ref().map(|t| matches!(t.data(), Data::Int(_)));
    if is_int[0] == is_int[1] {
        return Ok(false);
    }
    for t in operands {
        *t = convert(t.clone(), DType::F32)?;
    }
    Ok(is_int[leader])
}

/// `x·weightᵀ + bias`, over the last dimension of `x`.
fn linear(call: &mut Call<'_>) -> Results {
    let (mut x, mut weight) = (call.tensor("x")?, call.tensor("weight")?);
    let mut bias = call.optional("bias")?;
    let truncates = unify([&mut x, &mut weight], 0)?;
    if let (Some(bias), Data::Float(_)) = (&mut bias, x.data()) {
        *bias = convert(bias.clone(), DType::F32)?;
    }
    let y = multiply_add(call, &x, &weight, bias.as_ref())?;
    one(if truncates { convert(y, DType::I32)? } else { y })
}

fn multiply_add(call: &Call<'_>, x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor, OpFault> {
    let rule = "the last dimensions of x and weight, and bias and the first of weight, must be equal";
    let fault = || OpFault::shapes(rule, &[x.shape(), weight.shape()]);
    let (&[d_out, d_in], Some((&last, outer))) = (weight.shape(), x.shape().split_last()) else { return Err(fault()) };
    if last != d_in || bias.as_ref().is_some_and(|b| b.len() != d_out) {
        return Err(fault());
    }
    let m: usize = outer.iter().product();
    let shape = [outer, &[d_out]].concat();
    let n = call.count(&shape)?;
    if let Data::Int(_) = x.data() {
        let mut out = filled(n, 0i64)?;
        let operands = |_| (Grid::rows(x.ints(), d_in), Grid::rows(weight.ints(), d_in).transposed());
        multiply_ints(Sizes { m, n: d_out, k: d_in }, &mut out, operands)?;
        if let Some(bias) = bias {
            add_rows_int(&mut out, bias.ints()?);
        }
        return Ok(Tensor::new(shape, out));
    }
    let mut out = filled(n, 0f32)?;
    let (a, b) = (Matrix::rows(x.floats()?, d_in), Matrix::rows(weight.floats()?, d_in).transposed());
    multiply(Sizes { m, n: d_out, k: d_in }, a, b, &mut out, d_out, Threads::All);
    if let Some(bias) = bias {
        let bias = bias.floats()?;
        let add = |row: &mut [f32]| row.iter_mut().zip(bias).for_each(|(o, b)| *o += b);
        out.par_chunks_mut((d_out * 64).max(1)).for_each(|rows| rows.chunks_mut(d_out.max(1)).for_each(add));
    }
    Ok(Tensor::new(shape, out))
}

fn add_rows_int(out: &mut [i64], bias: &[i64]) {
    for row in out.chunks_mut(bias.len().max(1)) {
        row.iter_mut().zip(bias).for_each(|(o, b)| *o = o.wrapping_add(*b));
    }
}

/// One operand of a `matmul`: the batch dimensions, and the matrix behind them.
struct Side {
    batch: Vec<usize>,
    rows: usize,
    columns: usize,
    transposed: bool,
}

impl Side {
    fn new(t: &Tensor, transposed: bool, vector_is_row: bool) -> Result<Self, OpFault> {
        let (batch, rows, columns) = match *t.shape() {
            [] => return Err(OpFault::shapes("a product needs a dimension", &[t.shape()])),
            [n] if vector_is_row => (&[][..], 1, n),
            [n] => (&[][..], n, 1),
            [ref batch @ .., rows, columns] => (batch, rows, columns),
        };
        let transposed = transposed && t.rank() > 1;
        let (rows, columns) = if transposed { (columns, rows) } else { (rows, columns) };
        Ok(Self { batch: batch.to_vec(), rows, columns, transposed })
    }

    fn matrix<'a>(&self, data: &'a [f32]) -> Matrix<'a> {
        if self.transposed { Matrix::rows(data, self.rows).transposed() } else { Matrix::rows(data, self.columns) }
    }

    fn grid<'a>(&self, data: Result<&'a [i64], OpFault>) -> Grid<'a> {
        if self.transposed { Grid::rows(data, self.rows).transposed() } else { Grid::rows(data, self.columns) }
    }
}

/// `matmul(x, y, transpose_x, transpose_y)`: NumPy's rules; the flags swap the last two dimensions first.
fn matmul(call: &mut Call<'_>) -> Results {
    let (mut x, mut y) = (call.tensor("x")?, call.tensor("y")?);
    let truncates = unify([&mut x, &mut y], usize::from(call.is_constant("x")))?;
    let product = multiply_all(call, &x, &y)?;
    one(if truncates { convert(product, DType::I32)? } else { product })
}

fn multiply_all(call: &Call<'_>, x: &Tensor, y: &Tensor) -> Result<Tensor, OpFault> {
    let a = Side::new(x, call.flag("transpose_x")?, true)?;
    let b = Side::new(y, call.flag("transpose_y")?, false)?;
    if a.columns != b.rows {
        return Err(OpFault::shapes("the inner dimensions of a product must be equal", &[x.shape(), y.shape()]));
    }
    let batch = broadcast_shape(&[&a.batch, &b.batch])?;
    let sizes = Sizes { m: a.rows, n: b.columns, k: a.columns };
    let mut shape = batch.clone();
    shape.extend((x.rank() > 1).then_some(sizes.m));
    shape.extend((y.rank() > 1).then_some(sizes.n));
    let n = call.count(&shape)?;
    let offsets = batch_offsets(&a, &b, &batch);
    if let Data::Int(_) = x.data() {
        let mut out = filled(n, 0i64)?;
        let operands = |i: usize| (a.grid(x.ints()).at(offsets[i].0), b.grid(y.ints()).at(offsets[i].1));
        multiply_ints(sizes, &mut out, operands)?;
        return Ok(Tensor::new(shape, out));
    }
    let (xs, ys) = (x.floats()?, y.floats()?);
    let mut out = filled(n, 0f32)?;
    if b.batch.iter().all(|&d| d == 1) && !a.transposed && xs.len() == n / sizes.n.max(1) * sizes.k {
        // One right side for all: the batch is more rows.
        let all = Sizes { m: n / sizes.n.max(1), ..sizes };
        multiply(all, Matrix::rows(xs, sizes.k), b.matrix(ys), &mut out, sizes.n, Threads::All);
    } else if sizes.k > 0 {
        multiply_batch(sizes, &mut out, call.stop, |i| (a.matrix(xs).at(offsets[i].0), b.matrix(ys).at(offsets[i].1)));
    }
    Ok(Tensor::new(shape, out))
}

/// Where the matrices of each batch index begin.
fn batch_offsets(a: &Side, b: &Side, batch: &[usize]) -> Vec<(usize, usize)> {
    let strides = |side: &Side| -> Vec<isize> {
        let each = side.rows * side.columns;
        broadcast_strides(&side.batch, batch).into_iter().map(|s| (s * each) as isize).collect()
    };
    let (a, b) = (strides(a), strides(b));
    let mut at = Odometer::new(batch, [&a, &b], 0);
    let next = |_| {
        let [x, y] = at.offsets();
        at.advance();
        (x as usize, y as usize)
    };
    (0..batch.iter().product()).map(next).collect()
}

/// A matrix of integers; products of integers are rare and small.
struct Grid<'a> {
    data: Result<&'a [i64], OpFault>,
    row_step: usize,
    column_step: usize,
    offset: usize,
}

impl<'a> Grid<'a> {
    const fn rows(data: Result<&'a [i64], OpFault>, columns: usize) -> Self {
        Self { data, row_step: columns, column_step: 1, offset: 0 }
    }

    fn transposed(self) -> Self {
        Self { row_step: self.column_step, column_step: self.row_step, ..self }
    }

    fn at(self, offset: usize) -> Self {
        Self { offset, ..self }
    }
}

fn multiply_ints<'a>(
    sizes: Sizes,
    out: &mut [i64],
    operands: impl Fn(usize) -> (Grid<'a>, Grid<'a>),
) -> Result<(), OpFault> {
    let Sizes { m, n, k } = sizes;
    for (i, out) in out.chunks_mut((m * n).max(1)).enumerate() {
        let (a, b) = operands(i);
        let (xs, ys) = (a.data?, b.data?);
        for (j, o) in out.iter_mut().enumerate() {
            let (row, column) = (a.offset + j / n * a.row_step, b.offset + j % n * b.column_step);
            let term = |l: usize| xs[row + l * a.column_step].wrapping_mul(ys[column + l * b.row_step]);
            *o = (0..k).fold(0i64, |sum, l| sum.wrapping_add(term(l)));
        }
    }
    Ok(())
}

/// The dimensions of an `einsum`: `out[n,c,h,u] = Σ_w x[n,c,h,w]·y[n,w,h,u]`, where `n` and `h` broadcast.
struct Contraction {
    x: [usize; 4],
    y: [usize; 4],
    out: [usize; 4],
}

/// `einsum(values, equation)`: the two families that Core ML has, `nchw,nwhu->nchu` and `chw,whu->chu`.
fn einsum(call: &mut Call<'_>) -> Results {
    let equation = call.text("equation")?;
    let values = call.tensors("values")?;
    let [x, y] = &values[..] else {
        return Err(OpFault::value("values", values.len(), "there must be two"));
    };
    let rank = family(equation).ok_or_else(|| {
        OpFault::value("equation", equation, "it must be of the form nchw,nwhu->nchu or chw,whu->chu")
    })?;
    let sizes = Contraction::new(x.shape(), y.shape(), rank)?;
    let out = filled(call.count(&sizes.out)?, 0f32)?;
    let out = sizes.evaluate(x.floats()?, y.floats()?, out, call.stop);
    one(Tensor::new(&sizes.out[4 - rank..], out))
}

/// The rank of the operands, when the equation is of one of the two families.
fn family(equation: &str) -> Option<usize> {
    let letters: Vec<char> = equation.chars().filter(|c| !c.is_whitespace()).collect();
    let text: String = letters.iter().collect();
    let (operands, out) = text.split_once("->")?;
    let (x, y) = operands.split_once(',')?;
    let [x, y, out] = [x, y, out].map(|s| s.chars().collect::<Vec<char>>());
    let distinct = |all: &[char]| all.iter().enumerate().all(|(i, c)| c.is_alphabetic() && !all[..i].contains(c));
    match (&x[..], &y[..], &out[..]) {
        (&[n, c, h, w], &[n2, w2, h2, u], &[n3, c3, h3, u3])
            if distinct(&[n, c, h, w, u]) && [n2, w2, h2, n3, c3, h3, u3] == [n, w, h, n, c, h, u] =>
        {
            Some(4)
        }
        (&[c, h, w], &[w2, h2, u], &[c3, h3, u3])
            if distinct(&[c, h, w, u]) && [w2, h2, c3, h3, u3] == [w, h, c, h, u] =>
        {
            Some(3)
        }
        _ => None,
    }
}

impl Contraction {
    fn new(x: &[usize], y: &[usize], rank: usize) -> Result<Self, OpFault> {
        let rule = "the last dimension of x must be the third last of y, the others equal or 1";
        let fault = || OpFault::shapes(rule, &[x, y]);
        if x.len() != rank || y.len() != rank {
            return Err(fault());
        }
        let wide = |s: &[usize]| if rank == 4 { [s[0], s[1], s[2], s[3]] } else { [1, s[0], s[1], s[2]] };
        let (x, y) = (wide(x), wide(y));
        let shared = |a: usize, b: usize| if a == 1 { Some(b) } else { (b == 1 || a == b).then_some(a) };
        let (Some(n), Some(h), true) = (shared(x[0], y[0]), shared(x[2], y[2]), x[3] == y[1]) else {
            return Err(fault());
        };
        Ok(Self { x, y, out: [n, x[1], h, y[3]] })
    }

    /// One product for each (n, h), read and written in place through strides, until `stop` is set.
    fn evaluate(&self, x: &[f32], y: &[f32], mut out: Vec<f32>, stop: &Stop) -> Vec<f32> {
        let [n, c, h, u] = self.out;
        let w = self.x[3];
        if out.is_empty() || w == 0 {
            return out;
        }
        let sizes = Sizes { m: c, n: u, k: w };
        let slab = |i: usize, out: &mut [f32], threads: Threads| {
            let (xn, yn) = (if self.x[0] == 1 { 0 } else { i }, if self.y[0] == 1 { 0 } else { i });
            for j in (0..h).take_while(|_| !stop.is_set()) {
                let (xh, yh) = (if self.x[2] == 1 { 0 } else { j }, if self.y[2] == 1 { 0 } else { j });
                let a = Matrix { data: x, row_step: self.x[2] * w, column_step: 1 };
                let b = Matrix { data: y, row_step: self.y[2] * u, column_step: 1 };
                let a = a.at(xn * c * self.x[2] * w + xh * w);
                let b = b.at(yn * w * self.y[2] * u + yh * u);
                multiply(sizes, a, b, &mut out[j * u..], h * u, threads);
            }
        };
        let each = c * h * u;
        if n >= rayon::current_num_threads() {
            out.par_chunks_mut(each).enumerate().for_each(|(i, out)| slab(i, out, Threads::One));
        } else {
            out.chunks_mut(each).enumerate().for_each(|(i, out)| slab(i, out, Threads::All));
        }
        out
    }
}

/// The tensor repeated to `shape`, as floats; for the plain forms in tests.
#[cfg(test)]
fn repeated(t: &Tensor, shape: &[usize]) -> Vec<f32> {
    super::layout::View::broadcast(t.shape(), shape).copy(t.floats().expect("floats")).expect("memory")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::testing::{counting, eval, f, floats, i, ints};
    use host_tensor::HostTensor;
    use testkit::{Rng, assert_all_close};

    fn random(rng: &mut Rng, shape: &[usize]) -> HostTensor {
        HostTensor::from_f32(shape, rng.normals(shape.iter().product()))
    }

    #[test]
    fn linear_adds_its_bias_to_every_row() {
        let (x, w) = (f([2, 1, 2], &[1., 2., 3., 4.]), f([3, 2], &[1., 0., 0., 1., 1., 1.]));
        let got = floats!("linear", x = x.clone(), weight = w.clone(), bias = f([3], &[10., 20., 30.]));
        assert_eq!(got, (vec![2, 1, 3], vec![11., 22., 33., 13., 24., 37.]));
        assert_eq!(floats!("linear", x = x.clone(), weight = w).1, [1., 2., 3., 3., 4., 7.]);
        assert!(eval!("linear", x = x, weight = counting([3, 3])).is_err());
    }

    #[test]
    fn integer_products_are_exact() {
        let (x, w) = (i([1, 2], &[1 << 20, 1]), i([1, 2], &[1 << 10, 1]));
        assert_eq!(ints!("linear", x = x.clone(), weight = w.clone(), bias = i([1], &[5])).1, [(1 << 30) + 6]);
        assert_eq!(ints!("matmul", x = x, y = w, transpose_y = true), (vec![1, 1], vec![(1 << 30) + 1]));
    }

    #[test]
    fn vectors_lose_their_dimension_in_a_product() {
        let (v, m) = (f([2], &[1., 2.]), f([2, 3], &[1., 2., 3., 4., 5., 6.]));
        assert_eq!(floats!("matmul", x = v.clone(), y = m.clone()), (vec![3], vec![9., 12., 15.]));
        assert_eq!(floats!("matmul", x = m, y = f([3], &[1., 1., 1.])), (vec![2], vec![6., 15.]));
        assert_eq!(floats!("matmul", x = v.clone(), y = v), (vec![], vec![5.]));
    }

    #[test]
    fn batches_broadcast_and_either_side_may_be_transposed() {
        let mut rng = Rng::new(11);
        for (bx, by) in [(vec![2, 1], vec![3]), (vec![4], vec![]), (vec![], vec![2, 2]), (vec![1, 3], vec![2, 1])] {
            for (tx, ty) in [(false, false), (true, false), (false, true), (true, true)] {
                let (m, n, k) = (3, 5, 4);
                let x = random(&mut rng, &[&bx[..], &if tx { [k, m] } else { [m, k] }].concat());
                let y = random(&mut rng, &[&by[..], &if ty { [n, k] } else { [k, n] }].concat());
                let (shape, got) = floats!("matmul", x = x.clone(), y = y.clone(), transpose_x = tx, transpose_y = ty);
                let batch = broadcast_shape(&[&bx, &by]).unwrap();
                assert_eq!(shape, [&batch[..], &[m, n]].concat());
                let spread = |t: &HostTensor| {
                    repeated(&Tensor::from_host(t), &[&batch[..], &t.shape()[t.shape().len() - 2..]].concat())
                };
                let (xs, ys) = (spread(&x), spread(&y));
                let want: Vec<f32> = (0..got.len())
                    .map(|at| {
                        let (b, r, c) = (at / (m * n), at / n % m, at % n);
                        let a = |l| xs[b * m * k + if tx { l * m + r } else { r * k + l }];
                        let o = |l| ys[b * n * k + if ty { c * k + l } else { l * n + c }];
                        (0..k).map(|l| a(l) * o(l)).sum()
                    })
                    .collect();
                assert_all_close("matmul", &want, &got, 1e-5, 1e-5);
            }
        }
    }

    #[test]
    fn inner_dimensions_must_agree() {
        let err = eval!("matmul", x = counting([2, 3]), y = counting([2, 3])).unwrap_err();
        assert_eq!(err.to_string(), "the inner dimensions of a product must be equal: [[2, 3], [2, 3]]");
    }

    #[test]
    fn einsum_contracts_and_broadcasts_in_both_families() {
        let mut rng = Rng::new(13);
        for (n, h, xn, yh) in [(1, 1, 1, 1), (2, 3, 2, 3), (2, 3, 1, 3), (3, 2, 3, 1), (4, 1, 4, 1)] {
            let (c, w, u) = (3, 4, 5);
            let (x, y) = (random(&mut rng, &[xn, c, h, w]), random(&mut rng, &[n, w, yh, u]));
            let equation = "bkhc, bchq -> bkhq";
            let (shape, got) = floats!("einsum", values = vec![x.clone(), y.clone()], equation = equation);
            assert_eq!(shape, [n, c, h, u]);
            let (xs, ys) =
                (repeated(&Tensor::from_host(&x), &[n, c, h, w]), repeated(&Tensor::from_host(&y), &[n, w, h, u]));
            let want: Vec<f32> = (0..got.len())
                .map(|at| {
                    let (i, j, k, l) = (at / (c * h * u), at / (h * u) % c, at / u % h, at % u);
                    (0..w).map(|z| xs[((i * c + j) * h + k) * w + z] * ys[((i * w + z) * h + k) * u + l]).sum()
                })
                .collect();
            assert_all_close("einsum", &want, &got, 1e-5, 1e-5);
        }
        let (x, y) = (f([1, 1, 2], &[1., 2.]), f([2, 1, 1], &[3., 4.]));
        assert_eq!(floats!("einsum", values = vec![x, y], equation = "chw,whr->chr"), (vec![1, 1, 1], vec![11.]));
    }

    #[test]
    fn other_equations_are_refused() {
        let x = || vec![counting([1, 1, 1, 1]), counting([1, 1, 1, 1])];
        for equation in ["", "nchw,nwhu->nchw", "nchw,nchu->nwhu", "nchn,nwhu->nchu", "nchw->nchw", "a,b"] {
            assert!(eval!("einsum", values = x(), equation = equation).is_err(), "{equation}");
        }
    }
}
