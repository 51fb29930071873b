//! What a denoiser predicts.

use std::fmt;
use std::str::FromStr;

use serde_json::Value;

/// What a denoiser predicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prediction {
    /// The noise.
    Epsilon,
    /// The velocity between picture and noise on a circle, as Stable Diffusion 2.x's larger models.
    Velocity,
    /// The velocity on the straight way from noise to picture, as Stable Diffusion 3's.
    Flow,
}

impl Prediction {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Epsilon, Self::Velocity, Self::Flow];

    /// The name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Epsilon => "epsilon",
            Self::Velocity => "v",
            Self::Flow => "flow",
        }
    }

    /// As diffusers spells it; schedulers of flows have no such key.
    #[must_use]
    pub const fn in_diffusers(self) -> Option<&'static str> {
        match self {
            Self::Epsilon => Some("epsilon"),
            Self::Velocity => Some("v_prediction"),
            Self::Flow => None,
        }
    }

    /// What a `scheduler_config.json` says; none for what is no prediction known here.
    #[must_use]
    pub fn of_scheduler(config: &Value) -> Option<Self> {
        if config["_class_name"].as_str().is_some_and(|class| class.starts_with("FlowMatch")) {
            return Some(Self::Flow);
        }
        let said = config.get("prediction_type").map_or(Some("epsilon"), Value::as_str)?;
        Self::ALL.into_iter().find(|prediction| prediction.in_diffusers() == Some(said))
    }
}

impl fmt::Display for Prediction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Prediction {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let named =
            Self::ALL.into_iter().find(|prediction| prediction.name() == s || prediction.in_diffusers() == Some(s));
        named.ok_or_else(|| format!("{s:?} is none of {}", Self::ALL.map(Self::name).join(", ")))
    }
}
