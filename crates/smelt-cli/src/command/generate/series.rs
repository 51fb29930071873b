//! Requests one after another, by one pipeline.

use anyhow::Result;
use smelt::{Picture, Pipeline, Varied};

use super::steps::{Order, Steps};
use crate::report::Report;

/// What came of all requests.
#[derive(Default)]
pub(super) struct Drawn {
    /// The pictures, where somebody still wants them when all are written.
    pub(super) pictures: Vec<Picture>,
    /// What the user was told, each thing once.
    pub(super) warnings: Vec<String>,
}

/// What becomes of pictures that are written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// Something is made of all of them.
    Wanted,
    Forgotten,
}

/// Draws all of them; what is wrong with one is said before the first.
pub(super) fn draw(
    pipeline: &mut Pipeline,
    series: &[Varied],
    steps: &mut Steps<'_>,
    (order, written): (Order, Written),
    report: &Report,
) -> Result<Drawn> {
    series.iter().try_for_each(|varied| pipeline.check(&varied.request))?;
    let mut drawn = Drawn::default();
    for varied in series {
        steps.begin(varied, order);
        let outcome = pipeline.draw(&varied.request, steps);
        let drawing = steps.outcome(outcome)?;
        if written == Written::Wanted {
            drawn.pictures.extend(drawing.pictures);
        }
        for warning in drawing.warnings {
            if !drawn.warnings.contains(&warning) {
                report.warn(&warning);
                drawn.warnings.push(warning);
            }
        }
    }
    steps.end();
    Ok(drawn)
}
