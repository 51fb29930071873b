//! Settings as AUTOMATIC1111's grammar has them.

use super::{FILLER, KEYS, MIN_PAIRS, NEGATIVE, NOT_UNDERSTOOD, has_settings, is_known, prompts, scan, split_schedule};
use crate::control::Control;
use crate::field::Field;
use crate::lora;
use crate::made::{Made, Unknown};

impl Made {
    /// The settings in AUTOMATIC1111's grammar; what that has no words for stands in it by name.
    ///
    /// LoRAs that the prompt does not name are added to it. Reading the text and writing it again gives the same text. Where
    /// the grammar cannot say something (a line of the prompt that begins with `Negative prompt:`, space around lines), the
    /// text is the one that its readers understand.
    #[must_use]
    pub fn to_parameters(&self) -> String {
        let mut made = self.clone();
        split_schedule(&mut made);
        made.write()
    }

    fn write(&self) -> String {
        let mut rest = Vec::new();
        let (prompt, negative) = self.written_prompts(&mut rest);
        let mut pairs = self.pairs(&prompt, &mut rest);
        rest.extend(self.unknown.iter().cloned());
        // What is wrong with the prompt is found first when it is read again.
        let wrong: Vec<Unknown> = lora::wrong_tags(&prompt).collect();
        rest.retain(|entry| !wrong.contains(entry));
        let (said, odd): (Vec<_>, Vec<_>) = wrong.into_iter().chain(rest).partition(is_sayable);
        pairs.extend(said.into_iter().map(|Unknown { key, value, .. }| (key, value)));
        if !odd.is_empty() {
            let odd: Vec<_> = odd.iter().map(|Unknown { key, value, why }| (key, value, why)).collect();
            pairs.push((NOT_UNDERSTOOD.to_owned(), serde_json::to_string(&odd).unwrap_or_default()));
        }
        let version = self.tool.full_version(self.version.as_deref());
        pairs.extend(version.map(|version| ("Version".to_owned(), version)));
        let mut text = prompt;
        if !negative.is_empty() {
            text.push_str(if text.is_empty() { "" } else { "\n" });
            text.push_str(&format!("{NEGATIVE} {negative}"));
        }
        if !pairs.is_empty() || has_settings(&text) {
            let missing = MIN_PAIRS.saturating_sub(pairs.len());
            pairs.extend((1..=missing).map(|n| (format!("{FILLER} {n}"), "none".to_owned())));
            let line: Vec<String> = pairs.iter().map(|(key, value)| format!("{key}: {}", scan::quote(value))).collect();
            text.push_str(if text.is_empty() { "" } else { "\n" });
            text.push_str(&line.join(", "));
        }
        text
    }

    /// Both prompts as they are read again, with the LoRAs that stand in none.
    fn written_prompts(&self, rest: &mut Vec<Unknown>) -> (String, String) {
        let mut prompt = self.prompt.clone().unwrap_or_default();
        let (named, _) = prompts(&prompt);
        let named: Vec<_> = lora::tags(&named).into_iter().filter_map(|(_, lora)| lora).collect();
        for lora in &self.loras {
            let is_named = |there: &&crate::made::Lora| there.name == lora.name && there.weight == lora.weight;
            if lora.weight.is_none() || named.iter().any(|there| is_named(&there)) {
                continue;
            }
            match lora::tag(lora) {
                Some(tag) => prompt = format!("{} {tag}", prompt.trim_end()).trim_start().to_owned(),
                None => rest.push(unsaid("LoRA", serde_json::to_string(lora).unwrap_or_default())),
            }
        }
        let negative = self.negative.as_deref().unwrap_or_default();
        let (prompt, mut negative) = prompts(&format!("{prompt}\n{NEGATIVE} {negative}"));
        // The first line stands behind one of these words already; of the others each reading takes one away.
        if let Some((first, rest)) = negative.split_once('\n') {
            let lines: Vec<&str> = rest.lines().map(bare).collect();
            negative = format!("{first}\n{}", lines.join("\n")).trim().to_owned();
        }
        (prompt, negative)
    }

    /// All settings that have a key.
    fn pairs(&self, prompt: &str, rest: &mut Vec<Unknown>) -> Vec<(String, String)> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for (key, field) in KEYS.iter().filter(|(_, field)| *field != Field::Version) {
            pairs.extend(
                self.get(*field).filter(|value| !value.trim().is_empty()).map(|value| ((*key).to_owned(), value)),
            );
        }
        for (idx, control) in self.controls.iter().enumerate() {
            let said = control.to_string();
            match Control::parse(&said).as_ref() == Some(control) {
                true => pairs.push((format!("ControlNet {idx}"), said)),
                false => rest.push(unsaid("ControlNet", serde_json::to_string(control).unwrap_or_default())),
            }
        }
        let hashes = self.lora_hashes(prompt, rest);
        if !hashes.is_empty() {
            pairs.push(("Lora hashes".to_owned(), hashes.join(", ")));
        }
        pairs
    }

    /// Names and hashes of LoRAs, those of the prompt first, as they are read.
    fn lora_hashes(&self, prompt: &str, rest: &mut Vec<Unknown>) -> Vec<String> {
        let names: Vec<String> = lora::tags(prompt).into_iter().filter_map(|(_, lora)| Some(lora?.name)).collect();
        let mut loras: Vec<_> = self.loras.iter().filter_map(|lora| Some((&lora.name, lora.hash.as_ref()?))).collect();
        loras.sort_by_key(|(name, _)| names.iter().position(|there| there == *name).unwrap_or(usize::MAX));
        let mut hashes = Vec::new();
        for (name, hash) in loras {
            let is_plain = |text: &str| !text.is_empty() && !text.contains([',', ':']) && text.trim() == text;
            match is_plain(name) && is_plain(hash) {
                true => hashes.push(format!("{name}: {hash}")),
                false => rest.push(unsaid(format!("LoRA hash of {name}"), hash.clone())),
            }
        }
        hashes
    }

    /// A field as text; absent if it is not there.
    pub(crate) fn get(&self, field: Field) -> Option<String> {
        let whole = |number: Option<u64>| number.map(|number| number.to_string());
        let number = |number: Option<f64>| number.map(|number| number.to_string());
        match field {
            Field::Version => self.version.clone(),
            Field::Prompt => self.prompt.clone(),
            Field::Negative => self.negative.clone(),
            Field::Prompt2 => self.prompt_2.clone(),
            Field::Negative2 => self.negative_2.clone(),
            Field::Steps => whole(self.steps),
            Field::Sampler => self.sampler.clone(),
            Field::Schedule => self.schedule.clone(),
            Field::Guidance => number(self.guidance),
            Field::DistilledGuidance => number(self.distilled_guidance),
            Field::ImageGuidance => number(self.image_guidance),
            Field::GuidanceRescale => number(self.guidance_rescale),
            Field::Emphasis => self.emphasis.clone(),
            Field::Seed => whole(self.seed),
            Field::Size => self.size.map(|size| size.to_string()),
            Field::Width => self.size.map(|size| size.width.to_string()),
            Field::Height => self.size.map(|size| size.height.to_string()),
            Field::Model => self.model.clone(),
            Field::ModelHash => self.model_hash.clone(),
            Field::Vae => self.vae.clone(),
            Field::VaeHash => self.vae_hash.clone(),
            Field::ClipSkip => whole(self.clip_skip),
            Field::Strength => number(self.strength),
            Field::Eta => number(self.eta),
            Field::Ensd => whole(self.ensd),
            Field::Rng => self.rng.clone(),
            Field::Tiling => self.tiling.map(|tiling| if tiling { "True" } else { "False" }.to_owned()),
            Field::InitImage => self.init_image.clone(),
            Field::InitImageHash => self.init_image_hash.clone(),
            Field::ResizeMode => self.resize_mode.clone(),
            Field::VariationSeed => whole(self.variation.as_ref()?.seed),
            Field::VariationStrength => number(self.variation.as_ref()?.strength),
            Field::Refiner => self.refiner.as_ref()?.model.clone(),
            Field::RefinerStart => number(self.refiner.as_ref()?.start),
            _ => self.get_within(field),
        }
    }

    /// A field of the second pass or of what was repainted.
    fn get_within(&self, field: Field) -> Option<String> {
        let number = |number: Option<f64>| number.map(|number| number.to_string());
        let (hires, inpaint) = (self.hires.clone().unwrap_or_default(), self.inpaint.clone().unwrap_or_default());
        match field {
            Field::HiresScale => number(hires.scale),
            Field::HiresSize => hires.size.map(|size| size.to_string()),
            Field::HiresSteps => hires.steps.map(|steps| steps.to_string()),
            Field::HiresUpscaler => hires.upscaler,
            Field::HiresSampler => hires.sampler,
            Field::HiresSchedule => hires.schedule,
            Field::HiresPrompt => hires.prompt,
            Field::HiresNegative => hires.negative,
            Field::HiresGuidance => number(hires.guidance),
            Field::HiresModel => hires.model,
            Field::Mask => inpaint.mask,
            Field::MaskBlur => number(inpaint.blur),
            Field::MaskMode => inpaint.mode,
            Field::MaskContent => inpaint.content,
            Field::MaskArea => inpaint.area,
            Field::MaskPadding => inpaint.padding.map(|padding| padding.to_string()),
            _ => None,
        }
    }

    /// Whether a field is there.
    pub(crate) fn has(&self, field: Field) -> bool {
        let size = self.size.unwrap_or(crate::made::Size { width: 0, height: 0 });
        match field {
            Field::Width => size.width > 0,
            Field::Height => size.height > 0,
            _ => self.get(field).is_some(),
        }
    }
}

/// A line without the words that begin the negative prompt.
fn bare(line: &str) -> &str {
    let mut line = line.trim();
    while let Some(rest) = line.strip_prefix(NEGATIVE) {
        line = rest.trim();
    }
    line
}

/// A setting that has no place in the grammar.
fn unsaid(key: impl Into<String>, value: String) -> Unknown {
    Unknown { key: key.into(), value, why: None }
}

/// Whether an entry can stand in the line under its own name, and is read there as what it is.
fn is_sayable(entry: &Unknown) -> bool {
    entry.why.is_none() && scan::is_key(&entry.key) && !is_known(&entry.key)
}
