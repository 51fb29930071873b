//! A request that waits for its job, as those of other tools' interfaces do, and what it gets.
//!
//! What it deliberately does not do: write answers, which each interface does in its own words.

use std::sync::Arc;

use axum::http::StatusCode;

use crate::app::App;
use crate::fault::Fault;
use crate::job::{Job, Phase, Status};
use crate::store::Kept;

/// A request that waits. Dropped before its job is over, it cancels the job where the server was started so.
pub(crate) struct Call {
    app: Arc<App>,
    pub(crate) job: Arc<Job>,
}

/// A picture that was finished, with the bytes of its file.
pub(crate) struct Finished {
    pub(crate) kept: Kept,
    pub(crate) bytes: Arc<Vec<u8>>,
}

impl Call {
    pub(crate) const fn new(app: Arc<App>, job: Arc<Job>) -> Self {
        Self { app, job }
    }

    /// Waits until the job is over; its pictures are those that were finished, fewer than asked for where somebody
    /// interrupted it or left some out.
    pub(crate) async fn end(&self) -> Result<Status, Fault> {
        self.job.wait().await;
        let status = self.job.status();
        match (status.phase, self.job.fault()) {
            (Phase::Done, _) => Ok(status),
            (_, Some(fault)) => Err(fault),
            _ => Err(Fault::conflict("the job was cancelled before its pictures were finished")),
        }
    }

    /// Its pictures, in their order.
    pub(crate) fn pictures(&self, status: &Status) -> Result<Vec<Finished>, Fault> {
        status.pictures.iter().map(|drawn| self.finished(&drawn.id)).collect()
    }

    /// A picture that was finished.
    pub(crate) fn finished(&self, id: &str) -> Result<Finished, Fault> {
        let gone = || Fault {
            status: StatusCode::INSUFFICIENT_STORAGE,
            ..Fault::gone(
                "a picture of this request was dropped for want of room; ask for fewer at once, or start the server with --keep",
            )
        };
        let kept = self.app.store.get(id).ok_or_else(gone)?;
        let bytes = kept.bytes().map_err(Fault::internal)?;
        Ok(Finished { kept, bytes })
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if self.app.options.cancel_on_disconnect && !self.job.status().phase.is_over() {
            self.app.cancel(&self.job);
        }
    }
}
