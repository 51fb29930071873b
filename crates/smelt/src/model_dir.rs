//! A directory of packages: which file plays which role.
//!
//! Packages are known by the end of their file name, as Apple's converter names them
//! (`Stable_Diffusion_version_…_unet.mlpackage`), or by the names of Apple's Swift package (`Unet.mlpackage`).

mod latents;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sd_checkpoint::hub;
use sd_convert::{Batch, LatentSize};
use sd_spec::{Family, FamilySpec, Role, bundle};

use crate::error::{Context, Error, Result, refusal, refuse};
use crate::package::{is_named_as_compiled, is_named_as_package, without_form};
pub(crate) use latents::Decoded;

/// One of these is in every folder of a checkpoint.
const COMPONENT_FILES: [&str; 5] =
    ["config.json", "scheduler_config.json", "preprocessor_config.json", "tokenizer_config.json", "vocab.json"];
/// The packages of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ModelDir {
    family: Family,
    /// Whether the directory is this family's, and not of one whose packages lie beside it.
    is_of_its_own: bool,
    /// One package each, or the chunks of one in the order in which they run.
    by_role: BTreeMap<Role, Vec<PathBuf>>,
}

impl ModelDir {
    /// Looks through a directory that holds packages.
    ///
    /// Of packages for several sizes those for `size` are taken, where there are such; else those without a size in
    /// their names.
    pub(crate) fn find(dir: &Path, size: Option<LatentSize>) -> Result<Self> {
        let family = family_of(&packages(dir)?)?;
        Self::find_family(dir, family, size)
    }

    /// The same for the models of one family, where a directory holds those of two: Stable Diffusion XL and its refiner.
    pub(crate) fn find_family(dir: &Path, family: Family, size: Option<LatentSize>) -> Result<Self> {
        let packages = packages(dir)?;
        let is_of_its_own = family == family_of(&packages)?;
        let FamilySpec { required, optional, on_request, .. } = family.spec();
        let controlled = on_request.iter().filter(|role| role.is_denoiser());
        let mut roles: Vec<Role> = required.iter().chain(*optional).chain(controlled).copied().collect();
        // What is wrong with the denoiser is said first; one for ControlNets stands in for a plain one.
        roles.sort_by_key(|role| (!role.is_denoiser(), required.contains(role)));
        let mut by_role: BTreeMap<Role, Vec<PathBuf>> = BTreeMap::new();
        for role in roles {
            let mut found =
                if role.is_denoiser() { parts(&packages, role, size) } else { whole(&packages, role, size) }?;
            if found.is_empty() && role == Role::Refiner && is_of_its_own {
                // What a refiner that draws alone is called in a bundle.
                found = parts(&packages, Role::UNet, size)?;
            }
            let stands_in = role.is_denoiser() && by_role.keys().any(|role| role.is_denoiser());
            if found.is_empty() && required.contains(&role) && !stands_in {
                return Err(lacking(dir, role));
            }
            if !found.is_empty() {
                by_role.insert(role, found);
            }
        }
        Ok(Self { family, is_of_its_own, by_role })
    }

    /// The family of the models.
    pub(crate) const fn family(&self) -> Family {
        self.family
    }

    /// Whether the directory is the family's own: a refiner may lie in one of XL.
    pub(crate) const fn is_of_its_own(&self) -> bool {
        self.is_of_its_own
    }

    /// The package of a role, or its chunks in the order in which they run; none for a role that is not there.
    pub(crate) fn packages(&self, role: Role) -> &[PathBuf] {
        self.by_role.get(&role).map_or(&[], Vec::as_slice)
    }

    /// The networks that are there.
    pub(crate) fn roles(&self) -> Vec<Role> {
        self.by_role.keys().copied().collect()
    }
}

/// Says which package is not there, and how it gets there.
fn lacking(dir: &Path, role: Role) -> Error {
    let package = role.spec().package;
    let bundle = dir.parent().filter(|_| dir.file_name().is_some_and(|name| name == bundle::FOLDER));
    match bundle {
        Some(parent) => refusal!(
            "{} holds no {}, compiled or not; convert the checkpoint with --component {role} into it: smelt convert \
             CHECKPOINT -o {} --bundle --component {role}",
            dir.display(),
            package.swift,
            if parent.as_os_str().is_empty() { Path::new(".") } else { parent }.display()
        ),
        None => refusal!(
            "{0} holds no …_{1}.mlpackage; convert the checkpoint with --component {role} into it: smelt convert \
             CHECKPOINT -o {0} --component {role}",
            dir.display(),
            package.apple
        ),
    }
}

/// The family of packages, by their roles: a transformer is of 3, a second text encoder of XL, and without a UNet of its
/// refiner, which in a bundle may be called a UNet.
pub(crate) fn family_of(packages: &[PathBuf]) -> Result<Family> {
    let has = |role: Role| packages.iter().any(|path| plays(path, &role.spec().package.both()));
    if has(Role::Mmdit) {
        return Ok(Family::Sd3);
    }
    Ok(match (has(Role::TextEncoder2), has(Role::UNet) || !has(Role::Refiner)) {
        (false, _) => Family::Sd,
        (true, true) if !has(Role::TextEncoder) && latents::is_refiner(packages)? => Family::SdxlRefiner,
        (true, true) => Family::Sdxl,
        (true, false) => Family::SdxlRefiner,
    })
}

/// Whether a package has one of these names, or one that ends so.
fn plays(path: &Path, names: &[&str; 2]) -> bool {
    path.file_stem().and_then(|stem| stem.to_str()).is_some_and(|stem| has_suffix(stem, *names))
}

/// All packages in a directory, compiled or not, in the order of their names.
///
/// A compiled model beside the package that it was made of is left out: it says the same.
///
/// # Errors
/// When it cannot be read.
pub fn packages(dir: &Path) -> Result<Vec<PathBuf>> {
    let cannot = || format!("cannot read {}", dir.display());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).with_context(cannot)? {
        let path = entry.with_context(cannot)?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && is_named_as_package(&path) {
            found.push(path);
        }
    }
    found.sort();
    let is_twin = |path: &PathBuf| is_named_as_compiled(path) && path.with_extension("mlpackage").is_dir();
    found.retain(|path| !is_twin(path));
    Ok(found)
}

/// Whether a path is a compiled model, or a folder of models or a bundle with some.
#[must_use]
pub fn holds_compiled(path: &Path) -> bool {
    let models = || packages(&folder(path).ok()??).ok();
    is_named_as_compiled(path) || models().is_some_and(|all| all.iter().any(|path| is_named_as_compiled(path)))
}

/// The folder of models that a folder is: itself, or the bundle in it; none where neither holds a package.
pub(crate) fn folder(dir: &Path) -> Result<Option<PathBuf>> {
    let bundle = dir.join(bundle::FOLDER);
    for dir in [dir, &bundle] {
        if dir.is_dir() && !packages(dir)?.is_empty() {
            return Ok(Some(dir.to_owned()));
        }
    }
    Ok(None)
}

/// What a package's name has before its role, its size and batch and the number of a chunk, without the last underscore; `None`
/// for packages without a role in a pipeline.
pub(crate) fn model_of(name: &str) -> Option<&str> {
    let stem = without_form(name);
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let without = |stem: &'_ str, mark: &str| match stem.rsplit_once(mark) {
        Some((whole, number)) if is_number(number) => whole.len(),
        _ => stem.len(),
    };
    let stem = &stem[..without(stem, "_chunk")];
    let stem = &stem[..without(stem, "Chunk")];
    let stem = without_shape(stem).unwrap_or(stem);
    let of_role = |role: Role| role.spec().package.both().map(str::to_owned).into_iter().chain(pipeline_names(role));
    let rest = Role::ALL
        .into_iter()
        .filter(|role| !role.spec().package.is_first && !role.spec().package.is_whole)
        .flat_map(of_role)
        .filter_map(|name| stem.strip_suffix(&*name));
    rest.filter(|rest| rest.is_empty() || rest.ends_with('_')).map(|rest| rest.trim_end_matches('_')).next()
}

/// The role that a package's name says.
pub(crate) fn role_of(name: &str) -> Option<Role> {
    let stem = without_form(name);
    let stem = without_shape(stem).unwrap_or(stem);
    Role::ALL.into_iter().find(|role| {
        let package = role.spec().package;
        match package.is_first {
            _ if package.is_whole => stem == package.apple,
            true => stem.starts_with(&format!("{}_", package.apple)),
            false => has_suffix(stem, package.both()),
        }
    })
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

/// The package of a role in a folder that need not hold a pipeline: that for a size, or else that without one in its name.
pub(crate) fn of_role(dir: &Path, role: Role, size: Option<LatentSize>) -> Result<Option<PathBuf>> {
    Ok(whole(&packages(dir)?, role, size)?.into_iter().next())
}

/// The packages of a role that is one package: that for a size, or else that without one in its name.
fn whole(packages: &[PathBuf], role: Role, size: Option<LatentSize>) -> Result<Vec<PathBuf>> {
    let found = match sized(packages, role, size)? {
        Some(sized) => Some(sized),
        None => named(packages, role.spec().package.both())?,
    };
    Ok(found.into_iter().collect())
}

/// The packages of a role that may be cut: those for a size, whole or in chunks, or else those without one in their names.
fn parts(packages: &[PathBuf], role: Role, size: Option<LatentSize>) -> Result<Vec<PathBuf>> {
    if let Some(whole) = sized(packages, role, size)? {
        return Ok(vec![whole]);
    }
    let of_size = chunks(packages, role, size)?;
    if size.is_some() && !of_size.is_empty() {
        return Ok(of_size);
    }
    let whole = named(packages, role.spec().package.both())?;
    let pipeline = named(packages, pipeline_names(role))?;
    match (whole.or(pipeline), chunks(packages, role, None)?) {
        (Some(one), _) => Ok(vec![one]),
        (None, alone) if alone.len() == 1 => refuse!(
            "{} is the first chunk of a UNet, and the second is not beside it; put all chunks into one folder",
            alone[0].display()
        ),
        (None, chunks) => Ok(chunks),
    }
}

/// Names of one package that holds all chunks.
fn pipeline_names(role: Role) -> [String; 2] {
    let [apple, swift] = role.spec().package.both();
    [format!("{apple}_chunked_pipeline"), format!("{swift}ChunkedPipeline")]
}

/// The package for a size, if there is one.
fn sized(packages: &[PathBuf], role: Role, size: Option<LatentSize>) -> Result<Option<PathBuf>> {
    match size.filter(|_| role.spec().is_sized()) {
        Some(size) => named(packages, role.spec().package.both().map(|name| format!("{name}_{size}"))),
        None => Ok(None),
    }
}

/// The one package with one of these names, if there is one.
fn named(packages: &[PathBuf], names: [impl AsRef<str>; 2]) -> Result<Option<PathBuf>> {
    let names = [names[0].as_ref(), names[1].as_ref()];
    let found: Vec<&PathBuf> = packages.iter().filter(|path| plays(path, &names)).collect();
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

/// The chunks of a role's package, in order: those for a size, or those without one in their names.
fn chunks(packages: &[PathBuf], role: Role, size: Option<LatentSize>) -> Result<Vec<PathBuf>> {
    let [apple, swift] = role.spec().package.both();
    let mut found = Vec::new();
    loop {
        let number = found.len() + 1;
        let names = match size {
            Some(size) => [format!("{apple}_{size}_chunk{number}"), format!("{swift}_{size}_chunk{number}")],
            None => [format!("{apple}_chunk{number}"), format!("{swift}Chunk{number}")],
        };
        match named(packages, names)? {
            Some(chunk) => found.push(chunk),
            None => return Ok(found),
        }
    }
}

/// `x_unet` of `x_unet_64x96`, `x_unet_batch1` and `x_unet_64x96_batch1`.
pub(crate) fn without_shape(stem: &str) -> Option<&str> {
    let batchless = stem.rsplit_once("_batch").filter(|(_, n)| n.parse::<Batch>().is_ok()).map(|(whole, _)| whole);
    let is_size = |size: &str| size.contains('x') && size.parse::<LatentSize>().is_ok();
    let sizeless = batchless.unwrap_or(stem).rsplit_once('_').filter(|(_, size)| is_size(size)).map(|(whole, _)| whole);
    sizeless.or(batchless)
}

/// True when a file's stem is one of the names, or ends with one after an underscore.
fn has_suffix(stem: &str, names: [&str; 2]) -> bool {
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
        assert_eq!(found.packages(Role::UNet), [place.path().join(APPLE[1])]);
        assert_eq!(found.packages(Role::VaeDecoder), [place.path().join(APPLE[3])]);
        assert_eq!(found.packages(Role::VaeEncoder), [place.path().join(APPLE[4])]);
        assert!(found.packages(Role::SafetyChecker).is_empty());
        let swift =
            dir(&["TextEncoder.mlpackage", "UnetChunk2.mlpackage", "UnetChunk1.mlpackage", "VAEDecoder.mlpackage"]);
        let found = ModelDir::find(swift.path(), None).unwrap();
        assert_eq!(
            found.packages(Role::UNet),
            ["UnetChunk1.mlpackage", "UnetChunk2.mlpackage"].map(|n| swift.path().join(n))
        );
    }

    #[test]
    fn a_unet_may_be_in_any_number_of_chunks_or_in_a_pipeline_of_them() {
        let others = ["a_text_encoder.mlpackage", "a_vae_decoder.mlpackage"];
        let chunks = ["a_unet_chunk1.mlpackage", "a_unet_chunk2.mlpackage", "a_unet_chunk3.mlpackage"];
        let place = dir(&[&others[..], &chunks].concat());
        let found = ModelDir::find(place.path(), None).unwrap();
        assert_eq!(found.packages(Role::UNet), chunks.map(|n| place.path().join(n)));
        let place = dir(&[&others[..], &chunks, &["a_unet_chunked_pipeline.mlpackage"]].concat());
        let found = ModelDir::find(place.path(), None).unwrap();
        assert_eq!(found.packages(Role::UNet), [place.path().join("a_unet_chunked_pipeline.mlpackage")]);
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
            (
                found.packages(Role::UNet).iter().map(stem).collect::<Vec<_>>(),
                stem(&found.packages(Role::VaeDecoder)[0]),
            )
        };
        assert_eq!(of(None), (vec!["a_unet".to_owned()], "a_vae_decoder".to_owned()));
        assert_eq!(of(Some("8x12")), (vec!["a_unet_8x12".to_owned()], "a_vae_decoder_8x12".to_owned()));
        let chunks = ["a_unet_12x8_chunk1", "a_unet_12x8_chunk2"].map(str::to_owned).to_vec();
        assert_eq!(of(Some("12x8")), (chunks, "a_vae_decoder".to_owned()));
        assert_eq!(of(Some("9x9")).0, ["a_unet"]);
    }

    #[test]
    fn a_package_for_another_batch_is_not_taken_for_the_plain_one() {
        let names = ["a_text_encoder", "a_unet", "a_unet_batch1", "a_unet_8x12", "a_unet_8x12_batch1", "a_vae_decoder"];
        let names = names.map(|name| format!("{name}.mlpackage"));
        let place = dir(&names.each_ref().map(String::as_str));
        for (size, name) in [(None, "a_unet.mlpackage"), (Some("8x12"), "a_unet_8x12.mlpackage")] {
            let found = ModelDir::find(place.path(), size.map(|s| s.parse().unwrap())).unwrap();
            assert_eq!(found.packages(Role::UNet), [place.path().join(name)]);
        }
        for name in &names[1..5] {
            assert_eq!((role_of(name), model_of(name)), (Some(Role::UNet), Some("a")), "{name}");
        }
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
