//! Checkpoints of people, made small: the demo model with something changed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::Value;

/// Weights of the demo model's networks.
pub(crate) const UNET: &str = "unet/diffusion_pytorch_model.safetensors";
pub(crate) const VAE: &str = "vae/diffusion_pytorch_model.safetensors";

/// A tensor that belongs to nobody: element type, shape, bytes.
pub(crate) type Owned = (Dtype, Vec<usize>, Vec<u8>);

/// A checkpoint that was made.
pub(crate) struct Made {
    pub(crate) root: PathBuf,
}

impl Made {
    /// A copy of a checkpoint.
    pub(crate) fn copy(of: &Path, root: PathBuf) -> Self {
        copy(of, &root);
        Self { root }
    }

    /// A copy of the demo model.
    pub(crate) fn demo(root: PathBuf) -> Self {
        Self::copy(&testkit::demo(), root)
    }

    /// Changes a file of JSON.
    pub(crate) fn json(self, file: &str, change: impl FnOnce(&mut Value)) -> Self {
        let path = self.root.join(file);
        let mut value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(&mut value);
        fs::write(path, serde_json::to_vec_pretty(&value).unwrap()).unwrap();
        self
    }

    /// Changes the tensors of a safetensors file.
    pub(crate) fn tensors(self, file: &str, change: impl FnOnce(&mut BTreeMap<String, Owned>)) -> Self {
        let path = self.root.join(file);
        let mut tensors = read(&path);
        change(&mut tensors);
        write(&path, &tensors);
        self
    }

    /// Cuts a safetensors file into two shards of these names, with an index of that name.
    pub(crate) fn shards(self, file: &str, names: [&str; 2], index: &str) -> Self {
        let path = self.root.join(file);
        let folder = path.parent().unwrap();
        let mut first = read(&path);
        let half = first.keys().nth(first.len() / 2).unwrap().clone();
        let second = first.split_off(&half);
        let mut map = serde_json::Map::new();
        for (name, part) in names.into_iter().zip([first, second]) {
            write(&folder.join(name), &part);
            map.extend(part.into_keys().map(|key| (key, Value::from(name))));
        }
        let json = serde_json::json!({"metadata": {"total_size": 1}, "weight_map": map});
        fs::write(folder.join(index), json.to_string()).unwrap();
        fs::remove_file(path).unwrap();
        self
    }

    /// Writes a file, and the folders that it needs.
    pub(crate) fn file(self, name: &str, bytes: impl AsRef<[u8]>) -> Self {
        put(&self.root.join(name), bytes);
        self
    }

    /// Removes a file or folder.
    pub(crate) fn without(self, name: &str) -> Self {
        let path = self.root.join(name);
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap()
        } else {
            fs::remove_file(path).unwrap()
        }
        self
    }
}

/// Writes a file, and the folders that it needs.
pub(crate) fn put(path: &Path, bytes: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Every tensor of a safetensors file.
pub(crate) fn read(path: &Path) -> BTreeMap<String, Owned> {
    let bytes = fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let own = |view: TensorView<'_>| (view.dtype(), view.shape().to_vec(), view.data().to_vec());
    file.tensors().into_iter().map(|(name, view)| (name, own(view))).collect()
}

/// Writes a safetensors file.
pub(crate) fn write(path: &Path, tensors: &BTreeMap<String, Owned>) {
    let views: Vec<(&str, TensorView<'_>)> = tensors
        .iter()
        .map(|(name, (dtype, shape, data))| (name.as_str(), TensorView::new(*dtype, shape.clone(), data).unwrap()))
        .collect();
    put(path, safetensors::serialize(views, None).unwrap());
}

/// Copies a folder.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &target),
            false => assert!(fs::copy(entry.path(), target).is_ok()),
        }
    }
}
