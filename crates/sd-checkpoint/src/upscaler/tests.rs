//! What shapes say, and what is said of shapes that contradict each other.

use host_tensor::HostTensor;

use super::*;

/// The tensors of a network that is as small as one can be.
fn file(channels: usize, entering: usize, ups: usize) -> Weights {
    let mut weights = Weights::default();
    let mut conv = |name: &str, c_out: usize, c_in: usize| {
        weights
            .insert(format!("{name}.weight"), HostTensor::from_f32([c_out, c_in, 3, 3], vec![0.0; c_out * c_in * 9]));
        weights.insert(format!("{name}.bias"), HostTensor::from_f32([c_out], vec![0.0; c_out]));
    };
    conv("conv_first", 4, entering);
    for block in 0..2 {
        conv(&format!("body.{block}.rdb1.conv1"), 2, 4);
    }
    (1..=ups).for_each(|n| conv(&format!("conv_up{n}"), 4, 4));
    conv("conv_last", channels, 4);
    weights
}

fn read(weights: &Weights) -> Result<Option<Upscaler>, String> {
    Upscaler::of(Path::new("x.pth"), weights).map_err(|error| error.to_string())
}

#[test]
fn factor_blocks_and_channels_follow_from_the_tensors() {
    for (channels, entering, ups, words) in
        [(3, 3, 2, "x4"), (3, 12, 2, "x2"), (3, 48, 2, "x1"), (1, 1, 1, "x2"), (3, 3, 0, "x1"), (4, 4, 3, "x8")]
    {
        let upscaler = read(&file(channels, entering, ups)).unwrap().unwrap();
        let said = format!("an upscaler, ESRGAN (RRDBNet), {words}, 2 blocks, 4 features, 2 growth channels");
        assert_eq!(upscaler.words(), said, "{channels} {entering} {ups}");
        assert_eq!(upscaler.config()["num_ch"], channels);
    }
}

#[test]
fn shapes_that_contradict_each_other_are_told() {
    let refused = |weights: &Weights, words: &str| {
        let error = read(weights).unwrap_err();
        assert!(error.contains("x.pth: it looks like an ESRGAN, but") && error.contains(words), "{error}");
    };
    refused(&file(3, 5, 2), "takes 5 channels and gives 3");
    refused(&file(3, 48, 1), "makes one pixel of 4x4 and then 2 of each");
    let mut flat = file(3, 3, 2);
    flat.insert("conv_first.weight", HostTensor::from_f32([4, 3], vec![0.0; 12]));
    refused(&flat, "conv_first.weight has shape [4, 3]");
    let mut short = file(3, 3, 2);
    short.remove("conv_last.weight");
    refused(&short, "has no conv_last.weight");
}

#[test]
fn other_upscalers_are_known_by_name() {
    let tensor = |shape: &[usize]| HostTensor::from_f32(shape, vec![0.0; shape.iter().product()]);
    let of = |entries: &[(&str, &[usize])]| {
        let mut weights = Weights::default();
        entries.iter().for_each(|(key, shape)| drop(weights.insert(*key, tensor(shape))));
        read(&weights)
    };
    for (entries, name) in [
        (&[("body.0.weight", &[2, 3, 3, 3][..]), ("body.1.weight", &[2])][..], "SRVGGNet"),
        (&[("layers.0.residual_group.blocks.0.attn.relative_position_bias_table", &[1])], "SwinIR"),
        (&[("before_RG.1.weight", &[1])], "DAT"),
        (&[("layers.0.residual_group.overlap_attn.qkv.weight", &[1])], "HAT"),
        (&[("block_1.c1_r.sk.weight", &[1])], "SPAN"),
        (&[("unet1.conv_bottom.weight", &[1]), ("unet2.conv1.conv.0.weight", &[1])], "Real-CUGAN"),
    ] {
        let error = of(entries).unwrap_err();
        assert!(error.contains(&format!("this is {name}")) && error.contains("RealESRGAN_x4plus"), "{error}");
    }
    assert!(of(&[("body.0.weight", &[2, 3, 3, 3]), ("head.weight", &[1])]).unwrap().is_none());
}
