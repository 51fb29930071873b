//! Takes this crate's part of the weights: out of the whole file where the repository is, else as the package carries it.
//!
//! `cargo xtask package` writes `part.bin` by the same rule.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

const WHOLE: &str = "../sd-demo/sd-emoji/unet/diffusion_pytorch_model.safetensors";
const PART: usize = 1;
const N_PARTS: usize = 3;

#[allow(clippy::print_stdout, reason = "how a build script speaks to cargo")]
fn main() -> io::Result<()> {
    let place = |name: &str| env::var_os(name).map(PathBuf::from).unwrap_or_default();
    let here = place("CARGO_MANIFEST_DIR");
    let whole = here.join(WHOLE);
    let part = if whole.is_file() {
        println!("cargo::rerun-if-changed={}", whole.display());
        let bytes = fs::read(&whole)?;
        bytes[PART * bytes.len() / N_PARTS..(PART + 1) * bytes.len() / N_PARTS].to_vec()
    } else {
        read(&here.join("part.bin"))?
    };
    println!("cargo::rerun-if-changed=build.rs");
    fs::write(place("OUT_DIR").join("part.bin"), part)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    fs::read(path)
        .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}; pack with cargo xtask package", path.display())))
}
