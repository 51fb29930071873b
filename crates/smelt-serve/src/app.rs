//! What all handlers and the thread that draws have in common.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use smelt::prompt::PromptCounter;

use crate::catalogue::{Catalogue, Model};
use crate::error::ServeError;
use crate::fault::Fault;
use crate::job::{Job, Work};
use crate::metrics::Metrics;
use crate::options::ServeOptions;
use crate::queue::{Queue, Refusal};
use crate::store::Store;

/// Jobs that are over and that are still known.
const MOST_JOBS: usize = 2_000;

/// All of it.
pub(crate) struct App {
    pub(crate) options: ServeOptions,
    pub(crate) catalogue: Catalogue,
    pub(crate) queue: Queue,
    pub(crate) store: Store,
    pub(crate) metrics: Metrics,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    jobs: HashMap<String, Arc<Job>>,
    /// In the order in which they were taken.
    order: Vec<String>,
    /// The one that runs.
    current: Option<Arc<Job>>,
    /// Names of models in memory.
    loaded: Vec<String>,
    /// What programs call jobs by names of their own.
    names: HashMap<String, String>,
    /// What counts tokens, by model.
    counters: HashMap<String, Arc<PromptCounter>>,
}

impl App {
    pub(crate) fn new(options: ServeOptions) -> Result<Self, ServeError> {
        let catalogue = Catalogue::new(&options)?;
        let limits = &options.limits;
        let store = Store::new(options.keep.clone(), limits.kept_bytes, limits.kept_time)?;
        let queue = Queue::new(limits.queue);
        Ok(Self { catalogue, queue, store, metrics: Metrics::new(), inner: Mutex::default(), options })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A job that is known from now on.
    pub(crate) fn begin_with(&self, client: String, work: Work) -> Arc<Job> {
        let job = Job::new(client, work);
        let mut inner = self.lock();
        inner.jobs.insert(job.id.clone(), job.clone());
        inner.order.push(job.id.clone());
        self.forget(&mut inner);
        job
    }

    /// Takes a job, which waits for its turn from now on.
    pub(crate) fn submit(&self, client: String, work: Work) -> Result<Arc<Job>, Fault> {
        let job = self.begin_with(client, work);
        match self.queue.push(job.clone()) {
            Ok(()) => {
                self.metrics.jobs.inc();
                Ok(job)
            }
            Err(refusal) => {
                let mut inner = self.lock();
                inner.jobs.remove(&job.id);
                inner.order.retain(|id| *id != job.id);
                Err(match refusal {
                    Refusal::Closed => Fault::ending(),
                    Refusal::Full => Fault::busy(
                        format!("{} jobs wait already, which is the most; try again later", self.options.limits.queue),
                        self.retry_after_s(&inner),
                    ),
                })
            }
        }
    }

    /// When a place may be free: when the job that runs is over.
    fn retry_after_s(&self, inner: &Inner) -> u64 {
        let eta = inner.current.as_ref().and_then(|job| job.status().steps.eta_s);
        eta.map_or(5, |seconds| (seconds.ceil() as u64).clamp(1, 600))
    }

    /// Drops jobs that are over for long, or of which there are too many.
    fn forget(&self, inner: &mut Inner) {
        let most_time = self.options.limits.kept_time;
        let surplus = inner.order.len().saturating_sub(MOST_JOBS);
        let mut n_dropped = 0;
        let Inner { jobs, order, names, .. } = inner;
        order.retain(|id| {
            let is_old = jobs.get(id).and_then(|job| job.ended()).is_some_and(|ended| ended.elapsed() > most_time);
            let is_over = jobs.get(id).is_none_or(|job| job.ended().is_some());
            let goes = is_old || (is_over && n_dropped < surplus);
            if goes {
                n_dropped += 1;
                jobs.remove(id);
            }
            !goes
        });
        names.retain(|_, id| jobs.contains_key(id));
    }

    /// A job that is known.
    pub(crate) fn job(&self, id: &str) -> Option<Arc<Job>> {
        self.lock().jobs.get(id).cloned()
    }

    /// All jobs that are known, the newest first.
    pub(crate) fn jobs(&self) -> Vec<Arc<Job>> {
        let inner = self.lock();
        inner.order.iter().rev().filter_map(|id| inner.jobs.get(id).cloned()).collect()
    }

    /// Names a job as its client does.
    pub(crate) fn name(&self, name: &str, job: &Job) {
        self.lock().names.insert(name.to_owned(), job.id.clone());
    }

    /// The job that a client named so.
    pub(crate) fn named(&self, name: &str) -> Option<Arc<Job>> {
        let inner = self.lock();
        inner.names.get(name).and_then(|id| inner.jobs.get(id)).cloned()
    }

    /// Names that clients gave to jobs that wait.
    pub(crate) fn names_of(&self, jobs: &[Arc<Job>]) -> Vec<String> {
        let inner = self.lock();
        let name = |job: &Arc<Job>| inner.names.iter().find(|(_, id)| **id == job.id).map(|(name, _)| name.clone());
        jobs.iter().map(|job| name(job).unwrap_or_else(|| job.id.clone())).collect()
    }

    /// Cancels a job, whether it waits or runs.
    pub(crate) fn cancel(&self, job: &Job) {
        job.cancel();
        if self.queue.remove(&job.id) {
            job.end(Ok(()));
        }
    }

    /// The job that runs.
    pub(crate) fn current(&self) -> Option<Arc<Job>> {
        self.lock().current.clone()
    }

    /// A job's turn has come.
    pub(crate) fn begin(&self, job: &Arc<Job>) {
        job.loading();
        self.lock().current = Some(job.clone());
    }

    /// Nothing runs any more.
    pub(crate) fn finish(&self) {
        self.lock().current = None;
    }

    /// These models are in memory.
    pub(crate) fn loaded(&self, names: Vec<String>) {
        self.lock().loaded = names;
    }

    /// Names of models in memory.
    pub(crate) fn loaded_names(&self) -> Vec<String> {
        self.lock().loaded.clone()
    }

    /// What counts a model's tokens; its tokenizer is read once.
    pub(crate) fn counter(&self, model: &Model) -> Result<Arc<PromptCounter>, smelt::Error> {
        if let Some(known) = self.lock().counters.get(&model.name) {
            return Ok(known.clone());
        }
        let counter = Arc::new(smelt::open(model.source.clone())?.prompt_counter()?);
        self.lock().counters.insert(model.name.clone(), counter.clone());
        Ok(counter)
    }
}
