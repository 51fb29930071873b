//! A picture to begin with and its mask at the size that is drawn, and the way back into the picture.
// Source of the rules: diffusers 0.42, VaeImageProcessor and StableDiffusionInpaintPipeline.

use crate::error::{Result, RuntimeError};
use crate::image::{Filter, Fit, GreyImage, Mask, Region, RgbImage, Size};
use crate::request::{Repaint, StartingImage, Warning};

/// The picture as it is drawn on.
pub(super) struct Canvas {
    pub(super) picture: RgbImage,
    /// What of it is repainted.
    pub(super) mask: Option<Mask>,
    /// How the result becomes a part of the picture again, where there is a mask.
    pub(super) overlay: Option<Overlay>,
    /// What was done to a picture of another size.
    pub(super) warning: Option<Warning>,
}

/// A picture that what is drawn is laid over through a mask.
pub(super) struct Overlay {
    picture: RgbImage,
    mask: GreyImage,
    /// Where it lies; everywhere if nothing is said.
    region: Option<Region>,
}

impl Canvas {
    /// Fits a picture and its mask to a size.
    pub(super) fn new(start: &StartingImage, size: Size) -> Result<Self> {
        match &start.repaint {
            Some(Repaint { mask, only_masked: Some(padding) }) => Self::of_part(&start.image, mask, *padding, size),
            repaint => Self::of_whole(start, repaint.as_ref().map(|repaint| &repaint.mask), size),
        }
    }

    fn of_whole(start: &StartingImage, mask: Option<&GreyImage>, size: Size) -> Result<Self> {
        let StartingImage { image, fit, .. } = start;
        let picture = image.fit(size, *fit, Filter::Lanczos);
        let from = image.size();
        let warning = (from != size).then_some(Warning::Fitted { from, to: size, fit: *fit });
        let Some(mask) = mask else { return Ok(Self { picture, mask: None, overlay: None, warning }) };
        let soft = match fit {
            Fit::Stretch => mask.resize(size, Filter::Lanczos),
            fit => fitted(&at_size_of(mask, image), size, *fit),
        };
        let mask = sharp(&soft, size)?;
        let overlay = Some(Overlay { picture: picture.clone(), mask: soft, region: None });
        Ok(Self { picture, mask: Some(mask), overlay, warning })
    }

    fn of_part(image: &RgbImage, mask: &GreyImage, padding: usize, size: Size) -> Result<Self> {
        let mask = at_size_of(mask, image);
        let Some(region) = mask.crop_region(size, padding) else {
            return Err(RuntimeError::Options("the mask is black, so there is no part to draw".into()));
        };
        let picture = image.crop(region).fit(size, Fit::Fill, Filter::Lanczos);
        let part = sharp(&fitted(&mask.crop(region), size, Fit::Fill), size)?;
        let overlay = Some(Overlay { picture: image.clone(), mask, region: Some(region) });
        Ok(Self { picture, mask: Some(part), overlay, warning: None })
    }
}

impl Overlay {
    /// The picture with what was drawn in its place.
    pub(super) fn lay(&self, drawn: &RgbImage) -> Result<RgbImage> {
        self.picture.overlay(drawn, &self.mask, self.region)
    }

    /// Columns and rows of the result.
    pub(super) fn size(&self) -> Size {
        self.picture.size()
    }
}

fn at_size_of(mask: &GreyImage, picture: &RgbImage) -> GreyImage {
    mask.resize(picture.size(), Filter::Lanczos)
}

/// Grey pictures are fitted as grey colours are.
fn fitted(mask: &GreyImage, size: Size, fit: Fit) -> GreyImage {
    mask.to_rgb().fit(size, fit, Filter::Lanczos).to_grey()
}

fn sharp(soft: &GreyImage, size: Size) -> Result<Mask> {
    let mask = soft.to_mask();
    match mask.is_empty() {
        true => Err(RuntimeError::Options(format!(
            "nothing of the mask is left at {size} (width x height), the size that is drawn: what is masked is too small \
             there, or was cut off; draw it larger by only what is masked (--only-masked)"
        ))),
        false => Ok(mask),
    }
}
