//! A model of the Hub, fetched into its cache while others draw.

use std::ops::ControlFlow;
use std::sync::Arc;

use smelt::{Download, Error, Event, Source};

use crate::app::App;
use crate::fault::Fault;
use crate::job::{Job, Steps, Work};

/// Fetches a model beside the jobs that draw, one at a time.
pub(crate) fn begin(app: &Arc<App>, client: String, source: Source) -> Result<Arc<Job>, Fault> {
    if !app.options.allow_downloads {
        return Err(Fault::forbidden("this server fetches no models; start it with --allow-downloads if it shall"));
    }
    let is_fetched = |job: &Arc<Job>| job.work().is_some_and(|work| matches!(*work, Work::Fetch(_)));
    if app.jobs().iter().any(is_fetched) {
        return Err(Fault::conflict("a model is fetched already; ask again when it is there"));
    }
    let job = app.begin_with(client, Work::Fetch(source.clone()));
    let (app, fetched) = (app.clone(), job.clone());
    std::thread::spawn(move || fetched.end(fetch(&app, &fetched, &source)));
    Ok(job)
}

/// Fetches it, and looks for models again.
fn fetch(app: &App, job: &Job, source: &Source) -> Result<(), Fault> {
    job.loading();
    let stop = job.next_stop();
    let watch = &mut |event: Event<'_>| {
        match event {
            Event::Warning(message) => job.warned(message),
            Event::Progress(at) => {
                let progress = at.done as f64 / at.total.max(1) as f64;
                job.step(Steps { step: at.done as usize, n_steps: at.total as usize, progress, ..Steps::default() });
            }
            _ => {}
        }
        if stop.is_set() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    match Download::default().run(source, watch) {
        Ok(_) => {
            app.catalogue.refresh();
            Ok(())
        }
        Err(Error::Stopped) => Ok(()),
        Err(error) => Err(Fault::refused(&error)),
    }
}
