//! 3×3 convolutions with stride 1 by Winograd's minimal filtering F(4×4, 3×3): 36 multiplications for 16 results
//! instead of 144.
//!
//! Points are 0, ±√½, ±√2 and ∞, which cost as much as the textbook's 0, ±1, ±2 and lose 6 dB less. In one
//! dimension, with a² = ½ and b² = 2:
//!
//! ```text
//!        ⎡1    0   −5/2   0   1  0⎤        ⎡   1      0     0 ⎤
//!        ⎢0  −ab²  −b²    a   1  0⎥        ⎢ −2/3  −2a/3  −1/3⎥        ⎡1  1   1   1   1  0⎤
//! Bᵀ  =  ⎢0   ab²  −b²   −a   1  0⎥   G =  ⎢ −2/3   2a/3  −1/3⎥   Aᵀ = ⎢0  a  −a   b  −b  0⎥
//!        ⎢0  −ba²  −a²    b   1  0⎥        ⎢  1/6    b/6   1/3⎥        ⎢0  a²  a²  b²  b² 0⎥
//!        ⎢0   ba²  −a²   −b   1  0⎥        ⎢  1/6   −b/6   1/3⎥        ⎣0  a³ −a³  b³ −b³ 1⎦
//!        ⎣0    1     0  −5/2  0  1⎦        ⎣   0      0     1 ⎦
//! ```
//!
//! Source of the construction: Winograd, "Arithmetic Complexity of Computations", 1980, with the Toom–Cook points as
//! in Barabasz and others, "Error analysis and improving the accuracy of Winograd convolution", 2020.
//!
//! All tiles of a part of the picture are transformed first ([`input`]); then each item takes a group of tiles and
//! [`COLS`] outputs ([`item`]), and decodes and transforms its filters, [`DEPTH`] input channels at a time, into
//! scratch that stays in the second-level cache. Weights themselves are never kept transformed.

use super::{epilogue::Epilogue, simd::Simd, simd::Tile, weights::Matrix};
use std::{
    f32::consts::{FRAC_1_SQRT_2 as A, SQRT_2 as B},
    sync::Arc,
};

/// Multiplications of a tile.
const XI: usize = 36;
/// Outputs of an item; a multiple of every tile width.
pub(crate) const COLS: usize = 32;
/// Input channels whose filters are transformed at a time.
const DEPTH: usize = 64;
/// Most tiles of an item.
pub(crate) const TILES: usize = 96;
/// Floats from one of the 36 planes of filters to the next.
const PLANE: usize = plane(DEPTH, COLS);
/// Input channels whose filters are decoded and turned at a time.
const TURN: usize = 32;

/// Floats of scratch that an item needs.
pub(crate) const SCRATCH: usize = XI * PLANE + XI * plane(TILES, COLS) + 2 * 16 * (9 * TURN) + 64;

/// A convolution.
#[derive(Debug)]
pub(crate) struct Winograd {
    /// Pictures, their height and width as results.
    pub(crate) out_size: [usize; 2],
    /// Height and width of the input.
    pub(crate) in_size: [usize; 2],
    /// Rows and columns of zeros before the input.
    pub(crate) pad: [usize; 2],
    /// Input, channels last and contiguous.
    pub(crate) x: *const f32,
    /// Floats from one picture, row, pixel to the next.
    pub(crate) x_strides: [usize; 3],
    /// Filters `[outputs][inputs · 9]`.
    pub(crate) w: Arc<Matrix>,
    /// Result, channels last.
    pub(crate) out: *mut f32,
    /// Floats from one picture, row, pixel to the next.
    pub(crate) out_strides: [usize; 3],
    /// What is done before storing; rows are pixels in the order of pictures, rows, columns.
    pub(crate) epilogue: Epilogue,
    /// Transformed input: for each group of tiles, `[36][tiles][channels]`.
    pub(crate) v: *mut f32,
    /// The first tile of this part.
    pub(crate) first: usize,
    /// Tiles of this part.
    pub(crate) tiles: usize,
}

// SAFETY: the pointers are to disjoint or read-only memory that the plan owns for the time of the call.
unsafe impl Sync for Winograd {}

impl Winograd {
    fn channels(&self) -> usize {
        self.w.cols / 9
    }

    /// Tiles of a group: as even as can be, and whole product tiles where there are enough.
    fn group(&self) -> usize {
        group(self.tiles)
    }

    /// How many items [`item`] has.
    pub(crate) fn items(&self) -> usize {
        self.tiles.div_ceil(self.group()) * self.w.rows.div_ceil(COLS)
    }

    /// How many items [`input`] has.
    pub(crate) fn input_items(&self) -> usize {
        self.tiles.div_ceil(4)
    }

    /// Picture, and the first row and column of a tile's results.
    fn place(&self, tile: usize) -> (usize, usize, usize) {
        let [h, w] = self.out_size.map(|d| d.div_ceil(4));
        (tile / (h * w), tile / w % h * 4, tile % w * 4)
    }

    /// The transformed tile's place within its group, the group's size and its data.
    fn v_of(&self, tile: usize) -> (usize, usize, usize) {
        let group = self.group();
        let first = tile / group * group;
        (tile - first, group.min(self.tiles - first), tile / group * XI * plane(group, self.channels()))
    }
}

/// Floats from one of 36 planes of so many rows and columns to the next; a cache line more than it holds, so that planes
/// do not share cache sets.
const fn plane(rows: usize, cols: usize) -> usize {
    rows * cols + 16
}

/// Floats of the transformed input of so many tiles.
pub(crate) fn transformed(tiles: usize, channels: usize) -> usize {
    let group = group(tiles);
    tiles.div_ceil(group) * XI * plane(group, channels)
}

/// Tiles of a group, when there are `tiles` in all.
pub(crate) fn group(tiles: usize) -> usize {
    let groups = tiles.div_ceil(TILES).max(1);
    tiles.div_ceil(groups).next_multiple_of(12).min(TILES).min(tiles.max(1))
}

/// One dimension of the input's transformation.
///
/// # Safety
/// The instruction set exists.
#[inline(always)]
unsafe fn bt<S: Simd>(d: [S::V; 6]) -> [S::V; 6] {
    // SAFETY: the caller's contract.
    unsafe {
        let c = S::splat(-2.5);
        // Even and odd parts of the polynomials of ±a and ±b.
        let even_a = S::fma(d[2], S::splat(-2.0), d[4]);
        let odd_a = S::mul(S::fma(d[1], S::splat(-2.0), d[3]), S::splat(A));
        let even_b = S::fma(d[2], S::splat(-0.5), d[4]);
        let odd_b = S::mul(S::fma(d[1], S::splat(-0.5), d[3]), S::splat(B));
        [
            S::add(S::fma(d[2], c, d[0]), d[4]),
            S::add(even_a, odd_a),
            S::sub(even_a, odd_a),
            S::add(even_b, odd_b),
            S::sub(even_b, odd_b),
            S::add(S::fma(d[3], c, d[1]), d[5]),
        ]
    }
}

/// One dimension of the filters' transformation.
///
/// # Safety
/// The instruction set exists.
#[inline(always)]
unsafe fn g<S: Simd>(f: [S::V; 3]) -> [S::V; 6] {
    // SAFETY: the caller's contract.
    unsafe {
        let third = S::mul(f[2], S::splat(1.0 / 3.0));
        let even_a = S::sub(S::mul(f[0], S::splat(-2.0 / 3.0)), third);
        let odd_a = S::mul(f[1], S::splat(-2.0 * A / 3.0));
        let even_b = S::fma(f[0], S::splat(1.0 / 6.0), third);
        let odd_b = S::mul(f[1], S::splat(B / 6.0));
        [f[0], S::add(even_a, odd_a), S::sub(even_a, odd_a), S::add(even_b, odd_b), S::sub(even_b, odd_b), f[2]]
    }
}

/// One dimension of the results' transformation.
///
/// # Safety
/// The instruction set exists.
#[inline(always)]
unsafe fn at<S: Simd>(m: [S::V; 6]) -> [S::V; 4] {
    // SAFETY: the caller's contract.
    unsafe {
        let (sum_a, diff_a) = (S::add(m[1], m[2]), S::sub(m[1], m[2]));
        let (sum_b, diff_b) = (S::add(m[3], m[4]), S::sub(m[3], m[4]));
        [
            S::add(S::add(m[0], sum_a), sum_b),
            S::fma(diff_a, S::splat(A), S::mul(diff_b, S::splat(B))),
            S::fma(sum_a, S::splat(0.5), S::mul(sum_b, S::splat(2.0))),
            S::add(S::fma(diff_a, S::splat(0.5 * A), S::mul(diff_b, S::splat(2.0 * B))), m[5]),
        ]
    }
}

/// Transforms four tiles of the input.
///
/// # Safety
/// The instruction set exists; the operands are as `Winograd` says; no two calls with the same item run at a time.
#[inline(always)]
pub(crate) unsafe fn input<S: Simd>(w: &Winograd, item: usize) {
    // SAFETY: the caller's contract.
    unsafe {
        for tile in item * 4..(item * 4 + 4).min(w.tiles) {
            input_tile::<S>(w, tile);
        }
    }
}

/// # Safety
/// As [`input`].
#[inline(always)]
unsafe fn input_tile<S: Simd>(w: &Winograd, tile: usize) {
    let channels = w.channels();
    let (picture, row, col) = w.place(w.first + tile);
    let (at, _, base) = w.v_of(tile);
    let plane = plane(w.group(), channels);
    // SAFETY: the caller's contract; pixels outside of the input are not read.
    unsafe {
        let mut pixels = [[std::ptr::null::<f32>(); 6]; 6];
        for (i, line) in pixels.iter_mut().enumerate() {
            for (j, pixel) in line.iter_mut().enumerate() {
                let (y, x) = ((row + i).wrapping_sub(w.pad[0]), (col + j).wrapping_sub(w.pad[1]));
                if y < w.in_size[0] && x < w.in_size[1] {
                    *pixel = w.x.add(picture * w.x_strides[0] + y * w.x_strides[1] + x * w.x_strides[2]);
                }
            }
        }
        let v = w.v.add(base + at * channels);
        let mut c = 0;
        while c < channels {
            let left = channels - c;
            let full = left >= S::LANES;
            let load = |p: *const f32| {
                if p.is_null() {
                    S::zero()
                } else if full {
                    S::load(p.add(c))
                } else {
                    S::load_n(p.add(c), left)
                }
            };
            let mut lines = [[S::zero(); 6]; 6];
            for (line, pixels) in lines.iter_mut().zip(&pixels) {
                let mut d = [S::zero(); 6];
                for (d, &p) in d.iter_mut().zip(pixels) {
                    *d = load(p);
                }
                *line = bt::<S>(d);
            }
            for j in 0..6 {
                let column = bt::<S>([lines[0][j], lines[1][j], lines[2][j], lines[3][j], lines[4][j], lines[5][j]]);
                for (i, value) in column.into_iter().enumerate() {
                    let to = v.add((i * 6 + j) * plane + c);
                    if full { S::store(to, value) } else { S::store_n(to, value, left) }
                }
            }
            c += S::LANES;
        }
    }
}

/// Computes one group of tiles for [`COLS`] outputs.
///
/// # Safety
/// The instruction set exists; the operands are as `Winograd` says, all inputs are transformed; `scratch` has
/// [`SCRATCH`] floats; no two calls with the same item run at a time.
#[inline(always)]
pub(crate) unsafe fn item<S: Simd>(w: &Winograd, item: usize, scratch: *mut f32) {
    let blocks = w.w.rows.div_ceil(COLS);
    let (group, block) = (item / blocks, item % blocks);
    let (n0, n) = (block * COLS, COLS.min(w.w.rows - block * COLS));
    let first = group * w.group();
    let (_, tiles, base) = w.v_of(first);
    let channels = w.channels();
    let width = n.next_multiple_of(S::NR);
    // SAFETY: the caller's contract; the scratch holds the filters, the products and what is being turned.
    unsafe {
        let filters = scratch;
        let products = filters.add(XI * PLANE);
        let turning = products.add(XI * plane(TILES, COLS));
        let v = w.v.add(base);
        let mut c0 = 0;
        while c0 < channels {
            let depth = DEPTH.min(channels - c0);
            transform_filters::<S>(&w.w, (n0, n), width, (c0, depth), filters, turning);
            for xi in 0..XI {
                let a = v.add(xi * plane(w.group(), channels) + c0);
                let c = products.add(xi * plane(tiles, COLS));
                let mut r = 0;
                while r < tiles {
                    let height = S::MR.min(tiles - r);
                    for p in 0..width / S::NR {
                        S::tile(
                            height,
                            &Tile {
                                k: depth,
                                a: a.add(r * channels),
                                a_row: channels,
                                a_k: 1,
                                b: filters.add(xi * PLANE + p * depth * S::NR),
                                c: c.add(r * COLS + p * S::NR),
                                c_row: COLS,
                                add: c0 > 0,
                            },
                        );
                    }
                    r += S::MR;
                }
            }
            c0 += depth;
        }
        for tile in 0..tiles {
            output_tile::<S>(w, first + tile, products.add(tile * COLS), plane(tiles, COLS), (n0, n), turning);
        }
    }
}

/// Decodes and transforms `depth` input channels of `n` filters: for each of the 36 places, panels as product tiles
/// want them.
///
/// # Safety
/// The instruction set exists; the filters exist; `filters` has 36 planes, `turning` room for twice `LANES` rows of
/// 9 · [`TURN`] floats.
#[inline(always)]
unsafe fn transform_filters<S: Simd>(
    w: &Matrix,
    (n0, n): (usize, usize),
    width: usize,
    (c0, depth): (usize, usize),
    filters: *mut f32,
    turning: *mut f32,
) {
    // SAFETY: the caller's contract.
    unsafe {
        let turned = turning.add(16 * 9 * TURN);
        let mut r0 = 0;
        while r0 < width {
            let panel = filters.add(r0 / S::NR * depth * S::NR + r0 % S::NR);
            let mut c = 0;
            while c < depth {
                let count = TURN.min(depth - c);
                let rows = (n0 + r0, n.saturating_sub(r0));
                w.decode_transposed::<S>(rows, (9 * (c0 + c), 9 * count), (turned, S::LANES), turning);
                for u in 0..count {
                    let f = |i: usize| S::load(turned.add((9 * u + i) * S::LANES));
                    let columns = [g::<S>([f(0), f(3), f(6)]), g::<S>([f(1), f(4), f(7)]), g::<S>([f(2), f(5), f(8)])];
                    for i in 0..6 {
                        let line = g::<S>([columns[0][i], columns[1][i], columns[2][i]]);
                        for (j, value) in line.into_iter().enumerate() {
                            S::store(panel.add((i * 6 + j) * PLANE + (c + u) * S::NR), value);
                        }
                    }
                }
                c += count;
            }
            r0 += S::LANES;
        }
    }
}

/// Transforms a tile's products back, and stores the results that lie within the picture.
///
/// # Safety
/// As [`item`]; `m` are the products of this tile, `plane` floats from one of the 36 places to the next.
#[inline(always)]
unsafe fn output_tile<S: Simd>(
    w: &Winograd,
    tile: usize,
    m: *const f32,
    plane: usize,
    (n0, n): (usize, usize),
    scratch: *mut f32,
) {
    let (picture, row, col) = w.place(w.first + tile);
    let [height, width] = w.out_size;
    // SAFETY: the caller's contract; `scratch` has room for 16 results of COLS outputs.
    unsafe {
        let mut c = 0;
        while c < n {
            let mut lines = [[S::zero(); 6]; 4];
            for j in 0..6 {
                let load = |i: usize| S::load(m.add((i * 6 + j) * plane + c));
                let column = at::<S>([load(0), load(1), load(2), load(3), load(4), load(5)]);
                for i in 0..4 {
                    lines[i][j] = column[i];
                }
            }
            for (i, line) in lines.into_iter().enumerate() {
                for (j, value) in at::<S>(line).into_iter().enumerate() {
                    S::store(scratch.add((i * 4 + j) * COLS + c), value);
                }
            }
            c += S::LANES;
        }
        for i in 0..4.min(height - row) {
            for j in 0..4.min(width - col) {
                let (y, x) = (row + i, col + j);
                let pixel = (picture * height + y) * width + x;
                let to = w.out.add(picture * w.out_strides[0] + y * w.out_strides[1] + x * w.out_strides[2] + n0);
                w.epilogue.store::<S>((scratch.add((i * 4 + j) * COLS), COLS), (pixel, 1), (n0, n), (to, 0));
            }
        }
    }
}
