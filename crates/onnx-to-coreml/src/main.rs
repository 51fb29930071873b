//! Writes every model of the folder `models` as a Core ML package into a folder that is there: `cargo run -p onnx-to-coreml -- FOLDER [float32]`.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use onnx_to_coreml::{MODELS, Precision};

fn main() -> Result<()> {
    let folder = std::env::args_os()
        .nth(1)
        .map(PathBuf::from)
        .context("give the folder to write packages to, which must be there")?;
    let precision = match std::env::args().nth(2).as_deref() {
        None => Precision::Half,
        Some("float32") => Precision::Single,
        Some(other) => bail!("{other}: the only precision besides that of the default, float16, is float32"),
    };
    for model in MODELS {
        let path = model.write(&folder, precision)?;
        writeln!(std::io::stdout(), "wrote {}", path.display())?;
    }
    Ok(())
}
