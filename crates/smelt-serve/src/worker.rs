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
    // A job that waited is not over.
    let Some(asked) = job.work() else { return Ok(()) };
    match &*asked {
        Work::Draw(order) => draw::draw(app, warm, job, order),
        Work::Load(model) => warm.load(job, model),
        Work::Unload(name) => {
            warm.drop_model(name.as_deref());
            Ok(())
        }
        // It takes no turn: it runs beside those that do.
        Work::Fetch(_) => Err(Fault::internal("a download waits for its turn")),
        Work::Upscale(upscale) => upscale::upscale(app, job, upscale),
        #[cfg(test)]
        Work::Nothing => Ok(()),
        #[cfg(test)]
        Work::Broken => unreachable!("a fault in the program"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Phase;
    use crate::options::ServeOptions;

    #[test]
    fn a_job_that_breaks_does_not_take_the_server_along() {
        let cache = tempfile::tempdir().unwrap();
        let options = ServeOptions { cache: Some(cache.path().to_owned()), ..ServeOptions::default() };
        let app = Arc::new(App::new(options).unwrap());
        let jobs = [Work::Nothing, Work::Broken, Work::Nothing].map(|work| app.submit("a".into(), work).unwrap());
        let worker = {
            let app = app.clone();
            std::thread::spawn(move || run(&app))
        };
        while !jobs.iter().all(|job| job.status().phase.is_over()) {
            std::thread::yield_now();
        }
        app.queue.close();
        worker.join().unwrap();
        assert_eq!(jobs.each_ref().map(|job| job.status().phase), [Phase::Done, Phase::Failed, Phase::Done]);
        assert_eq!(jobs[1].fault().unwrap().status, 500);
        assert!(app.current().is_none());
    }
}
