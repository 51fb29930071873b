//! LoRAs that PyTorch saved: recognised and merged as safetensors files are.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "torch_files/made.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod made;

use std::path::Path;

use made::{Saved, archive, legacy};
use sd_checkpoint::lora::{Fitting, Lora, Strength};
use sd_checkpoint::{Checkpoint, Weights};
use sd_spec::Role;

/// Saves the tensors of a safetensors file as `torch.save` does.
fn saved(path: &Path) -> Saved {
    let mut saved = Saved::new();
    for (name, tensor) in testkit::load_safetensors(path) {
        let mut strides = vec![1; tensor.shape().len()];
        for axis in (1..strides.len()).rev() {
            strides[axis - 1] = strides[axis] * tensor.shape()[axis];
        }
        let class = match tensor.dtype() {
            host_tensor::DType::F16 => "HalfStorage",
            host_tensor::DType::F32 => "FloatStorage",
            other => panic!("{other}"),
        };
        saved.tensor(&name, class, tensor.bytes(), tensor.shape(), &strides);
    }
    saved
}

fn merged(checkpoint: &Checkpoint, lora: &Path) -> Weights {
    let (lora, fitting) = (Lora::open(lora).unwrap(), Fitting::new(checkpoint).unwrap());
    let fitted = fitting.fit(&lora, Strength { denoiser: 0.75, text: 0.75 }).unwrap();
    fitting.refuse_unapplied(&lora, &fitted).unwrap();
    assert!(fitted.n_changed() > 10);
    checkpoint.clone().with(fitted).weights(Role::UNet).unwrap()
}

#[test]
fn files_of_pytorch_merge_as_safetensors_files_do() {
    let Some(golden) = testkit::golden() else { return };
    let checkpoint = Checkpoint::open(golden.join("checkpoints/tiny-sd15")).unwrap();
    let source = golden.join("loras/sd15_kohya.safetensors");
    let (expected, facts) = (merged(&checkpoint, &source), Lora::open(&source).unwrap().facts());
    let (dir, saved) = (tempfile::tempdir().unwrap(), saved(&source));
    for (name, bytes) in [("new.pt", archive(&saved, false)), ("old.bin", legacy(&saved))] {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        assert!(Lora::is_one(&path), "{name}");
        let lora = Lora::open(&path).unwrap();
        let own = lora.facts();
        assert_eq!((own.kinds, own.n_tensors, own.ranks), (facts.kinds.clone(), facts.n_tensors, facts.ranks.clone()));
        let weights = merged(&checkpoint, &path);
        for (key, weight) in expected.iter() {
            let found = weights.get(key).unwrap().constant().read();
            assert!(found.bytes() == weight.constant().read().bytes(), "{name}: {key}");
        }
    }
    // A folder of diffusers from before safetensors.
    std::fs::rename(dir.path().join("old.bin"), dir.path().join("pytorch_lora_weights.bin")).unwrap();
    assert!(Lora::is_one(dir.path()));
    let named = Lora::open(dir.path()).unwrap().name();
    assert_eq!(Some(named.as_str()), dir.path().file_name().unwrap().to_str());
}

#[test]
fn checkpoints_and_refused_pickles_are_no_loras() {
    let Some(golden) = testkit::golden() else { return };
    let files: Vec<_> = std::fs::read_dir(golden.join("single-file")).unwrap().map(|e| e.unwrap().path()).collect();
    let torch = files.iter().filter(|path| path.extension().is_some_and(|e| e == "ckpt" || e == "pt"));
    assert!(torch.clone().count() > 2);
    torch.for_each(|path| assert!(!Lora::is_one(path), "{}", path.display()));
}
