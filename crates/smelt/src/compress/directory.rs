//! A directory of packages: which are compressed, and what comes along.
//!
//! Compiled models become packages again, whether their weights are compressed or not. A bundle's ControlNets lie in a folder
//! of their own, and stay in one.

use std::path::{Path, PathBuf};

use safe_files::{Tree, is_stream};
use sd_checkpoint::place::Wanted;
use sd_spec::{Bundled, Role};

use crate::error::{Context, Result, refuse};
use crate::model_dir::{folder, packages, role_of, without_shape};
use crate::package::{is_named_as_compiled, is_named_as_package, not_wanted};
use crate::watch::{Watch, Writing};

type Pairs = Vec<(PathBuf, PathBuf)>;
type Copies = Vec<(Tree, PathBuf)>;

/// Packages to compress with where they go, and everything else with where it goes.
pub(super) fn look(input: &Path, output: &Path) -> Result<(Pairs, Copies)> {
    let Some(input) = &folder(input)? else { return Err(not_wanted(input, Wanted::Packages).into()) };
    let (mut inputs, mut copies) = (Vec::new(), Vec::new());
    gather(input, output, (&mut inputs, &mut copies))?;
    // Packages for other sizes and batches follow the one whose weights they share.
    inputs.sort_by_key(|(_, to)| first_of(to).is_some());
    if inputs.is_empty() {
        refuse!(
            "{} holds packages, but none of a text encoder, denoiser or ControlNet, which are compressed; give one of the others by its name",
            input.display()
        );
    }
    if input.canonicalize().ok() == output.canonicalize().ok().or_else(|| Some(output.to_path_buf())) {
        refuse!("{} would be written over itself; give another directory", input.display());
    }
    Ok((inputs, copies))
}

/// Finds the same in one folder, and in a folder of models that a bundle has in it.
fn gather(input: &Path, output: &Path, (inputs, copies): (&mut Pairs, &mut Copies)) -> Result<()> {
    let packages = packages(input)?;
    let cannot = || format!("cannot read {}", input.display());
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(input).with_context(cannot)? {
        entries.push(entry.with_context(cannot)?.path());
    }
    entries.sort();
    for path in entries {
        let Some(name) = path.file_name() else { continue };
        if name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        if is_named_as_compiled(&path) {
            let package = output.join(name).with_extension("mlpackage");
            if packages.contains(&path) {
                inputs.push((path, package));
            }
        } else if is_named_as_package(&path) && is_compressed(&path) {
            inputs.push((path.clone(), output.join(name)));
        } else if path.is_dir() && role_of_folder(&path).is_some() && role_of_folder(input).is_none() {
            gather(&path, &output.join(name), (inputs, copies))?;
        } else {
            copies.push((Tree::read(&path)?, output.join(name)));
        }
    }
    Ok(())
}

/// Whose models a folder in a bundle is for.
fn role_of_folder(folder: &Path) -> Option<Role> {
    let name = folder.file_name()?.to_str()?;
    Role::ALL.into_iter().find(|role| matches!(role.spec().package.bundled, Bundled::Below(own) if own == name))
}

/// Whether a package is compressed with the others, by its name and that of its folder.
pub(super) fn is_compressed(package: &Path) -> bool {
    let of_folder = package.parent().and_then(role_of_folder);
    let stem = package.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    of_folder.map_or_else(|| is_named_as_compressed(stem), |role| role.spec().compression.in_directory)
}

fn is_named_as_compressed(stem: &str) -> bool {
    let before = |mark: &str| stem.rsplit_once(mark).filter(|(_, n)| n.parse::<u16>().is_ok()).map(|(whole, _)| whole);
    let whole = before("_chunk").or_else(|| before("Chunk")).unwrap_or(stem);
    let whole = without_shape(whole).unwrap_or(whole);
    role_of(whole).is_some_and(|role| role.spec().compression.in_directory)
}

/// The package whose weights one for another size or batch shares: `x_unet` for `x_unet_64x96`, chunk by chunk.
pub(super) fn first_of(package: &Path) -> Option<PathBuf> {
    let stem = package.file_stem()?.to_str()?;
    let (whole, chunk) = stem.find("_chunk").map_or((stem, ""), |at| stem.split_at(at));
    Some(package.with_file_name(format!("{}{chunk}.mlpackage", without_shape(whole)?)))
}

/// Copies files and packages; returns their names.
pub(super) fn copy(copies: &Copies, watch: &mut dyn Watch) -> Result<Vec<String>> {
    for (tree, to) in copies {
        let _writing = (!is_stream(to)).then(|| Writing::begin(watch));
        tree.copy_to(to).with_context(|| format!("cannot copy {} to {}", tree.root().display(), to.display()))?;
    }
    Ok(copies.iter().map(|(_, to)| to.display().to_string()).collect())
}

/// Files that are there with other content than that of the one that replaces them.
pub(super) fn changes(copies: &Copies) -> Vec<PathBuf> {
    let differs = |from: &Path, to: &Path| to.is_file() && std::fs::read(from).ok() != std::fs::read(to).ok();
    copies.iter().filter(|(tree, to)| differs(tree.root(), to)).map(|(_, to)| to.clone()).collect()
}

/// Where the report of one of several packages goes: the package's name before the extension.
pub(super) fn report_path(path: &Path, package: &Path, several: bool) -> PathBuf {
    if !several {
        return path.to_path_buf();
    }
    let stem = |p: &Path| p.file_stem().map_or_else(String::new, |s| s.to_string_lossy().into_owned());
    let extension = path.extension().map_or_else(String::new, |e| format!(".{}", e.to_string_lossy()));
    path.with_file_name(format!("{}-{}{extension}", stem(path), stem(package)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_known_by_their_names_with_and_without_chunks_and_shapes() {
        for stem in [
            "a_unet",
            "Unet",
            "UnetChunk2",
            "UnetRefinerChunk1",
            "a_unet_chunk1",
            "a_unet_64x96",
            "a_unet_64x96_chunk12",
            "a_unet_batch1",
            "a_unet_64x96_batch1_chunk2",
            "ControlNet_x",
            "a_text_encoder",
            "a_text_encoder_3",
            "a_mmdit",
            "MultiModalDiffusionTransformer",
        ] {
            assert!(is_compressed(&Path::new("d").join(format!("{stem}.mlpackage"))), "{stem}");
        }
        for stem in
            ["a_vae_decoder", "a_vae_decoder_64x96", "a_unet_64", "a_unet_batch3", "a_unet_chunkx", "a_safety_checker"]
        {
            assert!(!is_compressed(Path::new(&format!("{stem}.mlpackage"))), "{stem}");
        }
        assert!(is_compressed(Path::new("Resources/controlnet/Canny.mlmodelc")));
        let first = |name: &str| first_of(Path::new(name));
        assert_eq!(first("d/a_unet_64x96.mlpackage"), Some("d/a_unet.mlpackage".into()));
        assert_eq!(first("d/a_unet_64x96_chunk2.mlpackage"), Some("d/a_unet_chunk2.mlpackage".into()));
        assert_eq!(first("d/a_unet_batch1.mlpackage"), Some("d/a_unet.mlpackage".into()));
        assert_eq!(first("d/a_unet_64x96_batch1_chunk2.mlpackage"), Some("d/a_unet_chunk2.mlpackage".into()));
        assert_eq!((first("d/a_unet.mlpackage"), first("d/a_unet_chunk2.mlpackage")), (None, None));
    }
}
