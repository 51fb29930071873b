//! Settings that suit a model: what a directory of packages says in its `smelt.json`, and what a file of settings says.
//!
//! Later ones stand before earlier ones: what is usual, what the model recommends, a file of settings, what was asked for.

use std::path::Path;
use std::str::FromStr;

use sd_checkpoint::Checkpoint;
use sd_runtime::scheduler::Sampler;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::bundle::{SETTINGS_FILE, Settings};
use crate::error::{Context, Error, Result, refuse};
use crate::file::json_if_present;
use crate::open::{Model, Opened};
use crate::request::{Request, by_name_if_any};

/// Cap on a file of settings, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// What suits a model, where it differs from what is usual.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recommended {
    /// Denoising steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<usize>,
    /// Classifier-free guidance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guidance: Option<f32>,
    /// The scheduler.
    #[serde(skip_serializing_if = "Option::is_none", with = "by_name_if_any")]
    pub scheduler: Option<Sampler>,
    /// What pictures do not show.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub negative_prompt: Option<String>,
}

impl Recommended {
    /// What stands beside a checkpoint, which its author may have written there.
    pub(crate) fn of_checkpoint(checkpoint: &Checkpoint) -> Result<Option<Self>> {
        let Some(json) = json_if_present(checkpoint, SETTINGS_FILE)? else { return Ok(None) };
        match &json["recommended"] {
            Value::Null => Ok(None),
            own => Ok(serde_json::from_value(own.clone()).context("smelt.json: recommended")?),
        }
    }

    /// What is asked for, and all else as the checkpoint says; `None` where nobody says anything.
    pub(crate) fn or_of(&self, checkpoint: &Checkpoint) -> Result<Option<Self>> {
        let own = Self::of_checkpoint(checkpoint)?.unwrap_or_default();
        let asked = self.clone();
        let both = Self {
            steps: asked.steps.or(own.steps),
            guidance: asked.guidance.or(own.guidance),
            scheduler: asked.scheduler.or(own.scheduler),
            negative_prompt: asked.negative_prompt.or(own.negative_prompt),
        };
        Ok(Some(both).filter(|both| *both != Self::default()))
    }

    /// Puts another setting in its place: `KEY=VALUE`, with the keys of `smelt.json`.
    ///
    /// # Errors
    /// For keys that are none, and values that do not fit.
    pub fn set(&mut self, key: &str, value: &str) -> Result<()> {
        let wrong = |what: &str| refuse!("--recommend {key}={value}: {value:?} is not {what}");
        match key {
            "steps" => match value.parse().ok().filter(|steps| *steps > 0) {
                Some(steps) => self.steps = Some(steps),
                None => return wrong("a number of steps"),
            },
            "guidance" => match f32::from_str(value).ok().filter(|x| x.is_finite()) {
                Some(guidance) => self.guidance = Some(guidance),
                None => return wrong("a number"),
            },
            "scheduler" => self.scheduler = Some(value.parse().map_err(Error::from).context("--recommend")?),
            "negative_prompt" => self.negative_prompt = Some(value.to_owned()),
            _ => refuse!(
                "--recommend {key}={value}: nothing is called {key}; settings that a model can recommend are steps, \
                 guidance, scheduler and negative_prompt"
            ),
        }
        Ok(())
    }

    /// Gives a request these settings.
    pub fn apply(&self, request: &mut Request) {
        let Self { steps, guidance, scheduler, negative_prompt } = self.clone();
        request.steps = steps.unwrap_or(request.steps);
        request.guidance = guidance.unwrap_or(request.guidance);
        request.scheduler = scheduler.or(request.scheduler);
        request.negative_prompt = negative_prompt.or(request.negative_prompt.take());
    }
}

impl Opened {
    /// What the model recommends of its own accord, if anything.
    ///
    /// # Errors
    /// When its `smelt.json` cannot be read.
    pub fn recommended(&self) -> Result<Option<Recommended>> {
        match self.model() {
            Model::Packages(dir) => Ok(Settings::read(dir)?.and_then(|settings| settings.recommended)),
            Model::Checkpoint(checkpoint) => Recommended::of_checkpoint(checkpoint),
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

    /// Gives a request what the file says; all else stays.
    ///
    /// # Errors
    /// For a setting that a request has not, or of another type.
    pub fn apply(&self, request: &mut Request) -> Result<()> {
        let Value::Object(mut json) = serde_json::to_value(&*request)? else { return Ok(()) };
        json.extend(self.settings.clone());
        let changed: Request = serde_json::from_value(Value::Object(json)).with_context(|| self.what.clone())?;
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
    fn recommendations_are_json_without_what_is_not_said() {
        let recommended = Recommended { scheduler: Some("dpmpp-2m-karras".parse().unwrap()), ..Recommended::default() };
        let json = serde_json::to_string(&recommended).unwrap();
        assert_eq!(json, r#"{"scheduler":"dpmpp-2m-karras"}"#);
        assert_eq!(serde_json::from_str::<Recommended>(&json).unwrap(), recommended);
        assert!(serde_json::from_str::<Recommended>(r#"{"step": 4}"#).is_err());
    }

    #[test]
    fn what_cannot_be_recommended_says_what_can() {
        for (key, value, fact) in [
            ("step", "4", "steps, guidance, scheduler and negative_prompt"),
            ("steps", "0", "number of steps"),
            ("guidance", "inf", "not a number"),
            ("scheduler", "magic", "magic"),
        ] {
            let error = Recommended::default().set(key, value).unwrap_err();
            let all = format!("{error} {:?}", std::error::Error::source(&error));
            assert!(all.contains(fact), "{all}");
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("settings.json");
        for wrong in ["[1]", r#"{"stepps": 4}"#, r#"{"steps": "four"}"#] {
            std::fs::write(&path, wrong).unwrap();
            let error = RequestFile::read(&path).unwrap_err();
            assert!(error.to_string().contains("settings.json"), "{error}");
        }
    }
}
