//! The one thread that runs models: it takes jobs from the queue, one after the other, and outlives any that breaks.

mod draw;
mod upscale;
mod warm;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::app::App;
use crate::fault::Fault;
use crate::job::{Job, Work};
use warm::Warm;

/// Works until the queue is closed.
pub(crate) fn run(app: &Arc<App>) {
    let mut warm = Warm::new(app.clone());
    while let Some(job) = app.queue.pop() {
        if job.is_cancelled() {
            job.end(Ok(()));
            continue;
        }
        app.begin(&job);
        // A model that panicked is not used again.
        let outcome = catch_unwind(AssertUnwindSafe(|| work(app, &mut warm, &job))).unwrap_or_else(|_| {
            warm.clear();
            Err(Fault::internal(
                "the job broke off by a fault in the program; its model is loaded anew for the next one",
            ))
        });
        app.metrics.ended(&job, outcome.as_ref().err());
        match &outcome {
            Ok(()) => tracing::info!(job = %job.id, "done"),
            Err(fault) => tracing::warn!(job = %job.id, code = fault.code, "failed: {}", fault.message),
        }
        job.end(outcome);
        app.finish();
    }
}

fn work(app: &Arc<App>, warm: &mut Warm, job: &Arc<Job>) -> Result<(), Fault> {
    match &job.work {
        Work::Draw(order) => draw::draw(app, warm, job, order),
        Work::Load(model) => warm.load(job, model),
        Work::Unload(name) => {
            warm.drop_model(name.as_deref());
            Ok(())
        }
        Work::Upscale(upscale) => upscale::upscale(app, job, upscale),
        #[cfg(test)]
        Work::Nothing => Ok(()),
    }
}
