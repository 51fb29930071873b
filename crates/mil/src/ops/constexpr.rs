//! Compressed constants: operations that are computed when the model is loaded.
//!
//! The forms of iOS 16 name their result's shape, those of iOS 18 carry it in the shapes of their operands.

use super::{
    OpError, OpSpec, Param, View,
    dims::{self, agree, axis, count, has_len, mul, one, show},
    domain::{FLOAT, IOS16, IOS18},
};
use crate::types::{Dim, TensorType, Type};
use host_tensor::DType::{self, F16, F32, I4, I8, U1, U2, U3, U4, U6, U8, U32};

const BYTES: &[DType] = &[I8, U8];
const ZERO_POINT: &[DType] = &[I8, U8, F32];
const ENTRIES: &[DType] = &[I8, U8, F16, F32];
const QUANTIZED: &[DType] = &[I4, U4, I8, U8, F16, F32];
const INDICES: &[DType] = &[U1, U2, U3, U4, U6, U8];

/// scale · (`quantized_data` - `zero_point`); vectors run along `axis`.
const AFFINE: &[Param] = &[
    Param::tensor("quantized_data", 'S', BYTES).constant(),
    Param::tensor("zero_point", 'Z', ZERO_POINT).constant(),
    Param::tensor("scale", 'D', FLOAT).constant(),
    Param::int("axis"),
];
const SHAPE: Param = Param::tensor("shape", '_', &[U32]).vector().constant();
const CAST: &[Param] = &[Param::tensor("source_val", '_', &[F16]).constant(), Param::text("output_dtype", &["fp32"])];
/// Indices of 1, 2, 4, 6 or 8 bits, packed least significant bit first.
const LUT16: &[Param] = &[
    Param::tensor("indices", '_', &[U8]).vector().constant(),
    Param::tensor("lut", 'T', ENTRIES).vector().constant(),
    SHAPE,
];
/// The lut is [groups of each dimension…, 2^bits, vector length].
const LUT18: &[Param] = &[
    Param::tensor("indices", 'I', INDICES).constant(),
    Param::tensor("lut", 'T', ENTRIES).constant(),
    Param::int("vector_axis").optional(),
];
const LUT_TO_SPARSE: &[Param] = &[
    Param::tensor("indices_mask", '_', &[U1]).constant(),
    Param::tensor("indices_nonzero_data", 'I', INDICES).vector().constant(),
    Param::tensor("lut", 'T', ENTRIES).constant(),
    Param::int("vector_axis").optional(),
];
/// Bit i of the mask, least significant first, says whether element i is stored.
const SPARSE16: &[Param] = &[
    Param::tensor("nonzero_data", 'T', ENTRIES).vector().constant(),
    Param::tensor("mask", '_', &[U8]).vector().constant(),
    SHAPE,
];
const SPARSE18: &[Param] =
    &[Param::tensor("nonzero_data", 'T', QUANTIZED).vector().constant(), Param::tensor("mask", '_', &[U1]).constant()];
/// scale · (data - offset), where a scale serves a block of data: scale's dimensions divide data's.
const BLOCKWISE: &[Param] = &[
    Param::tensor("data", 'S', QUANTIZED).constant(),
    Param::tensor("scale", 'D', FLOAT).constant(),
    Param::tensor("offset", 'O', QUANTIZED).constant().optional(),
];
const SPARSE_BLOCKWISE: &[Param] = &[
    Param::tensor("data_mask", '_', &[U1]).constant(),
    Param::tensor("nonzero_data", 'S', QUANTIZED).vector().constant(),
    Param::tensor("scale", 'D', FLOAT).constant(),
    Param::tensor("offset", 'O', QUANTIZED).constant().optional(),
];

pub(super) const SPECS: &[OpSpec] = &[
    OpSpec::new("constexpr_affine_dequantize", IOS16, AFFINE, affine_dequantize).at_load(),
    OpSpec::new("constexpr_cast", IOS16, CAST, cast).at_load(),
    OpSpec::new("constexpr_lut_to_dense", IOS16, LUT16, lut_to_dense16).at_load(),
    OpSpec::new("constexpr_lut_to_dense", IOS18, LUT18, lut_to_dense18).at_load(),
    OpSpec::new("constexpr_lut_to_sparse", IOS18, LUT_TO_SPARSE, lut_to_sparse).at_load(),
    OpSpec::new("constexpr_sparse_to_dense", IOS16, SPARSE16, sparse_to_dense16).at_load(),
    OpSpec::new("constexpr_sparse_to_dense", IOS18, SPARSE18, sparse_to_dense18).at_load(),
    OpSpec::new("constexpr_blockwise_shift_scale", IOS18, BLOCKWISE, blockwise_shift_scale).at_load(),
    OpSpec::new("constexpr_sparse_blockwise_shift_scale", IOS18, SPARSE_BLOCKWISE, sparse_blockwise_shift_scale)
        .at_load(),
];

fn affine_dequantize(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    let (data, scale) = (o.tensor("quantized_data")?, o.tensor("scale")?);
    let along = axis(o.known_int("axis")?, data.rank())?;
    for param in ["scale", "zero_point"] {
        let t = o.tensor(param)?;
        let fits = t.rank() == 0 || (t.rank() == 1 && t.shape[0].agrees(data.shape[along]));
        ensure!(fits, "{param} {t} is neither a scalar nor a vector along axis {along} of {data}");
    }
    one(scale.dtype, data.shape.clone())
}

fn cast(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    one(F32, o.tensor("source_val")?.shape.clone())
}

/// The `shape` operand, and how many elements it has.
fn stated_shape(o: &View<'_>) -> Result<(Vec<Dim>, usize), OpError> {
    let shape = o.known_ints("shape")?;
    let shape = shape.iter().map(|&d| dims::size(d, "shape")).collect::<Result<Vec<_>, _>>()?;
    let Some(n) = count(&shape)? else { fail!("shape {} is not known", show(&shape)) };
    Ok((shape, n))
}

/// Checks the length of bits that are packed into bytes.
fn check_packed(name: &str, packed: &TensorType, n: usize, bits: usize) -> Result<(), OpError> {
    // Eight elements take `bits` bytes, so nothing overflows before the division.
    let bytes = (n / 8).checked_mul(bits).and_then(|b| b.checked_add((n % 8 * bits).div_ceil(8)));
    let fits = bytes.is_some_and(|b| has_len(&packed.shape, b));
    ensure!(fits, "{name} {packed} does not hold {n} elements of {bits} bits");
    Ok(())
}

fn lut_to_dense16(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    let (indices, lut) = (o.tensor("indices")?, o.tensor("lut")?);
    let bits = match lut.shape[0] {
        Dim::Size(2) => 1,
        Dim::Size(4) => 2,
        Dim::Size(16) => 4,
        Dim::Size(64) => 6,
        Dim::Size(256) => 8,
        _ => fail!("lut {lut} must have 2, 4, 16, 64 or 256 entries"),
    };
    let (shape, n) = stated_shape(o)?;
    check_packed("indices", indices, n, bits)?;
    one(lut.dtype, shape)
}

/// Checks a lut of iOS 18 against the indices, whose shape may be that of a mask; returns the vector length
/// and, when it is not one, the axis along which vectors lie.
fn check_lut(o: &View<'_>, indices: &[Dim], dtype: DType) -> Result<(Dim, Option<usize>), OpError> {
    let lut = o.tensor("lut")?;
    let [groups @ .., entries, vector] = &lut.shape[..] else { fail!("lut {lut} must have two more dimensions") };
    ensure!(!indices.is_empty(), "indices must not be a scalar");
    check_blocks("lut", groups, indices)?;
    ensure!(
        entries.agrees(Dim::Size(1 << dtype.bits())),
        "lut {lut} has {entries} entries, but indices of {dtype} address {}",
        1 << dtype.bits()
    );
    let along = match o.has("vector_axis") {
        true => Some(axis(o.known_int("vector_axis")?, indices.len())?),
        false => None,
    };
    ensure!(*vector == Dim::Size(1) || along.is_some(), "lut {lut} of vectors needs vector_axis");
    Ok((*vector, along))
}

/// Each dimension of `blocks` divides that of `data`.
fn check_blocks(name: &str, blocks: &[Dim], data: &[Dim]) -> Result<(), OpError> {
    let divides = |(b, d): (&Dim, &Dim)| match (b.size(), d.size()) {
        (Some(0), _) => false,
        (Some(b), Some(d)) => d % b == 0,
        _ => true,
    };
    let fits = blocks.len() == data.len() && blocks.iter().zip(data).all(divides);
    ensure!(fits, "{name} {} does not divide {} into blocks", show(blocks), show(data));
    Ok(())
}

/// The shape with the vectors written out along their axis.
fn unfolded(shape: &[Dim], vector: Dim, along: Option<usize>) -> Result<Vec<Dim>, OpError> {
    let mut shape = shape.to_vec();
    if let Some(along) = along {
        shape[along] = mul(shape[along], vector)?;
    }
    Ok(shape)
}

fn lut_to_dense18(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    let (indices, lut) = (o.tensor("indices")?, o.tensor("lut")?);
    let (vector, along) = check_lut(o, &indices.shape, indices.dtype)?;
    one(lut.dtype, unfolded(&indices.shape, vector, along)?)
}

fn lut_to_sparse(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    let (mask, nonzero, lut) = (o.tensor("indices_mask")?, o.tensor("indices_nonzero_data")?, o.tensor("lut")?);
    check_ones(o, "indices_mask", None, nonzero)?;
    let (vector, along) = check_lut(o, &mask.shape, nonzero.dtype)?;
    let data = TensorType { dtype: lut.dtype, shape: vec![mul(nonzero.shape[0], vector)?] };
    let mask = TensorType { dtype: U1, shape: unfolded(&mask.shape, vector, along)? };
    Ok(vec![Type::Tensor(mask), Type::Tensor(data)])
}

/// Checks that a mask which is known has as many ones as there are stored elements, and none in the padding
/// after bit `n`; a mask of single bits has its own length.
fn check_ones(o: &View<'_>, mask: &str, n: Option<usize>, nonzero: &TensorType) -> Result<(), OpError> {
    let Some(bits) = o.literal(mask).and_then(|l| l.as_const()) else { return Ok(()) };
    let n = n.unwrap_or(bits.len());
    let tensor = bits.read();
    let bytes = tensor.bytes();
    let (whole, rest) = bytes.split_at(bytes.len().min(n / 8));
    let last = rest.first().copied().unwrap_or(0);
    let padding = last.checked_shr(u32::try_from(n % 8).unwrap_or(0)).unwrap_or(0);
    ensure!(n.is_multiple_of(8) || padding == 0, "{mask} has ones after its last bit");
    let ones: usize = whole.iter().chain([&last]).map(|b| b.count_ones() as usize).sum();
    ensure!(nonzero.shape[0].agrees(Dim::Size(ones)), "{mask} has {ones} ones, but {nonzero} elements are stored");
    Ok(())
}

fn sparse_to_dense16(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    let (nonzero, mask) = (o.tensor("nonzero_data")?, o.tensor("mask")?);
    let (shape, n) = stated_shape(o)?;
    check_packed("mask", mask, n, 1)?;
    check_ones(o, "mask", Some(n), nonzero)?;
    one(nonzero.dtype, shape)
}

fn sparse_to_dense18(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    let (nonzero, mask) = (o.tensor("nonzero_data")?, o.tensor("mask")?);
    check_ones(o, "mask", None, nonzero)?;
    one(nonzero.dtype, mask.shape.clone())
}

/// Checks scale and offset against data of this type, whose shape may be that of a mask.
fn check_scale(o: &View<'_>, data: &[Dim], dtype: DType) -> Result<(), OpError> {
    let scale = o.tensor("scale")?;
    ensure!(!data.is_empty(), "data must not be a scalar");
    check_blocks("scale", &scale.shape, data)?;
    if let Some(offset) = o.optional_tensor("offset") {
        ensure!(agree(&offset.shape, &scale.shape), "offset {offset} and scale {scale} differ in shape");
        ensure!(
            offset.dtype.is_float() || offset.dtype == dtype,
            "offset {offset} must be of {dtype} as the data, or a float"
        );
    }
    Ok(())
}

fn blockwise_shift_scale(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    let data = o.tensor("data")?;
    check_scale(o, &data.shape, data.dtype)?;
    one(o.tensor("scale")?.dtype, data.shape.clone())
}

fn sparse_blockwise_shift_scale(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    let (mask, nonzero) = (o.tensor("data_mask")?, o.tensor("nonzero_data")?);
    check_ones(o, "data_mask", None, nonzero)?;
    check_scale(o, &mask.shape, nonzero.dtype)?;
    let data = TensorType { dtype: o.tensor("scale")?.dtype, shape: nonzero.shape.clone() };
    Ok(vec![Type::Tensor(mask.clone()), Type::Tensor(data)])
}
