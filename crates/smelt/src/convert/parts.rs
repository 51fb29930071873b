//! Of which checkpoints a conversion takes which networks: the checkpoint's own, a refiner's, ControlNets.

use sd_checkpoint::place::Wanted;
use sd_checkpoint::{Checkpoint, Source};
use sd_convert::{Facts, LatentSize, Role, Shapes};
use sd_spec::{Axis, Family};

use super::options::Conversion;
use crate::error::{Context, Result, refuse};
use crate::open::Opening;

/// Networks of one checkpoint.
#[derive(Debug)]
pub(super) struct Part {
    /// The checkpoint.
    pub(super) checkpoint: Checkpoint,
    /// Its name in metadata.
    pub(super) version: String,
    /// Its name in the packages' names.
    pub(super) file_version: String,
    /// What is converted of it.
    pub(super) roles: Vec<Role>,
    /// What it is converted for.
    pub(super) shapes: Shapes,
}

/// What is converted, and which of the checkpoint's usual networks are not there.
pub(super) struct Parts {
    pub(super) parts: Vec<Part>,
    pub(super) skipped: Vec<Role>,
}

impl Parts {
    /// `own`: the size of latents that the checkpoint was made for.
    pub(super) fn new(
        checkpoint: &Checkpoint,
        opening: &Opening,
        conversion: &Conversion,
        version: &str,
        shapes: &Shapes,
        own: Option<LatentSize>,
    ) -> Result<Self> {
        let (roles, skipped) = choose(checkpoint, conversion)?;
        let part = |checkpoint: &Checkpoint, roles: Vec<Role>, version: String, file_version: String| Part {
            checkpoint: checkpoint.clone(),
            roles,
            version,
            file_version,
            // What is converted beside the checkpoint has its size.
            shapes: shapes.clone().or_size(own),
        };
        let mut parts =
            vec![Part { shapes: shapes.clone(), ..part(checkpoint, roles, version.into(), version.into()) }];
        if let Some(path) = &conversion.refiner {
            let refiner = open(path, opening)?;
            if refiner.family() != Family::SdxlRefiner || checkpoint.family() != Family::Sdxl {
                refuse!(
                    "--refiner takes a checkpoint of XL's refiner beside one of XL: {} is {}, and {} is {}",
                    path,
                    refiner.family().spec().name,
                    checkpoint.root().display(),
                    checkpoint.family().spec().name
                );
            }
            refiner.check(Role::Refiner)?;
            parts.push(part(&refiner, vec![Role::Refiner], refiner.name(), version.to_owned()));
        }
        for path in &conversion.controlnets {
            let guide = open(path, opening)?;
            if !guide.has(Role::ControlNet) {
                refuse!("--controlnet {} is no ControlNet; give its file, or the folder with its config.json", path);
            }
            check_guides(checkpoint, &guide)?;
            let name = guide.name();
            if parts.iter().any(|part| part.file_version == name && part.roles == [Role::ControlNet]) {
                refuse!("--controlnet: two ControlNets are called {name}; rename the folder of one");
            }
            parts.push(part(&guide, vec![Role::ControlNet], name.clone(), name));
        }
        Ok(Self { parts, skipped })
    }
}

fn open(source: &Source, opening: &Opening) -> Result<Checkpoint> {
    opening.beside().checkpoint(source, Wanted::Checkpoint)
}

/// Refuses a ControlNet that was made for another denoiser.
pub(crate) fn check_guides(checkpoint: &Checkpoint, guide: &Checkpoint) -> Result<()> {
    let denoiser = checkpoint.denoiser();
    if !checkpoint.has(denoiser) {
        return Ok(());
    }
    let (unet, net) = (checkpoint.network(denoiser)?.facts(), guide.network(Role::ControlNet)?.facts());
    let words = |facts: &Facts| {
        let width = facts.dims.get(Axis::TextWidth).unwrap_or_default();
        let states: Vec<String> = facts.residuals.iter().map(|r| r.channels.to_string()).collect();
        let added = if facts.added.is_some() { ", XL's added conditions" } else { "" };
        format!("text {width} wide{added}, states of {} channels", states.join(" "))
    };
    let is_for = unet.dims.get(Axis::TextWidth) == net.dims.get(Axis::TextWidth)
        && unet.residuals == net.residuals
        && unet.added.is_some() == net.added.is_some();
    if !is_for {
        refuse!(
            "the ControlNet {} was made for another model: it has {}, and the {denoiser} of {} has {}",
            guide.root().display(),
            words(&net),
            checkpoint.root().display(),
            words(&unet)
        );
    }
    Ok(())
}

/// The networks to convert of the checkpoint itself, and those of the default that it lacks.
fn choose(checkpoint: &Checkpoint, conversion: &Conversion) -> Result<(Vec<Role>, Vec<Role>)> {
    let asked = &conversion.roles;
    if asked.is_empty() {
        checkpoint.check_family()?;
    }
    let usual = checkpoint.usual_roles();
    let is_chosen = |role: &Role| if asked.is_empty() { usual.contains(role) } else { asked.contains(role) };
    let all: Vec<Role> = Role::ALL.into_iter().filter(is_chosen).collect();
    // What the index lists must be there, or the download is incomplete; people leave the safety checker out by hand.
    let is_needed = |&&role: &&Role| match asked.is_empty() {
        true => checkpoint.lists(role) && (role != Role::SafetyChecker || checkpoint.has(role)),
        false => true,
    };
    all.iter().filter(is_needed).try_for_each(|&role| checkpoint.check(role))?;
    let (mut there, missing): (Vec<_>, Vec<_>) = all.into_iter().partition(|&role| checkpoint.has(role));
    if let Some(role) = missing.iter().find(|role| asked.contains(role)) {
        refuse!("{} has no {role}", checkpoint.root().display());
    }
    if there.is_empty() {
        refuse!("{} has no component that can be converted", checkpoint.root().display());
    }
    if conversion.unet_support_controlnet {
        let unet = there.iter().position(|&role| role == Role::UNet && checkpoint.has(Role::ControlledUNet));
        let unet =
            unet.context("--unet-support-controlnet has no effect here: it is for unet, and none is converted")?;
        there[unet] = Role::ControlledUNet;
        there.dedup();
    }
    Ok((there, missing))
}
