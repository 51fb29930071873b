//! Compiled models: those that Apple's compiler wrote are read, and those that are written here are compared with them.
//!
//! What the text of a program depends on besides its package, and is therefore not compared: the versions in
//! `buildInfo`, and the keys of enumerated shapes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use mil::text::{BlobError, BlobSource, PrintOptions, parse, print};
use mil::{Const, DType, HostTensor, validate};
use mlpackage::{Body, Existing, Model, Package, compile, is_compiled};
use serde_json::Value;

/// Every folder of the samples that is a compiled model.
fn samples() -> Vec<PathBuf> {
    let Some(golden) = testkit::golden() else { return Vec::new() };
    let mut found = Vec::new();
    let mut folders = vec![golden.join("mlmodelc-samples")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if is_compiled(&path) {
                found.push(path);
            } else if path.is_dir() {
                folders.push(path);
            }
        }
    }
    found.sort();
    assert!(found.len() >= 16, "{found:?}");
    found
}

/// A pair whose compiled model is of another file with the same contents, as its hash says.
const OTHER_SOURCE: &str = "mlmodelc-export-pipeline-weighted";

/// A sample with its source.
struct Pair {
    compiled: PathBuf,
    source: PathBuf,
    /// Where the source lies with its weights beside it.
    _folder: tempfile::TempDir,
}

/// Samples with their sources: model file or package, and what was compiled from it.
fn pairs() -> Vec<Pair> {
    let of = |compiled: PathBuf| {
        let folder = tempfile::tempdir().unwrap();
        let package = compiled.with_extension("mlpackage");
        let model = compiled.with_file_name("input.mlmodel");
        if package.is_dir() {
            return Some(Pair { compiled, source: package, _folder: folder });
        }
        // The compiler notes its source's name.
        let is_renamed = compiled.to_str().unwrap().contains(OTHER_SOURCE);
        let source = folder.path().join(if is_renamed { "weighted_pipeline.mlmodel" } else { "input.mlmodel" });
        fs::copy(&model, &source).ok()?;
        fs::create_dir(folder.path().join("weights")).unwrap();
        for place in ["weights/weights.bin", "weights.bin"] {
            let weights = model.with_file_name(place);
            if weights.is_file() {
                fs::copy(weights, folder.path().join("weights/weights.bin")).unwrap();
            }
        }
        Some(Pair { compiled, source, _folder: folder })
    };
    samples().into_iter().filter_map(of).collect()
}

/// Zeros wherever a text refers to a file: many samples come without weights.
struct Zeros;

impl BlobSource for Zeros {
    fn resolve(&self, _: &str, _: u64, dtype: DType, shape: &[usize]) -> Result<Const, BlobError> {
        Ok(Const::new(HostTensor::new(dtype, shape, vec![0; dtype.byte_len(shape.iter().product()).unwrap()].into())?))
    }
}

/// Every `model.mil` in a folder.
fn texts(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(texts(&path));
        } else if path.file_name().unwrap() == "model.mil" {
            found.push(path);
        }
    }
    found
}

#[test]
fn every_text_parses_validates_and_is_printed_as_a_text_of_the_same_program() {
    let mut n = 0;
    for path in samples().iter().flat_map(|sample| texts(sample)) {
        let place = path.display();
        let program = parse(&fs::read_to_string(&path).unwrap(), &Zeros).unwrap_or_else(|e| panic!("{place}: {e}"));
        validate(&program).unwrap_or_else(|e| panic!("{place}: {e}"));
        let printed = print(&program, &PrintOptions::default());
        assert!(parse(&printed.text, &printed.blobs).unwrap() == program, "{place}");
        n += 1;
    }
    assert!(n >= 18 || testkit::golden().is_none(), "{n}");
}

#[test]
fn package_and_compiled_model_read_equal() {
    for Pair { source, compiled, .. } in &pairs() {
        let (a, b) = (Package::open(source).unwrap(), Package::open(compiled).unwrap());
        assert!(!a.is_compiled() && b.is_compiled() && b.compiler().is_some_and(|v| v.starts_with("coremlc 3")));
        assert_eq!(without_build_info(a.model()), without_build_info(b.model()), "{}", compiled.display());
    }
}

/// The model without what its source says of how it was made.
fn without_build_info(model: &Model) -> Model {
    let mut model = model.clone();
    match &mut model.body {
        Body::Program(program) => program.attributes.clear(),
        Body::Pipeline(models) => models.iter_mut().for_each(|m| m.model = without_build_info(&m.model)),
    }
    model
}

#[test]
fn what_is_compiled_here_is_what_apples_compiler_made() {
    for Pair { source, compiled: apples, .. } in &pairs() {
        let place = apples.display();
        let folder = tempfile::tempdir().unwrap();
        let ours = folder.path().join("x.mlmodelc");
        let package = Package::open(source).unwrap();
        compile(&package, &ours, Existing::Refuse, &mut |_| ControlFlow::Continue(())).unwrap();
        let (mine, theirs) = (files(&ours), files(apples));
        assert_eq!(mine, theirs, "{place}");
        for file in mine {
            let [mine, theirs] = [&ours, apples].map(|folder| fs::read(folder.join(&file)).unwrap());
            if file == "metadata.json" {
                compare_metadata(&mine, &theirs, &place.to_string());
            } else if file.ends_with("model.mil") {
                let text = |bytes: &[u8]| determined(str::from_utf8(bytes).unwrap());
                assert_eq!(text(&mine), text(&theirs), "{place}: {file}");
            } else if file == "analytics/coremldata.bin" && place.to_string().contains(OTHER_SOURCE) {
                let (n, hash) = (mine.len(), 128..172);
                assert!(n == theirs.len() && mine[hash.clone()] != theirs[hash.clone()], "{place}");
                assert!(
                    mine[..hash.start] == theirs[..hash.start] && mine[hash.end..] == theirs[hash.end..],
                    "{place}"
                );
            } else {
                assert!(mine == theirs, "{place}: {file}");
            }
        }
    }
}

/// The files of a folder, by their places in it.
fn files(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            found.extend(files(&path).into_iter().map(|file| format!("{name}/{file}")));
        } else {
            found.insert(name);
        }
    }
    found
}

fn compare_metadata(mine: &[u8], theirs: &[u8], place: &str) {
    let [mut mine, mut theirs] = [mine, theirs].map(|bytes| serde_json::from_slice::<Value>(bytes).unwrap());
    // The samples were renamed after they were compiled.
    for metadata in [&mut mine, &mut theirs] {
        assert!(metadata[0].as_object_mut().unwrap().remove("generatedClassName").is_some());
    }
    let keys = |v: &Value| v[0].as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(keys(&mine), keys(&theirs), "{place}");
    for key in keys(&mine) {
        assert_eq!(mine[0][&key], theirs[0][&key], "{place}: {key}");
    }
}

/// A text without what it has from the compiler alone.
fn determined(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let mut line = line.to_owned();
        for key in ["coremlc-component-MIL", "coremlc-version"] {
            if let Some(at) = line.find(key) {
                let from = at + key.len() + "\", \"".len();
                let to = from + line[from..].find('"').unwrap();
                line.replace_range(from..to, "");
            }
        }
        if let Some(at) = line.find("\"EnumeratedShapes\"") {
            let keyed = line.split_off(at);
            line += &keyed
                .split("{\"")
                .map(|part| part.trim_start_matches(|c: char| c.is_ascii_hexdigit()))
                .collect::<String>();
        }
        out += &line;
        out.push('\n');
    }
    out
}

/// Every golden package.
fn packages() -> Vec<PathBuf> {
    let Some(golden) = testkit::golden() else { return Vec::new() };
    let mut found = Vec::new();
    let mut folders = vec![golden.join("packages")];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            match path.extension() {
                Some(e) if e == "mlpackage" => found.push(path),
                _ if path.is_dir() => folders.push(path),
                _ => {}
            }
        }
    }
    assert!(found.len() > 10, "{found:?}");
    found.sort();
    found
}

/// The compiler sorts what a program says of how it was made.
fn with_sorted_build_info(model: &Model) -> Model {
    let mut model = model.clone();
    if let Body::Program(program) = &mut model.body
        && let Some(mil::Literal::Dict(_, _, entries)) = program.attributes.get_mut("buildInfo")
    {
        entries.sort_by_key(|(key, _)| key.as_str().unwrap().to_owned());
    }
    model
}

#[test]
fn a_package_survives_being_compiled_and_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let [own, compiled, again] =
        ["own.mlpackage", "x.mlmodelc", "again.mlpackage"].map(|name| folder.path().join(name));
    let write = |model: &Model, to: &Path| {
        let valid = validate(model.program().unwrap()).unwrap();
        mlpackage::write(to, valid, &model.description, Existing::Replace, &mut |_| {}).unwrap();
    };
    let compile =
        |package: &Package| compile(package, &compiled, Existing::Replace, &mut |_| ControlFlow::Continue(())).unwrap();
    for path in packages() {
        let place = path.display();
        let apples = Package::open(&path).unwrap();
        let written = compile(&apples);
        assert!(written.n_blobs > 0 && written.weight_bytes > 0);
        let opened = Package::open(&compiled).unwrap();
        assert_eq!(with_sorted_build_info(opened.model()), with_sorted_build_info(apples.model()), "{place}");
        assert_eq!(opened.weight_files().len(), apples.weight_files().len());
        // What Smelt wrote is given back byte for byte.
        write(&with_sorted_build_info(apples.model()), &own);
        drop(opened);
        compile(&Package::open(&own).unwrap());
        let packed = Package::open(&compiled).unwrap();
        mlpackage::repack(&packed, &again, Existing::Replace, &mut |_| ControlFlow::Continue(())).unwrap();
        assert_eq!(files(&own), files(&again), "{place}");
        for file in files(&own) {
            assert!(fs::read(own.join(&file)).unwrap() == fs::read(again.join(&file)).unwrap(), "{place}: {file}");
        }
    }
}

#[test]
fn weights_are_the_packages_own_files_and_nothing_is_left_of_a_stop() {
    let Some(path) = packages().into_iter().next() else { return };
    let folder = tempfile::tempdir().unwrap();
    let package = folder.path().join("x.mlpackage");
    let opened = Package::open(path).unwrap();
    let valid = validate(opened.model().program().unwrap()).unwrap();
    mlpackage::write(&package, valid, &opened.model().description, Existing::Refuse, &mut |_| {}).unwrap();
    let package = Package::open(&package).unwrap();
    let compiled = folder.path().join("x.mlmodelc");
    let stopped = compile(&package, &compiled, Existing::Refuse, &mut |_| ControlFlow::Break(()));
    assert!(matches!(stopped, Err(mlpackage::Error::Stopped)));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    let written = compile(&package, &compiled, Existing::Refuse, &mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!(written.weight_file, mlpackage::WeightFile::Linked);
    let refused = compile(&package, &compiled, Existing::Refuse, &mut |_| ControlFlow::Continue(()));
    assert!(matches!(refused, Err(mlpackage::Error::Exists { .. })));
    let twice = compile(&Package::open(&compiled).unwrap(), folder.path().join("y"), Existing::Refuse, &mut |_| {
        ControlFlow::Continue(())
    });
    assert!(twice.unwrap_err().to_string().ends_with("it is compiled already"));
}

#[test]
fn what_is_no_compiled_program_is_refused_by_name() {
    let Some(sample) = samples().into_iter().find(|s| s.ends_with("fluid-f88b126b-Argmax.mlmodelc")) else { return };
    let check = |change: &dyn Fn(&Path), expected: &str| {
        let folder = tempfile::tempdir().unwrap();
        for file in files(&sample) {
            let to = folder.path().join(&file);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(sample.join(&file), to).unwrap();
        }
        change(folder.path());
        match Package::open(folder.path()) {
            Ok(_) => panic!("opened, instead of {expected}"),
            Err(e) => assert!(e.to_string().contains(expected), "{e}"),
        }
    };
    let data = |bytes: &'static [u8]| move |folder: &Path| fs::write(folder.join("coremldata.bin"), bytes).unwrap();
    check(&|folder| fs::write(folder.join("model.espresso.net"), "{}").unwrap(), "a neural network of Core ML 1 to 4");
    check(&data(&[0xf4, 1, 0, 0]), "a neural network of Core ML 1 to 4");
    check(&data(&[0x62, 2, 0, 0]), "a compiled model of type 610");
    check(&data(&[0xf6, 1, 0, 0]), "not the data of a compiled model: it ends in its head");
    check(&data(b""), "it has no type");
    check(&|folder| fs::remove_file(folder.join("model.mil")).unwrap(), "there is no model.mil");
    check(&|folder| fs::write(folder.join("model.mil"), "program(1.0)").unwrap(), "model.mil: 1:13: expected");
    check(&|folder| fs::write(folder.join("model.mil"), [0xff]).unwrap(), "is not text in UTF-8");
    check(
        &|folder| {
            let text = fs::read_to_string(folder.join("model.mil")).unwrap();
            fs::write(folder.join("model.mil"), text.replace("input", "other")).unwrap();
        },
        "input \"input\": it is described, but not in the program",
    );
    check(
        &|folder| {
            let text = fs::read_to_string(folder.join("model.mil")).unwrap();
            let blob = "tensor<int32, [1]>(BLOBFILE(path = tensor<string, []>(\"@model_path/../x\"), \
                        offset = tensor<uint64, []>(64)))";
            fs::write(folder.join("model.mil"), text.replace("tensor<int32, []>(0)", blob)).unwrap();
        },
        "it leads out of the model",
    );
    check(
        &|folder| {
            let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n";
            fs::write(folder.join("model.mil"), pointer).unwrap();
        },
        "a Git LFS pointer",
    );
}

#[test]
fn a_compiled_model_without_its_data_has_the_interface_of_its_program() {
    let Some(sample) = samples().into_iter().find(|s| s.ends_with("fluid-f88b126b-Argmax.mlmodelc")) else { return };
    let folder = tempfile::tempdir().unwrap();
    fs::copy(sample.join("model.mil"), folder.path().join("model.mil")).unwrap();
    let (with, without) = (Package::open(&sample).unwrap(), Package::open(folder.path()).unwrap());
    assert_eq!(without.model().specification_version, with.model().specification_version);
    assert_eq!(without.model().program(), with.model().program());
    let (with, without) = (&with.model().description.functions[0], &without.model().description.functions[0]);
    assert_eq!((&with.inputs, &with.outputs), (&without.inputs, &without.outputs));
}
