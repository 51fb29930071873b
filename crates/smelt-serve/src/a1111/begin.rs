//! The picture that `img2img` begins with, and its mask.

use smelt::image::{Filter, GreyImage, RgbImage};
use smelt::metadata::{Inpaint, Made};
use smelt::{Start, StartMask};

use super::fill::filled;
use crate::fault::Fault;
use crate::fields::Fields;
use crate::input::{self, Given};
use crate::options::Limits;

/// What the web UI takes where a request says nothing.
const MASK_BLUR: f64 = 4.0;
pub(super) const STRENGTH: f64 = 0.75;
/// `resize_mode` by number, as settings in pictures call it.
const RESIZE_MODES: [&str; 3] = ["Just resize", "Crop and resize", "Resize and fill"];

/// A picture to begin with.
pub(super) struct Begin {
    pub(super) given: Given,
    resize_mode: &'static str,
    mask: Option<Mask>,
    image_guidance: Option<f64>,
    /// Whether the response repeats the picture.
    pub(super) is_repeated: bool,
}

/// What of it is repainted.
struct Mask {
    image: GreyImage,
    is_inverted: bool,
    blur: f64,
    fills: bool,
    /// Only what is masked is drawn, with so many pixels around it.
    padding: Option<usize>,
}

impl Begin {
    pub(super) fn read(fields: &mut Fields, limits: &Limits) -> Result<Self, Fault> {
        let images = fields.list("init_images")?.unwrap_or_default();
        let image = match images.as_slice() {
            [] => return Err(Fault::not_found("Init image not found")),
            [one] => one.as_str(),
            _ => {
                return Err(Fault::field("init_images", "init_images: one picture can be begun with, and not several"));
            }
        };
        let image = image.ok_or_else(|| Fault::field("init_images", "init_images: a picture is a text in base64"))?;
        let given = input::picture("init_images", image, limits)?;
        let mode = fields.count("resize_mode")?.unwrap_or(0);
        let resize_mode = RESIZE_MODES.get(mode).copied().ok_or_else(|| {
            let message =
                format!("resize_mode {mode} is not done here; there are 0 (just resize), 1 (crop) and 2 (fill)");
            Fault::field("resize_mode", message)
        })?;
        Ok(Self {
            mask: Mask::read(fields, limits)?,
            given,
            resize_mode,
            // The usual value says nothing to models that do not edit pictures by instructions.
            image_guidance: fields.number("image_cfg_scale")?.filter(|scale| *scale != 0.0 && *scale != 1.5),
            is_repeated: fields.flag("include_init_images")?.unwrap_or(false),
        })
    }

    /// Says of it what settings in pictures say.
    pub(super) fn tell(&self, made: &mut Made, strength: Option<f64>) {
        made.strength = Some(strength.unwrap_or(STRENGTH));
        made.resize_mode = Some(self.resize_mode.to_owned());
        made.image_guidance = self.image_guidance;
        made.inpaint = self.mask.as_ref().map(|mask| Inpaint {
            blur: Some(mask.blur),
            mode: mask.is_inverted.then(|| "Inpaint not masked".to_owned()),
            area: mask.padding.map(|_| "Only masked".to_owned()),
            padding: mask.padding.map(|padding| padding as u64),
            ..Inpaint::default()
        });
    }

    /// The picture as a job takes it; how much of it changes, what was told says.
    pub(super) fn start(self) -> Start {
        let Some(mask) = self.mask else { return Start::new(self.given.image, "init image") };
        let image = match mask.fills {
            true => filled(&self.given.image, &mask.hole(&self.given.image)),
            false => self.given.image,
        };
        let mask = StartMask { image: mask.image, file: "mask".to_owned(), is_inverted: mask.is_inverted };
        Start { mask: Some(mask), ..Start::new(image, "init image") }
    }
}

impl Mask {
    fn read(fields: &mut Fields, limits: &Limits) -> Result<Option<Self>, Fault> {
        let mask = fields.word("mask")?;
        let (both, x, y) = (fields.number("mask_blur")?, fields.number("mask_blur_x")?, fields.number("mask_blur_y")?);
        let [x, y] = [x, y].map(|side| both.or(side).unwrap_or(MASK_BLUR));
        let fill = fields.count("inpainting_fill")?.unwrap_or(0);
        let is_inverted = fields.count("inpainting_mask_invert")?.unwrap_or(0) == 1;
        let is_whole = !fields.flag("inpaint_full_res")?.unwrap_or(true);
        let padding = fields.count("inpaint_full_res_padding")?.unwrap_or(0);
        // All of it counts where there is a mask alone.
        let Some(mask) = mask else { return Ok(None) };
        if x != y {
            return Err(Fault::field(
                "mask_blur_x",
                format!("mask_blur_x {x} and mask_blur_y {y}: masks are blurred alike both ways"),
            ));
        }
        if fill > 1 {
            let message = format!(
                "inpainting_fill {fill} is not done here; there are 0 (filled with the colours around) and 1 (as it is)"
            );
            return Err(Fault::field("inpainting_fill", message));
        }
        let given = input::picture("mask", &mask, limits)?;
        let padding = (!is_whole).then_some(padding);
        Ok(Some(Self { image: given.image.to_grey(), is_inverted, blur: x, fills: fill == 0, padding }))
    }

    /// What is repainted of a picture, at its size.
    fn hole(&self, picture: &RgbImage) -> GreyImage {
        let mask = if self.is_inverted { self.image.inverted() } else { self.image.clone() };
        mask.resize(picture.size(), Filter::Lanczos).blur(self.blur as f32)
    }
}
