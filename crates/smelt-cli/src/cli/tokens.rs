//! The grammar of `smelt tokens`.

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use smelt::{Emphasis, Source};

use super::{SourceArgs, examples, source};

/// `smelt tokens`.
#[derive(Debug, Args)]
#[command(after_help = examples::TOKENS)]
pub(crate) struct TokensArgs {
    /// The prompt; - reads prompts from standard input, a line each, and counts each as it comes.
    #[arg(allow_hyphen_values = true)]
    pub(crate) prompt: String,
    /// The model whose tokenizers count: a directory of packages, or a checkpoint; default: the small model in the box,
    /// whose tokenizer is that of Stable Diffusion 1.x.
    #[arg(short, long, value_name = "SOURCE", value_parser = source())]
    pub(crate) model: Option<Source>,
    /// How prompts are read; default: original.
    #[arg(long, value_name = "HOW", value_parser = emphasis())]
    pub(crate) emphasis: Option<Emphasis>,
    #[command(flatten)]
    pub(crate) opening: SourceArgs,
}

/// Languages of prompts by the names that the library gives them.
pub(super) fn emphasis() -> impl TypedValueParser<Value = Emphasis> {
    let value = |emphasis: Emphasis| PossibleValue::new(emphasis.name()).help(emphasis.summary());
    PossibleValuesParser::new(Emphasis::ALL.map(value)).try_map(|name| name.parse())
}
