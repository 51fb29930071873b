//! Files of PyTorch: the golden ones, and files of our own that are damaged in every way we could think of.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "torch_files/made.rs"]
mod made;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use host_tensor::DType;
use made::{Saved, archive, legacy};
use sd_checkpoint::torch::{self, TorchEntry, TorchFile};
use sd_checkpoint::{Weight, Weights};

fn bytes_of(weight: &Weight) -> Vec<u8> {
    weight.constant().read().bytes().to_vec()
}

fn state(file: &TorchFile) -> Vec<(&str, &Weight)> {
    file.state().unwrap().collect()
}

/// Reads bytes as a file.
fn read(bytes: &[u8]) -> Result<TorchFile, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.ckpt");
    std::fs::write(&path, bytes).unwrap();
    torch::read(&path).map_err(|error| error.to_string())
}

#[track_caller]
fn refuses(bytes: &[u8], words: &str) {
    let error = read(bytes).expect_err("refused");
    assert!(error.contains(words), "{error}");
}

fn single_files() -> Option<PathBuf> {
    Some(testkit::golden()?.join("single-file"))
}

/// Hashes of tensors that single files must give.
fn hashes(golden: &Path, table: &str) -> BTreeSet<String> {
    let json = std::fs::read(golden.join("expected/tables.json")).unwrap();
    let tables: serde_json::Value = serde_json::from_slice(&json).unwrap();
    let components = tables["tables"][table].as_object().unwrap().values();
    components
        .flat_map(|keys| keys.as_object().unwrap().values())
        .map(|row| row["sha256"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_checkpoint_from_before_version_1_6_has_the_tensors_of_the_safetensors_file() {
    let Some(golden) = single_files() else { return };
    let file = torch::read(&golden.join("sd15_legacy.ckpt")).unwrap();
    assert_eq!(file.state_prefix(), "state_dict.");
    assert!(matches!(file.get("global_step"), Some(TorchEntry::Int(1))));
    let expected = testkit::load_safetensors(golden.join("sd15.safetensors"));
    let found = state(&file);
    assert!(found.len() > 400, "{}", found.len());
    for (key, weight) in found {
        let tensor = weight.stored().unwrap_or_else(|| panic!("{key} is no view"));
        if let Some(same) = expected.get(key) {
            assert_eq!((tensor.shape(), tensor.bytes()), (same.shape(), same.bytes()), "{key}");
        }
    }
    let keys: BTreeSet<&str> = state(&file).into_iter().map(|(key, _)| key).collect();
    let missing: Vec<&String> = expected.keys().filter(|key| !keys.contains(key.as_str())).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn tensors_of_zip_files_are_those_that_are_expected() {
    let Some(golden) = single_files() else { return };
    for (name, table, at_least) in
        [("sd15_ema.ckpt", "sd15_ema", 700), ("vae_only.ckpt", "sd15", 100), ("vae_lightning.ckpt", "sd15", 60)]
    {
        let file = torch::read(&golden.join(name)).unwrap();
        let known: BTreeSet<String> = hashes(&golden, table).into_iter().chain(hashes(&golden, "sd15")).collect();
        let found = state(&file);
        assert!(found.len() >= at_least, "{name}: {}", found.len());
        let strange: Vec<&str> = found
            .iter()
            .filter(|(_, weight)| weight.dtype() == DType::F16 && !known.contains(&testkit::sha256(&bytes_of(weight))))
            .map(|(key, _)| *key)
            .collect();
        assert!(strange.iter().all(|key| key.starts_with("loss.")), "{name}: {strange:?}");
    }
}

#[test]
fn a_class_of_another_package_is_a_name_and_nothing_else() {
    let Some(golden) = single_files() else { return };
    let file = torch::read(&golden.join("vae_lightning.ckpt")).unwrap();
    let key = "callbacks.pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint.monitor";
    assert!(matches!(file.get(key), Some(TorchEntry::Text(text)) if text == "val/loss"));
}

#[test]
fn files_that_would_call_something_are_refused_by_its_name() {
    let Some(golden) = single_files() else { return };
    for (name, call) in [("malicious_open.ckpt", "io.open"), ("malicious_system_legacy.ckpt", "posix.system")] {
        let error = torch::read(&golden.join(name)).unwrap_err().to_string();
        assert!(error.contains(&format!("{name}: it would call {call}, which")), "{error}");
        assert!(!Path::new("smelt_pickle_marker").exists());
    }
}

#[test]
fn both_forms_of_our_own_give_the_same_tensors() {
    let saved = Saved::every_kind();
    for bytes in [archive(&saved, false), archive(&saved, true), legacy(&saved)] {
        let file = read(&bytes).unwrap();
        assert_eq!(file.state_prefix(), "state_dict.");
        let text = |key: &str| match file.get(key) {
            Some(TorchEntry::Tensor(weight)) => {
                format!("{} {:?} {:?}", weight.dtype(), weight.shape(), weight.constant().read().to_f32_vec())
            }
            Some(other) => format!("{other:?}"),
            None => "nothing".to_owned(),
        };
        assert_eq!(text("state_dict.plain"), "fp32 [2, 3] [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]");
        assert_eq!(text("state_dict.turned"), "fp32 [3, 2] [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]");
        assert_eq!(text("state_dict.part"), "fp32 [2] [4.0, 5.0]");
        assert_eq!(text("state_dict.parameter"), "fp32 [] [2.0]");
        assert_eq!(text("state_dict.half"), "fp16 [2] [1.0, -2.0]");
        assert_eq!(text("state_dict.brain"), "bf16 [1] [1.0]");
        assert_eq!(text("state_dict.long"), "int64 [1] [7.0]");
        assert_eq!(text("state_dict.eighth"), "fp16 [3] [1.0, 448.0, -1.0]");
        assert_eq!(text("state_dict.again"), "fp32 [2, 3] [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]");
        assert_eq!(text("epoch"), "Int(3)");
        assert_eq!(text("lr"), "Float(0.5)");
        assert_eq!(text("loss"), "Object(\"numpy.core.multiarray.scalar\")");
        assert_eq!(text("complex"), "Unread(\"numbers of torch.ComplexFloatStorage are not read\")");
        // What is not read and not of the state hinders nobody.
        assert_eq!(state(&file).len(), 9);
    }
}

#[test]
fn tensors_in_order_are_views_of_the_file() {
    let file = read(&archive(&Saved::every_kind(), false)).unwrap();
    let stored = |key: &str| match file.get(key) {
        Some(TorchEntry::Tensor(weight)) => weight.stored().map(|tensor| tensor.bytes().as_ptr()),
        _ => None,
    };
    assert_eq!(stored("state_dict.plain"), stored("state_dict.again"));
    assert!(stored("state_dict.plain").is_some() && stored("state_dict.turned").is_none());
}

#[test]
fn a_wrapper_for_several_devices_is_taken_off() {
    let mut saved = Saved::new();
    saved.tensor("module.a.weight", "FloatStorage", &1f32.to_le_bytes(), &[1], &[1]);
    saved.tensor("module.a.bias", "FloatStorage", &2f32.to_le_bytes(), &[1], &[1]);
    let file = read(&archive(&saved, false)).unwrap();
    assert_eq!(state(&file).into_iter().map(|(key, _)| key).collect::<Vec<_>>(), ["a.bias", "a.weight"]);
}

#[test]
fn what_is_wrong_is_named() {
    let of = |add: fn(&mut Saved)| {
        let mut saved = Saved::new();
        add(&mut saved);
        archive(&saved, false)
    };
    refuses(&of(|s| s.raw("a", b"cnt\nsystem\n(X\x01\x00\x00\x00xtR")), "it would call nt.system");
    refuses(&of(|s| s.raw("a", b"(X\x01\x00\x00\x00xios\nsystem\n")), "it would call os.system");
    refuses(&of(|s| s.raw("a", b"cbuiltins\neval\n(X\x01\x00\x00\x00xtR")), "it would call builtins.eval");
    refuses(&of(|s| s.raw("a", b"\x82\x01")), "opcode 0x82");
    refuses(b"\x80\x02}q\x00.", "a Python pickle, but none of PyTorch");
    refuses(b"PK\x03\x04", "the archive is damaged");
    refuses(b"<html>", "HTML");
    refuses(b"GGUF", "no file of PyTorch");
    let state = |saved: &Saved| {
        let file = read(&archive(saved, false)).unwrap();
        file.state().map(drop).unwrap_err().to_string()
    };
    let mut saved = Saved::new();
    saved.tensor("a", "FloatStorage", &[0; 8], &[3], &[1]);
    assert!(state(&saved).contains("tensor a: a view of shape [3]"), "{}", state(&saved));
    let mut saved = Saved::new();
    saved.tensor("a", "FloatStorage", &[0; 8], &[1 << 40, 1 << 40], &[1, 1]);
    assert!(state(&saved).contains("lies outside of its storage"), "{}", state(&saved));
    let mut saved = Saved::new();
    saved.tensor("a", "ComplexFloatStorage", &[0; 8], &[1], &[1]);
    assert!(state(&saved).contains("torch.ComplexFloatStorage are not read"), "{}", state(&saved));
}

#[test]
fn files_within_an_archive_may_not_overlap() {
    let bytes = archive(&Saved::every_kind(), false);
    let text = |name: &str| {
        let mut changed = bytes.clone();
        let at = changed.windows(name.len()).rposition(|window| window == name.as_bytes()).unwrap();
        // The place of its own header, the last of 46 bytes before the name.
        changed[at - 4..at].copy_from_slice(&0u32.to_le_bytes());
        read(&changed).unwrap_err()
    };
    assert!(text("model/data/0").contains("has another name where it lies"), "{}", text("model/data/0"));
    let mut longer = bytes.clone();
    let at = longer.windows(14).rposition(|window| window == b"model/data.pkl").unwrap();
    for field in [at - 26, at - 22] {
        let size = u32::from_le_bytes(longer[field..field + 4].try_into().unwrap());
        longer[field..field + 4].copy_from_slice(&(size + 200).to_le_bytes());
    }
    assert!(read(&longer).unwrap_err().contains("overlap"));
}

#[test]
fn a_file_that_breaks_off_anywhere_is_refused() {
    let saved = Saved::every_kind();
    for bytes in [archive(&saved, false), archive(&saved, true), legacy(&saved)] {
        for n in 0..bytes.len() {
            assert!(read(&bytes[..n]).is_err(), "{n} of {} bytes", bytes.len());
        }
    }
}

#[test]
fn no_bytes_whatever_break_the_reader() {
    let saved = Saved::every_kind();
    let corpus = [archive(&saved, false), archive(&saved, true), legacy(&saved)];
    let corpus: Vec<&[u8]> = corpus.iter().map(Vec::as_slice).collect();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.pt");
    testkit::fuzz::run_for(Duration::from_secs(4), &corpus, |bytes| {
        std::fs::write(&path, bytes).unwrap();
        let Ok(file) = torch::read(&path) else { return };
        for (_, entry) in file.entries() {
            if let TorchEntry::Tensor(weight) = entry {
                drop(weight.constant().read());
            }
        }
    });
}

/// Weights in a folder that has PyTorch's own files only.
#[test]
fn a_component_in_pytorchs_own_files_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let save = |name: &str, key: &str| {
        let mut saved = Saved::new();
        saved.tensor(key, "HalfStorage", &[0, 0x3c], &[1], &[1]);
        std::fs::write(dir.path().join(name), archive(&saved, false)).unwrap();
    };
    save("pytorch_model-00001-of-00002.bin", "a");
    save("pytorch_model-00002-of-00002.bin", "b");
    let index = r#"{"weight_map": {"a": "pytorch_model-00001-of-00002.bin", "b": "pytorch_model-00002-of-00002.bin"}}"#;
    std::fs::write(dir.path().join("pytorch_model.bin.index.json"), index).unwrap();
    let weights = Weights::open(dir.path(), None).unwrap();
    assert_eq!(weights.iter().map(|(key, _)| key).collect::<Vec<_>>(), ["a", "b"]);
    save("diffusion_pytorch_model.fp16.bin", "c");
    let weights = Weights::open(dir.path(), Some("fp16")).unwrap();
    assert_eq!(weights.get("c").unwrap().constant().read().to_f32_vec(), [1.0]);
}
