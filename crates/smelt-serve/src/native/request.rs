//! What a job is asked for with, in the words of this interface.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use smelt::image::{Border, Fit};
use smelt::{Control, ControlPicture, Preprocess, Start, StartMask};
use utoipa::ToSchema;

use crate::fault::Fault;
use crate::format::FormatName;
use crate::input;
use crate::options::Limits;
use crate::order::Draft;

/// Declares [`JobRequest`]: fields of its own, and those of the library's request, which are handed on as they are.
macro_rules! job_request {
    ($($(#[$attribute:meta])* $field:ident: $kind:ty = $words:literal,)*) => {
        /// What is drawn, and how. What is left out or null, the model says, or is as usual; the seed is random then.
        ///
        /// Fields that are not explained at length mean what they mean in files for `smelt generate --config`.
        #[derive(Debug, Default, Deserialize, ToSchema)]
        #[serde(deny_unknown_fields, default)]
        pub(crate) struct JobRequest {
            /// Name of the model; default: the one that is chosen.
            model: Option<String>,
            /// Pixels of a row.
            #[schema(minimum = 1)]
            width: Option<usize>,
            /// Rows.
            #[schema(minimum = 1)]
            height: Option<usize>,
            /// The picture to begin with.
            image: Option<ImageRequest>,
            /// Pictures that guide by ControlNets.
            controls: Option<Vec<ControlRequest>>,
            /// LoRAs that are added; prompts may name some too.
            loras: Option<Vec<LoraRequest>>,
            /// Steps between two previews; default: none.
            #[schema(minimum = 1)]
            preview_every: Option<usize>,
            /// Format of the pictures.
            format: Option<FormatName>,
            $(#[doc = $words] $(#[$attribute])* $field: Option<$kind>,)*
        }

        impl JobRequest {
            /// The library's own fields, as far as they are given.
            fn settings(&self) -> Map<String, Value> {
                let mut settings = Map::new();
                $(if let Some(value) = &self.$field {
                    settings.insert(stringify!($field).to_owned(), serde_json::json!(value));
                })*
                settings
            }

            /// Their names.
            #[cfg(test)]
            const NAMES: &[&str] = &[$(stringify!($field)),*];
        }
    };
}

job_request! {
    prompt: String = "What the pictures show.",
    prompt_2: String = "The same in the words of XL's second text encoder.",
    negative_prompt: String = "What they do not show.",
    negative_prompt_2: String = "The negative prompt of the second text encoder.",
    emphasis: String = "The language of the prompts, and what weights in them do: `none`, `web-ui`, ….",
    #[schema(value_type = Option<Object>)] conditions: Map<String, Value> = "What XL is told beside the prompt.",
    #[schema(value_type = Option<Object>)] negative_conditions: Map<String, Value> = "What XL is told beside the negative prompt.",
    seed: u64 = "The seed; random where there is none.",
    steps: usize = "Denoising steps.",
    guidance: f32 = "How strongly the prompt counts; off at 1 and below.",
    guidance_rescale: f32 = "How much of the guided prediction is brought to the spread of the prompt's own, 0 to 1.",
    clip_skip: usize = "Layers of CLIP's that the prompt does without, from the last.",
    negative_clip_skip: usize = "The same for the negative prompt.",
    guidance_interval: String = "Where guidance is on, such as `0.2:0.8`.",
    #[schema(value_type = Option<Object>)] skip_layers: Map<String, Value> = "Guidance away from a transformer without some of its blocks.",
    forecast: String = "The rule by which some steps are foretold.",
    count: usize = "Number of pictures.",
    only: usize = "Draw this one of them alone, from 0.",
    seeds: String = "One stream of random numbers for all pictures (`stream`), or seeds of their own (`each`).",
    scheduler: String = "The sampler, by its own name, diffusers' or AUTOMATIC1111's.",
    timesteps: Vec<f64> = "Time steps to take, falling, in the place of a number of steps.",
    sigmas: Vec<f64> = "Noise levels to take, falling.",
    eta: f64 = "How much noise the sampler adds on the way, 0 to 1.",
    original_steps: usize = "Steps that a latent consistency model was distilled from.",
    #[schema(value_type = Option<Object>)] variation: Map<String, Value> = "Noise of another seed that is mixed in: `seed` and `strength`.",
    random: String = "Whose random numbers: `torch`, `numpy` or `nvidia`.",
    denoising_start: f64 = "Take only the steps after this share of the noise schedule.",
    denoising_end: f64 = "Take only the steps before this share of the noise schedule.",
    #[schema(value_type = Option<Object>)] hires: Map<String, Value> = "A second, larger pass: `size`, `by`, `strength`, `steps`.",
    refiner_start: f64 = "Where a refiner takes over.",
    no_safety_check: bool = "Leave the safety checker out.",
}

/// The picture to begin with, and what of it may change.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ImageRequest {
    /// PNG, JPEG or WebP as base64, with or without `data:…;base64,`.
    image: String,
    /// Name of its file, for the settings of what is drawn.
    #[serde(default)]
    file: Option<String>,
    /// How much of it may change: above 0 to 1.
    #[serde(default)]
    strength: Option<f64>,
    /// What becomes of other proportions: `crop`, `fill` or `resize`.
    #[serde(default)]
    fit: Option<String>,
    /// White where it is repainted; base64 too.
    #[serde(default)]
    mask: Option<String>,
    /// What is black is repainted instead.
    #[serde(default)]
    mask_inverted: Option<bool>,
    /// How soft the mask is made, in pixels.
    #[serde(default)]
    mask_blur: Option<f32>,
    /// Draw only what is masked, at full size, with so many pixels around it.
    #[serde(default)]
    only_masked: Option<usize>,
    /// Room that is added around it: `LEFT,TOP,RIGHT,BOTTOM` in pixels, or one number for all sides.
    #[serde(default)]
    outpaint: Option<String>,
    /// How strongly it counts for models that edit by instructions.
    #[serde(default)]
    image_guidance: Option<f32>,
}

/// A picture that guides.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ControlRequest {
    /// Name of the ControlNet.
    controlnet: String,
    /// The picture, as base64.
    image: String,
    /// What becomes of it first: `none`, `canny`, ….
    #[serde(default)]
    preprocess: Option<String>,
    /// How strongly it guides; 1 as usual.
    #[serde(default)]
    weight: Option<f32>,
    /// From which share of the steps on.
    #[serde(default)]
    start: Option<f64>,
    /// Until which share of the steps.
    #[serde(default)]
    end: Option<f64>,
}

/// A LoRA.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LoraRequest {
    /// Its name.
    name: String,
    /// How strongly; 1 as usual.
    #[serde(default)]
    strength: Option<f32>,
}

/// What is parsed from a text of a request.
fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
    field: &str,
    text: Option<&String>,
) -> Result<Option<T>, Fault> {
    let parse = |text: &String| text.parse().map_err(|error| Fault::field(field, format!("{field}: {error}")));
    text.map(parse).transpose()
}

impl JobRequest {
    /// The same as every interface makes it.
    pub(crate) fn draft(self, limits: &Limits) -> Result<Draft, Fault> {
        let settings = self.settings();
        let start = self.image.map(|image| image.start(limits)).transpose()?;
        let controls = self.controls.unwrap_or_default().into_iter().map(|control| control.control(limits));
        let lora = |lora: LoraRequest| (lora.name, lora.strength.unwrap_or(1.0));
        Ok(Draft {
            model: self.model,
            settings,
            start,
            controls: controls.collect::<Result<_, _>>()?,
            width: self.width,
            height: self.height,
            loras: self.loras.unwrap_or_default().into_iter().map(lora).collect(),
            preview_every: self.preview_every,
            format: self.format.unwrap_or_default().into(),
        })
    }
}

impl ImageRequest {
    fn start(self, limits: &Limits) -> Result<Start, Fault> {
        let given = input::picture("image", &self.image, limits)?;
        let file = self.file.unwrap_or_else(|| "image".to_owned());
        let mask = match &self.mask {
            Some(mask) => {
                let image = input::picture("mask", mask, limits)?.image.to_grey();
                let is_inverted = self.mask_inverted.unwrap_or(false);
                Some(StartMask { image, file: "mask".to_owned(), is_inverted })
            }
            None if self.mask_inverted == Some(true) => {
                return Err(Fault::field("mask_inverted", "mask_inverted has no effect without a mask"));
            }
            None => None,
        };
        let usual = Start::new(given.image, file);
        Ok(Start {
            strength: self.strength,
            fit: parsed::<Fit>("fit", self.fit.as_ref())?.unwrap_or(usual.fit),
            mask,
            border: parsed::<Border>("outpaint", self.outpaint.as_ref())?,
            mask_blur: self.mask_blur.unwrap_or(0.0),
            only_masked: self.only_masked,
            image_guidance: self.image_guidance,
            ..usual
        })
    }
}

impl ControlRequest {
    fn control(self, limits: &Limits) -> Result<(String, Control), Fault> {
        let given = input::picture("controls", &self.image, limits)?;
        let usual = ControlPicture::new(given.image);
        let picture = ControlPicture {
            alpha: given.alpha,
            preprocess: parsed::<Preprocess>("preprocess", self.preprocess.as_ref())?.unwrap_or_default(),
            weight: self.weight.unwrap_or(usual.weight),
            start: self.start.unwrap_or(usual.start),
            end: self.end.unwrap_or(usual.end),
            ..usual
        };
        Ok((self.controlnet, Control { picture, file: "control".to_owned() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_the_librarys_request_is_one_of_a_job() {
        let Value::Object(request) = serde_json::to_value(smelt::Request::default()).unwrap() else { unreachable!() };
        let mut known: Vec<&str> = request.keys().map(String::as_str).collect();
        let mut ours = JobRequest::NAMES.to_vec();
        known.sort_unstable();
        ours.sort_unstable();
        assert_eq!(ours, known);
    }

    #[test]
    fn what_is_unknown_is_named() {
        let error = serde_json::from_str::<JobRequest>(r#"{"prompt": "x", "stepps": 4}"#).unwrap_err().to_string();
        assert!(error.contains("stepps") && error.contains("steps"), "{error}");
        let request: JobRequest = serde_json::from_str(r#"{"prompt": "x", "steps": null, "seed": 7}"#).unwrap();
        assert_eq!(Value::Object(request.settings()), serde_json::json!({ "prompt": "x", "seed": 7 }));
    }
}
