//! Burn code of every ONNX file in `models`.

use std::path::Path;

use burn_onnx::LoadStrategy;

fn main() {
    let mut generator = burn_onnx::ModelGen::new();
    for name in ["classifier", "vae_decoder"] {
        let file = Path::new("models").join(name).with_extension("onnx");
        println!("cargo::rerun-if-changed={}", file.display());
        generator.input(&file.display().to_string());
    }
    // Weights go from the file that is written beside the code to the package, and never through Burn.
    generator.load_strategy(LoadStrategy::None).out_dir("models/").run_from_script();
}
