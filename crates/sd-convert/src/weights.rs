//! The weights of one component: mapped safetensors files, in one piece or in shards, of one variant.

use std::{
    collections::BTreeMap,
    fs::File,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use host_tensor::{DType, HostTensor};
use memmap2::Mmap;
use safe_files::kind_of;
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

use crate::{ConvertError, checkpoint::read_json};

/// Names under which diffusers and transformers save the weights of one component, without variant and extension.
const STEMS: [&str; 2] = ["diffusion_pytorch_model", "model"];

const EXTENSION: &str = ".safetensors";

/// Endings of weight files that are not read.
const FOREIGN: [(&str, &str); 6] = [
    (".bin", "PyTorch pickles, which are not read yet: save the model anew as safetensors"),
    (".ckpt", "PyTorch pickles, which are not read yet: save the model anew as safetensors"),
    (".msgpack", "weights of Flax: save the model anew as PyTorch's, with safetensors"),
    (".h5", "weights of TensorFlow: save the model anew as PyTorch's, with safetensors"),
    (".onnx", "an ONNX model: give the checkpoint that it was made of"),
    (".xml", "a model of OpenVINO: give the checkpoint that it was made of"),
];

/// Which of the files that a component has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Variant {
    /// The plain one.
    Plain,
    /// The plain one, although a variant was asked for, which this component does not have.
    PlainInstead,
    /// The one that was asked for.
    Named(String),
    /// The only one there is, which nobody asked for.
    Only(String),
}

/// The files of one variant.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Files {
    Whole(PathBuf),
    Sharded(PathBuf),
}

impl Variant {
    /// Chooses among the files in a folder: the plain one, or the variant that was asked for, or the only one.
    ///
    /// diffusers, too, mixes: a component without the variant gives its plain weights.
    fn of(folder: &Path, asked: Option<&str>) -> Result<(Self, Files), ConvertError> {
        let mut found = variants(folder)?;
        if let Some(asked) = asked
            && let Some(files) = found.remove(asked)
        {
            return Ok((Self::Named(asked.to_owned()), files));
        }
        if let Some(files) = found.remove("") {
            return Ok((if asked.is_some() { Self::PlainInstead } else { Self::Plain }, files));
        }
        let names: Vec<String> = found.keys().cloned().collect();
        match (found.pop_first(), asked, names.len()) {
            (Some((only, files)), None, 1) => Ok((Self::Only(only), files)),
            (Some(_), asked, _) => {
                Err(ConvertError::Variants { path: folder.to_owned(), found: names, asked: asked.map(str::to_owned) })
            }
            (None, ..) => Err(no_weights(folder)),
        }
    }

    pub(crate) fn choose(folder: &Path, asked: Option<&str>) -> Result<(Self, Vec<PathBuf>), ConvertError> {
        let (variant, files) = Self::of(folder, asked)?;
        let files = match files {
            Files::Whole(file) => vec![file],
            Files::Sharded(index) => shards(folder, &index)?,
        };
        Ok((variant, files))
    }
}

/// The variants in a folder by name; the plain one is called "". A file in one piece comes before shards, which are known by
/// their index, in either of the two spellings that diffusers had for variants.
fn variants(folder: &Path) -> Result<BTreeMap<String, Files>, ConvertError> {
    let io = |source| safe_files::ReadError::Io { path: folder.to_owned(), source };
    let mut found = BTreeMap::new();
    for stem in STEMS {
        let mut whole = BTreeMap::new();
        for entry in std::fs::read_dir(folder).map_err(io)? {
            let path = entry.map_err(io)?.path();
            let Some(name) = path.file_name().and_then(|n| n.to_str()) else { continue };
            let Some(rest) = name.strip_prefix(stem) else { continue };
            if let Some((variant, is_index)) = variant_of(rest) {
                let files = if is_index { Files::Sharded(path.clone()) } else { Files::Whole(path.clone()) };
                if !is_index || !matches!(whole.get(variant), Some(Files::Whole(_))) {
                    whole.insert(variant.to_owned(), files);
                }
            }
        }
        // The first stem is diffusers' own, and a component has files of one.
        for (variant, files) in whole {
            found.entry(variant).or_insert(files);
        }
    }
    Ok(found)
}

/// The variant in what follows the stem, and whether the file is an index of shards: `.fp16.safetensors`,
/// `.safetensors.index.fp16.json` (diffusers since 0.31), `.safetensors.fp16.index.json` (before),
/// `.fp16.safetensors.index.json` (by hand). Shards themselves have a number behind the stem or before the extension.
fn variant_of(rest: &str) -> Option<(&str, bool)> {
    let bare = |variant: &str| !variant.contains('.') && !variant.contains("-of-");
    let between = |start: &str, end: &str| {
        let inner = rest.strip_prefix(start)?.strip_suffix(end)?;
        (inner.is_empty() || inner.starts_with('.')).then(|| inner.trim_start_matches('.'))
    };
    if let Some(json) = rest.strip_suffix(".json") {
        let variant = if let Some(variant) = json.strip_prefix(".safetensors.index") {
            variant.strip_prefix('.').unwrap_or(variant)
        } else if let Some(variant) = between(".safetensors", ".index.json") {
            variant
        } else {
            between("", ".safetensors.index.json")?
        };
        return bare(variant).then_some((variant, true));
    }
    let variant = between("", EXTENSION)?;
    bare(variant).then_some((variant, false))
}

/// What is there in place of weights.
fn no_weights(folder: &Path) -> ConvertError {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let names: Vec<String> = entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    let foreign = FOREIGN.iter().find_map(|(end, what)| Some((names.iter().find(|name| name.ends_with(end))?, *what)));
    let found = match foreign {
        Some((name, what)) => format!("only {name}: {what}"),
        None => match names.iter().find(|name| name.ends_with(EXTENSION)) {
            Some(other) => {
                format!(
                    "only {other}, which is named neither diffusion_pytorch_model.safetensors nor model.safetensors"
                )
            }
            None => "no weights (model.safetensors or diffusion_pytorch_model.safetensors)".to_owned(),
        },
    };
    ConvertError::NoWeights { path: folder.to_owned(), found }
}

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
    /// Maps the weights in a component's folder: one file, or the shards that an index names, of the variant that is asked
    /// for, the plain one, or the only one there is.
    ///
    /// # Errors
    /// When there are none, an index leaves the folder, or a file is damaged.
    pub fn open(folder: &Path, variant: Option<&str>) -> Result<Self, ConvertError> {
        let (_, files) = Variant::choose(folder, variant)?;
        Self::map(&files)
    }

    fn map(files: &[PathBuf]) -> Result<Self, ConvertError> {
        let mut weights = Self::default();
        for path in files {
            let io = |source| safe_files::ReadError::Io { path: path.clone(), source };
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
        if let Some(kind) = kind_of(&bytes).filter(|kind| *kind != safe_files::FileKind::Safetensors) {
            return Err(safe_files::ReadError::Kind { path: path.to_owned(), kind }.into());
        }
        let (header, metadata) = SafeTensors::read_metadata(&bytes)
            .map_err(|e| damaged(format!("damaged or cut off ({e}); fetch it again")))?;
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
    if let Some(outside) = names.iter().find(|n| Path::new(n).file_name().is_none_or(|f| f != n.as_str())) {
        return Err(damaged(format!("shard {outside:?} is not a file name")));
    }
    match names.iter().find(|n| !folder.join(n).exists()) {
        Some(absent) => Err(damaged(format!("shard {absent} is not there; the download may be incomplete"))),
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
        let weights = Weights::open(dir.path(), None).unwrap();
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
    fn variants_are_found_in_every_spelling() {
        for (rest, variant) in [
            (".safetensors", Some(("", false))),
            (".fp16.safetensors", Some(("fp16", false))),
            (".non_ema.safetensors", Some(("non_ema", false))),
            (".safetensors.index.json", Some(("", true))),
            (".safetensors.index.fp16.json", Some(("fp16", true))),
            (".safetensors.fp16.index.json", Some(("fp16", true))),
            (".fp16.safetensors.index.json", Some(("fp16", true))),
            ("-00001-of-00002.safetensors", None),
            (".fp16-00001-of-00002.safetensors", None),
            ("-00001-of-00002.fp16.safetensors", None),
            (".bin", None),
            (".fp16.bin", None),
            ("_other.safetensors", None),
        ] {
            assert_eq!(variant_of(rest), variant, "{rest}");
        }
    }

    /// Empty files of these names, and what is chosen.
    #[track_caller]
    fn chooses(names: &[&str], asked: Option<&str>, expected: Result<Variant, &str>) {
        let dir = tempfile::tempdir().unwrap();
        names.iter().for_each(|name| std::fs::write(dir.path().join(name), r#"{"weight_map":{}}"#).unwrap());
        match (Variant::choose(dir.path(), asked), expected) {
            (Ok((variant, _)), Ok(expected)) => assert_eq!(variant, expected, "{names:?}"),
            (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{error}"),
            (got, expected) => panic!("{names:?}: {got:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn the_plain_weights_the_ones_asked_for_or_the_only_ones_are_taken() {
        const PLAIN: &str = "model.safetensors";
        const HALF: &str = "model.fp16.safetensors";
        const INDEX: &str = "model.safetensors.index.int8.json";
        chooses(&[PLAIN, HALF], None, Ok(Variant::Plain));
        chooses(&[PLAIN, HALF], Some("fp16"), Ok(Variant::Named("fp16".into())));
        chooses(&[PLAIN], Some("fp16"), Ok(Variant::PlainInstead));
        chooses(&[HALF, "model.fp16.bin"], None, Ok(Variant::Only("fp16".into())));
        chooses(&[HALF, INDEX], None, Err("fp16, int8; choose with --variant"));
        chooses(&[HALF], Some("fp8"), Err("no weights of the variant fp8, only fp16"));
        chooses(&["pytorch_model.bin"], None, Err("only pytorch_model.bin: PyTorch pickles"));
        chooses(&["unet.safetensors"], None, Err("only unet.safetensors, which is named neither"));
        chooses(&["config.json"], None, Err("no weights"));
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
