//! Packages that share a weight file.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use mil::{DType, FunctionBuilder, HostTensor, Literal, Opset, Program, Type, validate};
use mlpackage::{BlobFile, Description, Error, Existing, Package, WeightFile, Written, write, write_linked};
use tempfile::TempDir;

const WEIGHTS: &str = "Data/com.apple.CoreML/weights/weight.bin";

/// A program whose input has `n` rows and whose weights are `values`, each 16 times.
fn program(n: usize, values: &[f32]) -> Program {
    let mut b = FunctionBuilder::new("main", Opset::CoreML6);
    let mut last = b.input("x", Type::tensor(DType::F32, &[n, 16]));
    let mut e = b.emitter();
    for (i, &value) in values.iter().enumerate() {
        let weight = HostTensor::from_f32([16], (0..16).map(|i| value + i as f32).collect());
        let y = Literal::from(weight).into();
        last = e.op("add", &format!("y{i}"), [("x", last.into()), ("y", y)]).unwrap();
    }
    let ops = e.into_ops();
    b.finish_program(ops, &[last])
}

fn first(values: &[f32]) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("first.mlpackage");
    let program = program(1, values);
    write(&path, validate(&program).unwrap(), &Description::of(&program), Existing::Refuse, &mut |_| {}).unwrap();
    (dir, path)
}

fn link(path: &Path, program: &Program, first: &Path) -> Result<Written, Error> {
    write_linked(path, validate(program).unwrap(), &Description::of(program), Existing::Refuse, first)
}

#[track_caller]
fn refused(first: &Path, program: &Program) -> Error {
    let path = first.with_file_name("other.mlpackage");
    let error = link(&path, program, first).unwrap_err();
    assert!(!path.exists());
    assert_eq!(fs::read_dir(first.parent().unwrap()).unwrap().count(), 1);
    error
}

#[test]
fn a_program_with_the_same_weights_shares_the_file() {
    let (dir, first) = first(&[1.0, 2.0]);
    let (linked, plain) = (dir.path().join("linked.mlpackage"), dir.path().join("plain.mlpackage"));
    let other = program(2, &[1.0, 2.0]);
    let shared = link(&linked, &other, &first).unwrap();
    let written =
        write(&plain, validate(&other).unwrap(), &Description::of(&other), Existing::Refuse, &mut |_| {}).unwrap();
    assert_ne!(shared.weight_file, WeightFile::Written);
    assert_eq!(Written { weight_file: WeightFile::Written, ..shared }, written);
    for file in ["Manifest.json", "Data/com.apple.CoreML/model.mlmodel", WEIGHTS] {
        assert_eq!(fs::read(linked.join(file)).unwrap(), fs::read(plain.join(file)).unwrap(), "{file}");
    }
    #[cfg(unix)]
    if shared.weight_file == WeightFile::Linked {
        use std::os::unix::fs::MetadataExt;
        let inode = |package: &Path| fs::metadata(package.join(WEIGHTS)).unwrap().ino();
        assert_eq!(inode(&linked), inode(&first));
        assert_ne!(inode(&linked), inode(&plain));
    }
    // Each package stands for itself.
    fs::remove_dir_all(&first).unwrap();
    assert!(*Package::open(&linked).unwrap().model().program().unwrap() == other);
}

#[test]
fn the_first_weight_that_differs_is_named() {
    let (_dir, first) = first(&[1.0, 2.0, 3.0]);
    let name = |error: Error| match error {
        Error::WeightsDiffer { place, .. } => place,
        other => panic!("{other}"),
    };
    let differs = refused(&first, &program(2, &[1.0, 2.5, 3.5]));
    assert!(differs.to_string().contains("y1_y"), "{differs}");
    assert_eq!(name(refused(&first, &program(2, &[1.0, 2.0]))), "the end of the weights");
    assert_eq!(name(refused(&first, &program(2, &[1.0, 2.0, 3.0, 4.0]))), "weight \"y3_y\"");
    // As many bytes, but of another type.
    let mut b = FunctionBuilder::new("main", Opset::CoreML6);
    let x = b.input("x", Type::tensor(DType::F16, &[32]));
    let mut e = b.emitter();
    let weight = Literal::from(HostTensor::from_f16([32], &[1.0; 32]));
    let y = e.op("add", "sum", [("x", x.into()), ("y", weight.into())]).unwrap();
    let ops = e.into_ops();
    assert_eq!(name(refused(&first, &b.finish_program(ops, &[y]))), "weight \"sum_y\"");
}

#[test]
fn a_broken_first_package_is_an_error_and_never_a_link() {
    let program = program(2, &[1.0, 2.0]);
    let whole = {
        let (_dir, first) = first(&[1.0, 2.0]);
        fs::read(first.join(WEIGHTS)).unwrap()
    };
    // Reserved bytes and gaps may be anything; all else is compared.
    let offsets: Vec<u64> =
        BlobFile::new("w", whole.clone().into()).unwrap().offsets().collect::<Result<_, _>>().unwrap();
    let meaningful = |at: usize| {
        let record =
            |&o: &u64| (o as usize..o as usize + 24).contains(&at) || (o as usize + 64..o as usize + 128).contains(&at);
        at < 8 || offsets.iter().any(record)
    };
    let (_dir, first) = first(&[1.0, 2.0]);
    let file = first.join(WEIGHTS);
    let replace = |bytes: &[u8]| {
        // A mapped file must not shrink under a reader: a new one takes its place.
        fs::remove_file(&file).unwrap();
        fs::write(&file, bytes).unwrap();
    };
    for n in 0..whole.len() {
        replace(&whole[..n]);
        refused(&first, &program);
    }
    for at in (0..whole.len()).filter(|&at| meaningful(at)) {
        let mut broken = whole.clone();
        broken[at] ^= 0x10;
        replace(&broken);
        refused(&first, &program);
    }
    replace(&[&whole[..], &[0; 64]].concat());
    refused(&first, &program);
    fs::remove_file(&file).unwrap();
    refused(&first, &program);
    fs::remove_file(first.join("Manifest.json")).unwrap();
    assert!(matches!(refused(&first, &program), Error::Manifest { .. }));
}

#[cfg(unix)]
#[test]
fn a_first_package_cannot_lend_a_file_that_lies_outside_of_it() {
    let (dir, first) = first(&[1.0]);
    let elsewhere = tempfile::tempdir().unwrap();
    let outside = elsewhere.path().join("weight.bin");
    fs::rename(first.join(WEIGHTS), &outside).unwrap();
    std::os::unix::fs::symlink(&outside, first.join(WEIGHTS)).unwrap();
    let error = refused(&first, &program(2, &[1.0]));
    assert!(error.to_string().contains("leads out of the package"), "{error}");
    drop(dir);
}

#[test]
fn a_program_without_weights_needs_no_other() {
    let (dir, first) = first(&[1.0]);
    let mut b = FunctionBuilder::new("main", Opset::CoreML6);
    let x = b.input("x", Type::tensor(DType::F32, &[1]));
    let mut e = b.emitter();
    let y = e.op("relu", "y", [("x", x.into())]).unwrap();
    let ops = e.into_ops();
    let relu = b.finish_program(ops, &[y]);
    let path = dir.path().join("relu.mlpackage");
    let written = link(&path, &relu, &first).unwrap();
    assert_eq!((written.n_blobs, written.weight_file), (0, WeightFile::Written));
    assert!(!path.join("Data/com.apple.CoreML/weights").exists());
}
