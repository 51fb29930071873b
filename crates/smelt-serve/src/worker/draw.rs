//! Pictures of a job, one after the other, each kept as soon as it is finished.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use smelt::{Error, Event, Picture, Request, Step, Stop};

use super::warm::{Warm, hear};
use crate::app::App;
use crate::fault::Fault;
use crate::job::{Drawn, Job, Steps};
use crate::order::Order;
use crate::store::New;

/// Draws an order.
pub(super) fn draw(app: &Arc<App>, warm: &mut Warm, job: &Arc<Job>, order: &Order) -> Result<(), Fault> {
    let low_memory = app.options.low_memory;
    let pipeline = warm.get(job, order)?;
    pipeline.check(&order.request).map_err(|error| Fault::refused(&error))?;
    job.drawing();
    let mut pace = Pace { begun: Instant::now(), n_pictures: order.request.count, first: 0, n_steps_done: 0 };
    let mut fault = None;
    for (first, request) in parts(&order.request, low_memory) {
        pace.first = first;
        let n_skipped = job.n_skipped();
        let stop = job.next_stop();
        let drawn = pipeline.draw_until(&request, &stop, &mut |event: Event<'_>| {
            hear_of(app, job, order, (&mut pace, &stop), &event, &mut fault)
        });
        if let Some(fault) = fault.take() {
            return Err(fault);
        }
        match drawn {
            Ok(drawing) => drawing.warnings.iter().for_each(|warning| job.warned(warning)),
            Err(_) if job.is_cancelled() || job.is_interrupted() => return Ok(()),
            Err(_) if job.n_skipped() > n_skipped => {}
            Err(Error::Stopped) => return Err(Fault::internal("the job was stopped")),
            Err(error) => return Err(Fault::internal(error.chain())),
        }
    }
    Ok(())
}

/// The requests that are drawn one by one, and which picture each begins with; with models that live for their stage, all at
/// once, so that each is loaded once.
fn parts(request: &Request, low_memory: bool) -> Vec<(usize, Request)> {
    if request.count == 1 || request.only.is_some() || low_memory {
        return vec![(0, request.clone())];
    }
    (0..request.count).map(|idx| (idx, Request { only: Some(idx), ..request.clone() })).collect()
}

/// How fast a job is.
struct Pace {
    begun: Instant,
    n_pictures: usize,
    /// The picture that this part begins with.
    first: usize,
    n_steps_done: usize,
}

impl Pace {
    fn steps(&mut self, step: &Step<'_>) -> Steps {
        self.n_steps_done += 1;
        let n_parts = if step.n_pictures == self.n_pictures { 1 } else { self.n_pictures };
        let part = step.done as f64 / step.total.max(1) as f64;
        let progress = (self.first as f64 + part) / n_parts as f64;
        let seconds = self.begun.elapsed().as_secs_f64();
        let is_known = self.n_steps_done > 1;
        Steps {
            picture: self.first + step.picture,
            n_pictures: self.n_pictures,
            step: step.step,
            n_steps: step.n_steps,
            progress,
            steps_per_s: is_known.then(|| self.n_steps_done as f64 / seconds.max(1e-9)),
            eta_s: (is_known && progress > 0.0).then(|| seconds / progress * (1.0 - progress)),
        }
    }
}

fn hear_of(
    app: &Arc<App>,
    job: &Job,
    order: &Order,
    (pace, stop): (&mut Pace, &Stop),
    event: &Event<'_>,
    fault: &mut Option<Fault>,
) -> ControlFlow<()> {
    hear(job, event);
    let result = match event {
        Event::Step(step) => told(job, order, pace, step),
        Event::Picture { idx, picture, .. } => kept(app, job, order, pace.first + idx, picture),
        _ => Ok(()),
    };
    let most = app.options.limits.job_time;
    let result = result.and_then(|()| match pace.begun.elapsed() > most {
        true => Err(Fault::timeout(format!(
            "the job took more than {} s, which is the most here; ask for fewer or smaller pictures",
            most.as_secs()
        ))),
        false => Ok(()),
    });
    match result {
        Err(found) => {
            *fault = Some(found);
            ControlFlow::Break(())
        }
        Ok(()) if stop.is_set() => ControlFlow::Break(()),
        Ok(()) => ControlFlow::Continue(()),
    }
}

fn told(job: &Job, order: &Order, pace: &mut Pace, step: &Step<'_>) -> Result<(), Fault> {
    let steps = pace.steps(step);
    job.step(steps);
    let is_due = order.preview_every.is_some_and(|every| step.step.is_multiple_of(every.max(1)) && !step.is_last());
    if is_due {
        // A preview that fails is no reason to lose the picture.
        let made = step.preview().and_then(|picture| {
            let mut png = Vec::new();
            picture.write_png(&mut png, &[])?;
            Ok(png)
        });
        match made {
            Ok(png) => job.previewed(steps.picture, png),
            Err(error) => job.warned(&format!("no preview: {}", error.chain())),
        }
    }
    Ok(())
}

fn kept(app: &Arc<App>, job: &Job, order: &Order, idx: usize, picture: &Picture) -> Result<(), Fault> {
    let mut bytes = Vec::new();
    let left = picture.write(&mut bytes, order.format).map_err(|error| Fault::internal(error.chain()))?;
    if !left.is_empty() {
        job.warned(&format!("{} did not fit into the picture's file", left.join(", ")));
    }
    let settings = serde_json::to_value(&picture.settings).map_err(|error| Fault::internal(error.to_string()))?;
    let size = [picture.image.width(), picture.image.height()];
    let kept = app.store.put(New { bytes, format: order.format, size, settings }).map_err(Fault::internal)?;
    app.metrics.pictures.inc();
    job.drawn(Drawn {
        id: kept.id,
        url: kept.url,
        idx,
        seed: picture.settings.seed,
        width: size[0],
        height: size[1],
        flagged: picture.flagged,
    });
    Ok(())
}
