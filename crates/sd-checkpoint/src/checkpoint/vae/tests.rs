//! Autoencoders in the place of a checkpoint's own.

use std::path::Path;

use safe_files::NamedFiles;
use sd_spec::Role;

use super::*;
use crate::Source;

fn golden(name: &str) -> Option<Checkpoint> {
    Some(Checkpoint::open(testkit::golden()?.join("checkpoints").join(name)).unwrap())
}

#[track_caller]
fn check_same(given: &Checkpoint, from: &Checkpoint) {
    for role in [Role::VaeDecoder, Role::VaeEncoder] {
        assert!(given.has(role));
        assert_eq!(given.config(role).unwrap(), from.config(role).unwrap());
        let (given, from) = (given.weights(role).unwrap(), from.weights(role).unwrap());
        let bytes = |weights: &Weights| -> Vec<(String, Vec<u8>)> {
            weights.iter().map(|(key, weight)| (key.to_owned(), weight.constant().read().bytes().to_vec())).collect()
        };
        assert!(bytes(&given) == bytes(&from), "{role}");
    }
}

#[test]
fn a_checkpoints_vae_or_one_alone_takes_the_place_of_the_own() {
    let Some(own) = golden("mini-sdxl") else { return };
    let Some(other) = golden("tiny-sd15") else { return };
    for source in [other.root().to_owned(), other.root().join("vae")] {
        let given = own.clone().with_vae(&Source::from(source)).unwrap();
        check_same(&given, &other);
        let config = |checkpoint: &Checkpoint| checkpoint.read("vae/config.json", 1 << 20).unwrap();
        assert_eq!(config(&given), config(&other));
        assert_eq!(given.network(Role::UNet).unwrap().facts(), own.network(Role::UNet).unwrap().facts());
        assert!(given.vae_name().is_some() && own.vae_name().is_none());
    }
    // A checkpoint whose index leaves its own out has one afterwards.
    let dir = tempfile::tempdir().unwrap();
    let index = r#"{"unet": ["diffusers", "UNet2DConditionModel"], "vae": [null, null]}"#;
    std::fs::write(dir.path().join("model_index.json"), index).unwrap();
    let without = Checkpoint::open(dir.path()).unwrap();
    assert!(!without.has(Role::VaeDecoder));
    check_same(&without.with_vae(&Source::from(other.root())).unwrap(), &other);
}

#[test]
fn a_vae_in_one_file_keeps_how_latents_are_scaled() {
    let Some(own) = golden("mini-sdxl") else { return };
    let Some(file) = testkit::golden().map(|golden| golden.join("single-file/vae_only.ckpt")) else { return };
    let given = own.clone().with_vae(&Source::from(file.as_path())).unwrap();
    let alone = Checkpoint::open(file.as_path()).unwrap();
    let factor = |checkpoint: &Checkpoint| checkpoint.network(Role::VaeDecoder).unwrap().facts().scaling_factor;
    assert_eq!(factor(&given), factor(&own));
    let first = |checkpoint: &Checkpoint| {
        let weights = checkpoint.weights(Role::VaeDecoder).unwrap();
        weights.get("decoder.conv_in.weight").unwrap().constant().read().bytes().to_vec()
    };
    assert!(first(&given) == first(&alone) && first(&given) != first(&own));
}

#[test]
fn a_vae_alone_under_diffusers_names_is_one_as_its_folder_is() {
    let (Some(own), Some(other)) = (golden("mini-sdxl"), golden("tiny-sd15")) else { return };
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("vae.safetensors");
    let save = |from: &Path| {
        let names = ["diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.fp16.safetensors"];
        let weights = names.iter().map(|name| from.join(name)).find(|path| path.is_file()).unwrap();
        std::fs::write(&file, std::fs::read(weights).unwrap()).unwrap();
    };
    let shapes = |checkpoint: &Checkpoint, role| -> Vec<(String, Vec<usize>)> {
        let weights = checkpoint.weights(role).unwrap();
        weights.iter().map(|(key, weight)| (key.to_owned(), weight.shape())).collect()
    };
    save(&other.root().join("vae"));
    let given = own.clone().with_vae(&Source::from(file.as_path())).unwrap();
    assert_eq!(shapes(&given, Role::VaeEncoder), shapes(&other, Role::VaeEncoder));
    let factor = |checkpoint: &Checkpoint| checkpoint.network(Role::VaeDecoder).unwrap().facts().scaling_factor;
    assert_eq!(factor(&given), factor(&own));
    // TAESD has no such factor, and its configuration is that of its folder.
    let Some(taesd) = testkit::golden().map(|golden| golden.join("checkpoints/tiny-taesd")) else { return };
    let folder = if taesd.join("vae").is_dir() { taesd.join("vae") } else { taesd };
    save(&folder);
    let given = own.clone().with_vae(&Source::from(file.as_path())).unwrap();
    let from = own.with_vae(&Source::from(folder.as_path())).unwrap();
    for role in [Role::VaeDecoder, Role::VaeEncoder] {
        let config = |checkpoint: &Checkpoint| format!("{:?}", checkpoint.network(role).unwrap());
        assert_eq!(config(&given), config(&from));
        assert_eq!(shapes(&given, role), shapes(&from, role));
    }
}

/// A TAESD of golden data in its author's files: the decoder's and the encoder's.
fn authors(taesd: &Path, dir: &Path) -> [std::path::PathBuf; 2] {
    let tensors = testkit::load_safetensors(taesd.join("diffusion_pytorch_model.safetensors"));
    [("decoder.layers.", 1), ("encoder.layers.", 0)].map(|(prefix, offset)| {
        let renamed = tensors.iter().filter_map(|(key, tensor)| {
            let (layer, rest) = key.strip_prefix(prefix)?.split_once('.')?;
            Some((format!("{}.{rest}", layer.parse::<usize>().unwrap() + offset), tensor))
        });
        let views = renamed.map(|(key, tensor)| {
            let dtype = match tensor.dtype() {
                host_tensor::DType::F16 => safetensors::Dtype::F16,
                _ => safetensors::Dtype::F32,
            };
            (key, safetensors::tensor::TensorView::new(dtype, tensor.shape().to_vec(), tensor.bytes()).unwrap())
        });
        let path = dir.join(format!("taesd_{}safetensors", &prefix[..8]));
        safetensors::serialize_to_file(views.collect::<Vec<_>>(), None, &path).unwrap();
        path
    })
}

#[test]
fn taesds_decoder_in_its_authors_file_is_that_of_its_folder() {
    let (Some(own), Some(golden)) = (golden("tiny-sd15"), testkit::golden()) else { return };
    let folder = golden.join("checkpoints/tiny-taesd");
    let dir = tempfile::tempdir().unwrap();
    let [decoder, encoder] = authors(&folder, dir.path());
    let open = |path: &Path| Checkpoint::of_decoder(&Source::from(path), None);
    let (by_folder, by_file) = (open(&folder).unwrap(), open(&decoder).unwrap());
    assert_eq!((by_folder.name(), by_file.name()), ("tiny-taesd".to_owned(), "taesd_decoder".to_owned()));
    let network = |checkpoint: &Checkpoint| format!("{:?}", checkpoint.network(Role::VaeDecoder).unwrap());
    assert_eq!(network(&by_file), network(&by_folder));
    let (there, wanted) = (by_file.weights(Role::VaeDecoder).unwrap(), by_folder.weights(Role::VaeDecoder).unwrap());
    let own_keys = wanted.iter().filter(|(key, _)| key.starts_with("decoder."));
    let mut n = 0;
    for (key, weight) in own_keys {
        assert!(there.get(key).unwrap().constant().read().bytes() == weight.constant().read().bytes(), "{key}");
        n += 1;
    }
    assert_eq!(there.iter().count(), n);
    assert!(by_file.has(Role::VaeDecoder));
    // A checkpoint takes both halves or none.
    let refused = |error: CheckpointError, facts: &[&str]| {
        let error = error.to_string();
        assert!(facts.iter().all(|fact| error.contains(fact)), "{error}");
    };
    let vae = own.clone().with_vae(&Source::from(decoder.as_path())).unwrap_err();
    refused(vae, &["decoder of a TAESD without its encoder", "--taesd takes", "--vae takes"]);
    refused(open(&encoder).unwrap_err(), &["encoder of a TAESD without its decoder", "taesd_decoder"]);
    refused(open(&own.root().join("unet")).unwrap_err(), &["without a VAE", "--taesd takes"]);
}

#[test]
fn what_is_no_vae_or_is_for_other_latents_is_refused() {
    let (Some(own), Some(sd3)) = (golden("tiny-sd15"), golden("tiny-sd3")) else { return };
    let refuse = |checkpoint: &Checkpoint, source: &Path, facts: &[&str]| {
        let error = checkpoint.clone().with_vae(&Source::from(source)).unwrap_err().to_string();
        assert!(facts.iter().all(|fact| error.contains(fact)), "{error}");
    };
    refuse(&own, sd3.root(), &["16 channels", "unet 4", "another family"]);
    refuse(&own, &own.root().join("unet"), &["without a VAE", "--vae takes"]);
    refuse(&own, &own.root().join("unet/config.json"), &["--vae takes"]);
    refuse(&own, Path::new("/no/such/vae"), &["not there", "--vae takes"]);
    let Some(alone) = golden("tiny-controlnet") else { return };
    refuse(&alone, own.root(), &["no effect on one network alone"]);
}
