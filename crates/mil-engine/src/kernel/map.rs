//! Elementwise operations and copies over tensors with any strides.

use super::{block::gather, math::Activation, math::exp, simd::Simd};

/// Elements of an item.
pub(crate) const CHUNK: usize = 1 << 14;

/// What is computed of each element, or of each pair.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Op {
    /// An activation; the identity copies.
    Unary(Activation),
    /// x²
    Square,
    /// √x
    Sqrt,
    /// eˣ
    Exp,
    /// The nearest multiple of a step, of which there are as many as an integer of 8 bits counts: what a quantized value
    /// stands for.
    Steps(f32),
    /// x + y
    Add,
    /// x − y
    Sub,
    /// x · y
    Mul,
    /// x / y
    Div,
    /// The greater.
    Max,
    /// The smaller.
    Min,
}

impl Op {
    /// True when it takes two operands.
    pub(crate) const fn is_binary(self) -> bool {
        matches!(self, Self::Add | Self::Sub | Self::Mul | Self::Div | Self::Max | Self::Min)
    }

    /// # Safety
    /// The instruction set exists.
    #[inline(always)]
    unsafe fn apply<S: Simd>(self, x: S::V, y: S::V) -> S::V {
        // SAFETY: the caller's contract.
        unsafe {
            match self {
                Self::Unary(a) => a.apply::<S>(x),
                Self::Square => S::mul(x, x),
                Self::Sqrt => S::sqrt(x),
                Self::Exp => exp::<S>(x),
                Self::Steps(step) => {
                    let (least, most) = (f32::from(i8::MIN), f32::from(i8::MAX));
                    let whole = S::round(S::div(x, S::splat(step)));
                    S::mul(S::min(S::max(whole, S::splat(least)), S::splat(most)), S::splat(step))
                }
                Self::Add => S::add(x, y),
                Self::Sub => S::sub(x, y),
                Self::Mul => S::mul(x, y),
                Self::Div => S::div(x, y),
                Self::Max => S::max(x, y),
                Self::Min => S::min(x, y),
            }
        }
    }
}

/// One elementwise operation.
#[derive(Debug)]
pub(crate) struct Map {
    /// What is computed.
    pub(crate) op: Op,
    /// Dimensions, the innermost last; the result's innermost stride is 1.
    pub(crate) shape: Vec<usize>,
    /// First operand and its strides.
    pub(crate) x: *const f32,
    /// See `x`.
    pub(crate) x_strides: Vec<usize>,
    /// Second operand, of binary operations, and its strides.
    pub(crate) y: *const f32,
    /// See `y`.
    pub(crate) y_strides: Vec<usize>,
    /// Result and its strides.
    pub(crate) out: *mut f32,
    /// See `out`.
    pub(crate) out_strides: Vec<usize>,
}

// SAFETY: the pointers are to disjoint or read-only memory that the plan owns for the time of the call.
unsafe impl Sync for Map {}

impl Map {
    fn inner(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    /// A copy whose source runs along another dimension than the result: both, as (dimension, innermost).
    fn turned(&self) -> Option<usize> {
        let last = self.shape.len().checked_sub(1)?;
        if self.op != Op::Unary(Activation::Identity) || self.x_strides[last] <= 1 {
            return None;
        }
        (0..last).find(|&d| self.x_strides[d] == 1 && self.shape[d] > 1)
    }

    /// How many items there are.
    pub(crate) fn items(&self) -> usize {
        let n: usize = self.shape.iter().product();
        match self.turned() {
            Some(d) => n / (self.shape[d] * self.inner()) * self.shape[d].div_ceil(16),
            None => n.div_ceil(CHUNK),
        }
    }

    /// Offsets of a row, by its number among the dimensions for which `counts` holds.
    fn offsets(&self, mut row: usize, counts: impl Fn(usize) -> bool) -> [usize; 3] {
        let mut at = [0; 3];
        for d in (0..self.shape.len().saturating_sub(1)).rev() {
            if counts(d) {
                let i = row % self.shape[d];
                row /= self.shape[d];
                at[0] += i * self.x_strides[d];
                at[1] += i * self.y_strides.get(d).copied().unwrap_or(0);
                at[2] += i * self.out_strides[d];
            }
        }
        at
    }
}

/// Computes one item.
///
/// # Safety
/// The instruction set exists; the operands are as `Map` says; no two calls with the same item run at a time.
#[inline(always)]
pub(crate) unsafe fn item<S: Simd>(m: &Map, item: usize) {
    let inner = m.inner();
    let last = m.shape.len().saturating_sub(1);
    // SAFETY: the caller's contract.
    unsafe {
        if let Some(d) = m.turned() {
            let strips = m.shape[d].div_ceil(16);
            let [x, _, out] = m.offsets(item / strips, |i| i != d);
            let first = item % strips * 16;
            let rows = 16.min(m.shape[d] - first);
            let strides = [1, m.x_strides[last]];
            let to = m.out.add(out + first * m.out_strides[d]);
            gather::<S>(m.x.add(x + first), strides, [rows, inner], to, m.out_strides[d]);
            return;
        }
        let n: usize = m.shape.iter().product();
        let (mut at, end) = (item * CHUNK, n.min((item + 1) * CHUNK));
        while at < end {
            let (row, col) = (at / inner, at % inner);
            let count = (inner - col).min(end - at);
            let [x, y, out] = m.offsets(row, |_| true);
            let (xs, ys) = (stride(&m.x_strides, last), stride(&m.y_strides, last));
            let y = if m.op.is_binary() { m.y.add(y + col * ys) } else { m.x };
            run::<S>(m.op, m.x.add(x + col * xs), xs, y, ys, m.out.add(out + col), count);
            at += count;
        }
    }
}

fn stride(strides: &[usize], last: usize) -> usize {
    strides.get(last).copied().unwrap_or(0)
}

/// A contiguous run of results.
///
/// # Safety
/// The instruction set exists; the operands hold `n` elements as their strides say.
#[inline(always)]
unsafe fn run<S: Simd>(op: Op, x: *const f32, xs: usize, y: *const f32, ys: usize, out: *mut f32, n: usize) {
    // The operation is chosen outside of the loop, so that each loop holds one.
    macro_rules! each {
        ($($op:pat => $value:expr),* $(,)?) => {
            match op {
                // SAFETY: the caller's contract.
                $($op => unsafe { run_one::<S>($value, x, xs, y, ys, out, n) },)*
            }
        };
    }
    each! {
        Op::Unary(a) => Op::Unary(a),
        Op::Square => Op::Square,
        Op::Sqrt => Op::Sqrt,
        Op::Exp => Op::Exp,
        Op::Steps(step) => Op::Steps(step),
        Op::Add => Op::Add,
        Op::Sub => Op::Sub,
        Op::Mul => Op::Mul,
        Op::Div => Op::Div,
        Op::Max => Op::Max,
        Op::Min => Op::Min,
    }
}

/// # Safety
/// As [`run`].
#[inline(always)]
unsafe fn run_one<S: Simd>(op: Op, x: *const f32, xs: usize, y: *const f32, ys: usize, out: *mut f32, n: usize) {
    // SAFETY: the caller's contract.
    unsafe {
        let get = |p: *const f32, s: usize, i: usize, count: usize| match (s, count == S::LANES) {
            (1, true) => S::load(p.add(i)),
            (1, false) => S::load_n(p.add(i), count),
            (0, _) => S::splat(*p),
            _ => {
                let mut buffer = [0f32; 16];
                for (u, b) in buffer.iter_mut().enumerate().take(count) {
                    *b = *p.add((i + u) * s);
                }
                S::load(buffer.as_ptr())
            }
        };
        let mut i = 0;
        while i < n {
            let count = S::LANES.min(n - i);
            let v = op.apply::<S>(get(x, xs, i, count), get(y, ys, i, count));
            if count == S::LANES {
                S::store(out.add(i), v)
            } else {
                S::store_n(out.add(i), v, count)
            }
            i += S::LANES;
        }
    }
}
