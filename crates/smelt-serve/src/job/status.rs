//! A job as it stands, for whoever asks.

use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Phase {
    /// It waits.
    Queued,
    /// Its model is loaded.
    Loading,
    /// Its pictures are drawn.
    Drawing,
    /// All is there.
    Done,
    /// It broke off; `error` says why.
    Failed,
    /// Somebody cancelled it; pictures that were finished are there.
    Cancelled,
}

impl Phase {
    /// Every one, by its name.
    pub(crate) const ALL: [(Self, &str); 6] = [
        (Self::Queued, "queued"),
        (Self::Loading, "loading"),
        (Self::Drawing, "drawing"),
        (Self::Done, "done"),
        (Self::Failed, "failed"),
        (Self::Cancelled, "cancelled"),
    ];

    pub(crate) const fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }
}

/// How far a job is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, ToSchema)]
pub(crate) struct Steps {
    /// Which picture, from 0.
    pub(crate) picture: usize,
    /// Of how many.
    pub(crate) n_pictures: usize,
    /// Evaluations that are done for this picture in this pass.
    pub(crate) step: usize,
    /// Of how many.
    pub(crate) n_steps: usize,
    /// Share of the whole job that is done, 0 to 1.
    pub(crate) progress: f64,
    /// Evaluations in a second, over this job; null before the second.
    pub(crate) steps_per_s: Option<f64>,
    /// Seconds until the last picture's steps are done; null before that is known.
    pub(crate) eta_s: Option<f64>,
}

/// A picture that is finished.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Drawn {
    /// What it is fetched by.
    pub(crate) id: String,
    /// Where: `/smelt/v1/pictures/ID`.
    pub(crate) url: String,
    /// Which of the job's pictures, from 0.
    pub(crate) idx: usize,
    /// The seed of its random numbers; of several pictures of one stream, the same job with `only` draws this one again.
    pub(crate) seed: u64,
    pub(crate) width: usize,
    pub(crate) height: usize,
    /// Whether the safety checker objected, so that the picture is black; null where it did not run.
    pub(crate) flagged: Option<bool>,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct JobFault {
    /// For programs.
    pub(crate) code: String,
    /// For people.
    pub(crate) message: String,
}

/// A job as it stands.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Status {
    /// What it is asked for by.
    pub(crate) id: String,
    pub(crate) phase: Phase,
    /// Jobs before it in the queue; null once its turn has come.
    pub(crate) position: Option<usize>,
    /// Name of its model.
    pub(crate) model: Option<String>,
    /// Its prompt.
    pub(crate) prompt: Option<String>,
    /// Seconds since 1970 when it was taken.
    pub(crate) created: f64,
    /// When its turn came.
    pub(crate) started: Option<f64>,
    /// When it was over.
    pub(crate) finished: Option<f64>,
    pub(crate) steps: Steps,
    /// The pictures that are finished.
    pub(crate) pictures: Vec<Drawn>,
    /// What the user should know although nothing failed.
    pub(crate) warnings: Vec<String>,
    /// Why it failed.
    pub(crate) error: Option<JobFault>,
}

/// The latest preview.
#[derive(Debug, Clone)]
pub(crate) struct Preview {
    /// Counts previews of the job, from 1.
    pub(crate) n: usize,
    /// Which picture it foretells.
    pub(crate) picture: usize,
    /// A PNG.
    pub(crate) png: Arc<Vec<u8>>,
}
