//! TAESD, the small autoencoder, which decodes pictures in the place of a model's own.
//!
//! It was trained on latents as the denoiser gives them, so the factors of the model's autoencoder are not for it; the model
//! keeps them for pictures to begin with, which its own encoder reads.

use std::path::{Path, PathBuf};

use mlpackage::Package;
use sd_checkpoint::{Checkpoint, Source, hub};
use sd_convert::LatentSize;
use sd_runtime::Engine;
use sd_runtime::pipeline::VaeConfig;
use sd_spec::{Axis, Family, Role};
use serde_json::Value;

use super::memory::InMemory;
use super::net::Net;
use crate::error::{Context, Result, refuse};
use crate::model_dir::{self, Decoded};
use crate::open::Opened;
use crate::package::{is_named_as_package, open_package, stem};
use crate::settings::Settings;

/// What such models are called, as letters and digits, and what they are for; the first that is in a name counts.
const NAMED: [(&str, &str, &[Family]); 4] = [
    ("taesdxl", "Stable Diffusion XL", &[Family::Sdxl, Family::SdxlRefiner]),
    ("taesd3", "Stable Diffusion 3", &[Family::Sd3]),
    ("taef1", "FLUX.1", &[]),
    ("taesd", "Stable Diffusion 1.x and 2.x", &[Family::Sd]),
];

/// What diffusers calls it.
const CLASS: &str = "AutoencoderTiny";

/// One that was found.
#[derive(Debug, Clone)]
pub(super) struct Taesd {
    /// Its name, for the settings of pictures.
    pub(super) name: String,
    /// As it was given: the option and its value.
    given: String,
    net: Net,
    /// How it wants latents.
    pub(super) scaled: VaeConfig,
    channels: usize,
    /// Pixels for each latent, in each direction.
    scale: usize,
}

/// What the pictures of a model are decoded from.
pub(super) struct Latents {
    pub(super) family: Family,
    /// As far as they are known.
    pub(super) channels: Option<usize>,
    pub(super) scale: usize,
}

impl Taesd {
    /// Finds it: a package, a folder of packages that has one for that size, or a checkpoint.
    pub(super) fn find(
        (option, source): (&str, Option<&Source>),
        opened: &Opened,
        size: Option<LatentSize>,
    ) -> Result<Option<Self>> {
        let Some(source) = source else { return Ok(None) };
        let given = format!("{option} {source}");
        let found = || -> Result<Self> {
            let path = hub::resolve(&opened.opening().locate(source)?)?;
            match package_at(&path, size)? {
                Some(package) => of_package(&given, &package),
                None => of_checkpoint(&given, Checkpoint::of_decoder(source, opened.opening().variant.clone())?),
            }
        };
        found().map(Some).with_context(|| given.clone())
    }

    /// Refuses one for other latents; says what is not known.
    pub(super) fn check_fits(&self, Latents { family, channels, scale }: &Latents) -> Result<Option<String>> {
        let Self { given, .. } = self;
        let model = family.spec().name;
        if let Some(channels) = channels.filter(|channels| *channels != self.channels) {
            refuse!(
                "{given} decodes latents of {} channels, and those of {model} have {channels}: it is for \
                 another family",
                self.channels
            );
        }
        if self.scale != *scale {
            refuse!("{given} makes {} pixels of each latent, in each direction, and {model} has {scale}", self.scale);
        }
        match family_of(&self.name) {
            Some((_, families)) if families.contains(family) => Ok(None),
            Some((what, _)) => refuse!(
                "{given} is the TAESD of {what} by its name, and the latents of {model} mean something else; \
                 give the one of {model}, or rename it if it is that"
            ),
            None => Ok(Some(format!(
                "{given} does not say by its name which model it is for, and TAESDs of {} have the same shape: \
                 wrong colours mean that it is another model's",
                if self.channels == 16 { "Stable Diffusion 3 and FLUX.1" } else { "Stable Diffusion 1.x and XL" }
            ))),
        }
    }

    /// The checkpoint that it is converted of, if so.
    pub(super) fn checkpoint(&self) -> Option<&Checkpoint> {
        self.net.checkpoint()
    }

    /// Loads it for latents of a size.
    pub(super) fn load(&self, memory: &InMemory, options: &sd_convert::Options) -> Result<Box<dyn Engine>> {
        self.net.load(Role::VaeDecoder.into(), memory, options)
    }
}

/// Which families a TAESD of that name is for, and in words; none for names that do not say it.
fn family_of(name: &str) -> Option<(&'static str, &'static [Family])> {
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    // `owner/name` ends with the name; people call all of them TAESD.
    let is_bare = |mark: &str| {
        let end = name.rsplit('/').next().unwrap_or(name).to_ascii_lowercase();
        end == mark || ["_decoder", "-decoder"].iter().any(|half| end.strip_suffix(half) == Some(mark))
    };
    let is_named = |mark: &str| if mark == "taesd" { is_bare(mark) } else { plain.contains(mark) };
    NAMED.into_iter().find(|(mark, ..)| is_named(mark)).map(|(_, what, families)| (what, families))
}

/// The package that a path is, or that of a decoder in a folder of packages.
fn package_at(path: &Path, size: Option<LatentSize>) -> Result<Option<PathBuf>> {
    if !path.is_dir() {
        return Ok(None);
    }
    if is_named_as_package(path) {
        return Ok(Some(path.to_owned()));
    }
    match model_dir::of_role(path, Role::VaeDecoder, size)? {
        None if !model_dir::packages(path)?.is_empty() => {
            refuse!("it holds packages, and none of a decoder (…_vae_decoder.mlpackage)")
        }
        found => Ok(found),
    }
}

fn of_package(given: &str, path: &Path) -> Result<Taesd> {
    let package = open_package(path)?;
    let Some(Decoded { channels, scale, .. }) = Decoded::of(&package) else {
        refuse!("{} is no package of a VAE's decoder: it takes no latents z [1, C, h, w]", path.display())
    };
    if !bounds_latents(&package) {
        refuse!(
            "{} is the decoder of an ordinary VAE: nothing in it bounds latents, as a TAESD does; give a package that was \
             converted with --vae TAESD",
            path.display()
        );
    }
    let settings = path.parent().map_or(Ok(None), Settings::read)?;
    let scaled = match &settings {
        Some(settings) => serde_json::from_value(Value::Object(settings.vae.clone())).context("smelt.json: vae")?,
        None => VaeConfig::UNSCALED,
    };
    let name = settings.and_then(|settings| settings.vae_of).unwrap_or_else(|| stem(path));
    Ok(Taesd { name, given: given.to_owned(), net: Net::Package(path.to_owned()), scaled, channels, scale })
}

/// Whether a program has the hyperbolic tangent with which TAESD begins, and no VAE has.
fn bounds_latents(package: &Package) -> bool {
    let mut found = false;
    for function in package.model().programs().iter().flat_map(|program| program.functions.values()) {
        function.body.for_each_op(&mut |op| found |= op.kind == "tanh");
    }
    found
}

fn of_checkpoint(given: &str, checkpoint: Checkpoint) -> Result<Taesd> {
    let config: Value = serde_json::from_slice(&checkpoint.config(Role::VaeDecoder)?)?;
    if config["_class_name"] != CLASS {
        refuse!(
            "{} is an ordinary VAE ({}), and no TAESD; beside a checkpoint --vae takes it",
            checkpoint.root().display(),
            config["_class_name"].as_str().unwrap_or("of no class")
        );
    }
    let facts = checkpoint.network(Role::VaeDecoder)?.facts();
    let unscaled = VaeConfig::UNSCALED;
    let scaling_factor = facts.scaling_factor.map_or(unscaled.scaling_factor, |factor| factor as f32);
    let scaled = VaeConfig { scaling_factor, ..unscaled };
    scaled.check()?;
    Ok(Taesd {
        name: checkpoint.name(),
        given: given.to_owned(),
        channels: facts.dims.get(Axis::LatentChannels).context("it does not say how many channels its latents have")?,
        scale: facts.scale.context("it does not say how many pixels it makes of a latent")?,
        scaled,
        net: Net::Checkpoint(Box::new(checkpoint)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_which_model_a_taesd_is_for() {
        for (name, family) in [
            ("taesd", Some(Family::Sd)),
            ("taesd_decoder", Some(Family::Sd)),
            ("madebyollin/taesd", Some(Family::Sd)),
            ("madebyollin/taesdxl", Some(Family::Sdxl)),
            ("TAESD-XL_decoder", Some(Family::Sdxl)),
            ("taesd3_decoder", Some(Family::Sd3)),
            ("tiny-taesd", None),
            ("my taesd for xl", None),
            ("vae", None),
        ] {
            let found = family_of(name).and_then(|(_, families)| families.first().copied());
            assert_eq!(found, family, "{name}");
        }
        assert_eq!(family_of("owner/taef1"), Some(("FLUX.1", &[][..])));
    }
}
