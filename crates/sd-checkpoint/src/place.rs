//! What stands at a path that is not what was expected there, and what to do about it.
//!
//! People have models in many forms. A refusal says which one this is, never only what it is not.

use std::path::{Component, Path, PathBuf};

use safe_files::{FileKind, kind_of};
use serde_json::Value;

use crate::{foreign, hub};

/// What a command needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// The folder of a checkpoint, to be converted.
    Checkpoint,
    /// A folder of packages, or of a checkpoint.
    Model,
    /// One package.
    Package,
    /// One package, or a folder of them.
    Packages,
    /// What makes pictures larger: a file of a network, or its package.
    Upscaler,
}

/// What is there, and the next step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// What the path is: "a Git LFS pointer", "one component, a VAE".
    pub what: String,
    /// What to do, as an imperative.
    pub next: String,
}

/// Bytes of a file that are read to know it.
const HEAD_BYTES: usize = 4096;
/// Largest header of a safetensors file that is read to know it.
const MAX_HEADER_BYTES: u64 = 16 << 20;
/// Folders below a repository that are looked through.
const DEPTH: usize = 3;

impl Place {
    /// Looks at a path that is not what was wanted.
    #[must_use]
    pub fn of(path: &Path, wanted: Wanted) -> Self {
        let next = wanted.next();
        if path.symlink_metadata().is_err() {
            let what = match path.parent().filter(|p| !p.as_os_str().is_empty() && !p.exists()) {
                Some(parent) => format!("not there, and neither is {}", parent.display()),
                None => "not there".to_owned(),
            };
            let next = match named_as_on_the_hub(path).filter(|_| wanted.takes_checkpoints()) {
                Some(name) => format!("a model of the Hub is named hf:{name}; else {next}"),
                None => format!("nothing is downloaded: {next}"),
            };
            return Self { what, next };
        }
        if !path.exists() {
            return Self { what: "a link whose target is not there".to_owned(), next };
        }
        if path.is_dir() { folder(path, wanted) } else { file(path, wanted) }
    }

    fn new(what: impl Into<String>, next: impl Into<String>) -> Self {
        Self { what: what.into(), next: next.into() }
    }
}

/// `owner/name`, where a path is that and no folder of the owner is there.
fn named_as_on_the_hub(path: &Path) -> Option<&str> {
    let parts: Vec<Component<'_>> = path.components().collect();
    let is_name = matches!(parts[..], [Component::Normal(owner), Component::Normal(_)] if !Path::new(owner).exists());
    path.to_str().filter(|_| is_name)
}

impl Wanted {
    fn next(self) -> String {
        match self {
            Self::Checkpoint => {
                "give the folder of a checkpoint in diffusers layout, the one with model_index.json, or one file of a whole \
                 model (.safetensors, .ckpt)"
            }
            Self::Model => {
                "give a folder of packages (made by smelt convert CHECKPOINT -o DIR), a checkpoint's folder, the one with \
                 model_index.json, or one file of a whole model (.safetensors, .ckpt)"
            }
            Self::Package => "give a package, whose name ends with .mlpackage, or with .mlmodelc where it is compiled",
            Self::Packages => {
                "give a package, whose name ends with .mlpackage, or with .mlmodelc where it is compiled, or a folder of them"
            }
            Self::Upscaler => {
                "give an upscaler: a file of ESRGAN or Real-ESRGAN (.pth, .pt, .ckpt, .safetensors), or its package"
            }
        }
        .to_owned()
    }

    pub(crate) const fn takes_checkpoints(self) -> bool {
        matches!(self, Self::Checkpoint | Self::Model | Self::Upscaler)
    }
}

fn folder(path: &Path, wanted: Wanted) -> Place {
    one_model(path, wanted).or_else(|| several_models(path, wanted)).unwrap_or_else(|| other_files(path, wanted))
}

/// A folder that is itself a package, a component or a checkpoint.
fn one_model(path: &Path, wanted: Wanted) -> Option<Place> {
    let has = |name: &str| path.join(name).exists();
    if extension(path) == "mlmodelc" || has("coremldata.bin") {
        return Some(match wanted {
            _ if !has("coremldata.bin") && !has("model.mil") => Place::new(
                "named as a compiled model, but there is no model.mil in it",
                "copy or unpack the model again",
            ),
            Wanted::Checkpoint => Place::new("a compiled model, which is converted already", wanted.next()),
            Wanted::Model => Place::new("one compiled model", "give the folder that holds it and the others"),
            Wanted::Package | Wanted::Packages | Wanted::Upscaler => {
                Place::new("a compiled model whose name does not end with .mlmodelc", "rename it")
            }
        });
    }
    if extension(path) == "aimodel" {
        return Some(Place::new("a model of Apple's Core AI (.aimodel), which is not read", wanted.next()));
    }
    if has("Manifest.json") && has("Data") {
        return Some(match wanted {
            Wanted::Checkpoint => Place::new("one package, which is converted already", wanted.next()),
            Wanted::Model => Place::new("one package", "give the folder that holds it and the others"),
            Wanted::Package | Wanted::Packages | Wanted::Upscaler => {
                Place::new("a package whose name does not end with .mlpackage", "rename it")
            }
        });
    }
    if extension(path) == "mlpackage" {
        return Some(Place::new(
            "named as a package, but there is no Manifest.json in it",
            "copy or unpack the package again",
        ));
    }
    if let Some(place) = component(path, wanted) {
        return Some(place);
    }
    (has("model_index.json") || is_checkpoint(path)).then(|| {
        let shown = path.display();
        let next = format!("convert it first: smelt convert {shown} -o DIR, and give what is then in DIR");
        Place::new("a checkpoint", next)
    })
}

/// A folder that holds packages, compiled models or checkpoints.
fn several_models(path: &Path, wanted: Wanted) -> Option<Place> {
    let packages = named(path, &[".mlpackage", ".mlmodelc"]);
    if !packages.is_empty() {
        return Some(match wanted {
            Wanted::Checkpoint => Place::new("a folder of packages, which are converted already", wanted.next()),
            _ => Place::new("a folder of packages", format!("give one of them: {}", some(&packages))),
        });
    }
    if let Some(name) = hub::repository_name(path) {
        let what = "a repository of the Hub's cache, with nothing in it";
        return Some(Place::new(what, format!("fetch the model again: smelt download hf:{name}")));
    }
    let repositories: Vec<PathBuf> =
        hub::subfolders(path).into_iter().filter(|p| hub::repository_name(p).is_some()).collect();
    if !repositories.is_empty() {
        let next = format!("give one of its models: {}", some(&shorten(&repositories)));
        return Some(Place::new("the Hub's cache", next));
    }
    let bundle = path.join(sd_spec::bundle::FOLDER);
    let models = named(&bundle, &[".mlpackage", ".mlmodelc"]);
    if matches!(wanted, Wanted::Package | Wanted::Packages) && !models.is_empty() {
        let what = format!("a folder whose models are in {}", bundle.display());
        let next = format!("give one of them: {}", some(&models));
        return Some(Place::new(what, if wanted == Wanted::Package { next } else { "give that folder".to_owned() }));
    }
    let below = models_below(path, DEPTH);
    (!below.is_empty()).then(|| {
        let what = "a repository with models in folders below it";
        Place::new(what, format!("give one of these: {}", some(&shorten(&below))))
    })
}

/// Endings of the names of files that hold checkpoints, or tensors of them.
const CHECKPOINTS: [&str; 5] = [".safetensors", ".ckpt", ".pt", ".pth", ".bin"];

/// Whether a path is named as a file that holds a checkpoint, and not as one of another format.
#[must_use]
pub fn is_named_as_checkpoint(path: &Path) -> bool {
    path.extension().is_some_and(|own| CHECKPOINTS.iter().any(|end| own == &end[1..]))
}

/// The names in a folder that end so.
fn named(path: &Path, ends: &[&str]) -> Vec<String> {
    names(path).into_iter().filter(|name| ends.iter().any(|end| name.ends_with(end))).collect()
}

/// A folder without any model that is known.
fn other_files(path: &Path, wanted: Wanted) -> Place {
    let next = wanted.next();
    let onnx = named(path, &[".onnx", ".msgpack", ".xml", ".tflite", ".gguf"]);
    let single = named(path, &CHECKPOINTS);
    if !single.is_empty() {
        let next = if wanted.takes_checkpoints() { "give one of these files".to_owned() } else { next };
        return Place::new(format!("a folder that holds {}, no model in diffusers layout", some(&single)), next);
    }
    if !onnx.is_empty() {
        return Place::new(format!("a folder that holds {}, files of other programs", some(&onnx)), next);
    }
    if names(path).is_empty() {
        return Place::new("an empty folder", next);
    }
    if wanted.takes_checkpoints() {
        let what =
            "neither a checkpoint (no model_index.json, no folder unet, vae or text_encoder) nor a folder of packages";
        return Place::new(what, next);
    }
    Place::new("a folder without a package", next)
}

/// Classes that repositories hold by themselves: what they are in words, and the folder of a checkpoint that they belong to.
const CLASSES: [(&str, &str, Option<&str>); 16] = [
    ("AutoencoderKL", "a VAE", Some("vae")),
    ("AutoencoderTiny", "a TAESD, a small VAE", Some("vae")),
    ("ConsistencyDecoderVAE", "a consistency decoder, which is not read", None),
    ("UNet2DConditionModel", "a UNet", Some("unet")),
    ("ControlNetModel", "a ControlNet", None),
    ("ControlNetXSAdapter", "a ControlNet-XS, which is not converted", None),
    ("T2IAdapter", "a T2I-Adapter, which is not converted", None),
    ("MotionAdapter", "a motion module of AnimateDiff, which is not converted", None),
    ("SD3Transformer2DModel", "the transformer of Stable Diffusion 3", Some("transformer")),
    ("FluxTransformer2DModel", "the transformer of Flux, which is not converted", None),
    ("PriorTransformer", "a prior of unCLIP, which is not converted", None),
    ("CLIPTextModel", "a text encoder", Some("text_encoder")),
    ("CLIPTextModelWithProjection", "a text encoder with a projection", Some("text_encoder_2")),
    ("T5EncoderModel", "a T5 text encoder", Some("text_encoder_3")),
    ("RRDBNet", "an upscaler", None),
    ("StableDiffusionSafetyChecker", "a safety checker", Some("safety_checker")),
];

/// A folder with the configuration of one network at its top.
fn component(path: &Path, wanted: Wanted) -> Option<Place> {
    let json = |name: &str| -> Option<Value> {
        serde_json::from_slice(&safe_files::read(&path.join(name), 1 << 20).ok()?).ok()
    };
    if json("adapter_config.json").is_some() {
        return Some(Place::new(
            "a LoRA (PEFT's adapter_config.json)",
            "give the checkpoint, and this folder with --lora",
        ));
    }
    if let Some(scheduler) = json("scheduler_config.json") {
        let class = scheduler["_class_name"].as_str().unwrap_or("a scheduler").to_owned();
        return Some(Place::new(format!("the folder of a scheduler ({class})"), of_parent(path, wanted)?));
    }
    let config = json("config.json")?;
    let class = config["_class_name"].as_str().or_else(|| config["architectures"][0].as_str())?.to_owned();
    let (words, folder) = CLASSES
        .iter()
        .find(|(name, ..)| *name == class)
        .map_or(("a network that is not known", None), |(_, words, folder)| (*words, *folder));
    let what = format!("one component, {words} ({class}), and no whole checkpoint");
    let next = of_parent(path, wanted).unwrap_or_else(|| match folder {
        Some("vae") if class == "AutoencoderTiny" => {
            "to use it, give a checkpoint, and this with --vae, or with --taesd when pictures are drawn".to_owned()
        }
        Some("vae") => "to use it, give a checkpoint, and this with --vae".to_owned(),
        Some(folder) => format!(
            "to use it, put it into a copy of a checkpoint in place of its folder {folder}, and give that checkpoint"
        ),
        None => wanted.next(),
    });
    Some(Place { what, next })
}

/// What to say when the folder lies in a checkpoint.
fn of_parent(path: &Path, wanted: Wanted) -> Option<String> {
    let real = path.canonicalize().ok()?;
    let parent = real.parent().filter(|p| p.join("model_index.json").is_file() && wanted.takes_checkpoints())?;
    Some(format!("give its checkpoint, {}; --component chooses from it", parent.display()))
}

fn is_checkpoint(path: &Path) -> bool {
    ["unet", "vae", "text_encoder", "transformer"].iter().any(|name| path.join(name).join("config.json").is_file())
}

/// Folders below that hold a checkpoint, packages or compiled models.
fn models_below(path: &Path, depth: usize) -> Vec<PathBuf> {
    let Some(depth) = depth.checked_sub(1) else { return Vec::new() };
    let mut found = Vec::new();
    for folder in hub::subfolders(path) {
        let holds = |end: &str| names(&folder).iter().any(|name| name.ends_with(end));
        if folder.join("model_index.json").is_file() || holds(".mlpackage") || holds(".mlmodelc") {
            found.push(folder);
        } else {
            found.extend(models_below(&folder, depth));
        }
    }
    found
}

fn file(path: &Path, wanted: Wanted) -> Place {
    let next = wanted.next();
    let head = head(path).unwrap_or_default();
    let extension = extension(path);
    match kind_of(&head) {
        Some(kind @ (FileKind::LfsPointer | FileKind::Html | FileKind::Empty | FileKind::Gzip)) => {
            return Place::new(kind.to_string(), next);
        }
        Some(FileKind::Zip) if ["ckpt", "pt", "pth", "bin"].contains(&&*extension) => {
            return Place::new(of_torch(wanted), next);
        }
        Some(kind @ FileKind::Zip) => return Place::new(kind.to_string(), next),
        Some(FileKind::Pickle) => return Place::new(of_torch(wanted), next),
        Some(FileKind::Safetensors) => return safetensors_file(path, wanted),
        _ => {}
    }
    match &*extension {
        "safetensors" => Place::new("named as safetensors, but damaged or cut off", "fetch it again"),
        "ckpt" | "pt" | "pth" | "bin" => Place::new("named as a file of PyTorch, and is none; it may be damaged", next),
        "onnx" => Place::new("an ONNX model, which is not read yet", next),
        "gguf" => Place::new("a GGUF file, weights that other programs quantized, which is not read", next),
        "aimodel" => Place::new("a model of Apple's Core AI (.aimodel), which is not read", next),
        "mlmodel" if wanted.takes_checkpoints() => Place::new("one model of Core ML, which is converted already", next),
        "json" => Place::new("a file of JSON", next),
        "7z" | "rar" | "tar" | "tgz" => Place::new("an archive; unpack it first", next),
        _ => Place::new("a file", next),
    }
}

/// A file of PyTorch in which no network was found, or was looked for.
const fn of_torch(wanted: Wanted) -> &'static str {
    match wanted.takes_checkpoints() {
        true => "a file of PyTorch in which no network is that is known here",
        false => "a file of PyTorch",
    }
}

/// What the keys of a safetensors file say.
fn safetensors_file(path: &Path, wanted: Wanted) -> Place {
    let next = wanted.next();
    let Some(keys) = keys(path) else {
        return Place::new("a safetensors file that is damaged or cut off", "fetch it again");
    };
    let any = |parts: &[&str]| keys.iter().any(|key| parts.iter().any(|part| key.contains(part)));
    if let Some(what) = foreign::tensors(&keys) {
        return Place::new(format!("{what}, which is not converted"), next);
    }
    if any(&["model.diffusion_model.", "cond_stage_model.", "conditioner.embedders."]) {
        let what = "a checkpoint in one file";
        match wanted.takes_checkpoints() {
            true => Place::new(format!("{what}, without what tells a network of it"), "fetch it again"),
            false => Place::new(what, next),
        }
    } else if any(&["lora_unet_", "lora_te", ".lora_down", ".lora_up", ".lora_A", ".lora_B", ".hada_w1", ".lokr_w"]) {
        Place::new("a LoRA", "give the checkpoint, and this file with --lora")
    } else if any(&["control_model.", "controlnet_cond_embedding", "controlnet_"]) {
        Place::new("the weights of a ControlNet", format!("its config.json is needed too: {next}"))
    } else if any(&["emb_params", "string_to_param", "clip_l", "clip_g"]) && keys.len() < 4 {
        Place::new("an embedding (textual inversion)", "give the checkpoint, and this file with --embedding")
    } else if any(&["first_stage_model.", "decoder.conv_in.", "quant_conv."]) {
        Place::new("a file with the weights of a VAE", format!("its config.json is needed too: {next}"))
    } else if any(&["down_blocks.", "text_model.", "vision_model."]) {
        Place::new(
            "the weights of one component",
            format!("its config.json and the other components are needed too: {next}"),
        )
    } else {
        Place::new("a safetensors file that is no model known here", next)
    }
}

fn keys(path: &Path) -> Option<Vec<String>> {
    use std::io::Read;
    let mut file = std::fs::File::open(path).ok()?;
    let mut length = [0; 8];
    file.read_exact(&mut length).ok()?;
    let mut header = Vec::new();
    file.take(u64::from_le_bytes(length).min(MAX_HEADER_BYTES)).read_to_end(&mut header).ok()?;
    let header: serde_json::Map<String, Value> = serde_json::from_slice(&header).ok()?;
    Some(header.into_iter().map(|(key, _)| key).filter(|key| key != "__metadata__").collect())
}

/// What a file is by its first bytes, as far as that is known.
pub(crate) fn kind_of_file(path: &Path) -> Option<FileKind> {
    kind_of(&head(path).ok()?)
}

fn head(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    // A pipe would wait for its writer, and is no model.
    if !path.metadata()?.is_file() {
        return Ok(vec![0]);
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(HEAD_BYTES as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn extension(path: &Path) -> String {
    path.extension().map_or_else(String::new, |e| e.to_string_lossy().to_lowercase())
}

/// Names in a folder that are not hidden, sorted.
fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.retain(|name| !name.starts_with('.'));
    names.sort();
    names
}

fn shorten(paths: &[PathBuf]) -> Vec<String> {
    paths.iter().map(|path| path.display().to_string()).collect()
}

/// A few of a list.
fn some(items: &[String]) -> String {
    const SHOWN: usize = 6;
    let more = if items.len() > SHOWN { format!(" and {} more", items.len() - SHOWN) } else { String::new() };
    format!("{}{more}", items[..items.len().min(SHOWN)].join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn tree(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        dir
    }

    #[track_caller]
    fn check(files: &[(&str, &[u8])], below: &str, wanted: Wanted, what: &str, next: &str) {
        let dir = tree(files);
        let place = Place::of(&dir.path().join(below), wanted);
        assert!(place.what.contains(what), "{place:?} does not say {what:?}");
        assert!(place.next.contains(next), "{place:?} does not say {next:?}");
    }

    fn safetensors(key: &str) -> Vec<u8> {
        let header = format!(r#"{{"{key}":{{"dtype":"F16","shape":[1],"data_offsets":[0,2]}}}}"#);
        [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0, 0]].concat()
    }

    #[test]
    fn folders_are_named_for_what_they_are() {
        let class = |name: &str| format!(r#"{{"_class_name": "{name}"}}"#).into_bytes();
        use Wanted::{Checkpoint, Model, Package, Packages};
        check(&[("config.json", &class("AutoencoderKL"))], "", Checkpoint, "a VAE (AutoencoderKL)", "with --vae");
        check(&[("config.json", &class("CLIPTextModel"))], "", Checkpoint, "a text encoder", "its folder text_encoder");
        check(&[("config.json", &class("ControlNetModel"))], "", Checkpoint, "a ControlNet", "model_index.json");
        check(&[("config.json", &class("AutoencoderTiny"))], "", Model, "a TAESD", "with --taesd");
        let inside: &[(&str, &[u8])] =
            &[("model_index.json", b"{}"), ("unet/config.json", &class("UNet2DConditionModel"))];
        check(inside, "unet", Checkpoint, "a UNet", "give its checkpoint");
        check(inside, "", Package, "a checkpoint", "smelt convert");
        check(&[("Unet.mlmodelc/coremldata.bin", b"x")], "", Package, "a folder of packages", "Unet.mlmodelc");
        check(&[("Unet.mlmodelc/coremldata.bin", b"x")], "Unet.mlmodelc", Model, "one compiled model", "the others");
        check(&[("Unet.mlmodelc/x", b"x")], "Unet.mlmodelc", Package, "no model.mil in it", "unpack the model");
        check(&[("Unet/coremldata.bin", b"x")], "Unet", Package, "does not end with .mlmodelc", "rename it");
        check(&[("original/packages/a.mlpackage/x", b"")], "", Model, "folders below it", "original");
        let bundle: &[(&str, &[u8])] = &[("Resources/Unet.mlmodelc/coremldata.bin", b"x")];
        check(bundle, "", Package, "whose models are in", "one of them: Unet.mlmodelc");
        check(bundle, "", Packages, "whose models are in", "that folder");
        check(&[("v1/model_index.json", b"{}"), ("v2/model_index.json", b"{}")], "", Checkpoint, "below", "v2");
        check(&[("a_unet.mlpackage/x", b"")], "", Checkpoint, "converted already", "model_index.json");
        check(&[("m/Manifest.json", b"{}"), ("m/Data/x", b"")], "m", Package, "does not end with", "rename");
        check(&[("dream.safetensors", &safetensors("x"))], "", Checkpoint, "dream.safetensors", "one of these files");
        check(&[("unet.onnx", b"x")], "", Model, "other programs", "");
        check(&[("models--a--b/snapshots/x/y", b"")], "", Model, "the Hub's cache", "models--a--b");
        check(&[("adapter_config.json", b"{}")], "", Model, "a LoRA", "");
        check(&[("notes.txt", b"x")], "", Checkpoint, "neither a checkpoint", "model_index.json");
        check(&[("empty/x/.keep", b"")], "empty/x", Checkpoint, "an empty folder", "");
        check(&[], "none", Checkpoint, "not there", "nothing is downloaded");
    }

    #[test]
    fn files_are_named_for_what_they_are() {
        use Wanted::{Checkpoint, Packages};
        let lfs = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n";
        check(&[("m.safetensors", lfs)], "m.safetensors", Checkpoint, "Git LFS pointer", "");
        check(&[("m.gguf", b"GGUF")], "m.gguf", Checkpoint, "a GGUF file", "");
        check(&[("m.aimodel/x", b"")], "m.aimodel", Checkpoint, "Core AI", "");
        check(&[("m.zip", b"PK\x03\x04")], "m.zip", Checkpoint, "a zip archive", "");
        check(&[("m.ckpt", b"PK\x03\x04")], "m.ckpt", Checkpoint, "PyTorch", "one file of a whole");
        check(&[("m.ckpt", b"\x80\x02}")], "m.ckpt", Checkpoint, "PyTorch", "one file of a whole");
        check(&[("m.safetensors", b"<!doctype html>")], "m.safetensors", Checkpoint, "HTML", "");
        check(&[("m.safetensors", b"\x10")], "m.safetensors", Checkpoint, "damaged", "fetch it again");
        for (key, what) in [
            ("model.diffusion_model.input_blocks.0.0.weight", "a checkpoint in one file"),
            ("lora_unet_down_blocks_0.lora_down.weight", "a LoRA"),
            ("emb_params", "an embedding"),
            ("control_model.zero_convs.0.0.weight", "a ControlNet"),
            ("ip_adapter.1.to_k_ip.weight", "an IP-Adapter"),
            ("model.diffusion_model.double_blocks.0.img_attn.qkv.weight", "the transformer of FLUX"),
            ("transformer_blocks.0.img_mod.1.weight", "Qwen-Image"),
            ("noise_refiner.0.attention.qkv.weight", "Z-Image"),
            ("down_blocks.0.resnets.0.conv1.weight", "one component"),
            ("x", "no model known"),
        ] {
            check(&[("m.safetensors", &safetensors(key))], "m.safetensors", Packages, what, "");
        }
    }
}
