//! Where test data lies: the golden data beside the repository, the demo checkpoint inside it.

use std::path::{Path, PathBuf};

use crate::tally;

/// The root of the workspace, found from where this crate's manifest lies.
#[must_use]
pub fn workspace_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("invariant: testkit lies two folders below the workspace root")
        .to_path_buf()
}

/// Where golden data is looked for: `$SMELT_GOLDEN`, or `../shared/golden` beside the workspace.
#[must_use]
pub fn golden_path() -> PathBuf {
    std::env::var_os("SMELT_GOLDEN").map_or_else(|| workspace_root().join("../shared/golden"), PathBuf::from)
}

/// The folder of golden data, and note of the case that asked for it.
///
/// Golden data is not part of the repository.
/// Where it is missing this says so on standard error and returns `None`, and the caller skips its test.
/// Files in the folder are not looked for: a test that opens one that is not there fails.
///
/// # Panics
/// If the folder is missing and `SMELT_GOLDEN_REQUIRED` is 1.
#[must_use]
#[track_caller]
#[allow(clippy::print_stderr, reason = "a skipped test must be seen to be skipped")]
pub fn golden() -> Option<PathBuf> {
    let place = golden_path();
    let is_there = place.is_dir();
    tally::note(if is_there { tally::RAN } else { tally::SKIPPED });
    if is_there {
        return Some(place);
    }
    let missing = format!("golden data not found at {} (set SMELT_GOLDEN)", place.display());
    let is_required = std::env::var_os("SMELT_GOLDEN_REQUIRED").is_some_and(|value| value == "1");
    assert!(!is_required, "{missing}, and SMELT_GOLDEN_REQUIRED is 1");
    eprintln!("skipped: {missing}");
    None
}

/// The demo checkpoint in diffusers layout, which is part of the repository.
#[must_use]
pub fn demo() -> PathBuf {
    workspace_root().join("crates/sd-demo/sd-emoji")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workspace_root_holds_the_lock_file() {
        assert!(workspace_root().join("Cargo.lock").is_file());
    }

    #[test]
    fn the_demo_checkpoint_is_in_the_repository() {
        for file in ["model_index.json", "unet/config.json", "unet/diffusion_pytorch_model.safetensors"] {
            assert!(demo().join(file).is_file(), "{file}");
        }
    }
}
