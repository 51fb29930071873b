//! Weights that a program holds in compressed form, evaluated.

use crate::{Affine, Lut};
use host_tensor::{DType, HostTensor, element_count, unpack_bits};
use mil::{Const, Function, Literal, Op, SourceId, ValueId};
use std::collections::HashMap;

/// The `constexpr_*` operations of a function by their results.
pub(crate) struct Chains<'f> {
    function: &'f Function,
    by_result: HashMap<ValueId, (&'f Op, usize)>,
}

/// Chains are at most this long: palettes of scales of pruned values have three links.
const MAX_LINKS: usize = 8;

impl<'f> Chains<'f> {
    pub(crate) fn new(function: &'f Function) -> Self {
        let mut by_result = HashMap::new();
        function.body.for_each_op(&mut |op| {
            if op.is_constexpr() {
                by_result.extend(op.outputs.iter().enumerate().map(|(i, &v)| (v, (op, i))));
            }
        });
        Self { function, by_result }
    }

    /// The operation that makes a value, when it is one of these.
    pub(crate) fn op(&self, value: ValueId) -> Option<&'f Op> {
        self.by_result.get(&value).map(|(op, _)| *op)
    }

    /// Bytes of the constants that a value is decoded from.
    pub(crate) fn stored_bytes(&self, value: ValueId) -> u64 {
        self.constants(value, 0).iter().map(|c| c.source_bytes() as u64).sum()
    }

    /// The source of the first constant that a value is decoded from.
    pub(crate) fn first_source(&self, value: ValueId) -> Option<SourceId> {
        self.constants(value, 0).first().map(|c| c.source_id())
    }

    fn constants(&self, value: ValueId, depth: usize) -> Vec<&Const> {
        if let Some(Literal::Tensor(c)) = self.function.literal(value) {
            return if c.len() > 1 { vec![c] } else { Vec::new() };
        }
        let Some(op) = self.op(value).filter(|_| depth < MAX_LINKS) else { return Vec::new() };
        op.operands().flat_map(|v| self.constants(v, depth + 1)).collect()
    }

    /// The weight.
    pub(crate) fn evaluate(&self, value: ValueId) -> Result<HostTensor, String> {
        self.value(value, 0)
    }

    fn value(&self, value: ValueId, depth: usize) -> Result<HostTensor, String> {
        if let Some(Literal::Tensor(c)) = self.function.literal(value) {
            return Ok(c.read());
        }
        let Some(&(op, position)) = self.by_result.get(&value).filter(|_| depth < MAX_LINKS) else {
            return Err(format!("{} is not known before the program runs", self.function.name_of(value)));
        };
        let call = Call { chains: self, op, depth: depth + 1 };
        let mut results = call.evaluate()?;
        if position < results.len() { Ok(results.swap_remove(position)) } else { Err("it lacks a result".into()) }
    }
}

/// One operation being evaluated.
struct Call<'c, 'f> {
    chains: &'c Chains<'f>,
    op: &'f Op,
    depth: usize,
}

impl Call<'_, '_> {
    fn optional(&self, param: &str) -> Result<Option<HostTensor>, String> {
        self.op.input(param).map(|v| self.chains.value(v, self.depth)).transpose()
    }

    fn tensor(&self, param: &str) -> Result<HostTensor, String> {
        self.optional(param)?.ok_or_else(|| format!("{} has no {param}", self.op.kind))
    }

    fn axis(&self, param: &str, rank: usize) -> Result<Option<usize>, String> {
        let Some(axis) = self.optional(param)? else { return Ok(None) };
        let axis = *axis.to_i64_vec().first().ok_or_else(|| format!("{param} has no element"))?;
        let absolute = if axis < 0 { axis + rank as i64 } else { axis };
        let inside = usize::try_from(absolute).ok().filter(|&a| a < rank);
        inside.map(Some).ok_or_else(|| format!("{param} {axis} is not an axis of rank {rank}"))
    }

    /// The shape that operations of iOS 16 state.
    fn stated_shape(&self) -> Result<Option<Vec<usize>>, String> {
        let Some(shape) = self.optional("shape")? else { return Ok(None) };
        let shape: Option<Vec<usize>> = shape.to_i64_vec().into_iter().map(|d| usize::try_from(d).ok()).collect();
        shape.filter(|s| element_count(s).is_some()).map(Some).ok_or_else(|| "its shape is not one".into())
    }

    fn evaluate(&self) -> Result<Vec<HostTensor>, String> {
        let one = |shape: &[usize], values: Vec<f32>, dtype| Ok(vec![HostTensor::from_f32(shape, values).cast(dtype)]);
        match &*self.op.kind {
            "constexpr_cast" => Ok(vec![self.tensor("source_val")?.cast(DType::F32)]),
            "constexpr_lut_to_dense" => {
                let lut = self.lut(&self.tensor("indices")?)?;
                one(&lut.shape(), lut.decode(), lut.lut.dtype())
            }
            "constexpr_affine_dequantize" => {
                let affine = self.old_affine()?;
                let shape = affine.data.shape().to_vec();
                one(&shape, affine.decode(&shape, None), affine.scale.dtype())
            }
            "constexpr_blockwise_shift_scale" => {
                let affine = self.affine("data")?;
                let shape = affine.data.shape().to_vec();
                one(&shape, affine.decode(&shape, None), affine.scale.dtype())
            }
            "constexpr_sparse_to_dense" => self.sparse_to_dense(),
            "constexpr_lut_to_sparse" => {
                let (mask, indices) = (self.tensor("indices_mask")?, self.tensor("indices_nonzero_data")?);
                let lut = self.lut(&indices)?;
                if lut.vector_axis.is_some() && lut.lut.shape().last() != Some(&1) {
                    return Err("it is pruned and palettized by vectors, which cannot be decoded here".into());
                }
                let places = places(&mask, indices.len())?;
                let values = lut.decode_at(mask.shape(), Some(&places));
                Ok(vec![mask, HostTensor::from_f32([values.len()], values).cast(lut.lut.dtype())])
            }
            "constexpr_sparse_blockwise_shift_scale" => {
                let (mask, affine) = (self.tensor("data_mask")?, self.affine("nonzero_data")?);
                let places = places(&mask, affine.data.len())?;
                let values = affine.decode(mask.shape(), Some(&places));
                Ok(vec![mask, HostTensor::from_f32([values.len()], values).cast(affine.scale.dtype())])
            }
            kind => Err(format!("{kind} cannot be decoded here")),
        }
    }

    fn lut(&self, indices: &HostTensor) -> Result<Lut, String> {
        let lut = self.tensor("lut")?;
        if let Some(shape) = self.stated_shape()? {
            let dtype = match lut.len() {
                2 => DType::U1,
                4 => DType::U2,
                16 => DType::U4,
                64 => DType::U6,
                256 => DType::U8,
                n => return Err(format!("a palette of {n} entries has no index width")),
            };
            let indices = HostTensor::new(dtype, shape, indices.bytes().clone()).map_err(|e| e.to_string())?;
            let blocks = [vec![1; indices.shape().len()], vec![lut.len(), 1]].concat();
            return Ok(Lut { indices, lut: lut.reshape(blocks).map_err(|e| e.to_string())?, vector_axis: None });
        }
        let axis = self.axis("vector_axis", lut.shape().len().saturating_sub(2))?;
        let is_vector = lut.shape().last().is_some_and(|&v| v > 1);
        Ok(Lut { indices: indices.clone(), lut, vector_axis: axis.filter(|_| is_vector) })
    }

    fn affine(&self, data: &str) -> Result<Affine, String> {
        Ok(Affine { data: self.tensor(data)?, scale: self.tensor("scale")?, offset: self.optional("offset")? })
    }

    fn old_affine(&self) -> Result<Affine, String> {
        let data = self.tensor("quantized_data")?;
        let axis = self.axis("axis", data.shape().len())?.ok_or("it has no axis")?;
        let (scale, offset) = (self.tensor("scale")?, self.tensor("zero_point")?);
        let n = scale.len().max(offset.len());
        let mut blocks = vec![1; data.shape().len()];
        blocks[axis] = n;
        let widen = |t: &HostTensor| {
            let values = t.cast(DType::F32).to_f32_vec();
            let all = if values.len() == n { values } else { vec![values.first().copied().unwrap_or(0.0); n] };
            HostTensor::from_f32(blocks.clone(), all)
        };
        Ok(Affine { scale: widen(&scale).cast(scale.dtype()), offset: Some(widen(&offset)), data })
    }

    fn sparse_to_dense(&self) -> Result<Vec<HostTensor>, String> {
        let (mut mask, stored) = (self.tensor("mask")?, self.tensor("nonzero_data")?);
        if let Some(shape) = self.stated_shape()? {
            mask = HostTensor::new(DType::U1, shape, mask.bytes().clone()).map_err(|e| e.to_string())?;
        }
        let places = places(&mask, stored.len())?;
        let mut dense = vec![0f32; mask.len()];
        places.into_iter().zip(stored.to_f32_vec()).for_each(|(i, v)| dense[i] = v);
        Ok(vec![HostTensor::from_f32(mask.shape(), dense).cast(stored.dtype())])
    }
}

/// Positions of the ones of a mask, of which there are `n`.
fn places(mask: &HostTensor, n: usize) -> Result<Vec<usize>, String> {
    let bits = unpack_bits(mask.bytes(), 1, mask.len());
    let places: Vec<usize> = (0..bits.len()).filter(|&i| bits[i] == 1).collect();
    if places.len() == n {
        Ok(places)
    } else {
        Err(format!("its mask has {} ones, and {n} values are stored", places.len()))
    }
}
