//! Which files hold the weights of a network: in one piece or in shards, of one variant.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::CheckpointError;
use crate::json::read_json;

/// Names under which diffusers and transformers save the weights of one component, without variant and extension; the first
/// that is there is taken, as diffusers takes it.
pub(crate) const NAMES: [(&str, &str); 4] = [
    ("diffusion_pytorch_model", ".safetensors"),
    ("model", ".safetensors"),
    ("diffusion_pytorch_model", ".bin"),
    ("pytorch_model", ".bin"),
];

/// Endings of weight files that are not read.
const FOREIGN: [(&str, &str); 5] = [
    (".ckpt", "a whole model in one file: give that file instead of the folder"),
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
    fn of(folder: &Path, asked: Option<&str>) -> Result<(Self, Files), CheckpointError> {
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
            (Some(_), asked, _) => Err(CheckpointError::Variants {
                path: folder.to_owned(),
                found: names,
                asked: asked.map(str::to_owned),
            }),
            (None, ..) => Err(no_weights(folder)),
        }
    }

    pub(crate) fn choose(folder: &Path, asked: Option<&str>) -> Result<(Self, Vec<PathBuf>), CheckpointError> {
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
fn variants(folder: &Path) -> Result<BTreeMap<String, Files>, CheckpointError> {
    let io = |source| safe_files::ReadError::Io { path: folder.to_owned(), source };
    let mut found = BTreeMap::new();
    for (stem, extension) in NAMES {
        let mut whole = BTreeMap::new();
        for entry in std::fs::read_dir(folder).map_err(io)? {
            let path = entry.map_err(io)?.path();
            let Some(name) = path.file_name().and_then(|n| n.to_str()) else { continue };
            let Some(rest) = name.strip_prefix(stem) else { continue };
            if let Some((variant, is_index)) = variant_of(rest, extension) {
                let files = if is_index { Files::Sharded(path.clone()) } else { Files::Whole(path.clone()) };
                if !is_index || !matches!(whole.get(variant), Some(Files::Whole(_))) {
                    whole.insert(variant.to_owned(), files);
                }
            }
        }
        // A component has files of one name, or of a second that is read only without the first.
        for (variant, files) in whole {
            found.entry(variant).or_insert(files);
        }
    }
    Ok(found)
}

/// The variant in what follows the stem, and whether the file is an index of shards: `.fp16.safetensors`,
/// `.safetensors.index.fp16.json` (diffusers since 0.31), `.safetensors.fp16.index.json` (before),
/// `.fp16.safetensors.index.json` (by hand); PyTorch's own files have `.bin` there. Shards themselves have a number behind the
/// stem or before the extension.
pub(crate) fn variant_of<'a>(rest: &'a str, extension: &str) -> Option<(&'a str, bool)> {
    let bare = |variant: &str| !variant.contains('.') && !variant.contains("-of-");
    let between = |start: &str, end: &str| {
        let inner = rest.strip_prefix(start)?.strip_suffix(end)?;
        (inner.is_empty() || inner.starts_with('.')).then(|| inner.trim_start_matches('.'))
    };
    if let Some(json) = rest.strip_suffix(".json") {
        let variant = if let Some(variant) = json.strip_prefix(&format!("{extension}.index")) {
            variant.strip_prefix('.').unwrap_or(variant)
        } else if let Some(variant) = between(extension, ".index.json") {
            variant
        } else {
            between("", &format!("{extension}.index.json"))?
        };
        return bare(variant).then_some((variant, true));
    }
    let variant = between("", extension)?;
    bare(variant).then_some((variant, false))
}

/// What is there in place of weights.
fn no_weights(folder: &Path) -> CheckpointError {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let names: Vec<String> = entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    let foreign = FOREIGN.iter().find_map(|(end, what)| Some((names.iter().find(|name| name.ends_with(end))?, *what)));
    let found = match foreign {
        Some((name, what)) => format!("only {name}: {what}"),
        None => match names.iter().find(|name| NAMES.iter().any(|(_, extension)| name.ends_with(extension))) {
            Some(other) => format!("only {other}, which is named none of {}", known_names()),
            None => format!("no weights ({})", known_names()),
        },
    };
    CheckpointError::NoWeights { path: folder.to_owned(), found }
}

fn known_names() -> String {
    NAMES.map(|(stem, extension)| format!("{stem}{extension}")).join(", ")
}

#[derive(Deserialize)]
struct ShardIndex {
    weight_map: BTreeMap<String, String>,
}

/// The files that a shard index names, each once; none may lie outside the folder.
fn shards(folder: &Path, index: &Path) -> Result<Vec<PathBuf>, CheckpointError> {
    let json = read_json(index)?;
    let damaged = |message: String| CheckpointError::Safetensors { path: index.to_owned(), message };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_are_found_in_every_spelling() {
        for (rest, variant) in [
            (".bin", Some(("", false))),
            (".fp16.bin", Some(("fp16", false))),
            (".bin.index.json", Some(("", true))),
            (".bin.index.fp16.json", Some(("fp16", true))),
            (".fp16.bin.index.json", Some(("fp16", true))),
            ("-00001-of-00002.bin", None),
            (".safetensors", None),
        ] {
            assert_eq!(variant_of(rest, ".bin"), variant, "{rest}");
        }
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
            assert_eq!(variant_of(rest, ".safetensors"), variant, "{rest}");
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
        chooses(
            &["unet.safetensors"],
            None,
            Err("only unet.safetensors, which is named none of diffusion_pytorch_model"),
        );
        chooses(&["unet.ckpt"], None, Err("only unet.ckpt: a whole model in one file"));
        chooses(&["config.json"], None, Err("no weights"));
    }

    #[test]
    fn pytorchs_own_files_are_taken_where_there_is_no_safetensors_file() {
        const PICKLED: &str = "pytorch_model.bin";
        const HALF: &str = "diffusion_pytorch_model.fp16.bin";
        chooses(&[PICKLED], None, Ok(Variant::Plain));
        chooses(&[PICKLED, "model.fp16.safetensors"], None, Ok(Variant::Plain));
        chooses(&[HALF, "model.safetensors"], Some("fp16"), Ok(Variant::Named("fp16".into())));
        chooses(&[HALF], None, Ok(Variant::Only("fp16".into())));
        chooses(&["pytorch_model.bin.index.json"], None, Ok(Variant::Plain));
        let dir = tempfile::tempdir().unwrap();
        for name in ["pytorch_model.bin", "model.safetensors"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let (_, files) = Variant::choose(dir.path(), None).unwrap();
        assert_eq!(files, [dir.path().join("model.safetensors")]);
    }
}
