//! The model in the box: where `generate` finds one when no directory is given.

use std::path::PathBuf;

use crate::error::Result;

/// Its name, which its packages have in theirs.
pub const NAME: &str = "sd-emoji";

/// Guidance that suits it.
#[cfg(feature = "demo")]
pub const GUIDANCE: f32 = sd_demo::GUIDANCE;
/// As for any other model: a build without it.
#[cfg(not(feature = "demo"))]
pub const GUIDANCE: f32 = 7.5;

/// Its checkpoint, unpacked where the system keeps what can be made again.
#[cfg(feature = "demo")]
pub fn directory(cache: Option<PathBuf>) -> Result<PathBuf> {
    use crate::error::Context;

    const HINT: &str = "set SMELT_CACHE to a directory that can be written, or give a model with -m";
    let cache = cache.or_else(dirs::cache_dir);
    let cache = cache.with_context(|| format!("there is no place to unpack the model in the box to; {HINT}"))?;
    sd_demo::unpack(&cache.join("smelt")).with_context(|| format!("cannot unpack the model in the box; {HINT}"))
}

/// A build without it.
#[cfg(not(feature = "demo"))]
pub fn directory(_: Option<PathBuf>) -> Result<PathBuf> {
    crate::error::refuse!("this build has no model in the box (feature `demo`); give a directory with --model")
}
