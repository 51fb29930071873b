//! Weights as they are stored, and their decoding a piece at a time.
//!
//! A kernel asks for a few rows of a few hundred elements, which it needs in `f32` while a product runs; the rest
//! stays as it lies in the file. Every encoding decodes to the very numbers that the reference engine gets.

use super::simd::Simd;
use half::{bf16, f16};
use host_tensor::Bytes;

/// A matrix of constants: a row for each output, its elements contiguous.
#[derive(Debug, Clone)]
pub(crate) struct Matrix {
    /// Outputs.
    pub(crate) rows: usize,
    /// Elements of a row.
    pub(crate) cols: usize,
    /// How the elements are stored, row after row.
    pub(crate) store: Store,
}

/// How elements are stored.
#[derive(Debug, Clone)]
pub(crate) enum Store {
    /// Single precision.
    F32(Bytes),
    /// Half precision.
    F16(Bytes),
    /// Brain floats.
    BF16(Bytes),
    /// Packed indices into a table.
    Palette(Palette),
    /// Integers with a scale and an offset for each block.
    Affine(Affine),
    /// A bit for each element, and those that are not zero.
    Sparse(Sparse),
}

/// Packed indices, and a table for every so many rows.
#[derive(Debug, Clone)]
pub(crate) struct Palette {
    /// Indices, least significant bit first.
    pub(crate) codes: Bytes,
    /// Bits of an index: 1, 2, 3, 4, 6 or 8.
    pub(crate) bits: usize,
    /// Tables one after another.
    pub(crate) tables: Vec<f32>,
    /// Rows that share a table.
    pub(crate) rows_per_table: usize,
}

/// `scale · (code − offset)`, each pair for a block of a row.
#[derive(Debug, Clone)]
pub(crate) struct Affine {
    /// Codes of four or eight bits.
    pub(crate) codes: Bytes,
    /// Bits of a code: 4 or 8.
    pub(crate) bits: usize,
    /// Whether codes are two's complement.
    pub(crate) signed: bool,
    /// Scales, block after block and row after row.
    pub(crate) scale: Vec<f32>,
    /// Offsets in the same order.
    pub(crate) offset: Vec<f32>,
    /// Rows that share scales.
    pub(crate) rows_per_scale: usize,
    /// Elements of a row that share a scale.
    pub(crate) block: usize,
    /// Scales of a row.
    pub(crate) per_row: usize,
    /// Whether results are halves, and so rounded to them.
    pub(crate) half: bool,
}

/// Elements that are not zero.
#[derive(Debug, Clone)]
pub(crate) struct Sparse {
    /// A bit for each element, least significant first.
    pub(crate) mask: Bytes,
    /// Set bits before each row.
    pub(crate) before: Vec<usize>,
    /// Halves, in the order of the set bits.
    pub(crate) values: Vec<f16>,
}

impl Matrix {
    /// Bytes that stay in memory for it.
    pub(crate) fn stored_bytes(&self) -> usize {
        match &self.store {
            Store::F32(b) | Store::F16(b) | Store::BF16(b) => b.len(),
            Store::Palette(p) => p.codes.len() + 4 * p.tables.len(),
            Store::Affine(a) => a.codes.len() + 4 * (a.scale.len() + a.offset.len()),
            Store::Sparse(s) => s.mask.len() + 2 * s.values.len() + 8 * s.before.len(),
        }
    }

    /// How the elements are stored, in a word.
    pub(crate) fn describe(&self) -> String {
        match &self.store {
            Store::F32(_) => "fp32".into(),
            Store::F16(_) => "fp16".into(),
            Store::BF16(_) => "bf16".into(),
            Store::Palette(p) => format!("palette {} bits", p.bits),
            Store::Affine(a) => format!("{}int{}", if a.signed { "" } else { "u" }, a.bits),
            Store::Sparse(_) => "sparse".into(),
        }
    }

    /// Asks for the bytes of `n` elements of a row, which will be decoded soon.
    ///
    /// # Safety
    /// The instruction set exists.
    #[inline(always)]
    pub(crate) unsafe fn prefetch<S: Simd>(&self, row: usize, col: usize, n: usize) {
        let (bytes, bits) = match &self.store {
            Store::F32(b) => (b, 32),
            Store::F16(b) | Store::BF16(b) => (b, 16),
            Store::Palette(p) => (&p.codes, p.bits),
            Store::Affine(a) => (&a.codes, a.bits),
            Store::Sparse(_) => return,
        };
        let start = (row * self.cols + col) * bits / 8;
        let first = bytes.as_ptr() as usize % 64;
        for line in ((start + first) / 64 * 64..start + first + n * bits / 8).step_by(64) {
            // SAFETY: the caller's contract; the address is only a hint.
            unsafe { S::prefetch(bytes.as_ptr().wrapping_sub(first).wrapping_add(line)) };
        }
    }

    /// Decodes `n` elements of a row, from column `col` on.
    ///
    /// # Safety
    /// The instruction set exists; `row < rows`, `col + n ≤ cols`, and `out` has room.
    #[inline(always)]
    pub(crate) unsafe fn decode<S: Simd>(&self, row: usize, col: usize, n: usize, out: *mut f32) {
        let start = row * self.cols + col;
        // SAFETY: the caller's contract, and the constructor's: the store holds rows · cols elements.
        unsafe {
            match &self.store {
                Store::F32(bytes) => {
                    std::ptr::copy_nonoverlapping(bytes.as_ptr().add(4 * start), out.cast::<u8>(), 4 * n);
                }
                Store::F16(bytes) => halves::<S>(bytes.as_ptr().add(2 * start).cast(), n, out),
                Store::BF16(bytes) => {
                    let p = bytes.as_ptr().add(2 * start).cast::<u16>();
                    for i in 0..n {
                        *out.add(i) = bf16::from_bits(p.add(i).read_unaligned()).to_f32();
                    }
                }
                Store::Palette(p) => p.decode(row, start, n, out),
                Store::Affine(a) => a.decode(row, start, col, n, out),
                Store::Sparse(s) => s.decode(row, self.cols, col, n, out),
            }
        }
    }

    /// Decodes the columns `col..col + n` of [`Simd::LANES`] rows from `row` on, and writes them to `out` with rows and
    /// columns exchanged, its rows `out_row` floats apart. Of the rows only `count` exist; the others are zeros.
    ///
    /// # Safety
    /// The instruction set exists; the rows that exist do so, as do the columns; `out` has room, and `scratch` for as
    /// many rows of `n` floats rounded up to whole vectors.
    #[inline(always)]
    pub(crate) unsafe fn decode_transposed<S: Simd>(
        &self,
        (row, count): (usize, usize),
        (col, n): (usize, usize),
        (out, out_row): (*mut f32, usize),
        scratch: *mut f32,
    ) {
        let mut k = 0;
        // SAFETY: the caller's contract.
        unsafe {
            if let Store::F16(bytes) = &self.store
                && count >= S::LANES
            {
                // Halves are turned before they are widened: half as much to move.
                let from = bytes.as_ptr().add(2 * (row * self.cols + col)).cast::<u16>();
                while k + 2 * S::LANES <= n {
                    S::transpose_f16(from.add(k), self.cols, out.add(k * out_row), out_row);
                    k += 2 * S::LANES;
                }
            }
            let rest = n - k;
            if rest == 0 {
                return;
            }
            let pitch = rest.next_multiple_of(S::LANES);
            for r in 0..S::LANES {
                let to = scratch.add(r * pitch);
                if r < count {
                    self.decode::<S>(row + r, col + k, rest, to);
                } else {
                    std::ptr::write_bytes(to, 0, rest);
                }
            }
            let whole = rest / S::LANES * S::LANES;
            for i in (0..whole).step_by(S::LANES) {
                S::transpose(scratch.add(i), pitch, out.add((k + i) * out_row), out_row);
            }
            for i in whole..rest {
                for r in 0..S::LANES {
                    *out.add((k + i) * out_row + r) = *scratch.add(r * pitch + i);
                }
            }
        }
    }
}

/// [`Matrix::decode`], as a kernel.
///
/// # Safety
/// As there.
#[inline(always)]
pub(crate) unsafe fn decode<S: Simd>(w: &Matrix, row: usize, col: usize, n: usize, out: *mut f32) {
    // SAFETY: the caller's contract.
    unsafe { w.decode::<S>(row, col, n, out) }
}

/// Widens `n` halves.
///
/// # Safety
/// The instruction set exists; both sides hold `n` elements.
#[inline(always)]
unsafe fn halves<S: Simd>(p: *const u16, n: usize, out: *mut f32) {
    // SAFETY: the caller's contract.
    unsafe {
        let whole = n / S::LANES * S::LANES;
        let mut i = 0;
        while i < whole {
            S::store(out.add(i), S::load_f16(p.add(i)));
            i += S::LANES;
        }
        for i in whole..n {
            *out.add(i) = f16::from_bits(p.add(i).read_unaligned()).to_f32();
        }
    }
}

/// Eight codes of `bits` bits, a byte each, from the low bits of `word`.
#[inline(always)]
const fn spread(word: u64, bits: usize) -> u64 {
    // Halves, then quarters, then single codes move apart.
    let half = (1u64 << (4 * bits)) - 1;
    let x = (word & half) | (((word >> (4 * bits)) & half) << 32);
    let quarter = (1u64 << (2 * bits)) - 1;
    let quarter = quarter | (quarter << 32);
    let x = (x & quarter) | (((x >> (2 * bits)) & quarter) << 16);
    let one = ((1u64 << bits) - 1) * 0x0001_0001_0001_0001;
    (x & one) | (((x >> bits) & one) << 8)
}

/// Calls `f` with the place and code of each of `n` elements from `start` on.
#[inline(always)]
fn for_each_code(codes: &[u8], bits: usize, start: usize, n: usize, mut f: impl FnMut(usize, u8)) {
    let mut i = 0;
    if bits == 8 {
        codes[start..start + n].iter().enumerate().for_each(|(i, &c)| f(i, c));
        return;
    }
    while i + 8 <= n {
        let bit = (start + i) * bits;
        let Some(bytes) = codes.get(bit / 8..bit / 8 + 8) else { break };
        let word = u64::from_le_bytes(bytes.try_into().expect("invariant: eight bytes"));
        for (u, code) in spread(word >> (bit % 8), bits).to_le_bytes().into_iter().enumerate() {
            f(i + u, code);
        }
        i += 8;
    }
    for i in i..n {
        f(i, host_tensor::unpack_bits_at(codes, bits, start + i));
    }
}

impl Palette {
    #[inline(always)]
    unsafe fn decode(&self, row: usize, start: usize, n: usize, out: *mut f32) {
        let entries = 1usize << self.bits;
        let table = &self.tables[row / self.rows_per_table * entries..][..entries];
        match self.bits {
            // A constant width lets the compiler resolve the shifts, and the bound of a code be seen.
            6 => for_each_code(&self.codes, 6, start, n, |i, c| {
                // SAFETY: the caller's contract; a code is below 64.
                unsafe { *out.add(i) = *table.get_unchecked(usize::from(c & 63)) };
            }),
            4 => for_each_code(&self.codes, 4, start, n, |i, c| {
                // SAFETY: the caller's contract; a code is below 16.
                unsafe { *out.add(i) = *table.get_unchecked(usize::from(c & 15)) };
            }),
            // SAFETY: the caller's contract.
            bits => for_each_code(&self.codes, bits, start, n, |i, c| unsafe { *out.add(i) = table[usize::from(c)] }),
        }
    }
}

impl Affine {
    #[inline(always)]
    unsafe fn decode(&self, row: usize, start: usize, col: usize, n: usize, out: *mut f32) {
        let shift = 8 - self.bits;
        let number = |c: u8| if self.signed { f32::from((c << shift) as i8 >> shift) } else { f32::from(c) };
        let first = row / self.rows_per_scale * self.per_row;
        let mut done = 0;
        while done < n {
            let at = (col + done) / self.block;
            let count = (self.block - (col + done) % self.block).min(n - done);
            let (scale, offset) = (self.scale[first + at], self.offset[first + at]);
            for_each_code(&self.codes, self.bits, start + done, count, |i, c| {
                let v = scale * (number(c) - offset);
                // SAFETY: the caller's contract.
                unsafe { *out.add(done + i) = v };
            });
            done += count;
        }
        if self.half {
            // SAFETY: `n` elements were written.
            round_to_half(unsafe { std::slice::from_raw_parts_mut(out, n) });
        }
    }
}

/// Rounds to halves, by the processor's own conversion where it has one, a block at a time.
pub(crate) fn round_to_half(values: &mut [f32]) {
    use half::slice::HalfFloatSliceExt;
    let mut halves = [f16::ZERO; 256];
    for chunk in values.chunks_mut(256) {
        let halves = &mut halves[..chunk.len()];
        halves.convert_from_f32_slice(chunk);
        halves.convert_to_f32_slice(chunk);
    }
}

impl Sparse {
    #[inline(always)]
    unsafe fn decode(&self, row: usize, cols: usize, col: usize, n: usize, out: *mut f32) {
        let start = row * cols;
        let bit = |i: usize| self.mask[i / 8] >> (i % 8) & 1 == 1;
        let mut next = self.before[row] + count_bits(&self.mask, start, start + col);
        for i in 0..n {
            let set = bit(start + col + i);
            // SAFETY: the caller's contract.
            unsafe { *out.add(i) = if set { self.values[next].to_f32() } else { 0.0 } };
            next += usize::from(set);
        }
    }
}

/// Set bits in a range of bit positions.
pub(crate) fn count_bits(bytes: &[u8], from: usize, to: usize) -> usize {
    if from >= to {
        return 0;
    }
    let (first, last) = (from / 8, (to - 1) / 8);
    let low = 0xFFu8 << (from % 8);
    let high = 0xFFu8 >> (7 - (to - 1) % 8);
    if first == last {
        return (bytes[first] & low & high).count_ones() as usize;
    }
    let middle: usize = bytes[first + 1..last].iter().map(|b| b.count_ones() as usize).sum();
    (bytes[first] & low).count_ones() as usize + middle + (bytes[last] & high).count_ones() as usize
}
