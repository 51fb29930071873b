//! The rules against tables that were read off diffusers' converters: every key of the real files, at their real shapes.

mod alone;
mod known;
mod tiny;

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;
use host_tensor::{DType, HostTensor};
use sd_models::NetworkConfig;
use sd_spec::{Family, Role};
use serde::Deserialize;
use serde_json::Value;

use super::names::{How, Names};
use super::network;
use super::notes::notes;
use super::single::{Asked, SingleFile};
use crate::beside::Made;
use crate::map::map_file;
use crate::{Prediction, Weights};

/// A row of a layout: a tensor of diffusers' and what it is made of.
#[derive(Debug, Deserialize)]
struct Row {
    ldm: String,
    ldm_shape: Vec<usize>,
    component: String,
    key: String,
    shape: Vec<usize>,
    transform: String,
}

#[derive(Debug, Deserialize)]
struct Computed {
    component: String,
    key: String,
    shape: Vec<usize>,
}

#[derive(Debug, Deserialize)]
struct Layout {
    rows: Vec<Row>,
    computed: Vec<Computed>,
}

fn layout(golden: &Path, family: &str) -> Layout {
    let path = golden.join(format!("single-file/layouts/{family}.json.gz"));
    let mut json = String::new();
    GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut json).unwrap();
    serde_json::from_str(&json).unwrap()
}

/// Tensors of f16 of these shapes; their bytes are a hole in a file, which takes no place.
fn weights_of(shapes: &BTreeMap<String, Vec<usize>>) -> Weights {
    let n_bytes = |shape: &[usize]| shape.iter().product::<usize>() * 2;
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(shapes.values().map(|shape| n_bytes(shape)).max().unwrap() as u64).unwrap();
    let bytes = map_file(file.path()).unwrap();
    let mut weights = Weights::default();
    for (key, shape) in shapes {
        let tensor = HostTensor::new(DType::F16, shape.clone(), bytes.slice(..n_bytes(shape))).unwrap();
        weights.insert(key.clone(), tensor);
    }
    weights
}

fn shapes_of(layout: &Layout) -> BTreeMap<String, Vec<usize>> {
    layout.rows.iter().map(|row| (row.ldm.clone(), row.ldm_shape.clone())).collect()
}

fn open(shapes: &BTreeMap<String, Vec<usize>>, asked: Asked) -> SingleFile {
    let weights = weights_of(shapes);
    SingleFile::of(Path::new("x.safetensors"), weights, HashMap::new(), asked).unwrap().unwrap()
}

fn json(files: &BTreeMap<String, Made>, name: &str) -> Value {
    match &files[name] {
        Made::Json(value) => value.clone(),
        other => panic!("{name}: {other:?}"),
    }
}

/// A network of a layout: its component there, the role, and its configuration in the model's own repository.
type Known = (&'static str, Role, &'static str);

/// What a layout's model is, and its networks.
const MODELS: [(&str, &str, Family, &[Known]); 7] = [
    (
        "sd15",
        "Stable Diffusion 1.x",
        Family::Sd,
        &[
            ("unet", Role::UNet, known::SD15_UNET),
            ("vae", Role::VaeDecoder, known::SD15_VAE),
            ("text_encoder", Role::TextEncoder, known::CLIP_L),
        ],
    ),
    (
        "sd21",
        "Stable Diffusion 2.x",
        Family::Sd,
        &[
            ("unet", Role::UNet, known::SD21_UNET),
            ("vae", Role::VaeDecoder, known::SD21_VAE),
            ("text_encoder", Role::TextEncoder, known::CLIP_H),
        ],
    ),
    (
        "sdxl-base",
        "Stable Diffusion XL",
        Family::Sdxl,
        &[
            ("unet", Role::UNet, known::SDXL_UNET),
            ("vae", Role::VaeDecoder, known::SDXL_VAE),
            ("text_encoder", Role::TextEncoder, known::CLIP_L),
            ("text_encoder_2", Role::TextEncoder2, known::CLIP_G),
        ],
    ),
    (
        "sdxl-refiner",
        "the refiner of Stable Diffusion XL",
        Family::SdxlRefiner,
        &[
            ("unet", Role::Refiner, known::REFINER_UNET),
            ("vae", Role::VaeDecoder, known::SDXL_VAE),
            ("text_encoder_2", Role::TextEncoder2, known::CLIP_G),
        ],
    ),
    (
        "sd3-medium",
        "Stable Diffusion 3 or 3.5",
        Family::Sd3,
        &[
            ("transformer", Role::Mmdit, known::SD3_TRANSFORMER),
            ("vae", Role::VaeDecoder, known::SD3_VAE),
            ("text_encoder", Role::TextEncoder, known::PROJECTED_CLIP_L),
            ("text_encoder_2", Role::TextEncoder2, known::CLIP_G),
            ("text_encoder_3", Role::TextEncoder3, known::T5),
        ],
    ),
    (
        "sd35-medium",
        "Stable Diffusion 3 or 3.5",
        Family::Sd3,
        &[("transformer", Role::Mmdit, known::SD35_TRANSFORMER), ("vae", Role::VaeDecoder, known::SD3_VAE)],
    ),
    (
        "controlnet-sd15",
        "Stable Diffusion 1.x",
        Family::Sd,
        &[("controlnet", Role::ControlNet, known::SD15_CONTROL_NET)],
    ),
];

/// The transform of a row, as the tables spell it.
fn transform(how: How, row: &Row) -> String {
    let rows = row.ldm_shape[0];
    match how {
        How::Same => "same".to_owned(),
        How::Squeezed if row.ldm_shape.len() == 4 => "squeeze".to_owned(),
        How::Squeezed => "same".to_owned(),
        How::Transposed => "transpose".to_owned(),
        How::Third(which) => format!("rows {}:{}", which * rows / 3, (which + 1) * rows / 3),
        How::HalvesSwapped => "swap_halves".to_owned(),
    }
}

fn check_names(names: &Names, prefix: &str, rows: &[&Row]) {
    for row in rows {
        let origin = names.origin(&row.key).unwrap_or_else(|| panic!("{} has no origin", row.key));
        assert_eq!(format!("{prefix}{}", origin.key), row.ldm);
        assert_eq!(transform(origin.how, row), row.transform, "{}", row.key);
        assert!(names.made_of(&origin.key).contains(&(row.key.clone(), origin.how)), "{}", row.ldm);
    }
}

#[test]
fn every_key_of_every_layout_maps_as_the_tables_say() {
    let Some(golden) = testkit::golden() else { return };
    let prediction = |name: &str| (name == "sd21").then_some(Prediction::Velocity);
    for (name, kind, family, networks) in MODELS {
        let layout = layout(&golden, name);
        let asked = Asked { prediction: prediction(name), ..Asked::default() };
        let file = open(&shapes_of(&layout), asked);
        assert_eq!((file.kind_name(), file.family()), (kind, family), "{name}");
        assert_eq!(file.networks().count(), networks.len(), "{name}");
        assert_eq!(file.leftover(), [""; 0], "{name}");
        let mut n = 0;
        for &(component, role, config) in networks {
            let rows: Vec<&Row> = layout.rows.iter().filter(|row| row.component == component).collect();
            let config = NetworkConfig::read(role, config.as_bytes()).unwrap();
            let weights = file.network(role, &config).unwrap();
            let (_, prefix) = file.networks().find(|(own, _)| *own == role).unwrap();
            let part = file.contents().parts.iter().find(|part| part.role == role).unwrap();
            check_names(&network::names(file.weights(), part, &config), prefix, &rows);
            let mut expected: BTreeMap<&str, Vec<usize>> =
                rows.iter().map(|row| (row.key.as_str(), row.shape.clone())).collect();
            let computed = layout.computed.iter().filter(|computed| computed.component == component);
            expected.extend(computed.map(|computed| (computed.key.as_str(), computed.shape.clone())));
            let made: BTreeMap<&str, Vec<usize>> = weights.iter().map(|(key, weight)| (key, weight.shape())).collect();
            assert_eq!(made, expected, "{name}: {component}");
            n += rows.len();
        }
        assert_eq!(n, layout.rows.len(), "{name}: a component was not looked at");
    }
}

#[test]
fn configurations_follow_from_shapes() {
    let Some(golden) = testkit::golden() else { return };
    for (name, _, _, networks) in MODELS {
        let prediction = (name == "sd21").then_some(Prediction::Velocity);
        let file = open(&shapes_of(&layout(&golden, name)), Asked { prediction, ..Asked::default() });
        let files = file.made();
        for &(_, role, theirs) in networks {
            let place = if role == Role::ControlNet { String::new() } else { format!("{}/", role.spec().folder) };
            let ours = json(&files, &format!("{place}config.json")).to_string();
            let read = |json: &str| NetworkConfig::read(role, json.as_bytes()).unwrap();
            assert_eq!(format!("{:?}", read(&ours)), format!("{:?}", read(theirs)), "{name}: {role}");
            assert_eq!(NetworkConfig::unknown_keys(role, ours.as_bytes()).unwrap(), [""; 0], "{name}: {role}");
        }
        let words: Vec<String> = notes(&file).into_iter().map(|note| note.words).collect();
        let expected = if name == "sd3-medium" { 1 } else { 0 };
        assert_eq!(words.len(), expected, "{name}: {words:?}");
    }
}

#[test]
fn the_files_beside_are_those_of_the_kind() {
    let Some(golden) = testkit::golden() else { return };
    let shapes = shapes_of(&layout(&golden, "sd15"));
    let index = |channels: usize| {
        let mut shapes = shapes.clone();
        shapes.insert("model.diffusion_model.input_blocks.0.0.weight".into(), vec![320, channels, 3, 3]);
        let files = open(&shapes, Asked::default()).made();
        assert_eq!(json(&files, "unet/config.json")["in_channels"], channels);
        json(&files, "model_index.json")["_class_name"].as_str().unwrap().to_owned()
    };
    assert_eq!(index(4), "StableDiffusionPipeline");
    assert_eq!(index(9), "StableDiffusionInpaintPipeline");
    assert_eq!(index(8), "StableDiffusionInstructPix2PixPipeline");
    let files = |name: &str| open(&shapes_of(&layout(&golden, name)), Asked::default()).made();
    let refiner = files("sdxl-refiner");
    let index = json(&refiner, "model_index.json");
    assert_eq!(index["requires_aesthetics_score"], true);
    assert_eq!((&index["text_encoder"][1], &index["tokenizer"][1]), (&Value::Null, &Value::Null));
    assert!(refiner.contains_key("tokenizer_2/merges.txt") && !refiner.contains_key("tokenizer/merges.txt"));
    let sd35 = files("sd35-medium");
    assert_eq!(json(&sd35, "model_index.json")["text_encoder_3"][1], Value::Null);
    assert_eq!(json(&sd35, "scheduler/scheduler_config.json")["_class_name"], "FlowMatchEulerDiscreteScheduler");
    assert!(files("controlnet-sd15").keys().eq(["config.json"]));
}

/// What the scheduler of a layout's model, with more tensors and with metadata, is told, and why.
fn told(golden: &Path, name: &str, more: &[&str], metadata: &[(&str, &str)]) -> (Value, String) {
    let mut shapes = shapes_of(&layout(golden, name));
    shapes.extend(more.iter().map(|key| ((*key).to_owned(), vec![1])));
    let metadata = metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let file = SingleFile::of(Path::new("x"), weights_of(&shapes), metadata, Asked::default()).unwrap().unwrap();
    (json(&file.made(), "scheduler/scheduler_config.json"), file.prediction_source())
}

#[test]
fn what_is_predicted_is_said_by_keys_metadata_or_a_guess() {
    let Some(golden) = testkit::golden() else { return };
    let (plain, _) = told(&golden, "sdxl-base", &[], &[]);
    assert_eq!(plain["prediction_type"], "epsilon");
    let (velocity, why) = told(&golden, "sdxl-base", &["v_pred", "ztsnr"], &[]);
    assert_eq!(velocity["prediction_type"], "v_prediction");
    assert_eq!(velocity["rescale_betas_zero_snr"], true);
    assert_eq!(why, "by its key v_pred");
    // What the specification of models and what sd-scripts write.
    for (key, value, expected) in [
        ("modelspec.prediction_type", "v", "v_prediction"),
        ("modelspec.prediction_type", "epsilon", "epsilon"),
        ("ss_v_parameterization", "True", "v_prediction"),
        ("ss_v_parameterization", "False", "epsilon"),
        ("ss_v_parameterization", "", "epsilon"),
    ] {
        let (said, why) = told(&golden, "sdxl-base", &[], &[(key, value)]);
        assert_eq!(said["prediction_type"], expected, "{key} {value}");
        let by = if value.is_empty() {
            "as models of Stable Diffusion XL do".to_owned()
        } else {
            format!("by its metadata {key}")
        };
        assert_eq!(why, by);
    }
    let terminal = [("ss_v_parameterization", "True"), ("ss_zero_terminal_snr", "True")];
    assert_eq!(told(&golden, "sdxl-base", &[], &terminal).0["rescale_betas_zero_snr"], true);
    // A key among the tensors is surer than metadata, and a name that no model of the kind has is no prediction.
    let (key, _) = told(&golden, "sdxl-base", &["v_pred"], &[("modelspec.prediction_type", "epsilon")]);
    assert_eq!(key["prediction_type"], "v_prediction");
    let shapes = shapes_of(&layout(&golden, "sdxl-base"));
    for value in ["flow", "sample"] {
        let metadata: HashMap<String, String> = [("modelspec.prediction_type".to_owned(), value.to_owned())].into();
        let open = |asked| SingleFile::of(Path::new("x"), weights_of(&shapes), metadata.clone(), asked);
        let error = open(Asked::default()).unwrap_err().to_string();
        assert!(error.contains("which is not known of Stable Diffusion XL; --prediction"), "{error}");
        let asked = Asked { prediction: Some(Prediction::Epsilon), ..Asked::default() };
        assert_eq!(open(asked).unwrap().unwrap().prediction_source(), "as was asked for");
    }
    let architecture = |name| told(&golden, "sd21", &[], &[("modelspec.architecture", name)]);
    assert_eq!(architecture("stable-diffusion-v2-768-v").0["prediction_type"], "v_prediction");
    assert_eq!(architecture("stable-diffusion-v2-512").0["prediction_type"], "epsilon");
    // All its numbers are 0, so they spread as those of a model that predicts noise.
    let (guess, why) = told(&golden, "sd21", &[], &[]);
    assert_eq!(guess["prediction_type"], "epsilon");
    assert!(why.starts_with("guessed: "), "{why}");
    let (step, _) = told(&golden, "sd21", &[], &[("global_step", "875000")]);
    assert_eq!(step["prediction_type"], "epsilon");
    let said = told(&golden, "sd21", &[], &[("ss_v_parameterization", "True"), ("global_step", "875000")]);
    assert_eq!(said.1, "by its metadata ss_v_parameterization");
    let shapes = shapes_of(&layout(&golden, "sd21"));
    let file = open(&shapes, Asked::default());
    assert!(notes(&file)[0].words.contains("--prediction v says otherwise"), "{:?}", notes(&file));
    let asked = Asked { prediction: Some(Prediction::Velocity), ..Asked::default() };
    assert_eq!(notes(&open(&shapes, asked)), [], "what is asked for is not guessed");
    // Values that spread as those of a model that predicts velocities.
    let mut weights = weights_of(&shapes);
    let spread = (0..320).map(|at| if at % 2 == 0 { 0.2 } else { -0.2 }).collect();
    weights.insert(
        "model.diffusion_model.output_blocks.11.1.transformer_blocks.0.norm1.bias",
        HostTensor::from_f32([320], spread),
    );
    let file = SingleFile::of(Path::new("x"), weights, HashMap::new(), Asked::default()).unwrap().unwrap();
    assert_eq!(file.prediction(), Some(Prediction::Velocity));
    assert!(notes(&file)[0].words.contains("v is assumed") && notes(&file)[0].words.contains("--prediction epsilon"));
    let flow = Asked { prediction: Some(Prediction::Flow), ..Asked::default() };
    let error = SingleFile::of(Path::new("x"), weights_of(&shapes), HashMap::new(), flow).unwrap_err().to_string();
    assert!(error.contains("only models that predict epsilon and v, and not flow"), "{error}");
}

#[test]
fn other_forms_of_names_are_taken() {
    let Some(golden) = testkit::golden() else { return };
    let rename = |name: &str, from: &str, to: &str| -> BTreeMap<String, Vec<usize>> {
        let rows = shapes_of(&layout(&golden, name)).into_iter();
        rows.map(|(key, shape)| (key.replacen(from, to, 1), shape)).collect()
    };
    // Old merges leave text_model. out.
    let bare = open(
        &rename("sd15", "cond_stage_model.transformer.text_model.", "cond_stage_model.transformer."),
        Asked::default(),
    );
    let config = NetworkConfig::read(Role::TextEncoder, known::CLIP_L.as_bytes()).unwrap();
    let weights = bare.network(Role::TextEncoder, &config).unwrap();
    assert_eq!(weights.iter().count(), 196);
    assert!(weights.get("text_model.final_layer_norm.bias").is_some());
    // SD-Turbo is a 2.1 in XL's layout.
    let turbo = open(&rename("sd21", "cond_stage_model.", "conditioner.embedders.0."), Asked::default());
    assert_eq!(turbo.kind_name(), "Stable Diffusion 2.x");
    assert!(turbo.has(Role::TextEncoder) && turbo.missing().is_empty());
    // A UNet alone, a ControlNet without its prefix, and one that comes with a whole model.
    let unet: BTreeMap<String, Vec<usize>> = rename("sdxl-base", "model.diffusion_model.", "")
        .into_iter()
        .filter(|(key, _)| !key.starts_with("first_stage_model.") && !key.starts_with("conditioner."))
        .collect();
    let unet = open(&unet, Asked::default());
    assert_eq!(unet.networks().collect::<Vec<_>>(), [(Role::UNet, "")]);
    assert_eq!((unet.kind_name(), unet.missing().len()), ("Stable Diffusion XL", 3));
    let control = open(&rename("controlnet-sd15", "control_model.", ""), Asked::default());
    assert_eq!(control.alone(), Some(Role::ControlNet));
    let mut both = shapes_of(&layout(&golden, "controlnet-sd15"));
    both.extend(shapes_of(&layout(&golden, "sd15")));
    let both = open(&both, Asked::default());
    assert_eq!(both.networks().collect::<Vec<_>>(), [(Role::ControlNet, "control_model.")]);
}
