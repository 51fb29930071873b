//! A picture made larger, by a network or by a filter.

use std::ops::ControlFlow;
use std::sync::Arc;

use smelt::image::{PictureFormat, RgbImage};
use smelt::metadata::of_larger;
use smelt::{Error, Event, Upscaler, UpscalerOptions};

use crate::app::App;
use crate::fault::Fault;
use crate::format::written;
use crate::job::{Drawn, Job, Steps, Upscale, UpscaleBy};
use crate::store::New;

pub(super) fn upscale(app: &Arc<App>, job: &Job, asked: &Upscale) -> Result<(), Fault> {
    job.loading();
    let larger = match &asked.by {
        UpscaleBy::Filter(filter, size) => asked.picture.resize(*size, *filter),
        UpscaleBy::Network(source) => by_network(app, job, asked, source)?,
    };
    let factor = larger.width() as f64 / asked.picture.width().max(1) as f64;
    let texts = asked.found.as_ref().map_or_else(Vec::new, |found| of_larger(found, factor, &asked.name));
    let bytes = written(&larger, PictureFormat::Png, &texts)?;
    let size = [larger.width(), larger.height()];
    let own = texts.iter().find(|text| text.keyword == "smelt");
    let settings = own.and_then(|own| serde_json::from_str(&own.text).ok()).unwrap_or_default();
    let new = New { bytes, format: PictureFormat::Png, size, settings };
    let kept = app.store.put(new).map_err(Fault::internal)?;
    job.drawn(Drawn { id: kept.id, url: kept.url, idx: 0, seed: 0, width: size[0], height: size[1], flagged: None });
    Ok(())
}

fn by_network(app: &Arc<App>, job: &Job, asked: &Upscale, source: &smelt::Source) -> Result<RgbImage, Fault> {
    let options = UpscalerOptions { engine: app.options.engine.clone(), ..UpscalerOptions::default() };
    let mut upscaler = Upscaler::open(source.clone(), &options).map_err(|error| Fault::refused(&error))?;
    upscaler.size_of(asked.picture.size(), asked.enlargement).map_err(|error| Fault::refused(&error))?;
    job.drawing();
    let stop = job.next_stop();
    let watch = &mut |event: Event<'_>| {
        if let Event::Progress(at) = event {
            let progress = at.done as f64 / at.total.max(1) as f64;
            job.step(Steps {
                n_pictures: 1,
                step: at.done as usize,
                n_steps: at.total as usize,
                progress,
                ..Steps::default()
            });
        }
        ControlFlow::Continue(())
    };
    match upscaler.upscale(&asked.picture, asked.enlargement, &stop, watch) {
        Ok(larger) => Ok(larger),
        Err(Error::Stopped) => Err(Fault::internal("the job was stopped")),
        Err(error) => Err(Fault::internal(error.chain())),
    }
}
