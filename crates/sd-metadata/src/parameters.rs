//! AUTOMATIC1111's grammar, which most tools can write: prompt, negative prompt, and a last line of settings.
//!
//! ```text
//! a fox, oil on canvas
//! in two lines
//! Negative prompt: blurry
//! Steps: 20, Sampler: Euler a, Seed: 5, Size: 512x512, Hires prompt: "a fox, \"large\"", Version: v1.10.1
//! ```
//!
//! Read as modules/infotext_utils.py of the web UI 1.10 reads it, but for values that are JSON without quotes, as
//! Civitai's extension and stable-diffusion.cpp write them: these are one value here.

mod scan;
mod write;

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use crate::control::Control;
use crate::field::Field;
use crate::json;
use crate::made::{Made, Unknown};
use crate::tool::Tool;

/// How many settings the last line must have to be one of settings.
const MIN_PAIRS: usize = 3;
/// How the negative prompt begins.
const NEGATIVE: &str = "Negative prompt:";
/// Our own key: what cannot be said by a key and a value, as a list of key, value and reason.
const NOT_UNDERSTOOD: &str = "Not understood";
/// Our own key: makes a line of fewer settings one that is read.
const FILLER: &str = "Filler";

/// Keys and what they are, in the order that they are written.
const KEYS: &[(&str, Field)] = &[
    ("Steps", Field::Steps),
    ("Sampler", Field::Sampler),
    ("Schedule type", Field::Schedule),
    ("CFG scale", Field::Guidance),
    ("Distilled CFG Scale", Field::DistilledGuidance),
    ("Image CFG scale", Field::ImageGuidance),
    ("CFG rescale", Field::GuidanceRescale),
    ("Seed", Field::Seed),
    ("Size", Field::Size),
    ("Model hash", Field::ModelHash),
    ("Model", Field::Model),
    ("VAE hash", Field::VaeHash),
    ("VAE", Field::Vae),
    ("Variation seed", Field::VariationSeed),
    ("Variation seed strength", Field::VariationStrength),
    ("Denoising strength", Field::Strength),
    ("Clip skip", Field::ClipSkip),
    ("ENSD", Field::Ensd),
    ("Init image", Field::InitImage),
    ("Init image hash", Field::InitImageHash),
    ("Resize mode", Field::ResizeMode),
    ("RNG", Field::Rng),
    ("Tiling", Field::Tiling),
    ("Eta", Field::Eta),
    ("Hires upscale", Field::HiresScale),
    ("Hires resize", Field::HiresSize),
    ("Hires steps", Field::HiresSteps),
    ("Hires upscaler", Field::HiresUpscaler),
    ("Hires sampler", Field::HiresSampler),
    ("Hires schedule type", Field::HiresSchedule),
    ("Hires CFG Scale", Field::HiresGuidance),
    ("Hires checkpoint", Field::HiresModel),
    ("Hires prompt", Field::HiresPrompt),
    ("Hires negative prompt", Field::HiresNegative),
    ("Mask", Field::Mask),
    ("Mask blur", Field::MaskBlur),
    ("Mask mode", Field::MaskMode),
    ("Masked content", Field::MaskContent),
    ("Inpaint area", Field::MaskArea),
    ("Masked area padding", Field::MaskPadding),
    ("Refiner", Field::Refiner),
    ("Refiner switch at", Field::RefinerStart),
    ("Prompt 2", Field::Prompt2),
    ("Negative prompt 2", Field::Negative2),
    ("Emphasis", Field::Emphasis),
    ("Version", Field::Version),
];

/// Other names for the same: of versions that are gone, and of other tools.
const ALIASES: &[(&str, Field)] = &[
    // stable-diffusion.cpp.
    ("Guidance", Field::DistilledGuidance),
    ("Unet", Field::Model),
    ("Scheduler", Field::Schedule),
    ("Schedule", Field::Schedule),
    ("Hires schedule", Field::HiresSchedule),
    ("Hires Schedule type", Field::HiresSchedule),
    ("Mask padding", Field::MaskPadding),
    ("CFG Scale", Field::Guidance),
    ("Cfg scale", Field::Guidance),
    ("CFG Rescale", Field::GuidanceRescale),
    ("Distilled CFG scale", Field::DistilledGuidance),
    ("Clip Skip", Field::ClipSkip),
];

/// Reads a whole text; every text is one, if only a prompt.
#[must_use]
pub fn parse(text: &str) -> Made {
    let Parts { prompt, negative, pairs } = parts(text);
    let said = |text: String| Some(text).filter(|text| !text.is_empty());
    let mut made = Made { prompt: said(prompt), negative: said(negative), ..Made::default() };
    made.take_lora_tags();
    let whole = settings(&mut made, pairs);
    // SD.Next names itself beside its version.
    let app = made.unknown.iter().find(|entry| entry.key == "App").map(|entry| Tool::of_version(&entry.value));
    let named = made.version.as_deref().map(Tool::of_version).filter(|tool| *tool != Tool::Automatic1111);
    made.tool = named.or(app).unwrap_or_default();
    split_schedule(&mut made);
    if let Some(whole) = whole {
        sdcpp(&mut made, &whole);
    }
    made
}

/// A text as it is read: what comes before the settings, and these, which are none where the last line has too few.
struct Parts {
    prompt: String,
    negative: String,
    pairs: Vec<scan::Pair>,
}

fn parts(text: &str) -> Parts {
    let text = text.trim_start_matches('\u{feff}').trim();
    let (head, last) = text.rsplit_once('\n').unwrap_or(("", text));
    let pairs = scan::pairs(last);
    let is_settings = pairs.iter().filter(|pair| !pair.key.is_empty()).count() >= MIN_PAIRS;
    let (prompt, negative) = prompts(if is_settings { head } else { text });
    Parts { prompt, negative, pairs: if is_settings { pairs } else { Vec::new() } }
}

/// A text taken apart and not understood: prompt, negative prompt, and each setting by the key that it has there.
#[must_use]
pub fn apart(text: &str) -> (String, String, Vec<(String, String)>) {
    let Parts { prompt, negative, pairs } = parts(text);
    let named = pairs.into_iter().filter(|pair| !pair.key.is_empty());
    (prompt, negative, named.map(|pair| (pair.key, pair.value)).collect())
}

/// How many settings a text's last line has, if that is enough to be read.
pub(crate) fn has_settings(text: &str) -> bool {
    let last = text.trim().rsplit('\n').next().unwrap_or_default();
    scan::pairs(last).iter().filter(|pair| !pair.key.is_empty()).count() >= MIN_PAIRS
}

/// Prompt and negative prompt: lines without the space around them.
fn prompts(head: &str) -> (String, String) {
    let (mut prompt, mut negative) = (String::new(), String::new());
    let mut is_negative = false;
    for line in head.trim().lines() {
        let mut line = line.trim();
        if let Some(rest) = line.strip_prefix(NEGATIVE) {
            is_negative = true;
            line = rest.trim();
        }
        let of = if is_negative { &mut negative } else { &mut prompt };
        if !of.is_empty() {
            of.push('\n');
        }
        of.push_str(line);
    }
    (prompt.trim_end().to_owned(), negative.trim_end().to_owned())
}

/// Takes the settings; of a key that stands twice the last one counts, as in the web UI, and the others are kept.
/// What stable-diffusion.cpp says again is for later.
fn settings(made: &mut Made, pairs: Vec<scan::Pair>) -> Option<String> {
    let mut whole = None;
    // Two names for one field are one key.
    let slot = |key: &str| field(key).map_or_else(|| key.to_owned(), |field| format!("{field:?}"));
    let last: HashMap<String, usize> = pairs.iter().enumerate().map(|(idx, pair)| (slot(&pair.key), idx)).collect();
    for (idx, scan::Pair { key, value }) in pairs.into_iter().enumerate() {
        if key.is_empty() {
            made.keep_wrong(key, value, "no key and value");
        } else if last.get(&slot(&key)) != Some(&idx) && is_known(&key) {
            let why = if value.is_empty() { "empty" } else { "given again, with another value" };
            made.keep_wrong(key, value, why);
        } else if key == "SDCPP" {
            whole = Some(value);
        } else {
            setting(made, &key, value);
        }
    }
    whole
}

/// Takes one setting.
fn setting(made: &mut Made, key: &str, value: String) {
    if let Some(field) = field(key) {
        return made.put(field, key, &value);
    }
    match key {
        "Lora hashes" => made.take_lora_hashes(key, &value),
        NOT_UNDERSTOOD => restore(made, &value),
        _ if is_filler(key, &value) => {}
        _ if control_idx(key).is_some() => match Control::parse(&value) {
            Some(control) => made.controls.push(control),
            None => made.keep_wrong(key, value, "no settings of a ControlNet"),
        },
        _ => made.keep(key, value),
    }
}

fn is_filler(key: &str, value: &str) -> bool {
    key.strip_prefix(FILLER).is_some_and(|n| matches!(n, " 1" | " 2" | " 3")) && value == "none"
}

/// The field of a key.
fn field(key: &str) -> Option<Field> {
    KEYS.iter().chain(ALIASES).find(|(name, _)| *name == key).map(|(_, field)| *field)
}

/// Whether a key means something here, so that nothing else can be written under it.
fn is_known(key: &str) -> bool {
    let ours = matches!(key, "Lora hashes" | "SDCPP") || key == NOT_UNDERSTOOD || key.starts_with(FILLER);
    ours || field(key).is_some() || control_idx(key).is_some()
}

/// The number in `ControlNet 0`.
fn control_idx(key: &str) -> Option<usize> {
    key.strip_prefix("ControlNet ").and_then(|idx| idx.parse().ok())
}

/// What an earlier reading did not understand and this grammar has no place for.
fn restore(made: &mut Made, value: &str) {
    let entries: Result<Vec<(String, String, Option<String>)>, _> = serde_json::from_str(value);
    match entries {
        Ok(entries) => {
            // What is wrong with the prompt was found there again.
            let there: HashSet<Unknown> = made.unknown.iter().cloned().collect();
            let entries = entries.into_iter().map(|(key, value, why)| Unknown { key, value, why });
            made.unknown.extend(entries.filter(|entry| !there.contains(entry)));
        }
        Err(error) => made.keep_wrong(NOT_UNDERSTOOD, value, error.to_string()),
    }
}

/// stable-diffusion.cpp says all settings again, as an object; what the line left out comes from there.
fn sdcpp(made: &mut Made, value: &str) {
    const TABLE: json::Table = &[
        ("prompt.positive", Field::Prompt),
        ("prompt.negative", Field::Negative),
        ("seed", Field::Seed),
        ("width", Field::Width),
        ("height", Field::Height),
        ("rng", Field::Rng),
        ("strength", Field::Strength),
        ("sampling.method", Field::Sampler),
        ("sampling.scheduler", Field::Schedule),
        ("sampling.steps", Field::Steps),
        ("sampling.eta", Field::Eta),
        ("sampling.guidance.txt_cfg", Field::Guidance),
        ("sampling.guidance.img_cfg", Field::ImageGuidance),
        ("sampling.guidance.distilled_guidance", Field::DistilledGuidance),
        ("models.model", Field::Model),
        ("models.vae", Field::Vae),
    ];
    match json::parse(value) {
        Ok(Value::Object(mut object)) => {
            for entry in json::take_array(&mut object, "loras") {
                json::lora(made, entry, &["name", "path"], &["multiplier", "weight"]);
            }
            json::fill_missing(made, "SDCPP", object, TABLE);
        }
        Ok(_) => made.keep_wrong("SDCPP", value, "no object"),
        Err(why) => made.keep_wrong("SDCPP", value, why),
    }
}

/// Before 1.9 the web UI had sampler and schedule in one name, and stable-diffusion.cpp has it so.
pub(crate) fn split_schedule(made: &mut Made) {
    const SCHEDULES: [&str; 4] = ["Karras", "Exponential", "Polyexponential", "SGM Uniform"];
    let Some(name) = made.sampler.clone() else { return };
    if made.schedule.is_none() {
        let named = SCHEDULES.iter().find_map(|schedule| without_end(&name, schedule));
        // Its samplers have no spaces in their names.
        let is_cpp = made.tool == Tool::StableDiffusionCpp;
        let behind = is_cpp.then(|| name.rsplit_once(' ')).flatten().map(|(sampler, _)| sampler);
        let Some(sampler) = named.or(behind) else { return };
        made.schedule = Some(name[sampler.len()..].trim().to_owned());
    }
    let schedule = made.schedule.clone().unwrap_or_default();
    let mut sampler = name.as_str();
    while let Some(rest) = without_end(sampler, &schedule) {
        sampler = rest;
    }
    made.sampler = Some(sampler.to_owned());
}

/// A sampler's name without a schedule behind it; none if it has none or is nothing else.
fn without_end<'a>(name: &'a str, schedule: &str) -> Option<&'a str> {
    let (sampler, end) = name.split_at_checked(name.len().checked_sub(schedule.len())?)?;
    let is_end = !schedule.is_empty() && sampler.ends_with(' ') && end.eq_ignore_ascii_case(schedule);
    Some(sampler.trim_end()).filter(|sampler| is_end && !sampler.is_empty())
}
