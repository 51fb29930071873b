//! Weights that are sums and joins are converted, written and run like those of a file, in bounded memory.

use host_tensor::{DType, HostTensor, Stop};
use mil::{FunctionBuilder, Opset, Program, Type};
use mil_engine::reference::{Options as RunOptions, Reference};
use mlpackage::{Description, Existing, Package};
use sd_checkpoint::{Adapter, CheckpointError, Delta, Matrix, Weight, Weights};
use sd_convert::verify::{Input, random_inputs};
use sd_convert::{Checkpoint, Options, Precision, convert};
use sd_spec::Role;
use testkit::memory::{Counting, Peak, turn};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Cuts every matrix of the UNet in two and joins it, and adds a product to each, computed by rows or at once.
#[derive(Debug, Clone, Copy)]
enum Change {
    Computed,
    AtOnce,
}

impl Adapter for Change {
    fn adapt(&self, _: Role, weights: &mut Weights) -> Result<(), CheckpointError> {
        let fail = |error: sd_checkpoint::WeightError| CheckpointError::Adapter(error.to_string());
        let all: Vec<(String, HostTensor)> =
            weights.iter().filter_map(|(key, weight)| Some((key.to_owned(), weight.stored()?.clone()))).collect();
        for (key, tensor) in all.into_iter().filter(|(_, tensor)| tensor.shape().len() > 1) {
            let rows = tensor.shape()[0];
            let halves = [0..rows / 3, rows / 3..rows].map(|part| Weight::rows_of(&tensor, part));
            let joined = Weight::joined(halves.into_iter().collect::<Result<_, _>>().map_err(fail)?).map_err(fail)?;
            let rest: usize = tensor.shape()[1..].iter().product();
            let factor = |shape: [usize; 2], step: f32| {
                let values = (0..shape[0] * shape[1]).map(|i| ((i % 7) as f32 - 3.0) * step).collect::<Vec<_>>();
                HostTensor::from_f32(shape, values).cast(DType::F16)
            };
            let product = Matrix::product(factor([rows, 2], 0.01), factor([2, rest], 0.02)).map_err(fail)?;
            let sum = Weight::sum(joined, vec![Delta::matrix(product, 0.5)]).map_err(fail)?;
            let weight = match self {
                Self::Computed => sum,
                Self::AtOnce => sum.constant().read().into(),
            };
            weights.insert(key, weight);
        }
        Ok(())
    }
}

#[test]
fn a_changed_checkpoint_is_converted_and_run_as_if_it_had_been_saved_so() {
    let _turn = turn();
    for role in [Role::UNet, Role::TextEncoder] {
        let with = |change| Checkpoint::open(testkit::demo()).unwrap().with(change);
        let options = Options { precision: Some(Precision::Float16), ..Options::default() };
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, checkpoint: &Checkpoint| {
            let path = dir.path().join(name);
            let converted = convert(checkpoint, role, &options).unwrap();
            converted.write(&path, Existing::Refuse, &mut |_| {}).unwrap();
            path
        };
        let (computed, at_once) =
            (write("a.mlpackage", &with(Change::Computed)), write("b.mlpackage", &with(Change::AtOnce)));
        let plain = write("c.mlpackage", &Checkpoint::open(testkit::demo()).unwrap());
        let weights =
            |path: &std::path::Path| std::fs::read(path.join("Data/com.apple.CoreML/weights/weight.bin")).unwrap();
        assert_eq!(weights(&computed), weights(&at_once), "{role}");
        assert_ne!(weights(&computed), weights(&plain), "{role}");
        let run = |program: &Program| {
            let engine = Reference::compile(mil::validate(program).unwrap(), RunOptions::default()).unwrap();
            let inputs: Vec<Input> = engine
                .inputs()
                .iter()
                .map(|f| Input { name: f.name.clone(), dtype: f.ty.dtype, shape: f.ty.static_shape().unwrap() })
                .collect();
            engine.run(&random_inputs(&inputs, program.main(), 3).unwrap(), &Stop::never()).unwrap()
        };
        if role == Role::TextEncoder {
            // In memory and from the package, a sum is the same.
            let in_memory = run(&convert(&with(Change::Computed), role, &options).unwrap().program);
            let package = Package::open(&computed).unwrap();
            let mlpackage::Body::Program(program) = &package.model().body else { panic!("a program") };
            assert_eq!(in_memory, run(program));
        }
    }
}

#[test]
fn an_adapter_that_does_not_fit_is_refused_with_its_reason() {
    let _turn = turn();
    #[derive(Debug)]
    struct Unfit;
    impl Adapter for Unfit {
        fn adapt(&self, role: Role, _: &mut Weights) -> Result<(), CheckpointError> {
            Err(CheckpointError::Adapter(format!("nothing of it is for the {role}")))
        }
    }
    let checkpoint = Checkpoint::open(testkit::demo()).unwrap().with(Unfit);
    let error = convert(&checkpoint, Role::UNet, &Options::default()).expect_err("refused").to_string();
    assert_eq!(error, "nothing of it is for the unet");
}

/// 64 MiB in half precision, of which never more than some blocks are in memory.
#[test]
fn memory_does_not_grow_with_a_computed_weight() {
    const ROWS: usize = 8192;
    const COLUMNS: usize = 4096;
    const ALLOWED: usize = 40 << 20;
    let _turn = turn();
    let part = |rows: usize| HostTensor::from_f32([rows, COLUMNS], vec![0.5; rows * COLUMNS]).cast(DType::F16);
    let part = part(ROWS / 16);
    let joined = Weight::joined(vec![part.into(); 16]).unwrap();
    let factor = |shape: [usize; 2]| HostTensor::from_f32(shape, vec![0.25; shape[0] * shape[1]]);
    let product = Matrix::product(factor([ROWS, 2]), factor([2, COLUMNS])).unwrap();
    let constant = Weight::sum(joined, vec![Delta::matrix(product, 1.0)]).unwrap().constant().cast(DType::F16);
    let mut b = FunctionBuilder::new("main", Opset::CoreML6);
    let x = b.input("x", Type::tensor(DType::F16, &[1, COLUMNS]));
    let mut e = b.emitter();
    let weight = e.constant("weight", constant.into());
    let y = e.op("linear", "y", [("x", x.into()), ("weight", weight.into())]).unwrap();
    let ops = e.into_ops();
    let program = Program::single(b.finish(ops, &[y]));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("large.mlpackage");
    let description = Description::of(&program);
    let peak = Peak::begin();
    let valid = mil::validate(&program).unwrap();
    mlpackage::write(&path, valid, &description, Existing::Refuse, &mut |_| {}).unwrap();
    let peak = peak.bytes();
    assert!(peak < ALLOWED, "{peak} bytes at once");
    let written = std::fs::metadata(path.join("Data/com.apple.CoreML/weights/weight.bin")).unwrap().len();
    assert!(written >= (ROWS * COLUMNS * 2) as u64);
}
