//! Keys of the networks of transformers: CLIP's encoders, and the safety checker that is made of one.

use super::Answer::{Followed, NoEffect, Only};
use super::{Row, Table};

pub(super) const TRAINING: &str = "only counts in training";
const PYTHON: &str = "says how Python runs the model, not what it computes";
pub(super) const GENERATION: &str = "only counts for models that write text";
const ORIGIN: &str = "says where the file came from";
pub(super) const LABELS: &str = "only counts for classifiers";
const TOKENS: &str = "the tokenizer's own files say which tokens are special";
const OTHER_TOWER: &str = "belongs to the half of CLIP that is not used";

/// A text encoder: transformers `CLIPTextConfig`.
pub const CLIP_TEXT: Table = Table {
    name: "CLIPTextConfig",
    classes: &["CLIPTextConfig", "PreTrainedConfig", "PretrainedConfig"],
    rows: &[TEXT_ROWS, TOWER_ROWS, TRANSFORMERS_ROWS],
    nulls: &[],
};

const TEXT_ROWS: &[Row] = &[
    ("vocab_size", Followed),
    ("max_position_embeddings", Followed),
    ("projection_dim", Followed),
    ("eos_token_id", Followed),
    ("architectures", Followed),
    ("pad_token_id", NoEffect(TOKENS)),
    ("bos_token_id", NoEffect(TOKENS)),
    ("model_type", Only(&["\"clip_text_model\"", "\"clip\""])),
];

/// A vision encoder: transformers `CLIPVisionConfig`.
pub const CLIP_VISION: Table = Table {
    name: "CLIPVisionConfig",
    classes: &["CLIPVisionConfig", "PreTrainedConfig", "PretrainedConfig"],
    rows: &[VISION_ROWS, TOWER_ROWS, TRANSFORMERS_ROWS],
    nulls: &[],
};

const VISION_ROWS: &[Row] = &[
    ("num_channels", Followed),
    ("image_size", Followed),
    ("patch_size", Followed),
    ("projection_dim", NoEffect("the checker's own projection_dim counts")),
    ("model_type", NoEffect("the object's name says it")),
];

/// The safety checker: transformers `CLIPConfig`, of which the vision half counts.
pub const SAFETY_CHECKER: Table = Table {
    name: "CLIPConfig",
    classes: &["CLIPConfig", "PreTrainedConfig", "PretrainedConfig"],
    rows: &[CHECKER_ROWS, TRANSFORMERS_ROWS],
    nulls: &[],
};

const CHECKER_ROWS: &[Row] = &[
    ("projection_dim", Followed),
    ("vision_config", Followed),
    ("vision_config_dict", Followed),
    ("text_config", NoEffect(OTHER_TOWER)),
    ("text_config_dict", NoEffect(OTHER_TOWER)),
    ("logit_scale_init_value", NoEffect(TRAINING)),
    ("initializer_factor", NoEffect(TRAINING)),
    ("model_type", Only(&["\"clip\""])),
];

/// What both towers have.
const TOWER_ROWS: &[Row] = &[
    ("hidden_size", Followed),
    ("intermediate_size", Followed),
    ("num_hidden_layers", Followed),
    ("num_attention_heads", Followed),
    ("hidden_act", Only(&["\"quick_gelu\"", "\"gelu\""])),
    ("layer_norm_eps", Followed),
    ("attention_dropout", NoEffect(TRAINING)),
    ("dropout", NoEffect(TRAINING)),
    ("initializer_range", NoEffect(TRAINING)),
    ("initializer_factor", NoEffect(TRAINING)),
];

/// What every configuration of transformers may hold, of version 5 and before.
pub(super) const TRANSFORMERS_ROWS: &[Row] = &[
    ("model_type", NoEffect("the component's place in the checkpoint says it")),
    ("transformers_version", NoEffect("says who wrote the file")),
    ("architectures", NoEffect("the component's place in the checkpoint says it")),
    ("_name_or_path", NoEffect(ORIGIN)),
    ("name_or_path", NoEffect(ORIGIN)),
    ("_commit_hash", NoEffect(ORIGIN)),
    ("_attn_implementation_autoset", NoEffect(PYTHON)),
    ("attn_implementation", NoEffect(PYTHON)),
    ("return_dict", NoEffect(PYTHON)),
    ("output_hidden_states", NoEffect(PYTHON)),
    ("output_attentions", NoEffect(PYTHON)),
    ("torchscript", NoEffect(PYTHON)),
    ("torch_dtype", NoEffect("the tensors say their own type")),
    ("dtype", NoEffect("the tensors say their own type")),
    ("use_bfloat16", NoEffect(PYTHON)),
    ("use_cache", NoEffect(GENERATION)),
    ("tf_legacy_loss", NoEffect(TRAINING)),
    ("gradient_checkpointing", NoEffect(TRAINING)),
    ("pruned_heads", Only(&["{}"])),
    ("tie_word_embeddings", NoEffect(GENERATION)),
    ("chunk_size_feed_forward", NoEffect("another way to compute the same")),
    ("is_encoder_decoder", Only(&["false"])),
    ("is_decoder", NoEffect(GENERATION)),
    ("add_cross_attention", Only(&["false"])),
    ("cross_attention_hidden_size", NoEffect("add_cross_attention says whether there is any")),
    ("tie_encoder_decoder", NoEffect(GENERATION)),
    ("finetuning_task", NoEffect(TRAINING)),
    ("num_labels", NoEffect(LABELS)),
    ("id2label", NoEffect(LABELS)),
    ("label2id", NoEffect(LABELS)),
    ("problem_type", NoEffect(LABELS)),
    ("task_specific_params", NoEffect(GENERATION)),
    ("tokenizer_class", NoEffect(TOKENS)),
    ("prefix", NoEffect(GENERATION)),
    ("bos_token_id", NoEffect(TOKENS)),
    ("pad_token_id", NoEffect(TOKENS)),
    ("eos_token_id", NoEffect(TOKENS)),
    ("sep_token_id", NoEffect(TOKENS)),
    ("decoder_start_token_id", NoEffect(GENERATION)),
    ("xla_device", NoEffect(PYTHON)),
    ("max_length", NoEffect(GENERATION)),
    ("min_length", NoEffect(GENERATION)),
    ("do_sample", NoEffect(GENERATION)),
    ("early_stopping", NoEffect(GENERATION)),
    ("num_beams", NoEffect(GENERATION)),
    ("num_beam_groups", NoEffect(GENERATION)),
    ("diversity_penalty", NoEffect(GENERATION)),
    ("temperature", NoEffect(GENERATION)),
    ("top_k", NoEffect(GENERATION)),
    ("top_p", NoEffect(GENERATION)),
    ("typical_p", NoEffect(GENERATION)),
    ("repetition_penalty", NoEffect(GENERATION)),
    ("length_penalty", NoEffect(GENERATION)),
    ("no_repeat_ngram_size", NoEffect(GENERATION)),
    ("encoder_no_repeat_ngram_size", NoEffect(GENERATION)),
    ("bad_words_ids", NoEffect(GENERATION)),
    ("num_return_sequences", NoEffect(GENERATION)),
    ("output_scores", NoEffect(GENERATION)),
    ("return_dict_in_generate", NoEffect(GENERATION)),
    ("forced_bos_token_id", NoEffect(GENERATION)),
    ("forced_eos_token_id", NoEffect(GENERATION)),
    ("remove_invalid_values", NoEffect(GENERATION)),
    ("exponential_decay_length_penalty", NoEffect(GENERATION)),
    ("suppress_tokens", NoEffect(GENERATION)),
    ("begin_suppress_tokens", NoEffect(GENERATION)),
];
