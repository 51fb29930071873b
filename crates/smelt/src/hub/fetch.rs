//! The client of the Hub, with the library's events.

use std::ops::ControlFlow;
use std::path::Path;

use sd_checkpoint::Source;
use sd_checkpoint::hub::{Extent, Wanted, slashed};
use sd_hub::{Hub, HubError, Settings};

use super::{Download, Downloaded, DownloadedFile};
use crate::error::{Error, Result};
use crate::watch::{Event, Progress, Unit, Watch};

/// What the work is called.
const LABEL: &str = "fetching";

impl Download {
    pub(super) fn hub(
        &self,
        source: &Source,
        (id, revision, path): (&str, Option<&str>, Option<&Path>),
        extent: Extent,
        watch: &mut dyn Watch,
    ) -> Result<Downloaded> {
        let wanted =
            Wanted { path: path.map(slashed), roles: self.roles.clone(), variant: self.variant.clone(), extent };
        let settings = Settings::standard()?;
        let fetched = match self.offline || sd_hub::is_offline() {
            true => Hub::find(&settings, id, revision, &wanted),
            false => {
                let name = source.to_string();
                Hub::new(settings).fetch(id, revision, &wanted, &mut Told { watch, source: &name })
            }
        };
        let fetched = fetched.map_err(|error| match error {
            HubError::Stopped => Error::Stopped,
            other => other.into(),
        })?;
        let file = |file: sd_hub::FetchedFile| DownloadedFile {
            name: file.name,
            path: file.path,
            bytes: file.n_bytes,
            is_new: file.is_new,
        };
        let files: Vec<DownloadedFile> = fetched.files.into_iter().map(file).collect();
        Ok(Downloaded {
            source: source.to_string(),
            path: fetched.path,
            commit: fetched.commit,
            bytes: files.iter().map(|file| file.bytes).sum(),
            files,
            fetched_bytes: fetched.n_fetched_bytes,
        })
    }
}

/// Tells the library's watcher what the client tells.
struct Told<'a> {
    watch: &'a mut dyn Watch,
    source: &'a str,
}

impl sd_hub::Watch for Told<'_> {
    fn event(&mut self, event: sd_hub::Event<'_>) -> ControlFlow<()> {
        match event {
            sd_hub::Event::Asking => self.watch.event(Event::Begin("asking the Hub")),
            sd_hub::Event::Found { n_missing, n_bytes, .. } => {
                let flow = self.watch.event(Event::End);
                match n_missing {
                    0 => flow,
                    _ => self.watch.event(Event::Fetching { source: self.source, n_files: n_missing, bytes: n_bytes }),
                }
            }
            sd_hub::Event::Progress { done, total } => {
                let flow = self.watch.event(Event::Progress(Progress { what: LABEL, done, total, unit: Unit::Bytes }));
                if done == total { self.watch.event(Event::End) } else { flow }
            }
            sd_hub::Event::Note(words) => self.watch.event(Event::Warning(words)),
            _ => ControlFlow::Continue(()),
        }
    }
}
