//! A checkpoint on disk: a diffusers directory whose tensors are mapped, never read.
//!
//! Nothing here interprets a configuration; `sd-models` does. Nothing copies a tensor.

use crate::ConvertError;
use bytes::Bytes;
use host_tensor::{DType, HostTensor};
use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};
use sd_models::Component;
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

/// Largest JSON file that is read, in bytes; real ones have a few KiB, a sharded index a few hundred.
const MAX_JSON_BYTES: u64 = 64 << 20;

/// A diffusers checkpoint directory.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    root: PathBuf,
}

impl Checkpoint {
    /// Opens a directory that holds `model_index.json` or at least one component's folder.
    ///
    /// # Errors
    /// When the path is no directory, or holds nothing of a diffusers checkpoint.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, ConvertError> {
        let root = root.into();
        if !root.is_dir() {
            return Err(ConvertError::NotADirectory { path: root });
        }
        let checkpoint = Self { root };
        let known =
            checkpoint.root.join("model_index.json").is_file() || Component::ALL.iter().any(|&c| checkpoint.has(c));
        if !known {
            return Err(ConvertError::NoCheckpoint { path: checkpoint.root });
        }
        Ok(checkpoint)
    }

    /// The directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The directory's name, which stands for the model version where none is given.
    #[must_use]
    pub fn name(&self) -> String {
        let absolute = self.root.canonicalize().unwrap_or_else(|_| self.root.clone());
        absolute.file_name().map_or_else(|| "model".to_owned(), |n| n.to_string_lossy().into_owned())
    }

    /// The folder of a component.
    #[must_use]
    pub fn folder(&self, component: Component) -> PathBuf {
        self.root.join(match component {
            Component::TextEncoder => "text_encoder",
            Component::UNet => "unet",
            Component::VaeDecoder | Component::VaeEncoder => "vae",
            Component::SafetyChecker => "safety_checker",
        })
    }

    /// True when the checkpoint holds the component.
    #[must_use]
    pub fn has(&self, component: Component) -> bool {
        self.folder(component).join("config.json").is_file()
    }

    /// The bytes of a component's `config.json`.
    ///
    /// # Errors
    /// When the file is missing, unreadable or absurdly large.
    pub fn config(&self, component: Component) -> Result<Vec<u8>, ConvertError> {
        let folder = self.folder(component);
        if !folder.is_dir() {
            return Err(ConvertError::MissingComponent { component, path: folder });
        }
        read_json(&folder.join("config.json"))
    }

    /// The component's tensors.
    ///
    /// # Errors
    /// When no weights are there, or a file is damaged.
    pub fn weights(&self, component: Component) -> Result<Weights, ConvertError> {
        Weights::open(&self.folder(component))
    }
}

/// Reads a JSON file of a checkpoint, whose size is capped.
///
/// # Errors
/// When the file is missing, unreadable or larger than any real one.
pub fn read_json(path: &Path) -> Result<Vec<u8>, ConvertError> {
    let io = |source| ConvertError::Io { path: path.to_owned(), source };
    let file = File::open(path).map_err(io)?;
    let length = file.metadata().map_err(io)?.len();
    if length > MAX_JSON_BYTES {
        return Err(ConvertError::TooLarge { path: path.to_owned(), bytes: length, limit: MAX_JSON_BYTES });
    }
    let mut bytes = Vec::new();
    file.take(MAX_JSON_BYTES).read_to_end(&mut bytes).map_err(io)?;
    Ok(bytes)
}

/// Names under which diffusers and transformers save the weights of one component, best first.
const WEIGHT_FILES: [&str; 4] = [
    "diffusion_pytorch_model.safetensors",
    "model.safetensors",
    "diffusion_pytorch_model.fp16.safetensors",
    "model.fp16.safetensors",
];

/// All tensors of one component, by key, as views of mapped files.
#[derive(Debug, Clone, Default)]
pub struct Weights {
    tensors: BTreeMap<String, HostTensor>,
}

#[derive(Deserialize)]
struct ShardIndex {
    weight_map: BTreeMap<String, String>,
}

impl Weights {
    /// Maps the weights in a component's folder: one file, or the shards that an index names.
    ///
    /// # Errors
    /// When there are none, an index leaves the folder, or a file is damaged.
    pub fn open(folder: &Path) -> Result<Self, ConvertError> {
        for name in WEIGHT_FILES {
            let index = folder.join(format!("{name}.index.json"));
            if folder.join(name).is_file() {
                return Self::map(&[folder.join(name)]);
            }
            if index.is_file() {
                return Self::map(&shards(folder, &index)?);
            }
        }
        Err(ConvertError::NoWeights { path: folder.to_owned() })
    }

    fn map(files: &[PathBuf]) -> Result<Self, ConvertError> {
        let mut weights = Self::default();
        for path in files {
            let io = |source| ConvertError::Io { path: path.clone(), source };
            let file = File::open(path).map_err(io)?;
            // SAFETY: the map is private and read-only. A checkpoint that another process shortens while it
            // is converted may still stop this one; that is the price of not copying it.
            #[allow(unsafe_code)]
            let map = unsafe { Mmap::map(&file) }.map_err(io)?;
            weights.add(path, Bytes::from_owner(map))?;
        }
        Ok(weights)
    }

    /// Adds the tensors of one safetensors file.
    fn add(&mut self, path: &Path, bytes: Bytes) -> Result<(), ConvertError> {
        let damaged = |message: String| ConvertError::Safetensors { path: path.to_owned(), message };
        let (header, metadata) = SafeTensors::read_metadata(&bytes).map_err(|e| damaged(e.to_string()))?;
        let start = header.checked_add(8).ok_or_else(|| damaged("header length overflows".into()))?;
        for (key, info) in metadata.tensors() {
            let dtype = dtype_of(info.dtype)
                .ok_or_else(|| damaged(format!("tensor {key}: {:?} is not supported", info.dtype)))?;
            let (begin, end) = info.data_offsets;
            let range =
                start.checked_add(begin).zip(start.checked_add(end)).filter(|&(b, e)| b <= e && e <= bytes.len());
            let (begin, end) = range.ok_or_else(|| damaged(format!("tensor {key} lies outside the file")))?;
            let tensor = HostTensor::new(dtype, info.shape.clone(), bytes.slice(begin..end))
                .map_err(|e| damaged(format!("tensor {key}: {e}")))?;
            if self.tensors.insert(key.clone(), tensor).is_some() {
                return Err(damaged(format!("tensor {key} is in two files")));
            }
        }
        Ok(())
    }

    /// The tensor with this key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&HostTensor> {
        self.tensors.get(key)
    }

    /// Every tensor, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &HostTensor)> {
        self.tensors.iter().map(|(k, t)| (k.as_str(), t))
    }

    /// Bytes of all tensors together.
    #[must_use]
    pub fn n_bytes(&self) -> u64 {
        self.tensors.values().map(|t| t.bytes().len() as u64).sum()
    }
}

/// The files that a shard index names, each once; none may lie outside the folder.
fn shards(folder: &Path, index: &Path) -> Result<Vec<PathBuf>, ConvertError> {
    let json = read_json(index)?;
    let damaged = |message: String| ConvertError::Safetensors { path: index.to_owned(), message };
    let index: ShardIndex = serde_json::from_slice(&json).map_err(|e| damaged(e.to_string()))?;
    let mut names: Vec<String> = index.weight_map.into_values().collect();
    names.sort();
    names.dedup();
    match names.iter().find(|n| Path::new(n).file_name().is_none_or(|f| f != n.as_str())) {
        Some(outside) => Err(damaged(format!("shard {outside:?} is not a file name"))),
        None => Ok(names.into_iter().map(|n| folder.join(n)).collect()),
    }
}

fn dtype_of(dtype: Dtype) -> Option<DType> {
    Some(match dtype {
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
        _ => return None,
    })
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
        let weights = Weights::open(dir.path()).unwrap();
        assert_eq!(weights.get("a").unwrap().to_f32_vec(), [1.0, -2.0]);
    }

    #[test]
    fn damaged_files_give_named_errors() {
        let whole = file(r#"{"a":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}}"#, &[0; 4]);
        let mut cases: Vec<Vec<u8>> = (0..whole.len()).map(|n| whole[..n].to_vec()).collect();
        cases.push(file(r#"{"a":{"dtype":"F16","shape":[3],"data_offsets":[0,4]}}"#, &[0; 4]));
        cases.push(file(r#"{"a":{"dtype":"F16","shape":[2],"data_offsets":[4,0]}}"#, &[0; 4]));
        cases.push(file(r#"{"a":{"dtype":"F16","shape":[2],"data_offsets":[0,400]}}"#, &[0; 4]));
        cases.push(file(r#"{"a":{"dtype":"F32","shape":[4611686018427387904,8],"data_offsets":[0,4]}}"#, &[0; 4]));
        cases.push(file(r#"{"a":{"dtype":"F8_E4M3","shape":[4],"data_offsets":[0,4]}}"#, &[0; 4]));
        cases.push([u64::MAX.to_le_bytes().to_vec(), vec![0; 8]].concat());
        cases.push(f64::NAN.to_le_bytes().to_vec());
        for case in cases {
            let dir = folder_with("model.safetensors", &case);
            let error = Weights::open(dir.path()).expect_err("damaged");
            assert!(error.to_string().contains("model.safetensors"), "{error}");
        }
    }

    #[test]
    fn a_shard_index_cannot_leave_its_folder() {
        let dir = folder_with("model.safetensors.index.json", br#"{"weight_map":{"a":"../x.safetensors"}}"#);
        let error = Weights::open(dir.path()).expect_err("outside");
        assert!(error.to_string().contains("is not a file name"), "{error}");
    }
}
