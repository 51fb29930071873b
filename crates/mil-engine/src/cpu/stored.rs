//! Weights of a program as matrices that kernels decode while they run.
//!
//! What lies in a file stays there, in its own encoding. Encodings that no kernel reads piece by piece (vectors of a
//! palette, tables that change within a row) are decoded once, to the type that the program declares; all of them where
//! [`WeightForm::Expanded`] is asked for.

use super::{body::Body, options::WeightForm};
use crate::kernel::weights::{Affine, Matrix, Palette, Sparse, Store, count_bits};
use half::f16;
use host_tensor::{Bytes, DType, HostTensor};
use mil::{Const, Op, ValueId};

/// The weight as a matrix of `rows` rows; `dense` decodes it where nothing else can.
///
/// # Errors
/// Those of `dense`.
pub(super) fn matrix<E>(
    body: &Body<'_>,
    id: ValueId,
    rows: usize,
    form: WeightForm,
    dense: impl FnOnce() -> Result<HostTensor, E>,
) -> Result<Matrix, E> {
    let n: usize = body.shape(id).map_or(0, |s| s.iter().product());
    let cols = n / rows.max(1);
    let store = match (body.literal(id).and_then(|l| l.as_const()), body.def(id)) {
        (Some(c), _) => plain(c),
        (None, Some(op)) if form == WeightForm::Stored => encoded(body, &body.ops[op], rows, cols),
        _ => None,
    };
    let store = match store {
        Some(store) => store,
        None => {
            let half = body.dtype(id) == Some(DType::F16);
            let dense = dense()?;
            // Decoded weights are of the declared type already, so this is exact.
            if half { Store::F16(dense.cast(DType::F16).bytes().clone()) } else { Store::F32(dense.bytes().clone()) }
        }
    };
    Ok(Matrix { rows, cols, store })
}

/// A constant of floats; one that must be computed is read here, once, and stays in memory.
fn plain(c: &Const) -> Option<Store> {
    let bytes = c.stored().cloned().unwrap_or_else(|| c.read().bytes().clone());
    match c.dtype() {
        DType::F32 => Some(Store::F32(bytes)),
        DType::F16 => Some(Store::F16(bytes)),
        DType::BF16 => Some(Store::BF16(bytes)),
        _ => None,
    }
}

fn constant<'f>(body: &Body<'f>, op: &Op, param: &str) -> Option<&'f Const> {
    body.literal(op.input(param)?)?.as_const()
}

/// The bytes of a constant, where they lie when they can; of a computed one they are made here, once, and stay.
fn bytes(c: &Const) -> Bytes {
    c.stored().cloned().unwrap_or_else(|| c.read().bytes().clone())
}

fn encoded(body: &Body<'_>, op: &Op, rows: usize, cols: usize) -> Option<Store> {
    let shape = body.shape(op.output())?;
    let half = match body.dtype(op.output())? {
        DType::F16 => true,
        DType::F32 => false,
        _ => return None,
    };
    match &*op.kind {
        "constexpr_lut_to_dense" => palette(body, op, &shape, rows).map(Store::Palette),
        "constexpr_affine_dequantize" => affine(body, op, &shape, half).map(Store::Affine),
        "constexpr_blockwise_shift_scale" => blockwise(body, op, &shape, half).map(Store::Affine),
        "constexpr_sparse_to_dense" if half => sparse(body, op, rows, cols).map(Store::Sparse),
        _ => None,
    }
}

fn palette(body: &Body<'_>, op: &Op, shape: &[usize], rows: usize) -> Option<Palette> {
    let (indices, lut) = (constant(body, op, "indices")?, constant(body, op, "lut")?);
    if !lut.dtype().is_float() {
        return None;
    }
    let tables = lut.read().to_f32_vec();
    let n: usize = shape.iter().product();
    let (bits, rows_per_table) = if op.input("shape").is_some() {
        let bits = [1, 2, 4, 6, 8].into_iter().find(|b| tables.len() == 1 << b)?;
        (bits, rows)
    } else {
        let bits = indices.dtype().bits();
        let [groups @ .., entries, vector] = lut.shape() else { return None };
        let first = groups.first().copied().unwrap_or(1);
        let by_row = groups.iter().skip(1).all(|&g| g == 1) && first > 0 && rows.is_multiple_of(first);
        if *vector != 1 || *entries != 1 << bits || !by_row || indices.shape() != shape || shape.first() != Some(&rows)
        {
            return None;
        }
        (bits, rows / first)
    };
    let codes = bytes(indices);
    let fits = matches!(bits, 1 | 2 | 3 | 4 | 6 | 8) && codes.len() == (n * bits).div_ceil(8);
    fits.then_some(Palette { codes, bits, tables, rows_per_table })
}

/// Codes of four or eight bits, and whether they are signed.
fn integers(c: &Const) -> Option<(usize, bool)> {
    match c.dtype() {
        DType::I8 => Some((8, true)),
        DType::U8 => Some((8, false)),
        DType::I4 => Some((4, true)),
        DType::U4 => Some((4, false)),
        _ => None,
    }
}

/// iOS 16: scales and zero points for all, or along the axis of the outputs.
fn affine(body: &Body<'_>, op: &Op, shape: &[usize], half: bool) -> Option<Affine> {
    let data = constant(body, op, "quantized_data")?;
    let (bits, signed) = integers(data)?;
    let [mut scale, mut offset] =
        [constant(body, op, "scale")?, constant(body, op, "zero_point")?].map(|c| c.read().to_f32_vec());
    let rows = *shape.first()?;
    let axis = body.axis(op, "axis", shape.len())?;
    let vectors = scale.len() > 1 || offset.len() > 1;
    if vectors && axis != 0 {
        return None;
    }
    let n = if vectors { rows } else { 1 };
    for v in [&mut scale, &mut offset] {
        if v.len() == 1 {
            v.resize(n, v[0]);
        }
        if v.len() != n {
            return None;
        }
    }
    let block = shape.iter().skip(1).product();
    Some(Affine { codes: bytes(data), bits, signed, scale, offset, rows_per_scale: rows / n, block, per_row: 1, half })
}

/// iOS 18: a scale for each block; blocks may divide outputs and inputs.
fn blockwise(body: &Body<'_>, op: &Op, shape: &[usize], half: bool) -> Option<Affine> {
    let data = constant(body, op, "data")?;
    let (bits, signed) = integers(data)?;
    let scales = constant(body, op, "scale")?;
    let scale = scales.read().to_f32_vec();
    let offset = match op.input("offset") {
        None => vec![0.0; scale.len()],
        Some(_) => constant(body, op, "offset")?.read().to_f32_vec(),
    };
    // With whole offsets of this size no difference is rounded, as the operation's definition would.
    let exact = offset.iter().all(|o| o.fract() == 0.0 && o.abs() <= 1024.0);
    let blocks = scales.shape();
    let by_channel = blocks.len() == shape.len() && blocks.iter().skip(2).all(|&b| b == 1) && shape.len() >= 2;
    if !by_channel || !exact || offset.len() != scale.len() || data.shape() != shape {
        return None;
    }
    let divides = |d: usize| blocks[d] > 0 && shape[d].is_multiple_of(blocks[d]);
    if !divides(0) || !divides(1) {
        return None;
    }
    let inner: usize = shape.iter().skip(2).product();
    let block = shape[1] / blocks[1] * inner;
    let rows_per_scale = shape[0] / blocks[0];
    Some(Affine { codes: bytes(data), bits, signed, scale, offset, rows_per_scale, block, per_row: blocks[1], half })
}

fn sparse(body: &Body<'_>, op: &Op, rows: usize, cols: usize) -> Option<Sparse> {
    let (values, mask) = (constant(body, op, "nonzero_data")?, constant(body, op, "mask")?);
    let packed = op.input("shape").is_some();
    let known = if packed { mask.dtype() == DType::U8 } else { mask.dtype() == DType::U1 };
    let mask = bytes(mask);
    if !known || values.dtype() != DType::F16 || mask.len() != (rows * cols).div_ceil(8) {
        return None;
    }
    let mut before = Vec::with_capacity(rows);
    let mut n = 0;
    for row in 0..rows {
        before.push(n);
        n += count_bits(&mask, row * cols, (row + 1) * cols);
    }
    let values: Vec<f16> = values.read().to_f32_vec().into_iter().map(f16::from_f32).collect();
    (values.len() == n).then_some(Sparse { mask, before, values })
}
