//! Packages whose weights are stored before their program is known.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{env, fs, ops::ControlFlow, path::Path, process::Command};

use mil::{Bytes, Const, DType, FunctionBuilder, HostTensor, Literal, Opset, Program, Type, validate};
use mlpackage::{Description, Error, Existing, Package, PackageWriter, SealedPackage, WeightFile, Written, write};

const WEIGHTS: &str = "Data/com.apple.CoreML/weights/weight.bin";
const TARGET: &str = "MLPACKAGE_TEST_STORE_TARGET";
const DIE_AT: &str = "MLPACKAGE_TEST_STORE_DIE_AT";

/// The input plus each of the weights.
fn sum(opset: Opset, weights: &[Const]) -> Program {
    let mut b = FunctionBuilder::new("main", opset);
    let mut last = b.input("x", Type::tensor(DType::F32, &[64]));
    let mut e = b.emitter();
    for (i, weight) in weights.iter().enumerate() {
        let weight = Literal::Tensor(weight.clone());
        last = e.op("add", &format!("y{i}"), [("x", last.into()), ("y", weight.into())]).unwrap();
    }
    let ops = e.into_ops();
    b.finish_program(ops, &[last])
}

fn floats(value: f32) -> HostTensor {
    HostTensor::from_f32([64], (0..64).map(|i| value + i as f32).collect())
}

fn consts(tensors: &[HostTensor]) -> Vec<Const> {
    tensors.iter().cloned().map(Const::new).collect()
}

fn names(dir: &Path) -> Vec<String> {
    fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
}

/// The same; where mapped files are not removed, hidden directories wait for the last view.
fn settled(dir: &Path) -> Vec<String> {
    names(dir).into_iter().filter(|name| cfg!(unix) || !name.starts_with('.')).collect()
}

fn go_on(_: mlpackage::Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn store(path: &Path, existing: Existing, tensors: &[HostTensor]) -> (SealedPackage, Vec<HostTensor>) {
    let mut writer = PackageWriter::create(path, existing).unwrap();
    for tensor in tensors {
        writer.store(tensor).unwrap();
    }
    writer.seal().unwrap()
}

fn finish(sealed: SealedPackage, program: &Program) -> Result<Written, Error> {
    sealed.finish(validate(program).unwrap(), &Description::of(program), &mut go_on)
}

/// Every file of a package, with its bytes.
fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push((path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap())),
        }
    }
    found.sort();
    found
}

#[test]
fn weights_stored_in_program_order_make_the_package_that_write_makes() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (dir.path().join("a.mlpackage"), dir.path().join("b.mlpackage"));
    // The last weight is not stored but appended.
    let tensors = [floats(1.0), floats(2.0), HostTensor::from_f32([1], vec![3.0]), floats(4.0)];
    let (sealed, mut views) = store(&a, Existing::Refuse, &tensors[..3]);
    assert_eq!(views, tensors[..3]);
    views.push(tensors[3].clone());
    let program = sum(Opset::CoreML6, &consts(&views));
    let stored = finish(sealed, &program).unwrap();
    assert_eq!(settled(dir.path()), ["a.mlpackage"]);

    let plain = sum(Opset::CoreML6, &consts(&tensors));
    let valid = validate(&plain).unwrap();
    let written = write(&b, valid, &Description::of(&plain), Existing::Refuse, &mut |_| {}).unwrap();
    assert_eq!(stored, written);
    assert_eq!(stored.n_blobs, 3);
    assert_eq!(files(&a), files(&b));
    // The views stay good when the file has moved.
    assert_eq!(views[..3], tensors[..3]);
    assert!(*Package::open(&a).unwrap().model().program().unwrap() == plain);
    drop((views, program));
    assert_eq!(names(dir.path()).len(), 2, "nothing hidden is left");
}

#[test]
fn every_type_comes_back_as_it_was_stored() {
    let dir = tempfile::tempdir().unwrap();
    let tensors: Vec<HostTensor> = DType::ALL
        .into_iter()
        .flat_map(|dtype| [3, 9, 10, 11, 17, 64].map(|n| (dtype, n)))
        .map(|(dtype, n)| HostTensor::from_i32([n], (0..n as i32).map(|i| i & 1).collect()).cast(dtype))
        .collect();
    let (sealed, views) = store(&dir.path().join("a.mlpackage"), Existing::Refuse, &tensors);
    assert_eq!(views, tensors);
    drop(sealed);
    assert_eq!(views, tensors);
}

#[test]
fn types_that_only_newer_systems_keep_in_files_wait_in_memory_for_the_program() {
    let dir = tempfile::tempdir().unwrap();
    let indices = HostTensor::from_i32([64], (0..64).collect());
    for (opset, n_blobs) in [(Opset::CoreML6, 0), (Opset::CoreML8, 1)] {
        let path = dir.path().join(opset.name());
        let (sealed, views) = store(&path, Existing::Refuse, std::slice::from_ref(&indices));
        let mut b = FunctionBuilder::new("main", opset);
        let x = b.input("x", Type::tensor(DType::I32, &[64]));
        let mut e = b.emitter();
        let weight = Literal::from(views[0].clone());
        let y = e.op("add", "y", [("x", x.into()), ("y", weight.into())]).unwrap();
        let ops = e.into_ops();
        let program = b.finish_program(ops, &[y]);
        assert_eq!(finish(sealed, &program).unwrap().n_blobs, n_blobs);
        assert_eq!(path.join(WEIGHTS).exists(), n_blobs == 1);
        assert!(*Package::open(&path).unwrap().model().program().unwrap() == program);
    }
}

#[test]
fn a_view_in_another_shape_or_used_twice_refers_to_the_one_stored_weight() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.mlpackage");
    let square = floats(1.0).reshape([8, 8]).unwrap();
    let (sealed, views) = store(&path, Existing::Refuse, &[square, floats(2.0)]);
    let first = Const::new(views[0].clone());
    let flat = first.reshape([64]).unwrap();
    // What must be computed from a stored weight is another one.
    let transposed = first.transpose(&[1, 0]).unwrap().reshape([64]).unwrap();
    let program = sum(Opset::CoreML6, &[flat.clone(), transposed, flat.reshape([1, 64]).unwrap()]);
    // The second stored weight is not used, and stays.
    assert_eq!(finish(sealed, &program).unwrap().n_blobs, 3);
    assert!(*Package::open(&path).unwrap().model().program().unwrap() == program);
}

#[test]
fn two_packed_weights_of_equal_bytes_and_different_length_are_two() {
    // 11 and 12 elements of four bits both take six bytes.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.mlpackage");
    let bytes = Bytes::from(vec![0x11, 0x11, 0x11, 0x11, 0x11, 0x01]);
    let of = |n: usize| HostTensor::new(DType::U4, [n], bytes.clone()).unwrap();
    let mut b = FunctionBuilder::new("main", Opset::CoreML8);
    let x = b.input("x", Type::tensor(DType::F16, &[1]));
    let mut e = b.emitter();
    let mut outputs = vec![e.op("relu", "y", [("x", x.into())]).unwrap()];
    for n in [11, 12] {
        let (data, scale) = (Literal::from(of(n)), Literal::from(HostTensor::from_f16([1], &[0.5])));
        let name = format!("w{n}");
        let w =
            e.op("constexpr_blockwise_shift_scale", &name, [("data", data.into()), ("scale", scale.into())]).unwrap();
        outputs.push(e.op("relu", &format!("r{n}"), [("x", w.into())]).unwrap());
    }
    let ops = e.into_ops();
    let program = b.finish_program(ops, &outputs);
    let written =
        write(&path, validate(&program).unwrap(), &Description::of(&program), Existing::Refuse, &mut |_| {}).unwrap();
    assert_eq!(written.n_blobs, 2);
    assert!(*Package::open(&path).unwrap().model().program().unwrap() == program);
}

#[test]
fn a_package_without_any_weight_has_no_weight_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.mlpackage");
    let (sealed, views) = store(&path, Existing::Refuse, &[]);
    assert!(views.is_empty());
    let program = sum(Opset::CoreML6, &consts(&[HostTensor::from_f32([1], vec![1.0])]));
    finish(sealed, &program).unwrap();
    assert!(!path.join("Data/com.apple.CoreML/weights").exists());
    assert!(*Package::open(&path).unwrap().model().program().unwrap() == program);
}

#[test]
fn a_writer_that_is_dropped_or_stopped_or_refused_leaves_what_was_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.mlpackage");
    let empty = |what: &str| assert_eq!(settled(dir.path()), [] as [&str; 0], "{what}");
    let mut writer = PackageWriter::create(&path, Existing::Refuse).unwrap();
    writer.store(&floats(1.0)).unwrap();
    drop(writer);
    empty("a writer");
    let (sealed, views) = store(&path, Existing::Refuse, &[floats(1.0)]);
    drop(sealed);
    empty("a sealed package, its views alive");
    assert_eq!(views, [floats(1.0)]);
    drop(views);

    let extra = Const::new(floats(2.0));
    for at in 1..=2 {
        let (sealed, views) = store(&path, Existing::Refuse, &[floats(1.0)]);
        let program = sum(Opset::CoreML6, &[Const::new(views[0].clone()), extra.clone()]);
        let (valid, description) = (validate(&program).unwrap(), Description::of(&program));
        let mut seen = Vec::new();
        let stopped = sealed.finish(valid, &description, &mut |progress| {
            seen.push((progress.written_bytes, progress.total_bytes));
            if seen.len() == at { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert!(matches!(stopped, Err(Error::Stopped)), "{stopped:?}");
        assert_eq!(seen, [(256, 512), (512, 512)][..at]);
        empty("a stopped one");
    }

    let (sealed, views) = store(&path, Existing::Refuse, &[floats(1.0)]);
    let program = sum(Opset::CoreML6, &consts(&views));
    let refused = sealed.finish(validate(&program).unwrap(), &Description::default(), &mut go_on);
    assert!(matches!(refused, Err(Error::Model { .. })), "{refused:?}");
    empty("one with another program's description");
    drop((views, program));
    assert!(names(dir.path()).is_empty(), "after the last view");
}

#[test]
fn an_existing_package_is_refused_or_replaced_as_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.mlpackage");
    let write = |existing, value| {
        let (sealed, views) = store(&path, existing, &[floats(value)]);
        finish(sealed, &sum(Opset::CoreML6, &consts(&views))).unwrap();
    };
    write(Existing::Refuse, 1.0);
    assert!(matches!(PackageWriter::create(&path, Existing::Refuse), Err(Error::Exists { .. })));
    // The old package is compressed onto itself: its weights are read while the new ones are stored.
    let old = Package::open(&path).unwrap().into_model();
    write(Existing::Replace, 2.0);
    assert!(*old.program().unwrap() == sum(Opset::CoreML6, &consts(&[floats(1.0)])));
    let new = Package::open(&path).unwrap().into_model();
    assert!(*new.program().unwrap() == sum(Opset::CoreML6, &consts(&[floats(2.0)])));
    assert_eq!(settled(dir.path()), ["m.mlpackage"]);
    // One that appears meanwhile is not overwritten.
    let late = dir.path().join("late.mlpackage");
    let (sealed, views) = store(&late, Existing::Refuse, &[floats(1.0)]);
    fs::create_dir(&late).unwrap();
    let refused = finish(sealed, &sum(Opset::CoreML6, &consts(&views)));
    assert!(matches!(refused, Err(Error::Exists { .. })), "{refused:?}");
    assert!(names(&late).is_empty());
}

#[test]
fn weights_larger_than_a_page_and_than_a_piece_survive_what_is_appended_behind_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.mlpackage");
    let big = |seed: u32| {
        let word = |i: u32| i.wrapping_mul(0x9E37_79B9).wrapping_add(seed) >> 9;
        HostTensor::from_f32([3, 500_001], (0..1_500_003).map(|i| word(i) as f32).collect())
    };
    let tensors = [big(1), HostTensor::from_f32([11], vec![0.5; 11]), big(2)];
    let (sealed, views) = store(&path, Existing::Refuse, &tensors);
    let used = |views: &[HostTensor]| {
        let mut b = FunctionBuilder::new("main", Opset::CoreML6);
        let x = b.input("x", Type::tensor(DType::F32, &[1]));
        let mut e = b.emitter();
        let mut op = |name: &str, w: &HostTensor| {
            e.op("add", name, [("x", x.into()), ("y", Literal::from(w.clone()).into())]).unwrap()
        };
        let outputs: Vec<_> = views.iter().enumerate().map(|(i, w)| op(&format!("y{i}"), w)).collect();
        let ops = e.into_ops();
        b.finish_program(ops, &outputs)
    };
    let all: Vec<HostTensor> = views.iter().cloned().chain([big(3)]).collect();
    finish(sealed, &used(&all)).unwrap();
    assert_eq!(views, tensors);
    let expected: Vec<HostTensor> = tensors.iter().cloned().chain([big(3)]).collect();
    assert!(*Package::open(&path).unwrap().model().program().unwrap() == used(&expected));
}

/// Not a test of its own: the next test runs it in a process that dies while it stores.
#[test]
fn child_that_dies_while_it_stores() {
    let (Some(target), Some(at)) = (env::var_os(TARGET), env::var_os(DIE_AT)) else { return };
    let at = at.to_str().unwrap().to_owned();
    // As `kill -9`: no destructor runs.
    let die_at = |point: &str| {
        if point == at {
            std::process::abort();
        }
    };
    let mut writer = PackageWriter::create(target, Existing::Replace).unwrap();
    die_at("created");
    writer.store(&floats(2.0)).unwrap();
    die_at("stored");
    let (sealed, views) = writer.seal().unwrap();
    die_at("sealed");
    let program = sum(Opset::CoreML6, &[Const::new(views[0].clone()), Const::new(floats(3.0))]);
    let mut n_reports = 0;
    let done = sealed.finish(validate(&program).unwrap(), &Description::of(&program), &mut |_| {
        n_reports += 1;
        die_at(&format!("report {n_reports}"));
        ControlFlow::Continue(())
    });
    done.unwrap();
}

#[test]
fn a_process_that_is_killed_while_it_stores_leaves_the_old_package_and_the_next_run_cleans() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("m.mlpackage");
    let write = |value| {
        let (sealed, views) = store(&target, Existing::Replace, &[floats(value)]);
        finish(sealed, &sum(Opset::CoreML6, &consts(&views))).unwrap();
    };
    for at in ["created", "stored", "sealed", "report 1", "report 2"] {
        write(1.0);
        assert_eq!(names(dir.path()), ["m.mlpackage"]);
        let status = Command::new(env::current_exe().unwrap())
            .args(["--exact", "child_that_dies_while_it_stores", "--quiet"])
            .envs([(TARGET, target.as_os_str()), (DIE_AT, at.as_ref())])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .status()
            .unwrap();
        assert!(!status.success(), "died at {at}");
        assert_eq!(names(dir.path()).len(), 2, "{at}");
        let whole = Package::open(&target).unwrap().into_model();
        assert!(*whole.program().unwrap() == sum(Opset::CoreML6, &consts(&[floats(1.0)])), "{at}");
    }
}

#[cfg(unix)]
#[test]
fn a_package_shares_the_file_of_another_only_when_every_byte_is_the_same() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, values: &[f32], first: Option<&Path>| {
        let path = dir.path().join(name);
        let tensors: Vec<HostTensor> = values.iter().map(|&v| floats(v)).collect();
        let (mut sealed, views) = store(&path, Existing::Refuse, &tensors);
        if let Some(first) = first {
            sealed = sealed.sharing(first);
        }
        let written = finish(sealed, &sum(Opset::CoreML6, &consts(&views))).map(|w| w.weight_file);
        (path.clone(), written, fs::metadata(path.join(WEIGHTS)).map(|m| m.ino()).ok())
    };
    let (first, written, inode) = write("first.mlpackage", &[1.0, 2.0], None);
    assert_eq!(written.unwrap(), WeightFile::Written);
    let (same, written, shared) = write("same.mlpackage", &[1.0, 2.0], Some(&first));
    assert_ne!(written.unwrap(), WeightFile::Written);
    assert_eq!(shared, inode);
    for values in [&[1.0, 2.5][..], &[1.0], &[1.0, 2.0, 3.0]] {
        let (path, written, own) = write(&format!("{}.mlpackage", values.len()), values, Some(&first));
        assert_eq!(written.unwrap(), WeightFile::Written);
        assert_ne!(own, inode, "{values:?}");
        assert!(Package::open(&path).is_ok());
        fs::remove_dir_all(path).unwrap();
    }
    // What is shared outlives the package that it came from; a package that is not there lends nothing.
    fs::remove_dir_all(&first).unwrap();
    assert!(Package::open(&same).is_ok());
    let (missing, written, _) = write("missing.mlpackage", &[1.0, 2.0], Some(&first));
    assert!(written.is_err() && !missing.exists());
}
