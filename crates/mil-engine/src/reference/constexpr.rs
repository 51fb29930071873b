//! Decoding of compressed weights: the `constexpr_*` operations of iOS 16 and iOS 18.
//!
//! The two generations share names but not parameters; which one an operation is of follows from what is
//! bound. Results are exact: the interpreter rounds them to their declared type in every mode.
//! Source of the rules: coremltools 9.0, `ops/defs/iOS16/constexpr_ops.py` and `iOS18/compression.py`.

use super::{
    call::{Call, Results, one},
    kernels::{Kernel, decodes},
    layout::{View, strides_of},
    value::{Data, Element, Tensor, filled, reserve, round_to},
};
use crate::OpFault;
use host_tensor::{DType, HostTensor, unpack_bits_at};
use rayon::prelude::*;

pub(super) const KERNELS: &[Kernel] = &[
    decodes("constexpr_affine_dequantize", affine_dequantize),
    decodes("constexpr_blockwise_shift_scale", blockwise_shift_scale),
    decodes("constexpr_cast", |c| one(c.tensor("source_val")?)),
    decodes("constexpr_lut_to_dense", lut_to_dense),
    decodes("constexpr_lut_to_sparse", lut_to_sparse),
    decodes("constexpr_sparse_blockwise_shift_scale", sparse_blockwise_shift_scale),
    decodes("constexpr_sparse_to_dense", sparse_to_dense),
];

/// Elements that one task decodes; a multiple of eight, so that packed codes begin at a byte.
const CHUNK: usize = 1 << 14;

/// Unsigned codes of up to eight bits, as they are packed.
struct Codes {
    packed: HostTensor,
    bits: usize,
    len: usize,
}

impl Codes {
    /// Codes of a tensor that stores one per element.
    fn of(packed: HostTensor) -> Result<Self, OpFault> {
        let (bits, len) = (packed.dtype().bits(), packed.len());
        if bits > 8 || packed.dtype().is_float() {
            let actual = format!("{packed:?}");
            return Err(OpFault::Kind {
                param: "indices".into(),
                expected: "unsigned integers of 8 bits or fewer",
                actual,
            });
        }
        Ok(Self { packed, bits, len })
    }

    /// `len` codes of `bits` bits that a byte tensor holds.
    fn within(packed: HostTensor, bits: usize, len: usize) -> Result<Self, OpFault> {
        let needed = len / 8 * bits + (len % 8 * bits).div_ceil(8);
        if packed.dtype() != DType::U8 || packed.len() != needed {
            return Err(OpFault::shapes("packed bytes must fill the shape", &[packed.shape(), &[needed]]));
        }
        Ok(Self { packed, bits, len })
    }

    fn at(&self, i: usize) -> usize {
        unpack_bits_at(self.packed.bytes(), self.bits, i).into()
    }

    /// `f` of the position and code of each element, on several threads.
    fn decode<T: Element>(&self, f: impl Fn(usize, usize) -> T + Sync) -> Result<Vec<T>, OpFault> {
        let mut out = filled(self.len, T::default())?;
        out.par_chunks_mut(CHUNK).enumerate().for_each(|(c, chunk)| {
            let start = c * CHUNK;
            chunk.iter_mut().enumerate().for_each(|(i, o)| *o = f(start + i, self.at(start + i)));
        });
        Ok(out)
    }
}

/// A table of floats or of integers, by what it declares.
macro_rules! with_table {
    ($table:expr, $values:ident => $body:expr) => {
        match $table.data() {
            Data::Float($values) => $body,
            _ => {
                let $values = $table.ints()?;
                $body
            }
        }
    };
}

/// A dense shape that a parameter of iOS 16 spells out.
fn dense_shape(call: &Call<'_>) -> Result<Vec<usize>, OpFault> {
    call.sizes("shape")
}

fn lut_to_dense(call: &mut Call<'_>) -> Results {
    if call.has("shape") { packed_lut_to_dense(call) } else { grouped_lut_to_dense(call) }
}

/// iOS 16: indices packed into bytes, least significant bit first; one table for all.
fn packed_lut_to_dense(call: &mut Call<'_>) -> Results {
    let (lut, shape) = (call.tensor("lut")?, dense_shape(call)?);
    let n = call.count(&shape)?;
    let Some(bits) = [1, 2, 4, 6, 8].into_iter().find(|bits| lut.len() == 1 << bits) else {
        return Err(OpFault::shapes("a table must have 2, 4, 16, 64 or 256 entries", &[lut.shape()]));
    };
    let codes = Codes::within(call.raw("indices")?, bits, n)?;
    with_table!(lut, table => one(Tensor::new(shape, codes.decode(|_, code| table[code])?)))
}

/// A table per block of indices, [g₀, …, 2ⁿ, V], and the axis along which its vectors lie.
struct Palette {
    table: Tensor,
    /// For each index its table; empty when there is one for all.
    groups: Vec<u32>,
    n_entries: usize,
    vector_len: usize,
    /// Elements of the dense tensor within one step of the vector axis.
    inner: usize,
    shape: Vec<usize>,
}

impl Palette {
    fn read(call: &Call<'_>, indices: &[usize], bits: usize) -> Result<Self, OpFault> {
        let table = call.tensor("lut")?;
        let rule = "lut must be [groups that divide indices, 2^bits, vector]";
        let fault = || OpFault::shapes(rule, &[table.shape(), indices]);
        let &[ref groups @ .., n_entries, vector_len] = table.shape() else { return Err(fault()) };
        if groups.len() != indices.len() || n_entries != 1 << bits || vector_len == 0 {
            return Err(fault());
        }
        let axis = match (call.has("vector_axis"), vector_len) {
            (false, 1) => indices.len().saturating_sub(1),
            _ => call.axis("vector_axis", indices.len())?,
        };
        let mut shape = indices.to_vec();
        if let Some(d) = shape.get_mut(axis) {
            *d = d.checked_mul(vector_len).ok_or_else(fault)?;
        }
        call.count(&shape)?;
        let n_groups: usize = groups.iter().product();
        let ids: Vec<i64> = (0..n_groups as i64).collect();
        let groups = if n_groups == 1 {
            Vec::new()
        } else {
            spread_blocks(&ids, groups, indices).ok_or_else(fault)??.iter().map(|&g| g as u32).collect()
        };
        let inner = shape.get(axis + 1..).unwrap_or_default().iter().product();
        Ok(Self { table, groups, n_entries, vector_len, inner, shape })
    }

    /// The dense position's index, and its place in the vector.
    fn source(&self, dense: usize) -> (usize, usize) {
        let (row, column) = (dense / self.inner, dense % self.inner);
        (row / self.vector_len * self.inner + column, row % self.vector_len)
    }

    /// The place in the table of this index's vector element.
    fn entry(&self, at: usize, code: usize, element: usize) -> usize {
        let group = self.groups.get(at).map_or(0, |&g| g as usize);
        (group * self.n_entries + code) * self.vector_len + element
    }
}

/// Each element of `values`, of shape `blocks`, repeated over its block of a tensor of shape `to`; `None`
/// when a block is no whole part of its dimension.
fn spread_blocks<T: Element>(values: &[T], blocks: &[usize], to: &[usize]) -> Option<Result<Vec<T>, OpFault>> {
    let mut view = View { offset: 0, shape: Vec::new(), strides: Vec::new() };
    if blocks.len() != to.len() {
        return None;
    }
    for ((&b, &d), stride) in blocks.iter().zip(to).zip(strides_of(blocks)) {
        if b == 0 || d % b != 0 {
            return None;
        }
        view.shape.extend([b, d / b]);
        view.strides.extend([stride as isize, 0]);
    }
    Some(view.copy(values))
}

/// iOS 18: one index per element, or per vector along `vector_axis`; tables may differ by block.
fn grouped_lut_to_dense(call: &mut Call<'_>) -> Results {
    let indices = call.raw("indices")?;
    let shape = indices.shape().to_vec();
    let codes = Codes::of(indices)?;
    let palette = Palette::read(call, &shape, codes.bits)?;
    let n = call.count(&palette.shape)?;
    with_table!(palette.table, table => {
        if palette.vector_len == 1 {
            let out = codes.decode(|at, code| table[palette.entry(at, code, 0)])?;
            return one(Tensor::new(palette.shape.clone(), out));
        }
        let mut out = reserve(n)?;
        out.extend((0..n).map(|dense| {
            let (at, element) = palette.source(dense);
            table[palette.entry(at, codes.at(at), element)]
        }));
        one(Tensor::new(palette.shape.clone(), out))
    })
}

/// A bit for each element of a dense tensor.
struct Mask {
    bits: Vec<bool>,
    n_set: usize,
}

impl Mask {
    fn new(codes: &Codes) -> Result<Self, OpFault> {
        if codes.bits != 1 {
            return Err(OpFault::value("mask", codes.bits, "its elements must have one bit"));
        }
        let bits = codes.decode(|_, code| code == 1)?;
        let n_set = bits.iter().filter(|b| **b).count();
        Ok(Self { bits, n_set })
    }

    /// Fails unless there are as many elements as set bits.
    fn check(&self, n: usize) -> Result<(), OpFault> {
        if self.n_set == n {
            return Ok(());
        }
        Err(OpFault::shapes("there must be as many elements as the mask has ones", &[&[n], &[self.n_set]]))
    }

    /// The elements at set bits, the default elsewhere.
    fn scatter<T: Element>(&self, nonzero: &[T]) -> Result<Vec<T>, OpFault> {
        let mut next = nonzero.iter();
        let mut out = reserve(self.bits.len())?;
        out.extend(
            self.bits.iter().map(|&set| if set { next.next().copied().unwrap_or_default() } else { T::default() }),
        );
        Ok(out)
    }

    /// The elements of a dense tensor at set bits.
    fn gather<T: Element>(&self, dense: &[T]) -> Result<Vec<T>, OpFault> {
        let mut out = reserve(self.n_set)?;
        out.extend(dense.iter().zip(&self.bits).filter(|(_, set)| **set).map(|(&v, _)| v));
        Ok(out)
    }
}

/// iOS 16: a byte-packed mask and the dense shape; iOS 18: a mask of one-bit integers.
fn sparse_to_dense(call: &mut Call<'_>) -> Results {
    let nonzero = call.tensor("nonzero_data")?;
    let packed = call.raw("mask")?;
    let (shape, codes) = if call.has("shape") {
        let shape = dense_shape(call)?;
        let n = call.count(&shape)?;
        (shape, Codes::within(packed, 1, n)?)
    } else {
        call.count(packed.shape())?;
        (packed.shape().to_vec(), Codes::of(packed)?)
    };
    let mask = Mask::new(&codes)?;
    mask.check(nonzero.len())?;
    with_table!(nonzero, values => one(Tensor::new(shape, mask.scatter(values)?)))
}

/// The mask of the dense tensor, and its non-zeros looked up in a table.
///
/// A set bit stands for a whole vector along `vector_axis`; the non-zeros come in the row-major order of the
/// dense tensor.
fn lut_to_sparse(call: &mut Call<'_>) -> Results {
    let packed = call.raw("indices_mask")?;
    let shape = packed.shape().to_vec();
    let mask = Mask::new(&Codes::of(packed)?)?;
    let codes = Codes::of(call.raw("indices_nonzero_data")?)?;
    mask.check(codes.len)?;
    let palette = Palette::read(call, &shape, codes.bits)?;
    let n = call.count(&palette.shape)?;
    let mut order = reserve(mask.bits.len())?;
    let mut n_before = 0u64;
    for &set in &mask.bits {
        order.push(n_before);
        n_before += u64::from(set);
    }
    let mut dense_mask: Vec<i64> = reserve(n)?;
    let mut entries: Vec<usize> = reserve(mask.n_set * palette.vector_len)?;
    for dense in 0..n {
        let (at, element) = palette.source(dense);
        dense_mask.push(i64::from(mask.bits[at]));
        if mask.bits[at] {
            entries.push(palette.entry(at, codes.at(order[at] as usize), element));
        }
    }
    let mask = Tensor::new(palette.shape.clone(), dense_mask);
    with_table!(palette.table, table => {
        let nonzero: Vec<_> = entries.iter().map(|&e| table[e]).collect();
        Ok(vec![mask, Tensor::new([nonzero.len()], nonzero)])
    })
}

/// The elements of a parameter as floats, whatever integers or floats it stores.
fn as_floats(t: &HostTensor) -> Vec<f32> {
    t.to_f32_vec()
}

/// iOS 16: `scale · (quantized_data − zero_point)`, vectors along `axis`.
fn affine_dequantize(call: &mut Call<'_>) -> Results {
    let data = call.raw("quantized_data")?;
    let shape = data.shape().to_vec();
    call.count(&shape)?;
    let (scale, zero) = (as_floats(&call.raw("scale")?), as_floats(&call.raw("zero_point")?));
    let axis = call.axis("axis", shape.len().max(1))?;
    let (size, inner) = match shape.get(axis) {
        Some(&size) => (size, shape[axis + 1..].iter().product::<usize>()),
        None => (1, 1),
    };
    if [scale.len(), zero.len()].iter().any(|&n| n != 1 && n != size) || scale.is_empty() {
        let rule = "scale and zero_point must be scalars, or have one element per index of axis";
        return Err(OpFault::shapes(rule, &[&shape, &[scale.len()], &[zero.len()]]));
    }
    let mut out = as_floats(&data);
    out.par_chunks_mut(inner.max(1)).enumerate().for_each(|(i, row)| {
        let (scale, zero) = (scale[i % scale.len()], zero[i % zero.len()]);
        row.iter_mut().for_each(|v| *v = scale * (*v - zero));
    });
    one(Tensor::new(shape, out))
}

/// `scale` and `offset` of a blockwise quantized tensor, repeated to its shape.
struct Blocks {
    dtype: DType,
    scale: Vec<f32>,
    offset: Option<Vec<f32>>,
}

impl Blocks {
    fn read(call: &Call<'_>, shape: &[usize]) -> Result<Self, OpFault> {
        let scale = call.raw("scale")?;
        let spread = |t: &HostTensor| {
            spread_blocks(&as_floats(t), t.shape(), shape)
                .ok_or_else(|| OpFault::shapes("blocks must divide the data", &[t.shape(), shape]))?
        };
        let offset = if call.has("offset") { Some(spread(&call.raw("offset")?)?) } else { None };
        Ok(Self { dtype: scale.dtype(), scale: spread(&scale)?, offset })
    }

    /// `scale · (data − offset)` at a position, in the precision of the scale.
    fn decode(&self, at: usize, data: f32) -> f32 {
        let data = round_to(self.dtype, data);
        let shifted = self.offset.as_ref().map_or(data, |o| round_to(self.dtype, data - round_to(self.dtype, o[at])));
        self.scale[at] * shifted
    }
}

/// iOS 18: `scale · (data − offset)`, each scale for a block of the data.
fn blockwise_shift_scale(call: &mut Call<'_>) -> Results {
    let data = call.raw("data")?;
    call.count(data.shape())?;
    let blocks = Blocks::read(call, data.shape())?;
    let mut out = as_floats(&data);
    out.par_chunks_mut(CHUNK).enumerate().for_each(|(c, chunk)| {
        chunk.iter_mut().enumerate().for_each(|(i, v)| *v = blocks.decode(c * CHUNK + i, *v));
    });
    one(Tensor::new(data.shape(), out))
}

/// The same for the non-zeros of a sparse tensor, whose places in the dense one choose the block.
fn sparse_blockwise_shift_scale(call: &mut Call<'_>) -> Results {
    let packed = call.raw("data_mask")?;
    let shape = packed.shape().to_vec();
    let n = call.count(&shape)?;
    let mask = Mask::new(&Codes::of(packed)?)?;
    let nonzero = call.raw("nonzero_data")?;
    mask.check(nonzero.len())?;
    let blocks = Blocks::read(call, &shape)?;
    let places = mask.gather(&(0..n as i64).collect::<Vec<_>>())?;
    let values = as_floats(&nonzero);
    let out: Vec<f32> = places.iter().zip(values).map(|(&at, v)| blocks.decode(at as usize, v)).collect();
    let bits: Vec<i64> = mask.bits.iter().map(|&b| i64::from(b)).collect();
    Ok(vec![Tensor::new(shape, bits), Tensor::new([out.len()], out)])
}

#[cfg(test)]
mod tests;
