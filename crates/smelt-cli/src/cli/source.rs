//! Checkpoints and models as they are named, and what they are opened with.

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};
use smelt::{Opening, Source};

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
}

impl From<&SourceArgs> for Opening {
    fn from(args: &SourceArgs) -> Self {
        Self { variant: args.variant.clone() }
    }
}
