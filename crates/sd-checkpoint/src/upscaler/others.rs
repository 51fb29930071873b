//! Upscalers of other architectures, and what is trained beside them, by the names of their tensors.

use crate::Weights;

/// Parts of keys that stand together in no other network, and what has them. The first row that fits counts.
const OTHERS: &[(&[&str], &str)] = &[
    (&[".RDB1.conv1x1.weight"], "ESRGAN+, whose dense blocks have convolutions of 1x1"),
    (&["before_RG.1.weight"], "DAT or RGT, an upscaler with transformers"),
    (&[".attn_atd."], "ATD, an upscaler with transformers"),
    (&["residual_group.overlap_attn."], "HAT, an upscaler with transformers"),
    (&[".attn.aligned_relative_position_index"], "SRFormer, an upscaler with transformers"),
    (&["layers.0.residual_group.blocks.0.attn.logit_scale"], "Swin2SR, an upscaler with transformers"),
    (&["layers.0.residual_group.blocks.0.attn.relative_position_bias_table"], "SwinIR, an upscaler with transformers"),
    (&["layers.0.swin1.", "conv_first."], "DRCT, an upscaler with transformers"),
    (&["residual_layer.0.residual_layer."], "OmniSR, an upscaler"),
    (&["block_1.c1_r.sk.weight"], "SPAN, an upscaler"),
    (&["unet1.conv_bottom.", "unet2."], "Real-CUGAN or waifu2x, an upscaler"),
    (&["feats.0.safm."], "SAFMN, an upscaler"),
    (&["feats.1.channe_mixer."], "RealPLKSR, an upscaler"),
    (&["feats.1.lk.conv.weight"], "PLKSR, an upscaler"),
    (&["head.0.weight", "body.0.body.0.weight", "tail."], "EDSR or RCAN, an upscaler"),
    (&["model.1.sub.0.res.0.weight"], "SRResNet, an upscaler"),
    (&["m_head.0.weight", "m_tail.0.weight"], "SCUNet, which takes noise away"),
    (&["stylegan_decoder."], "GFPGAN, which restores faces"),
    (&["fuse_convs_dict."], "CodeFormer, which restores faces"),
    (&["conv1.weight_orig", "conv9.weight"], "the discriminator that a Real-ESRGAN was trained with, no upscaler"),
];

/// What a file's tensors belong to, if they are of an upscaler that is not read.
pub(super) fn known(file: &Weights, keys: &[&str]) -> Option<&'static str> {
    let has = |part: &&str| keys.iter().any(|key| key.contains(part));
    let row = OTHERS.iter().find(|(parts, _)| parts.iter().all(has)).map(|(_, words)| *words);
    row.or_else(|| {
        is_compact(file, keys).then_some("SRVGGNet (realesr-general-x4v3, realesr-animevideov3), an upscaler")
    })
}

/// One list of convolutions and activations that learned their slopes, and nothing else.
fn is_compact(file: &Weights, keys: &[&str]) -> bool {
    let rank = |key: &str| file.get(key).map(|weight| weight.shape().len());
    rank("body.0.weight") == Some(4)
        && rank("body.1.weight") == Some(1)
        && keys.iter().all(|key| key.starts_with("body."))
}
