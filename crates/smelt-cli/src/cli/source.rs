//! Checkpoints and models as they are named, and what they are opened with.

use std::path::PathBuf;

use clap::Args;
use clap::builder::{OsStringValueParser, PossibleValuesParser, TypedValueParser};
use smelt::{Averages, Opening, Prediction, Source};

use super::embedding::EmbeddingArgs;

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
    /// Take configurations, scheduler and tokenizers of this folder in diffusers layout (weights need not be in it) before the
    /// checkpoint's own, or before those that follow from a single file.
    #[arg(long, value_name = "DIR")]
    pub(crate) config: Option<PathBuf>,
    /// What the checkpoint's denoiser predicts, whatever it says: epsilon, v or flow.
    #[arg(long, value_name = "WHAT", value_parser = prediction())]
    pub(crate) prediction: Option<Prediction>,
    /// Take the average (EMA) of the denoiser's weights that a single file holds beside them.
    #[arg(long)]
    pub(crate) ema: bool,
    #[command(flatten)]
    pub(crate) embeddings: EmbeddingArgs,
}

/// Reads what a denoiser predicts.
fn prediction() -> impl TypedValueParser<Value = Prediction> {
    PossibleValuesParser::new(Prediction::ALL.map(Prediction::name)).try_map(|name| name.parse())
}

impl From<&SourceArgs> for Opening {
    fn from(args: &SourceArgs) -> Self {
        let averages = if args.ema { Averages::Taken } else { Averages::LeftAside };
        let (variant, config) = (args.variant.clone(), args.config.clone());
        Self { variant, config, prediction: args.prediction, averages, embeddings: (&args.embeddings).into() }
    }
}
