//! A conversion: a checkpoint to a folder of packages.
//!
//! Everything that can be refused is refused before any work begins; packages and the files beside them then appear one by one, each whole.

mod items;
mod options;
mod parts;
mod place;
mod plan;
mod precision;
mod resources;
mod workplace;
mod write;

use std::collections::BTreeSet;
use std::path::Path;

use sd_checkpoint::place::Wanted;

use crate::error::Result;
use crate::open::{Model, Opened};
use crate::package::not_wanted;
use crate::report::{BundleReport, ConversionReport};
use crate::watch::{Watch, warn};
pub use options::Conversion;
pub(crate) use parts::check_guides;
pub use plan::ConversionPlan;
pub(crate) use precision::tensor_warnings;

impl Opened {
    /// Converts a checkpoint to a folder of packages.
    ///
    /// # Errors
    /// For packages, which are converted already; else as [`Opened::plan_conversion`] and [`ConversionPlan::run`].
    pub fn convert(
        &self,
        to: impl AsRef<Path>,
        conversion: &Conversion,
        watch: &mut dyn Watch,
    ) -> Result<ConversionReport> {
        self.plan_conversion(to, conversion)?.run(watch)
    }

    /// Decides what a conversion will do; nothing is written.
    ///
    /// # Errors
    /// For everything that cannot be done: options without effect, components that are not there, outputs that are
    /// there already or belong to another model, places that cannot be written.
    pub fn plan_conversion(&self, to: impl AsRef<Path>, conversion: &Conversion) -> Result<ConversionPlan> {
        match self.model() {
            Model::Checkpoint(checkpoint) => ConversionPlan::new(self, checkpoint, to.as_ref(), conversion),
            Model::Packages(dir) => Err(not_wanted(dir, Wanted::Checkpoint).into()),
        }
    }
}

impl ConversionPlan {
    /// What is told of a bundle, where one is made.
    fn bundle_report(&self) -> Option<BundleReport> {
        let models = self.items.iter().flat_map(items::Item::outputs);
        self.conversion.bundle.map(|form| BundleReport::of(form, &self.to, models))
    }

    /// Names of everything that is written to the folder, as an archive has them.
    fn contents(&self) -> BTreeSet<String> {
        let models = self.items.iter().flat_map(items::Item::outputs);
        let models = models.filter_map(|path| path.strip_prefix(&self.to).ok());
        let names = models.map(|path| path.display().to_string().replace('\\', "/"));
        names.chain(self.bundle.names().map(str::to_owned)).collect()
    }

    /// Converts and writes.
    ///
    /// # Errors
    /// For weights that cannot be read or lowered, a disk that is full, and a watcher that breaks off.
    pub fn run(mut self, watch: &mut dyn Watch) -> Result<ConversionReport> {
        for role in &self.skipped {
            warn(watch, &format!("the checkpoint has no {role}; it is left out"))?;
        }
        for warning in self.warnings.iter().chain(&self.bundle.warnings) {
            warn(watch, warning)?;
        }
        self.place.tell_changes(watch)?;
        self.place.folder.make()?;
        self.place.below.iter_mut().try_for_each(safe_files::OutputFolder::make)?;
        let packages = write::all(&self, watch)?;
        self.bundle.write(&mut self.place.files, watch)?;
        let mut bundle = self.bundle_report();
        if let (Some(bundle), Some(to)) = (&mut bundle, &self.place.archive) {
            bundle.zip = Some(resources::write_archive(&self.to, &self.contents(), to, watch)?);
        }
        Ok(ConversionReport {
            checkpoint: self.checkpoint.root().display().to_string(),
            output: self.to.display().to_string(),
            model_version: self.model_version,
            bytes: packages.iter().map(|p| p.bytes).sum(),
            packages,
            skipped: self.skipped.iter().map(|c| c.name()).collect(),
            words: self.checkpoint.words().to_vec(),
            files: self.bundle.names().map(str::to_owned).collect(),
            bundle,
            seconds: self.begin.elapsed().as_secs_f64(),
        })
    }
}
