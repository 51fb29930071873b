//! Compressed weights without their values: what a scheme will store of a weight follows from its shape, and so does the size
//! of the package, before anything of the weight is read.

use crate::{
    Affine, Axes, Blocks, CompressError, Encoded, Lut, PaletteGroups, PaletteMode, Palettize, Plan, Quantize, Scheme,
    lower::{Lowered, lower, needs_core_ml_8},
    rewrite::{Replacement, rewrite},
    select::{Job, depends_on_axes, indivisible},
};
use host_tensor::{Bytes, DType, HostTensor};
use mil::{Opset, Program};

/// Zeros from which tensors are cut, each with a place of its own: never written to, they take no memory.
///
/// Small tensors hold their number instead, because a program has equal small constants once.
#[derive(Debug)]
struct Zeros {
    bytes: Bytes,
    n_taken: usize,
}

/// Bytes between the beginnings of two tensors.
const APART: usize = 64;
/// Tensors of more bytes are never looked into.
const SMALL: usize = 1 << 10;

impl Zeros {
    /// Enough for so many tensors, none of which takes more bytes than this.
    fn new(n_tensors: usize, largest: usize) -> Self {
        Self { bytes: Bytes::from(vec![0; largest + n_tensors * APART]), n_taken: 0 }
    }

    fn tensor(&mut self, dtype: DType, shape: Vec<usize>) -> HostTensor {
        let n_bytes = dtype.byte_len(shape.iter().product()).unwrap_or(usize::MAX);
        let from = self.n_taken * APART;
        self.n_taken += 1;
        let bytes = if n_bytes <= SMALL {
            let mut number = self.n_taken.to_le_bytes().to_vec();
            number.resize(n_bytes, 0);
            Bytes::from(number)
        } else {
            self.bytes.slice(from..from + n_bytes)
        };
        HostTensor::new(dtype, shape, bytes).expect("invariant: as many bytes as the shape says")
    }
}

/// Tensors of one weight, at most: indices or integers, palette or scale, offset.
const TENSORS: usize = 3;

impl Plan {
    /// Types and numbers of elements of the tensors that a weight is decoded from when it is stored so, in a program of the
    /// plan's; `None` for schemes that do not suit the weight, and for those whose size follows from its values.
    #[must_use]
    pub fn tensors(&self, program: &Program, weight: usize, scheme: &Scheme) -> Option<Vec<(DType, usize)>> {
        let job = self.jobs.get(weight)?;
        let tensors = self.outlined(program, job, scheme, &mut Zeros::new(TENSORS, job.largest()))?.tensors;
        Some(tensors.iter().map(|t| (t.dtype(), t.len())).collect())
    }

    /// The program that compressing by this plan makes, with zeros for the values of compressed weights, and the tensors that
    /// are stored on the way, in order. Equal ones among them may lie once in the end.
    ///
    /// # Errors
    /// [`CompressError::Parameter`] for schemes whose size follows from the values: pruning, and palettes of the values that
    /// occur.
    pub fn outline(&self, program: &Program) -> Result<(Program, Vec<HostTensor>), CompressError> {
        let mut raised = program.clone();
        self.raise_opsets(&mut raised);
        let largest = self.jobs.iter().map(Job::largest).max().unwrap_or_default();
        let mut zeros = Zeros::new(self.jobs.len() * TENSORS, largest);
        let (mut all, mut replacements) = (Vec::new(), Vec::new());
        for job in &self.jobs {
            let lowered = self.outlined(&raised, job, &job.scheme, &mut zeros);
            let Some(mut lowered) = lowered else { return Err(unknown_size(job)) };
            let tensors = std::mem::take(&mut lowered.tensors);
            all.extend(tensors.iter().cloned());
            replacements.push(Replacement { weight: &job.weight, lowered, tensors });
        }
        rewrite(&mut raised, &replacements)?;
        Ok((raised, all))
    }

    fn outlined(&self, program: &Program, job: &Job, scheme: &Scheme, zeros: &mut Zeros) -> Option<Lowered> {
        if job.weight.axes().is_none() && depends_on_axes(scheme) {
            return None;
        }
        let function = job.weight.places.first().and_then(|(function, _)| program.functions.get(function))?;
        let needed = if needs_core_ml_8(scheme).is_some() { Opset::CoreML8 } else { Opset::CoreML6 };
        let encoded = outline(job.weight.dtype, &job.weight.shape, scheme, job.axes, zeros)?;
        Some(lower(&encoded, function.opset.max(needed)))
    }
}

impl Job {
    /// Bytes of the largest tensor that stands for the weight.
    fn largest(&self) -> usize {
        self.weight.len() * size_of::<f32>()
    }
}

fn unknown_size(job: &Job) -> CompressError {
    let value = format!("for {}", job.weight.name);
    let rule = "what it stores follows from the values; palettes by k-means and integers are known by the shape";
    CompressError::Parameter { parameter: "scheme", value, rule }
}

/// What [`encode()`](crate::encode()) would make of a weight of this type and shape, but for the values.
fn outline(dtype: DType, shape: &[usize], scheme: &Scheme, axes: Axes, zeros: &mut Zeros) -> Option<Encoded> {
    if !matches!(dtype, DType::F16 | DType::F32) || indivisible(scheme, shape, axes).is_some() {
        return None;
    }
    match *scheme {
        Scheme::Half if dtype != DType::F16 => Some(Encoded::Half(zeros.tensor(DType::F16, shape.to_vec()))),
        Scheme::Palettize(how) => palettes(dtype, shape, how, axes, zeros),
        Scheme::Quantize(how) => integers(dtype, shape, how, axes, zeros).map(Encoded::Affine),
        _ => None,
    }
}

fn palettes(dtype: DType, shape: &[usize], how: Palettize, axes: Axes, zeros: &mut Zeros) -> Option<Encoded> {
    let (PaletteMode::KMeans { bits } | PaletteMode::Uniform { bits }) = how.mode else { return None };
    let indices = [DType::U1, DType::U2, DType::U3, DType::U4, DType::U6, DType::U8];
    let index = indices.into_iter().find(|dtype| dtype.bits() == usize::from(bits))?;
    let (axis, n_groups) = match how.groups {
        PaletteGroups::PerTensor => (axes.output, 1),
        PaletteGroups::PerGroupedChannel { group_size, axis } => {
            let axis = axis.unwrap_or(axes.output);
            (axis, shape[axis] / group_size)
        }
    };
    let (mut index_shape, mut lut_shape) = (shape.to_vec(), vec![1; shape.len()]);
    index_shape[axis] /= how.cluster_dim;
    lut_shape[axis] = n_groups;
    lut_shape.extend([1 << bits, how.cluster_dim]);
    let lut = Lut {
        indices: zeros.tensor(index, index_shape),
        lut: zeros.tensor(dtype, lut_shape),
        vector_axis: (how.cluster_dim > 1).then_some(axis),
    };
    if !how.per_channel_scale {
        return Some(Encoded::Lut(lut));
    }
    let mut scale_shape = vec![1; shape.len()];
    scale_shape[axes.output] = shape[axes.output];
    Some(Encoded::ScaledLut { lut, scale: zeros.tensor(dtype, scale_shape) })
}

fn integers(dtype: DType, shape: &[usize], how: Quantize, axes: Axes, zeros: &mut Zeros) -> Option<Affine> {
    let mut blocks = vec![1; shape.len()];
    if how.blocks != Blocks::PerTensor {
        blocks[axes.output] = shape[axes.output];
    }
    if let Blocks::PerBlock { size } = how.blocks {
        blocks[axes.input] = shape[axes.input] / size;
    }
    let has_offset = !(how.symmetric && how.dtype.is_signed_int());
    Some(Affine {
        data: zeros.tensor(how.dtype, shape.to_vec()),
        scale: zeros.tensor(dtype, blocks.clone()),
        offset: has_offset.then(|| zeros.tensor(how.dtype, blocks)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, Memory, Named, compress};
    use mil::{Const, FunctionBuilder, Type};
    use std::ops::ControlFlow;
    use testkit::Rng;

    /// Two linear layers.
    fn program(opset: Opset, dtype: DType) -> Program {
        let mut builder = FunctionBuilder::new("main", opset);
        let x = builder.input("x", Type::tensor(dtype, &[1, 64]));
        let mut e = builder.emitter();
        let mut value = x;
        for (i, (n, m)) in [(48, 64), (32, 48)].into_iter().enumerate() {
            let values = HostTensor::from_f32([n, m], Rng::new(i as u64).normals(n * m)).cast(dtype);
            let weight = e.constant(&format!("w{i}"), Const::new(values).into());
            value = e.op("linear", &format!("y{i}"), [("x", value.into()), ("weight", weight.into())]).unwrap();
        }
        let ops = e.into_ops();
        builder.finish_program(ops, &[value])
    }

    #[test]
    fn sizes_are_known_before_anything_is_read() {
        for (opset, dtype) in [(Opset::CoreML6, DType::F16), (Opset::CoreML8, DType::F16), (Opset::CoreML9, DType::F32)]
        {
            let program = program(opset, dtype);
            for name in ["1", "2", "3", "4", "6", "8", "4g16", "2g1", "4s", "int8", "int4", "int4b16"] {
                let scheme = name.parse::<Named>().unwrap().scheme();
                let config = Config { min_elements: 1000, raise_opset: true, ..Config::new(scheme) };
                let plan = Plan::new(&program, &config).unwrap();
                let (outlined, stored) = plan.outline(&program).unwrap();
                let go_on = &mut |_: crate::Progress| ControlFlow::Continue(());
                let (real, outcome) = compress(&program, &plan, &mut Memory::default(), false, go_on).unwrap();
                assert_eq!(outcome.compressed.len(), 2, "{name}");
                for (i, weight) in outcome.compressed.iter().enumerate() {
                    let tensors = plan.tensors(&program, i, &scheme).unwrap();
                    let bytes: usize = tensors.iter().map(|(dtype, n)| dtype.byte_len(*n).unwrap()).sum();
                    assert_eq!(bytes as u64, weight.bytes_after, "{name} in {opset}");
                }
                let all: usize = stored.iter().map(|t| t.bytes().len()).sum();
                assert_eq!(all as u64, outcome.compressed.iter().map(|w| w.bytes_after).sum::<u64>());
                // The same operations on values of the same types.
                let types = |program: &Program| {
                    let function = program.main().unwrap();
                    let of =
                        |op: &mil::Op| (op.kind.to_string(), op.name.to_string(), function.ty(op.outputs[0]).clone());
                    (function.opset, function.body.ops.iter().map(of).collect::<Vec<_>>())
                };
                assert_eq!(types(&outlined), types(&real), "{name} in {opset}");
                mil::validate(&outlined).unwrap();
            }
        }
    }

    #[test]
    fn what_a_shape_does_not_tell_has_no_outline() {
        let program = program(Opset::CoreML8, DType::F16);
        let plan = Plan::new(&program, &Config { min_elements: 1000, ..Config::palettes(4) }).unwrap();
        assert_eq!(plan.tensors(&program, 0, &"4g7".parse::<Named>().unwrap().scheme()), None);
        let unique = Palettize {
            mode: PaletteMode::Unique,
            groups: PaletteGroups::PerTensor,
            cluster_dim: 1,
            per_channel_scale: false,
        };
        assert_eq!(plan.tensors(&program, 0, &Scheme::Palettize(unique)), None);
        let error = plan.with_schemes(&program, &Config::default(), &[Scheme::Palettize(unique); 2]).unwrap_err();
        assert!(error.to_string().contains("w0: the scheme does not suit"), "{error}");
        let plan = plan.with_schemes(&program, &Config::default(), &[Scheme::Keep, Scheme::palettes(2)]).unwrap();
        assert_eq!((plan.len(), plan.left().next()), (1, Some(("w0", "left alone by the recipe"))));
    }
}
