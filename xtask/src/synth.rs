//! `cargo xtask synth`: a checkpoint of real shape with random weights, in diffusers layout.
//!
//! For benchmarks and tests that need the size of a real model and not its pictures.
//! Names, shapes and configurations are those that diffusers and transformers write; nothing is downloaded.
//! Weights are drawn per block of a tensor from (seed, name, block), so that the same arguments give the same
//! bytes on any number of threads.

mod clip;
mod control_net;
mod lora;
mod mmdit;
mod pipeline;
mod presets;
mod stream;
mod t5;
mod tensors;
mod tiny_vae;
mod tokenizer;
mod unet;
mod vae;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context, Result, bail, ensure};
use sd_spec::Role;
use serde_json::Value;

pub(crate) use self::{
    lora::{ensure_lora, n_trained},
    presets::PresetName,
};
use self::{
    pipeline::feature_extractor,
    presets::{Network, Preset},
    stream::{Dtype, write_safetensors},
    tensors::TensorSpec,
};

/// Arguments of `cargo xtask synth`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Which model's shape.
    #[arg(long)]
    preset: PresetName,
    /// Where the checkpoint goes; must not exist.
    #[arg(short, long)]
    output: PathBuf,
    /// Seed of all weights.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Type of all weights.
    #[arg(long, default_value = "f16")]
    dtype: Dtype,
    /// Only the networks of these components, as `smelt convert` names them; default: all.
    #[arg(long = "component", value_name = "NAME,…", value_delimiter = ',', value_parser = role)]
    components: Vec<Role>,
}

/// A component by the name that `smelt convert` has for it.
pub(crate) fn role(name: &str) -> Result<Role> {
    let known = || Role::ALL.map(Role::name).join(", ");
    Role::ALL.into_iter().find(|role| role.name() == name).with_context(|| format!("components are {}", known()))
}

/// Writes the checkpoint and says what was written.
#[allow(clippy::print_stdout, reason = "a command reports on standard output")]
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let start = Instant::now();
    let Arguments { preset, output, seed, dtype, components } = arguments;
    let n_parameters = write_checkpoint(*preset, components, output, *seed, *dtype)?;
    println!(
        "{}: {n_parameters} parameters as {} in {:.1} s",
        output.display(),
        dtype.torch_name(),
        start.elapsed().as_secs_f64()
    );
    Ok(())
}

/// Writes a checkpoint in f16 unless it is there already.
pub(crate) fn ensure_checkpoint(preset: PresetName, output: &Path, seed: u64) -> Result<()> {
    ensure_components(preset, &[], output, seed)
}

/// Writes a checkpoint with these components' networks only, all without any, in f16 unless it is there already.
pub(crate) fn ensure_components(preset: PresetName, components: &[Role], output: &Path, seed: u64) -> Result<()> {
    if !output.is_dir() {
        write_checkpoint(preset, components, output, seed, Dtype::F16)?;
    }
    Ok(())
}

/// The layers with a matrix or a kernel that a preset's network has, each with its number of weights.
pub(crate) fn layers(preset: PresetName, folder: &str) -> Vec<(String, usize)> {
    let networks = Preset::new(preset).networks;
    let tensors = networks.iter().filter(|(name, _)| *name == folder).flat_map(|(_, network)| network.tensors());
    let matrices = tensors.filter(|tensor| tensor.shape.len() > 1);
    matrices.filter_map(|t| Some((t.name.strip_suffix(".weight")?.to_owned(), t.n_elements()))).collect()
}

/// Writes a safetensors file of normal numbers in f16: names, shapes, means and standard deviations.
pub(crate) fn write_normal(path: &Path, tensors: &[(&str, &[usize], f32, f32)], seed: u64) -> Result<()> {
    let spec = |&(name, shape, mean, std): &(&str, &[usize], f32, f32)| TensorSpec {
        name: name.to_owned(),
        shape: shape.to_vec(),
        mean,
        std,
    };
    write_safetensors(path, tensors.iter().map(spec).collect(), "", seed, Dtype::F16)?;
    Ok(())
}

/// Writes the whole checkpoint beside `output` and renames it; returns the number of parameters.
fn write_checkpoint(name: PresetName, components: &[Role], output: &Path, seed: u64, dtype: Dtype) -> Result<u64> {
    ensure!(!output.exists(), "{} exists already", output.display());
    let preset = Preset::new(name);
    if let Some(role) = components.iter().find(|role| !preset.has(role.spec().folder)) {
        bail!("{} has no {}", name.name(), role.name());
    }
    let mut partial = output.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    if partial.exists() {
        fs::remove_dir_all(&partial).with_context(|| format!("cannot remove {}", partial.display()))?;
    }
    let n_parameters = Writer { root: &partial, components, seed, dtype }.checkpoint(&preset)?;
    fs::rename(&partial, output).with_context(|| format!("cannot rename to {}", output.display()))?;
    Ok(n_parameters)
}

struct Writer<'a> {
    root: &'a Path,
    /// Whose networks are written; all without any.
    components: &'a [Role],
    seed: u64,
    dtype: Dtype,
}

impl Writer<'_> {
    fn checkpoint(&self, preset: &Preset) -> Result<u64> {
        let mut n_parameters = 0;
        // What is left out is named in `model_index.json` all the same, as in a download of some folders.
        for (folder, network) in preset.networks.iter().filter(|(folder, _)| self.is_wanted(folder)) {
            n_parameters += self.network(folder, network.as_ref())?;
        }
        for (folder, tokenizer) in &preset.tokenizers {
            tokenizer.write(&self.folder(folder)?)?;
        }
        if let Some(scheduler) = preset.scheduler {
            write_json(&self.folder("scheduler")?.join("scheduler_config.json"), scheduler.config())?;
        }
        if let Some(pipeline) = preset.pipeline {
            if pipeline.has_feature_extractor() {
                write_json(&self.folder("feature_extractor")?.join("preprocessor_config.json"), feature_extractor())?;
            }
            write_json(&self.root.join("model_index.json"), pipeline.model_index(preset))?;
        }
        Ok(n_parameters)
    }

    fn is_wanted(&self, folder: &str) -> bool {
        self.components.is_empty() || self.components.iter().any(|role| role.spec().folder == folder)
    }

    /// Writes one component's configuration and weights.
    fn network(&self, folder: &str, network: &dyn Network) -> Result<u64> {
        let dir = self.folder(folder)?;
        write_json(&dir.join("config.json"), network.config(self.dtype.torch_name()))?;
        let path = dir.join(format!("{}.safetensors", network.class().0.weights()));
        write_safetensors(&path, network.tensors(), folder, self.seed, self.dtype)
    }

    fn folder(&self, name: &str) -> Result<PathBuf> {
        let dir = self.root.join(name);
        fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        Ok(dir)
    }
}

/// As diffusers writes JSON: sorted keys, two spaces, a last newline.
fn write_json(path: &Path, mut value: Value) -> Result<()> {
    value.sort_all_objects();
    let text = serde_json::to_string_pretty(&value)? + "\n";
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use testkit::load_safetensors;

    use super::*;

    const FILES: [&str; 4] =
        ["text_encoder/model", "safety_checker/model", "vae/diffusion_pytorch_model", "unet/diffusion_pytorch_model"];

    fn tiny(dtype: Dtype, seed: u64) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("temporary directory");
        let checkpoint = dir.path().join("tiny");
        write_checkpoint(PresetName::Tiny, &[], &checkpoint, seed, dtype).expect("checkpoint");
        (dir, checkpoint)
    }

    #[test]
    fn tiny_has_exactly_the_tensors_and_configs_of_the_golden_checkpoint() {
        let Some(golden) = testkit::golden() else { return };
        let golden = golden.join("checkpoints/tiny-sd15");
        let (_dir, ours) = tiny(Dtype::F32, 1);
        let shapes = |root: &Path, file: &str| -> BTreeMap<String, Vec<usize>> {
            let tensors = load_safetensors(root.join(format!("{file}.safetensors")));
            tensors.into_iter().map(|(name, tensor)| (name, tensor.shape().to_vec())).collect()
        };
        for file in FILES {
            assert_eq!(shapes(&ours, file), shapes(&golden, file), "{file}");
        }
        for file in [
            "model_index.json",
            "unet/config.json",
            "vae/config.json",
            "text_encoder/config.json",
            "safety_checker/config.json",
            "scheduler/scheduler_config.json",
            "feature_extractor/preprocessor_config.json",
            "tokenizer/tokenizer_config.json",
            "tokenizer/special_tokens_map.json",
            "tokenizer/vocab.json",
        ] {
            let read = |root: &Path| -> Value {
                let mut json: Value =
                    serde_json::from_slice(&fs::read(root.join(file)).expect(file)).expect("valid JSON");
                if let Some(object) = json.as_object_mut() {
                    object.remove("torch_dtype");
                }
                json
            };
            assert_eq!(read(&ours), read(&golden), "{file}");
        }
        let merges = |root: &Path| fs::read(root.join("tokenizer/merges.txt")).expect("merges.txt");
        assert_eq!(merges(&ours), merges(&golden));
    }

    /// What a preset's networks are made of: folder, then key, then shape.
    fn shapes(preset: PresetName) -> BTreeMap<String, BTreeMap<String, Vec<usize>>> {
        let of = |network: &dyn Network| network.tensors().into_iter().map(|t| (t.name, t.shape)).collect();
        let networks = Preset::new(preset).networks;
        networks.iter().map(|(folder, network)| ((*folder).to_owned(), of(network.as_ref()))).collect()
    }

    #[test]
    fn real_presets_have_the_published_numbers_of_parameters() {
        let check = |name, folder: &str, n: usize| {
            let count: usize = shapes(name)[folder].values().map(|shape| shape.iter().product::<usize>()).sum();
            assert_eq!(count, n, "{name:?} {folder}");
        };
        for (name, text_encoder, unet) in
            [(PresetName::Sd15, 123_060_480, 859_520_964), (PresetName::Sd21, 340_387_840, 865_910_724)]
        {
            check(name, "text_encoder", text_encoder);
            check(name, "unet", unet);
            check(name, "vae", 83_653_863);
        }
        check(PresetName::Sd15, "safety_checker", 303_981_588);
        check(PresetName::Sdxl, "text_encoder", 123_060_480);
        check(PresetName::Sdxl, "text_encoder_2", 694_659_840);
        check(PresetName::Sdxl, "unet", 2_567_463_684);
        check(PresetName::Controlnet, "", 361_279_120);
        check(PresetName::Sd3Medium, "text_encoder", 123_650_304);
        check(PresetName::Sd3Medium, "text_encoder_3", 4_762_310_656);
        check(PresetName::Sd3Medium, "vae", 83_819_683);
    }

    /// Keys and shapes of the real models, as diffusers' converters of single files make them.
    #[test]
    fn real_presets_have_exactly_the_tensors_that_diffusers_makes_of_the_real_files() {
        let Some(golden) = testkit::golden() else { return };
        for (name, layout) in [
            (PresetName::Sd15, "sd15"),
            (PresetName::Sd21, "sd21"),
            (PresetName::Sdxl, "sdxl-base"),
            (PresetName::SdxlRefiner, "sdxl-refiner"),
            (PresetName::Sd3Medium, "sd3-medium"),
            (PresetName::Controlnet, "controlnet-sd15"),
        ] {
            let path = golden.join(format!("single-file/layouts/{layout}.json.gz"));
            let file = fs::File::open(path).expect(layout);
            let table: Value = serde_json::from_reader(flate2::read::GzDecoder::new(file)).expect("valid JSON");
            let mut wanted: BTreeMap<String, BTreeMap<String, Vec<usize>>> = BTreeMap::new();
            // What a file lacks and diffusers makes up stands in a list of its own.
            let lists = ["rows", "computed"].map(|list| table[list].as_array().map_or(&[][..], Vec::as_slice));
            assert!(!lists[0].is_empty(), "{layout} has no rows");
            for row in lists.concat() {
                let text = |key: &str| row[key].as_str().expect(key).to_owned();
                let folder = text("component").replace("controlnet", "");
                let shape = serde_json::from_value(row["shape"].clone()).expect("a shape");
                wanted.entry(folder).or_default().insert(text("key"), shape);
            }
            let mut ours = shapes(name);
            // Single files do not have it.
            ours.remove("safety_checker");
            for (folder, tensors) in &wanted {
                for (key, shape) in tensors {
                    assert_eq!(ours[folder].get(key), Some(shape), "{layout} {folder} {key}");
                }
            }
            assert_eq!(ours, wanted, "{layout}");
        }
    }

    #[test]
    fn taesd_has_the_published_number_of_parameters_and_the_keys_of_the_golden_one() {
        let ours = shapes(PresetName::Taesd).remove("").expect("a network of its own");
        let n = |half: &str| -> usize {
            let own = ours.iter().filter(|(key, _)| key.starts_with(half));
            own.map(|(_, shape)| shape.iter().product::<usize>()).sum()
        };
        // madebyollin/taesd: 1.22 million each.
        assert_eq!((n("encoder."), n("decoder.")), (1_222_532, 1_222_531));
        let Some(golden) = testkit::golden() else { return };
        let tiny = load_safetensors(golden.join("checkpoints/tiny-taesd/diffusion_pytorch_model.safetensors"));
        assert!(tiny.keys().eq(ours.keys()));
    }

    #[test]
    fn inpainting_takes_nine_channels_and_is_else_the_same() {
        let mut ours = shapes(PresetName::Sd15Inpaint);
        let conv_in = ours.get_mut("unet").and_then(|unet| unet.get_mut("conv_in.weight")).expect("conv_in.weight");
        assert_eq!(*conv_in, [320, 9, 3, 3]);
        conv_in[1] = 4;
        assert_eq!(ours, shapes(PresetName::Sd15));
    }

    #[test]
    fn equal_seeds_give_equal_bytes_and_others_do_not() {
        let file = "unet/diffusion_pytorch_model.safetensors";
        let weights = |seed| {
            let (_dir, checkpoint) = tiny(Dtype::F16, seed);
            fs::read(checkpoint.join(file)).expect(file)
        };
        let first = weights(5);
        assert!(first == weights(5));
        assert!(first != weights(6));
    }

    #[test]
    fn weights_are_finite_and_scaled_by_fan_in_in_every_dtype() {
        for dtype in [Dtype::F16, Dtype::BF16, Dtype::F32] {
            let (_dir, checkpoint) = tiny(dtype, 3);
            for file in FILES {
                for (name, tensor) in load_safetensors(checkpoint.join(format!("{file}.safetensors"))) {
                    assert!(tensor.to_f32_vec().iter().all(|x| x.is_finite()), "{file} {name}");
                }
            }
            let unet = load_safetensors(checkpoint.join("unet/diffusion_pytorch_model.safetensors"));
            let weight = unet["mid_block.resnets.0.conv1.weight"].to_f32_vec();
            let n = weight.len() as f64;
            let mean = weight.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
            let variance = weight.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / n;
            let fan_in = 128.0 * 9.0;
            assert!((variance * fan_in - 1.0).abs() < 0.02 && mean.abs() < 1e-3, "{dtype:?} {variance} {mean}");
        }
    }

    #[test]
    fn an_existing_output_is_left_alone() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let fault = write_checkpoint(PresetName::Tiny, &[], dir.path(), 0, Dtype::F16).expect_err("it exists");
        assert!(fault.to_string().contains("exists already"), "{fault}");
        assert_eq!(fs::read_dir(dir.path()).expect("readable").count(), 0);
    }

    #[test]
    fn components_that_were_not_asked_for_are_left_out_and_strangers_refused() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let write = |components: &[Role], name: &str| {
            write_checkpoint(PresetName::Tiny, components, &dir.path().join(name), 0, Dtype::F16)
        };
        let n_all = write(&[], "all").expect("checkpoint");
        let n_text = write(&[Role::TextEncoder], "text").expect("checkpoint");
        assert!(n_text < n_all, "{n_text} {n_all}");
        let is_there = |file: &str| dir.path().join("text").join(file).exists();
        assert!(is_there("text_encoder/model.safetensors") && is_there("tokenizer/vocab.json"));
        assert!(!is_there("unet") && !is_there("vae"));
        let fault = write(&[Role::Mmdit], "none").expect_err("a transformer");
        assert_eq!(fault.to_string(), "tiny has no mmdit");
        assert!(!dir.path().join("none.partial").exists());
    }
}
