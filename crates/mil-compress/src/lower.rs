//! A compressed weight as the operations that decode it.
//!
//! Below `CoreML8` the forms of iOS 16 are written, from there on those of iOS 18.

use crate::{Affine, CompressError, Encoded, Lut, NonZero, layout::Grid};
use host_tensor::{DType, HostTensor, pack_bits, unpack_bits};
use mil::{Const, Emitter, Literal, OpError, Opset, ValueId};

/// Operations, and the tensors that they read.
#[derive(Debug, Clone)]
pub(crate) struct Lowered {
    /// In the order in which operations take them.
    pub(crate) tensors: Vec<HostTensor>,
    steps: Vec<Step>,
    suffix: &'static str,
}

#[derive(Debug, Clone)]
struct Step {
    kind: &'static str,
    inputs: Vec<(&'static str, Operand)>,
}

#[derive(Debug, Clone)]
enum Operand {
    /// A tensor, by position.
    Tensor(usize),
    /// A result of the step before, by position.
    Result(usize),
    /// A small constant.
    Literal(Literal),
}

impl Lowered {
    fn new(kind: &'static str, suffix: &'static str) -> Self {
        Self { tensors: Vec::new(), steps: vec![Step { kind, inputs: Vec::new() }], suffix }
    }

    fn step(mut self, kind: &'static str) -> Self {
        self.steps.push(Step { kind, inputs: Vec::new() });
        self
    }

    fn input(mut self, param: &'static str, operand: Operand) -> Self {
        self.steps.last_mut().expect("invariant: there is a step").inputs.push((param, operand));
        self
    }

    fn tensor(mut self, param: &'static str, tensor: HostTensor) -> Self {
        let operand = Operand::Tensor(self.tensors.len());
        self.tensors.push(tensor);
        self.input(param, operand)
    }

    fn result(self, param: &'static str, position: usize) -> Self {
        self.input(param, Operand::Result(position))
    }

    fn literal(self, param: &'static str, literal: Literal) -> Self {
        self.input(param, Operand::Literal(literal))
    }

    /// Emits the operations for the weight `name`, reading `tensors` in place of [`Self::tensors`].
    pub(crate) fn emit(self, e: &mut Emitter<'_>, name: &str, tensors: &[HostTensor]) -> Result<ValueId, OpError> {
        let mut results: Vec<ValueId> = Vec::new();
        let (suffix, n) = (self.suffix, self.steps.len());
        for (i, step) in self.steps.into_iter().enumerate() {
            let op = if i + 1 == n { format!("{name}{suffix}") } else { format!("{name}{suffix}_{}", i + 1) };
            let bind = |e: &mut Emitter<'_>, param: &str, operand: Operand| match operand {
                Operand::Tensor(t) => {
                    e.constant(&format!("{op}_{param}"), Literal::Tensor(Const::new(tensors[t].clone())))
                }
                Operand::Result(r) => results[r],
                Operand::Literal(literal) => e.constant(&format!("{op}_{param}"), literal),
            };
            let args =
                step.inputs.into_iter().map(|(param, operand)| (param, bind(e, param, operand).into())).collect();
            results = e.op_multi(step.kind, &op, args)?;
        }
        results.first().copied().ok_or_else(|| OpError::new("no result".to_owned()))
    }
}

/// The operations that decode a weight, for an opset that has them.
pub(crate) fn lower(encoded: &Encoded, opset: Opset) -> Lowered {
    let modern = opset >= Opset::CoreML8;
    match encoded {
        Encoded::Half(t) => Lowered::new("constexpr_cast", "_cast")
            .tensor("source_val", t.clone())
            .literal("output_dtype", Literal::string("fp32")),
        Encoded::Lut(lut) if modern => dense_lut("_palettized", lut),
        Encoded::Lut(lut) => old_lut(lut),
        Encoded::ScaledLut { lut, scale } if opset >= Opset::CoreML9 => dense_lut("_palettized_pcs", lut)
            .step("constexpr_blockwise_shift_scale")
            .result("data", 0)
            .tensor("scale", scale.clone()),
        // Core ML 8 takes scales of palettes, not of what they decode to: they go into a palette per channel.
        Encoded::ScaledLut { lut, scale } => dense_lut("_palettized_pcs", &fold(lut, scale)),
        Encoded::Affine(affine) if modern => scaled(
            Lowered::new("constexpr_blockwise_shift_scale", "_quantized").tensor("data", affine.data.clone()),
            affine,
        ),
        Encoded::Affine(affine) => old_affine(affine),
        Encoded::Sparse { mask, values } => sparse(mask, values, modern),
    }
}

fn dense_lut(suffix: &'static str, lut: &Lut) -> Lowered {
    let l = Lowered::new("constexpr_lut_to_dense", suffix)
        .tensor("indices", lut.indices.clone())
        .tensor("lut", lut.lut.clone());
    with_axis(l, lut)
}

fn with_axis(l: Lowered, lut: &Lut) -> Lowered {
    match lut.vector_axis {
        Some(axis) => l.literal("vector_axis", Literal::int(axis as i32)),
        None => l,
    }
}

fn scaled(l: Lowered, affine: &Affine) -> Lowered {
    let l = l.tensor("scale", affine.scale.clone());
    match &affine.offset {
        Some(offset) => l.tensor("offset", offset.clone()),
        None => l,
    }
}

/// Bytes of any tensor as a vector of `U8`.
fn as_bytes(t: &HostTensor) -> HostTensor {
    HostTensor::new(DType::U8, [t.bytes().len()], t.bytes().clone()).expect("invariant: a byte each")
}

fn shape_literal(shape: &[usize]) -> Literal {
    let bytes: Vec<u8> = shape.iter().flat_map(|&d| (d as u32).to_le_bytes()).collect();
    let tensor = HostTensor::new(DType::U32, [shape.len()], bytes.into()).expect("invariant: four bytes each");
    Literal::Tensor(Const::new(tensor))
}

/// Three bits do not exist in iOS 16: the next width does.
fn old_lut(lut: &Lut) -> Lowered {
    let mut entries = lut.lut.clone();
    let mut indices = as_bytes(&lut.indices);
    if lut.indices.dtype() == DType::U3 {
        let wide = pack_bits(&unpack_bits(lut.indices.bytes(), 3, lut.indices.len()), 4);
        indices = HostTensor::new(DType::U8, [wide.len()], wide.into()).expect("invariant: a byte each");
        let mut values = entries.to_f32_vec();
        values.resize(16, 0.0);
        entries = HostTensor::from_f32([16], values).cast(entries.dtype());
    }
    let n = entries.len();
    Lowered::new("constexpr_lut_to_dense", "_palettized")
        .tensor("indices", indices)
        .tensor("lut", entries.reshape([n]).expect("invariant: one palette"))
        .literal("shape", shape_literal(&lut.shape()))
}

/// One scale per channel of one axis, or a single one.
fn old_affine(affine: &Affine) -> Lowered {
    let blocks = affine.scale.shape();
    let axis = blocks.iter().position(|&b| b > 1);
    let squeeze = |t: &HostTensor| {
        let shape = axis.map_or_else(Vec::new, |a| vec![blocks[a]]);
        t.reshape(shape).expect("invariant: at most one axis is cut")
    };
    let zeros = || HostTensor::from_f32(blocks, vec![0.0; affine.scale.len()]).cast(affine.data.dtype());
    Lowered::new("constexpr_affine_dequantize", "_quantized")
        .tensor("quantized_data", affine.data.clone())
        .tensor("zero_point", squeeze(&affine.offset.clone().unwrap_or_else(zeros)))
        .tensor("scale", squeeze(&affine.scale))
        .literal("axis", Literal::int(axis.unwrap_or(0) as i32))
}

fn sparse(mask: &HostTensor, values: &NonZero, modern: bool) -> Lowered {
    const KIND: &str = "constexpr_sparse_to_dense";
    match values {
        NonZero::Plain(stored) if modern => {
            Lowered::new(KIND, "_sparsified").tensor("nonzero_data", stored.clone()).tensor("mask", mask.clone())
        }
        NonZero::Plain(stored) => Lowered::new(KIND, "_sparsified")
            .tensor("nonzero_data", stored.clone())
            .tensor("mask", as_bytes(mask))
            .literal("shape", shape_literal(mask.shape())),
        NonZero::Lut(lut) => Lowered::new("constexpr_lut_to_sparse", "_sparsified")
            .tensor("indices_mask", mask.clone())
            .tensor("indices_nonzero_data", lut.indices.clone())
            .tensor("lut", lut.lut.clone())
            .step(KIND)
            .result("mask", 0)
            .result("nonzero_data", 1),
        NonZero::Affine(affine) => {
            let l = Lowered::new("constexpr_sparse_blockwise_shift_scale", "_sparsified")
                .tensor("data_mask", mask.clone())
                .tensor("nonzero_data", affine.data.clone());
            scaled(l, affine).step(KIND).result("mask", 0).result("nonzero_data", 1)
        }
    }
}

/// A palette per output channel that has the channel's scale in it.
fn fold(lut: &Lut, scale: &HostTensor) -> Lut {
    let (shape, rank) = (lut.shape(), scale.shape().len());
    let (old, entry): (Vec<usize>, usize) =
        (lut.lut.shape()[..rank].to_vec(), lut.lut.shape()[rank..].iter().product());
    // Blocks of both: those of the palette, and single channels where there are scales.
    let blocks: Vec<usize> = old.iter().zip(scale.shape()).map(|(&a, &b)| a.max(b)).collect();
    let (entries, scales) = (lut.lut.to_f32_vec(), scale.to_f32_vec());
    let place = |block: usize, of: &[usize]| {
        let (mut rest, mut at, mut step) = (block, 0, 1);
        for (&n, &m) in blocks.iter().zip(of).rev() {
            at += (rest % n) * m / n * step;
            rest /= n;
            step *= m;
        }
        at
    };
    let n = Grid::new(&shape, &blocks).len();
    let values = (0..n).flat_map(|block| {
        let s = scales[place(block, scale.shape())];
        entries[place(block, &old) * entry..][..entry].iter().map(move |e| e * s)
    });
    let values: Vec<f32> = values.collect();
    let lut_shape = [&blocks[..], &lut.lut.shape()[rank..]].concat();
    Lut { indices: lut.indices.clone(), lut: HostTensor::from_f32(lut_shape, values).cast(lut.lut.dtype()), ..*lut }
}

/// Why a scheme's result cannot be written below `CoreML8`; `None` when it can.
pub(crate) fn needs_core_ml_8(scheme: &crate::Scheme) -> Option<String> {
    use crate::{Blocks, PaletteGroups, PaletteMode, Scheme};
    let palette = |p: &crate::Palettize| match p.mode {
        PaletteMode::KMeans { bits: 3 } | PaletteMode::Uniform { bits: 3 } => Some("palettization to 3 bits"),
        _ if p.groups != PaletteGroups::PerTensor => Some("a palette per group of channels"),
        _ if p.cluster_dim > 1 => Some("a palette of vectors"),
        _ if p.per_channel_scale => Some("a scale per channel beside a palette"),
        _ => None,
    };
    let integers = |q: &crate::Quantize| match q {
        _ if q.dtype.bits() == 4 => Some("quantization to 4 bits"),
        _ if matches!(q.blocks, Blocks::PerBlock { .. }) => Some("a scale per block"),
        _ => None,
    };
    let what = match scheme {
        Scheme::Palettize(p) => palette(p),
        Scheme::Quantize(q) => integers(q),
        Scheme::PrunePalettize(..) => Some("pruning together with palettization"),
        Scheme::PruneQuantize(..) => Some("pruning together with quantization"),
        Scheme::Keep | Scheme::Half | Scheme::Prune(_) => None,
    };
    what.map(ToOwned::to_owned)
}

/// Refuses parameters that have no meaning whatever the weight.
pub(crate) fn check(scheme: &crate::Scheme) -> Result<(), CompressError> {
    use crate::{PaletteGroups, PaletteMode, Prune, Scheme};
    let bad = |parameter, value: String, rule| Err(CompressError::Parameter { parameter, value, rule });
    let palette = |p: &crate::Palettize, joint: bool| match *p {
        _ if matches!(p.mode, PaletteMode::KMeans { bits } | PaletteMode::Uniform { bits }
            if !matches!(bits, 1 | 2 | 3 | 4 | 6 | 8)) =>
        {
            let (PaletteMode::KMeans { bits } | PaletteMode::Uniform { bits }) = p.mode else { return Ok(()) };
            bad("bits", bits.to_string(), "palettes have indices of 1, 2, 3, 4, 6 or 8 bits")
        }
        crate::Palettize { cluster_dim: 0, .. } => bad("cluster_dim", "0".into(), "it is 1, or the length of vectors"),
        crate::Palettize { cluster_dim, mode, .. }
            if cluster_dim > 1 && !matches!(mode, PaletteMode::KMeans { .. }) =>
        {
            bad("cluster_dim", cluster_dim.to_string(), "palettes of vectors are found by k-means only")
        }
        crate::Palettize { groups: PaletteGroups::PerGroupedChannel { group_size: 0, .. }, .. } => {
            bad("group_size", "0".into(), "it is a number of channels")
        }
        _ if joint && (p.groups != PaletteGroups::PerTensor || p.cluster_dim > 1 || p.per_channel_scale) => {
            bad("pruning", "together with such palettes".into(), "pruned weights have one palette of single values")
        }
        _ => Ok(()),
    };
    let integers = |q: &crate::Quantize| match q.dtype {
        DType::I8 | DType::U8 | DType::I4 | DType::U4 => Ok(()),
        other => bad("dtype", other.name().to_owned(), "integers are int8, uint8, int4 or uint4"),
    };
    let pruning = |p: &Prune| match *p {
        Prune::Magnitude { sparsity } | Prune::Block { sparsity, .. } if !(0.0..=1.0).contains(&sparsity) => {
            bad("sparsity", sparsity.to_string(), "it is a share from 0 to 1")
        }
        Prune::Threshold { threshold, .. } if threshold.is_nan() || threshold < 0.0 => {
            bad("threshold", threshold.to_string(), "it is a magnitude, 0 or more")
        }
        Prune::Block { axis, .. } | Prune::NOfM { axis, .. } if axis > 1 => {
            bad("axis", axis.to_string(), "it is 0 for output and 1 for input channels")
        }
        Prune::Block { size, .. } if size < 2 => bad("block_size", size.to_string(), "blocks have 2 channels or more"),
        Prune::NOfM { n, m, .. } if n > m || m == 0 => {
            bad("n_of_m", format!("{n}:{m}"), "n zeros of each m values, n at most m")
        }
        _ => Ok(()),
    };
    match scheme {
        Scheme::Keep | Scheme::Half => Ok(()),
        Scheme::Palettize(p) => palette(p, false),
        Scheme::Quantize(q) => integers(q),
        Scheme::Prune(p) => pruning(p),
        Scheme::PrunePalettize(p, how) => pruning(p).and_then(|()| palette(how, true)),
        Scheme::PruneQuantize(p, how) => pruning(p).and_then(|()| integers(how)),
    }
}
