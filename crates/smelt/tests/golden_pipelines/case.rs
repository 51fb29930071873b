//! A recorded run: what was asked for, which noise was drawn, and what came of it.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value};
use smelt::HostTensor;
use smelt::random::{RandomSource, TorchRandom};
use testkit::{load_metadata, load_safetensors};

/// Tolerance where a file gives none: 80 dB below the largest value.
const TOLERANCE: f32 = 1e-4;

/// A recorded run of diffusers.
pub(super) struct Case {
    pub(super) name: String,
    /// The class of the pipeline.
    pub(super) pipeline: String,
    /// What the checkpoint is put together from, in the file's words, or its name.
    pub(super) checkpoint: String,
    /// Class and configuration of the scheduler; none where it is the checkpoint's own.
    pub(super) scheduler: Option<(String, Map<String, Value>)>,
    /// The arguments of the call.
    pub(super) call: Map<String, Value>,
    /// The largest difference, as a share of the largest value.
    pub(super) tolerance: f32,
    tensors: BTreeMap<String, HostTensor>,
    /// Seed of PyTorch's source on the CPU, for what was drawn and not recorded.
    seed: Option<u64>,
    /// diffusers pairs pictures and prompts of a list across: of two each, only the first and the last belong together.
    is_crossed: bool,
}

impl Case {
    /// Reads one, in either of the two forms that golden files have.
    pub(super) fn read(path: &Path) -> Self {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let said = load_metadata(path);
        let object = |key: &str| said.get(key).map(|text| serde_json::from_str::<Map<String, Value>>(text).unwrap());
        let own_checkpoint = || name.rsplit_once("_pndm5").or_else(|| name.split_once('_')).unwrap().0.to_owned();
        let scheduler = object("scheduler_config").map(|config| (said["scheduler"].clone(), config));
        Self {
            pipeline: said["pipeline"].clone(),
            checkpoint: said.get("checkpoint").cloned().unwrap_or_else(own_checkpoint),
            scheduler,
            call: object("call").or_else(|| object("settings")).unwrap(),
            tolerance: said.get("tol").map_or(TOLERANCE, |tolerance| tolerance.parse().unwrap()),
            seed: said.get("generator").and_then(|text| text.strip_prefix("torch CPU, seed ")?.parse().ok()),
            tensors: load_safetensors(path),
            is_crossed: name == "sd15_img2img_batch",
            name,
        }
    }

    pub(super) fn tensor(&self, name: &str) -> Option<&HostTensor> {
        self.tensors.get(name)
    }

    /// The prompts: one, or a list.
    pub(super) fn prompts(&self) -> Vec<String> {
        texts(&self.call["prompt"])
    }

    /// The source of the recorded noise for one prompt of them.
    pub(super) fn source(&self, prompt_idx: usize) -> Recorded {
        let numbered = (0..).map_while(|i| self.tensor(&format!("noise.{i}")));
        let start = self.tensor("in.latents");
        let tensors: Vec<Vec<f32>> = numbered.chain(start).map(HostTensor::to_f32_vec).collect();
        let further = self.seed.map(TorchRandom::new);
        Recorded { tensors, next: 0, prompt_idx, n_prompts: self.prompts().len(), further }
    }

    /// Whether a picture of a prompt was recorded from the same input.
    pub(super) fn is_paired(&self, prompt_idx: usize, image_idx: usize) -> bool {
        !self.is_crossed || prompt_idx == image_idx
    }
}

/// A text, or a list of them.
pub(super) fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Array(values) => values.iter().map(|value| value.as_str().unwrap().to_owned()).collect(),
        value => vec![value.as_str().unwrap().to_owned()],
    }
}

/// Recorded draws, in order.
#[derive(Clone)]
pub(super) struct Recorded {
    tensors: Vec<Vec<f32>>,
    next: usize,
    prompt_idx: usize,
    n_prompts: usize,
    /// What comes after the recorded ones.
    further: Option<TorchRandom>,
}

impl RandomSource for Recorded {
    fn normals(&mut self, n: usize) -> Vec<f64> {
        if self.next == self.tensors.len()
            && let Some(further) = &mut self.further
        {
            return further.normals(n);
        }
        let tensor = self.tensors.get(self.next).unwrap_or_else(|| panic!("draw {} was not recorded", self.next));
        self.next += 1;
        let own = match tensor.len() {
            len if len == n => &tensor[..],
            len if len == n * self.n_prompts => &tensor[n * self.prompt_idx..][..n],
            len => panic!("draw {} of {n} values, where {len} were recorded", self.next - 1),
        };
        own.iter().map(|x| f64::from(*x)).collect()
    }

    fn boxed_clone(&self) -> Box<dyn RandomSource> {
        Box::new(self.clone())
    }
}
