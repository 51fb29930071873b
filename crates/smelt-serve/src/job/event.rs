//! What happens to a job, as it is told.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Drawn, JobFault, Phase, Preview, Status, Steps};

/// What happens to a job; each kind has a name of its own in the stream of events.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase", tag = "event")]
pub(crate) enum JobEvent {
    /// It waits.
    Queued {
        /// Jobs before it.
        position: usize,
    },
    /// Its model is loaded.
    Loading {
        /// The model's name.
        model: Option<String>,
    },
    /// It draws now.
    Drawing,
    /// A step is done.
    Step(Steps),
    /// What a step foretells of the picture.
    Preview {
        /// Counts previews of the job, from 1.
        n: usize,
        /// Which picture it foretells.
        picture: usize,
        /// A small PNG as a data URI, to be shown at the picture's size.
        image: String,
    },
    /// A picture is finished.
    Picture(Drawn),
    /// Something to know although nothing failed.
    Warning {
        /// What.
        message: String,
    },
    /// All is there.
    Done {
        /// Since its turn came.
        seconds: f64,
    },
    /// It broke off.
    Error(JobFault),
    /// Somebody cancelled it.
    Cancelled,
}

impl JobEvent {
    /// Its name in the stream of events.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Queued { .. } => "queued",
            Self::Loading { .. } => "loading",
            Self::Drawing => "drawing",
            Self::Step(_) => "step",
            Self::Preview { .. } => "preview",
            Self::Picture(_) => "picture",
            Self::Warning { .. } => "warning",
            Self::Done { .. } => "done",
            Self::Error(_) => "error",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing comes behind it.
    pub(crate) const fn is_last(&self) -> bool {
        matches!(self, Self::Done { .. } | Self::Error(_) | Self::Cancelled)
    }

    pub(super) fn of_preview(preview: &Preview) -> Self {
        Self::Preview { n: preview.n, picture: preview.picture, image: data_uri("image/png", &preview.png) }
    }

    /// What somebody who comes late is told first, so that they know all that matters.
    pub(crate) fn so_far(status: &Status, preview: Option<&Preview>) -> Vec<Self> {
        let mut events = Vec::new();
        match status.phase {
            Phase::Queued => events.extend(status.position.map(|position| Self::Queued { position })),
            Phase::Loading => events.push(Self::Loading { model: status.model.clone() }),
            _ => {}
        }
        events.extend(status.warnings.iter().map(|message| Self::Warning { message: message.clone() }));
        events.extend(status.pictures.iter().cloned().map(Self::Picture));
        match status.phase {
            Phase::Queued | Phase::Loading => {}
            Phase::Drawing => {
                events.push(Self::Drawing);
                events.extend((status.steps.n_steps > 0).then_some(Self::Step(status.steps)));
                events.extend(preview.map(Self::of_preview));
            }
            Phase::Done => {
                let seconds = status.finished.unwrap_or(status.created) - status.started.unwrap_or(status.created);
                events.push(Self::Done { seconds });
            }
            Phase::Failed => events.extend(status.error.clone().map(Self::Error)),
            Phase::Cancelled => events.push(Self::Cancelled),
        }
        events
    }
}

/// Bytes as part of a page.
pub(crate) fn data_uri(content_type: &str, bytes: &[u8]) -> String {
    format!("data:{content_type};base64,{}", STANDARD.encode(bytes))
}
