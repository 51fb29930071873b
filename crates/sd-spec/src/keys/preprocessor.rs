//! Keys of `preprocessor_config.json`: how a picture is prepared for the safety checker.

use super::Answer::{Followed, NoEffect, Only};
use super::{Row, Table};

const RGB: &str = "pictures are RGB here, planes before rows";
const PYTHON: &str = "says how Python runs it, not what it computes";
const CLASS: &str = "old and new classes of CLIP do the same";

/// CLIP's: transformers `CLIPImageProcessor`, and `CLIPFeatureExtractor` before it.
pub const CLIP_IMAGE_PROCESSOR: Table = Table {
    name: "CLIPImageProcessor",
    classes: &["CLIPImageProcessor", "ImageProcessingMixin", "ImagesKwargs"],
    rows: &[PROCESSOR_ROWS],
    nulls: &[],
};

const PROCESSOR_ROWS: &[Row] = &[
    ("size", Followed),
    ("crop_size", Followed),
    ("do_rescale", Followed),
    ("rescale_factor", Followed),
    ("do_normalize", Followed),
    ("image_mean", Followed),
    ("image_std", Followed),
    ("do_resize", Only(&["true"])),
    ("do_center_crop", Only(&["true"])),
    // Pillow's number for bicubic.
    ("resample", Only(&["3", "\"bicubic\""])),
    ("do_pad", Only(&["false"])),
    ("use_square_size", Only(&["false"])),
    ("pad_size", NoEffect("only counts with do_pad")),
    ("default_to_square", NoEffect("a single number is the shorter edge for CLIP")),
    ("do_convert_rgb", NoEffect(RGB)),
    ("data_format", NoEffect(RGB)),
    ("input_data_format", NoEffect(RGB)),
    ("feature_extractor_type", NoEffect(CLASS)),
    ("image_processor_type", NoEffect(CLASS)),
    ("processor_class", NoEffect(CLASS)),
    ("_processor_class", NoEffect(CLASS)),
    ("_valid_processor_keys", NoEffect(PYTHON)),
    ("_valid_kwargs_names", NoEffect(PYTHON)),
    ("device", NoEffect(PYTHON)),
    ("return_tensors", NoEffect(PYTHON)),
    ("disable_grouping", NoEffect(PYTHON)),
    ("auto_map", NoEffect(PYTHON)),
    ("_commit_hash", NoEffect(PYTHON)),
    ("_name_or_path", NoEffect(PYTHON)),
    ("image_seq_length", NoEffect("only counts for models that take pictures as tokens")),
];
