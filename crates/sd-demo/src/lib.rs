//! A small Stable Diffusion, embedded: a checkpoint in diffusers layout that draws emoji-like pictures from their names.
//!
//! What it was trained on, its licences and its limits stand in this crate's README.
//! Nothing here knows what a checkpoint is: these are bytes, and a way to put them on a disk as files.

use std::fs;
use std::path::{Path, PathBuf};

use safe_files::{Existing, Outputs, StagedDir, WriteError};

/// The model's name, which is also its directory's.
pub const NAME: &str = "sd-emoji";

/// The classifier-free guidance that the model was tried with; more makes colours harsh.
pub const GUIDANCE: f32 = 4.0;

/// The colours that its latents mean without a decoder: red, green and blue of -1 to 1 for each channel, and what is added.
// Fitted by least squares, xtask/src/demo_model/latent_rgb.py; docs/demo-model.md.
pub const LATENT_RGB: ([[f32; 3]; 4], [f32; 3]) = (
    [[-0.2313, -0.2245, -0.1730], [0.2005, 0.0928, 0.0137], [-0.0274, -0.0003, -0.1528], [0.0202, -0.0216, 0.0291]],
    [0.6663, 0.6188, 0.5560],
);

/// A file of the checkpoint.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct File {
    /// Where it lies in the checkpoint, with `/` between folders.
    pub path: &'static str,
    /// What it holds.
    pub bytes: &'static [u8],
}

impl std::fmt::Debug for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "File({}, {} bytes)", self.path, self.bytes.len())
    }
}

macro_rules! file {
    ($path:literal) => {
        File { path: $path, bytes: include_bytes!(concat!("../sd-emoji/", $path)) }
    };
}

/// Every file of the checkpoint.
pub static FILES: &[File] = &[
    file!("model_index.json"),
    file!("scheduler/scheduler_config.json"),
    file!("text_encoder/config.json"),
    file!("text_encoder/model.safetensors"),
    file!("tokenizer/merges.txt"),
    file!("tokenizer/special_tokens_map.json"),
    file!("tokenizer/tokenizer.json"),
    file!("tokenizer/tokenizer_config.json"),
    file!("tokenizer/vocab.json"),
    file!("unet/config.json"),
    File { path: "unet/diffusion_pytorch_model.safetensors", bytes: &UNET },
    file!("vae/config.json"),
    file!("vae/diffusion_pytorch_model.safetensors"),
];

/// The weights that three crates hold, joined by the compiler.
static UNET: [u8; UNET_BYTES] = joined();

const UNET_PARTS: [&[u8]; 3] = [sd_demo_unet_a::BYTES, sd_demo_unet_b::BYTES, sd_demo_unet_c::BYTES];
const UNET_BYTES: usize = UNET_PARTS[0].len() + UNET_PARTS[1].len() + UNET_PARTS[2].len();

const fn joined() -> [u8; UNET_BYTES] {
    let mut all = [0; UNET_BYTES];
    let (first, rest) = all.split_at_mut(UNET_PARTS[0].len());
    let (second, third) = rest.split_at_mut(UNET_PARTS[1].len());
    first.copy_from_slice(UNET_PARTS[0]);
    second.copy_from_slice(UNET_PARTS[1]);
    third.copy_from_slice(UNET_PARTS[2]);
    all
}

/// Where a checkpoint of this version lies below `parent`: a folder for what it holds, and in it one with its name.
///
/// The folder's name is a checksum (FNV-1a, 64 bits), so that another version of the model never meets the files of this one.
#[must_use]
pub fn directory(parent: &Path) -> PathBuf {
    parent.join(format!("{:016x}", checksum())).join(NAME)
}

/// Makes sure that the checkpoint lies whole below `parent`, and says where.
///
/// It appears whole, whatever happens meanwhile: others never see half of it. What is there already is kept if every
/// file has the size that it should have.
///
/// # Errors
/// What the file system refuses, with the path.
pub fn unpack(parent: &Path) -> Result<PathBuf, WriteError> {
    let place = directory(parent);
    if is_whole(&place) {
        return Ok(place);
    }
    let mut folder = Outputs::new().folder("the model in the box", place.parent().unwrap_or(parent))?;
    folder.make()?;
    let staged = StagedDir::new(&place, Existing::Replace)?;
    for file in FILES {
        staged.write(&staged.path().join(file.path), file.bytes)?;
    }
    // Another process may have been faster, and may be reading by now.
    if !is_whole(&place) {
        staged.commit()?;
    }
    Ok(place)
}

fn is_whole(dir: &Path) -> bool {
    FILES.iter().all(|file| {
        fs::metadata(dir.join(file.path)).is_ok_and(|facts| facts.is_file() && facts.len() == file.bytes.len() as u64)
    })
}

fn checksum() -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for file in FILES {
        // Eight bytes at a time: quick without optimisation too.
        for part in file.path.as_bytes().chunks(8).chain(file.bytes.chunks(8)) {
            let mut word = [0; 8];
            word[..part.len()].copy_from_slice(part);
            hash = (hash ^ u64::from_le_bytes(word)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    hash
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn every_file_of_the_checkpoint_is_listed() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(NAME);
        let mut found = Vec::new();
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => folders.push(path),
                    false => found.push(path.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/")),
                }
            }
        }
        found.sort();
        assert_eq!(found, FILES.iter().map(|file| file.path).collect::<Vec<_>>());
        let n_bytes: usize = FILES.iter().map(|file| file.bytes.len()).sum();
        assert!(n_bytes < 30_000_000, "{n_bytes} bytes are too many for every clone");
    }

    #[test]
    fn the_bytes_are_those_of_the_files() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(NAME);
        for file in FILES {
            assert!(fs::read(root.join(file.path)).unwrap() == file.bytes, "{}", file.path);
        }
    }

    #[test]
    fn what_is_missing_or_damaged_is_written_anew() {
        let parent = tempfile::tempdir().unwrap();
        let place = unpack(parent.path()).unwrap();
        assert_eq!(place, directory(parent.path()));
        let weights = place.join("unet/diffusion_pytorch_model.safetensors");
        let written = fs::metadata(&weights).unwrap().modified().unwrap();
        assert_eq!(unpack(parent.path()).unwrap(), place);
        assert_eq!(fs::metadata(&weights).unwrap().modified().unwrap(), written, "nothing was written again");
        fs::write(&weights, b"cut off").unwrap();
        fs::remove_file(place.join("model_index.json")).unwrap();
        unpack(parent.path()).unwrap();
        for file in FILES {
            assert!(fs::read(place.join(file.path)).unwrap() == file.bytes, "{}", file.path);
        }
        assert_eq!(fs::read_dir(place.parent().unwrap()).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn a_place_that_cannot_be_written_is_named() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("a-file");
        fs::write(&file, b"").unwrap();
        let error = unpack(&file).unwrap_err().to_string();
        assert!(error.contains("a-file"), "{error}");
    }
}
