//! Configurations from outside: what is refused, and that the message names key and value.

use sd_models::{
    ClipTextConfig, Configuration, MmditConfig, ModelError, NetworkConfig, Pooling, Resolution, Role,
    SafetyCheckerConfig, T5Config, UNetConfig, VaeConfig,
};
use serde_json::{Value, json};

fn unet() -> Value {
    json!({
        "block_out_channels": [32, 64], "norm_num_groups": 8, "attention_head_dim": 4,
        "cross_attention_dim": 16, "layers_per_block": 1, "sample_size": 8,
        "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
        "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"]
    })
}

fn vae() -> Value {
    json!({
        "block_out_channels": [32, 64], "norm_num_groups": 8,
        "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D"],
        "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D"]
    })
}

fn text() -> Value {
    json!({"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4})
}

fn safety() -> Value {
    json!({"projection_dim": 16, "vision_config": text()})
}

fn with(mut config: Value, key: &str, value: Value) -> Vec<u8> {
    match key.split_once('.') {
        Some((outer, inner)) => config[outer][inner] = value,
        None => config[key] = value,
    }
    config.to_string().into_bytes()
}

fn without(mut config: Value, key: &str) -> Vec<u8> {
    config.as_object_mut().expect("an object").remove(key);
    config.to_string().into_bytes()
}

#[track_caller]
fn check<T: std::fmt::Debug>(result: Result<T, ModelError>, expected: &str) {
    let error = result.expect_err("a configuration that must be refused").to_string();
    assert!(error.contains(expected), "{error:?} does not contain {expected:?}");
}

#[test]
fn the_base_configurations_are_accepted() {
    let unet = UNetConfig::from_json(unet().to_string().as_bytes()).expect("denoiser");
    assert_eq!(unet.sample_size, Some(Resolution { height: 8, width: 8 }));
    assert_eq!(unet.up_blocks[0].n_layers, 2);
    assert!(VaeConfig::from_json(vae().to_string().as_bytes()).is_ok());
    assert!(SafetyCheckerConfig::from_json(safety().to_string().as_bytes()).is_ok());
}

#[test]
fn the_end_token_is_the_largest_id_or_the_configured_one() {
    let pooling = |id: i64| ClipTextConfig::from_json(&with(text(), "eos_token_id", json!(id))).map(|c| c.pooling);
    assert_eq!(pooling(2).ok(), Some(Pooling::LargestId));
    assert_eq!(pooling(49_407).ok(), Some(Pooling::FirstOf(49_407)));
}

#[test]
fn hostile_denoiser_sizes_are_refused_by_key() {
    let too_large = 1u64 << 60;
    for (key, value, expected) in [
        ("attention_head_dim", json!(0), "\"attention_head_dim\" is 0, expected an integer from 1"),
        ("attention_head_dim", json!(7), "\"attention_head_dim\" is 7, expected divisors of the block_out_channels"),
        ("attention_head_dim", json!([4]), "\"attention_head_dim\" is [4], expected one size or a list of 2"),
        ("num_attention_heads", json!([4, 5]), "\"num_attention_heads\" is [4,5], expected divisors"),
        ("block_out_channels", json!([]), "\"block_out_channels\" is [], expected a list of 1 to"),
        ("block_out_channels", json!([32, too_large]), "\"block_out_channels\" is 1152921504606846976"),
        ("block_out_channels", json!([32, -64]), "\"block_out_channels\" is -64"),
        ("block_out_channels", json!("wide"), "\"block_out_channels\" is \"wide\""),
        ("block_out_channels", json!([32, 64.5]), "\"block_out_channels\" is 64.5"),
        ("norm_num_groups", json!(24), "\"norm_num_groups\" is 24, expected a divisor of all block_out_channels"),
        ("cross_attention_dim", json!(too_large), "\"cross_attention_dim\" is 1152921504606846976"),
        ("cross_attention_dim", json!([16, 32]), "expected the same width for every block"),
        ("layers_per_block", json!(1000), "\"layers_per_block\" is 1000"),
        ("transformer_layers_per_block", json!([[1, 1], 2]), "expected one depth, or 1, for block 0"),
        ("transformer_layers_per_block", json!([[1], 2]), "has no \"reverse_transformer_layers_per_block\""),
        ("transformer_layers_per_block", json!([[65], 2]), "\"transformer_layers_per_block\" is 65"),
        ("sample_size", json!([8]), "\"sample_size\" is [8], expected a side or [height, width]"),
        ("norm_eps", json!(-1.0), "\"norm_eps\" is -1.0, expected a finite number above 0"),
        ("freq_shift", json!(16), "\"freq_shift\" is 16, expected less than half"),
        ("conv_in_kernel", json!(4), "\"conv_in_kernel\" is 4, expected an odd kernel side"),
        ("down_block_types", json!(["DownBlock2D"]), "expected a list of 2 strings"),
    ] {
        check(UNetConfig::from_json(&with(unet(), key, value)), expected);
    }
}

fn mmdit() -> Value {
    json!({"num_attention_heads": 4, "attention_head_dim": 8, "caption_projection_dim": 32, "num_layers": 2})
}

#[test]
fn transformers_that_cannot_be_built_are_refused_by_key() {
    let config = MmditConfig::from_json(&with(mmdit(), "qk_norm", Value::Null)).expect("SD3");
    assert_eq!((config.dim(), config.normalizes_heads, config.dual_layers.len()), (32, false, 0));
    let config = MmditConfig::from_json(&with(mmdit(), "dual_attention_layers", json!([1, 0]))).expect("SD3.5");
    assert_eq!(config.dual_layers, [0, 1]);
    for (key, value, expected) in [
        ("num_layers", json!(65), "\"num_layers\" is 65, expected an integer from 1 to 64"),
        ("patch_size", json!(0), "\"patch_size\" is 0, expected an integer from 1"),
        ("pos_embed_max_size", json!(1u64 << 40), "\"pos_embed_max_size\" is 1099511627776"),
        ("sample_size", json!([128, 64]), "\"sample_size\" is [128,64]"),
        ("num_attention_heads", json!(9000), "\"num_attention_heads\" is 9000, expected a number of heads of 8"),
        ("caption_projection_dim", json!(64), "\"caption_projection_dim\" is 64, expected 32, which is num_attention"),
        ("caption_projection_dim", Value::Null, "expected 32, which is num_attention_heads"),
        ("dual_attention_layers", json!([0, 2]), "\"dual_attention_layers\" is [0,2], expected a list of different"),
        ("dual_attention_layers", json!([1, 1]), "\"dual_attention_layers\" is [1,1]"),
        ("dual_attention_layers", json!(1), "\"dual_attention_layers\" is 1"),
        ("qk_norm", json!("layer_norm"), "\"qk_norm\" = \"layer_norm\" is not supported; supported: rms_norm"),
        ("_class_name", json!("FluxTransformer2DModel"), "supported: SD3Transformer2DModel"),
    ] {
        check(MmditConfig::from_json(&with(mmdit(), key, value)), expected);
    }
}

fn t5() -> Value {
    json!({"feed_forward_proj": "gated-gelu", "d_model": 32, "is_encoder_decoder": true, "output_past": true})
}

#[test]
fn third_text_encoders_that_cannot_be_built_are_refused_by_key() {
    let config = T5Config::from_json(t5().to_string().as_bytes()).expect("T5 1.1");
    assert_eq!((config.dim, config.attention_dim(), config.n_buckets), (32, 512, 32));
    assert!(NetworkConfig::unknown_keys(Role::TextEncoder3, t5().to_string().as_bytes()).expect("T5").is_empty());
    for (key, value, expected) in [
        (
            "feed_forward_proj",
            json!("relu"),
            "\"feed_forward_proj\" = \"relu\" is not supported; supported: gated-gelu",
        ),
        ("feed_forward_proj", Value::Null, "\"feed_forward_proj\" = \"relu\" is not supported"),
        ("model_type", json!("umt5"), "\"model_type\" = \"umt5\" is not supported; supported: t5"),
        ("is_decoder", json!(true), "\"is_decoder\" = true is not supported"),
        ("d_ff", json!(0), "\"d_ff\" is 0, expected an integer from 1"),
        ("num_heads", json!(60_000), "\"num_heads\" is 60000, expected a number of heads of 64"),
        ("layer_norm_epsilon", json!(0), "\"layer_norm_epsilon\" is 0, expected a finite number above 0"),
        (
            "relative_attention_num_buckets",
            json!(6),
            "\"relative_attention_num_buckets\" is 6, expected a multiple of 4",
        ),
        ("relative_attention_max_distance", json!(8), "\"relative_attention_max_distance\" is 8, expected more than 8"),
    ] {
        check(T5Config::from_json(&with(t5(), key, value)), expected);
    }
}

#[test]
fn unsupported_variants_are_refused_by_name() {
    for (key, value, expected) in [
        ("class_embed_type", json!("timestep"), "\"class_embed_type\" = \"timestep\" is not supported"),
        ("only_cross_attention", json!([false, true]), "\"only_cross_attention\" = [false,true] is not supported"),
        ("act_fn", json!("mish"), "\"act_fn\" = \"mish\" is not supported; supported: silu, swish"),
        ("down_block_types", json!(["AttnDownBlock2D", "DownBlock2D"]), "\"AttnDownBlock2D\" is not supported"),
        ("up_block_types", json!(["UpBlock2D", "SimpleCrossAttnUpBlock2D"]), "supported: CrossAttnUpBlock2D"),
        (
            "mid_block_type",
            json!("UNetMidBlock2DSimpleCrossAttn"),
            "supported: UNetMidBlock2DCrossAttn, UNetMidBlock2D",
        ),
        ("_class_name", json!("ControlNetModel"), "\"_class_name\" = \"ControlNetModel\" is not supported"),
        ("addition_embed_type", json!("image"), "supported: null, text_time"),
        ("resnet_time_scale_shift", json!("scale_shift"), "supported: default"),
    ] {
        check(UNetConfig::from_json(&with(unet(), key, value)), expected);
    }
    check(ClipTextConfig::from_json(&with(text(), "hidden_act", json!("relu"))), "supported: quick_gelu, gelu");
    let shift = json!("none");
    check(VaeConfig::from_json(&with(vae(), "shift_factor", shift)), "is \"none\", expected a finite number");
    let attention = json!(["AttnDownEncoderBlock2D", "DownEncoderBlock2D"]);
    check(VaeConfig::from_json(&with(vae(), "down_block_types", attention)), "supported: DownEncoderBlock2D");
}

#[test]
fn absent_keys_without_a_default_are_named() {
    for key in ["block_out_channels", "down_block_types", "up_block_types"] {
        check(UNetConfig::from_json(&without(unet(), key)), &format!("unet config has no \"{key}\""));
        check(VaeConfig::from_json(&without(vae(), key)), &format!("config has no \"{key}\""));
    }
    check(SafetyCheckerConfig::from_json(&without(safety(), "vision_config")), "has no \"vision_config\"");
}

#[test]
fn keys_that_transformers_leaves_out_have_its_defaults() {
    let config = ClipTextConfig::from_json(b"{}").expect("all defaults");
    assert_eq!((config.tower.hidden_size, config.tower.n_layers, config.tower.n_heads), (512, 12, 8));
    let config = SafetyCheckerConfig::from_json(br#"{"vision_config": {"hidden_size": 96}}"#).expect("defaults");
    assert_eq!((config.vision.tower.hidden_size, config.vision.tower.n_heads), (96, 12));
}

#[test]
fn the_second_copy_of_the_vision_tower_counts_in_files_that_have_both() {
    let json = br#"{"vision_config": {"num_attention_heads": 6}, "vision_config_dict": {"num_attention_heads": 16}}"#;
    let config = SafetyCheckerConfig::from_json(json).expect("both");
    assert_eq!((config.vision.tower.n_heads, config.vision.tower.hidden_size), (16, 768));
}

#[test]
fn sample_sizes_of_files_before_diffusers_0_9_are_corrected() {
    let size = |version: &str, size: Value| {
        let mut config = unet();
        config["_diffusers_version"] = json!(version);
        config["sample_size"] = size;
        let config = UNetConfig::from_json(config.to_string().as_bytes()).expect("a UNet");
        (config.sample_size.map(|s| (s.height, s.width)), config.stated_side)
    };
    assert_eq!(size("0.6.0", json!(32)), (Some((64, 64)), Some(32)));
    assert_eq!(size("0.8.1", json!(63)), (Some((64, 64)), Some(63)));
    // diffusers compares the base of 0.9.0.dev0, which is 0.9.0.
    for (version, value) in [("0.9.0.dev0", json!(32)), ("0.30.1", json!(32)), ("1.0.0", json!(32)), ("?", json!(32))] {
        assert_eq!(size(version, value), (Some((32, 32)), None), "{version}");
    }
    assert_eq!(size("0.6.0", json!(96)), (Some((96, 96)), None));
    assert_eq!(size("0.6.0", json!([32, 48])), (Some((32, 48)), None));
    assert_eq!(size("0.6.0", Value::Null), (None, None));
}

#[test]
fn keys_that_nobody_defines_are_listed() {
    let json = with(unet(), "sampel_size", json!(64));
    assert_eq!(NetworkConfig::unknown_keys(Role::UNet, &json).expect("a UNet"), ["sampel_size"]);
    let json = with(safety(), "vision_config.hidden_sise", json!(64));
    assert_eq!(
        NetworkConfig::unknown_keys(Role::SafetyChecker, &json).expect("a checker"),
        ["vision_config.hidden_sise"]
    );
    assert!(NetworkConfig::unknown_keys(Role::VaeDecoder, vae().to_string().as_bytes()).expect("a VAE").is_empty());
}

#[test]
fn a_middle_block_of_null_is_none() {
    let config = UNetConfig::from_json(&with(unet(), "mid_block_type", Value::Null)).expect("a small UNet");
    assert_eq!(config.way_down.mid_block, None);
    let parameters = sd_models::weights::parameters(&config.init(&burn::tensor::Device::capture()));
    assert!(!parameters.is_empty() && parameters.iter().all(|p| !p.key.starts_with("mid_block")));
}

#[test]
fn vision_patches_divide_the_picture() {
    let config = with(safety(), "vision_config.patch_size", json!(15));
    check(
        SafetyCheckerConfig::from_json(&config),
        "\"vision_config.patch_size\" is 15, expected a divisor of image_size",
    );
}

#[test]
fn what_is_no_json_object_or_too_long_is_refused() {
    check(UNetConfig::from_json(b"{\"block_out_channels\": [1,"), "unet config is not valid JSON");
    check(UNetConfig::from_json(b"[]"), "unet config is not valid JSON");
    check(UNetConfig::from_json(&[0xff, 0xfe]), "unet config is not valid JSON");
    check(UNetConfig::from_json("[".repeat(100_000).as_bytes()), "unet config is not valid JSON");
    check(UNetConfig::from_json(&vec![b' '; (1 << 20) + 1]), "unet config is 1048577 bytes");
}

/// Every key that the denoiser reads, set to every value of a list of awkward ones, two at a time.
#[test]
fn a_configuration_that_is_accepted_can_be_built() {
    let awkward = [json!(0), json!(1), json!(3), json!([32, 64]), json!([1, 8]), json!(true)];
    let keys = [
        "block_out_channels",
        "norm_num_groups",
        "attention_head_dim",
        "num_attention_heads",
        "cross_attention_dim",
        "layers_per_block",
        "transformer_layers_per_block",
        "reverse_transformer_layers_per_block",
        "time_embedding_dim",
        "downsample_padding",
        "freq_shift",
        "conv_in_kernel",
        "in_channels",
    ];
    let device = burn::tensor::Device::capture();
    let mut accepted = 0;
    for (at, first) in keys.into_iter().enumerate() {
        for &second in &keys[at + 1..] {
            for (value, other) in awkward.iter().flat_map(|a| awkward.iter().map(move |b| (a, b))) {
                let mut config = unet();
                config[first] = value.clone();
                config[second] = other.clone();
                if let Ok(config) = UNetConfig::from_json(config.to_string().as_bytes()) {
                    accepted += usize::from(!sd_models::weights::parameters(&config.init(&device)).is_empty());
                }
            }
        }
    }
    assert!(accepted > 300, "only {accepted} configurations were accepted");
}
