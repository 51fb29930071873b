//! Packages compute what ONNX Runtime computed with the files that they were made of.

use std::collections::BTreeMap;
use std::path::Path;

use host_tensor::{HostTensor, Stop};
use mil_engine::reference::{Options, Reference};
use onnx_to_coreml::{MODELS, Model, Precision};
use testkit::{load_safetensors, psnr};

/// What ONNX Runtime computed: `in.` and `out.` tensors.
fn run_of(model: &Model) -> (BTreeMap<String, HostTensor>, BTreeMap<String, HostTensor>) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("models").join(model.name).with_extension("safetensors");
    let tensors = load_safetensors(&file);
    let of = |prefix: &str| {
        let named = tensors.iter().filter_map(|(name, t)| Some((name.strip_prefix(prefix)?.to_owned(), t.clone())));
        named.collect()
    };
    (of("in."), of("out."))
}

/// The least PSNR of a model's outputs, in dB, through a package on the disk.
fn psnr_of(model: &Model, precision: Precision) -> f64 {
    let folder = tempfile::tempdir().expect("a folder");
    let package = model.write(folder.path(), precision).expect("written");
    let package = mlpackage::Package::open(&package).expect("read back");
    let program = package.model().program().expect("a program");
    let valid = mil::validate(program).expect("valid");
    let (inputs, expected) = run_of(model);
    let engine = Reference::compile(valid, Options::default()).expect("compiled");
    let outputs = engine.run(&inputs, &Stop::never()).expect("run");
    assert_eq!(outputs.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    expected.iter().map(|(name, y)| psnr(&outputs[name].to_f32_vec(), &y.to_f32_vec())).fold(f64::INFINITY, f64::min)
}

#[test]
fn packages_agree_with_onnx_runtime() {
    for model in MODELS {
        let (single, half) = (psnr_of(&model, Precision::Single), psnr_of(&model, Precision::Half));
        assert!(single >= 80.0 && half >= 55.0, "{}: {single:.1} dB, in half precision {half:.1} dB", model.name);
    }
}

#[test]
fn normalizations_and_linear_layers_are_put_together() {
    let ops = |model: &Model| -> Vec<String> {
        let program = model.program(Precision::Single).expect("a program");
        program.functions.values().flat_map(|f| f.body.ops.iter().map(|op| op.kind.to_string())).collect()
    };
    let count = |kinds: &[String], kind: &str| kinds.iter().filter(|k| *k == kind).count();
    let classifier = ops(&MODELS[0]);
    assert_eq!((count(&classifier, "linear"), count(&classifier, "matmul")), (1, 0), "{classifier:?}");
    let decoder = ops(&MODELS[1]);
    assert_eq!(count(&decoder, "silu"), 9, "{decoder:?}");
}
