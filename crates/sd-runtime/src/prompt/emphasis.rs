//! How prompts are read: what brackets in them mean, and what weights do.

use std::fmt;
use std::str::FromStr;

use crate::error::{Result, RuntimeError};

/// The language of prompts, and what a weight does to the states of its words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Emphasis {
    /// AUTOMATIC1111's language; states are multiplied by their weights, and the mean of a window stays what it was.
    #[default]
    Original,
    /// The same, and the mean becomes what it becomes.
    NoNorm,
    /// AUTOMATIC1111's language, whose weights count nothing.
    Ignore,
    /// ComfyUI's weights; states are moved away from those of the empty prompt, and words stay in one window.
    Comfy,
    /// compel's language, which InvokeAI has; states are moved away from those of the empty prompt, and words of less weight
    /// are mixed with a prompt without them.
    Compel,
    /// No language: a prompt is text, as diffusers reads it, and what does not fit into a window is cut off.
    Plain,
}

impl Emphasis {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Original, Self::NoNorm, Self::Ignore, Self::Comfy, Self::Compel, Self::Plain];

    /// The short name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Original => "original",
            Self::NoNorm => "no-norm",
            Self::Ignore => "ignore",
            Self::Comfy => "comfy",
            Self::Compel => "compel",
            Self::Plain => "plain",
        }
    }

    /// What it means, in a line.
    #[must_use]
    pub const fn summary(self) -> &'static str {
        match self {
            Self::Original => "AUTOMATIC1111's language: (word:1.2), [word], BREAK, [from:to:when], [a|b]",
            Self::NoNorm => "The same without restoring the mean of the states",
            Self::Ignore => "The same, and weights count nothing",
            Self::Comfy => "ComfyUI's weights: (word), (word:1.2)",
            Self::Compel => "compel's language: word++, (a phrase)1.2, (\"a\", \"b\").blend(0.7, 0.3), .and()",
            Self::Plain => "No language: text, as diffusers reads it, cut off where a window ends",
        }
    }

    /// What AUTOMATIC1111's web UI calls it in a picture's settings, where it is not the usual one.
    #[must_use]
    pub const fn other_name(self) -> Option<&'static str> {
        match self {
            Self::Original => None,
            Self::NoNorm => Some("No norm"),
            Self::Ignore => Some("Ignore"),
            Self::Comfy => Some("comfy"),
            Self::Compel => Some("compel"),
            Self::Plain => Some("None"),
        }
    }

    /// Whether it is one of AUTOMATIC1111's.
    #[must_use]
    pub const fn is_of_web_ui(self) -> bool {
        matches!(self, Self::Original | Self::NoNorm | Self::Ignore)
    }
}

impl fmt::Display for Emphasis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Emphasis {
    type Err = RuntimeError;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|emphasis| emphasis.name() == name).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            RuntimeError::Options(format!("emphasis {name:?} is not one of {names}"))
        })
    }
}
