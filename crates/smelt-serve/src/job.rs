//! A job: what was asked for, where it stands, and who is told of it.
//!
//! One thread draws and changes a job, any number look on. Whoever comes late gets the state as it is
//! ([`Job::follow`]) and what happens from then on, without a gap.

mod event;
mod follow;
mod status;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use smelt::image::RgbImage;
use smelt::metadata::Found;
use smelt::{Enlargement, Source, Stop};
use tokio::sync::{broadcast, watch};

use crate::catalogue::Model;
use crate::clock::now;
use crate::fault::Fault;
use crate::order::Order;
pub(crate) use event::{JobEvent, data_uri};
pub(crate) use follow::follow;
pub(crate) use status::{Drawn, JobFault, Phase, Preview, Status, Steps};

/// Events that a slow listener may lag behind; it goes on with the newest then.
const BACKLOG: usize = 256;

/// What a job is for.
#[derive(Debug)]
pub(crate) enum Work {
    /// Pictures.
    Draw(Box<Order>),
    /// A model in memory, ready to draw.
    Load(Arc<Model>),
    /// No model in memory, or not this one.
    Unload(Option<String>),
    /// A model of the Hub.
    Fetch(Source),
    /// A picture made larger.
    Upscale(Box<Upscale>),
    /// Nothing; for tests.
    #[cfg(test)]
    Nothing,
    /// A fault in the program; for tests.
    #[cfg(test)]
    Broken,
}

/// A picture to be made larger.
#[derive(Debug)]
pub(crate) struct Upscale {
    pub(crate) picture: RgbImage,
    /// What it says of how it was made.
    pub(crate) found: Option<Found>,
    /// By what it is made larger.
    pub(crate) name: String,
    /// The network, or a filter where there is none.
    pub(crate) by: UpscaleBy,
    pub(crate) enlargement: Enlargement,
}

/// By what a picture is made larger.
#[derive(Debug)]
pub(crate) enum UpscaleBy {
    Network(Source),
    /// To this size.
    Filter(smelt::image::Filter, smelt::image::Size),
}

/// A job.
pub(crate) struct Job {
    pub(crate) id: String,
    /// Whose turn it takes.
    pub(crate) client: String,
    /// Until it is over: pictures of requests are large.
    work: Mutex<Option<Arc<Work>>>,
    inner: Mutex<Inner>,
    over: watch::Sender<bool>,
}

struct Inner {
    status: Status,
    /// Until it is over: what waits to be heard takes room.
    events: Option<broadcast::Sender<Arc<JobEvent>>>,
    fault: Option<Fault>,
    preview: Option<Preview>,
    /// Stops the picture that is drawn.
    stop: Stop,
    is_cancelled: bool,
    is_interrupted: bool,
    n_skipped: usize,
    begun: Option<Instant>,
    ended: Option<Instant>,
}

impl Job {
    pub(crate) fn new(client: String, work: Work) -> Arc<Self> {
        let (model, prompt) = match &work {
            Work::Draw(order) => (Some(order.model.name.clone()), Some(order.request.prompt.clone())),
            Work::Load(model) => (Some(model.name.clone()), None),
            Work::Fetch(source) => (Some(source.to_string()), None),
            _ => (None, None),
        };
        let id = uuid::Uuid::new_v4().simple().to_string();
        let status = Status {
            id: id.clone(),
            phase: Phase::Queued,
            position: None,
            model,
            prompt,
            created: now(),
            started: None,
            finished: None,
            steps: Steps::default(),
            pictures: Vec::new(),
            warnings: Vec::new(),
            error: None,
        };
        let inner = Inner {
            status,
            events: Some(broadcast::Sender::new(BACKLOG)),
            fault: None,
            preview: None,
            stop: Stop::new(),
            is_cancelled: false,
            is_interrupted: false,
            n_skipped: 0,
            begun: None,
            ended: None,
        };
        Arc::new(Self {
            id,
            client,
            work: Mutex::new(Some(Arc::new(work))),
            inner: Mutex::new(inner),
            over: watch::Sender::new(false),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it is for; nothing once it is over.
    pub(crate) fn work(&self) -> Option<Arc<Work>> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// As it stands.
    pub(crate) fn status(&self) -> Status {
        self.lock().status.clone()
    }

    /// The latest preview.
    pub(crate) fn preview(&self) -> Option<Preview> {
        self.lock().preview.clone()
    }

    /// Why it failed.
    pub(crate) fn fault(&self) -> Option<Fault> {
        self.lock().fault.clone()
    }

    /// Since when it draws.
    pub(crate) fn begun(&self) -> Option<Instant> {
        self.lock().begun
    }

    /// Since when it is over.
    pub(crate) fn ended(&self) -> Option<Instant> {
        self.lock().ended
    }

    /// As it stands, and what happens from then on.
    pub(crate) fn follow(&self) -> (Status, Option<Preview>, Option<broadcast::Receiver<Arc<JobEvent>>>) {
        let inner = self.lock();
        (inner.status.clone(), inner.preview.clone(), inner.events.as_ref().map(broadcast::Sender::subscribe))
    }

    /// Waits until it is over.
    pub(crate) async fn wait(&self) {
        let mut over = self.over.subscribe();
        // The sender lives as long as the job.
        let _ = over.wait_for(|over| *over).await;
    }

    /// Asks it to end; finished pictures stay.
    pub(crate) fn cancel(&self) {
        let mut inner = self.lock();
        inner.is_cancelled = true;
        inner.stop.set();
    }

    /// Asks it to end with what is finished, as if no more had been asked for.
    pub(crate) fn interrupt(&self) {
        let mut inner = self.lock();
        inner.is_interrupted = true;
        inner.stop.set();
    }

    /// Ends the picture that is drawn, and goes on with the next.
    pub(crate) fn skip(&self) {
        let mut inner = self.lock();
        inner.n_skipped += 1;
        inner.stop.set();
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.lock().is_cancelled
    }

    pub(crate) fn is_interrupted(&self) -> bool {
        self.lock().is_interrupted
    }

    /// How often a picture was to be left out.
    pub(crate) fn n_skipped(&self) -> usize {
        self.lock().n_skipped
    }

    /// What stops the next picture: anew, where the last one was only skipped.
    pub(crate) fn next_stop(&self) -> Stop {
        let mut inner = self.lock();
        if !inner.is_cancelled && !inner.is_interrupted {
            inner.stop = Stop::new();
        }
        inner.stop.clone()
    }

    /// So many jobs are before it.
    pub(crate) fn queued(&self, position: usize) {
        let mut inner = self.lock();
        if inner.status.position != Some(position) && inner.status.phase == Phase::Queued {
            inner.status.position = Some(position);
            inner.tell(JobEvent::Queued { position });
        }
    }

    /// Its turn has come, and its model is loaded.
    pub(crate) fn loading(&self) {
        let mut inner = self.lock();
        inner.status.position = None;
        inner.status.started.get_or_insert_with(now);
        inner.status.phase = Phase::Loading;
        let model = inner.status.model.clone();
        inner.tell(JobEvent::Loading { model });
    }

    /// It draws now.
    pub(crate) fn drawing(&self) {
        let mut inner = self.lock();
        inner.status.phase = Phase::Drawing;
        inner.begun.get_or_insert_with(Instant::now);
        inner.tell(JobEvent::Drawing);
    }

    pub(crate) fn step(&self, steps: Steps) {
        let mut inner = self.lock();
        inner.status.steps = steps;
        inner.tell(JobEvent::Step(steps));
    }

    pub(crate) fn previewed(&self, picture: usize, png: Vec<u8>) {
        let mut inner = self.lock();
        let preview = Preview { n: inner.preview.as_ref().map_or(1, |last| last.n + 1), picture, png: Arc::new(png) };
        inner.preview = Some(preview.clone());
        inner.tell(JobEvent::of_preview(&preview));
    }

    pub(crate) fn drawn(&self, picture: Drawn) {
        let mut inner = self.lock();
        inner.status.pictures.push(picture.clone());
        inner.tell(JobEvent::Picture(picture));
    }

    pub(crate) fn warned(&self, message: &str) {
        let mut inner = self.lock();
        if !inner.status.warnings.iter().any(|known| known == message) {
            inner.status.warnings.push(message.to_owned());
            inner.tell(JobEvent::Warning { message: message.to_owned() });
        }
    }

    /// It is over.
    pub(crate) fn end(&self, outcome: Result<(), Fault>) {
        let mut inner = self.lock();
        if inner.status.phase.is_over() {
            return;
        }
        inner.status.position = None;
        inner.status.finished = Some(now());
        inner.ended = Some(Instant::now());
        // What somebody cancelled did not fail.
        let event = match outcome {
            _ if inner.is_cancelled => {
                inner.status.phase = Phase::Cancelled;
                JobEvent::Cancelled
            }
            Ok(()) => {
                inner.status.phase = Phase::Done;
                inner.status.steps.progress = 1.0;
                let status = &inner.status;
                JobEvent::Done { seconds: now() - status.started.unwrap_or(status.created) }
            }
            Err(fault) => {
                inner.status.phase = Phase::Failed;
                let error = JobFault { code: fault.code.to_owned(), message: fault.message.clone() };
                inner.status.error = Some(error.clone());
                inner.fault = Some(fault);
                JobEvent::Error(error)
            }
        };
        inner.preview = None;
        inner.tell(event);
        inner.events = None;
        drop(inner);
        *self.work.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.over.send_replace(true);
    }
}

impl Inner {
    fn tell(&self, event: JobEvent) {
        if let Some(events) = &self.events {
            // Nobody may look on.
            let _ = events.send(Arc::new(event));
        }
    }
}
