//! What of a model is loaded, and how.

use std::path::PathBuf;

use sd_checkpoint::Source;
use sd_convert::{AttentionLayout, Precision};
use sd_runtime::pipeline::Blocks;
use sd_runtime::scheduler::Sampler;

use crate::engine::{EngineKind, EngineSpec, LOW_VAE_MEMORY};
use crate::request::Request;
use crate::size::Sizes;

/// What is loaded, and how it is executed.
#[derive(Debug, Clone)]
pub struct PipelineOptions {
    /// What executes the models.
    pub engine: EngineSpec,
    /// Packages have the sizes that they were converted for; a checkpoint has any.
    pub sizes: Sizes,
    /// The scheduler; default: the model's own.
    pub scheduler: Option<Sampler>,
    /// A number of steps that must be possible, so that what is not is refused before anything is loaded.
    pub steps: usize,
    /// ControlNets that guide, in this order: names of packages in the model's folder (`canny` for
    /// `ControlNet_canny.mlpackage`), other packages, and checkpoints, which are converted in memory.
    pub controlnets: Vec<Source>,
    /// A TAESD that decodes in the place of the model's own autoencoder: a folder in diffusers layout, one file, one of its
    /// author's files (`taesd_decoder.safetensors`), a package, or a folder of packages that was converted with it.
    pub taesd: Option<Source>,
    /// A TAESD that shows pictures while they are drawn ([`Step::preview`](crate::Step::preview)), in the place of colours
    /// that are known for the family's latents.
    pub preview_taesd: Option<Source>,
    /// Load what it takes to begin with a picture.
    pub with_picture: bool,
    /// Tokens that T5 reads of a prompt, for a checkpoint of Stable Diffusion 3; default: 256.
    pub text_length: Option<usize>,
    /// Numbers of last layers that text encoders of CLIP are to be loaded without, beside the whole encoders.
    pub clip_skips: Vec<usize>,
    /// Blocks that a checkpoint's transformer of Stable Diffusion 3 is to be loaded without too, once a request needs that;
    /// a set of them for each way to skip layers.
    pub skip_layers: Vec<Blocks>,
    /// Load the safety checker, where there is one.
    pub safety_check: bool,
    /// Load each model only for its stage (text, denoising, decoding), so that memory is that of the largest; pictures are
    /// the same, and loading takes longer.
    pub low_memory: bool,
    /// Packages or a checkpoint of Stable Diffusion XL's refiner, which takes the last steps; a directory of packages may
    /// hold it beside the model itself.
    pub refiner: Option<Source>,
    /// Folder of the tokenizer's files, where the model has none.
    pub tokenizer: Option<PathBuf>,
    /// Attention layout of a checkpoint that is converted in memory; default: split-einsum.
    pub attention: Option<AttentionLayout>,
    /// Precision of a checkpoint that is converted in memory; default: float16.
    pub precision: Option<Precision>,
    /// Where hashes of files are kept, which pictures tell where they are known; default: below the system's folder for what
    /// can be made again.
    pub cache: Option<PathBuf>,
}

impl Default for PipelineOptions {
    fn default() -> Self {
        Self {
            engine: EngineSpec::default(),
            sizes: Sizes::default(),
            scheduler: None,
            steps: Request::default().steps,
            controlnets: Vec::new(),
            taesd: None,
            preview_taesd: None,
            with_picture: false,
            text_length: None,
            clip_skips: Vec::new(),
            skip_layers: Vec::new(),
            safety_check: true,
            low_memory: false,
            refiner: None,
            tokenizer: None,
            attention: None,
            precision: None,
            cache: None,
        }
    }
}

impl PipelineOptions {
    /// With what the options say of each other.
    pub(super) fn settled(&self) -> Self {
        let mut settled = self.clone();
        if self.low_memory && self.engine.kind == EngineKind::Cpu {
            settled.engine.vae_memory.get_or_insert(LOW_VAE_MEMORY);
        }
        settled
    }
}
