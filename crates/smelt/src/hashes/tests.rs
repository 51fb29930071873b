//! Hashes of files, of checkpoints and of packages; and that nothing is read twice.

use std::fs::{self, File};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sd_checkpoint::Checkpoint;
use serde_json::{Value, json};

use super::*;
use crate::bundle::Bundle;
use crate::error::Error;
use crate::source_file::Hex;
use crate::watch::Event;
use crate::{Opening, Recommended, Unwatched};

/// 1,200,000 bytes that count up to 250 and begin again.
fn counted() -> Vec<u8> {
    (0..1_200_000u32).map(|i| (i % 251) as u8).collect()
}

// sha256sum of it, and of 64 KiB of it: tail -c +1048577 | head -c 65536 | sha256sum.
const WHOLE: &str = "7b30b0e3bdc9398dead57d36d66dfa731e362446f95a6cc1280f398bf5df455d";
const AUTO_V1: &str = "15ffd73b";
// printf '\1\2\3\4' | sha256sum
const OF_FOUR: &str = "9f64a747e1b97f131fabb6b447296c9b6f0201e79fb3c5356e6c77e89b6a806a";

/// A file that changed an hour ago.
fn put(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
    let file = File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)).unwrap();
}

fn safetensors(metadata: &str) -> Vec<u8> {
    let header = format!(r#"{{{metadata}"a":{{"dtype":"F16","shape":[2],"data_offsets":[0,4]}}}}"#);
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[1, 2, 3, 4]].concat()
}

/// A place with a file and a cache.
struct Made {
    dir: tempfile::TempDir,
}

impl Made {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn hashing(&self) -> Hashing {
        Hashing { sources: Vec::new(), cache: Some(self.path("cache")) }
    }

    fn of(&self, name: &str, part: SourcePart) -> FileHashes {
        self.hashing().file(&self.path(name), part, &mut Unwatched).unwrap().hashes.unwrap()
    }
}

/// What a watcher heard: how often weights were read on, and warnings.
#[derive(Default)]
struct Heard {
    reads: usize,
    warnings: Vec<String>,
}

impl Watch for Heard {
    fn event(&mut self, event: Event<'_>) -> ControlFlow<()> {
        match event {
            Event::Progress(_) => self.reads += 1,
            Event::Warning(words) => self.warnings.push(words.to_owned()),
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

#[test]
fn digests_are_those_of_sha256sum() {
    let made = Made::new();
    put(&made.path("model.ckpt"), &counted());
    let hashes = made.of("model.ckpt", SourcePart::Checkpoint);
    assert_eq!((hashes.sha256(), hashes.auto_v1(), hashes.auto_v3()), (WHOLE, Some(AUTO_V1), None));
    assert_eq!((hashes.auto_v2(), testkit::sha256(&counted()).as_str()), (&WHOLE[..10], WHOLE));
    for (hash, is_own) in [
        (AUTO_V1, true),
        (&WHOLE[..10], true),
        (&WHOLE.to_uppercase()[..], true),
        ("7b30b0e", false),
        ("7b30b0e4", false),
    ] {
        assert_eq!(hashes.is_called(hash), is_own, "{hash}");
    }
}

#[test]
fn a_lora_is_called_by_what_follows_its_header_or_by_what_that_says() {
    let made = Made::new();
    let declared = |hash: &str| safetensors(&format!(r#""__metadata__":{{"sshs_model_hash":"{hash}"}},"#));
    for (name, bytes, expected) in [
        ("plain.safetensors", safetensors(""), &OF_FOUR[..12]),
        ("says.safetensors", declared("0123456789ABcdef"), "0123456789ab"),
        ("says-nothing.safetensors", declared("none"), &OF_FOUR[..12]),
        ("of-torch.pt", b"\x80\x02}".to_vec(), &testkit::sha256(b"\x80\x02}")[..12]),
        ("cut.safetensors", safetensors("")[..20].to_vec(), &testkit::sha256(&safetensors("")[..20])[..12]),
        ("empty.safetensors", Vec::new(), &testkit::sha256(b"")[..12]),
    ] {
        put(&made.path(name), &bytes);
        let hashes = made.of(name, SourcePart::Lora);
        assert_eq!((hashes.auto_v3(), hashes.auto_v1()), (Some(expected), None), "{name}");
        assert_eq!(hashes.sha256(), testkit::sha256(&bytes), "{name}");
        assert!(hashes.is_called(expected) && hashes.is_called(hashes.auto_v2()), "{name}");
    }
    // Bytes after the header count wherever the reads are cut.
    let mut long = safetensors("");
    long.extend(vec![7; 5 << 20]);
    put(&made.path("long.safetensors"), &long);
    let body = testkit::sha256(&long[long.len() - (5 << 20) - 4..]);
    assert_eq!(made.of("long.safetensors", SourcePart::Lora).auto_v3(), Some(&body[..12]));
}

#[test]
fn a_file_is_read_once_as_long_as_it_does_not_change() {
    let made = Made::new();
    let path = made.path("model.safetensors");
    put(&path, b"one");
    let first = made.of("model.safetensors", SourcePart::Checkpoint);
    // Other bytes of the same length and time are not looked at, which is how one sees that nothing is read.
    put(&path, b"two");
    let mut heard = Heard::default();
    let again = made.hashing().file(&path, SourcePart::Checkpoint, &mut heard).unwrap();
    assert_eq!((again.hashes.as_ref(), heard.reads), (Some(&first), 0));
    let other = testkit::sha256(b"four");
    put(&path, b"four");
    assert_eq!(made.of("model.safetensors", SourcePart::Checkpoint).sha256(), other);
    // What changed a moment ago is not kept.
    fs::write(&path, b"five").unwrap();
    assert_eq!(made.of("model.safetensors", SourcePart::Checkpoint).sha256(), testkit::sha256(b"five"));
    put(&path, b"four");
    assert_eq!(made.of("model.safetensors", SourcePart::Checkpoint).sha256(), other);
    // Nor is what is kept taken for more than it is.
    let kept = fs::read_dir(made.path("cache/smelt/hashes")).unwrap().next().unwrap().unwrap().path();
    fs::write(kept, r#"{"format": 1, "hashes": {"sha256": "../../x"}}"#).unwrap();
    assert_eq!(made.of("model.safetensors", SourcePart::Checkpoint).sha256(), other);
}

#[test]
fn what_cannot_be_kept_is_said_and_no_error() {
    let made = Made::new();
    put(&made.path("model.ckpt"), b"one");
    put(&made.path("cache"), b"no folder");
    let mut heard = Heard::default();
    let file = made.hashing().file(&made.path("model.ckpt"), SourcePart::Checkpoint, &mut heard).unwrap();
    assert_eq!(file.hashes.unwrap().sha256(), testkit::sha256(b"one"));
    let [warning] = &heard.warnings[..] else { panic!("{:?}", heard.warnings) };
    assert!(warning.contains("model.ckpt are not kept"), "{warning}");
}

#[test]
fn whoever_breaks_off_leaves_nothing_and_what_changes_meanwhile_has_no_hash() {
    let made = Made::new();
    let path = made.path("model.ckpt");
    put(&path, &counted());
    let mut stop = |_: Event<'_>| ControlFlow::Break(());
    let stopped = made.hashing().file(&path, SourcePart::Checkpoint, &mut stop);
    assert!(matches!(stopped, Err(Error::Stopped)) && !made.path("cache").exists());
    let mut change = |_: Event<'_>| {
        fs::write(&path, b"another").unwrap();
        ControlFlow::Continue(())
    };
    let error = made.hashing().file(&path, SourcePart::Checkpoint, &mut change).unwrap_err().to_string();
    assert!(error.contains("changed while it was read") && !made.path("cache").exists(), "{error}");
    assert!(made.hashing().file(made.dir.path(), SourcePart::Checkpoint, &mut Unwatched).is_err());
}

#[test]
fn a_file_that_the_hub_calls_by_its_hash_is_not_read() {
    let made = Made::new();
    let (blob, git) = (made.path(&format!("blobs/{WHOLE}")), made.path(&format!("blobs/{:040}", 1)));
    put(&blob, b"not what it is called");
    put(&git, b"a small file");
    let mut heard = Heard::default();
    let hashed = made.hashing().file(&blob, SourcePart::Checkpoint, &mut heard).unwrap();
    assert_eq!((hashed.hashes.unwrap().sha256(), heard.reads), (WHOLE, 0));
    assert_eq!(made.of(&format!("blobs/{:040}", 1), SourcePart::Vae).sha256(), testkit::sha256(b"a small file"));
}

/// A folder with what a conversion of a checkpoint writes beside a package.
fn packages(made: &Made, checkpoint: &Path, name: &str) -> PathBuf {
    let dir = made.path(name);
    fs::create_dir_all(dir.join("x_unet.mlpackage")).unwrap();
    let bundle =
        Bundle::of_checkpoint(&Checkpoint::open(checkpoint).unwrap(), "demo", &Recommended::default()).unwrap();
    bundle.write(&mut bundle.outputs(&dir, &mut safe_files::Outputs::new()).unwrap(), &mut Unwatched).unwrap();
    dir
}

fn settings(dir: &Path) -> Value {
    serde_json::from_slice(&fs::read(dir.join("smelt.json")).unwrap()).unwrap()
}

fn hashes(dir: &Path, hashing: &Hashing, watch: &mut dyn Watch) -> Result<Vec<SourceFile>> {
    Opening::default().open(dir).unwrap().hashes(hashing, watch)
}

/// A copy of the demo's files.
fn demo(made: &Made) -> PathBuf {
    let copy = made.path("demo");
    for file in ["unet", "vae", "text_encoder", "tokenizer", "scheduler"].map(|name| testkit::demo().join(name)) {
        for entry in fs::read_dir(&file).unwrap() {
            let from = entry.unwrap().path();
            let below = from.strip_prefix(testkit::demo()).unwrap();
            put(&copy.join(below), &fs::read(&from).unwrap());
        }
    }
    copy
}

#[test]
fn packages_name_their_files_and_keep_hashes_when_somebody_asks() {
    let made = Made::new();
    let demo = demo(&made);
    let dir = packages(&made, &demo, "packages");
    let written = fs::read(dir.join("smelt.json")).unwrap();
    assert_eq!(written, fs::read(packages(&made, &testkit::demo(), "others").join("smelt.json")).unwrap());
    let listed = settings(&dir)["sources"].clone();
    let bytes = fs::metadata(demo.join("text_encoder/model.safetensors")).unwrap().len();
    let text = json!({"part": "checkpoint", "file": "text_encoder/model.safetensors", "bytes": bytes});
    assert!(listed.as_array().unwrap().contains(&text) && listed.as_array().unwrap().len() == 3, "{listed}");
    // Nobody knows where they are.
    let mut heard = Heard::default();
    let unknown = hashes(&dir, &made.hashing(), &mut heard).unwrap();
    assert!(unknown.iter().all(|file| file.hashes.is_none()) && heard.reads == 0);
    assert!(heard.warnings[0].contains("--source") && heard.warnings[0].contains("unet/"), "{:?}", heard.warnings);
    assert_eq!(fs::read(dir.join("smelt.json")).unwrap(), written);
    let asked = Hashing { sources: vec![Source::from(&demo)], ..made.hashing() };
    let known = hashes(&dir, &asked, &mut Unwatched).unwrap();
    for file in &known {
        assert_eq!(file.hashes.as_ref().unwrap().sha256(), testkit::sha256(&fs::read(demo.join(&file.file)).unwrap()));
    }
    // Now they stand there, whatever becomes of the files.
    fs::remove_dir_all(&demo).unwrap();
    let mut heard = Heard::default();
    assert_eq!(hashes(&dir, &made.hashing(), &mut heard).unwrap(), known);
    assert_eq!((heard.reads, heard.warnings.len()), (0, 0));
    assert_eq!(Opening::default().open(dir.as_path()).unwrap().known_hashes(None).unwrap(), known);
    // A conversion goes on there, and its bytes are what they were.
    let bundle =
        Bundle::of_checkpoint(&Checkpoint::open(testkit::demo()).unwrap(), "demo", &Recommended::default()).unwrap();
    assert!(bundle.conflicts(&dir).is_empty());
    packages(&made, &testkit::demo(), "packages");
    assert_eq!(fs::read(dir.join("smelt.json")).unwrap(), written);
}

#[test]
fn other_files_than_the_packages_were_made_of_are_refused() {
    let made = Made::new();
    let demo = demo(&made);
    let dir = packages(&made, &demo, "packages");
    #[track_caller]
    fn check(made: &Made, dir: &Path, source: &Path, part: &str) {
        let asked = Hashing { sources: vec![Source::from(source)], ..made.hashing() };
        let error = hashes(dir, &asked, &mut Unwatched).unwrap_err().chain();
        assert!(error.contains(part), "{error}");
    }
    check(&made, &dir, &made.path("packages"), "holds none of the files that smelt.json names");
    put(&demo.join("unet/diffusion_pytorch_model.safetensors"), b"another");
    check(&made, &dir, &demo, "has 7 bytes");
    check(&made, &demo, &demo, "holds no packages");
    for (change, part) in [
        (json!([{"part": "checkpoint", "file": "../x", "bytes": 1}]), "is not the name of a file"),
        (json!([{"part": "checkpoint", "file": "x", "bytes": 1, "hashes": {"sha256": "f00"}}]), "no hash of 64 digits"),
        (json!([]), "convert it anew"),
    ] {
        let mut broken = settings(&dir);
        broken["sources"] = change;
        fs::write(dir.join("smelt.json"), broken.to_string()).unwrap();
        check(&made, &dir, &demo, part);
    }
}

#[test]
fn settings_that_are_write_protected_are_left_with_a_warning() {
    let made = Made::new();
    let demo = demo(&made);
    let dir = packages(&made, &demo, "packages");
    let (file, before) = (dir.join("smelt.json"), settings(&dir));
    let mut permissions = fs::metadata(&file).unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(&file, permissions).unwrap();
    let asked = Hashing { sources: vec![Source::from(&demo)], ..made.hashing() };
    let mut heard = Heard::default();
    let known = hashes(&dir, &asked, &mut heard).unwrap();
    assert!(known.iter().all(|file| file.hashes.is_some()));
    let [warning] = &heard.warnings[..] else { panic!("{:?}", heard.warnings) };
    assert!(warning.contains("not kept in") && warning.contains("smelt.json"), "{warning}");
    assert_eq!(settings(&dir), before);
}

#[test]
fn the_hash_of_a_model_is_that_of_its_one_file() {
    let file = |part, name: &str| SourceFile {
        part,
        file: name.to_owned(),
        bytes: 1,
        hashes: Some(FileHashes::of_sha256(Hex::try_from(WHOLE.to_owned()).unwrap())),
    };
    let (own, lora) = (file(SourcePart::Checkpoint, "v1-5.safetensors"), file(SourcePart::Lora, "x.safetensors"));
    assert_eq!(model_hash(&[own.clone(), lora.clone()]), Some(&WHOLE[..10]));
    assert_eq!(model_hash(&[SourceFile { hashes: None, ..own.clone() }]), None);
    assert_eq!(model_hash(&[own.clone(), own, lora.clone()]), None);
    assert_eq!(model_hash(&[lora]), None);
    assert_eq!(model_hash(&[file(SourcePart::Checkpoint, "unet/model.safetensors")]), None);
}
