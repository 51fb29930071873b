//! What was trained, as a checkpoint: each weight takes the values of its palettes and no others, in half precision.
//!
//! Whoever converts it gets these values, and `smelt compress --mode unique` stores them as palettes without loss.

use std::path::Path;

use half::f16;
use safe_files::{Existing, StagedDir, Tree, link_or_copy};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use sd_checkpoint::Checkpoint;
use sd_spec::Role;

use crate::error::FinetuneError;
use crate::tuner::Tuner;

/// The file that a component's weights are in.
const DENOISER_FILE: &str = "diffusion_pytorch_model.safetensors";
const ENCODER_FILE: &str = "model.safetensors";

impl Tuner {
    /// The network's weights as a safetensors file, under the keys that the checkpoint has.
    ///
    /// # Errors
    /// When they are no safetensors file, which does not happen.
    pub fn safetensors(&self) -> Result<Vec<u8>, FinetuneError> {
        let halves =
            |values: Vec<f32>| values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect::<Vec<u8>>();
        let stored: Vec<_> = self.stored().map(|(binding, values)| (binding, halves(values))).collect();
        let fault = |e: safetensors::SafeTensorError| FinetuneError::Device {
            name: "the trained weights".into(),
            reason: e.to_string(),
        };
        let mut views = Vec::new();
        for (binding, bytes) in &stored {
            let view = TensorView::new(Dtype::F16, binding.stored_shape.clone(), bytes).map_err(fault)?;
            views.push((binding.key.as_str(), view));
        }
        safetensors::serialize(views, None).map_err(fault)
    }

    /// Writes the checkpoint again with the trained weights in it; all other files are those of the checkpoint, by hard
    /// links where the file system has them.
    ///
    /// # Errors
    /// When the checkpoint is no folder with a folder for each network, or the target cannot be written.
    pub fn export(&self, checkpoint: &Checkpoint, role: Role, target: &Path) -> Result<(), FinetuneError> {
        let (root, own) = (checkpoint.root(), role.spec().folder);
        let fault = |reason: &str| FinetuneError::File { path: root.to_owned(), reason: reason.to_owned() };
        if !root.is_dir() || !root.join(own).is_dir() {
            return Err(fault(
                "only checkpoints in the layout of diffusers, a folder for each network, are written again",
            ));
        }
        let tree = Tree::read(root)?;
        let staged = StagedDir::new(target, Existing::Refuse)?;
        for file in tree.files().filter(|file| !is_weights(file, own)) {
            let to = staged.path().join(file);
            if let Some(parent) = to.parent().filter(|parent| !parent.is_dir()) {
                staged.make_folder(parent)?;
            }
            link_or_copy(&root.join(file), &to)?;
        }
        let name = if role.is_denoiser() { DENOISER_FILE } else { ENCODER_FILE };
        staged.write(&staged.path().join(own).join(name), &self.safetensors()?)?;
        staged.commit()?;
        Ok(())
    }
}

/// Whether a file holds weights of a component, or says in which files they are.
fn is_weights(file: &Path, folder: &str) -> bool {
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let ends = [".safetensors", ".bin", ".index.json", ".msgpack"].iter().any(|end| name.ends_with(end));
    file.starts_with(folder) && ends
}
