//! A picture of our own: its settings say all, and are drawn again to the byte.

use sd_metadata::{Text, Tool};
use sd_runtime::pipeline::{GuidingPicture, PictureSettings, RefinedBy, SecondPass, Seeds, StartingPicture};
use serde_json::{Map, Value};

use super::Like;
use super::begin::Begun;
use super::beside::{Guided, What};
use crate::hires::{Enlarge, Hires};
use crate::request::Request;

/// Keys of our settings, and the fields of a request that say the same.
const FIELDS: [(&str, &str); 23] = [
    ("prompt", "prompt"),
    ("prompt_2", "prompt_2"),
    ("negative_prompt", "negative_prompt"),
    ("negative_prompt_2", "negative_prompt_2"),
    ("emphasis", "emphasis"),
    ("conditions", "conditions"),
    ("negative_conditions", "negative_conditions"),
    ("seed", "seed"),
    ("steps", "steps"),
    ("guidance_scale", "guidance"),
    ("guidance_rescale", "guidance_rescale"),
    ("clip_skip", "clip_skip"),
    ("negative_clip_skip", "negative_clip_skip"),
    ("timesteps", "timesteps"),
    ("sigmas", "sigmas"),
    ("eta", "eta"),
    ("original_steps", "original_steps"),
    ("variation", "variation"),
    ("guidance_interval", "guidance_interval"),
    ("skip_layers", "skip_layers"),
    ("forecast", "forecast"),
    ("scheduler", "scheduler"),
    ("random", "random"),
];
/// Keys of which something else becomes.
const OTHERS: [&str; 15] = [
    "software",
    "model",
    "model_hash",
    "vae",
    "words",
    "refiner",
    "image_idx",
    "image_count",
    "noise",
    "start",
    "controls",
    "taesd",
    "width",
    "height",
    "hires",
];

/// Our settings, if they stand among a picture's texts and are whole.
pub(super) fn find(texts: &[Text]) -> Option<Like> {
    let own = texts.iter().filter(|text| text.text.trim_start().starts_with('{'));
    let mut objects = own.filter_map(|text| serde_json::from_str::<Map<String, Value>>(&text.text).ok());
    objects.find_map(|object| {
        let settings: PictureSettings = serde_json::from_value(object.clone().into()).ok()?;
        let is_ours = settings.software.starts_with("smelt");
        is_ours.then(|| take(object, settings))
    })
}

/// Takes all of it over.
fn take(mut object: Map<String, Value>, settings: PictureSettings) -> Like {
    let PictureSettings {
        model,
        model_hash,
        vae,
        words,
        refiner,
        image_idx,
        image_count,
        noise,
        start,
        controls,
        taesd,
        width,
        height,
        hires,
        ..
    } = settings;
    let size = format!("{width}x{height}").parse().ok();
    let mut like = Like { size, model: Some(model), model_hash, ..Like::by(Tool::Smelt) };
    // What is left out is as usual, whatever a file of settings says, and prompts are plain text then.
    let usual = serde_json::to_value(Request::default()).unwrap_or_default();
    for (key, field) in FIELDS {
        let value = object.shift_remove(key).or_else(|| like.settings.get(field).cloned());
        like.settings.insert(field.to_owned(), value.unwrap_or_else(|| usual[field].clone()));
    }
    like.set("denoising_start", Value::Null);
    like.set("denoising_end", Value::Null);
    like.take_place(image_idx, image_count);
    like.take_own_second(hires);
    like.take_own_beside(refiner, [vae, taesd], words, noise);
    start.into_iter().for_each(|start| like.take_own_start(start));
    controls.into_iter().enumerate().for_each(|(idx, control)| like.take_own_control(idx, control));
    // Of a later version.
    for (key, value) in object.iter().filter(|(key, _)| !OTHERS.contains(&key.as_str())) {
        like.leave_unless_idle(key, &value.to_string(), None);
    }
    like
}

impl Like {
    fn take_own_second(&mut self, said: Option<SecondPass>) {
        self.set("hires", Value::Null);
        let Some(SecondPass { width, height, by, upscaler: _, strength, steps }) = said else { return };
        match (format!("{width}x{height}").parse(), by.parse::<Enlarge>()) {
            (Ok(size), Ok(by)) => self.set("hires", Hires { size, by, strength, steps: Some(steps) }),
            _ => self.leave("hires", format!("{width}x{height} by {by}"), "no second pass that there is here"),
        }
    }

    /// Takes which of several pictures it was.
    fn take_place(&mut self, image_idx: usize, image_count: usize) {
        // What was drawn before that was written says only which.
        let count = image_count.max(image_idx.saturating_add(1));
        self.set("only", (count > 1).then_some(image_idx));
        if count > 1 {
            self.set("count", count);
            self.set("seeds", Seeds::Stream.name());
        }
    }

    /// Takes what was given beside the settings.
    fn take_own_beside(
        &mut self,
        refiner: Option<RefinedBy>,
        [vae, taesd]: [Option<String>; 2],
        words: Vec<String>,
        noise: Option<String>,
    ) {
        // A model's name has the LoRAs in it that were added: `model + name:weight`.
        let model = self.model.clone().unwrap_or_default();
        let is_lora = |part: &&str| part.rsplit_once(':').is_some_and(|(_, weight)| weight.parse::<f32>().is_ok());
        let loras = model.split(" + ").skip(1).filter(is_lora).map(|name| (What::Lora, name.to_owned()));
        let words = words.into_iter().map(|word| (What::Embedding, word));
        let others = [(What::Vae, vae), (What::Taesd, taesd)];
        let others = others.into_iter().filter_map(|(what, name)| Some((what, name?)));
        loras.chain(words).chain(others).for_each(|(what, name)| self.need(what, name));
        if let Some(RefinedBy { model, start }) = refiner {
            self.need(What::Refiner, model);
            self.set("refiner_start", start);
        }
        if let Some(noise) = noise {
            self.need(What::Noise, noise);
        }
    }

    fn take_own_start(&mut self, start: StartingPicture) {
        let StartingPicture {
            file,
            strength,
            fit,
            mask,
            mask_inverted,
            mask_blur,
            only_masked,
            border,
            image_guidance,
        } = start;
        self.need(What::Image, file);
        if let Some(mask) = mask {
            self.need(What::Mask, mask);
        }
        self.begun = Begun {
            // A model that edits pictures takes none.
            strength: Some(strength).filter(|_| image_guidance.is_none()),
            fit: fit.and_then(|fit| fit.parse().ok()),
            is_inverted: mask_inverted,
            mask_blur,
            only_masked,
            border: border.and_then(|border| border.parse().ok()),
            image_guidance,
        };
    }

    fn take_own_control(&mut self, idx: usize, control: GuidingPicture) {
        let GuidingPicture { controlnet, file, preprocess, weight, start, end } = control;
        self.need(What::Control(idx), format!("{controlnet} with {file}"));
        let preprocess = preprocess.unwrap_or_else(|| "none".to_owned()).parse().ok();
        self.guided.push(Guided { module: None, preprocess, weight: Some(weight), start: Some(start), end: Some(end) });
    }
}
