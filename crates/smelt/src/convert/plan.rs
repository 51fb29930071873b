//! What a conversion will do: everything that can be refused is refused here.

use std::path::{Path, PathBuf};
use std::time::Instant;

use safe_files::Existing;
use sd_convert::{AttentionLayout, Checkpoint, Options, Precision, Role, Target, native_size};

use super::items::{self, Item};
use super::options::Conversion;
use super::place::Place;
use crate::bundle::Bundle;
use crate::error::{Error, Result, refuse};
use crate::owner::Owner;

/// What is to be done.
#[derive(Debug)]
pub struct ConversionPlan {
    /// The checkpoint as it was given.
    pub(super) source: PathBuf,
    pub(super) checkpoint: Checkpoint,
    pub(super) to: PathBuf,
    pub(super) conversion: Conversion,
    pub(super) options: Options,
    pub(super) items: Vec<Item>,
    pub(super) skipped: Vec<Role>,
    pub(super) bundle: Bundle,
    pub(super) place: Place,
    pub(super) model_version: String,
    /// What the user should know of the checkpoint.
    pub(super) warnings: Vec<String>,
    pub(super) begin: Instant,
}

impl ConversionPlan {
    pub(super) fn new(source: &Path, checkpoint: &Checkpoint, to: &Path, conversion: &Conversion) -> Result<Self> {
        let begin = Instant::now();
        if let Some(bits) = conversion.quantize_nbits {
            check_bits(bits, conversion)?;
        }
        let checkpoint = checkpoint.clone().with_variant(conversion.variant.clone());
        let model_version = conversion.model_version.clone().unwrap_or_else(|| checkpoint.name());
        let (roles, skipped) = choose(&checkpoint, &conversion.roles)?;
        refuse_ineffective(conversion, &roles)?;
        let (own, scale) = native_size(&checkpoint)?;
        let sizes = conversion.sizes.latents(scale, own)?;
        let items = items::of(conversion, to, &sizes, &roles, &model_version)?;
        let bundle = Bundle::of_checkpoint(checkpoint.root(), &model_version)?;
        Owner::of_model(&model_version).check_may_enter(to)?;
        if conversion.existing == Existing::Refuse {
            refuse_existing(&items, &bundle, to)?;
        }
        let place = Place::new(to, checkpoint.root(), &items, &bundle)?;
        let options = Options {
            attention: conversion.attention.unwrap_or(AttentionLayout::SplitEinsum),
            latent_size: None,
            text_length: conversion.text_length,
            unet_batch_one: conversion.unet_batch_one,
            target: conversion.target,
            precision: conversion.precision.unwrap_or(Precision::Float16),
            model_version: Some(model_version.clone()),
        };
        let mut warnings = checkpoint.warnings();
        warnings.extend(check(&checkpoint, &items, &options)?);
        let (source, to, conversion) = (source.to_owned(), to.to_owned(), conversion.clone());
        Ok(Self {
            source,
            checkpoint,
            to,
            conversion,
            options,
            items,
            skipped,
            bundle,
            place,
            model_version,
            warnings,
            begin,
        })
    }
}

/// Looks at every package's component before any is built; what is said of several sizes or components is said once.
fn check(checkpoint: &Checkpoint, items: &[Item], options: &Options) -> Result<Vec<String>> {
    let mut warnings: Vec<String> = Vec::new();
    for item in items {
        let sizes = item.sizes.iter().copied().map(Some);
        for latent_size in if item.sizes.is_empty() { vec![None] } else { sizes.collect() } {
            let options = Options { latent_size, ..options.clone() };
            for warning in sd_convert::check(checkpoint, item.role, &options)? {
                if !warnings.contains(&warning) {
                    warnings.push(warning);
                }
            }
        }
    }
    Ok(warnings)
}

/// Refuses to replace anything.
fn refuse_existing(items: &[Item], bundle: &Bundle, to: &Path) -> Result<()> {
    let paths = items.iter().flat_map(|item| std::iter::once(&item.path).chain(&item.chunks));
    // A link to nothing is none: what it points to will be made.
    let mut there: Vec<PathBuf> = paths.filter(|path| path.exists()).cloned().collect();
    there.extend(bundle.conflicts(to));
    if there.is_empty() {
        return Ok(());
    }
    let list: Vec<String> = there.iter().map(|p| format!("\n  {}", p.display())).collect();
    Err(Error::Exists(format!("these are there already; replace them with --force:{}", list.concat())))
}

/// Refuses options that none of the chosen components heeds.
fn refuse_ineffective(conversion: &Conversion, roles: &[Role]) -> Result<()> {
    let denoiser: fn(Role) -> bool = Role::is_denoiser;
    for (option, is_given, heeded_by) in [
        ("--attention", conversion.attention.is_some(), denoiser),
        ("--text-length", conversion.text_length.is_some(), |role| role.is_denoiser() || role == Role::TextEncoder3),
        ("--unet-batch-one", conversion.unet_batch_one, denoiser),
        ("--chunk-unet", conversion.chunk_unet.is_some(), denoiser),
        ("--quantize-nbits", conversion.quantize_nbits.is_some(), |role| role.spec().is_compressed),
        ("a size", conversion.sizes.is_given(), |role| role.spec().is_sized()),
    ] {
        if is_given && !roles.iter().any(|&role| heeded_by(role)) {
            let mut heeding: Vec<Role> = Role::ALL.into_iter().filter(|&role| heeded_by(role)).collect();
            heeding.sort_by_key(|role| !role.is_denoiser());
            let names: Vec<&str> = heeding.into_iter().map(Role::name).collect();
            refuse!("{option} has no effect here: it is for {}, and none of these is converted", names.join(", "));
        }
    }
    Ok(())
}

/// The components to convert, and those of the default that the checkpoint lacks.
fn choose(checkpoint: &Checkpoint, asked: &[Role]) -> Result<(Vec<Role>, Vec<Role>)> {
    if asked.is_empty() {
        checkpoint.check_family()?;
    }
    // What the index lists must be there, or the download is incomplete; people leave the safety checker out by hand.
    let is_needed = |c: Role| match asked.is_empty() {
        true => checkpoint.lists(c) && (c != Role::SafetyChecker || checkpoint.has(c)),
        false => asked.contains(&c),
    };
    Role::ALL.into_iter().filter(|&c| is_needed(c)).try_for_each(|role| checkpoint.check(role))?;
    let all = Role::ALL.into_iter().filter(|c| asked.is_empty() || asked.contains(c));
    let (there, missing): (Vec<_>, Vec<_>) = all.partition(|&c| checkpoint.has(c));
    if let Some(role) = missing.iter().find(|c| asked.contains(c)) {
        refuse!("{} has no {role}", checkpoint.root().display());
    }
    if there.is_empty() {
        refuse!("{} has no component that can be converted", checkpoint.root().display());
    }
    Ok((there, missing))
}

/// Refuses widths that no palette has, or not on the system.
fn check_bits(bits: u8, conversion: &Conversion) -> Result<()> {
    match bits {
        1 | 2 | 4 | 6 | 8 => Ok(()),
        3 if conversion.target == Target::MacOs15 => Ok(()),
        3 => refuse!("--quantize-nbits 3 needs --target macOS15; 1, 2, 4, 6 and 8 do not"),
        _ => refuse!("--quantize-nbits {bits}: palettes have 1, 2, 3 (macOS15), 4, 6 or 8 bits"),
    }
}
