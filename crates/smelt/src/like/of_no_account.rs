//! Settings that say nothing of the pixels: names of files and nodes, dates, and what is off.

use super::Like;

/// How keys end that say nothing of the picture, and the only value of which that is true, if it is one.
const IDLE: &[(&str, Option<&str>)] = &[
    // ComfyUI.
    ("filename_prefix", None),
    (".upload", None),
    (".preview_method", None),
    (".batch_size", Some("1")),
    (".weight_dtype", Some("default")),
    (".add_noise", Some("true")),
    (".add_noise", Some("enable")),
    // AUTOMATIC1111 and its like.
    ("Conditional mask weight", Some("1.0")),
    ("Created Date", None),
    ("Civitai resources", None),
    ("Civitai metadata", None),
    ("Hashes", None),
    ("App", None),
    ("Operations", Some("txt2img")),
    // InvokeAI: what kind a model is of, and what else is in the picture.
    ("generation_mode", None),
    ("model.key", None),
    ("model.base", None),
    ("model.type", None),
    ("model.hash", None),
    ("base_model", None),
    ("model_type", None),
    ("app_id", None),
    ("image.type", None),
    ("image.threshold", Some("0")),
    ("image.perlin", Some("0")),
    // stable-diffusion.cpp.
    ("SDCPP.schema", None),
    ("SDCPP.mode", None),
    // Draw Things; its numbers for samplers are said by name too.
    ("v2.sampler", None),
    ("v2.batchCount", None),
    ("shift", Some("1")),
    // Mochi Diffusion.
    ("ML Compute Unit", None),
    ("Date", None),
    ("Safety Checker", None),
    // Others.
    ("sui_extra_data.date", None),
    ("aspectratio", None),
    ("metadata_scheme", None),
    ("image_idx", Some("0")),
    ("Image", Some("0")),
    // ControlNet: how its picture was prepared, which is a picture here.
    ("Pixel Perfect", None),
    ("Processor Res", None),
    ("Threshold A", None),
    ("Threshold B", None),
    ("Control Mode", Some("Balanced")),
    ("control_mode", Some("balanced")),
    ("controlImportance", Some("balanced")),
    ("control_model.key", None),
    (".mode", Some("all")),
];

/// Values that say of anything that it is off.
const OFF: &[&str] = &["", "false", "False", "null", "none", "None", "[]", "{}"];

impl Like {
    /// Names what is not taken over, unless it says nothing of the picture.
    pub(super) fn leave_unless_idle(&mut self, key: &str, value: &str, why: Option<&str>) {
        let is_idle = |(end, only): &(&str, Option<&str>)| {
            let begin = key.strip_suffix(end);
            let is_whole = begin.is_some_and(|begin| begin.is_empty() || end.starts_with('.') || ends_word(begin));
            is_whole && only.is_none_or(|only| only == value)
        };
        // What was wrong with a setting is said in any case.
        if why.is_none() && (OFF.contains(&value) || IDLE.iter().any(is_idle)) {
            return;
        }
        self.leave(key, value, why.unwrap_or_default());
    }
}

/// Whether a new word can begin behind a text.
fn ends_word(text: &str) -> bool {
    text.ends_with([' ', '.', '_'])
}
