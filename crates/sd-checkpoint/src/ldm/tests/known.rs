//! Configurations as they stand in the repositories of the real models, without what says the default.

pub(super) const SD15_UNET: &str = r#"{"block_out_channels": [320, 640, 1280, 1280], "attention_head_dim": 8,
    "down_block_types": ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
    "cross_attention_dim": 768, "sample_size": 64}"#;

pub(super) const SD21_UNET: &str = r#"{"block_out_channels": [320, 640, 1280, 1280],
    "attention_head_dim": [5, 10, 20, 20],
    "down_block_types": ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
    "cross_attention_dim": 1024, "sample_size": 96, "upcast_attention": true, "use_linear_projection": true}"#;

pub(super) const SDXL_UNET: &str = r#"{"block_out_channels": [320, 640, 1280], "attention_head_dim": [5, 10, 20],
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "transformer_layers_per_block": [1, 2, 10], "cross_attention_dim": 2048, "sample_size": 128,
    "addition_embed_type": "text_time", "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816, "use_linear_projection": true}"#;

pub(super) const REFINER_UNET: &str = r#"{"block_out_channels": [384, 768, 1536, 1536],
    "attention_head_dim": [6, 12, 24, 24],
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "transformer_layers_per_block": 4, "cross_attention_dim": 1280, "sample_size": 128,
    "addition_embed_type": "text_time", "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2560, "use_linear_projection": true}"#;

pub(super) const CLIP_L: &str = r#"{"architectures": ["CLIPTextModel"], "hidden_size": 768, "intermediate_size": 3072,
    "num_attention_heads": 12, "num_hidden_layers": 12, "hidden_act": "quick_gelu", "projection_dim": 768,
    "max_position_embeddings": 77, "vocab_size": 49408, "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1}"#;

pub(super) const PROJECTED_CLIP_L: &str = r#"{"architectures": ["CLIPTextModelWithProjection"], "hidden_size": 768,
    "intermediate_size": 3072, "num_attention_heads": 12, "num_hidden_layers": 12, "hidden_act": "quick_gelu",
    "projection_dim": 768, "eos_token_id": 2}"#;

pub(super) const CLIP_H: &str = r#"{"architectures": ["CLIPTextModel"], "hidden_size": 1024, "intermediate_size": 4096,
    "num_attention_heads": 16, "num_hidden_layers": 23, "hidden_act": "gelu", "projection_dim": 512,
    "max_position_embeddings": 77, "vocab_size": 49408, "eos_token_id": 2}"#;

pub(super) const CLIP_G: &str = r#"{"architectures": ["CLIPTextModelWithProjection"], "hidden_size": 1280,
    "intermediate_size": 5120, "num_attention_heads": 20, "num_hidden_layers": 32, "hidden_act": "gelu",
    "projection_dim": 1280, "max_position_embeddings": 77, "vocab_size": 49408, "eos_token_id": 2}"#;

pub(super) const T5: &str = r#"{"architectures": ["T5EncoderModel"], "d_ff": 10240, "d_kv": 64, "d_model": 4096,
    "feed_forward_proj": "gated-gelu", "layer_norm_epsilon": 1e-06, "num_heads": 64, "num_layers": 24,
    "relative_attention_max_distance": 128, "relative_attention_num_buckets": 32, "vocab_size": 32128}"#;

macro_rules! vae {
    ($rest:literal) => {
        concat!(
            r#"{"_class_name": "AutoencoderKL", "block_out_channels": [128, 256, 512, 512], "layers_per_block": 2,
            "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D"],
            "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D"], "#,
            $rest,
            "}"
        )
    };
}

pub(super) const SD15_VAE: &str = vae!(r#""sample_size": 512, "scaling_factor": 0.18215"#);
pub(super) const SD21_VAE: &str = vae!(r#""sample_size": 768, "scaling_factor": 0.18215"#);
pub(super) const SDXL_VAE: &str = vae!(r#""sample_size": 1024, "scaling_factor": 0.13025, "force_upcast": true"#);
pub(super) const SD3_VAE: &str = vae!(
    r#""sample_size": 1024, "scaling_factor": 1.5305, "shift_factor": 0.0609, "latent_channels": 16,
    "use_quant_conv": false, "use_post_quant_conv": false, "force_upcast": true"#
);

pub(super) const SD3_TRANSFORMER: &str = r#"{"_class_name": "SD3Transformer2DModel", "attention_head_dim": 64,
    "caption_projection_dim": 1536, "in_channels": 16, "joint_attention_dim": 4096, "num_attention_heads": 24,
    "num_layers": 24, "out_channels": 16, "patch_size": 2, "pooled_projection_dim": 2048, "pos_embed_max_size": 192,
    "sample_size": 128}"#;

pub(super) const SD35_TRANSFORMER: &str = r#"{"_class_name": "SD3Transformer2DModel", "attention_head_dim": 64,
    "caption_projection_dim": 1536, "dual_attention_layers": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12],
    "in_channels": 16, "joint_attention_dim": 4096, "num_attention_heads": 24, "num_layers": 24, "out_channels": 16,
    "patch_size": 2, "pooled_projection_dim": 2048, "pos_embed_max_size": 384, "qk_norm": "rms_norm",
    "sample_size": 128}"#;

pub(super) const SD15_CONTROL_NET: &str = r#"{"block_out_channels": [320, 640, 1280, 1280], "attention_head_dim": 8,
    "down_block_types": ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
    "cross_attention_dim": 768, "conditioning_embedding_out_channels": [16, 32, 96, 256]}"#;
