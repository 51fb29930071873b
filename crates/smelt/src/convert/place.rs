//! Where a conversion writes: everything that it may touch, looked at before any work.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use safe_files::{OutputFile, OutputFolder, Outputs};

use super::items::Item;
use crate::bundle::{Bundle, Writes};
use crate::error::Result;
use crate::watch::{Watch, warn, warn_replaced};

/// The folder, and the files beside the packages that are to be written.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) folder: OutputFolder,
    /// Those below it that packages lie in.
    pub(super) below: Vec<OutputFolder>,
    pub(super) files: Writes,
    /// The archive of it all, where one is wanted.
    pub(super) archive: Option<OutputFile>,
    /// Of these, what is there with other content.
    changes: Vec<PathBuf>,
    /// Models that will be there in another form.
    others: Vec<PathBuf>,
}

impl Place {
    /// Refuses what cannot be written, and what would replace a file of the checkpoints in `roots`.
    pub(super) fn new(
        (to, archive): (&Path, Option<&Path>),
        roots: &[&Path],
        items: &[Item],
        bundle: &Bundle,
    ) -> Result<Self> {
        let mut outputs = Outputs::new();
        // What an earlier conversion left in the checkpoint's own folder is no part of it.
        let is_ours = |path: &Path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            path.parent().is_some_and(|parent| roots.contains(&parent))
                && (name.ends_with(".mlpackage") || bundle.names().any(|ours| ours == name))
        };
        let read: Vec<PathBuf> = roots.iter().flat_map(|root| crate::model_dir::files(root)).collect();
        for path in read.iter().filter(|path| !is_ours(path)) {
            outputs.reads("the checkpoint's file", path)?;
        }
        let folder = outputs.folder("-o", to)?;
        let paths = || items.iter().flat_map(Item::outputs);
        let below: BTreeSet<&Path> = paths().filter_map(|path| path.parent()).filter(|parent| *parent != to).collect();
        let below = below.into_iter().map(|folder| Ok(outputs.folder("-o", folder)?)).collect::<Result<_>>()?;
        paths().try_for_each(|path| outputs.directory("-o", path))?;
        let others: Vec<PathBuf> = items.iter().flat_map(|item| &item.others).cloned().collect();
        others.iter().try_for_each(|path| outputs.directory("-o", path))?;
        let files = bundle.outputs(to, &mut outputs)?;
        let mut name = |path: &Path| -> Result<OutputFile> {
            path.parent().map(|parent| outputs.folder("-o", parent)).transpose()?;
            Ok(outputs.file_as("--zip", "the archive", path)?)
        };
        let archive = archive.map(&mut name).transpose()?;
        Ok(Self { folder, below, files, archive, changes: bundle.conflicts(to), others })
    }

    /// Says which files beside the packages will not be what they were, and which models will not be there.
    pub(super) fn tell_changes(&self, watch: &mut dyn Watch) -> Result<()> {
        warn_replaced(watch, &self.changes)?;
        if self.others.is_empty() {
            return Ok(());
        }
        let list: Vec<String> = self.others.iter().map(|path| format!("\n  {}", path.display())).collect();
        warn(
            watch,
            &format!("the bundle has these models in another form, which is removed for the new one:{}", list.concat()),
        )
    }
}
