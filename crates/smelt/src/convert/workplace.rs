//! Where a package is written, and how it becomes what is to be there.
//!
//! A package that is to be compiled, or that is but cut, lies in a hidden folder beside its place meanwhile; its weights are
//! linked from there where the file system can.

use std::path::{Path, PathBuf};

use safe_files::Scratch;

use super::items::Item;
use super::plan::ConversionPlan;
use crate::bundle_form::BundleForm;
use crate::compile::compile;
use crate::error::Result;
use crate::report::{ConvertedPackage, Part};
use crate::watch::Watch;

/// Where the files of one item are made.
pub(super) struct Workplace<'p> {
    plan: &'p ConversionPlan,
    item: &'p Item,
    /// The whole package.
    pub(super) whole: PathBuf,
    /// Its chunks.
    pub(super) chunks: Vec<PathBuf>,
    /// Dropped when the item is finished.
    _scratch: Option<Scratch>,
}

impl<'p> Workplace<'p> {
    pub(super) fn of(plan: &'p ConversionPlan, item: &'p Item) -> Result<Self> {
        let is_compiled = plan.conversion.bundle == Some(BundleForm::Compiled);
        let scratch = (is_compiled || item.is_only_in_chunks).then(|| Scratch::beside(&item.path)).transpose()?;
        let place = |path: &PathBuf, is_made_elsewhere: bool| match &scratch {
            Some(scratch) if is_made_elsewhere => scratch
                .path()
                .join(path.with_extension(BundleForm::Packages.extension()).file_name().unwrap_or_default()),
            _ => path.clone(),
        };
        let whole = place(&item.path, true);
        let chunks = item.chunks.iter().map(|path| place(path, is_compiled)).collect();
        Ok(Self { plan, item, whole, chunks, _scratch: scratch })
    }

    /// Puts the whole package into its place, if it is to be there, and tells of it what it is then.
    pub(super) fn finish(&self, package: &mut ConvertedPackage, watch: &mut dyn Watch) -> Result<()> {
        package.path = self.item.outputs().next().unwrap_or(&self.item.path).display().to_string();
        if !self.item.is_only_in_chunks
            && let Some(bytes) = self.compile(&self.whole, &self.item.path, watch)?
        {
            package.bytes = bytes;
        }
        Ok(())
    }

    /// The same for one of the chunks.
    pub(super) fn finish_chunk(&self, idx: usize, part: &mut Part, watch: &mut dyn Watch) -> Result<()> {
        let (from, to) = (&self.chunks[idx], &self.item.chunks[idx]);
        part.path = to.display().to_string();
        if let Some(bytes) = self.compile(from, to, watch)? {
            part.bytes = bytes;
        }
        Ok(())
    }

    /// Compiles what lies elsewhere, and returns the bytes that it takes.
    fn compile(&self, from: &Path, to: &Path, watch: &mut dyn Watch) -> Result<Option<u64>> {
        if from == to {
            return Ok(None);
        }
        let compiled = compile(from, to, self.plan.conversion.existing, watch)?;
        Ok(Some(compiled.bytes))
    }
}
