//! The weights of one network.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use host_tensor::DType;
use mil::Const;
use safe_files::{FileKind, kind_of};
use safetensors::{Dtype, SafeTensors};
use sd_models::weights::Binding;
use sd_models::{ByteRelation, CheckpointTensor};

use crate::element::{Element, SmallFloat};
use crate::map::map_file;
use crate::torch::{self, TorchFile};
use crate::{CheckpointError, Variant, Weight};

/// The weights of one network, by key: views of mapped files, and what adapters make of them.
#[derive(Debug, Clone, Default)]
pub struct Weights {
    by_key: BTreeMap<String, Weight>,
}

impl Weights {
    /// Maps the weights in a component's folder: one file, or the shards that an index names, of the variant that is asked
    /// for, the plain one, or the only one there is.
    ///
    /// # Errors
    /// When there are none, an index leaves the folder, or a file is damaged.
    pub fn open(folder: &Path, variant: Option<&str>) -> Result<Self, CheckpointError> {
        let (_, files) = Variant::choose(folder, variant)?;
        Self::map(&files)
    }

    pub(crate) fn map(files: &[PathBuf]) -> Result<Self, CheckpointError> {
        let mut weights = Self::default();
        for path in files {
            let bytes = map_file(path)?;
            let is_named = path.extension().is_some_and(|e| e == "safetensors");
            match is_named || kind_of(&bytes) == Some(FileKind::Safetensors) {
                true => weights.add(path, bytes)?,
                false => weights.add_torch(&torch::of_bytes(path, &bytes)?)?,
            }
        }
        Ok(weights)
    }

    /// Adds the tensors of a PyTorch file's state.
    ///
    /// # Errors
    /// When one of them is not read, or is there already.
    pub fn add_torch(&mut self, file: &TorchFile) -> Result<(), CheckpointError> {
        for (key, weight) in file.state()? {
            if self.by_key.insert(key.to_owned(), weight.clone()).is_some() {
                let message = format!("tensor {key} is in two files");
                return Err(CheckpointError::Torch { path: file.path().to_owned(), message });
            }
        }
        Ok(())
    }

    /// Adds the tensors of one safetensors file.
    fn add(&mut self, path: &Path, bytes: Bytes) -> Result<(), CheckpointError> {
        let damaged = |message: String| CheckpointError::Safetensors { path: path.to_owned(), message };
        if let Some(kind) = kind_of(&bytes).filter(|kind| *kind != FileKind::Safetensors) {
            return Err(safe_files::ReadError::Kind { path: path.to_owned(), kind }.into());
        }
        let (header, metadata) = SafeTensors::read_metadata(&bytes)
            .map_err(|e| damaged(format!("damaged or cut off ({e}); fetch it again")))?;
        let start = header.checked_add(8).ok_or_else(|| damaged("header length overflows".into()))?;
        for (key, info) in metadata.tensors() {
            let element = element_of(info.dtype)
                .ok_or_else(|| damaged(format!("tensor {key}: {:?} is not supported", info.dtype)))?;
            let (begin, end) = info.data_offsets;
            let range =
                start.checked_add(begin).zip(start.checked_add(end)).filter(|&(b, e)| b <= e && e <= bytes.len());
            let (begin, end) = range.ok_or_else(|| damaged(format!("tensor {key} lies outside the file")))?;
            let weight = element.weight(info.shape.clone(), bytes.slice(begin..end));
            let weight = weight.map_err(|e| damaged(format!("tensor {key}: {e}")))?;
            if self.by_key.insert(key.clone(), weight).is_some() {
                return Err(damaged(format!("tensor {key} is in two files")));
            }
        }
        Ok(())
    }

    /// The weight with this key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Weight> {
        self.by_key.get(key)
    }

    /// Puts a weight in the place of that with this key, which it returns.
    pub fn insert(&mut self, key: impl Into<String>, weight: impl Into<Weight>) -> Option<Weight> {
        self.by_key.insert(key.into(), weight.into())
    }

    /// Takes the weight with this key out.
    pub fn remove(&mut self, key: &str) -> Option<Weight> {
        self.by_key.remove(key)
    }

    /// Every weight, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Weight)> {
        self.by_key.iter().map(|(key, weight)| (key.as_str(), weight))
    }

    /// Bytes of all weights together.
    #[must_use]
    pub fn n_bytes(&self) -> u64 {
        self.by_key.values().map(Weight::n_bytes).sum()
    }

    /// The table of contents, to be compared with a network.
    pub fn contents(&self) -> impl Iterator<Item = CheckpointTensor> {
        self.iter().map(|(key, weight)| CheckpointTensor {
            key: key.to_owned(),
            dtype: weight.dtype(),
            shape: weight.shape(),
        })
    }

    /// A network's parameter in the module's shape, in f32, as a constant that reads the weight.
    #[must_use]
    pub fn parameter(&self, binding: &Binding) -> Option<Const> {
        let stored = self.get(&binding.key)?.constant();
        let view = match binding.relation {
            ByteRelation::Identical => stored.reshape(binding.shape.clone()),
            ByteRelation::Transposed => {
                let shape: Vec<usize> = binding.shape.iter().rev().copied().collect();
                stored.reshape(shape).and_then(|c| c.transpose(&[1, 0]))
            }
        };
        Some(view.ok()?.cast(DType::F32))
    }
}

/// What a safetensors file says of itself.
pub(crate) fn metadata(path: &Path) -> Result<HashMap<String, String>, CheckpointError> {
    let damaged = |e: safetensors::SafeTensorError| CheckpointError::Safetensors {
        path: path.to_owned(),
        message: format!("damaged or cut off ({e}); fetch it again"),
    };
    let (_, header) = SafeTensors::read_metadata(&map_file(path)?).map_err(damaged)?;
    Ok(header.metadata().clone().unwrap_or_default())
}

/// The names of the tensors of a file of safetensors or of PyTorch; none for other files, and for those that are refused.
pub(crate) fn keys(path: &Path) -> Option<Vec<String>> {
    let bytes = map_file(path).ok()?;
    if torch::is_torch(&bytes) {
        let file = torch::of_bytes(path, &bytes).ok()?;
        return Some(file.state().ok()?.map(|(key, _)| key.to_owned()).collect());
    }
    let (_, header) = SafeTensors::read_metadata(&bytes).ok()?;
    Some(header.tensors().into_keys().collect())
}

fn element_of(dtype: Dtype) -> Option<Element> {
    Some(Element::Plain(match dtype {
        Dtype::BOOL => DType::Bool,
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::BF16,
        Dtype::F32 => DType::F32,
        Dtype::F64 => DType::F64,
        Dtype::I8 => DType::I8,
        Dtype::I16 => DType::I16,
        Dtype::I32 => DType::I32,
        Dtype::I64 => DType::I64,
        Dtype::U8 => DType::U8,
        Dtype::U16 => DType::U16,
        Dtype::U32 => DType::U32,
        Dtype::U64 => DType::U64,
        Dtype::F8_E4M3 => return Some(Element::Small(SmallFloat::E4M3FN)),
        Dtype::F8_E5M2 => return Some(Element::Small(SmallFloat::E5M2)),
        _ => return None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_with(name: &str, bytes: &[u8]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(name), bytes).unwrap();
        dir
    }

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(data);
        bytes
    }

    #[test]
    fn tensors_are_views_of_the_file() {
        let header = r#"{"a":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}}"#;
        let dir = folder_with("model.safetensors", &file(header, &[0, 0x3C, 0, 0xC0]));
        let weights = Weights::open(dir.path(), None).unwrap();
        assert_eq!(weights.get("a").unwrap().stored().unwrap().to_f32_vec(), [1.0, -2.0]);
    }

    #[test]
    fn damaged_files_give_named_errors() {
        let whole = file(r#"{"a":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}}"#, &[0; 4]);
        let mut cases: Vec<Vec<u8>> = (0..whole.len()).map(|n| whole[..n].to_vec()).collect();
        cases.push(file(r#"{"a":{"dtype":"F16","shape":[3],"data_offsets":[0,4]}}"#, &[0; 4]));
        cases.push(file(r#"{"a":{"dtype":"F16","shape":[2],"data_offsets":[4,0]}}"#, &[0; 4]));
        cases.push(file(r#"{"a":{"dtype":"F16","shape":[2],"data_offsets":[0,400]}}"#, &[0; 4]));
        cases.push(file(r#"{"a":{"dtype":"F32","shape":[4611686018427387904,8],"data_offsets":[0,4]}}"#, &[0; 4]));
        cases.push(file(r#"{"a":{"dtype":"F8_E8M0","shape":[4],"data_offsets":[0,4]}}"#, &[0; 4]));
        cases.push([u64::MAX.to_le_bytes().to_vec(), vec![0; 8]].concat());
        cases.push(f64::NAN.to_le_bytes().to_vec());
        for case in cases {
            let dir = folder_with("model.safetensors", &case);
            let error = Weights::open(dir.path(), None).expect_err("damaged");
            assert!(error.to_string().contains("model.safetensors"), "{error}");
        }
    }

    #[test]
    fn a_shard_index_cannot_leave_its_folder() {
        let dir = folder_with("model.safetensors.index.json", br#"{"weight_map":{"a":"../x.safetensors"}}"#);
        let error = Weights::open(dir.path(), None).expect_err("outside");
        assert!(error.to_string().contains("is not a file name"), "{error}");
    }

    #[test]
    fn what_is_no_safetensors_file_is_named() {
        let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n";
        for (bytes, what) in [(pointer, "git lfs pull"), ("<html>", "HTML"), ("PK\u{3}\u{4}", "zip"), ("", "empty")] {
            let dir = folder_with("model.safetensors", bytes.as_bytes());
            let error = Weights::open(dir.path(), None).expect_err("no weights").to_string();
            assert!(error.contains("model.safetensors is") && error.contains(what), "{error}");
        }
    }

    #[test]
    fn an_absent_shard_is_named() {
        let dir =
            folder_with("model.safetensors.index.json", br#"{"weight_map":{"a":"model-00001-of-00002.safetensors"}}"#);
        let error = Weights::open(dir.path(), None).expect_err("absent").to_string();
        assert!(error.contains("model-00001-of-00002.safetensors is not there"), "{error}");
    }
}
