//! How a model's tokenizers read a prompt, without its weights.

use sd_runtime::pipeline::PipelineConfig;
use sd_runtime::prompt::{Emphasis, count, texts};
use serde::Serialize;

use crate::bundle::Companions;
use crate::error::Result;
use crate::model_dir::ModelDir;
use crate::networks::without_networks;
use crate::open::{Model, Opened};

pub use sd_runtime::prompt::{CountedPiece, PromptCount, PromptWindow};

/// Evaluations of the denoiser that prompts are shown for which change on the way.
const USUAL_STEPS: usize = 20;

/// Reads prompts as a model's text encoders of CLIP's do.
#[derive(Debug)]
pub struct PromptCounter {
    config: PipelineConfig,
}

/// A prompt as all text encoders of CLIP's read it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct CountedPrompt {
    /// What it says on the way, where that changes; else itself, without the networks that it names.
    pub texts: Vec<String>,
    /// The text that takes the most windows, by text encoder.
    pub encoders: Vec<PromptCount>,
}

impl Opened {
    /// What counts the tokens of prompts for the model.
    ///
    /// # Errors
    /// When the tokenizer's files cannot be read.
    pub fn prompt_counter(&self) -> Result<PromptCounter> {
        let config = match self.model() {
            Model::Packages(dir) => {
                let packages = ModelDir::find(dir, None)?;
                Companions::read(dir, (packages.family(), packages.is_of_its_own()), None)?.config
            }
            Model::Checkpoint(checkpoint) => PipelineConfig::of_family(checkpoint.family(), checkpoint.as_ref(), None)?,
        };
        Ok(PromptCounter { config })
    }
}

impl PromptCounter {
    /// Counts a prompt's tokens.
    ///
    /// # Errors
    /// For what its language has no meaning for.
    pub fn count(&self, prompt: &str, emphasis: Emphasis) -> Result<CountedPrompt> {
        let texts = texts(&without_networks(prompt, emphasis), emphasis, USUAL_STEPS);
        let mut encoders = Vec::new();
        for tokenizer in &self.config.tokenizers {
            let counts = texts.iter().map(|text| count(tokenizer, text, emphasis));
            let counts = counts.collect::<Result<Vec<_>, _>>()?;
            encoders.extend(counts.into_iter().max_by_key(|count| (count.windows.len(), count.n_tokens)));
        }
        Ok(CountedPrompt { texts, encoders })
    }
}
