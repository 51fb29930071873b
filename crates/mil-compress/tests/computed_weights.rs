//! Weights that are computed while they are read: written, run and compressed as the same weights in memory are.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use host_tensor::{DType, HostTensor, Stop};
use mil::{Compute, Const, FunctionBuilder, Literal, Opset, Program, Type, text, validate};
use mil_compress::{Config, Memory, Plan, compress};
use mil_engine::{
    cpu::{self, Cpu},
    reference::{self, Reference},
};
use std::{collections::BTreeMap, fs, ops::ControlFlow, ops::Range, path::Path, sync::Arc};

/// `weight + up · downᵀ`.
#[derive(Debug)]
struct Merged {
    weight: HostTensor,
    up: Vec<f32>,
    down: Vec<f32>,
}

impl Merged {
    fn new(rows: usize, columns: usize) -> Self {
        let values = |n: usize, step: usize| (0..n).map(|i| ((i * step) % 97) as f32 / 97.0 - 0.5).collect::<Vec<_>>();
        Self {
            weight: HostTensor::from_f32([rows, columns], values(rows * columns, 31)),
            up: values(rows, 17),
            down: values(columns, 13),
        }
    }
}

impl Compute for Merged {
    fn dtype(&self) -> DType {
        DType::F32
    }

    fn shape(&self) -> &[usize] {
        self.weight.shape()
    }

    fn fill_rows(&self, rows: Range<usize>, out: &mut [u8]) {
        let columns = self.down.len();
        let words = self.weight.bytes()[rows.start * columns * 4..].as_chunks().0;
        for (i, word) in out.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            let product = self.up[rows.start + i / columns] * self.down[i % columns];
            *word = (f32::from_le_bytes(words[i]) + product).to_le_bytes();
        }
    }
}

/// Two linear layers and a product that share one weight, as it is and transposed.
fn program(weight: &Const) -> Program {
    let mut b = FunctionBuilder::new("main", Opset::CoreML8);
    let x = b.input("x", Type::tensor(DType::F16, &[3, 64]));
    let mut e = b.emitter();
    let literal = Literal::Tensor(weight.cast(DType::F16));
    let w = e.constant("w", literal.clone());
    let again = e.constant("again", literal);
    let transposed = e.constant("wt", Literal::Tensor(weight.transpose(&[1, 0]).unwrap().cast(DType::F16)));
    let y = e.op("linear", "first", [("x", x.into()), ("weight", w.into())]).unwrap();
    let y = e.op("linear", "second", [("x", y.into()), ("weight", again.into())]).unwrap();
    let args =
        [("x", y.into()), ("y", transposed.into()), ("transpose_x", false.into()), ("transpose_y", false.into())];
    let y = e.op("matmul", "third", args).unwrap();
    let ops = e.into_ops();
    b.finish_program(ops, &[y])
}

fn pair() -> (Program, Program) {
    let computed = Const::computed(Arc::new(Merged::new(64, 64))).unwrap();
    (program(&computed), program(&Const::new(computed.read())))
}

fn write(program: &Program, path: &Path) -> (mlpackage::Written, Vec<u8>) {
    let description = mlpackage::Description::of(program);
    let valid = validate(program).unwrap();
    let written = mlpackage::write(path, valid, &description, mlpackage::Existing::Refuse, &mut |_| {}).unwrap();
    (written, fs::read(path.join("Data/com.apple.CoreML/weights/weight.bin")).unwrap())
}

#[test]
fn the_package_is_that_of_the_weight_in_memory_and_holds_a_shared_weight_once() {
    let dir = tempfile::tempdir().unwrap();
    let (computed, eager) = pair();
    let computed = write(&computed, &dir.path().join("a.mlpackage"));
    assert_eq!(computed, write(&eager, &dir.path().join("b.mlpackage")));
    assert_eq!(computed.0.n_blobs, 2, "the weight and its transposed form");
}

#[test]
fn both_engines_compute_what_they_compute_of_the_weight_in_memory() {
    let (computed, eager) = pair();
    let x: Vec<f32> = (0..192).map(|i| (i % 13) as f32 / 13.0).collect();
    let inputs = BTreeMap::from([("x".to_owned(), HostTensor::from_f16([3, 64], &x))]);
    let run = |program: &Program| {
        let valid = validate(program).unwrap();
        let reference = Reference::compile(valid, reference::Options::default()).unwrap();
        let cpu = Cpu::compile(valid, cpu::Options::default()).unwrap();
        (reference.run(&inputs, &Stop::never()).unwrap(), cpu.run(&inputs, &Stop::never()).unwrap())
    };
    assert_eq!(run(&computed), run(&eager));
}

#[test]
fn its_text_and_what_compression_makes_of_it_are_the_same() {
    let (computed, eager) = pair();
    let print = |program: &Program| text::print(program, &text::PrintOptions::default()).text;
    assert_eq!(print(&computed), print(&eager));
    let compressed = |program: &Program| {
        let plan = Plan::new(program, &Config { min_elements: 100, ..Config::palettes(4) }).unwrap();
        compress(program, &plan, &mut Memory::default(), true, &mut |_| ControlFlow::Continue(())).unwrap().0
    };
    let (ours, theirs) = (compressed(&computed), compressed(&eager));
    assert_eq!(ours, theirs);
    assert_ne!(ours, computed);
}
