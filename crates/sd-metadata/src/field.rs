//! The fields of [`Made`] by name, for the tables that say what a tool calls them.

use crate::made::{Made, Size};

/// A field that a text can be put into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    Version,
    Prompt,
    Negative,
    Prompt2,
    Negative2,
    Steps,
    Sampler,
    Schedule,
    Guidance,
    DistilledGuidance,
    ImageGuidance,
    GuidanceRescale,
    Emphasis,
    Seed,
    Size,
    Width,
    Height,
    Model,
    ModelHash,
    Vae,
    VaeHash,
    ClipSkip,
    Strength,
    HiresScale,
    HiresSize,
    HiresSteps,
    HiresUpscaler,
    HiresSampler,
    HiresSchedule,
    HiresPrompt,
    HiresNegative,
    HiresGuidance,
    HiresModel,
    VariationSeed,
    VariationStrength,
    Eta,
    Ensd,
    Rng,
    Tiling,
    Refiner,
    RefinerStart,
    InitImage,
    InitImageHash,
    ResizeMode,
    Mask,
    MaskBlur,
    MaskMode,
    MaskContent,
    MaskArea,
    MaskPadding,
}

impl Made {
    /// Puts a value into a field; a value that cannot stand there is kept under `key`, with what was wrong.
    pub(crate) fn put(&mut self, field: Field, key: &str, value: &str) {
        if let Err(why) = self.set(field, value) {
            self.keep_wrong(key, value, why);
        }
    }

    /// Sets a field, or says why it cannot.
    fn set(&mut self, field: Field, value: &str) -> Result<(), &'static str> {
        match field {
            Field::Version => self.version = Some(text(value)?),
            Field::Prompt => self.prompt = words(value),
            Field::Negative => self.negative = words(value),
            Field::Prompt2 => self.prompt_2 = words(value),
            Field::Negative2 => self.negative_2 = words(value),
            Field::Steps => self.steps = Some(whole(value)?),
            Field::Sampler => self.sampler = Some(text(value)?),
            Field::Schedule => self.schedule = Some(text(value)?),
            Field::Guidance => self.guidance = Some(number(value)?),
            Field::DistilledGuidance => self.distilled_guidance = Some(number(value)?),
            Field::ImageGuidance => self.image_guidance = Some(number(value)?),
            Field::GuidanceRescale => self.guidance_rescale = Some(number(value)?),
            Field::Emphasis => self.emphasis = Some(text(value)?),
            Field::Seed => self.seed = Some(whole(value)?),
            Field::Size => self.size = Some(size(value)?),
            Field::Width => self.size.get_or_insert(Size { width: 0, height: 0 }).width = whole(value)?,
            Field::Height => self.size.get_or_insert(Size { width: 0, height: 0 }).height = whole(value)?,
            Field::Model => self.model = Some(text(value)?),
            Field::ModelHash => self.model_hash = Some(text(value)?),
            Field::Vae => self.vae = Some(text(value)?),
            Field::VaeHash => self.vae_hash = Some(text(value)?),
            Field::ClipSkip => self.clip_skip = Some(whole(value)?),
            Field::Strength => self.strength = Some(number(value)?),
            Field::Eta => self.eta = Some(number(value)?),
            Field::Ensd => self.ensd = Some(whole(value)?),
            Field::Rng => self.rng = Some(text(value)?),
            Field::Tiling => self.tiling = Some(truth(value)?),
            Field::InitImage => self.init_image = Some(text(value)?),
            Field::InitImageHash => self.init_image_hash = Some(text(value)?),
            Field::ResizeMode => self.resize_mode = Some(text(value)?),
            _ => return self.set_within(field, value),
        }
        Ok(())
    }

    /// Sets a field of what belongs together, which is there from the first of them on.
    fn set_within(&mut self, field: Field, value: &str) -> Result<(), &'static str> {
        match field {
            Field::VariationSeed => {
                let seed = whole(value)?;
                self.variation.get_or_insert_default().seed = Some(seed);
            }
            Field::VariationStrength => {
                let strength = number(value)?;
                self.variation.get_or_insert_default().strength = Some(strength);
            }
            Field::Refiner => {
                let model = text(value)?;
                self.refiner.get_or_insert_default().model = Some(model);
            }
            Field::RefinerStart => {
                let start = number(value)?;
                self.refiner.get_or_insert_default().start = Some(start);
            }
            Field::Mask | Field::MaskMode | Field::MaskContent | Field::MaskArea => {
                let value = text(value)?;
                let inpaint = self.inpaint.get_or_insert_default();
                *match field {
                    Field::Mask => &mut inpaint.mask,
                    Field::MaskMode => &mut inpaint.mode,
                    Field::MaskContent => &mut inpaint.content,
                    _ => &mut inpaint.area,
                } = Some(value);
            }
            Field::MaskBlur => {
                let blur = number(value)?;
                self.inpaint.get_or_insert_default().blur = Some(blur);
            }
            Field::MaskPadding => {
                let padding = whole(value)?;
                self.inpaint.get_or_insert_default().padding = Some(padding);
            }
            _ => return self.set_hires(field, value),
        }
        Ok(())
    }

    /// Sets a field of the second pass.
    fn set_hires(&mut self, field: Field, value: &str) -> Result<(), &'static str> {
        let mut hires = self.hires.clone().unwrap_or_default();
        match field {
            Field::HiresScale => hires.scale = Some(number(value)?),
            Field::HiresSize => hires.size = Some(size(value)?),
            Field::HiresSteps => hires.steps = Some(whole(value)?),
            Field::HiresGuidance => hires.guidance = Some(number(value)?),
            Field::HiresUpscaler => hires.upscaler = Some(text(value)?),
            Field::HiresSampler => hires.sampler = Some(text(value)?),
            Field::HiresSchedule => hires.schedule = Some(text(value)?),
            Field::HiresPrompt => hires.prompt = Some(text(value)?),
            Field::HiresNegative => hires.negative = Some(text(value)?),
            _ => hires.model = Some(text(value)?),
        }
        self.hires = Some(hires);
        Ok(())
    }
}

/// A prompt; none where it is empty.
fn words(value: &str) -> Option<String> {
    Some(value.to_owned()).filter(|value| !value.trim().is_empty())
}

/// A text that says something.
fn text(value: &str) -> Result<String, &'static str> {
    match value.trim().is_empty() {
        true => Err("empty"),
        false => Ok(value.to_owned()),
    }
}

/// A whole number; some tools write it as a fraction, `20.0`.
fn whole(value: &str) -> Result<u64, &'static str> {
    const WHY: &str = "not a whole number from 0 to 18446744073709551615";
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let value = value.trim();
    if value.starts_with('+') {
        return Err(WHY);
    }
    value.parse().or_else(|_| match value.parse::<f64>() {
        Ok(number) if number.fract() == 0.0 && (0.0..=EXACT).contains(&number) => Ok(number as u64),
        _ => Err(WHY),
    })
}

/// A finite number.
pub(crate) fn number(value: &str) -> Result<f64, &'static str> {
    value.trim().parse().ok().filter(|number: &f64| number.is_finite()).ok_or("not a number")
}

/// `512x768`, width first.
fn size(value: &str) -> Result<Size, &'static str> {
    const WHY: &str = "not a size such as 512x768";
    let (width, height) = value.split_once(['x', 'X', '×']).ok_or(WHY)?;
    let side = |side: &str| side.trim().parse().map_err(|_| WHY);
    Ok(Size { width: side(width)?, height: side(height)? })
}

fn truth(value: &str) -> Result<bool, &'static str> {
    match value.trim().to_ascii_lowercase().as_str() {
        "true" | "yes" | "1" => Ok(true),
        "false" | "no" | "0" => Ok(false),
        _ => Err("neither True nor False"),
    }
}
