//! Text to image, and image to image, with Stable Diffusion 1.x and 2.x: prompt → hidden states → denoised latents → picture.
//!
//! The models are [`Engine`]s known by their signatures; sizes, batch and element types come from there.
//! ControlNet and SDXL are not here: models that ask for more inputs are refused by name.

mod config;
mod denoise;
mod foreign;
mod model;
mod options;
mod preprocessor;
mod safety;
mod settings;
mod text;
mod unet;
mod vae;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;

use std::ops::ControlFlow;

use host_tensor::{HostTensor, Stop};

pub use config::{PipelineConfig, VaeConfig};
pub use foreign::other_unet;
pub use options::{
    GenerateOptions, GeneratedImage, Generation, Progress, PromptPart, SafetyVerdict, StartingImage, Warning,
};
pub use preprocessor::{CropSize, EdgeSize, PreprocessorConfig};
pub use settings::{PictureSettings, StartingPicture};
pub use unet::STEADY_INPUTS;

use crate::engine::Engine;
use crate::error::{Result, RuntimeError};
use crate::image::RgbImage;
use crate::rng::RandomSource;
use safety::SafetyChecker;
use text::TextEncoder;
use unet::UNet;
use vae::{VaeDecoder, VaeEncoder};

/// The models of a pipeline, each by its role.
#[derive(Default)]
pub struct Models {
    /// `input_ids` → `last_hidden_state`.
    pub text_encoder: Option<Box<dyn Engine>>,
    /// `sample`, `timestep`, `encoder_hidden_states` → `noise_pred`.
    pub unet: Option<Box<dyn Engine>>,
    /// `z` → `image`.
    pub vae_decoder: Option<Box<dyn Engine>>,
    /// `x` → `latent`; only needed to begin with a picture.
    pub vae_encoder: Option<Box<dyn Engine>>,
    /// `clip_input`, `images`, `adjustment` → `has_nsfw_concepts`, `concept_scores`; may be absent.
    pub safety_checker: Option<Box<dyn Engine>>,
}

/// A pipeline from text, or from text and a picture, to pictures.
pub struct TextToImage {
    config: PipelineConfig,
    text_encoder: TextEncoder,
    unet: UNet,
    vae_decoder: VaeDecoder,
    vae_encoder: Option<VaeEncoder>,
    safety_checker: Option<SafetyChecker>,
}

impl TextToImage {
    /// Puts a pipeline together, and checks that the models fit it and one another.
    ///
    /// # Errors
    /// [`RuntimeError::Signature`] for a missing model and for features that are missing, superfluous or of the wrong shape.
    pub fn new(models: Models, config: PipelineConfig) -> Result<Self> {
        let present = |model: Option<Box<dyn Engine>>, role| {
            model.ok_or_else(|| RuntimeError::Signature { model: role, reason: "is missing from the pipeline".into() })
        };
        let text_encoder = TextEncoder::new(present(models.text_encoder, "text_encoder")?)?;
        let unet = UNet::new(present(models.unet, "unet")?)?;
        let vae_decoder = VaeDecoder::new(present(models.vae_decoder, "vae_decoder")?, config.vae)?;
        let vae_encoder = models.vae_encoder.map(|engine| VaeEncoder::new(engine, config.vae)).transpose()?;
        let safety_checker =
            models.safety_checker.map(|engine| SafetyChecker::new(engine, config.preprocessor.clone())).transpose()?;
        text_encoder.check_fits(unet.text_shape())?;
        unet.check_channels(vae_decoder.latent_channels()?)?;
        vae_decoder.check_fits(unet.latent_shape())?;
        if let Some(encoder) = &vae_encoder {
            encoder.check_fits(unet.latent_shape())?;
        }
        Ok(Self { config, text_encoder, unet, vae_decoder, vae_encoder, safety_checker })
    }

    /// Shape of one image's latents: [1, channels, height, width].
    pub fn latent_shape(&self) -> [usize; 4] {
        self.unet.latent_shape()
    }

    /// Whether pictures are checked unless the options say otherwise.
    pub fn has_safety_checker(&self) -> bool {
        self.safety_checker.is_some()
    }

    /// Draws pictures from the random source that the options name.
    ///
    /// `progress` is called after every step, and may stop the run.
    ///
    /// # Errors
    /// [`RuntimeError::Stopped`] if `progress` asked for it; otherwise what is wrong with the options, or what an engine failed with.
    pub fn generate(
        &mut self,
        options: &GenerateOptions,
        stop: &Stop,
        progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
    ) -> Result<Generation> {
        let mut source = options.random.source(options.seed);
        self.generate_from(source.as_mut(), options, stop, progress)
    }

    /// Draws pictures from a random source that may go on for several prompts; the seed of the options is not used.
    ///
    /// # Errors
    /// As [`generate`](Self::generate).
    pub fn generate_from(
        &mut self,
        source: &mut dyn RandomSource,
        options: &GenerateOptions,
        stop: &Stop,
        progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
    ) -> Result<Generation> {
        options.check()?;
        // Build one scheduler first: wrong settings must not cost a run of the text encoder.
        let steps = options.steps;
        let skipped = options.skipped_steps()?;
        self.config.scheduler.build_from(options.scheduler, steps, skipped)?;
        let n_latents: usize = self.latent_shape().iter().product();
        let mut noises = Vec::new();
        let clean = match (&options.start, &mut self.vae_encoder) {
            (None, _) => None,
            // Apple's order: the noise of all pictures, then the encoder's.
            (Some(start), Some(encoder)) => {
                noises.extend((0..options.image_count).map(|_| source.latents(n_latents)));
                Some(encoder.encode(&start.image, &source.latents(n_latents), stop)?)
            }
            (Some(_), None) => {
                return Err(RuntimeError::Signature {
                    model: "vae_encoder",
                    reason: "is missing from the pipeline, and a picture to begin with needs it".into(),
                });
            }
        };
        let (text, mut warnings) = self.read_prompts(options, stop)?;
        let mut images = Vec::with_capacity(options.image_count.min(64));
        let mut noises = noises.into_iter();
        for image_idx in 0..options.image_count {
            let mut scheduler = self.config.scheduler.build_from(options.scheduler, steps, skipped)?;
            let mut latents = noises.next().unwrap_or_else(|| source.latents(n_latents));
            let noise = HostTensor::from_f32(self.latent_shape(), latents.clone());
            let clean = clean.as_deref();
            denoise::denoise(
                &mut self.unet,
                scheduler.as_mut(),
                &text,
                clean,
                options,
                &mut latents,
                stop,
                &mut |at| progress(Progress { image_idx, n_images: options.image_count, ..at }),
            )?;
            let image = self.finish(noise, latents, options, stop)?;
            if image.decoded.to_f32_vec().iter().any(|x| !x.is_finite()) {
                warnings.push(Warning::NotFinite { image_idx });
            }
            images.push(image);
        }
        Ok(Generation { images, warnings })
    }

    /// Encodes the prompt and, where guidance needs it, the negative prompt.
    fn read_prompts(&mut self, options: &GenerateOptions, stop: &Stop) -> Result<(text::Conditioning, Vec<Warning>)> {
        let window = self.unet.text_shape().length;
        let mut warnings = Vec::new();
        let mut read = |part, prompt: &str| {
            let tokens = self.config.tokenizer.encode(prompt, window)?;
            warnings.extend(tokens.truncated.clone().map(|cut| Warning::PromptTruncated { part, cut }));
            self.text_encoder.encode(&tokens.ids, self.config.tokenizer.pad_id(), window, stop)
        };
        let prompt = read(PromptPart::Prompt, &options.prompt)?;
        let negative = match options.is_guided() {
            true => Some(read(PromptPart::Negative, &options.negative_prompt)?),
            false => None,
        };
        Ok((text::Conditioning { prompt, negative }, warnings))
    }

    /// Decodes latents and checks the picture.
    fn finish(
        &mut self,
        noise: HostTensor,
        latents: Vec<f32>,
        options: &GenerateOptions,
        stop: &Stop,
    ) -> Result<GeneratedImage> {
        let (decoded, mut image) = self.vae_decoder.decode(&latents, stop)?;
        let mut safety = None;
        if let Some(checker) = self.safety_checker.as_mut().filter(|_| !options.disable_safety) {
            let verdict = checker.check(&image, stop)?;
            if verdict.flagged {
                image = RgbImage::black(image.width(), image.height());
            }
            safety = Some(verdict);
        }
        let latents = HostTensor::from_f32(self.latent_shape(), latents);
        Ok(GeneratedImage { image, noise, latents, decoded, safety })
    }
}
