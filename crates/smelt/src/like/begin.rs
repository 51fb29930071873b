//! What is said of a picture that another began with: how much of it changed, and where.

use sd_metadata::{Inpaint, Made, Tool};
use sd_runtime::image::{Border, Fit};

use super::Like;
use super::beside::What;
use super::count::{Counting, Walk};
use super::tools::{self, Strength};
use crate::start::Start;

/// What is said of the picture that another began with.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Begun {
    pub(super) strength: Option<f64>,
    pub(super) fit: Option<Fit>,
    pub(super) is_inverted: bool,
    pub(super) mask_blur: Option<f32>,
    pub(super) only_masked: Option<usize>,
    pub(super) border: Option<Border>,
    pub(super) image_guidance: Option<f32>,
}

impl Like {
    /// Gives a picture to begin with what is said of the one that this picture began with.
    pub fn begin(&self, start: &mut Start) {
        let said = &self.begun;
        start.strength = said.strength.or(start.strength);
        start.fit = said.fit.unwrap_or(start.fit);
        start.border = said.border.or(start.border);
        start.image_guidance = said.image_guidance.or(start.image_guidance);
        if let Some(mask) = &mut start.mask {
            mask.is_inverted = said.is_inverted;
        }
        if start.mask.is_some() || start.border.is_some() {
            start.mask_blur = said.mask_blur.unwrap_or(start.mask_blur);
            start.only_masked = said.only_masked.or(start.only_masked);
        }
    }

    /// Takes what another tool says of it; without a second pass, whose strength it would be.
    pub(super) fn take_begin(&mut self, made: &Made) {
        let habits = tools::habits(made.tool);
        let Some(strength) = made.strength else {
            if let Some(image) = &made.init_image {
                self.need(What::Image, image.clone());
                self.leave("Denoising strength", "", "the picture does not say it");
            }
            return;
        };
        let has_begun = made.init_image.is_some()
            || match habits.strength {
                Strength::Begun => true,
                Strength::BegunBelowOne => strength < 1.0,
                Strength::Nothing => false,
            };
        if has_begun {
            self.need(What::Image, made.init_image.clone().unwrap_or_default());
        } else if made.tool == Tool::ComfyUi && strength < 1.0 {
            return self.leave("denoise", strength, "what it began with is not known");
        }
        match habits.counting.first(made.steps.unwrap_or(0), strength) {
            Some(Walk { steps, share }) => {
                self.begun.strength = Some(share);
                if has_begun && habits.counting == Counting::Longer {
                    self.set("steps", steps);
                }
            }
            None if has_begun => self.leave("Denoising strength", strength, "it is not above 0 and at most 1"),
            None => {}
        }
        self.take_fit(made);
        self.begun.image_guidance = made.image_guidance.map(|scale| scale as f32);
        if let Some(inpaint) = made.inpaint.as_ref().filter(|_| has_begun) {
            self.take_mask(inpaint);
        }
    }

    fn take_fit(&mut self, made: &Made) {
        self.begun.fit = match made.resize_mode.as_deref() {
            Some("Just resize") => Some(Fit::Stretch),
            Some("Crop and resize") => Some(Fit::Crop),
            Some("Resize and fill") => Some(Fit::Fill),
            Some(other) => other.parse().ok(),
            // The web UI stretches, unless it says another.
            None => (tools::habits(made.tool).counting == Counting::WebUi).then_some(Fit::Stretch),
        };
        if let (None, Some(mode)) = (self.begun.fit, &made.resize_mode) {
            self.leave("Resize mode", mode, "");
        }
    }

    fn take_mask(&mut self, inpaint: &Inpaint) {
        let Inpaint { mask, blur, mode, content, area, padding, .. } = inpaint;
        self.need(What::Mask, mask.clone().unwrap_or_default());
        self.begun.is_inverted = mode.as_deref() == Some("Inpaint not masked");
        self.begun.mask_blur = blur.map(|blur| blur as f32);
        if area.as_deref() == Some("Only masked") {
            // The web UI's own padding.
            self.begun.only_masked = Some(padding.and_then(|padding| padding.try_into().ok()).unwrap_or(32));
        }
        if let Some(content) = content.as_ref().filter(|content| *content != "original") {
            self.leave("Masked content", content, "what is masked begins as it is");
        }
    }
}
