//! Models of the Hub: fetched before they are opened, which is then done out of the cache.
//!
//! [`Opening::open`](crate::Opening::open) never fetches anything by itself: whoever opens decides whether gigabytes may
//! come, and who looks on.

#[cfg(feature = "hub")]
mod fetch;

use std::path::PathBuf;

use sd_checkpoint::Source;
use sd_checkpoint::hub::{Cache, Extent};
use sd_spec::Role;
use serde::Serialize;

use crate::error::{Result, refuse};
use crate::open::Opening;
use crate::watch::Watch;

/// What of a model of the Hub is fetched.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Download {
    /// Networks whose weights are fetched; default: all that the pipeline lists. Configurations and tokenizers come
    /// whatever is wanted.
    pub roles: Vec<Role>,
    /// Variant of the weights (`fp16`, `non_ema`), where a network has it; default: the plain ones, or the only ones.
    pub variant: Option<String>,
    /// Every file, and not only those that are needed to convert it or to draw with it.
    pub all: bool,
    /// Nothing is fetched: it is in the cache, or it is said what is missing.
    pub offline: bool,
}

/// A model that is in the cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Downloaded {
    /// The reference, as it was given.
    pub source: String,
    /// The folder or file that it is opened by.
    pub path: PathBuf,
    /// The commit that it is of.
    pub commit: String,
    /// The files that it needs.
    pub files: Vec<DownloadedFile>,
    /// Bytes of all of them.
    pub bytes: u64,
    /// Bytes that were fetched.
    pub fetched_bytes: u64,
}

/// One of its files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DownloadedFile {
    /// Its path in the repository.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// Whether it was fetched now.
    pub is_new: bool,
}

/// References to the models of which something is in the Hub's cache, by name; whether all is there that is needed, opening
/// them tells.
#[must_use]
pub fn cached_models() -> Vec<Source> {
    let entries = std::fs::read_dir(Cache::standard().root()).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut ids: Vec<String> =
        names.filter_map(|name| name.strip_prefix("models--").map(|id| id.replacen("--", "/", 1))).collect();
    ids.sort();
    ids.iter().filter_map(|id| format!("hf:{id}").parse().ok()).collect()
}

impl Download {
    /// Fetches what is needed of a reference to the Hub and not in the cache yet.
    ///
    /// # Errors
    /// For a path; for everything that networks, servers and disks say; and when the watcher breaks off: what has come is
    /// then gone on with the next time.
    pub fn run(&self, source: &Source, watch: &mut dyn Watch) -> Result<Downloaded> {
        if self.all && !(self.roles.is_empty() && self.variant.is_none()) {
            refuse!("--all fetches every file, so that --component and --variant choose nothing; leave them out");
        }
        self.extent(source, if self.all { Extent::All } else { Extent::Needed }, watch)
    }

    fn extent(&self, source: &Source, extent: Extent, watch: &mut dyn Watch) -> Result<Downloaded> {
        match source {
            Source::Hub { id, revision, path } => {
                self.hub(source, (id, revision.as_deref(), path.as_deref()), extent, watch)
            }
            path => refuse!("{path} is no reference to the Hub, so there is nothing to fetch; one is hf:owner/name"),
        }
    }

    #[cfg(not(feature = "hub"))]
    fn hub(
        &self,
        source: &Source,
        _: (&str, Option<&str>, Option<&std::path::Path>),
        _: Extent,
        _: &mut dyn Watch,
    ) -> Result<Downloaded> {
        refuse!("{source}: this program was built without the feature hub, and fetches nothing")
    }
}

impl Opening {
    /// Fetches what these sources need of the Hub, for these networks, or for all, and the VAE and LoRAs that they are
    /// opened with; paths need nothing. With [`Opening::offline`] they must be in the cache.
    ///
    /// # Errors
    /// As [`Download::run`].
    pub fn fetch<'a>(
        &self,
        sources: impl IntoIterator<Item = &'a Source>,
        roles: &[Role],
        watch: &mut dyn Watch,
    ) -> Result<()> {
        let own = Download { roles: roles.to_vec(), variant: self.variant.clone(), all: false, offline: self.offline };
        for source in sources.into_iter().filter(|source| matches!(source, Source::Hub { .. })) {
            own.run(source, watch)?;
        }
        for lora in self.loras.of_hub() {
            Download { roles: Vec::new(), variant: None, ..own.clone() }.run(&lora, watch)?;
        }
        if let Some(config @ Source::Hub { .. }) = &self.config {
            own.extent(config, Extent::Configurations, watch)?;
        }
        match &self.vae {
            Some(vae @ Source::Hub { .. }) => {
                Download { roles: vec![Role::VaeDecoder, Role::VaeEncoder], ..own }.run(vae, watch).map(drop)
            }
            _ => Ok(()),
        }
    }

    /// The path that a source stands for: its own, or where the Hub's cache has what [`Opening::fetch`] put there.
    ///
    /// # Errors
    /// When it is not in the cache.
    pub fn locate(&self, source: &Source) -> Result<PathBuf> {
        Ok(Cache::standard().locate(source)?)
    }
}
