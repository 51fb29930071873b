//! Every scheme in every opset: the program is valid, survives a package, and decodes to what was computed.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test that cannot go on has failed")]

use host_tensor::{DType, HostTensor, Stop};
use mil::{Const, FunctionBuilder, Opset, Program, Type, validate};
use mil_compress::{
    Blocks, Config, Memory, PaletteGroups, PaletteMode, Palettize, Plan, Prune, Quantize, Scheme, compress,
};
use mil_engine::reference::{Options, Reference};
use std::{collections::BTreeMap, ops::ControlFlow};

fn noise(n: usize, seed: u64) -> Vec<f32> {
    let mut s = seed;
    let mut next = || {
        s = s.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (s >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    // Sums of three are bell-shaped, as weights are.
    (0..n).map(|_| next() + next() + next()).collect()
}

/// A convolution, a transposed one, a product and a table, and a weight that two layers share.
fn program(opset: Opset, dtype: DType) -> Program {
    let weight = |shape: &[usize], seed| {
        Const::new(HostTensor::from_f32(shape, noise(shape.iter().product(), seed)).cast(dtype))
    };
    let mut b = FunctionBuilder::new("main", opset);
    let x = b.input("x", Type::tensor(dtype, &[1, 32, 3, 5]));
    let ids = b.input("ids", Type::tensor(DType::I32, &[15]));
    let mut e = b.emitter();
    let conv = |e: &mut mil::Emitter<'_>, name, x: mil::ValueId, w: mil::ValueId| {
        let (pad, ones): ([i32; 4], [i32; 2]) = ([1, 1, 1, 1], [1, 1]);
        let args = [
            ("x", x.into()),
            ("weight", w.into()),
            ("strides", ones.into()),
            ("pad_type", "custom".into()),
            ("pad", pad.into()),
            ("dilations", ones.into()),
            ("groups", 1.into()),
        ];
        e.op("conv", name, args).unwrap()
    };
    let w = e.constant("shared_weight", mil::Literal::Tensor(weight(&[32, 32, 3, 3], 1)));
    let y = conv(&mut e, "conv_1", x, w);
    let y = conv(&mut e, "conv_2", y, w);
    let y = e.op("reshape", "rows", [("x", y.into()), ("shape", [32, 15].into())]).unwrap();
    let product = [
        ("x", y.into()),
        ("y", weight(&[15, 160], 2).into()),
        ("transpose_x", false.into()),
        ("transpose_y", false.into()),
    ];
    let y = e.op("matmul", "product", product).unwrap();
    let y = e.op("linear", "linear", [("x", y.into()), ("weight", weight(&[64, 160], 3).into())]).unwrap();
    let table = weight(&[40, 64], 4);
    let gather = e.op(
        "gather",
        "table",
        [("x", table.into()), ("indices", ids.into()), ("axis", 0.into()), ("batch_dims", 0.into())],
    );
    let rows = match gather {
        Ok(rows) => rows,
        Err(_) => {
            let table = weight(&[40, 64], 4);
            e.op("gather", "table", [("x", table.into()), ("indices", ids.into()), ("axis", 0.into())]).unwrap()
        }
    };
    let both = e
        .op(
            "matmul",
            "both",
            [("x", rows.into()), ("y", y.into()), ("transpose_x", false.into()), ("transpose_y", true.into())],
        )
        .unwrap();
    let ops = e.into_ops();
    b.finish_program(ops, &[both])
}

fn run(program: &Program, dtype: DType) -> Vec<f32> {
    let engine = Reference::compile(validate(program).unwrap(), Options::default()).unwrap();
    let ids: Vec<i32> = (0..15).map(|i| i * 2).collect();
    let inputs = BTreeMap::from([
        ("x".to_owned(), HostTensor::from_f32([1, 32, 3, 5], noise(480, 9)).cast(dtype)),
        ("ids".to_owned(), HostTensor::from_i32([15], ids)),
    ]);
    engine.run(&inputs, &Stop::never()).unwrap().into_values().next().unwrap().to_f32_vec()
}

fn palettes(mode: PaletteMode) -> Palettize {
    Palettize { mode, groups: PaletteGroups::PerTensor, cluster_dim: 1, per_channel_scale: false }
}

fn schemes() -> Vec<(Scheme, f64)> {
    let k = |bits| palettes(PaletteMode::KMeans { bits });
    let groups = |axis| PaletteGroups::PerGroupedChannel { group_size: 5, axis };
    let mut all = vec![(Scheme::Palettize(palettes(PaletteMode::Unique)), 90.0)];
    for (bits, db) in [(1, 0.5), (2, 4.0), (3, 8.0), (4, 13.0), (6, 24.0), (8, 34.0)] {
        all.push((Scheme::Palettize(k(bits)), db));
        // Two values at the ends of the range are so wrong that the network leaves the range of halves.
        if bits > 1 {
            all.push((Scheme::Palettize(palettes(PaletteMode::Uniform { bits })), db - 12.0));
        }
    }
    let pair = PaletteGroups::PerGroupedChannel { group_size: 16, axis: None };
    all.push((Scheme::Palettize(Palettize { groups: pair, ..k(4) }), 13.0));
    all.push((Scheme::Palettize(Palettize { groups: groups(Some(1)), ..k(4) }), 13.0));
    all.push((Scheme::Palettize(Palettize { cluster_dim: 2, ..k(6) }), 7.0));
    all.push((Scheme::Palettize(Palettize { per_channel_scale: true, ..k(6) }), 22.0));
    for dtype in [DType::I8, DType::U8, DType::I4, DType::U4] {
        for symmetric in [true, false] {
            for blocks in [Blocks::PerTensor, Blocks::PerChannel, Blocks::PerBlock { size: 5 }] {
                let db = if dtype.bits() == 8 { 28.0 } else { 6.0 };
                all.push((Scheme::Quantize(Quantize { dtype, symmetric, blocks }), db));
            }
        }
    }
    let half = Prune::Magnitude { sparsity: 0.4 };
    for prune in [
        half,
        Prune::Threshold { threshold: 0.2, minimum_sparsity: 0.1 },
        Prune::Block { sparsity: 0.3, size: 4, axis: 0 },
        Prune::NOfM { n: 1, m: 4, axis: 1 },
    ] {
        all.push((Scheme::Prune(prune), 2.0));
    }
    all.push((Scheme::PrunePalettize(half, k(4)), 2.0));
    for dtype in [DType::I8, DType::U4] {
        all.push((Scheme::PruneQuantize(half, Quantize { dtype, symmetric: false, blocks: Blocks::PerChannel }), 2.0));
    }
    all.push((Scheme::Half, 60.0));
    all
}

fn psnr(a: &[f32], b: &[f32]) -> f64 {
    let error: f64 = a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum();
    let signal: f64 = b.iter().map(|b| f64::from(*b).powi(2)).sum();
    10.0 * (signal / error.max(1e-30)).log10()
}

#[test]
fn every_scheme_in_every_opset_gives_a_valid_package_that_runs() {
    let place = tempfile::tempdir().unwrap();
    for (dtype, opset) in [
        (DType::F16, Opset::CoreML6),
        (DType::F16, Opset::CoreML7),
        (DType::F16, Opset::CoreML8),
        (DType::F32, Opset::CoreML8),
        (DType::F16, Opset::CoreML9),
        (DType::F32, Opset::CoreML5),
    ] {
        let plain = program(opset, dtype);
        let exact = run(&plain, dtype);
        let mut n_written = 0;
        for (scheme, db) in schemes() {
            let config = Config { min_elements: 100, ..Config::new(scheme) };
            let plan = match Plan::new(&plain, &config) {
                Ok(plan) => plan,
                Err(error) => {
                    assert!(opset < Opset::CoreML8 && error.to_string().contains("CoreML8"), "{scheme:?}: {error}");
                    continue;
                }
            };
            let mut compressed = Vec::new();
            for threads in [1, 3] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let go = || compress(&plain, &plan, &mut Memory::default(), true, &mut |_| ControlFlow::Continue(()));
                compressed.push(pool.install(go).unwrap());
            }
            assert_eq!(compressed[0].0, compressed[1].0, "{scheme:?}: threads make no difference");
            let (made, outcome) = compressed.remove(0);
            if scheme != Scheme::Half
                && !matches!(scheme, Scheme::Palettize(Palettize { mode: PaletteMode::Unique, .. }))
            {
                assert!(!outcome.compressed.is_empty(), "{opset} {scheme:?} {:?}", outcome.kept);
            }
            assert!(outcome.compressed.iter().all(|c| c.readers != ["gather"] && c.loss.is_some()));
            let ours = run(&made, dtype);
            let reached = psnr(&ours, &exact);
            assert!(reached > db, "{opset} {dtype:?} {scheme:?}: {reached:.1} dB");

            let path = place.path().join("x.mlpackage");
            let valid = validate(&made).unwrap_or_else(|faults| panic!("{opset} {scheme:?}: {faults}"));
            let description = mlpackage::Description::of(&made);
            mlpackage::write(&path, valid, &description, mlpackage::Existing::Replace, &mut |_| {}).unwrap();
            let read = mlpackage::Package::open(&path).unwrap().into_model().program().unwrap().clone();
            assert_eq!(read, made, "{opset} {scheme:?}");

            // Decoding and compressing again to the very same: what a decoded weight stands for is what ran.
            let keep = Config {
                recompress: true,
                min_elements: 100,
                ..Config::new(Scheme::Palettize(palettes(PaletteMode::Unique)))
            };
            if !outcome.compressed.is_empty() && opset >= Opset::CoreML8 {
                let plan = Plan::new(&made, &keep).unwrap();
                let (again, outcome) =
                    compress(&made, &plan, &mut Memory::default(), true, &mut |_| ControlFlow::Continue(())).unwrap();
                assert_eq!(run(&again, dtype), ours, "{scheme:?} {:?}", outcome.kept);
            }
            n_written += 1;
        }
        println!("{opset} {}: {n_written} schemes", dtype.name());
        assert!(n_written >= 15);
    }
}

#[test]
fn names_that_nothing_has_are_errors_with_near_matches() {
    let plain = program(Opset::CoreML8, DType::F16);
    let base = Config { min_elements: 100, ..Config::palettes(4) };
    let only = Config { only: vec!["shared_wieght*".into(), "lin*r".into()], ..base.clone() };
    let error = Plan::new(&plain, &only).unwrap_err().to_string();
    assert!(error.contains("--only \"shared_wieght*\"") && error.contains("shared_weight"), "{error}");
    let only = Config { only: vec!["lin*r".into()], ..base.clone() };
    assert_eq!(Plan::new(&plain, &only).unwrap().len(), 1);
    let skip = Config { skip: vec!["conv".into(), "product*".into()], ..base.clone() };
    assert_eq!(Plan::new(&plain, &skip).unwrap().len(), 1);
    let recipe = Config::from_json(r#"{"shared": 4, "nothing.here": 8}"#, None).unwrap();
    let error = Plan::new(&plain, &recipe).unwrap_err().to_string();
    assert!(error.contains("layer \"nothing.here\""), "{error}");
    let named = r#"{"weights": {"shared_weight": {"mode": "kmeans", "bits": 4, "group_size": 5}}}"#;
    let error = Plan::new(&plain, &Config::from_json(named, None).unwrap()).unwrap_err().to_string();
    assert!(error.contains("groups of 5 do not divide 32 channels: 2, 4, 8, 16, 32 would"), "{error}");
}
