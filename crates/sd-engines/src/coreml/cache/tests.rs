//! What a package is known again by, and what happens to its compiled form.

use std::fs;
use std::time::Duration;

use super::*;

/// A package of a small and a large file.
fn package(dir: &Path, model: &[u8], weights: &[u8]) -> PathBuf {
    let path = dir.join("Unet.mlpackage");
    fs::create_dir_all(path.join("Data/weights")).unwrap();
    fs::write(path.join("Data/model.mlmodel"), model).unwrap();
    fs::write(path.join("Data/weights/weight.bin"), weights).unwrap();
    path
}

fn set_time(path: &Path, seconds: u64) {
    let file = File::options().write(true).open(path.join("Data/weights/weight.bin")).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
}

/// The hash where only files up to 8 KiB count as a whole.
fn of(model: &[u8], weights: &[u8], seconds: u64) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = package(dir.path(), model, weights);
    set_time(&path, seconds);
    hash(&path, 8192).unwrap()
}

#[test]
fn a_package_is_known_by_its_model_its_weights_and_their_time_wherever_it_lies() {
    let weights = vec![7; 100_000];
    let first = of(b"model", &weights, 1000);
    assert_eq!(first.len(), 64);
    assert_eq!(of(b"model", &weights, 1000), first);
    assert_ne!(of(b"Model", &weights, 1000), first);
    assert_ne!(of(b"model", &weights, 1001), first);
    assert_ne!(of(b"model", &weights[1..], 1000), first);
    for at in [0, 50_000, 99_999] {
        let mut others = weights.clone();
        others[at] = 8;
        assert_ne!(of(b"model", &others, 1000), first, "byte {at}");
    }
}

#[test]
fn small_files_count_by_their_bytes_alone() {
    assert_eq!(of(b"model", b"weights", 1000), of(b"model", b"weights", 2000));
    assert_ne!(of(b"model", b"weights", 1000), of(b"model", b"Weights", 1000));
    // Where one file ends and the next begins counts.
    assert_ne!(of(b"modelw", b"eights", 1000), of(b"model", b"weights", 1000));
}

#[test]
fn a_model_file_alone_has_a_hash_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.mlmodel");
    fs::write(&path, "model").unwrap();
    let first = hash(&path, WHOLE).unwrap();
    fs::write(&path, "other").unwrap();
    assert_ne!(hash(&path, WHOLE).unwrap(), first);
    assert!(hash(&dir.path().join("absent"), WHOLE).is_err());
}

#[test]
fn a_system_is_a_part_of_a_files_name_whatever_it_is_called() {
    assert_eq!(as_name("Version 15.1 (Build 24B83)"), "Version-15-1-Build-24B83");
    assert_eq!(as_name("../../x/\0"), "x");
    assert_eq!(as_name(&"a".repeat(999)).len(), 32);
    assert!(as_name(&"a ".repeat(999)).len() < 64);
}

#[test]
fn what_is_compiled_is_kept_once_for_each_system() {
    let dir = tempfile::tempdir().unwrap();
    let package = package(dir.path(), b"model", b"weights");
    let cache = dir.path().join("cache");
    let place = Place::of(&package, Some(&cache), "Build 24B83").unwrap();
    let name = place.path().file_name().unwrap().to_string_lossy().into_owned();
    assert!(name.ends_with("-Build-24B83.mlmodelc"), "{name}");
    assert_eq!(place.path().parent(), Some(&*cache.join("smelt/coreml")));
    let made = dir.path().join("made.mlmodelc");
    let compile = || {
        fs::create_dir(&made).unwrap();
        fs::write(made.join("model.mil"), "program").unwrap();
        Ok(made.clone())
    };
    assert_eq!(place.fill(compile).unwrap(), place.path());
    assert!(!made.exists() && place.path().join("model.mil").is_file());
    let again = place.fill(|| panic!("it is there"));
    assert_eq!(again.unwrap(), place.path());
    assert_ne!(Place::of(&package, Some(&cache), "Build 25A1").unwrap(), place);
}

#[test]
fn where_nothing_can_be_kept_nothing_is_compiled() {
    let dir = tempfile::tempdir().unwrap();
    let package = package(dir.path(), b"model", b"weights");
    let place = Place::of(&package, Some(&package.join("Data/model.mlmodel")), "x").unwrap();
    let error = place.fill(|| panic!("there is no place for it")).unwrap_err().to_string();
    assert!(error.contains("model.mlmodel is a file, not a folder"), "{error}");
}

#[test]
fn a_failed_compilation_leaves_no_folder() {
    let dir = tempfile::tempdir().unwrap();
    let package = package(dir.path(), b"model", b"weights");
    let cache = dir.path().join("cache");
    let place = Place::of(&package, Some(&cache), "x").unwrap();
    assert!(place.fill(|| Err(CoreMlError::Stopped)).is_err());
    assert!(!cache.exists());
}
