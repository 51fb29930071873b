//! Where test data lies: the golden data beside the repository, the demo checkpoint inside it.

use std::path::{Path, PathBuf};

/// The root of the workspace, found from where this crate's manifest lies.
#[must_use]
pub fn workspace_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("invariant: testkit lies two folders below the workspace root")
        .to_path_buf()
}

/// The golden data: `$SMELT_GOLDEN`, or `../shared/golden` beside the workspace.
///
/// Golden data is not part of the repository.
/// Where it is missing this says so on standard error and returns `None`, and the caller skips its test.
#[must_use]
#[allow(clippy::print_stderr, reason = "a skipped test must be seen to be skipped")]
pub fn golden() -> Option<PathBuf> {
    let place =
        std::env::var_os("SMELT_GOLDEN").map_or_else(|| workspace_root().join("../shared/golden"), PathBuf::from);
    if place.is_dir() {
        return Some(place);
    }
    eprintln!("skipped: golden data not found at {} (set SMELT_GOLDEN)", place.display());
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
