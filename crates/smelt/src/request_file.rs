//! A file of settings, and what a model recommends of its own accord.
//!
//! Later ones stand before earlier ones: what is usual, what the model recommends, a file of settings, what was asked for.

use std::path::Path;

use serde_json::{Map, Value};

use crate::error::{Context, Result};
use crate::open::{Model, Opened};
use crate::recommended::Recommended;
use crate::request::Request;
use crate::settings::{self, Settings};

/// Cap on a file of settings, in bytes.
const MAX_BYTES: u64 = 1 << 20;

impl Opened {
    /// What the model recommends of its own accord, if anything.
    ///
    /// # Errors
    /// When its `smelt.json` cannot be read.
    pub fn recommended(&self) -> Result<Option<Recommended>> {
        match self.model() {
            Model::Packages(dir) => Ok(Settings::read(dir)?.and_then(|settings| settings.recommended)),
            Model::Checkpoint(checkpoint) => settings::recommended(checkpoint),
        }
    }
}

/// Some of a request's settings, from a file: JSON with the fields of a [`Request`], of which any may be left out.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RequestFile {
    what: String,
    settings: Map<String, Value>,
}

impl RequestFile {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, is no JSON object, or has a setting that a request has not.
    pub fn read(path: &Path) -> Result<Self> {
        let what = path.display().to_string();
        let bytes = safe_files::read(path, MAX_BYTES)?;
        let settings = serde_json::from_slice(&bytes).with_context(|| what.clone())?;
        let file = Self { what, settings };
        // Refused now, before anything is loaded.
        file.apply(&mut Request::default())?;
        Ok(file)
    }

    /// Settings that came another way; `what` says which, for messages.
    ///
    /// # Errors
    /// For a setting that a request has not, or of another type.
    pub fn of(what: impl Into<String>, settings: Map<String, Value>) -> Result<Self> {
        let file = Self { what: what.into(), settings };
        file.apply(&mut Request::default())?;
        Ok(file)
    }

    /// Gives a request what the file says; all else stays.
    ///
    /// # Errors
    /// For a setting that a request has not, or of another type.
    pub fn apply(&self, request: &mut Request) -> Result<()> {
        put(request, &self.settings, &self.what)
    }
}

/// Puts fields of a request, as its JSON has them, into their places; all else stays.
pub(crate) fn put(request: &mut Request, settings: &Map<String, Value>, what: &str) -> Result<()> {
    let Value::Object(mut json) = serde_json::to_value(&*request)? else { return Ok(()) };
    json.extend(settings.clone());
    let changed: Request = serde_json::from_value(Value::Object(json)).with_context(|| what.to_owned())?;
    // What a picture begins with is no part of the JSON.
    *request = Request {
        controls: std::mem::take(&mut request.controls),
        start: request.start.take(),
        noise: std::mem::take(&mut request.noise),
        latents: std::mem::take(&mut request.latents),
        ..changed
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_settings_stand_before_earlier_ones() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("settings.json");
        std::fs::write(&path, r#"{"steps": 8, "prompt": "a red heart", "scheduler": "lcm"}"#).unwrap();
        let mut recommended = Recommended::default();
        for (key, value) in [("steps", "4"), ("guidance", "1.5"), ("scheduler", "euler"), ("negative_prompt", "blurry")]
        {
            recommended.set(key, value).unwrap();
        }
        let mut request = Request { seed: 7, ..Request::default() };
        recommended.apply(&mut request);
        assert_eq!((request.steps, request.guidance, request.negative_prompt.as_deref()), (4, 1.5, Some("blurry")));
        RequestFile::read(&path).unwrap().apply(&mut request).unwrap();
        let want = Request {
            steps: 8,
            guidance: 1.5,
            negative_prompt: Some("blurry".into()),
            scheduler: Some("lcm".parse().unwrap()),
            seed: 7,
            ..Request::new("a red heart")
        };
        assert_eq!(request, want);
    }

    #[test]
    fn a_file_that_is_none_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("settings.json");
        for wrong in ["[1]", r#"{"stepps": 4}"#, r#"{"steps": "four"}"#] {
            std::fs::write(&path, wrong).unwrap();
            let error = RequestFile::read(&path).unwrap_err();
            assert!(error.to_string().contains("settings.json"), "{error}");
        }
    }
}
