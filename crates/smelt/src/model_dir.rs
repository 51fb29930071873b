//! A directory of packages: which file plays which role.
//!
//! Packages are known by the end of their file name, as Apple's converter names them
//! (`Stable_Diffusion_version_…_unet.mlpackage`), or by the names of Apple's Swift package (`Unet.mlpackage`).

use std::path::{Path, PathBuf};

use mlpackage::{FeatureType, Package};
use sd_convert::{LatentSize, Role, hub};

use crate::error::{Context, Result, refuse};
use crate::package::open_package;

/// Ends of file names, as Apple's converter and as its Swift package spell them.
const TEXT_ENCODER: [&str; 2] = ["text_encoder", "TextEncoder"];
const UNET: [&str; 2] = ["unet", "Unet"];
/// Chunks of a UNet in one package.
const UNET_PIPELINE: [&str; 2] = ["unet_chunked_pipeline", "UnetChunkedPipeline"];
const VAE_DECODER: [&str; 2] = ["vae_decoder", "VAEDecoder"];
const VAE_ENCODER: [&str; 2] = ["vae_encoder", "VAEEncoder"];
const SAFETY_CHECKER: [&str; 2] = ["safety_checker", "SafetyChecker"];

/// One of these is in every folder of a checkpoint.
const COMPONENT_FILES: [&str; 5] =
    ["config.json", "scheduler_config.json", "preprocessor_config.json", "tokenizer_config.json", "vocab.json"];
/// Only Apple's converter makes it.
const CONTROLLED_UNET: [&str; 2] = ["control-unet", "ControlledUnet"];

/// The packages of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ModelDir {
    /// Prompts to embeddings.
    pub(crate) text_encoder: PathBuf,
    /// One package, or the chunks of one in the order in which they run.
    pub(crate) unet: Vec<PathBuf>,
    /// Latents to pictures.
    pub(crate) vae_decoder: PathBuf,
    /// Only needed to begin with a picture.
    pub(crate) vae_encoder: Option<PathBuf>,
    /// Which pictures are black.
    pub(crate) safety_checker: Option<PathBuf>,
}

impl ModelDir {
    /// Looks through a directory that holds packages.
    ///
    /// Of packages for several sizes those for `size` are taken, where there are such; else those without a size in
    /// their names.
    pub(crate) fn find(dir: &Path, size: Option<LatentSize>) -> Result<Self> {
        let packages = packages(dir)?;
        let find = |names: [&str; 2]| role(&packages, names);
        let need = |names: [&str; 2]| {
            let missing = || {
                let role = names[0].replace('_', "-");
                format!(
                    "{0} holds no …_{1}.mlpackage; convert the checkpoint with --component {role} into it: \
                     smelt convert CHECKPOINT -o {0} --component {role}",
                    dir.display(),
                    names[0]
                )
            };
            find(names)?.with_context(missing)
        };
        let sized = |names: [&str; 2]| match size.map(|size| names.map(|name| format!("{name}_{size}"))) {
            Some([apple, swift]) => role(&packages, [&apple, &swift]),
            None => Ok(None),
        };
        let unet = match sized(UNET)? {
            Some(whole) => vec![whole],
            None => match chunks(&packages, size)? {
                of_size if !of_size.is_empty() && size.is_some() => of_size,
                _ => match (find(UNET)?, find(UNET_PIPELINE)?, chunks(&packages, None)?) {
                    (Some(whole), ..) => vec![whole],
                    (None, Some(pipeline), _) => vec![pipeline],
                    (None, None, chunks) if chunks.len() > 1 => chunks,
                    (None, None, alone) if alone.len() == 1 => refuse!(
                        "{} is the first chunk of a UNet, and the second is not beside it; put all chunks into one folder",
                        alone[0].display()
                    ),
                    (None, None, _) => vec![need(UNET)?],
                },
            },
        };
        Ok(Self {
            text_encoder: need(TEXT_ENCODER)?,
            unet,
            vae_decoder: sized(VAE_DECODER)?.map_or_else(|| need(VAE_DECODER), Ok)?,
            vae_encoder: sized(VAE_ENCODER)?.map_or_else(|| find(VAE_ENCODER), |p| Ok(Some(p)))?,
            safety_checker: sized(SAFETY_CHECKER)?.map_or_else(|| find(SAFETY_CHECKER), |p| Ok(Some(p)))?,
        })
    }

    /// The package of a role that has one at most; the denoiser's may be chunks.
    pub(crate) fn path(&self, role: Role) -> Option<&Path> {
        match role {
            Role::TextEncoder => Some(&self.text_encoder),
            Role::UNet => self.unet.first().map(PathBuf::as_path),
            Role::VaeDecoder => Some(&self.vae_decoder),
            Role::VaeEncoder => self.vae_encoder.as_deref(),
            Role::SafetyChecker => self.safety_checker.as_deref(),
        }
    }

    /// The networks that are there.
    pub(crate) fn roles(&self) -> Vec<Role> {
        let optional = [(Role::VaeEncoder, &self.vae_encoder), (Role::SafetyChecker, &self.safety_checker)];
        let optional = optional.into_iter().filter(|(_, path)| path.is_some()).map(|(role, _)| role);
        [Role::TextEncoder, Role::UNet, Role::VaeDecoder].into_iter().chain(optional).collect()
    }

    /// Picture pixels per latent pixel, and the latents' size that the packages draw by default.
    pub(crate) fn native_size(&self) -> Result<(usize, Option<LatentSize>)> {
        let shape = |package: &Package, name: &str| -> Option<Vec<usize>> {
            let interface = package.model().description.main()?;
            let feature = interface.inputs.iter().chain(&interface.outputs).find(|f| f.name == name)?;
            match &feature.ty {
                FeatureType::MultiArray(array) if array.shape.len() == 4 => Some(array.shape.clone()),
                _ => None,
            }
        };
        let decoder = open_package(&self.vae_decoder)?;
        let (z, image) = (shape(&decoder, "z"), shape(&decoder, "image"));
        // The description of an output may leave its shape open; every Stable Diffusion has 8.
        let scale = z.zip(image).map_or(8, |(z, image)| image[2] / z[2].max(1)).max(1);
        let unet = self.unet.first().map(|unet| open_package(unet)).transpose()?;
        let sample = unet.and_then(|unet| shape(&unet, "sample"));
        Ok((scale, sample.map(|s| LatentSize { height: s[2], width: s[3] })))
    }
}

/// All packages in a directory, in the order of their names.
///
/// # Errors
/// When it cannot be read.
pub fn packages(dir: &Path) -> Result<Vec<PathBuf>> {
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

/// What a package's name has before its role, its size and the number of a chunk, without the last underscore; `None`
/// for packages without a role in a pipeline.
pub(crate) fn model_of(name: &str) -> Option<&str> {
    let stem = name.strip_suffix(".mlpackage").unwrap_or(name);
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let without = |stem: &'_ str, mark: &str| match stem.rsplit_once(mark) {
        Some((whole, number)) if is_number(number) => whole.len(),
        _ => stem.len(),
    };
    let stem = &stem[..without(stem, "_chunk")];
    let stem = &stem[..without(stem, "Chunk")];
    let sized = stem.rsplit_once('_').filter(|(_, size)| size.contains('x') && size.parse::<LatentSize>().is_ok());
    let stem = sized.map_or(stem, |(whole, _)| whole);
    let roles = [TEXT_ENCODER, UNET, UNET_PIPELINE, VAE_DECODER, VAE_ENCODER, SAFETY_CHECKER, CONTROLLED_UNET];
    let rest = roles.into_iter().flatten().filter_map(|role| stem.strip_suffix(role));
    rest.filter(|rest| rest.is_empty() || rest.ends_with('_')).map(|rest| rest.trim_end_matches('_')).next()
}

/// What of a directory of packages, or of a checkpoint, is read: packages, and the files of a model by their names.
///
/// Pictures that somebody keeps beside a model are not among them.
#[must_use]
pub fn files(dir: &Path) -> Vec<PathBuf> {
    // A place that cannot be resolved is told by whoever reads it.
    let dir = &hub::resolve(dir).unwrap_or_else(|_| dir.to_owned());
    if !dir.is_dir() {
        return vec![dir.to_owned()];
    }
    let entries = |dir: &Path| -> Vec<PathBuf> {
        std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
    };
    let extension = |path: &Path| path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_owned();
    let is_model = |path: &Path| ["mlpackage", "mlmodelc", "json", "txt"].contains(&extension(path).as_str());
    let mut found = Vec::new();
    for path in entries(dir) {
        if is_model(&path) {
            found.push(path);
        } else if COMPONENT_FILES.into_iter().any(|name| path.join(name).is_file()) {
            let is_read = |path: &PathBuf| is_model(path) || extension(path) == "safetensors";
            found.extend(entries(&path).into_iter().filter(is_read));
        }
    }
    found
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
            refuse!(
                "several packages could be the {}; leave one of them in the directory\n{}",
                names[0],
                all.join("\n")
            )
        }
    }
}

/// The chunks of a UNet, in order: those for a size, or those without one in their names.
fn chunks(packages: &[PathBuf], size: Option<LatentSize>) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    loop {
        let number = found.len() + 1;
        let names = match size {
            Some(size) => [format!("unet_{size}_chunk{number}"), format!("Unet_{size}_chunk{number}")],
            None => [format!("unet_chunk{number}"), format!("UnetChunk{number}")],
        };
        match role(packages, [&names[0], &names[1]])? {
            Some(chunk) => found.push(chunk),
            None => return Ok(found),
        }
    }
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
        let found = ModelDir::find(place.path(), None).unwrap();
        assert_eq!(found.unet, [place.path().join(APPLE[1])]);
        assert_eq!(found.vae_decoder, place.path().join(APPLE[3]));
        assert_eq!(found.vae_encoder, Some(place.path().join(APPLE[4])));
        assert_eq!(found.safety_checker, None);
        let swift =
            dir(&["TextEncoder.mlpackage", "UnetChunk2.mlpackage", "UnetChunk1.mlpackage", "VAEDecoder.mlpackage"]);
        let found = ModelDir::find(swift.path(), None).unwrap();
        assert_eq!(found.unet, ["UnetChunk1.mlpackage", "UnetChunk2.mlpackage"].map(|n| swift.path().join(n)));
    }

    #[test]
    fn a_unet_may_be_in_any_number_of_chunks_or_in_a_pipeline_of_them() {
        let others = ["a_text_encoder.mlpackage", "a_vae_decoder.mlpackage"];
        let chunks = ["a_unet_chunk1.mlpackage", "a_unet_chunk2.mlpackage", "a_unet_chunk3.mlpackage"];
        let place = dir(&[&others[..], &chunks].concat());
        let found = ModelDir::find(place.path(), None).unwrap();
        assert_eq!(found.unet, chunks.map(|n| place.path().join(n)));
        let place = dir(&[&others[..], &chunks, &["a_unet_chunked_pipeline.mlpackage"]].concat());
        let found = ModelDir::find(place.path(), None).unwrap();
        assert_eq!(found.unet, [place.path().join("a_unet_chunked_pipeline.mlpackage")]);
        assert!(ModelDir::find(dir(&[&others[..], &chunks[..1]].concat()).path(), None).is_err());
    }

    #[test]
    fn packages_for_a_size_come_before_those_without() {
        let plain = ["a_text_encoder", "a_unet", "a_vae_decoder", "a_safety_checker"];
        let sized = ["a_unet_8x12", "a_vae_decoder_8x12", "a_unet_12x8_chunk1", "a_unet_12x8_chunk2"];
        let names: Vec<String> = plain.iter().chain(&sized).map(|name| format!("{name}.mlpackage")).collect();
        let place = dir(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let of = |size: Option<&str>| {
            let found = ModelDir::find(place.path(), size.map(|s| s.parse().unwrap())).unwrap();
            let stem = |path: &PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
            (found.unet.iter().map(stem).collect::<Vec<_>>(), stem(&found.vae_decoder))
        };
        assert_eq!(of(None), (vec!["a_unet".to_owned()], "a_vae_decoder".to_owned()));
        assert_eq!(of(Some("8x12")), (vec!["a_unet_8x12".to_owned()], "a_vae_decoder_8x12".to_owned()));
        let chunks = ["a_unet_12x8_chunk1", "a_unet_12x8_chunk2"].map(str::to_owned).to_vec();
        assert_eq!(of(Some("12x8")), (chunks, "a_vae_decoder".to_owned()));
        assert_eq!(of(Some("9x9")).0, ["a_unet"]);
    }

    #[test]
    fn what_is_missing_or_ambiguous_is_named() {
        assert!(packages(dir(&["unet", ".a_unet.mlpackage"]).path()).unwrap().is_empty());
        let error = ModelDir::find(dir(&APPLE[1..]).path(), None).unwrap_err();
        assert!(error.to_string().contains("holds no …_text_encoder.mlpackage; convert"), "{error}");
        let alone = dir(&["x_text_encoder.mlpackage", "x_unet_chunk1.mlpackage", "x_vae_decoder.mlpackage"]);
        let error = ModelDir::find(alone.path(), None).unwrap_err().to_string();
        assert!(error.contains("x_unet_chunk1.mlpackage is the first chunk of a UNet"), "{error}");
        let both = dir(&[&APPLE[..], &["y_unet.mlpackage"]].concat());
        let error = ModelDir::find(both.path(), None).unwrap_err().to_string();
        assert!(error.contains("x_unet.mlpackage\n") && error.contains("y_unet.mlpackage"), "{error}");
        assert!(!error.contains("control"), "{error}");
    }
}
