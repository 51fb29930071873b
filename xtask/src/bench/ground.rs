//! What benchmarks begin with.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;

use crate::{
    smelt,
    synth::{self, PresetName},
};

/// The folder in which they work; it is there, and keeps checkpoints from run to run.
pub(super) fn scratch() -> Result<PathBuf> {
    let scratch = smelt::target_dir()?.join("bench");
    fs::create_dir_all(&scratch)?;
    Ok(scratch)
}

/// A checkpoint of Stable Diffusion 1.5's shape.
pub(super) fn sd15(scratch: &Path) -> Result<PathBuf> {
    let checkpoint = scratch.join("sd15");
    synth::ensure_checkpoint(PresetName::Sd15, &checkpoint, 0)?;
    Ok(checkpoint)
}
