//! A picture to begin with: its file, its mask, the room around it, and what is told of them.

use std::path::Path;

use sd_runtime::image::{Border, Filter, Fit, GreyImage, RgbImage, Size};
use sd_runtime::pipeline::{DEFAULT_IMAGE_GUIDANCE, Repaint, StartingImage, StartingPicture, Takes};

use crate::error::{Context, Result, refusal, refuse};
use crate::file::{name_of, read_picture};
use crate::open::Opened;
use crate::size::{PictureSize, Sizes};

/// A picture to begin with, and what of it may change.
///
/// ```no_run
/// use smelt::{PipelineOptions, Request, Start, StartMask, Unwatched};
///
/// # fn main() -> Result<(), smelt::Error> {
/// let photo = Start::read("photo.png".as_ref())?;
/// let start = Start { mask: Some(StartMask::read("mask.png".as_ref())?), only_masked: Some(32), ..photo };
/// let request = Request { start: Some(start), ..Request::new("a red door") };
/// let options = PipelineOptions { with_picture: true, ..PipelineOptions::default() };
/// let drawing = smelt::open("sd15")?.pipeline(&options)?.draw(&request, &mut Unwatched)?;
/// drawing.pictures[0].save("door.png")?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Start {
    /// The picture, of any size.
    pub image: RgbImage,
    /// Name of its file, for the settings of what is drawn.
    pub file: String,
    /// How much of it may change: the share of the steps that are taken, above 0 to 1. Default: half; all where a mask or
    /// a border says what changes, and with a model that edits pictures by instructions.
    pub strength: Option<f64>,
    /// What becomes of its proportions where they are not those of what is drawn; default: what stands out is cut off.
    pub fit: Fit,
    /// What of it is repainted; default: all of it may change.
    pub mask: Option<StartMask>,
    /// Room that is added around it and drawn, into which its edges are continued to begin with.
    pub border: Option<Border>,
    /// How soft the mask of both is made: the standard deviation of a Gaussian, in pixels of the picture.
    pub mask_blur: f32,
    /// Only what is masked is drawn, at full size, with so many pixels of the picture around it.
    pub only_masked: Option<usize>,
    /// How strongly the picture counts for a model that edits pictures by instructions, at least 1; default: 1.5.
    pub image_guidance: Option<f32>,
}

/// A mask: what of a picture is repainted.
#[derive(Debug, Clone, PartialEq)]
pub struct StartMask {
    /// White where it is repainted; stretched to the picture's size.
    pub image: GreyImage,
    /// Name of its file, for the settings of what is drawn.
    pub file: String,
    /// What is black is repainted instead.
    pub is_inverted: bool,
}

impl StartMask {
    /// Reads a mask: PNG, JPEG or WebP, in grey or in colour.
    ///
    /// # Errors
    /// When the file cannot be read, or is no picture.
    pub fn read(path: &Path) -> Result<Self> {
        let image = read_picture(path).context("--mask")?.to_grey();
        Ok(Self { image, file: name_of(path), is_inverted: false })
    }
}

impl Start {
    /// A picture, with everything else as by default.
    pub fn new(image: RgbImage, file: impl Into<String>) -> Self {
        Self {
            image,
            file: file.into(),
            strength: None,
            fit: Fit::Crop,
            mask: None,
            border: None,
            mask_blur: 0.0,
            only_masked: None,
            image_guidance: None,
        }
    }

    /// Reads the picture: PNG, JPEG or WebP.
    ///
    /// # Errors
    /// When the file cannot be read, or is no picture.
    pub fn read(path: &Path) -> Result<Self> {
        Ok(Self::new(read_picture(path).context("--image")?, name_of(path)))
    }

    /// The size to draw at where none is asked for: a border makes the picture larger, which a checkpoint draws at that
    /// size; the border is widened by the few pixels that latents need. Otherwise the sizes are as they were asked for.
    ///
    /// # Errors
    /// When the model does not say how many pixels a latent makes.
    pub fn sizes(&mut self, opened: &Opened, asked: Sizes) -> Result<Sizes> {
        let Some(border) = self.border.filter(|_| !asked.is_given() && !opened.is_packages()) else { return Ok(asked) };
        if self.only_masked.is_some() {
            return Ok(asked);
        }
        let (scale, _) = opened.native_size()?;
        let border = border.widened(self.image.size(), scale);
        self.border = Some(border);
        let size = border.around(self.image.size()).cut_to_multiple(scale);
        let size = size.to_string().parse::<PictureSize>().map_err(|error| refusal!("--outpaint: {error}"))?;
        Ok(Sizes { size: vec![size], ..asked })
    }

    /// Refuses what would change nothing, or cannot be meant.
    pub(crate) fn check(&self) -> Result<()> {
        let (blur, is_masked) = (self.mask_blur, self.mask.is_some() || self.border.is_some());
        if !(blur.is_finite() && blur >= 0.0) {
            refuse!("--mask-blur {blur} is not a number of pixels from 0");
        }
        if !is_masked && blur > 0.0 {
            refuse!(
                "--mask-blur {blur} makes a mask soft, and there is none; give one with --mask, or a border with --outpaint"
            );
        }
        if !is_masked && self.only_masked.is_some() {
            refuse!(
                "--only-masked draws what is masked, and there is no mask; give one with --mask, or a border with --outpaint"
            );
        }
        Ok(())
    }

    /// How much may change, where a model takes that.
    fn strength(&self, takes: Takes) -> f64 {
        const HALF: f64 = 0.5;
        let is_masked = self.mask.is_some() || self.border.is_some();
        self.strength.unwrap_or(if is_masked || takes != Takes::Latents { 1.0 } else { HALF })
    }

    /// The same for the pipeline.
    pub(crate) fn starting(&self, takes: Takes) -> StartingImage {
        let border = self.border.unwrap_or_default();
        let mask = self.full_mask(border).map(|mask| mask.blur(self.mask_blur));
        StartingImage {
            image: if border.is_empty() { self.image.clone() } else { self.image.with_border(border) },
            strength: self.strength(takes),
            fit: self.fit,
            repaint: mask.map(|mask| Repaint { mask, only_masked: self.only_masked }),
            image_guidance: self.image_guidance,
        }
    }

    /// The mask of the picture and of the border around it.
    fn full_mask(&self, border: Border) -> Option<GreyImage> {
        let of_file = self.mask.as_ref().map(|mask| match mask.is_inverted {
            true => mask.image.inverted(),
            false => mask.image.clone(),
        });
        if border.is_empty() {
            return of_file;
        }
        let size = self.image.size();
        let inner = of_file.map_or_else(|| black(size), |mask| mask.resize(size, Filter::Lanczos));
        Some(inner.with_white_border(border))
    }

    /// What is told of it in a picture that began with it.
    pub(crate) fn settings(&self, takes: Takes) -> StartingPicture {
        StartingPicture {
            file: self.file.clone(),
            strength: self.strength(takes),
            fit: self.only_masked.is_none().then(|| self.fit.name().to_owned()),
            mask: self.mask.as_ref().map(|mask| mask.file.clone()),
            mask_inverted: self.mask.as_ref().is_some_and(|mask| mask.is_inverted),
            mask_blur: Some(self.mask_blur).filter(|&blur| blur > 0.0),
            only_masked: self.only_masked,
            border: self.border.map(|border| border.to_string()),
            image_guidance: (takes == Takes::Picture).then(|| self.image_guidance.unwrap_or(DEFAULT_IMAGE_GUIDANCE)),
        }
    }
}

fn black(size: Size) -> GreyImage {
    GreyImage::new(size, vec![0; size.n_pixels()]).expect("invariant: a byte for each pixel")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> Start {
        Start::new(RgbImage::new(3, 2, (0..18).collect()).unwrap(), "a.png")
    }

    #[test]
    fn a_border_joins_the_mask() {
        let mask = GreyImage::new(Size { width: 3, height: 2 }, vec![255, 0, 0, 0, 0, 0]).unwrap();
        let mask = StartMask { image: mask, file: "m.png".into(), is_inverted: true };
        let border = "0,0,1,0".parse().ok();
        let asked = Start { mask: Some(mask), border, ..start() }.starting(Takes::Masked);
        assert_eq!(asked.repaint.unwrap().mask.pixels(), [0, 255, 255, 255, 255, 255, 255, 255]);
        assert_eq!(asked.image.size(), Size { width: 4, height: 2 });
        let asked = Start { border, ..start() }.starting(Takes::Latents);
        assert_eq!(asked.repaint.unwrap().mask.pixels(), [0, 0, 0, 255, 0, 0, 0, 255]);
    }

    #[test]
    fn strength_follows_from_what_changes() {
        let border = "8".parse().ok();
        assert_eq!(start().strength(Takes::Latents), 0.5);
        assert_eq!(start().strength(Takes::Picture), 1.0);
        assert_eq!(Start { border, ..start() }.strength(Takes::Latents), 1.0);
        assert_eq!(Start { border, strength: Some(0.7), ..start() }.strength(Takes::Masked), 0.7);
    }

    #[test]
    fn what_is_for_masks_needs_one() {
        for (asked, fact) in [
            (Start { mask_blur: 4.0, ..start() }, "--mask-blur 4 makes a mask soft"),
            (Start { only_masked: Some(32), ..start() }, "--only-masked draws what is masked"),
            (Start { mask_blur: f32::NAN, ..start() }, "not a number of pixels"),
        ] {
            let error = asked.check().unwrap_err().to_string();
            assert!(error.contains(fact), "{error}");
        }
        Start { mask_blur: 4.0, only_masked: Some(0), border: "8".parse().ok(), ..start() }.check().unwrap();
    }
}
