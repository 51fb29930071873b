//! `smelt metadata`: what made pictures, for people and for machines.
//!
//! What stands in a file is anybody's: for people, characters that control a terminal are spelt out.

use std::process::ExitCode;

use anyhow::Result;
use serde::Serialize;
use smelt::metadata::{Found, KEYWORDS, Lora, Made, Unknown};

use crate::cli::MetadataArgs;
use crate::report::{Report, count};

/// What `--json` prints.
#[derive(Serialize)]
struct Summary {
    /// In the order of the arguments.
    files: Vec<File>,
    /// The names that settings were looked for under.
    looked_for: &'static [&'static str],
}

#[derive(Serialize)]
struct File {
    path: String,
    format: smelt::metadata::PictureFormat,
    /// Null if no settings were found.
    made: Option<Made>,
    /// The settings in AUTOMATIC1111's grammar.
    parameters: Option<String>,
    texts: Vec<smelt::metadata::Text>,
    faults: Vec<String>,
}

pub(super) fn run(args: &MetadataArgs, report: &Report) -> Result<ExitCode> {
    let mut files = Vec::new();
    for path in &args.files {
        let Found { format, made, texts, faults, .. } = smelt::metadata::read(path)?;
        let path = path.display().to_string();
        for fault in &faults {
            report.warn(format_args!("{path}: {}", spelt(fault, " ")));
        }
        let parameters = made.as_ref().map(Made::to_parameters);
        files.push(File { path, format, made, parameters, texts, faults });
    }
    for (idx, file) in files.iter().enumerate() {
        report.text(format_args!("{}{}", if idx > 0 { "\n" } else { "" }, told(file)));
    }
    report.json(&Summary { files, looked_for: KEYWORDS })?;
    Ok(ExitCode::SUCCESS)
}

/// All lines about a file.
fn told(file: &File) -> String {
    let Some(made) = &file.made else {
        return format!("{}: {}\n", file.path, nothing(file));
    };
    let version = made.version.as_deref().unwrap_or_default();
    let tool = match version.to_lowercase().contains(&made.tool.name().to_lowercase()) {
        true => version.to_owned(),
        false => format!("{} {version}", made.tool).trim_end().to_owned(),
    };
    let mut text = format!("{}: {}\n", file.path, spelt(&tool, " "));
    let rows = rows(made);
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in rows {
        let value = spelt(&value, &format!("\n{}", " ".repeat(width + 4)));
        text.push_str(&format!("  {name:<width$}  {value}\n"));
    }
    if !made.unknown.is_empty() {
        text.push_str("  not understood:\n");
    }
    for Unknown { key, value, why } in &made.unknown {
        let why = why.as_ref().map(|why| format!("  ({why})")).unwrap_or_default();
        let line = format!("{key}: {value}{why}");
        text.push_str(&format!("    {}\n", spelt(&line, "\n      ")));
    }
    text
}

/// What stands there instead of settings, and what was looked for.
fn nothing(file: &File) -> String {
    let names: Vec<String> = file.texts.iter().map(|text| spelt(&text.keyword, " ")).collect();
    let there = match names.is_empty() {
        true => "it carries no text".to_owned(),
        false => format!("it carries {} ({})", count(names.len(), "text"), names.join(", ")),
    };
    format!("no settings: {there}; looked for {}", KEYWORDS.join(", "))
}

/// Names and values of everything that is understood.
fn rows(made: &Made) -> Vec<(String, String)> {
    let mut rows = Rows::default();
    rows.add("prompt", made.prompt.as_ref());
    rows.add("negative prompt", made.negative.as_ref());
    rows.add("second prompt", made.prompt_2.as_ref());
    rows.add("second negative prompt", made.negative_2.as_ref());
    rows.add("steps", made.steps);
    rows.add("sampler", made.sampler.as_ref());
    rows.add("schedule", made.schedule.as_ref());
    rows.add("guidance", made.guidance);
    rows.add("distilled guidance", made.distilled_guidance);
    rows.add("image guidance", made.image_guidance);
    rows.add("guidance rescale", made.guidance_rescale);
    rows.add("emphasis", made.emphasis.as_ref());
    rows.add("seed", made.seed);
    rows.add("size", made.size);
    rows.add("model", made.model.as_ref());
    rows.add("model hash", made.model_hash.as_ref());
    rows.add("VAE", made.vae.as_ref());
    rows.add("VAE hash", made.vae_hash.as_ref());
    rows.add("CLIP skip", made.clip_skip);
    rows.add("strength", made.strength);
    rows.add("eta", made.eta);
    rows.add("ENSD", made.ensd);
    rows.add("random source", made.rng.as_ref());
    rows.add("tiling", made.tiling);
    for lora in &made.loras {
        rows.add("LoRA", Some(lora_text(lora)));
    }
    for control in &made.controls {
        rows.add("ControlNet", Some(control));
    }
    rows.add("first picture", made.init_image.as_ref());
    rows.add("first picture's hash", made.init_image_hash.as_ref());
    rows.add("resize mode", made.resize_mode.as_ref());
    parts(made, &mut rows);
    rows.0
}

/// What belongs to a second pass, a variation, a refiner or a mask.
fn parts(made: &Made, rows: &mut Rows) {
    if let Some(variation) = &made.variation {
        rows.add("variation seed", variation.seed);
        rows.add("variation strength", variation.strength);
    }
    if let Some(hires) = &made.hires {
        rows.add("second pass, times", hires.scale);
        rows.add("second pass, size", hires.size);
        rows.add("second pass, steps", hires.steps);
        rows.add("second pass, by", hires.upscaler.as_ref());
        rows.add("second pass, sampler", hires.sampler.as_ref());
        rows.add("second pass, schedule", hires.schedule.as_ref());
        rows.add("second pass, prompt", hires.prompt.as_ref());
        rows.add("second pass, negative", hires.negative.as_ref());
        rows.add("second pass, guidance", hires.guidance);
        rows.add("second pass, model", hires.model.as_ref());
    }
    if let Some(refiner) = &made.refiner {
        rows.add("refiner", refiner.model.as_ref());
        rows.add("refiner from", refiner.start);
    }
    if let Some(inpaint) = &made.inpaint {
        rows.add("mask", inpaint.mask.as_ref());
        rows.add("mask blur", inpaint.blur);
        rows.add("mask mode", inpaint.mode.as_ref());
        rows.add("masked content", inpaint.content.as_ref());
        rows.add("repainted area", inpaint.area.as_ref());
        rows.add("padding", inpaint.padding);
    }
}

/// Rows of what is there.
#[derive(Default)]
struct Rows(Vec<(String, String)>);

impl Rows {
    fn add(&mut self, name: &str, value: Option<impl ToString>) {
        self.0.extend(value.map(|value| (name.to_owned(), value.to_string())));
    }
}

fn lora_text(lora: &Lora) -> String {
    let weight = lora.weight.map(|weight| format!(", weight {weight}")).unwrap_or_default();
    let text = lora.text_weight.map(|weight| format!(", for text {weight}")).unwrap_or_default();
    let hash = lora.hash.as_ref().map(|hash| format!(", hash {hash}")).unwrap_or_default();
    format!("{}{weight}{text}{hash}", lora.name)
}

/// A text without what controls a terminal; its lines are joined by `line_break`.
pub(super) fn spelt(text: &str, line_break: &str) -> String {
    let mut spelt = String::with_capacity(text.len());
    for char in text.replace("\r\n", "\n").chars() {
        match char {
            '\n' => spelt.push_str(line_break),
            '\t' => spelt.push(' '),
            // Marks that turn the direction of writing would show other words than there are.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => spelt.extend(char.escape_unicode()),
            char if char.is_control() => spelt.extend(char.escape_unicode()),
            char => spelt.push(char),
        }
    }
    spelt
}
