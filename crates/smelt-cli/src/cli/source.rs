//! Checkpoints and models as they are named, and what they are opened with.

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};
use smelt::{Opening, Role, Source};

use super::examples;

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
    #[command(flatten)]
    pub(crate) opening: SourceArgs,
}

impl From<&SourceArgs> for Opening {
    fn from(args: &SourceArgs) -> Self {
        Self { variant: args.variant.clone(), offline: args.offline }
    }
}
