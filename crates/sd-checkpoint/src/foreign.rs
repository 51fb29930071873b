//! Models that are not converted, by the name that people know them by.
//!
//! A refusal that says what somebody has is worth more than one that says what is missing.

/// Pipelines of diffusers: how the name of their class begins, and what they are. The first that fits counts.
const PIPELINES: &[(&str, &str)] = &[
    ("Flux2", "FLUX.2"),
    ("Flux", "FLUX"),
    ("Chroma", "Chroma, a kind of FLUX"),
    ("ZImage", "Z-Image"),
    ("QwenImage", "Qwen-Image"),
    ("StableDiffusionDepth2Img", "the depth model of Stable Diffusion 2"),
    ("StableDiffusionUpscale", "the x4 upscaler of Stable Diffusion 2"),
    ("StableDiffusionLatentUpscale", "the latent upscaler of Stable Diffusion 2"),
    ("StableDiffusionGLIGEN", "GLIGEN"),
    ("StableUnCLIP", "Stable unCLIP"),
    ("UnCLIP", "unCLIP"),
    ("StableDiffusionImageVariation", "a model of picture variations, which has no text encoder"),
    ("StableCascade", "Stable Cascade"),
    ("Wuerstchen", "Würstchen"),
    ("StableVideoDiffusion", "Stable Video Diffusion"),
    ("AnimateDiff", "AnimateDiff, which makes videos"),
    ("TextToVideo", "a model of videos"),
    ("VideoToVideo", "a model of videos"),
    ("CogVideoX", "CogVideoX, which makes videos"),
    ("HunyuanVideo", "HunyuanVideo"),
    ("LTX", "LTX-Video"),
    ("Mochi", "Mochi, which makes videos"),
    ("Wan", "Wan, which makes videos"),
    ("HunyuanDiT", "Hunyuan-DiT"),
    ("Kandinsky", "Kandinsky"),
    ("PixArt", "PixArt"),
    ("Sana", "Sana"),
    ("AuraFlow", "AuraFlow"),
    ("Lumina", "Lumina"),
    ("CogView", "CogView"),
    ("HiDream", "HiDream"),
    ("OmniGen", "OmniGen"),
    ("Kolors", "Kolors"),
    ("IF", "DeepFloyd IF"),
    ("AltDiffusion", "AltDiffusion"),
    ("StableAudio", "Stable Audio"),
    ("AudioLDM", "AudioLDM"),
    ("MusicLDM", "MusicLDM"),
];

/// Files of tensors: parts of keys, one of which is enough, and what they belong to.
const KEYS: &[(&[&str], &str)] = &[
    (&["ip_adapter.", "image_proj."], "an IP-Adapter"),
    (&["double_blocks.", "single_transformer_blocks."], "the transformer of FLUX"),
    (&["img_mod."], "the transformer of Qwen-Image"),
    (&["noise_refiner.", "context_refiner."], "the transformer of Z-Image or Lumina"),
    (&["motion_modules."], "a motion module of AnimateDiff"),
    (&["time_stack.", "temporal_transformer_blocks."], "a model of videos"),
    (&["depth_model."], "the depth model of Stable Diffusion 2, in one file"),
    (&["low_scale_model."], "the x4 upscaler of Stable Diffusion 2, in one file"),
    (&["down_blocks.0.temp_"], "a model of videos"),
    (&["noise_augmentor."], "Stable unCLIP, in one file"),
    (&["edm_mean", "edm_std"], "Playground 2.5, whose noise schedule is its own"),
    (&["edm_vpred."], "CosXL, whose noise schedule is its own"),
    (&["lllite_"], "a ControlNet-LLLite"),
    (&["controlnet_blocks."], "a ControlNet of Stable Diffusion 3 or FLUX"),
    (&["encoder.block.1.layer.0.SelfAttention.relative_attention_bias"], "UMT5, a text encoder of other models"),
    (&["control_add_embedding.", "task_embedding"], "a ControlNet of several tasks (Union)"),
    (&["adapter.body.", "adapter.conv_in."], "a T2I-Adapter"),
];

/// What a pipeline of this class is, if it is one that is not converted.
pub(crate) fn pipeline(class: &str) -> Option<&'static str> {
    PIPELINES.iter().find(|(begin, _)| class.starts_with(begin)).map(|(_, words)| *words)
}

/// What tensors of these keys belong to, if they are of a model that is not converted.
pub(crate) fn tensors(keys: &[String]) -> Option<&'static str> {
    let has = |part: &&str| keys.iter().any(|key| key.contains(part));
    KEYS.iter().find(|(parts, _)| parts.iter().any(has)).map(|(_, words)| *words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_are_no_others() {
        for class in ["", "XL", "3", "XLImg2Img", "Inpaint", "InstructPix2Pix", "ControlNet", "3Img2Img"] {
            assert_eq!(pipeline(&format!("StableDiffusion{class}Pipeline")), None);
        }
        assert_eq!(pipeline("LatentConsistencyModelPipeline"), None);
        assert_eq!(pipeline("FluxKontextPipeline"), Some("FLUX"));
        assert_eq!(pipeline("Flux2Pipeline"), Some("FLUX.2"));
        assert_eq!(tensors(&["down_blocks.0.resnets.0.conv1.weight".to_owned()]), None);
    }
}
