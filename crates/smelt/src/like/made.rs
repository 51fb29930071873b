//! Another tool's settings as a request takes them.

use sd_metadata::{Made, Tool, Unknown, Variation as Said};
use sd_runtime::pipeline::Variation;
use sd_runtime::prompt::Emphasis;
use serde_json::{Map, Value};

use super::beside::What;
use super::tools::{self, NoNegative};
use super::{Like, model};

/// Takes over what is possible.
pub(super) fn take(made: &Made) -> Like {
    let mut like = Like::by(made.tool);
    (like.model, like.model_hash) = (made.model.clone(), made.model_hash.clone().or_else(|| civitai_hash(made)));
    like.size = made.size.and_then(|size| size.to_string().parse().ok());
    if let (None, Some(size)) = (like.size, made.size) {
        like.leave("Size", size, "no size of a picture");
    }
    like.take_emphasis(made);
    like.take_texts(made);
    like.take_numbers(made);
    like.take_noise(made);
    like.take_sampler(made);
    like.set("hires", Value::Null);
    match &made.hires {
        Some(hires) if hires.scale.is_some() || hires.size.is_some() => like.take_second(made, hires),
        hires => {
            if let Some(upscaler) = hires.as_ref().and_then(|hires| hires.upscaler.as_ref()) {
                like.leave("Upscaler", upscaler, "smelt upscale makes pictures larger");
            }
            like.take_begin(made);
        }
    }
    like.take_beside(made);
    like.take_rest(made);
    like
}

impl Like {
    /// How the prompts are read, where the settings say it.
    fn take_emphasis(&mut self, made: &Made) {
        let said = made.emphasis.as_deref().and_then(said_emphasis);
        // Our own text had another key before it had this one.
        let is_web_ui = made.tool == Tool::Smelt && !made.unknown.iter().any(|entry| entry.key == "Image");
        if let Some(emphasis) = said.or(is_web_ui.then_some(Emphasis::Original)) {
            self.set("emphasis", emphasis.name());
        } else if let Some(said) = &made.emphasis {
            self.leave("Emphasis", said, "nothing is known of it");
        }
    }

    fn take_texts(&mut self, made: &Made) {
        self.set("prompt", made.prompt.as_deref().unwrap_or_default());
        self.set("prompt_2", &made.prompt_2);
        let is_guided = made.guidance.is_none_or(|guidance| guidance > 1.0);
        let texts = [("Negative prompt", &made.negative), ("Negative prompt 2", &made.negative_2)];
        if !is_guided {
            self.set("negative_prompt", Value::Null);
            self.set("negative_prompt_2", Value::Null);
            for (key, text) in texts {
                if let Some(text) = text {
                    self.leave(key, text, "it counts nothing at this guidance");
                }
            }
            return;
        }
        let is_empty = tools::habits(made.tool).no_negative == NoNegative::Empty || made.negative_2.is_some();
        let none = is_empty.then(String::new);
        self.set("negative_prompt", made.negative.clone().or(none));
        self.set("negative_prompt_2", &made.negative_2);
    }

    fn take_numbers(&mut self, made: &Made) {
        match made.steps {
            Some(0) => self.leave("Steps", 0, "no number of steps"),
            Some(steps) => self.set("steps", steps),
            None => {}
        }
        match made.guidance {
            Some(guidance) if guidance < 1.0 => {
                self.leave("CFG scale", guidance, "guidance below 1 is off here, as 1 is");
                self.set("guidance", 1.0);
            }
            Some(guidance) => self.set("guidance", guidance),
            None => {}
        }
        let is_guided = made.guidance.is_none_or(|guidance| guidance > 1.0);
        let rescale = made.guidance_rescale.filter(|_| is_guided).unwrap_or(0.0);
        match (0.0..=1.0).contains(&rescale) {
            true => self.set("guidance_rescale", rescale),
            false => self.leave("CFG rescale", rescale, "not between 0 and 1"),
        }
        // The web UI counts the last layer itself.
        self.set("clip_skip", made.clip_skip.map_or(0, |layers| layers.saturating_sub(1)));
        self.set("negative_clip_skip", Value::Null);
        self.set("timesteps", Value::Null);
        self.set("sigmas", Value::Null);
    }

    fn take_noise(&mut self, made: &Made) {
        match tools::noise(made) {
            Ok(random) => self.set("random", random.name()),
            Err((key, value)) => self.leave(key, value, "where this noise came from is not known; it is other noise"),
        }
        if let Some(seed) = made.seed {
            self.set("seed", seed);
        }
        self.set("seeds", tools::habits(made.tool).seeds.name());
        self.set("variation", Value::Null);
        match &made.variation {
            Some(Said { seed: Some(seed), strength: Some(strength) }) if (0.0..=1.0).contains(strength) => {
                self.set("variation", Variation { seed: *seed, strength: *strength });
            }
            Some(Said { strength: Some(0.0), .. }) | None => {}
            Some(Said { seed, .. }) => {
                let seed = seed.map(|seed| seed.to_string()).unwrap_or_default();
                self.leave("Variation seed", seed, "its strength is missing, or not between 0 and 1");
            }
        }
    }

    /// Names what there is no place for.
    fn take_rest(&mut self, made: &Made) {
        if made.tiling == Some(true) {
            self.leave("Tiling", "True", "");
        }
        if let Some(ensd) = made.ensd.filter(|ensd| *ensd > 0) {
            self.leave("ENSD", ensd, "noise of the steps is drawn from the seed itself");
        }
        // stable-diffusion.cpp writes it of every model.
        if let Some(scale) = made.distilled_guidance.filter(|_| made.tool != Tool::StableDiffusionCpp) {
            self.leave("Distilled CFG Scale", scale, "");
        }
        for Unknown { key, value, why } in &made.unknown {
            match key.as_str() {
                "seed_mode" | "v2.seedMode" => {}
                "TI hashes" => self.need_words(value.split(", ").filter_map(|word| word.split(':').next())),
                "Embeddings" => self.need_words(value.split(", ")),
                "Noise" if made.tool == Tool::Smelt => self.need(What::Noise, value.clone()),
                _ => self.leave_unless_idle(key, value, why.as_deref()),
            }
        }
    }

    fn need_words<'a>(&mut self, words: impl Iterator<Item = &'a str>) {
        words.for_each(|word| self.need(What::Embedding, word.to_owned()));
    }
}

/// What weights in prompts did, by the names of tools and by our own.
fn said_emphasis(name: &str) -> Option<Emphasis> {
    let is_named = |emphasis: &Emphasis| emphasis.other_name() == Some(name) || emphasis.name() == name;
    Emphasis::ALL.into_iter().find(is_named)
}

/// The model's hash of Civitai's extension: `Hashes: {"model": "…"}`.
fn civitai_hash(made: &Made) -> Option<String> {
    let hashes = made.unknown.iter().find(|entry| entry.key == "Hashes")?;
    let hashes: Map<String, Value> = serde_json::from_str(&hashes.value).ok()?;
    hashes.get("model")?.as_str().filter(|hash| model::is_hash(hash)).map(str::to_owned)
}
