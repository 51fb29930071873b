//! Packages as directories: what may be missing, broken or misleading on the disk, and pipelines.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use coremltools_proto::{Message, Model as Proto, mil_spec::value::Value, model::Type as Kind};
use mil::{DType, FunctionBuilder, HostTensor, Literal, Opset, Program, Type, validate};
use mlpackage::{
    BlobFault, Body, Description, Error, Existing, Manifest, ManifestFault, ModelFault, Package, Stage, write,
    write_pipeline,
};
use tempfile::TempDir;

const MODEL: &str = "Data/com.apple.CoreML/model.mlmodel";
const WEIGHTS: &str = "Data/com.apple.CoreML/weights/weight.bin";

/// `output = input + weight`, or `+ 1` without a weight file.
fn program(input: &str, output: &str, weight: Option<f32>) -> Program {
    let mut b = FunctionBuilder::new("main", Opset::CoreML6);
    let x = b.input(input, Type::tensor(DType::F32, &[16]));
    let mut e = b.emitter();
    let weight = weight.map_or_else(|| Literal::float(1.0), |w| HostTensor::from_f32([16], vec![w; 16]).into());
    let y = e.op("add", output, [("x", x.into()), ("y", weight.into())]).unwrap();
    let ops = e.into_ops();
    b.finish_program(ops, &[y])
}

fn package(weight: Option<f32>) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.mlpackage");
    let program = program("x", "y", weight);
    write(&path, validate(&program).unwrap(), &Description::of(&program), Existing::Refuse, &mut |_| {}).unwrap();
    assert!(*Package::open(&path).unwrap().model().program().unwrap() == program);
    (dir, path)
}

/// The error after `edit` has been at the package.
#[track_caller]
fn error(edit: impl FnOnce(&Path)) -> Error {
    let (_dir, path) = package(Some(1.0));
    edit(&path);
    Package::open(&path).expect_err("a broken package was read")
}

fn edit_model(path: &Path, edit: impl FnOnce(&mut Proto)) {
    let file = path.join(MODEL);
    let mut model = Proto::decode(&fs::read(&file).unwrap()[..]).unwrap();
    edit(&mut model);
    fs::write(file, model.encode_to_vec()).unwrap();
}

fn set_weight_file(model: &mut Proto, name: &str) {
    let Some(Kind::MlProgram(program)) = &mut model.r#type else { panic!("not an ML Program") };
    let function = program.functions.get_mut("main").unwrap();
    let ops = &mut function.block_specializations.get_mut("CoreML6").unwrap().operations;
    for val in ops.iter_mut().filter_map(|op| op.attributes.get_mut("val")) {
        if let Some(Value::BlobFileValue(blob)) = &mut val.value {
            blob.file_name = name.into();
        }
    }
}

#[test]
fn what_is_missing_is_named() {
    let missing = |e| matches!(e, Error::Manifest { fault: ManifestFault::Missing, .. });
    assert!(missing(error(|p| fs::remove_file(p.join("Manifest.json")).unwrap())));
    assert!(missing(error(|p| fs::remove_dir_all(p).unwrap())));
    let absent = |e| matches!(e, Error::Manifest { fault: ManifestFault::Absent(_), .. });
    assert!(absent(error(|p| fs::remove_file(p.join(MODEL)).unwrap())));
    assert!(absent(error(|p| fs::remove_dir_all(p.join("Data/com.apple.CoreML/weights")).unwrap())));
    let e = error(|p| fs::remove_file(p.join(WEIGHTS)).unwrap());
    assert!(matches!(e, Error::Model { fault: ModelFault::NoWeightFile(_), .. }), "{e}");
    let e = error(|p| fs::write(p.join(MODEL), []).unwrap());
    assert!(matches!(e, Error::Model { fault: ModelFault::NoKind, .. }), "{e}");
    let e = error(|p| fs::write(p.join(WEIGHTS), []).unwrap());
    assert!(matches!(e, Error::Blob { fault: BlobFault::TooShort(0), .. }), "{e}");
}

#[test]
fn every_truncated_file_is_an_error() {
    for file in ["Manifest.json", MODEL, WEIGHTS] {
        let (_dir, path) = package(Some(1.0));
        let whole = fs::read(path.join(file)).unwrap();
        // The newline at the end of a manifest may go.
        let n_needed = if file == "Manifest.json" { whole.len() - 1 } else { whole.len() };
        for n in 0..n_needed {
            // A mapped file must not shrink under a reader: a new one takes its place.
            fs::remove_file(path.join(file)).unwrap();
            fs::write(path.join(file), &whole[..n]).unwrap();
            assert!(Package::open(&path).is_err(), "{file}: {n} of {}", whole.len());
        }
    }
}

#[test]
fn weight_files_outside_the_package_are_refused() {
    for name in [
        "@model_path/../../../secret",
        "@model_path//etc/passwd",
        "@model_path/./weights/weight.bin",
        r"@model_path/..\..\secret",
        "/etc/passwd",
        "weights/weight.bin",
        "",
    ] {
        let e = error(|p| edit_model(p, |m| set_weight_file(m, name)));
        assert!(matches!(e, Error::Model { fault: ModelFault::WeightPath { .. }, .. }), "{name}: {e}");
    }
}

#[cfg(unix)]
#[test]
fn a_weight_file_may_not_be_a_link_out_of_the_package() {
    let e = error(|p| {
        let outside = p.parent().unwrap().join("outside.bin");
        fs::rename(p.join(WEIGHTS), &outside).unwrap();
        std::os::unix::fs::symlink(outside, p.join(WEIGHTS)).unwrap();
    });
    assert!(matches!(e, Error::Model { fault: ModelFault::WeightPath { .. }, .. }), "{e}");
}

/// As the cache of huggingface_hub lies on the disk: a snapshot of links to blobs.
#[cfg(unix)]
#[test]
fn links_to_blobs_of_the_same_repository_are_followed_and_others_are_not() {
    let (dir, path) = package(Some(1.0));
    let repository = dir.path().join("models--a--b");
    let snapshot = repository.join("snapshots/0000/m.mlpackage");
    let blobs = repository.join("blobs");
    fs::create_dir_all(&blobs).unwrap();
    for (i, file) in ["Manifest.json", MODEL, WEIGHTS].into_iter().enumerate() {
        let (blob, link) = (blobs.join(format!("{i:040x}")), snapshot.join(file));
        fs::copy(path.join(file), &blob).unwrap();
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(blob, link).unwrap();
    }
    let (linked, plain) = (Package::open(&snapshot).unwrap(), Package::open(&path).unwrap());
    assert_eq!(linked.model(), plain.model());
    assert_eq!(linked.weight_files().len(), 1);
    let other = dir.path().join("models--a--b/elsewhere");
    fs::rename(&blobs, &other).unwrap();
    for (i, file) in ["Manifest.json", MODEL, WEIGHTS].into_iter().enumerate() {
        fs::remove_file(snapshot.join(file)).unwrap();
        std::os::unix::fs::symlink(other.join(format!("{i:040x}")), snapshot.join(file)).unwrap();
    }
    let error = Package::open(&snapshot).unwrap_err().to_string();
    assert!(error.contains("leads out of the package") && error.contains("cp -rL"), "{error}");
}

#[test]
fn a_pointer_of_git_lfs_is_named_wherever_it_stands() {
    for file in ["Manifest.json", MODEL, WEIGHTS] {
        let e = error(|p| {
            fs::write(p.join(file), "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n").unwrap();
        });
        let e = e.to_string();
        assert!(e.contains(file.rsplit('/').next().unwrap()) && e.contains("git lfs pull"), "{e}");
    }
}

#[test]
fn a_program_without_large_constants_has_no_weight_file_and_can_stand_alone() {
    let (dir, path) = package(None);
    assert!(!path.join("Data/com.apple.CoreML/weights").exists());
    assert_eq!(Manifest::read(&path).unwrap().items().count(), 1);
    let bare = dir.path().join("m.mlmodel");
    fs::copy(path.join(MODEL), &bare).unwrap();
    let opened = Package::open(&bare).unwrap();
    assert!(opened.manifest().is_none());
    assert!(*opened.model().program().unwrap() == program("x", "y", None));
}

#[test]
fn files_are_found_through_the_manifest_whatever_they_are_called() {
    let (_dir, path) = package(None);
    fs::create_dir(path.join("Data/else")).unwrap();
    fs::rename(path.join(MODEL), path.join("Data/else/where.mlmodel")).unwrap();
    let manifest = fs::read_to_string(path.join("Manifest.json")).unwrap();
    let moved = manifest.replace("com.apple.CoreML/model.mlmodel", "else/where.mlmodel");
    assert_ne!(moved, manifest);
    fs::write(path.join("Manifest.json"), moved).unwrap();
    assert!(*Package::open(&path).unwrap().model().program().unwrap() == program("x", "y", None));
}

#[test]
fn a_pipeline_gives_its_models_back_each_with_its_own_weights() {
    let dir = tempfile::tempdir().unwrap();
    let (path, refused) = (dir.path().join("p.mlpackage"), dir.path().join("q.mlpackage"));
    let (a, b, c) = (program("x", "y", Some(1.0)), program("y", "z", None), program("z", "w", Some(2.0)));
    let programs = [&a, &b, &c];
    let descriptions = programs.map(Description::of);
    let names = ["first", "second", "third"];
    let stages: Vec<Stage<'_>> = (0..3)
        .map(|i| Stage { name: names[i], program: validate(programs[i]).unwrap(), description: &descriptions[i] })
        .collect();
    let mut whole = descriptions[0].clone();
    whole.functions[0].outputs.clone_from(&descriptions[2].functions[0].outputs);
    whole.metadata.author = "someone".into();
    let go_on = &mut |_| ControlFlow::Continue(());
    let written = write_pipeline(&path, &stages, &whole, Existing::Refuse, go_on).unwrap();
    assert_eq!(written.n_blobs, 2);

    let opened = Package::open(&path).unwrap();
    let files: Vec<_> = opened.weight_files().keys().map(String::as_str).collect();
    assert_eq!(files, ["@model_path/weights/0-weight.bin", "@model_path/weights/2-weight.bin"]);
    let model = opened.into_model();
    assert_eq!(model.description, whole);
    assert!(model.programs() == programs);
    let Body::Pipeline(models) = &model.body else { panic!("not a pipeline") };
    assert_eq!(models.iter().map(|m| m.name.as_str()).collect::<Vec<_>>(), names);

    assert!(write_pipeline(&refused, &[], &whole, Existing::Refuse, go_on).is_err());
    let twice = [stages[0], stages[0]];
    let e = write_pipeline(&refused, &twice, &whole, Existing::Refuse, go_on).unwrap_err();
    assert!(matches!(e, Error::Model { fault: ModelFault::Duplicate(_), .. }), "{e}");
    // Broken off after the weights of the first model.
    let stopped = write_pipeline(&refused, &stages, &whole, Existing::Refuse, &mut |_| ControlFlow::Break(()));
    assert!(matches!(stopped, Err(Error::Stopped)), "{stopped:?}");
    assert!(!refused.exists());
}
