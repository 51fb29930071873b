//! Checkpoints and models as they are named, and what they are opened with.

use clap::Args;
use clap::builder::{OsStringValueParser, PossibleValuesParser, TypedValueParser};
use smelt::{Averages, Opening, Prediction, Role, Source};

use super::embedding::EmbeddingArgs;
use super::examples;
use super::lora::LoraArgs;

/// Reads the name of a checkpoint or model: a path, which need not be text, or a reference to the Hub.
pub(crate) fn source() -> impl TypedValueParser<Value = Source> {
    OsStringValueParser::new().try_map(Source::try_from)
}

/// What a checkpoint is opened with.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct SourceArgs {
    /// Take this variant of a checkpoint's weights (fp16, non_ema) where a component has it; default: the plain ones, or
    /// the only ones.
    #[arg(long, value_name = "NAME")]
    pub(crate) variant: Option<String>,
    /// Fetch nothing of the Hub (hf:owner/name): take what is in its cache, or say what is missing.
    #[arg(long)]
    pub(crate) offline: bool,
    /// Take configurations, scheduler and tokenizers of this folder in diffusers layout (weights need not be in it), here or on
    /// the Hub, before the checkpoint's own, or before those that follow from a single file.
    #[arg(long, value_name = "DIR", value_parser = source())]
    pub(crate) config: Option<Source>,
    /// What the checkpoint's denoiser predicts, whatever it says: epsilon, v or flow.
    #[arg(long, value_name = "WHAT", value_parser = prediction())]
    pub(crate) prediction: Option<Prediction>,
    /// Take the average (EMA) of the denoiser's weights that a single file holds beside them.
    #[arg(long)]
    pub(crate) ema: bool,
    /// Take the VAE of this checkpoint, or this VAE alone, in the place of a checkpoint's own.
    #[arg(long, value_name = "SOURCE", value_parser = source())]
    pub(crate) vae: Option<Source>,
    #[command(flatten)]
    pub(crate) embeddings: EmbeddingArgs,
    #[command(flatten)]
    pub(crate) loras: LoraArgs,
}

/// Reads what a denoiser predicts.
fn prediction() -> impl TypedValueParser<Value = Prediction> {
    PossibleValuesParser::new(Prediction::ALL.map(Prediction::name)).try_map(|name| name.parse())
}

/// `smelt download`.
#[derive(Debug, Args)]
#[command(after_help = examples::DOWNLOAD)]
pub(crate) struct DownloadArgs {
    /// What to fetch: hf:owner/name[@revision][/path]. Of a pipeline come the files that are needed, of a path just that
    /// file or folder, of a repository with one model in one file that.
    #[arg(value_name = "SOURCE", value_parser = source())]
    pub(crate) source: Source,
    /// Only the weights of these components, separated by commas; configurations and tokenizers come in any case.
    #[arg(long = "component", value_name = "NAME,…", value_delimiter = ',', value_parser = super::role)]
    pub(crate) components: Vec<Role>,
    /// Every file, needed or not.
    #[arg(long, conflicts_with_all = ["components", "variant"])]
    pub(crate) all: bool,
    /// Take this variant of the weights (fp16, non_ema) where a component has it; default: the plain ones, or the only ones.
    #[arg(long, value_name = "NAME")]
    pub(crate) variant: Option<String>,
    /// Fetch nothing: say where it is in the cache, or what is missing.
    #[arg(long)]
    pub(crate) offline: bool,
}

impl From<&SourceArgs> for Opening {
    fn from(args: &SourceArgs) -> Self {
        let averages = if args.ema { Averages::Taken } else { Averages::LeftAside };
        let (variant, config) = (args.variant.clone(), args.config.clone());
        Self {
            variant,
            offline: args.offline,
            config,
            prediction: args.prediction,
            averages,
            vae: args.vae.clone(),
            embeddings: (&args.embeddings).into(),
            loras: (&args.loras).into(),
        }
    }
}
