//! Models in one file: what they compute, against PyTorch, and their packages, which are those of a folder of diffusers with
//! the same tensors.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use host_tensor::{HostTensor, Stop};
use mil_engine::reference::{Options as EngineOptions, Reference};
use mlpackage::Existing;
use sd_checkpoint::place::Wanted;
use sd_checkpoint::{Averages, Reading};
use sd_convert::{Checkpoint, LatentSize, Options, Precision, Role, convert};
use testkit::{load_safetensors, psnr};

fn single(golden: &Path, file: &str, config: &Path, averages: Averages) -> Checkpoint {
    let reading = Reading { config: Some(golden.join(config).into()), averages, ..Reading::default() };
    Checkpoint::open_with(golden.join("single-file").join(file), Wanted::Checkpoint, &reading).unwrap()
}

/// Least agreement of the outputs of a role's network with PyTorch's, in dB.
fn worst_psnr(checkpoint: &Checkpoint, role: Role, reference: &Path) -> f64 {
    let tensors = load_safetensors(reference);
    let of = |prefix: &str| -> BTreeMap<String, HostTensor> {
        tensors.iter().filter_map(|(name, t)| Some((name.strip_prefix(prefix)?.to_owned(), t.clone()))).collect()
    };
    let (inputs, expected) = (of("in."), of("out."));
    // The autoencoder's pictures have a size of their own.
    let side = inputs.get("x").map(|x| x.shape()[2] / 2);
    let latent_size = side.map(|side| LatentSize { height: side, width: side });
    let options = Options { precision: Some(Precision::Float32), latent_size, ..Options::default() };
    let program = convert(checkpoint, role, &options).unwrap().program;
    let engine = Reference::compile(mil::validate(&program).unwrap(), EngineOptions::default()).unwrap();
    let outputs = engine.run(&inputs, &Stop::never()).unwrap();
    assert!(!outputs.is_empty());
    let agreement = |(name, got): (&String, &HostTensor)| {
        let want = &expected[name];
        assert_eq!(got.shape(), want.shape(), "{name}");
        psnr(&want.to_f32_vec(), &got.to_f32_vec())
    };
    outputs.iter().map(agreement).fold(f64::INFINITY, f64::min)
}

#[test]
fn networks_of_single_files_match_pytorch() {
    let Some(golden) = testkit::golden() else { return };
    const ENCODERS: [Role; 2] = [Role::TextEncoder, Role::TextEncoder2];
    for (file, config, averages, expected) in [
        ("sd15.safetensors", "sd15", Averages::LeftAside, "sd15"),
        ("sd15_legacy.ckpt", "sd15", Averages::LeftAside, "sd15"),
        ("sd15_ema.ckpt", "sd15", Averages::LeftAside, "sd15"),
        ("sd15_ema.ckpt", "sd15", Averages::Taken, "sd15_ema"),
        ("sdxl.safetensors", "sdxl", Averages::LeftAside, "sdxl"),
    ] {
        let checkpoint = single(&golden, file, &Path::new("single-file/config").join(config), averages);
        let mut n = 0;
        for role in [Role::UNet, Role::VaeDecoder, Role::VaeEncoder].into_iter().chain(ENCODERS) {
            let name = role.name().replace('-', "_");
            let reference = golden.join(format!("single-file/expected/{expected}/{name}.safetensors"));
            if !reference.is_file() {
                continue;
            }
            let db = worst_psnr(&checkpoint, role, &reference);
            assert!(db >= 80.0, "{role} of {file}: {db:.1} dB");
            n += 1;
        }
        assert_eq!(n, if averages == Averages::Taken { 1 } else { 4 + usize::from(config == "sdxl") }, "{file}");
    }
}

/// Every file below a folder, by its place in it.
fn tree(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.insert(path.strip_prefix(root).unwrap().to_owned(), std::fs::read(&path).unwrap());
            }
        }
    }
    files
}

fn copy(from: &Path, to: &Path) {
    for (name, bytes) in tree(from) {
        std::fs::create_dir_all(to.join(&name).parent().unwrap()).unwrap();
        std::fs::write(to.join(name), bytes).unwrap();
    }
}

/// Writes a network's tensors as diffusers saves them.
fn save(checkpoint: &Checkpoint, role: Role, folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    let weights = checkpoint.weights(role).unwrap();
    let read: Vec<(String, HostTensor)> =
        weights.iter().map(|(key, weight)| (key.to_owned(), weight.constant().read())).collect();
    let views = read.iter().map(|(key, tensor)| {
        assert_eq!(tensor.dtype(), host_tensor::DType::F16);
        let view =
            safetensors::tensor::TensorView::new(safetensors::Dtype::F16, tensor.shape().to_vec(), tensor.bytes());
        (key.clone(), view.unwrap())
    });
    safetensors::serialize_to_file(views, None, &folder.join("model.safetensors")).unwrap();
}

fn package(checkpoint: &Checkpoint, role: Role, to: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let latent_size = (role == Role::ControlNet).then_some(LatentSize { height: 8, width: 8 });
    let options = Options { model_version: Some("same".to_owned()), latent_size, ..Options::default() };
    convert(checkpoint, role, &options).unwrap().write(to, Existing::Refuse, &mut |_| {}).unwrap();
    tree(to)
}

#[track_caller]
fn check_packages(one: &Checkpoint, folder: &Checkpoint, roles: &[Role]) {
    let dir = tempfile::tempdir().unwrap();
    for &role in roles {
        let of_file = package(one, role, &dir.path().join(format!("{role}-a.mlpackage")));
        let of_folder = package(folder, role, &dir.path().join(format!("{role}-b.mlpackage")));
        assert!(of_file.len() >= 3, "{role}: {:?}", of_file.keys());
        assert!(of_file == of_folder, "{role} of {}", one.name());
    }
}

#[test]
fn packages_are_those_of_a_folder_with_the_same_tensors() {
    let Some(golden) = testkit::golden() else { return };
    for (file, config) in [
        ("sd15.safetensors", "sd15"),
        ("sd15_legacy.ckpt", "sd15"),
        ("sdxl.safetensors", "sdxl"),
        ("controlnet.safetensors", "controlnet"),
    ] {
        let config = Path::new("single-file/config").join(config);
        let one = single(&golden, file, &config, Averages::LeftAside);
        let dir = tempfile::tempdir().unwrap();
        copy(&golden.join(&config), dir.path());
        for role in one.roles() {
            let alone = role.spec().stands_alone;
            save(&one, role, &if alone { dir.path().to_owned() } else { dir.path().join(role.spec().folder) });
        }
        let folder = Checkpoint::open(dir.path()).unwrap();
        assert_eq!((folder.family(), folder.roles()), (one.family(), one.roles()), "{file}");
        check_packages(&one, &folder, &one.roles());
    }
}

#[test]
fn packages_of_stable_diffusion_3_are_those_of_the_folders_it_was_made_of() {
    let Some(golden) = testkit::golden() else { return };
    for (config, roles) in
        [("tiny-sd35-medium", &[Role::Mmdit][..]), ("tiny-sd3", &[Role::VaeDecoder, Role::VaeEncoder])]
    {
        let config = Path::new("checkpoints").join(config);
        let one = single(&golden, "sd3_no_encoders.safetensors", &config, Averages::LeftAside);
        assert_eq!(one.roles(), [Role::Mmdit, Role::VaeDecoder, Role::VaeEncoder]);
        check_packages(&one, &Checkpoint::open(golden.join(config)).unwrap(), roles);
    }
}

#[test]
fn a_network_that_lacks_tensors_is_refused_by_the_names_of_the_file() {
    let Some(golden) = testkit::golden() else { return };
    let vae = Path::new("single-file/config/sd15/vae");
    let checkpoint = single(&golden, "vae_lightning.ckpt", vae, Averages::LeftAside);
    let error = sd_convert::check(&checkpoint, Role::VaeDecoder, &Options::default()).unwrap_err().to_string();
    assert!(error.contains("vae_lightning.ckpt") && error.contains("missing: "), "{error}");
}
