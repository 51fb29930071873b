//! `info`: what is told of finished pictures, as JSON within a text.
//!
//! Fields of the request that nobody knows are in `ignored_fields`, and what is done otherwise than in the web UI in `notes`;
//! both are there only where they are not empty.

use serde_json::{Map, Value, json};
use smelt::Sampler;

use super::asked::Asked;
use super::settle::{size as known_size, told};
use crate::call::Finished;
use crate::clock::{now, stamp};
use crate::order::Order;

/// What is known of pictures before they are drawn.
pub(super) struct About {
    fields: Map<String, Value>,
    /// Without any picture, what they would have said.
    prompt: String,
    negative: String,
    seed: u64,
    subseed: Option<u64>,
}

/// What there is none of here, as JSON.
const NEVER: [(&str, &str); 9] = [
    ("restore_faces", "false"),
    ("face_restoration_model", "null"),
    ("sd_vae_name", "null"),
    ("sd_vae_hash", "null"),
    ("seed_resize_from_w", "-1"),
    ("seed_resize_from_h", "-1"),
    ("index_of_first_image", "0"),
    ("styles", "[]"),
    ("is_using_inpainting_conditioning", "false"),
];

/// The size of what is drawn first.
pub(super) fn size(asked: &Asked, order: &Order) -> Option<[usize; 2]> {
    known_size(asked, &order.model).map(|size| [size.width, size.height])
}

impl About {
    pub(super) fn of(asked: &Asked, order: &Order, notes: Vec<String>) -> Self {
        let request = &order.request;
        let mut fields = settled(asked, order);
        fields.extend(
            NEVER.iter().map(|(key, value)| ((*key).to_owned(), serde_json::from_str(value).unwrap_or_default())),
        );
        for (key, list) in [("ignored_fields", &asked.ignored), ("notes", &notes)] {
            if !list.is_empty() {
                fields.insert(key.to_owned(), json!(list));
            }
        }
        Self {
            fields,
            prompt: request.prompt.clone(),
            negative: request.negative_prompt.clone().unwrap_or_default(),
            seed: request.seed,
            subseed: request.variation.map(|other| other.seed),
        }
    }

    /// All of it, once the pictures are there; fewer where somebody interrupted the job.
    pub(super) fn info(self, pictures: &[Finished]) -> Value {
        let setting = |one: &Finished, key: &str| one.kept.settings.get(key).cloned().unwrap_or_default();
        let all = |key: &str| pictures.iter().map(|one| setting(one, key)).collect::<Vec<_>>();
        let text = |value: Value| value.as_str().unwrap_or_default().to_owned();
        let subseeds: Vec<Value> =
            all("variation").into_iter().map(|other| other.get("seed").cloned().unwrap_or(json!(0))).collect();
        let first = |values: &[Value], usual: Value| values.first().cloned().unwrap_or(usual);
        let seeds = all("seed");
        let mut info = Map::new();
        for (key, value) in [
            ("prompt", json!(self.prompt)),
            ("all_prompts", all("prompt").into()),
            ("negative_prompt", json!(self.negative)),
            ("all_negative_prompts", json!(all("negative_prompt").into_iter().map(text).collect::<Vec<_>>())),
            ("seed", first(&seeds, json!(self.seed))),
            ("all_seeds", json!(seeds)),
            ("subseed", first(&subseeds, json!(self.subseed.unwrap_or(0)))),
            ("all_subseeds", json!(subseeds)),
        ] {
            info.insert(key.to_owned(), value);
        }
        info.extend(self.fields);
        drawn(&mut info, pictures);
        info.insert("infotexts".to_owned(), json!(pictures.iter().map(infotext).collect::<Vec<_>>()));
        Value::Object(info)
    }
}

/// What was settled.
fn settled(asked: &Asked, order: &Order) -> Map<String, Value> {
    let request = &order.request;
    let (sampler, schedule) = told(request.scheduler);
    let size = size(asked, order);
    let mut extra = Map::from_iter([("Schedule type".to_owned(), schedule)]);
    if let Some(hires) = &request.hires {
        extra.insert("Hires upscale".to_owned(), json!(hires.size.to_string()));
        extra.insert("Hires upscaler".to_owned(), json!(hires.by.other_name()));
    }
    let all = [
        ("subseed_strength", json!(asked.noise.subseed_strength)),
        ("width", json!(size.map(|[width, _]| width))),
        ("height", json!(size.map(|[_, height]| height))),
        ("sampler_name", sampler),
        ("cfg_scale", json!(request.guidance)),
        ("steps", json!(request.steps)),
        ("batch_size", json!(asked.batch_size)),
        ("sd_model_name", json!(order.model.name)),
        ("sd_model_hash", json!(order.model.hash.clone().unwrap_or_default())),
        ("denoising_strength", json!(asked.strength(request))),
        ("extra_generation_params", extra.into()),
        ("job_timestamp", json!(stamp(now()))),
        ("clip_skip", json!(asked.settings.clip_skip)),
        ("version", json!(smelt::SOFTWARE)),
    ];
    all.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// What a model alone decides, and its picture tells.
pub(super) fn drawn(told: &mut Map<String, Value>, pictures: &[Finished]) {
    let Some(settings) = pictures.first().map(|one| &one.kept.settings) else { return };
    let sampler = settings.get("scheduler").and_then(Value::as_str).and_then(|name| name.parse::<Sampler>().ok());
    let facts = [
        ("width", settings.get("width").cloned()),
        ("height", settings.get("height").cloned()),
        ("sampler_name", sampler.map(|sampler| sampler.label().into())),
    ];
    for (key, fact) in facts {
        if let (Some(Value::Null), Some(fact)) = (told.get(key), fact) {
            told.insert(key.to_owned(), fact);
        }
    }
}

/// The text of a picture's file in AUTOMATIC1111's grammar.
fn infotext(one: &Finished) -> String {
    let found = smelt::metadata::read_bytes(&one.bytes);
    found.map(|found| text_of(&found)).unwrap_or_default()
}

/// The same of what was read; formats without that text of its own have it in a comment.
pub(super) fn text_of(found: &smelt::metadata::Found) -> String {
    let named = |keyword: &str| found.texts.iter().find(|text| text.keyword == keyword).map(|text| text.text.clone());
    named("parameters").or_else(|| named("UserComment")).unwrap_or_default()
}
