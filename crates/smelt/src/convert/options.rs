//! What a conversion is asked for.

use std::path::{Path, PathBuf};

use safe_files::{Existing, Outputs};
use sd_checkpoint::Source;
use sd_convert::{AttentionLayout, Batch, Precision, Role, Target};
use sd_spec::bundle;

use crate::bundle_form::BundleForm;
use crate::error::{Result, refuse};
use crate::recommended::Recommended;
use crate::size::Sizes;

/// What a conversion makes of a checkpoint.
#[derive(Debug, Clone)]
pub struct Conversion {
    /// The networks to convert; none stands for all that the checkpoint has.
    pub roles: Vec<Role>,
    /// Layout of the UNet's attention; default: split-einsum.
    pub attention: Option<AttentionLayout>,
    /// Several sizes share their weights: in one package for macOS15, in one for each before.
    pub sizes: Sizes,
    /// Number of text tokens that the UNet attends to; default: the text encoder's.
    pub text_length: Option<usize>,
    /// Convert the UNet as one that takes what ControlNets add (`control-unet`), in the place of the plain one.
    pub unet_support_controlnet: bool,
    /// ControlNets to convert too, for the checkpoint's sizes.
    pub controlnets: Vec<Source>,
    /// A checkpoint of XL's refiner, whose UNet is converted too, for the checkpoint's sizes.
    pub refiner: Option<Source>,
    /// How many samples the UNet, and what guides it, takes at a time; default: two, prompt and negative prompt at once.
    /// One and two share their weights, as several sizes do.
    pub unet_batches: Vec<Batch>,
    /// Oldest system to run on.
    pub target: Target,
    /// Precision of weights and arithmetic; default: float16, and float32 for a VAE's decoder or encoder whose results
    /// float16 cannot hold.
    pub precision: Option<Precision>,
    /// Name of the model in metadata and file names; default: the checkpoint's.
    pub model_version: Option<String>,
    /// Write the UNet in so many parts too; they are what it is, compressed or not.
    pub chunk_unet: Option<u16>,
    /// Palettize what Apple's converter does, which is CLIP's text encoders, UNets and ControlNets, to this many bits by
    /// k-means: 1, 2, 3 (macOS15), 4, 6 or 8.
    pub quantize_nbits: Option<u8>,
    /// What suits the model, for whoever draws with the packages; default: what the checkpoint's own `smelt.json` says.
    pub recommended: Recommended,
    /// Make the folder [`sd_spec::bundle::FOLDER`] of Apple's Swift package in the place of packages under the names of Apple's
    /// converter.
    pub bundle: Option<BundleForm>,
    /// Write it as an archive too, as the Hub's repositories have them.
    pub zip: bool,
    /// What happens to packages that are there already.
    pub existing: Existing,
}

impl Conversion {
    /// The folder that models go to, where the conversion is told to write to `to`: of a bundle the one in it, unless that is
    /// what was named.
    #[must_use]
    pub fn folder(&self, to: &Path) -> PathBuf {
        let is_bundle = to.file_name().is_some_and(|name| name == bundle::FOLDER);
        if self.bundle.is_some() && !is_bundle { to.join(bundle::FOLDER) } else { to.to_owned() }
    }

    /// Refuses a name of the model that no file can have, whole or behind the last slash.
    pub(super) fn check_version(&self) -> Result<()> {
        let Some(version) = &self.model_version else { return Ok(()) };
        let last = version.rsplit(['/', '\\']).next().unwrap_or_default().trim();
        if matches!(last, "" | "." | "..") || version.chars().any(char::is_control) {
            refuse!(
                "--model-version {version:?} cannot be in names of files; give the name of the model, with its owner or without"
            );
        }
        Ok(())
    }

    /// Refuses a folder that cannot be written, before anything is fetched or read for it; that packages are there already is
    /// known when the checkpoint is.
    ///
    /// # Errors
    /// For what is no folder or takes no files.
    pub fn check_output(to: &Path) -> Result<()> {
        Outputs::new().folder("-o", to)?;
        Ok(())
    }
}

impl Default for Conversion {
    fn default() -> Self {
        Self {
            roles: Vec::new(),
            attention: None,
            sizes: Sizes::default(),
            text_length: None,
            unet_support_controlnet: false,
            controlnets: Vec::new(),
            refiner: None,
            unet_batches: Vec::new(),
            target: Target::MacOs13,
            precision: None,
            model_version: None,
            chunk_unet: None,
            quantize_nbits: None,
            recommended: Recommended::default(),
            bundle: None,
            zip: false,
            existing: Existing::Refuse,
        }
    }
}
