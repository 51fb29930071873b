//! Where a conversion writes: everything that it may touch, looked at before any work.

use std::path::{Path, PathBuf};

use anyhow::Result;
use safe_files::{OutputFile, OutputFolder, Outputs};

use super::items::Item;
use crate::cli::ConvertArgs;
use crate::report::Report;
use smelt::bundle::Bundle;

/// The folder, and the files beside the packages that are to be written.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) folder: OutputFolder,
    pub(super) files: Vec<OutputFile>,
    /// Of these, what is there with other content.
    changes: Vec<PathBuf>,
}

impl Place {
    /// Refuses what cannot be written, and what would replace a file of the checkpoint.
    pub(super) fn new(args: &ConvertArgs, root: &Path, items: &[Item], bundle: &Bundle) -> Result<Self> {
        let mut outputs = Outputs::new();
        // What an earlier conversion left in the checkpoint's own folder is no part of it.
        let is_ours = |path: &Path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            path.parent() == Some(root) && (name.ends_with(".mlpackage") || bundle.names().any(|ours| ours == name))
        };
        for path in smelt::model_dir::files(root).iter().filter(|path| !is_ours(path)) {
            outputs.reads("the checkpoint's file", path)?;
        }
        let folder = outputs.folder("-o", &args.output)?;
        for item in items {
            std::iter::once(item.path.clone())
                .chain(item.chunks(args))
                .try_for_each(|path| outputs.directory("-o", &path))?;
        }
        let files = bundle.outputs(&args.output, &mut outputs)?;
        Ok(Self { folder, files, changes: bundle.conflicts(&args.output) })
    }

    /// Says which files beside the packages will not be what they were.
    pub(super) fn tell_changes(&self, report: &Report) {
        report.replaced(&self.changes);
    }
}
