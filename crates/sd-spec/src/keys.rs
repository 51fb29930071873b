//! Every key of every configuration, and what becomes of it.
//!
//! What classes define is data: `classes.json`, taken from their sources by `cargo xtask config-keys`. What becomes of each
//! key is a row of a [`Table`]; a test fails for a key of the data without a row, so that nothing of a checkpoint is ignored
//! without a reason. A key of a file that has no row is [`Table::unknown`], and its reader names it to the user.

mod clip;
mod networks;
mod preprocessor;
mod schedulers;
mod t5;
mod tokenizer;

pub use clip::{CLIP_TEXT, CLIP_VISION, SAFETY_CHECKER};
pub use networks::{AUTOENCODER_KL, AUTOENCODER_TINY, CONTROL_NET, LINEAR, RRDB_NET, SD3_TRANSFORMER, UNET};
pub use preprocessor::CLIP_IMAGE_PROCESSOR;
pub use schedulers::{
    ANY_SCHEDULER, DDIM, DDPM, DEIS_MULTISTEP, DPM_SOLVER_MULTISTEP, DPM_SOLVER_SDE, DPM_SOLVER_SINGLESTEP,
    DPMPP_2S_ANCESTRAL, EDM_DPM_SOLVER_MULTISTEP, EDM_EULER, EULER_ANCESTRAL_DISCRETE, EULER_DISCRETE,
    FLOW_MATCH_EULER_DISCRETE, FLOW_MATCH_HEUN_DISCRETE, FLOW_MATCH_LCM, HEUN_DISCRETE, IPNDM,
    KDPM2_ANCESTRAL_DISCRETE, KDPM2_DISCRETE, LCM, LMS_DISCRETE, PNDM, SA_SOLVER, TCD, TRAINED_WITH, UNI_PC_MULTISTEP,
    has_betas, is_scheduler_key,
};
pub use t5::T5_ENCODER;
pub use tokenizer::CLIP_TOKENIZER;

use serde_json::{Map, Value};

/// What becomes of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// It is read and obeyed; values that make no sense are refused by whoever reads it.
    Followed,
    /// It changes nothing here, because of this.
    NoEffect(&'static str),
    /// Only these values are implemented, each as JSON; any other is refused. A list is taken if all of its entries are.
    Only(&'static [&'static str]),
}

/// A key and what becomes of it.
pub type Row = (&'static str, Answer);

/// The answers for one kind of configuration object.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    /// What the configuration is of, for messages: a class of diffusers or transformers.
    pub name: &'static str,
    /// Classes of `classes.json` whose keys such a file may hold.
    pub classes: &'static [&'static str],
    /// The rows, in groups that tables share; the first row of a key counts.
    pub rows: &'static [&'static [Row]],
    /// Keys whose `null` is a value of its own; for all others it counts as absent, as diffusers treats it.
    pub nulls: &'static [&'static str],
}

/// A value that is not implemented.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    /// The key.
    pub key: String,
    /// Its value.
    pub value: Value,
    /// The values that are implemented, as JSON.
    pub supported: &'static [&'static str],
}

impl Table {
    /// What becomes of a key; `None` for one that nobody defines.
    #[must_use]
    pub fn answer(&self, key: &str) -> Option<Answer> {
        self.rows.iter().copied().flatten().find(|(name, _)| *name == key).map(|(_, answer)| *answer)
    }

    /// Keys of a file that have no row, in the order of the file.
    #[must_use]
    pub fn unknown(&self, object: &Map<String, Value>) -> Vec<String> {
        object.keys().filter(|key| self.answer(key).is_none()).cloned().collect()
    }

    /// The first value that is not implemented.
    #[must_use]
    pub fn refused(&self, object: &Map<String, Value>) -> Option<Refusal> {
        object.iter().find_map(|(key, value)| {
            let Some(Answer::Only(supported)) = self.answer(key) else { return None };
            let is_absent = value.is_null() && !self.nulls.contains(&key.as_str());
            let refused = !is_absent && !is_among(value, supported);
            refused.then(|| Refusal { key: key.clone(), value: value.clone(), supported })
        })
    }

    /// Every key with a row, each once.
    pub fn keys(&self) -> impl Iterator<Item = Row> + '_ {
        let all = || self.rows.iter().copied().flatten();
        all()
            .enumerate()
            .filter(move |(i, (key, _))| all().take(*i).all(|(earlier, _)| earlier != key))
            .map(|(_, row)| *row)
    }
}

/// Whether a value, or each entry of a list, is one of these.
fn is_among(value: &Value, supported: &[&str]) -> bool {
    let is_one = |value: &Value| supported.iter().any(|text| is_same(value, text));
    match value {
        Value::Array(entries) if !is_one(value) => !entries.is_empty() && entries.iter().all(is_one),
        single => is_one(single),
    }
}

/// Numbers are the same when they have the same value: 1 and 1.0.
fn is_same(value: &Value, text: &str) -> bool {
    let Ok(wanted) = serde_json::from_str::<Value>(text) else { return false };
    match (value.as_f64(), wanted.as_f64()) {
        (Some(a), Some(b)) => a == b,
        _ => *value == wanted,
    }
}

/// The keys that a class defines, as its source has them; `None` for a class that is not in the data.
#[must_use]
pub fn defined(class: &str) -> Option<Vec<String>> {
    classes().into_iter().find(|(name, _)| name == class).map(|(_, keys)| keys)
}

/// Every class of the data with its keys.
fn classes() -> Vec<(String, Vec<String>)> {
    let data: Map<String, Value> =
        serde_json::from_str(include_str!("../classes.json")).expect("invariant: a test reads the same data");
    let keys = |class: &Value| {
        let keys = class["keys"].as_array().into_iter().flatten();
        keys.filter_map(|key| key.as_str().map(str::to_owned)).collect()
    };
    data.iter().map(|(name, class)| (name.clone(), keys(class))).collect()
}

/// Rows that every file of diffusers may have.
pub const DIFFUSERS: &[Row] = &[
    ("_diffusers_version", Answer::NoEffect("says who wrote the file")),
    ("_name_or_path", Answer::NoEffect("says where the file came from")),
    ("_use_default_values", Answer::NoEffect("says which values were defaults when the file was written")),
    // The hub's own bookkeeping, which some tools leave in.
    ("_commit_hash", Answer::NoEffect("says where the file came from")),
    ("_auto_class", Answer::NoEffect("says how to load it in Python")),
];

#[cfg(test)]
mod tests {
    use super::*;

    const TABLES: [Table; 36] = [
        UNET,
        CONTROL_NET,
        SD3_TRANSFORMER,
        AUTOENCODER_KL,
        AUTOENCODER_TINY,
        CLIP_TEXT,
        CLIP_VISION,
        SAFETY_CHECKER,
        T5_ENCODER,
        CLIP_TOKENIZER,
        CLIP_IMAGE_PROCESSOR,
        PNDM,
        DDIM,
        DDPM,
        LCM,
        TCD,
        DPM_SOLVER_MULTISTEP,
        DPM_SOLVER_SINGLESTEP,
        DPM_SOLVER_SDE,
        DPMPP_2S_ANCESTRAL,
        DEIS_MULTISTEP,
        UNI_PC_MULTISTEP,
        SA_SOLVER,
        EULER_DISCRETE,
        EULER_ANCESTRAL_DISCRETE,
        HEUN_DISCRETE,
        LMS_DISCRETE,
        KDPM2_DISCRETE,
        KDPM2_ANCESTRAL_DISCRETE,
        FLOW_MATCH_EULER_DISCRETE,
        FLOW_MATCH_HEUN_DISCRETE,
        FLOW_MATCH_LCM,
        EDM_EULER,
        EDM_DPM_SOLVER_MULTISTEP,
        IPNDM,
        ANY_SCHEDULER,
    ];

    #[test]
    fn every_key_that_a_class_defines_has_an_answer() {
        for table in TABLES {
            for class in table.classes {
                let keys = defined(class).unwrap_or_else(|| panic!("{class} is not in the data"));
                assert!(!keys.is_empty(), "{class}");
                let without: Vec<_> = keys.iter().filter(|key| table.answer(key).is_none()).collect();
                assert!(without.is_empty(), "{}: {class} defines {without:?}", table.name);
            }
        }
    }

    #[test]
    fn every_answer_gives_a_reason_or_a_value() {
        for (key, answer) in TABLES.iter().flat_map(Table::keys) {
            match answer {
                Answer::Followed => {}
                Answer::NoEffect(reason) => assert!(reason.len() > 5, "{key}"),
                Answer::Only(values) => {
                    assert!(!values.is_empty(), "{key}");
                    values.iter().for_each(|v| drop(serde_json::from_str::<Value>(v).expect(key)));
                }
            }
        }
    }

    fn object(json: &str) -> Map<String, Value> {
        serde_json::from_str(json).unwrap()
    }

    const SMALL: Table = Table {
        name: "Small",
        classes: &[],
        rows: &[&[("a", Answer::Followed), ("flag", Answer::Only(&["false"])), ("x", Answer::Only(&["1", "\"one\""]))]],
        nulls: &["x"],
    };

    #[test]
    fn unknown_keys_are_listed_in_the_order_of_the_file() {
        assert_eq!(SMALL.unknown(&object(r#"{"z": 1, "a": 2, "b": 3}"#)), ["z", "b"]);
    }

    #[test]
    fn values_are_compared_as_json_and_lists_entry_by_entry() {
        let fine = r#"{"flag": [false, false], "x": 1.0, "a": null}"#;
        assert_eq!(SMALL.refused(&object(fine)), None);
        assert_eq!(SMALL.refused(&object(r#"{"flag": null, "x": "one"}"#)), None);
        for (json, key) in [
            (r#"{"flag": [false, true]}"#, "flag"),
            (r#"{"flag": []}"#, "flag"),
            (r#"{"x": 2}"#, "x"),
            (r#"{"x": null}"#, "x"),
        ] {
            assert_eq!(SMALL.refused(&object(json)).unwrap().key, key, "{json}");
        }
    }
}
