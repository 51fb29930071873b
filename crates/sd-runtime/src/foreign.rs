//! What a model is that a pipeline of Stable Diffusion 1.x and 2.x cannot draw with, known by its features.

use crate::engine::{Feature, Signature};
use crate::takes::Takes;

/// What a UNet is that nobody draws with, by its number of input channels: what follows "the UNet …" in a message.
///
/// It is for whoever has a UNet's configuration or its signature, before a pipeline is put together: `None` where
/// [`Takes`] knows what it takes.
///
/// ```
/// use sd_runtime::pipeline::other_unet;
/// assert_eq!([4, 8, 9].map(|n| other_unet(n, 4)), [None, None, None]);
/// assert!(other_unet(5, 4).is_some_and(|what| what.contains("depth")));
/// ```
#[must_use]
pub fn other_unet(in_channels: usize, latent_channels: usize) -> Option<String> {
    if Takes::of(in_channels, latent_channels).is_some() {
        return None;
    }
    let and = |extra: usize| latent_channels.checked_add(extra) == Some(in_channels);
    let what = if and(1) {
        format!("a model that is guided by depth ({in_channels} channels: latents, depth)")
    } else if and(3) {
        format!("an upscaler ({in_channels} channels: latents, and the small picture)")
    } else {
        return Some(format!(
            "takes {in_channels} channels, where the VAE's latents have {latent_channels}, and generate gives latents, \
             alone or with a mask and a picture"
        ));
    };
    let (picture, masked) = (latent_channels.saturating_mul(2), latent_channels.saturating_mul(2).saturating_add(1));
    Some(format!(
        "is {what}, which generate cannot draw with yet; a UNet for generate takes {latent_channels} channels (latents), \
         {masked} (an inpainting model) or {picture} (InstructPix2Pix)"
    ))
}

/// What a model is that asks for this input, and what to do.
pub(crate) fn by_input(feature: &Feature) -> String {
    let next = "generate cannot draw with it yet; give a model of Stable Diffusion 1.x or 2.x";
    let second = "which draws with a second text encoder; convert that too (--component text-encoder-2)";
    match feature.name.as_str() {
        "time_ids" if matches!(feature.shape.dims(), Some([.., 5] | [10])) => {
            format!("it is the refiner of Stable Diffusion XL, {second}")
        }
        "time_ids" | "text_embeds" => format!("it is Stable Diffusion XL's, {second}"),
        "timestep_cond" => format!("it is a latent consistency model (LCM) with guidance as an input, and {next}"),
        name if name.starts_with("additional_residual_") => {
            "it was converted to be guided by ControlNets, whose package is named …_control-unet.mlpackage; rename it, or \
             convert the UNet anew"
                .to_owned()
        }
        _ => "text-to-image with Stable Diffusion 1.x and 2.x does not provide it".to_owned(),
    }
}

/// What is said of a UNet whose first input or only output is missing: it may be a chunk of one.
pub(crate) fn chunk_hint(signature: &Signature) -> &'static str {
    let (begins, ends) = (signature.input("sample").is_some(), signature.output("noise_pred").is_some());
    match (begins, ends) {
        (true, false) => "; if it is the first chunk of a UNet, the chunks after it are missing beside it",
        (false, true) => "; if it is the last chunk of a UNet, the chunks before it are missing beside it",
        _ => "",
    }
}

/// A latent size as it is written everywhere: height first.
pub(crate) fn latent_size(height: usize, width: usize) -> String {
    format!("{height}x{width} (height x width)")
}

/// A picture's size as people say it.
pub(crate) fn picture_size(height: usize, width: usize) -> String {
    format!("{width} wide, {height} high")
}

#[cfg(test)]
mod tests {
    use host_tensor::DType;

    use super::*;

    #[test]
    fn a_unet_is_known_by_its_channels() {
        for (channels, fact) in [
            (5, "guided by depth (5 channels"),
            (7, "upscaler (7 channels"),
            (6, "takes 6 channels, where the VAE's latents have 4"),
            (16, "takes 16 channels, where the VAE's latents have 4"),
        ] {
            let what = other_unet(channels, 4).unwrap();
            assert!(what.contains(fact), "{what}");
        }
        assert_eq!(other_unet(16, 16), None);
        assert_eq!([33, 32].map(|n| other_unet(n, 16)), [None, None]);
        assert!(other_unet(usize::MAX, usize::MAX / 2 + 1).is_some());
    }

    #[test]
    fn models_of_other_families_are_known_by_their_inputs() {
        let said = |name: &str, shape: &[usize]| by_input(&Feature::new(name, DType::F32, shape));
        assert!(said("time_ids", &[2, 6]).contains("Stable Diffusion XL's"));
        assert!(said("time_ids", &[12]).contains("Stable Diffusion XL's"));
        assert!(said("time_ids", &[2, 5]).contains("refiner"));
        assert!(said("time_ids", &[10]).contains("refiner"));
        assert!(said("text_embeds", &[2, 1280]).contains("Stable Diffusion XL's"));
        assert!(said("timestep_cond", &[2, 256]).contains("latent consistency"));
        assert!(said("additional_residual_0", &[2, 320, 64, 64]).contains("ControlNets"));
        assert!(said("depth", &[1]).contains("does not provide"));
    }
}
