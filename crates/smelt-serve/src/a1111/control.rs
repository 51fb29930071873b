//! Routes of the ControlNet extension.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};
use smelt::Preprocess;
use smelt::image::{Filter, RgbImage, Size};

use super::unit::preprocess;
use crate::app::App;
use crate::blocking::blocking;
use crate::body::Json;
use crate::fault::Fault;
use crate::fields::{Fields, Idle, Usual};
use crate::format::png;
use crate::input;

/// What becomes of pictures first.
const MODULES: [&str; 2] = ["none", "canny"];
/// Fields of `detect` without effect here.
const IDLE: [Idle; 3] = [
    Idle { name: "low_vram", usual: Usual::Any },
    Idle { name: "controlnet_masks", usual: Usual::Off },
    Idle { name: "controlnet_pixel_perfect", usual: Usual::Any },
];

pub(super) async fn version() -> Answer<Value> {
    // Of the extension's interface: the one whose units are in `alwayson_scripts`.
    Answer(json!({ "version": 2 }))
}

fn models_of(app: &App) -> Vec<String> {
    app.catalogue.controlnets().into_iter().map(|one| one.name).collect()
}

pub(super) async fn model_list(State(app): State<Arc<App>>) -> Result<Answer<Value>, Fault> {
    blocking(move || Ok(Answer(json!({ "model_list": models_of(&app) })))).await
}

pub(super) async fn module_list() -> Answer<Value> {
    let slider = |name: &str, value: u32, [min, max]: [u32; 2]| json!({ "name": name, "value": value, "min": min, "max": max, "step": 1 });
    let canny = json!({
        "model_free": false,
        "sliders": [
            slider("Resolution", 512, [64, 2048]),
            slider("Low Threshold", 100, [1, 255]),
            slider("High Threshold", 200, [1, 255]),
        ],
    });
    Answer(json!({
        "module_list": MODULES,
        "module_detail": { "none": { "model_free": false, "sliders": [] }, "canny": canny },
    }))
}

pub(super) async fn control_types(State(app): State<Arc<App>>) -> Result<Answer<Value>, Fault> {
    blocking(move || {
        let all: Vec<String> = std::iter::once("None".to_owned()).chain(models_of(&app)).collect();
        let of = |modules: &[&str], module: &str, word: &str| {
            let is_named = |name: &&String| *name == "None" || name.to_lowercase().contains(word);
            let models: Vec<&String> = all.iter().filter(is_named).collect();
            let usual = models.get(1).or(models.first()).copied();
            json!({ "module_list": modules, "model_list": models, "default_option": module, "default_model": usual })
        };
        Ok(Answer(json!({
            "control_types": { "All": of(&MODULES, "none", ""), "Canny": of(&["canny"], "canny", "canny") },
        })))
    })
    .await
}

pub(super) async fn settings(State(app): State<Arc<App>>) -> Answer<Value> {
    Answer(json!({ "control_net_unit_count": app.options.limits.pictures }))
}

/// Prepares pictures without drawing.
pub(super) async fn detect(
    State(app): State<Arc<App>>,
    Json(body): Json<Map<String, Value>>,
) -> Result<Answer<Value>, Fault> {
    blocking(move || {
        let mut fields = Fields::new(body);
        let module = fields.word("controlnet_module")?;
        let images = fields.list("controlnet_input_images")?;
        // As webuiapi calls them.
        let others = fields.list("controlnet_images")?;
        let images = images.or(others).unwrap_or_default();
        let side = fields.count("controlnet_processor_res")?;
        let thresholds = [fields.number("controlnet_threshold_a")?, fields.number("controlnet_threshold_b")?];
        fields.check(&IDLE)?;
        if images.is_empty() {
            return Err(Fault::unprocessable(
                "No image selected; controlnet_input_images is a list of pictures in base64",
            ));
        }
        let by = preprocess(module.as_deref(), thresholds)?;
        let mut found = Vec::new();
        for image in &images {
            let text = image.as_str().unwrap_or_default();
            let image = input::picture("controlnet_input_images", text, &app.options.limits)?.image;
            found.push(STANDARD.encode(png(&prepared(image, by, side))?));
        }
        Ok(Answer(json!({ "images": found, "info": "Success" })))
    })
    .await
}

/// A picture prepared, with its shorter side as it is asked for, where that makes it no larger.
fn prepared(image: RgbImage, by: Preprocess, side: Option<usize>) -> RgbImage {
    let own = image.size();
    let shorter = own.width.min(own.height).max(1);
    let image = match side.filter(|side| *side > 0 && *side < shorter) {
        Some(side) => {
            let scaled = |length: usize| (length * side / shorter).max(1);
            image.resize(Size { width: scaled(own.width), height: scaled(own.height) }, Filter::Lanczos)
        }
        None => image,
    };
    match by {
        Preprocess::Canny(canny) => canny.edges(&image).to_rgb(),
        _ => image,
    }
}
