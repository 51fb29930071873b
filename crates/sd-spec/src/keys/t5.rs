//! Keys of T5's encoder, of transformers.

use super::Answer::{Followed, NoEffect, Only};
use super::clip::{GENERATION, LABELS, TRAINING, TRANSFORMERS_ROWS};
use super::{Row, Table};

const ACTIVATION: &str = "repeats feed_forward_proj";

/// The encoder: transformers `T5Config`.
pub const T5_ENCODER: Table = Table {
    name: "T5Config",
    classes: &["T5Config", "T5Config of transformers 4", "PreTrainedConfig", "PretrainedConfig"],
    rows: &[T5_ROWS, TRANSFORMERS_ROWS],
    nulls: &[],
};

const T5_ROWS: &[Row] = &[
    ("model_type", Only(&["\"t5\""])),
    ("vocab_size", Followed),
    ("d_model", Followed),
    ("d_kv", Followed),
    ("d_ff", Followed),
    ("num_layers", Followed),
    ("num_heads", Followed),
    ("relative_attention_num_buckets", Followed),
    ("relative_attention_max_distance", Followed),
    ("layer_norm_epsilon", Followed),
    ("feed_forward_proj", Followed),
    ("dense_act_fn", NoEffect(ACTIVATION)),
    ("is_gated_act", NoEffect(ACTIVATION)),
    ("dropout_rate", NoEffect(TRAINING)),
    ("initializer_factor", NoEffect(TRAINING)),
    ("classifier_dropout", NoEffect(LABELS)),
    ("num_decoder_layers", NoEffect(GENERATION)),
    ("scale_decoder_outputs", NoEffect(GENERATION)),
    // Files of the whole model say it of the whole model; the encoder is the same.
    ("is_encoder_decoder", NoEffect(GENERATION)),
    ("is_decoder", Only(&["false"])),
    // Positions are relative, so nothing ends.
    ("n_positions", NoEffect("T5 sets no limit to the length of a text")),
    ("output_past", NoEffect(GENERATION)),
];
