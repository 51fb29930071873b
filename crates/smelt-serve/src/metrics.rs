//! What is counted, for Prometheus.

use std::sync::Mutex;
use std::sync::PoisonError;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};

use crate::fault::Fault;
use crate::job::Job;

/// What is counted.
pub(crate) struct Metrics {
    registry: Mutex<Registry>,
    pub(crate) jobs: Counter,
    pub(crate) pictures: Counter,
    failures: Family<Vec<(&'static str, &'static str)>, Counter>,
    seconds: Histogram,
    waiting: Gauge,
    resident: Gauge,
    kept: Gauge,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("smelt");
        let (jobs, pictures) = (Counter::default(), Counter::default());
        let failures = Family::<Vec<(&'static str, &'static str)>, Counter>::default();
        let seconds = Histogram::new(exponential_buckets(0.25, 2.0, 16));
        let (waiting, resident, kept) = (Gauge::default(), Gauge::default(), Gauge::default());
        registry.register("jobs", "Jobs that were taken", jobs.clone());
        registry.register("pictures", "Pictures that were finished", pictures.clone());
        registry.register("failures", "Jobs that failed, by what was wrong", failures.clone());
        registry.register_with_unit(
            "job_duration",
            "Time from a job's turn to its end",
            Unit::Seconds,
            seconds.clone(),
        );
        registry.register("jobs_waiting", "Jobs that wait", waiting.clone());
        registry.register_with_unit("resident_memory", "Memory of the process", Unit::Bytes, resident.clone());
        registry.register_with_unit("kept_pictures", "Pictures in memory", Unit::Bytes, kept.clone());
        Self { registry: Mutex::new(registry), jobs, pictures, failures, seconds, waiting, resident, kept }
    }

    /// A job is over.
    pub(crate) fn ended(&self, job: &Job, fault: Option<&Fault>) {
        if let Some(begun) = job.begun() {
            self.seconds.observe(begun.elapsed().as_secs_f64());
        }
        if let Some(fault) = fault {
            self.failures.get_or_create(&vec![("code", fault.code)]).inc();
        }
    }

    /// All of it, as Prometheus reads it.
    pub(crate) fn text(&self, n_waiting: usize, kept_bytes: usize) -> String {
        self.waiting.set(n_waiting as i64);
        self.resident.set(resident_bytes() as i64);
        self.kept.set(kept_bytes as i64);
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry.lock().unwrap_or_else(PoisonError::into_inner));
        text
    }
}

/// Memory of this process; 0 where the system does not say.
pub(crate) fn resident_bytes() -> u64 {
    let own = Pid::from_u32(std::process::id());
    let mut system = System::new();
    let about = ProcessRefreshKind::nothing().with_memory();
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[own]), true, about);
    system.process(own).map_or(0, sysinfo::Process::memory)
}
