//! A directory of packages: which file plays which role.
//!
//! Packages are known by the end of their file name, as Apple's converter names them
//! (`Stable_Diffusion_version_…_unet.mlpackage`), or by the names of Apple's Swift package (`Unet.mlpackage`).

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Ends of file names, as Apple's converter and as its Swift package spell them.
const TEXT_ENCODER: [&str; 2] = ["text_encoder", "TextEncoder"];
const UNET: [&str; 2] = ["unet", "Unet"];
/// Chunks of a UNet in one package.
const UNET_PIPELINE: [&str; 2] = ["unet_chunked_pipeline", "UnetChunkedPipeline"];
const VAE_DECODER: [&str; 2] = ["vae_decoder", "VAEDecoder"];
const SAFETY_CHECKER: [&str; 2] = ["safety_checker", "SafetyChecker"];

/// The packages that a text-to-image pipeline needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ModelDir {
    pub(crate) text_encoder: PathBuf,
    /// One package, or the chunks of one in the order in which they run.
    pub(crate) unet: Vec<PathBuf>,
    pub(crate) vae_decoder: PathBuf,
    pub(crate) safety_checker: Option<PathBuf>,
}

impl ModelDir {
    /// Looks through a directory; `None` when it holds no package at all.
    pub(crate) fn find(dir: &Path) -> Result<Option<Self>> {
        let packages = packages(dir)?;
        if packages.is_empty() {
            return Ok(None);
        }
        let find = |names: [&str; 2]| role(&packages, names);
        let need = |names: [&str; 2]| {
            let missing = || format!("{} holds no …_{}.mlpackage", dir.display(), names[0]);
            find(names)?.with_context(missing)
        };
        let mut chunks = Vec::new();
        while let Some(next) = chunk(&packages, chunks.len() + 1)? {
            chunks.push(next);
        }
        let unet = match (find(UNET)?, find(UNET_PIPELINE)?) {
            (Some(whole), _) => vec![whole],
            (None, Some(pipeline)) => vec![pipeline],
            (None, None) if chunks.len() > 1 => chunks,
            (None, None) => vec![need(UNET)?],
        };
        Ok(Some(Self {
            text_encoder: need(TEXT_ENCODER)?,
            unet,
            vae_decoder: need(VAE_DECODER)?,
            safety_checker: find(SAFETY_CHECKER)?,
        }))
    }
}

/// All packages in a directory, in the order of their names.
pub(crate) fn packages(dir: &Path) -> Result<Vec<PathBuf>> {
    let cannot = || format!("cannot read {}", dir.display());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).with_context(cannot)? {
        let path = entry.with_context(cannot)?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && path.extension().is_some_and(|e| e == "mlpackage") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The one package in this role, if there is one.
fn role(packages: &[PathBuf], names: [&str; 2]) -> Result<Option<PathBuf>> {
    let plays = |path: &&PathBuf| path.file_stem().and_then(|s| s.to_str()).is_some_and(|stem| has_suffix(stem, names));
    let found: Vec<&PathBuf> = packages.iter().filter(plays).collect();
    match found[..] {
        [] => Ok(None),
        [one] => Ok(Some(one.clone())),
        _ => {
            let all: Vec<String> = found.iter().map(|p| format!("  {}", p.display())).collect();
            bail!("several packages could be the {}; leave one of them in the directory\n{}", names[0], all.join("\n"))
        }
    }
}

/// The chunk of a UNet with this number, if there is one.
fn chunk(packages: &[PathBuf], number: usize) -> Result<Option<PathBuf>> {
    let names = [format!("unet_chunk{number}"), format!("UnetChunk{number}")];
    role(packages, [&names[0], &names[1]])
}

/// True when a file's stem is one of the names, or ends with one after an underscore.
pub(crate) fn has_suffix(stem: &str, names: [&str; 2]) -> bool {
    let ends = |name: &str| stem.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('_'));
    names.into_iter().any(ends)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir(names: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for name in names {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        dir
    }

    const APPLE: [&str; 5] = [
        "Stable_Diffusion_version_x_text_encoder.mlpackage",
        "Stable_Diffusion_version_x_unet.mlpackage",
        "Stable_Diffusion_version_x_control-unet.mlpackage",
        "Stable_Diffusion_version_x_vae_decoder.mlpackage",
        "Stable_Diffusion_version_x_vae_encoder.mlpackage",
    ];

    #[test]
    fn packages_are_found_by_the_end_of_their_names() {
        let place = dir(&APPLE);
        let found = ModelDir::find(place.path()).unwrap().unwrap();
        assert_eq!(found.unet, [place.path().join(APPLE[1])]);
        assert_eq!(found.vae_decoder, place.path().join(APPLE[3]));
        assert_eq!(found.safety_checker, None);
        let swift =
            dir(&["TextEncoder.mlpackage", "UnetChunk2.mlpackage", "UnetChunk1.mlpackage", "VAEDecoder.mlpackage"]);
        let found = ModelDir::find(swift.path()).unwrap().unwrap();
        assert_eq!(found.unet, ["UnetChunk1.mlpackage", "UnetChunk2.mlpackage"].map(|n| swift.path().join(n)));
    }

    #[test]
    fn a_unet_may_be_in_any_number_of_chunks_or_in_a_pipeline_of_them() {
        let others = ["a_text_encoder.mlpackage", "a_vae_decoder.mlpackage"];
        let chunks = ["a_unet_chunk1.mlpackage", "a_unet_chunk2.mlpackage", "a_unet_chunk3.mlpackage"];
        let place = dir(&[&others[..], &chunks].concat());
        let found = ModelDir::find(place.path()).unwrap().unwrap();
        assert_eq!(found.unet, chunks.map(|n| place.path().join(n)));
        let place = dir(&[&others[..], &chunks, &["a_unet_chunked_pipeline.mlpackage"]].concat());
        let found = ModelDir::find(place.path()).unwrap().unwrap();
        assert_eq!(found.unet, [place.path().join("a_unet_chunked_pipeline.mlpackage")]);
        assert!(ModelDir::find(dir(&[&others[..], &chunks[..1]].concat()).path()).is_err());
    }

    #[test]
    fn what_is_missing_or_ambiguous_is_named() {
        assert_eq!(ModelDir::find(dir(&["unet", ".a_unet.mlpackage"]).path()).unwrap(), None);
        let error = ModelDir::find(dir(&APPLE[1..]).path()).unwrap_err();
        assert!(error.to_string().ends_with("holds no …_text_encoder.mlpackage"), "{error}");
        let both = dir(&[&APPLE[..], &["y_unet.mlpackage"]].concat());
        let error = ModelDir::find(both.path()).unwrap_err().to_string();
        assert!(error.contains("x_unet.mlpackage\n") && error.contains("y_unet.mlpackage"), "{error}");
        assert!(!error.contains("control"), "{error}");
    }
}
