//! Golden checkpoints as the tests of this crate see them: configurations and tables of contents.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::path::{Path, PathBuf};

use sd_models::{CheckpointTensor, Role};

/// The checkpoints under test: three golden ones and the demo model, those that are there.
pub(crate) fn checkpoints() -> Vec<PathBuf> {
    let golden = testkit::golden()
        .into_iter()
        .flat_map(|golden| ["tiny-sd15", "tiny-sd21", "tiny-sd3"].map(|model| golden.join("checkpoints").join(model)));
    golden.chain([testkit::demo()]).collect()
}

/// The component's `config.json`, or `None` when the checkpoint has no such component.
pub(crate) fn config(checkpoint: &Path, role: Role) -> Option<Vec<u8>> {
    std::fs::read(checkpoint.join(role.spec().folder).join("config.json")).ok()
}

/// What the component's safetensors file holds.
pub(crate) fn contents(checkpoint: &Path, role: Role) -> Vec<CheckpointTensor> {
    let folder = checkpoint.join(role.spec().folder);
    let file = ["model.safetensors", "diffusion_pytorch_model.safetensors"]
        .map(|name| folder.join(name))
        .into_iter()
        .find(|path| path.is_file())
        .expect("a component folder with a safetensors file");
    testkit::load_safetensors(file)
        .into_iter()
        .map(|(key, tensor)| CheckpointTensor { key, dtype: tensor.dtype(), shape: tensor.shape().to_vec() })
        .collect()
}
