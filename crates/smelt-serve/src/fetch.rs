//! A model of the Hub, fetched into its cache while others draw.

use std::ops::ControlFlow;

use smelt::{Download, Error, Event, Source};

use crate::app::App;
use crate::fault::Fault;
use crate::job::{Job, Steps};

/// Fetches it, and looks for models again.
pub(crate) fn fetch(app: &App, job: &Job, source: &Source) -> Result<(), Fault> {
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
