//! What settings mean to the family of the model that draws.

use sd_metadata::Tool;
use sd_runtime::scheduler::{Sampler, SchedulerKind, Spread};
use sd_spec::Family;
use serde_json::Value;

use super::Like;
use super::tools;
use crate::error::Result;
use crate::model_dir::ModelDir;
use crate::open::{Model, Opened};

impl Like {
    /// Fits what the picture says to a model that was found; the request has to be made after that.
    ///
    /// # Errors
    /// When the model's packages cannot be told apart.
    pub fn settle(&mut self, opened: &Opened) -> Result<()> {
        // A picture of our own says what was drawn, and needs no fitting.
        if self.tool != Tool::Smelt {
            let family = match opened.model() {
                Model::Packages(dir) => ModelDir::find(dir, None)?.family(),
                Model::Checkpoint(checkpoint) => checkpoint.family(),
            };
            self.fit(family);
        }
        Ok(())
    }

    pub(super) fn fit(&mut self, family: Family) {
        if family == Family::Sd {
            return;
        }
        if let Some(skip) = self.settings.get("clip_skip").and_then(Value::as_u64) {
            let skip = match self.tool {
                // ComfyUI counts from the last layer, and these models read the one before it in any case.
                Tool::ComfyUi | Tool::SwarmUi => skip.saturating_sub(1),
                // The web UI heeds it with Stable Diffusion 1.x alone.
                tool if tools::is_web_ui(tool) => 0,
                _ => skip,
            };
            self.set("clip_skip", skip);
        }
        let Some(sampler) = self.settings.get("scheduler").and_then(Value::as_str).and_then(|name| name.parse().ok())
        else {
            return;
        };
        let sampler: Sampler = sampler;
        match (family, sampler.spread()) {
            (Family::Sd3, _) => self.fit_flow(sampler),
            (_, Some(Spread::AlignYourSteps)) => {
                self.set("scheduler", sampler.with_spread(Some(Spread::AlignYourStepsXl)).to_string());
            }
            _ => {}
        }
    }

    /// Flow matching has noise levels of its own, and samplers of their own names.
    fn fit_flow(&mut self, sampler: Sampler) {
        let own = match sampler.kind() {
            SchedulerKind::EulerDiscrete => SchedulerKind::FlowMatchEulerDiscrete.into(),
            SchedulerKind::HeunDiscrete => SchedulerKind::FlowMatchHeunDiscrete.into(),
            SchedulerKind::Lcm => SchedulerKind::FlowMatchLcm.into(),
            _ => sampler.with_spread(None),
        };
        if let Some(spread) = sampler.spread().filter(|spread| *spread != Spread::Uniform) {
            self.leave("Schedule type", spread.label(), "the model has noise levels of its own");
        }
        self.set("scheduler", own.to_string());
    }
}
