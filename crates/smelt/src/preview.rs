//! Small pictures of latents while they are drawn: by colours that the channels mean, or by a TAESD.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use host_tensor::HostTensor;
use sd_runtime::image::RgbImage;
use sd_runtime::pipeline::VaeConfig;
use sd_runtime::{Engine, Stop};
use sd_spec::Family;

use crate::error::{Result, refuse};

/// Red, green and blue of -1 to 1 for each channel of latents, and what is added.
#[derive(Debug, Clone, Copy)]
struct Colours {
    factors: &'static [[f32; 3]],
    bias: [f32; 3],
}

// The numbers of ComfyUI (comfy/latent_formats.py, 75399d7), by family.
static SD: Colours = Colours {
    factors: &[
        [0.3512, 0.2297, 0.3227],
        [0.3250, 0.4974, 0.2350],
        [-0.2829, 0.1762, 0.2721],
        [-0.2120, -0.2616, -0.7177],
    ],
    bias: [0.0; 3],
};
static SDXL: Colours = Colours {
    factors: &[
        [0.3651, 0.4232, 0.4341],
        [-0.2533, -0.0042, 0.1068],
        [0.1076, 0.1111, -0.0362],
        [-0.3165, -0.2492, -0.2188],
    ],
    bias: [0.1084, -0.0175, -0.0011],
};
static SD3: Colours = Colours {
    factors: &[
        [-0.0922, -0.0175, 0.0749],
        [0.0311, 0.0633, 0.0954],
        [0.1994, 0.0927, 0.0458],
        [0.0856, 0.0339, 0.0902],
        [0.0587, 0.0272, -0.0496],
        [-0.0006, 0.1104, 0.0309],
        [0.0978, 0.0306, 0.0427],
        [-0.0042, 0.1038, 0.1358],
        [-0.0194, 0.0020, 0.0669],
        [-0.0488, 0.0130, -0.0268],
        [0.0922, 0.0988, 0.0951],
        [-0.0278, 0.0524, -0.0542],
        [0.0332, 0.0456, 0.0895],
        [-0.0069, -0.0030, -0.0810],
        [-0.0596, -0.0465, -0.0293],
        [-0.1448, -0.1463, -0.1189],
    ],
    bias: [0.2394, 0.2135, 0.1925],
};
#[cfg(feature = "demo")]
static DEMO: Colours = Colours { factors: &sd_demo::LATENT_RGB.0, bias: sd_demo::LATENT_RGB.1 };

impl Colours {
    /// Those of a model, by its name and family.
    fn of(family: Family, name: &str) -> &'static Self {
        match family {
            Family::Sdxl | Family::SdxlRefiner => &SDXL,
            Family::Sd3 => &SD3,
            _ => Self::in_the_box(family, name).unwrap_or(&SD),
        }
    }

    /// Those of the model in the box. LoRAs behind the name leave the autoencoder as it is.
    #[cfg(feature = "demo")]
    fn in_the_box(family: Family, name: &str) -> Option<&'static Self> {
        (family == Family::Sd && name.split(" + ").next() == Some(sd_demo::NAME)).then_some(&DEMO)
    }

    #[cfg(not(feature = "demo"))]
    fn in_the_box(_: Family, _: &str) -> Option<&'static Self> {
        None
    }

    /// The picture of latents, a pixel for each place.
    fn picture(&self, latents: &[f32], [height, width]: [usize; 2]) -> Result<RgbImage> {
        let n = height * width;
        if latents.len() != self.factors.len() * n {
            refuse!(
                "no colours are known for latents of {} channels, so there is no preview of them; a TAESD shows them \
                 (--preview-taesd)",
                latents.len() / n.max(1)
            );
        }
        let colour = |place: usize, rgb: usize| {
            let channels = latents[place..].iter().step_by(n).zip(self.factors);
            let value = self.bias[rgb] + channels.map(|(latent, factors)| latent * factors[rgb]).sum::<f32>();
            // What is no number is black.
            ((value + 1.0) * 127.5).round() as u8
        };
        let pixels = (0..n).flat_map(|place| [0, 1, 2].map(|rgb| colour(place, rgb))).collect();
        Ok(RgbImage::new(width, height, pixels)?)
    }
}

/// A TAESD for latents of one size.
pub(crate) struct SmallDecoder {
    pub(crate) engine: Box<dyn Engine>,
    pub(crate) scaled: VaeConfig,
    /// Channels, rows and columns.
    pub(crate) shape: [usize; 3],
}

/// What shows latents.
pub(crate) struct Previewer {
    colours: &'static Colours,
    decoder: Option<Mutex<SmallDecoder>>,
}

impl Previewer {
    pub(crate) fn new(family: Family, name: &str, decoder: Option<SmallDecoder>) -> Self {
        Self { colours: Colours::of(family, name), decoder: decoder.map(Mutex::new) }
    }

    /// The picture of latents of a size, scaled as the denoiser has them. Where the TAESD is for another size, as in a second
    /// pass, colours stand for it.
    pub(crate) fn picture(&self, latents: &[f32], shape: [usize; 3], stop: &Stop) -> Result<RgbImage> {
        if let Some(decoder) = &self.decoder {
            let mut decoder = decoder.lock().unwrap_or_else(PoisonError::into_inner);
            if decoder.shape == shape {
                return decoder.picture(latents, stop);
            }
        }
        self.colours.picture(latents, [shape[1], shape[2]])
    }
}

impl SmallDecoder {
    fn picture(&mut self, latents: &[f32], stop: &Stop) -> Result<RgbImage> {
        let [channels, height, width] = self.shape;
        let VaeConfig { scaling_factor, shift_factor } = self.scaled;
        let z: Vec<f32> = latents.iter().map(|x| x / scaling_factor + shift_factor).collect();
        let input = self.engine.signature().input("z");
        let dtype = input.map_or(host_tensor::DType::F32, |feature| feature.dtype);
        let z = HostTensor::from_f32([1, channels, height, width], z).cast(dtype);
        let outputs = self.engine.run(&BTreeMap::from([("z".to_owned(), z)]), stop);
        let outputs = outputs.map_err(|error| crate::error::refusal!("the preview's TAESD: {error}"))?;
        match outputs.get("image").map(|image| (image.shape(), image)) {
            Some((&[1, 3, height, width], image)) => Ok(RgbImage::from_planes(width, height, &image.to_f32_vec())?),
            _ => refuse!("the preview's TAESD gives no picture [1, 3, H, W]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_sums_over_channels() {
        let latents = [1.0, f32::NAN, 0.0, 0.0, 0.0, 0.0, -2.0, 0.0];
        let picture = SD.picture(&latents, [1, 2]).unwrap();
        let byte = |value: f32| ((value + 1.0) * 127.5).round() as u8;
        let first = [0, 1, 2].map(|rgb| byte(SD.factors[0][rgb] - 2.0 * SD.factors[3][rgb]));
        assert_eq!(picture.pixels(), [&first[..], &[0; 3]].concat());
        assert_eq!((picture.width(), picture.height()), (2, 1));
        let error = SD.picture(&latents, [2, 1]).map(drop).and(SD3.picture(&latents, [1, 2]).map(drop)).unwrap_err();
        assert!(error.to_string().contains("of 4 channels"), "{error}");
    }

    #[test]
    fn families_have_colours_of_their_own_and_the_model_in_the_box_too() {
        let first = |family, name| Colours::of(family, name).factors[0];
        assert_eq!(first(Family::Sd, "dreamshaper"), SD.factors[0]);
        assert_eq!(first(Family::SdxlRefiner, "x"), SDXL.factors[0]);
        assert_eq!(Colours::of(Family::Sd3, "x").factors.len(), 16);
        #[cfg(feature = "demo")]
        for name in ["sd-emoji", "sd-emoji + style"] {
            assert_eq!(first(Family::Sd, name), sd_demo::LATENT_RGB.0[0], "{name}");
        }
    }
}
