//! What the denoiser is given of prompts, without anything drawn.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use host_tensor::Stop;

use super::DiffusionPipeline;
use crate::error::Result;
use crate::request::{GenerateOptions, Progress, Warning};
use crate::watch::{Collector, Watch};

/// What the denoiser is given of prompts, at the first evaluation.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Embedded {
    /// Values of the prompt by the denoiser's input; states of tokens are [D, tokens].
    pub prompt: BTreeMap<&'static str, Vec<f32>>,
    /// The same of the negative prompt, where there is guidance.
    pub negative: Option<BTreeMap<&'static str, Vec<f32>>>,
    /// Windows of text.
    pub n_windows: usize,
    /// What the caller should tell its user.
    pub warnings: Vec<Warning>,
}

impl DiffusionPipeline {
    /// Reads the prompts of a request and draws nothing.
    ///
    /// # Errors
    /// As [`generate`](Self::generate).
    pub fn embed(&mut self, options: &GenerateOptions, stop: &Stop) -> Result<Embedded> {
        let n_steps = self.evaluations(options)?;
        let mut on_step = |_: Progress<'_>| ControlFlow::Continue(());
        let mut collector = Collector::new(&mut on_step);
        let watch = Watch::new(options.drawn_count(), n_steps, stop, &mut collector);
        let read = self.read_prompts(options, &watch);
        self.models.release();
        let (prompted, warnings) = read?;
        let (n_windows, first) = (prompted.n_windows, prompted.first());
        Ok(Embedded { prompt: first.prompt, negative: first.negative, n_windows, warnings })
    }
}
