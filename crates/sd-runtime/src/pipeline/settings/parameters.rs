//! Settings in AUTOMATIC1111's grammar: prompt, negative prompt, and a line of keys and values.
//!
//! Keys that the web UI has stand first, in its order, with its names and its way to count; behind them what only we have, and
//! the program last. Values with commas, colons or line breaks are JSON.
// webui 1.10, processing.py create_infotext and infotext_utils.py quote.

use std::borrow::Cow;
use std::fmt;

use super::{GuidingPicture, PictureSettings, RefinedBy, SecondPass, StartingPicture};
use crate::image::Fit;
use crate::prompt::Emphasis;
use crate::rng::RandomKind;
use crate::scheduler::Sampler;
use crate::skip_layers::SkipLayers;
use crate::variation::Variation;

impl fmt::Display for PictureSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.prompt.trim().is_empty() {
            writeln!(f, "{}", self.prompt)?;
        }
        if let Some(negative) = self.negative_prompt.as_ref().filter(|negative| !negative.trim().is_empty()) {
            writeln!(f, "Negative prompt: {negative}")?;
        }
        let mut line = Line::default();
        self.write_drawing(&mut line);
        self.write_model(&mut line);
        self.write_beginning(&mut line);
        self.write_second(&mut line);
        for (idx, control) in self.controls.iter().enumerate() {
            line.add(format!("ControlNet {idx}"), guiding(control));
        }
        self.write_own(&mut line);
        line.add("Version", &self.software);
        f.write_str(&line.0)
    }
}

/// Keys and values, joined by commas.
#[derive(Default)]
struct Line(String);

impl Line {
    fn add(&mut self, key: impl fmt::Display, value: impl fmt::Display) {
        let comma = if self.0.is_empty() { "" } else { ", " };
        let value = value.to_string();
        // A reader would take an empty one for what follows it.
        if !value.trim().is_empty() {
            self.0.push_str(&format!("{comma}{key}: {}", quoted(&value)));
        }
    }

    fn if_any(&mut self, key: impl fmt::Display, value: Option<impl fmt::Display>) {
        if let Some(value) = value {
            self.add(key, value);
        }
    }
}

/// A value as readers read it back.
fn quoted(value: &str) -> Cow<'_, str> {
    let is_plain =
        !value.contains([',', ':', '\n', '\r']) && !value.starts_with(['"', '{', '[']) && value.trim() == value;
    match is_plain {
        true => Cow::Borrowed(value),
        false => Cow::Owned(serde_json::Value::from(value).to_string()),
    }
}

impl PictureSettings {
    /// How it was drawn.
    fn write_drawing(&self, line: &mut Line) {
        line.add("Steps", self.steps);
        match self.scheduler.parse::<Sampler>() {
            Ok(sampler) => {
                line.add("Sampler", sampler.label());
                line.if_any("Schedule type", schedule(sampler));
            }
            Err(_) => line.add("Sampler", &self.scheduler),
        }
        line.add("CFG scale", self.guidance_scale);
        line.if_any("Image CFG scale", self.start.as_ref().and_then(|start| start.image_guidance));
        line.if_any("CFG rescale", Some(self.guidance_rescale).filter(|share| *share > 0.0));
        line.add("Seed", self.seed);
        line.add("Size", format_args!("{}x{}", self.width, self.height));
    }

    /// With which model, and from which noise.
    fn write_model(&self, line: &mut Line) {
        line.if_any("Model hash", self.model_hash.as_ref());
        line.add("Model", &self.model);
        line.if_any("VAE", self.vae.as_ref());
        if let Some(Variation { seed, strength }) = self.variation {
            line.add("Variation seed", seed);
            line.add("Variation seed strength", strength);
        }
        let strength = self.hires.as_ref().map(|hires| hires.strength);
        line.if_any("Denoising strength", strength.or(self.start.as_ref().map(|start| start.strength)));
        // The web UI counts the last layer itself.
        line.if_any("Clip skip", Some(self.clip_skip + 1).filter(|layers| *layers > 1));
    }

    /// What it began with.
    fn write_beginning(&self, line: &mut Line) {
        if let Some(StartingPicture { file, fit, .. }) = &self.start {
            line.add("Init image", file);
            let fit = fit.as_deref().and_then(|fit| fit.parse().ok());
            line.if_any(
                "Resize mode",
                fit.map(|fit| match fit {
                    Fit::Stretch => "Just resize",
                    Fit::Crop => "Crop and resize",
                    Fit::Fill => "Resize and fill",
                }),
            );
        }
        line.add(
            "RNG",
            match self.random.parse() {
                Ok(RandomKind::Torch) => "CPU",
                Ok(RandomKind::Nvidia) => "NV",
                _ => &self.random,
            },
        );
        line.if_any("Eta", self.eta);
    }

    /// What came after the first pass, and what of it was repainted.
    fn write_second(&self, line: &mut Line) {
        if let Some(SecondPass { width, height, upscaler, strength, steps, .. }) = &self.hires {
            line.add("Hires resize", format_args!("{width}x{height}"));
            // The web UI takes all of these.
            line.add("Hires steps", ((*steps as f64 * strength) as usize).max(1));
            line.add("Hires upscaler", upscaler);
        }
        if let Some(start) = &self.start {
            line.if_any("Mask", start.mask.as_ref());
            line.if_any("Mask blur", start.mask_blur);
            line.if_any("Mask mode", start.mask_inverted.then_some("Inpaint not masked"));
            line.if_any("Inpaint area", start.only_masked.map(|_| "Only masked"));
            line.if_any("Masked area padding", start.only_masked);
        }
        if let Some(RefinedBy { model, start }) = &self.refiner {
            line.add("Refiner", model);
            line.add("Refiner switch at", start);
        }
        line.if_any("Prompt 2", self.prompt_2.as_ref());
        line.if_any("Negative prompt 2", self.negative_prompt_2.as_ref());
        line.if_any("Emphasis", self.emphasis.parse().ok().and_then(Emphasis::other_name));
    }

    /// What the web UI has no words for.
    fn write_own(&self, line: &mut Line) {
        if self.image_count > 1 {
            // Words of its older versions.
            line.add("Batch size", self.image_count);
            line.add("Batch pos", self.image_idx);
        }
        line.if_any("Noise", self.noise.as_ref());
        line.if_any("Negative clip skip", self.negative_clip_skip.map(|layers| layers + 1));
        line.if_any("Time steps", self.timesteps.as_deref().map(list));
        line.if_any("Noise levels", self.sigmas.as_deref().map(list));
        line.if_any("Original steps", self.original_steps);
        line.if_any("Guidance interval", self.guidance_interval.as_ref());
        if let Some(SkipLayers { layers, scale, start, stop }) = self.skip_layers {
            line.add("Skip layers", layers);
            line.add("Skip layer scale", scale);
            line.add("Skip layer steps", format_args!("{start}:{stop}"));
        }
        line.if_any("Forecast", self.forecast.as_ref());
        line.if_any("Outpaint", self.start.as_ref().and_then(|start| start.border.as_ref()));
        if let Some(name) = &self.taesd {
            // The web UI has one TAESD for each family, and does not say which.
            line.add("VAE Decoder", "TAESD");
            line.add("TAESD", name);
        }
        line.add("Embeddings", self.words.join(", "));
        self.conditions.texts().for_each(|(name, text)| line.add(format_args!("XL {name}"), text));
        self.negative_conditions.texts().for_each(|(name, text)| line.add(format_args!("XL negative {name}"), text));
    }
}

/// What the web UI calls the spread of a scheduler's noise levels; none where it would choose the same by itself.
fn schedule(sampler: Sampler) -> Option<&'static str> {
    let even = sampler.automatic_spread().map(|_| "Uniform");
    sampler.spread().map(|spread| spread.label()).or(even)
}

/// What is said of a picture that guided, by the names of the web UI's extension.
fn guiding(control: &GuidingPicture) -> String {
    let GuidingPicture { controlnet, file, preprocess, weight, start, end } = control;
    let (module, numbers) = preprocess.as_deref().unwrap_or("none").split_once(':').unzip();
    let module = module.or(preprocess.as_deref()).unwrap_or("none");
    let numbers = numbers.and_then(|numbers| numbers.split_once(','));
    let numbers = numbers.map(|(low, high)| format!(", Threshold A: {low}, Threshold B: {high}")).unwrap_or_default();
    format!(
        "Module: {module}, Model: {controlnet}, Weight: {weight}, Guidance Start: {start}, Guidance End: {end}, Image: \
         {file}{numbers}"
    )
}

fn list(numbers: &[f64]) -> String {
    numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
