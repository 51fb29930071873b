//! Options of AUTOMATIC1111's: those that count here, for all requests (`options`) or for one (`override_settings`).

use std::sync::{Mutex, PoisonError};

use serde_json::{Map, Value};
use smelt::Emphasis;
use smelt::image::PictureFormat;

use super::idle::OPTIONS;
use crate::fault::Fault;
use crate::fields::Fields;
use crate::format::about;

/// Where noise comes from, as the web UI calls it.
const SOURCES: [&str; 3] = ["GPU", "CPU", "NV"];
/// Formats of pictures, by the endings that the web UI has.
const FORMATS: [(&str, PictureFormat); 4] = [
    ("png", PictureFormat::Png),
    ("jpg", PictureFormat::Jpeg),
    ("jpeg", PictureFormat::Jpeg),
    ("webp", PictureFormat::WebP),
];

/// What weights in prompts do, as the web UI calls it.
const EMPHASES: [(&str, Emphasis); 4] = [
    ("Original", Emphasis::Original),
    ("No norm", Emphasis::NoNorm),
    ("Ignore", Emphasis::Ignore),
    ("None", Emphasis::Plain),
];

/// Options that count here.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Settings {
    pub(super) format: PictureFormat,
    /// The layer of CLIP that counts, from the last, which is 1.
    pub(super) clip_skip: u64,
    pub(super) source: &'static str,
    pub(super) emphasis: Emphasis,
}

impl Default for Settings {
    fn default() -> Self {
        Self { format: PictureFormat::Png, clip_skip: 1, source: SOURCES[0], emphasis: Emphasis::Original }
    }
}

impl Settings {
    /// The same with some changed; the model that they name beside, and names of options that nobody knows.
    pub(super) fn with(&self, mut fields: Fields) -> Result<(Self, Option<String>, Vec<String>), Fault> {
        let mut new = self.clone();
        let model = fields.word("sd_model_checkpoint")?;
        if let Some(name) = fields.word("samples_format")? {
            new.format = one_of("samples_format", &name, &FORMATS)?;
        }
        if let Some(layer) = fields.count("CLIP_stop_at_last_layers")? {
            new.clip_skip = layer.max(1) as u64;
        }
        if let Some(name) = fields.word("randn_source")? {
            new.source = one_of("randn_source", &name, &SOURCES.map(|source| (source, source)))?;
        }
        if let Some(name) = fields.word("emphasis")? {
            new.emphasis = one_of("emphasis", &name, &EMPHASES)?;
        }
        for (idle, _) in OPTIONS {
            fields.check(std::slice::from_ref(idle))?;
        }
        Ok((new, model, fields.names()))
    }

    /// All options, as `GET options` tells them.
    pub(super) fn told(&self) -> Map<String, Value> {
        let mut all = Map::new();
        all.insert("samples_format".to_owned(), about(self.format).ending.into());
        all.insert("CLIP_stop_at_last_layers".to_owned(), self.clip_skip.into());
        all.insert("randn_source".to_owned(), self.source.into());
        let emphasis = EMPHASES.iter().find(|(_, emphasis)| *emphasis == self.emphasis).map(|(name, _)| *name);
        all.insert("emphasis".to_owned(), emphasis.into());
        for (idle, value) in OPTIONS {
            all.insert(idle.name.to_owned(), serde_json::from_str(value).unwrap_or_default());
        }
        all
    }
}

fn one_of<T: Clone>(field: &str, name: &str, known: &[(&str, T)]) -> Result<T, Fault> {
    let found = known.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.clone()).ok_or_else(|| {
        let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        Fault::field(field, format!("{field}: nothing is called {name:?}; there are {}", names.join(", ")))
    })
}

/// The options that count for all requests.
#[derive(Default)]
pub(super) struct Shared(Mutex<Settings>);

impl Shared {
    pub(super) fn get(&self) -> Settings {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set(&self, settings: Settings) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = settings;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn with(options: Value) -> Result<(Settings, Option<String>, Vec<String>), Fault> {
        let Value::Object(map) = options else { unreachable!() };
        Settings::default().with(Fields::new(map))
    }

    #[test]
    fn what_is_told_can_be_sent_back() {
        let (settings, model, unknown) = with(Value::Object(Settings::default().told())).unwrap();
        assert_eq!((settings, model, unknown), (Settings::default(), None, Vec::new()));
    }

    #[test]
    fn options_count_or_are_refused() {
        let (settings, model, unknown) =
            with(json!({ "samples_format": "JPG", "sd_model_checkpoint": "a", "grid_format": "x" })).unwrap();
        assert_eq!((settings.format, model.as_deref()), (PictureFormat::Jpeg, Some("a")));
        assert_eq!(unknown, ["grid_format"]);
        for (options, fact) in [
            (json!({ "samples_format": "gif" }), "there are png, jpg, jpeg, webp"),
            (json!({ "sd_vae": "other.pt" }), "or give \"Automatic\""),
            (json!({ "eta_noise_seed_delta": 31337 }), "cannot be done here"),
        ] {
            let error = with(options).unwrap_err().message;
            assert!(error.contains(fact), "{error}");
        }
    }
}
