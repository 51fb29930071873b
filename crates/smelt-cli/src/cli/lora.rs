//! LoRAs as they are named.

use std::path::PathBuf;

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};
use smelt::{LoraAsked, Loras};

/// LoRAs that a checkpoint is opened with.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct LoraArgs {
    /// Add a LoRA to a checkpoint's weights, with this weight (default: 1) and this one for text encoders (default: the
    /// same); repeat it for more. FILE is a file or a folder of PEFT, a name in --lora-dir, or hf:owner/name[/path].
    #[arg(
        long = "lora",
        value_name = "FILE[:WEIGHT[:TEXT-WEIGHT]]",
        value_parser = OsStringValueParser::new().try_map(|text| LoraAsked::read(&text))
    )]
    loras: Vec<LoraAsked>,
    /// Where names of LoRAs are looked up, those too that prompts have: <lora:name:0.8>.
    #[arg(long, value_name = "DIR")]
    lora_dir: Option<PathBuf>,
    /// Leave out tensors of a LoRA that fit nothing in the checkpoint, with a warning that names them.
    #[arg(long, requires = "loras")]
    allow_unapplied: bool,
}

impl LoraArgs {
    /// Those that are asked for.
    pub(crate) fn asked(&self) -> &[LoraAsked] {
        &self.loras
    }

    /// Where names are looked up.
    pub(crate) const fn folder(&self) -> Option<&PathBuf> {
        self.lora_dir.as_ref()
    }
}

impl From<&LoraArgs> for Loras {
    fn from(args: &LoraArgs) -> Self {
        let LoraArgs { loras, lora_dir, allow_unapplied } = args;
        Self { asked: loras.clone(), folder: lora_dir.clone(), allow_unapplied: *allow_unapplied }
    }
}
