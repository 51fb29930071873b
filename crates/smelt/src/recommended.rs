//! Settings that suit a model, where they differ from what is usual.

use std::str::FromStr;

use sd_runtime::scheduler::Sampler;
use serde::{Deserialize, Serialize};

use crate::error::{Context, Error, Result, refuse};
use crate::request::{Request, by_name_if_any};

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
    /// These, and all else as others say.
    pub(crate) fn or(self, others: Self) -> Self {
        Self {
            steps: self.steps.or(others.steps),
            guidance: self.guidance.or(others.guidance),
            scheduler: self.scheduler.or(others.scheduler),
            negative_prompt: self.negative_prompt.or(others.negative_prompt),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

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
    }
}
