//! Weights in every encoding, multiplied where they lie: as the reference engine, which decodes them first, and kept as
//! they are stored.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use host_tensor::{Bytes, DType, HostTensor, Stop, pack_bits};
use mil::{Bound, Emitter, FunctionBuilder, Opset, Program, Type, ValueId, validate};
use mil_engine::{
    Isa,
    cpu::{Cpu, Options, WeightForm},
    reference::{self, Reference},
};
use std::collections::BTreeMap;
use testkit::Rng;

/// Outputs and inputs of the layers: odd, and more than one block of either.
const N: usize = 70;
const K: usize = 36;

fn tensor(dtype: DType, shape: &[usize], values: &[f32]) -> HostTensor {
    HostTensor::from_f32(shape.to_vec(), values.to_vec()).cast(dtype)
}

fn literal(t: HostTensor) -> Bound {
    Bound::Literal(t.into())
}

/// Packed codes as a tensor of the narrow type.
fn codes(rng: &mut Rng, dtype: DType, shape: &[usize]) -> HostTensor {
    let n: usize = shape.iter().product();
    let all: Vec<u8> = (0..n).map(|_| rng.below(1 << dtype.bits()) as u8).collect();
    let bytes = if dtype.bits() == 8 { all } else { pack_bits(&all, dtype.bits()) };
    HostTensor::new(dtype, shape.to_vec(), Bytes::from(bytes)).unwrap()
}

/// Makes the weight of a shape by an operation.
type Encode = fn(&mut Emitter<'_>, &mut Rng, &[usize]) -> ValueId;

fn op(e: &mut Emitter<'_>, kind: &'static str, args: Vec<(&'static str, Bound)>) -> ValueId {
    e.op_multi(kind, "w", args).unwrap().pop().unwrap()
}

fn packed_palette(e: &mut Emitter<'_>, rng: &mut Rng, shape: &[usize], bits: usize) -> ValueId {
    let n: usize = shape.iter().product();
    let bytes = rng.bytes((n * bits).div_ceil(8));
    let indices = HostTensor::new(DType::U8, [bytes.len()], Bytes::from(bytes)).unwrap();
    let lut = tensor(DType::F16, &[1 << bits], &rng.normals(1 << bits));
    let dims: Vec<f32> = shape.iter().map(|&d| d as f32).collect();
    let shape = tensor(DType::U32, &[shape.len()], &dims);
    op(
        e,
        "constexpr_lut_to_dense",
        vec![("indices", literal(indices)), ("lut", literal(lut)), ("shape", literal(shape))],
    )
}

fn grouped_palette(e: &mut Emitter<'_>, rng: &mut Rng, shape: &[usize], dtype: DType, groups: &[usize]) -> ValueId {
    let indices = codes(rng, dtype, shape);
    let mut dims: Vec<usize> = groups.to_vec();
    dims.resize(shape.len(), 1);
    let n = dims.iter().product::<usize>() << dtype.bits();
    dims.extend([1 << dtype.bits(), 1]);
    let lut = tensor(DType::F16, &dims, &rng.normals(n));
    op(e, "constexpr_lut_to_dense", vec![("indices", literal(indices)), ("lut", literal(lut))])
}

fn blockwise(
    e: &mut Emitter<'_>,
    rng: &mut Rng,
    shape: &[usize],
    dtype: DType,
    blocks: &[usize],
    offset: bool,
) -> ValueId {
    let data = codes(rng, dtype, shape);
    let mut dims = blocks.to_vec();
    dims.resize(shape.len(), 1);
    let n = dims.iter().product();
    let mut args = vec![("data", literal(data)), ("scale", literal(tensor(DType::F16, &dims, &rng.normals(n))))];
    if offset {
        args.push(("offset", literal(codes(rng, dtype, &dims))));
    }
    op(e, "constexpr_blockwise_shift_scale", args)
}

fn affine(e: &mut Emitter<'_>, rng: &mut Rng, shape: &[usize], per_channel: bool) -> ValueId {
    let data = codes(rng, DType::I8, shape);
    let (n, dims) = if per_channel { (shape[0], vec![shape[0]]) } else { (1, vec![]) };
    let args = vec![
        ("quantized_data", literal(data)),
        ("scale", literal(tensor(DType::F16, &dims, &rng.normals(n)))),
        ("zero_point", literal(codes(rng, DType::I8, &dims))),
        ("axis", 0.into()),
    ];
    op(e, "constexpr_affine_dequantize", args)
}

fn sparse(e: &mut Emitter<'_>, rng: &mut Rng, shape: &[usize], packed: bool) -> ValueId {
    let n: usize = shape.iter().product();
    let bits: Vec<u8> = (0..n).map(|_| rng.below(2) as u8).collect();
    let n_set = bits.iter().filter(|&&b| b == 1).count();
    let values = tensor(DType::F16, &[n_set], &rng.normals(n_set));
    let mask = Bytes::from(pack_bits(&bits, 1));
    let mut args = vec![("nonzero_data", literal(values))];
    if packed {
        args.push(("mask", literal(HostTensor::new(DType::U8, [mask.len()], mask).unwrap())));
        let dims: Vec<f32> = shape.iter().map(|&d| d as f32).collect();
        args.push(("shape", literal(tensor(DType::U32, &[shape.len()], &dims))));
    } else {
        args.push(("mask", literal(HostTensor::new(DType::U1, shape.to_vec(), mask).unwrap())));
    }
    op(e, "constexpr_sparse_to_dense", args)
}

/// Name, opset, how it is kept in memory, how it is made.
const ENCODINGS: &[(&str, Opset, &str, Encode)] = &[
    ("1-bit palette", Opset::CoreML6, "palette 1 bits", |e, r, s| packed_palette(e, r, s, 1)),
    ("2-bit palette", Opset::CoreML6, "palette 2 bits", |e, r, s| packed_palette(e, r, s, 2)),
    ("4-bit palette", Opset::CoreML6, "palette 4 bits", |e, r, s| packed_palette(e, r, s, 4)),
    ("6-bit palette", Opset::CoreML6, "palette 6 bits", |e, r, s| packed_palette(e, r, s, 6)),
    ("8-bit palette", Opset::CoreML6, "palette 8 bits", |e, r, s| packed_palette(e, r, s, 8)),
    ("3 bits, a table for all", Opset::CoreML8, "palette 3 bits", |e, r, s| grouped_palette(e, r, s, DType::U3, &[1])),
    ("6 bits, a table for 14 rows", Opset::CoreML8, "palette 6 bits", |e, r, s| {
        grouped_palette(e, r, s, DType::U6, &[5])
    }),
    ("4 bits, tables by column", Opset::CoreML8, "fp16", |e, r, s| grouped_palette(e, r, s, DType::U4, &[1, 4])),
    ("int8 per tensor", Opset::CoreML6, "int8", |e, r, s| affine(e, r, s, false)),
    ("int8 per channel", Opset::CoreML6, "int8", |e, r, s| affine(e, r, s, true)),
    ("int8 per channel, iOS 18", Opset::CoreML8, "int8", |e, r, s| blockwise(e, r, s, DType::I8, &[N], false)),
    ("uint8 with offsets", Opset::CoreML8, "uint8", |e, r, s| blockwise(e, r, s, DType::U8, &[N], true)),
    ("int4 in blocks", Opset::CoreML8, "int4", |e, r, s| blockwise(e, r, s, DType::I4, &[N / 2, 4], false)),
    ("uint4 in blocks with offsets", Opset::CoreML8, "uint4", |e, r, s| blockwise(e, r, s, DType::U4, &[N, 9], true)),
    ("sparse", Opset::CoreML6, "sparse", |e, r, s| sparse(e, r, s, true)),
    ("sparse, iOS 18", Opset::CoreML8, "sparse", |e, r, s| sparse(e, r, s, false)),
];

/// A linear layer, a 1×1 and a 3×3 convolution, each with an encoded weight of its own.
fn program(opset: Opset, encode: Encode, rng: &mut Rng) -> Program {
    let mut b = FunctionBuilder::new("main", opset);
    let x = b.input("x", Type::tensor(DType::F16, &[1, 9, K]));
    let picture = b.input("picture", Type::tensor(DType::F16, &[1, K, 8, 9]));
    let mut e = b.emitter();
    let w = encode(&mut e, rng, &[N, K]);
    let y = e.op("linear", "y", [("x", x.into()), ("weight", w.into())]).unwrap();
    let mut outputs = vec![y];
    for (name, k, pad) in [("one", 1, 0), ("three", 3, 1)] {
        let w = encode(&mut e, rng, &[N, K, k, k]);
        let args =
            [("x", picture.into()), ("weight", w.into()), ("pad_type", "custom".into()), ("pad", [pad; 4].into())];
        outputs.push(e.op("conv", name, args).unwrap());
    }
    let ops = e.into_ops();
    b.finish_program(ops, &outputs)
}

#[test]
fn every_encoding_is_multiplied_as_it_is_stored() {
    for (i, &(name, opset, kept, encode)) in ENCODINGS.iter().enumerate() {
        let mut rng = Rng::new(i as u64);
        let program = program(opset, encode, &mut rng);
        let valid = validate(&program).unwrap_or_else(|e| panic!("{name}: {e}"));
        let inputs = BTreeMap::from([
            ("x".to_owned(), tensor(DType::F16, &[1, 9, K], &rng.normals(9 * K))),
            ("picture".to_owned(), tensor(DType::F16, &[1, K, 8, 9], &rng.normals(K * 72))),
        ]);
        let want =
            Reference::compile(valid, reference::Options::default()).unwrap().run(&inputs, &Stop::never()).unwrap();
        for isa in Isa::available() {
            let engine = Cpu::compile(valid, Options::default().with_isa(isa)).unwrap();
            let plan = engine.summary();
            for kernel in ["product", "winograd"] {
                let of = |s: &&mil_engine::cpu::StepSummary| s.kernel == kernel;
                let step = plan.steps.iter().find(of).unwrap_or_else(|| panic!("{name}: no {kernel}\n{plan}"));
                assert!(step.detail.ends_with(&format!("from {kept}")), "{name}: {}", step.detail);
            }
            let got = engine.run(&inputs, &Stop::never()).unwrap();
            let expanded = Options::default().with_isa(isa).with_weights(WeightForm::Expanded);
            let expanded = Cpu::compile(valid, expanded).unwrap();
            let plan = expanded.summary();
            assert!(
                plan.steps.iter().all(|s| !s.detail.contains("from ") || s.detail.ends_with("from fp16")),
                "{plan}"
            );
            assert!(
                expanded.run(&inputs, &Stop::never()).unwrap() == got,
                "{name}, {isa}: expanded weights give other bits"
            );
            for (output, want) in &want {
                // Results are halves: both engines round the same sums, but for the last digit.
                testkit::assert_psnr(&format!("{name}, {isa}: {output}"), want, &got[output], 75.0);
            }
        }
    }
}
