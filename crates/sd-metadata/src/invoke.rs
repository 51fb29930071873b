//! InvokeAI: `invokeai_metadata` today; `sd-metadata` and `Dream`, a command line, before version 3.

use serde_json::{Map, Value};

use crate::field::Field;
use crate::json::{self, Table};
use crate::made::{Control, Made};
use crate::tool::Tool;

const TABLE: Table = &[
    ("app_version", Field::Version),
    ("positive_prompt", Field::Prompt),
    ("negative_prompt", Field::Negative),
    ("positive_style_prompt", Field::Prompt2),
    ("negative_style_prompt", Field::Negative2),
    ("width", Field::Width),
    ("height", Field::Height),
    ("seed", Field::Seed),
    ("rand_device", Field::Rng),
    ("cfg_scale", Field::Guidance),
    ("guidance", Field::DistilledGuidance),
    ("cfg_rescale_multiplier", Field::GuidanceRescale),
    ("steps", Field::Steps),
    ("scheduler", Field::Sampler),
    ("model.name", Field::Model),
    ("model.model_name", Field::Model),
    ("model.hash", Field::ModelHash),
    ("vae.name", Field::Vae),
    ("vae.model_name", Field::Vae),
    ("vae.hash", Field::VaeHash),
    ("strength", Field::Strength),
    ("init_image", Field::InitImage),
    ("refiner_model.name", Field::Refiner),
    ("refiner_model.model_name", Field::Refiner),
    ("refiner_start", Field::RefinerStart),
];
/// Before version 3.
const OLD: Table = &[
    ("app_version", Field::Version),
    ("model_weights", Field::Model),
    ("model_hash", Field::ModelHash),
    ("image.prompt", Field::Prompt),
    ("image.negative_prompt", Field::Negative),
    ("image.steps", Field::Steps),
    ("image.cfg_scale", Field::Guidance),
    ("image.width", Field::Width),
    ("image.height", Field::Height),
    ("image.seed", Field::Seed),
    ("image.sampler", Field::Sampler),
    ("image.strength", Field::Strength),
    ("image.init_image_path", Field::InitImage),
];

/// Whether an object is one of InvokeAI's.
pub(crate) fn is_it(object: &Map<String, Value>) -> bool {
    object.contains_key("positive_prompt")
        && ["generation_mode", "cfg_scale", "rand_device"].iter().any(|key| object.contains_key(*key))
}

/// Reads `invokeai_metadata`.
pub(crate) fn parse(mut object: Map<String, Value>) -> Made {
    let mut made = Made::by(Tool::InvokeAi);
    for lora in json::take_array(&mut object, "loras") {
        json::lora(&mut made, lora, &["model.name", "lora.model_name", "model.model_name", "lora.name"], &["weight"]);
    }
    for entry in json::take_array(&mut object, "controlnets") {
        made.controls.push(control(entry));
    }
    // CLIP's layers that are left out: AUTOMATIC1111 counts the last one itself.
    if let Some(n) = object.get("clip_skip").and_then(Value::as_u64) {
        made.clip_skip = Some(n.saturating_add(1));
        object.shift_remove("clip_skip");
    }
    // The same text for both encoders is no second prompt.
    for (first, second) in [("positive_prompt", "positive_style_prompt"), ("negative_prompt", "negative_style_prompt")]
    {
        if object.get(first) == object.get(second) {
            object.shift_remove(second);
        }
    }
    json::fill(&mut made, object, TABLE);
    made
}

/// A ControlNet.
fn control(mut entry: Value) -> Control {
    Control {
        model: json::take_text(&mut entry, &["control_model.name", "control_model.model_name"]),
        module: None,
        image: json::take_text(&mut entry, &["image.image_name"]),
        weight: json::take_number(&mut entry, "control_weight"),
        start: json::take_number(&mut entry, "begin_step_percent"),
        end: json::take_number(&mut entry, "end_step_percent"),
        other: json::rest(entry),
    }
}

/// Reads `sd-metadata`.
pub(crate) fn parse_old(mut object: Map<String, Value>) -> Made {
    let mut made = Made::by(Tool::InvokeAi);
    if let Some(Value::Object(image)) = object.get_mut("image") {
        if let Some(Value::Array(prompts)) = image.get("prompt") {
            // A list of prompts with weights, of which there is mostly one, with the weight 1.
            let texts: Vec<&str> = prompts.iter().filter_map(|prompt| prompt.get("prompt")?.as_str()).collect();
            let is_plain =
                prompts.len() == 1 && prompts[0].get("weight").is_none_or(|weight| weight.as_f64() == Some(1.0));
            let joined = texts.join("\n");
            if texts.len() == prompts.len() && is_plain {
                image.insert("prompt".to_owned(), Value::from(joined));
            } else if texts.len() == prompts.len() {
                image.insert("prompts_with_weights".to_owned(), image["prompt"].clone());
                image.insert("prompt".to_owned(), Value::from(joined));
            }
        }
        variations(&mut made, image);
    }
    json::fill(&mut made, object, OLD);
    split_negative(&mut made);
    made
}

/// `[[seed, weight], …]`: one is a variation, several are kept.
fn variations(made: &mut Made, image: &mut Map<String, Value>) {
    let Some(Value::Array(list)) = image.get("variations") else { return };
    let one = match list.as_slice() {
        [] => {
            image.shift_remove("variations");
            return;
        }
        [one] => one,
        _ => return,
    };
    let (seed, weight) = match one {
        Value::Array(pair) => (pair.first(), pair.get(1)),
        other => (other.get("seed"), other.get("weight")),
    };
    if let (Some(seed), Some(weight)) = (seed.and_then(Value::as_u64), weight.and_then(Value::as_f64)) {
        made.variation = Some(crate::made::Variation { seed: Some(seed), strength: Some(weight) });
        image.shift_remove("variations");
    }
}

/// Before version 3 negative prompts stood in brackets within the prompt.
fn split_negative(made: &mut Made) {
    let Some(prompt) = made.prompt.clone().filter(|_| made.negative.is_none()) else { return };
    let (mut positive, mut negative) = (String::new(), Vec::new());
    let mut rest = prompt.as_str();
    while let Some((before, after)) = rest.split_once('[') {
        let Some((inner, behind)) = after.split_once(']') else { return };
        if before.ends_with('\\') || inner.contains('[') || inner.ends_with('\\') {
            return;
        }
        positive.push_str(before);
        negative.push(inner.trim());
        rest = behind;
    }
    if !negative.is_empty() {
        positive.push_str(rest);
        made.prompt = Some(positive.trim().to_owned());
        made.negative = Some(negative.join(", "));
    }
}

/// Reads `Dream`: `"a fox" -s 50 -S 12 -W 512 -H 512 -C 7.5 -A k_lms`.
pub(crate) fn parse_dream(text: &str) -> Made {
    const OPTIONS: &[(&str, &str, Field)] = &[
        ("-s", "--steps", Field::Steps),
        ("-S", "--seed", Field::Seed),
        ("-W", "--width", Field::Width),
        ("-H", "--height", Field::Height),
        ("-C", "--cfg_scale", Field::Guidance),
        ("-A", "--sampler", Field::Sampler),
        ("-I", "--init_img", Field::InitImage),
        ("-f", "--strength", Field::Strength),
        ("-v", "--variation_amount", Field::VariationStrength),
    ];
    let mut made = Made::by(Tool::InvokeAi);
    let words = words(text);
    let n_prompt = words.iter().position(|word| is_option(word)).unwrap_or(words.len());
    made.put(Field::Prompt, "prompt", &words[..n_prompt].join(" "));
    let mut rest = words[n_prompt..].iter().peekable();
    while let Some(word) = rest.next() {
        let word = word.as_str();
        let short =
            OPTIONS.iter().find(|(short, ..)| word.len() > 2 && !word.starts_with("--") && word.starts_with(short));
        let exact = OPTIONS.iter().find(|(short, long, _)| word == *short || word == *long);
        match (exact, short) {
            (Some((_, _, field)), _) => {
                let value = rest.next_if(|word| !is_option(word)).cloned().unwrap_or_default();
                made.put(*field, word, &value);
            }
            // Values may stand right behind the letter: `-s50`.
            (None, Some((short, _, field))) => made.put(*field, short, &word[short.len()..]),
            (None, None) => {
                let value = rest.next_if(|word| !is_option(word)).cloned().unwrap_or_default();
                made.keep(word, value);
            }
        }
    }
    split_negative(&mut made);
    made
}

/// Whether a word is an option, and no negative number.
fn is_option(word: &str) -> bool {
    word.strip_prefix('-').is_some_and(|rest| rest.starts_with(|char: char| char.is_alphabetic() || char == '-'))
}

/// Words of a command line; quotes hold words together.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut quote, mut is_word) = (String::new(), None, false);
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match (char, quote) {
            ('\\', Some('"')) => word.extend(chars.next()),
            (_, Some(open)) if char == open => quote = None,
            (_, Some(_)) => word.push(char),
            ('"', None) => (quote, is_word) = (Some(char), true),
            (_, None) if char.is_whitespace() => {
                if is_word {
                    words.push(std::mem::take(&mut word));
                }
                is_word = false;
            }
            (_, None) => {
                word.push(char);
                is_word = true;
            }
        }
    }
    if is_word {
        words.push(word);
    }
    words
}
