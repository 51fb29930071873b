//! From latents to finished pictures: decoding, the safety checker, and the picture that a part was drawn for.

use super::canvas::Overlay;
use crate::autoencoder::Decoder;
use crate::error::Result;
use crate::image::RgbImage;
use crate::models::Shelf;
use crate::request::{Denoised, GenerateOptions, GeneratedImage, Warning};
use crate::safety::SafetyChecker;
use crate::watch::Watch;

/// The models that finish pictures.
pub(super) struct Finisher<'a> {
    pub(super) decoder: &'a Decoder,
    pub(super) safety_checker: Option<&'a SafetyChecker>,
}

/// What is done to all pictures of a run, and what was found of them.
pub(super) struct Finish<'a> {
    overlay: Option<&'a Overlay>,
    disable_safety: bool,
    /// Pictures with values that are no numbers.
    pub(super) warnings: Vec<Warning>,
}

impl<'a> Finish<'a> {
    pub(super) const fn new(options: &GenerateOptions, overlay: Option<&'a Overlay>) -> Self {
        Self { overlay, disable_safety: options.disable_safety, warnings: Vec::new() }
    }

    /// Finishes one picture and hands it out.
    pub(super) fn one(
        &mut self,
        image_idx: usize,
        denoised: Denoised,
        (finisher, models): (&Finisher<'_>, &mut Shelf),
        watch: &mut Watch<'_>,
    ) -> Result<()> {
        let image = self.decode(image_idx, denoised, (finisher, &mut *models), watch)?;
        self.check(image_idx, image, (finisher, models), watch)
    }

    /// Finishes pictures stage by stage, and hands each out after its last.
    pub(super) fn all(
        &mut self,
        denoised: Vec<Denoised>,
        (finisher, models): (&Finisher<'_>, &mut Shelf),
        watch: &mut Watch<'_>,
    ) -> Result<()> {
        if self.checker(finisher).is_none() {
            let one = |(idx, denoised)| self.one(idx, denoised, (finisher, &mut *models), watch);
            return denoised.into_iter().enumerate().try_for_each(one);
        }
        let mut images = Vec::with_capacity(denoised.len());
        for (idx, denoised) in denoised.into_iter().enumerate() {
            images.push(self.decode(idx, denoised, (finisher, &mut *models), watch)?);
        }
        let check = |(idx, image)| self.check(idx, image, (finisher, &mut *models), watch);
        images.into_iter().enumerate().try_for_each(check)
    }

    fn checker<'f>(&self, finisher: &Finisher<'f>) -> Option<&'f SafetyChecker> {
        finisher.safety_checker.filter(|_| !self.disable_safety)
    }

    fn decode(
        &mut self,
        image_idx: usize,
        Denoised { noise, latents }: Denoised,
        (finisher, models): (&Finisher<'_>, &mut Shelf),
        watch: &Watch<'_>,
    ) -> Result<GeneratedImage> {
        let (decoded, image) = finisher.decoder.decode(models, &latents.to_f32_vec(), watch)?;
        if decoded.to_f32_vec().iter().any(|x| !x.is_finite()) {
            self.warnings.push(Warning::NotFinite { image_idx });
        }
        Ok(GeneratedImage { image, noise, latents, decoded, safety: None })
    }

    /// Checks a picture, where there is a safety checker, blackens it if that rejects it, and hands it out.
    fn check(
        &self,
        image_idx: usize,
        mut image: GeneratedImage,
        (finisher, models): (&Finisher<'_>, &mut Shelf),
        watch: &mut Watch<'_>,
    ) -> Result<()> {
        image.safety = self.checker(finisher).map(|checker| checker.check(models, &image.image, watch)).transpose()?;
        let is_flagged = image.safety.as_ref().is_some_and(|verdict| verdict.flagged);
        image.image = match self.overlay {
            // A picture that was flagged stays black.
            Some(overlay) if is_flagged => RgbImage::black(overlay.size().width, overlay.size().height),
            Some(overlay) => overlay.lay(&image.image)?,
            None if is_flagged => RgbImage::black(image.image.width(), image.image.height()),
            None => image.image,
        };
        watch.hand_out(image_idx, image)
    }
}
