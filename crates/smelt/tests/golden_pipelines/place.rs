//! The folder of a checkpoint that a recorded run was drawn with, put together from where its parts lie.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::case::Case;

/// Makes a folder with the parts of a case's checkpoint.
pub(super) fn checkpoint(golden: &Path, case: &Case, dir: &Path) -> PathBuf {
    let checkpoints = golden.join("checkpoints");
    let place = dir.join("checkpoint");
    let words: Vec<&str> = case.checkpoint.split(" + ").collect();
    match words[0] {
        "pico-sd3 (+ tiny-sd15 and tiny-sdxl text encoders)" => pico_sd3(&checkpoints, &place),
        base => whole(&checkpoints, base.split("_two-").next().unwrap(), &place),
    }
    if case.name.contains("no_t5") {
        for folder in ["text_encoder_3", "tokenizer_3"] {
            fs::remove_dir_all(place.join(folder)).unwrap();
            name_in_index(&place, folder, Value::Null, Value::Null);
        }
    }
    for word in words.iter().skip(1).filter(|word| word.ends_with("/unet")) {
        take(&checkpoints.join(word), &place.join("unet"));
    }
    if let Some((class, config)) = &case.scheduler {
        let mut config = config.clone();
        config.insert("_class_name".into(), Value::from(class.as_str()));
        let folder = place.join("scheduler");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("scheduler_config.json"), Value::Object(config).to_string()).unwrap();
        name_in_index(&place, "scheduler", "diffusers", class.as_str());
    }
    place
}

/// The ControlNets of a case, in order.
pub(super) fn control_nets(golden: &Path, case: &Case) -> Vec<PathBuf> {
    if !case.pipeline.contains("ControlNet") {
        return Vec::new();
    }
    let named = match case.checkpoint.as_str() {
        "mini-sdxl-controlnet" => vec!["mini-sdxl-controlnet"],
        "tiny-sd15_two-controlnets" => vec!["tiny-controlnet", "tiny-sd15-controlnet-b"],
        words => words.split(" + ").last().unwrap().split(", ").filter(|name| name.contains("-c")).collect(),
    };
    named.into_iter().map(|name| golden.join("checkpoints").join(name)).collect()
}

/// A whole checkpoint, with what `assemble.json` says is another's.
fn whole(checkpoints: &Path, name: &str, place: &Path) {
    let name = if name == "mini-sdxl-controlnet" { "mini-sdxl" } else { name };
    take(&checkpoints.join(name), place);
    let assemble = fs::read_to_string(checkpoints.join("assemble.json")).unwrap();
    let assemble: Value = serde_json::from_str(&assemble).unwrap();
    for (to, from) in assemble[name].as_object().into_iter().flatten() {
        let from = from.as_str().unwrap();
        take(&checkpoints.join(from), &place.join(to));
        // What is taken may itself be put together.
        let (other, folder) = from.split_once('/').unwrap();
        for (name, from) in assemble[other].as_object().into_iter().flatten() {
            if let Some(rest) = name.strip_prefix(folder).filter(|rest| rest.starts_with('/')) {
                take(&checkpoints.join(from.as_str().unwrap()), &place.join(format!("{to}{rest}")));
            }
        }
    }
}

/// Stable Diffusion 3 without T5, of the text encoders of two others.
fn pico_sd3(checkpoints: &Path, place: &Path) {
    take(&checkpoints.join("pico-sd3"), place);
    take(&checkpoints.join("tiny-sd15/text_encoder"), &place.join("text_encoder"));
    add_projection(checkpoints, &place.join("text_encoder"));
    take(&checkpoints.join("tiny-sdxl/text_encoder_2"), &place.join("text_encoder_2"));
    take(&checkpoints.join("tiny-sdxl/tokenizer"), &place.join("tokenizer"));
    take(&checkpoints.join("tiny-sdxl/tokenizer_2"), &place.join("tokenizer_2"));
    let index =
        r#"{"_class_name": "StableDiffusion3Pipeline", "text_encoder_3": [null, null], "tokenizer_3": [null, null]}"#;
    fs::write(place.join("model_index.json"), index).unwrap();
    for (part, library, class) in [
        ("text_encoder", "transformers", "CLIPTextModelWithProjection"),
        ("text_encoder_2", "transformers", "CLIPTextModelWithProjection"),
        ("tokenizer", "transformers", "CLIPTokenizer"),
        ("tokenizer_2", "transformers", "CLIPTokenizer"),
        ("transformer", "diffusers", "SD3Transformer2DModel"),
        ("vae", "diffusers", "AutoencoderKL"),
    ] {
        name_in_index(place, part, library, class);
    }
}

/// Gives the first text encoder the projection of its pooled embedding.
fn add_projection(checkpoints: &Path, folder: &Path) {
    let path = folder.join("model.safetensors");
    // Copies of golden files are write-protected, as those are.
    let unprotected = folder.join("unprotected.safetensors");
    let mut tensors = testkit::load_safetensors(&path);
    tensors.extend(testkit::load_safetensors(checkpoints.join("pico-sd3/text_projection.safetensors")));
    let mut outputs = safe_files::Outputs::new();
    smelt::tensor_file::write(&outputs.file("the encoder", &unprotected).unwrap(), &tensors, &mut smelt::Unwatched)
        .unwrap();
    fs::rename(unprotected, path).unwrap();
    let config = folder.join("config.json");
    let mut json: Value = serde_json::from_str(&fs::read_to_string(&config).unwrap()).unwrap();
    json["projection_dim"] = 64.into();
    json["architectures"] = serde_json::json!(["CLIPTextModelWithProjection"]);
    fs::remove_file(&config).unwrap();
    fs::write(config, json.to_string()).unwrap();
}

/// Says in `model_index.json` of which class a part is.
fn name_in_index(place: &Path, part: &str, library: impl Into<Value>, class: impl Into<Value>) {
    let path = place.join("model_index.json");
    let mut index: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    index[part] = Value::Array(vec![library.into(), class.into()]);
    fs::write(path, index.to_string()).unwrap();
}

/// Copies a file or a folder, which takes the place of what is there.
fn take(from: &Path, to: &Path) {
    if from.is_file() {
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(from, to).unwrap();
        return;
    }
    if to.is_dir() {
        fs::remove_dir_all(to).unwrap();
    }
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        take(&entry.path(), &to.join(entry.file_name()));
    }
}
