//! What a conversion will do: everything that can be refused is refused here.

use std::path::{Path, PathBuf};
use std::time::Instant;

use safe_files::Existing;
use sd_convert::{Batch, Beginning, Checkpoint, Options, Role, Shapes, Target, native_size};
use sd_spec::{Axis, Layout};

use super::items::{self, Item};
use super::options::Conversion;
use super::parts::{Part, Parts};
use super::place::Place;
use super::resources;
use crate::bundle::Bundle;
use crate::error::{Error, Result, refuse};
use crate::open::Opened;
use crate::owner::Owner;

/// What is to be done.
#[derive(Debug)]
pub struct ConversionPlan {
    /// The checkpoint as it was opened.
    pub(super) opened: Opened,
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
    pub(super) fn new(opened: &Opened, checkpoint: &Checkpoint, to: &Path, conversion: &Conversion) -> Result<Self> {
        let begin = Instant::now();
        let to = &conversion.folder(to);
        if let Some(bits) = conversion.quantize_nbits {
            check_bits(bits, conversion)?;
        }
        conversion.check_version()?;
        let checkpoint = checkpoint.clone();
        let model_version = conversion.model_version.clone().unwrap_or_else(|| checkpoint.name());
        let (own, scale) = native_size(&checkpoint)?;
        let shapes = Shapes::new(conversion.sizes.latents(scale, own)?, conversion.unet_batches.clone())?;
        let Parts { parts, skipped } =
            Parts::new(&checkpoint, opened.opening(), conversion, &model_version, &shapes, own)?;
        let roles: Vec<Role> = parts.iter().flat_map(|part| part.roles.iter().copied()).collect();
        refuse_ineffective(conversion, &roles)?;
        if let Some(form) = conversion.bundle {
            resources::check(form, conversion, &parts)?;
        }
        let items = items::of(conversion, to, checkpoint.family(), &parts)?;
        let archive = resources::archive(conversion, to, &model_version);
        let bundle = beside(&checkpoint, &roles, conversion, (&model_version, to))?;
        if conversion.existing == Existing::Refuse {
            refuse_existing(&items, &bundle, (to, archive.as_deref()))?;
        }
        let roots: Vec<&Path> = parts.iter().map(|part| part.checkpoint.root()).collect();
        let place = Place::new((to, archive.as_deref()), &roots, &items, &bundle)?;
        let options = Options {
            attention: resources::attention(conversion),
            latent_size: None,
            beginning: Beginning::Noise,
            text_length: text_length(&checkpoint, conversion, &parts)?,
            unet_batch: Batch::Two,
            target: conversion.target,
            precision: conversion.precision,
            on_request: Vec::new(),
            model_version: Some(model_version.clone()),
        };
        let mut warnings = checkpoint.warnings();
        warnings.extend(check(&items, &options)?);
        warnings.extend(left_uncompressed(conversion, &roles));
        let (opened, to, conversion) = (opened.clone(), to.to_owned(), conversion.clone());
        Ok(Self {
            opened,
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

/// What is to stand beside the packages, in a folder that this model may enter.
fn beside(checkpoint: &Checkpoint, roles: &[Role], conversion: &Conversion, model: (&str, &Path)) -> Result<Bundle> {
    let (version, to) = model;
    // What serves any pipeline, or stands alone, may enter any model's folder, and leaves its files alone.
    if checkpoint.is_alone() || roles.iter().all(|role| role.spec().package.is_whole) {
        return Ok(Bundle::default());
    }
    let bundle = Bundle::of_checkpoint(checkpoint, version, &conversion.recommended)?;
    Owner::of_conversion(version, conversion.bundle).check_may_enter(to)?;
    Ok(if conversion.bundle.is_some() { bundle.for_resources() } else { bundle })
}

/// Looks at every package's component before any is built; what is said of several shapes or components is said once.
fn check(items: &[Item], options: &Options) -> Result<Vec<String>> {
    let mut warnings: Vec<String> = Vec::new();
    for item in items {
        for shape in item.shapes.all() {
            let options = shape.chosen_in(&item.options(options));
            for warning in sd_convert::check(&item.checkpoint, item.role, &options)? {
                if !warnings.contains(&warning) {
                    warnings.push(warning);
                }
            }
        }
    }
    Ok(warnings)
}

/// Refuses to replace anything.
fn refuse_existing(items: &[Item], bundle: &Bundle, (to, archive): (&Path, Option<&Path>)) -> Result<()> {
    let paths = items.iter().flat_map(Item::outputs);
    // A link to nothing is none: what it points to will be made.
    let mut there: Vec<PathBuf> = paths.filter(|path| path.exists()).cloned().collect();
    there.extend(bundle.conflicts(to));
    there.extend(archive.filter(|path| path.exists()).map(Path::to_owned));
    let list = |words: &str, paths: &[PathBuf]| -> Option<String> {
        let lines: Vec<String> = paths.iter().map(|path| format!("\n  {}", path.display())).collect();
        (!paths.is_empty()).then(|| format!("{words}:{}", lines.concat()))
    };
    let others: Vec<PathBuf> = items.iter().flat_map(|item| &item.others).cloned().collect();
    let messages = [
        list("these are there already; replace them with --force", &there),
        list(
            "the bundle has these models in another form, and programs may take that; remove it, or let --force do so, or give \
             another folder",
            &others,
        ),
    ];
    let messages: Vec<String> = messages.into_iter().flatten().collect();
    if messages.is_empty() { Ok(()) } else { Err(Error::Exists(messages.join("\n"))) }
}

/// Refuses options that none of the chosen components heeds.
fn refuse_ineffective(conversion: &Conversion, roles: &[Role]) -> Result<()> {
    // The length of CLIP's texts is the network's own.
    let takes_text: fn(Role) -> bool = |role| {
        let is_of_clip = matches!(role, Role::TextEncoder | Role::TextEncoder2);
        let has = |axis| role.spec().inputs.iter().any(|feature| feature.axes.contains(&axis));
        !is_of_clip && (has(Axis::Tokens) || has(Axis::JointTokens))
    };
    for (option, is_given, heeded_by) in [
        (
            "--attention",
            conversion.attention.is_some(),
            (|role| role.spec().layout == Layout::ChannelsFirst) as fn(Role) -> bool,
        ),
        ("--text-length", conversion.text_length.is_some(), takes_text),
        ("a batch", !conversion.unet_batches.is_empty(), |role| role.spec().is_batched()),
        ("--chunk-unet", conversion.chunk_unet.is_some(), Role::is_denoiser),
        ("--quantize-nbits", conversion.quantize_nbits.is_some(), |role| role.spec().compression.in_conversion),
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

/// Says which large components a conversion does not palettize, though they would bear it.
fn left_uncompressed(conversion: &Conversion, roles: &[Role]) -> Option<String> {
    let is_left = |role: &&Role| {
        let compression = role.spec().compression;
        compression.in_directory && !compression.in_conversion
    };
    let left: Vec<&str> = roles.iter().filter(is_left).map(|role| role.name()).collect();
    (conversion.quantize_nbits.is_some() && !left.is_empty()).then(|| {
        format!(
            "--quantize-nbits leaves {} as they are, as Apple's converter does; smelt compress takes a whole folder",
            left.join(", ")
        )
    })
}

/// Tokens that denoisers attend to: what is converted beside a checkpoint has its length.
fn text_length(checkpoint: &Checkpoint, conversion: &Conversion, parts: &[Part]) -> Result<Option<usize>> {
    if parts.len() == 1 || conversion.text_length.is_some() {
        return Ok(conversion.text_length);
    }
    Ok(Some(sd_convert::text_length(checkpoint)?))
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
