//! A picture of our own: its settings say all, and are drawn again to the byte.

use sd_metadata::{Text, Tool};
use sd_runtime::pipeline::{GuidingPicture, PictureSettings, RefinedBy, SecondPass, StartingPicture};
use serde_json::{Map, Value};

use super::Like;
use super::begin::Begun;
use super::beside::{Guided, What};
use crate::hires::{Enlarge, Hires};

/// Our settings, if they stand among a picture's texts and are whole.
pub(super) fn find(texts: &[Text]) -> Option<Like> {
    let own = texts.iter().filter(|text| text.text.trim_start().starts_with('{'));
    let mut objects = own.filter_map(|text| serde_json::from_str::<Map<String, Value>>(&text.text).ok());
    objects.find_map(|object| {
        let settings: PictureSettings = serde_json::from_value(object.clone().into()).ok()?;
        let known = serde_json::to_value(&settings).ok()?;
        let mut like = Some(settings).filter(|settings| settings.software.starts_with("smelt")).map(take)?;
        // Of a later version.
        for (key, value) in object.iter().filter(|(key, value)| known.get(key).is_none() && !value.is_null()) {
            like.leave_unless_idle(key, &value.to_string(), None);
        }
        Some(like)
    })
}

/// Takes all of it over.
fn take(settings: PictureSettings) -> Like {
    let PictureSettings {
        software: _,
        model,
        prompt,
        prompt_2,
        negative_prompt,
        negative_prompt_2,
        emphasis,
        conditions,
        negative_conditions,
        refiner,
        seed,
        image_idx,
        steps,
        guidance_scale,
        guidance_rescale,
        clip_skip,
        negative_clip_skip,
        timesteps,
        sigmas,
        eta,
        original_steps,
        variation,
        guidance_interval,
        skip_layers,
        forecast,
        scheduler,
        random,
        start,
        controls,
        taesd,
        width,
        height,
        hires,
    } = settings;
    let mut like = Like { size: format!("{width}x{height}").parse().ok(), ..Like::by(Tool::Smelt) };
    like.name_loras(&model);
    like.model = Some(model);
    let fields = [
        ("prompt", Value::from(prompt)),
        ("emphasis", emphasis.into()),
        ("prompt_2", prompt_2.into()),
        ("negative_prompt", negative_prompt.into()),
        ("negative_prompt_2", negative_prompt_2.into()),
        ("seed", seed.into()),
        ("steps", steps.into()),
        ("guidance", guidance_scale.into()),
        ("guidance_rescale", guidance_rescale.into()),
        ("clip_skip", clip_skip.into()),
        ("negative_clip_skip", negative_clip_skip.into()),
        ("timesteps", timesteps.into()),
        ("sigmas", sigmas.into()),
        ("eta", eta.into()),
        ("original_steps", original_steps.into()),
        ("guidance_interval", guidance_interval.into()),
        ("forecast", forecast.into()),
        ("scheduler", scheduler.into()),
        ("random", random.into()),
    ];
    like.settings.extend(fields.map(|(field, value)| (field.to_owned(), value)));
    like.set("conditions", conditions);
    like.set("negative_conditions", negative_conditions);
    like.set("variation", variation);
    like.set("denoising_start", Value::Null);
    like.set("denoising_end", Value::Null);
    like.set("skip_layers", skip_layers);
    like.set("hires", hires.and_then(second));
    if image_idx > 0 {
        like.leave("image_idx", image_idx, "it was one of several; the first of its seed is drawn");
    }
    if let Some(RefinedBy { model, start }) = refiner {
        like.need(What::Refiner, model);
        like.set("refiner_start", start);
    }
    if let Some(start) = start {
        like.take_own_start(start);
    }
    for (idx, control) in controls.into_iter().enumerate() {
        like.take_own_control(idx, control);
    }
    if let Some(name) = taesd {
        like.need(What::Taesd, name);
    }
    like
}

fn second(said: SecondPass) -> Option<Hires> {
    let SecondPass { width, height, by, upscaler: _, strength, steps } = said;
    let size = format!("{width}x{height}").parse().ok()?;
    Some(Hires { size, by: by.parse::<Enlarge>().ok()?, strength, steps: Some(steps) })
}

impl Like {
    /// A model's name has the LoRAs in it that were added: `model + name:weight`.
    fn name_loras(&mut self, model: &str) {
        let is_lora = |part: &&str| part.rsplit_once(':').is_some_and(|(_, weight)| weight.parse::<f32>().is_ok());
        let names: Vec<&str> = model.split(" + ").skip(1).filter(is_lora).collect();
        names.into_iter().for_each(|name| self.need(What::Lora, name.to_owned()));
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
