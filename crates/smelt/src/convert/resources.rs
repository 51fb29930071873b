//! A conversion to the folder that Apple's Swift package, Mochi Diffusion and the Diffusers app read.
//!
//! Names come from [`sd_spec::bundle`]. Such a folder has one model of each kind, of one size, and a denoiser in one or two
//! parts; what cannot be so is refused here.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use safe_files::OutputFile;
use sd_convert::{AttentionLayout, Role, has_functions};
use sd_spec::{Bundled, Family, bundle};

use super::options::Conversion;
use super::parts::Part;
use crate::archive;
use crate::bundle_form::BundleForm;
use crate::compile::compiled_here;
use crate::error::{Context, Result, refuse};
use crate::package::{is_named_as_package, stem};
use crate::report::{ArchiveReport, BundleReport};
use crate::watch::{Watch, warn};

/// Refuses what no such folder has.
pub(super) fn check(form: BundleForm, conversion: &Conversion, parts: &[Part]) -> Result<()> {
    if conversion.zip && form == BundleForm::Packages {
        refuse!(
            "--zip is for compiled models, which programs for bundles load; leave --zip out, or take --bundle=compiled"
        );
    }
    for (part, role) in parts.iter().flat_map(|part| part.roles.iter().map(move |&role| (part, role))) {
        let bundled = role.spec().package.bundled;
        if bundled == Bundled::Nowhere {
            refuse!("--bundle has no place for {role}: programs for bundles take none; leave --bundle out");
        }
        let n_shapes = part.shapes.of(role).all().len();
        if n_shapes > 1 && !has_functions(conversion.target) {
            refuse!(
                "--bundle: a bundle has one {role}, and {n_shapes} sizes or batches were asked for; convert each into a \
                 folder of its own, or take --target macOS15, where they are functions of one model"
            );
        }
        match conversion.chunk_unet.filter(|_| role.is_denoiser()) {
            Some(_) if bundled != Bundled::WholeOrChunks => {
                refuse!("--chunk-unet: programs for bundles take {role} in one part; leave it out")
            }
            Some(n) if n != bundle::N_CHUNKS => {
                refuse!(
                    "--chunk-unet {n}: programs for bundles take a denoiser in {} parts; leave the number out",
                    bundle::N_CHUNKS
                )
            }
            _ => {}
        }
    }
    Ok(())
}

/// Where a model goes.
pub(super) fn place(form: BundleForm, to: &Path, of: (Family, Role), version: &str) -> Result<PathBuf> {
    let (family, role) = of;
    let name = bundle::place(family, role, version).with_context(|| format!("--bundle has no place for {role}"))?;
    Ok(to.join(format!("{name}.{}", form.extension())))
}

/// Where the archive of a bundle goes, if there is to be one; it has the name by which the Diffusers app asks repositories.
pub(super) fn archive(conversion: &Conversion, to: &Path, version: &str) -> Option<PathBuf> {
    let repository = version.rsplit(['/', '\\']).next().unwrap_or(version);
    let attention = match attention(conversion) {
        AttentionLayout::Original => "original",
        AttentionLayout::SplitEinsum => "split_einsum",
        AttentionLayout::SplitEinsumV2 => "split_einsum_v2",
    };
    conversion.zip.then(|| to.with_file_name(format!("{repository}_{attention}_compiled.zip")))
}

/// The layout of attention that a conversion makes.
pub(super) fn attention(conversion: &Conversion) -> AttentionLayout {
    conversion.attention.unwrap_or(AttentionLayout::SplitEinsum)
}

/// Where its parts go.
pub(super) fn chunks(form: BundleForm, to: &Path, name: &str, n: usize) -> Vec<PathBuf> {
    (1..=n).map(|number| to.join(format!("{}.{}", bundle::chunk(name, number), form.extension()))).collect()
}

/// What lies beside a model's place of the same model in another form: packages or compiled models, whole or in parts.
///
/// Programs choose among forms by rules of their own (Apple's Swift package takes parts before a whole), so a bundle has one.
pub(super) fn others(role: Role, place: &Path, outputs: &[&PathBuf]) -> Vec<PathBuf> {
    let (Some(folder), name) = (place.parent(), stem(place)) else { return Vec::new() };
    let is_same_model = |path: &Path| {
        let own = stem(path);
        let is_numbered = |part: &str| part.strip_prefix("Chunk").is_some_and(|number| number.parse::<u16>().is_ok());
        let is_cut = |part: &str| part == "ChunkedPipeline" || is_numbered(part);
        own == name || own.strip_prefix(&name).is_some_and(|part| role.is_denoiser() && is_cut(part))
    };
    // A folder that is not there, or cannot be read, is told by whoever writes to it.
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_other = |path: &PathBuf| is_named_as_package(path) && is_same_model(path) && !outputs.contains(&path);
    let mut found: Vec<PathBuf> = entries.filter(is_other).collect();
    found.sort();
    found
}

/// Writes the archive of what the conversion wrote to a bundle; the folder in it is called as the archive is.
pub(super) fn write_archive(
    folder: &Path,
    contents: &BTreeSet<String>,
    to: &OutputFile,
    watch: &mut dyn Watch,
) -> Result<ArchiveReport> {
    let left_out = archive::beside(folder, contents)?;
    if !left_out.is_empty() {
        let list: Vec<String> = left_out.iter().map(|name| format!("\n  {name}")).collect();
        let words = "the archive leaves out what is in the bundle and was not written now";
        warn(watch, &format!("{words}:{}", list.concat()))?;
    }
    let bytes = archive::write((folder, contents), &stem(to.path()), to, watch)?;
    Ok(ArchiveReport { path: to.path().display().to_string(), bytes })
}

impl BundleReport {
    /// Of models that were written to a folder.
    pub(super) fn of<'p>(form: BundleForm, folder: &Path, models: impl Iterator<Item = &'p PathBuf>) -> Self {
        let compile = (form == BundleForm::Packages).then(|| compile(models));
        let unproven = compiled_here().filter(|_| form == BundleForm::Compiled);
        Self { folder: folder.display().to_string(), form, unproven, compile, zip: None }
    }
}

/// What compiles packages on a Mac, beside where they lie: a loop for a shell.
fn compile<'p>(models: impl Iterator<Item = &'p PathBuf>) -> String {
    let mut folders: Vec<&Path> = Vec::new();
    for parent in models.filter_map(|path| path.parent()) {
        if !folders.contains(&parent) {
            folders.push(parent);
        }
    }
    let patterns: Vec<String> = folders.iter().map(|folder| format!("{}/*.mlpackage", quoted(folder))).collect();
    format!("for p in {}; do xcrun coremlcompiler compile \"$p\" \"${{p%/*}}\"; done", patterns.join(" "))
}

/// A path as a shell takes it for one word.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "/._-+".contains(char);
    if text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_one_word_for_a_shell() {
        for (path, word) in [("a/b-1.0", "a/b-1.0"), ("a b", "'a b'"), ("it's", "'it'\\''s'")] {
            assert_eq!(quoted(Path::new(path)), word);
        }
    }
}
