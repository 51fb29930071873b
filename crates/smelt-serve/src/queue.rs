//! Jobs that wait, bounded, and fair: clients take turns, so that one who sends a hundred jobs delays another by one.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::job::Job;

/// Jobs that wait.
pub(crate) struct Queue {
    inner: Mutex<Inner>,
    changed: Condvar,
    limit: usize,
}

#[derive(Default)]
struct Inner {
    /// Who waits, in the order of turns, with what they wait for.
    clients: VecDeque<(String, VecDeque<Arc<Job>>)>,
    n_jobs: usize,
    is_closed: bool,
}

/// Why a job cannot wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    Full,
    Closed,
}

impl Queue {
    pub(crate) fn new(limit: usize) -> Self {
        Self { inner: Mutex::default(), changed: Condvar::new(), limit }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a job behind those of the same client.
    pub(crate) fn push(&self, job: Arc<Job>) -> Result<(), Refusal> {
        let mut inner = self.lock();
        if inner.is_closed {
            return Err(Refusal::Closed);
        }
        if inner.n_jobs >= self.limit {
            return Err(Refusal::Full);
        }
        inner.n_jobs += 1;
        match inner.clients.iter_mut().find(|(client, _)| *client == job.client) {
            Some((_, jobs)) => jobs.push_back(job),
            None => inner.clients.push_back((job.client.clone(), VecDeque::from([job]))),
        }
        Self::tell(&inner);
        self.changed.notify_one();
        Ok(())
    }

    /// Waits for the next job; none once the queue is closed.
    pub(crate) fn pop(&self) -> Option<Arc<Job>> {
        let mut inner = self.lock();
        loop {
            if inner.is_closed {
                return None;
            }
            if let Some((client, mut jobs)) = inner.clients.pop_front() {
                let job = jobs.pop_front();
                if !jobs.is_empty() {
                    inner.clients.push_back((client, jobs));
                }
                inner.n_jobs -= 1;
                Self::tell(&inner);
                return job;
            }
            inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes a job out, if it still waits.
    pub(crate) fn remove(&self, id: &str) -> bool {
        let mut inner = self.lock();
        let before = inner.n_jobs;
        for (_, jobs) in &mut inner.clients {
            jobs.retain(|job| job.id != id);
        }
        inner.clients.retain(|(_, jobs)| !jobs.is_empty());
        inner.n_jobs = inner.clients.iter().map(|(_, jobs)| jobs.len()).sum();
        Self::tell(&inner);
        inner.n_jobs < before
    }

    /// Takes nothing more, and gives out nothing more; what waited is handed back.
    pub(crate) fn close(&self) -> Vec<Arc<Job>> {
        let mut inner = self.lock();
        inner.is_closed = true;
        inner.n_jobs = 0;
        self.changed.notify_all();
        inner.clients.drain(..).flat_map(|(_, jobs)| jobs).collect()
    }

    /// How many jobs wait.
    pub(crate) fn len(&self) -> usize {
        self.lock().n_jobs
    }

    /// The jobs that wait, in the order in which they will be drawn.
    pub(crate) fn jobs(&self) -> Vec<Arc<Job>> {
        Self::order(&self.lock()).cloned().collect()
    }

    /// Turn by turn.
    fn order(inner: &Inner) -> impl Iterator<Item = &Arc<Job>> {
        let n_rounds = inner.clients.iter().map(|(_, jobs)| jobs.len()).max().unwrap_or(0);
        (0..n_rounds).flat_map(|round| inner.clients.iter().filter_map(move |(_, jobs)| jobs.get(round)))
    }

    /// Tells every job that waits how many are before it.
    fn tell(inner: &Inner) {
        for (position, job) in Self::order(inner).enumerate() {
            job.queued(position);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Work;

    fn job(client: &str) -> Arc<Job> {
        Job::new(client.to_owned(), Work::Nothing)
    }

    #[test]
    fn clients_take_turns() {
        let queue = Queue::new(200);
        (0..100).for_each(|_| queue.push(job("greedy")).unwrap());
        let first = queue.pop().unwrap();
        queue.push(job("modest")).unwrap();
        let next: Vec<String> = (0..3).map(|_| queue.pop().unwrap().client.clone()).collect();
        assert_eq!(
            (first.client.as_str(), next),
            ("greedy", ["greedy", "modest", "greedy"].map(str::to_owned).to_vec())
        );
        assert_eq!(queue.len(), 97);
    }

    #[test]
    fn positions_count_what_will_be_drawn_before() {
        let queue = Queue::new(10);
        let all = ["a", "a", "a", "b"].map(job);
        all.iter().for_each(|job| queue.push(job.clone()).unwrap());
        let positions = || all.iter().map(|job| job.status().position).collect::<Vec<_>>();
        assert_eq!(positions(), [Some(0), Some(2), Some(3), Some(1)]);
        assert!(queue.remove(&all[0].id) && !queue.remove(&all[0].id));
        assert_eq!(positions()[1..], [Some(0), Some(2), Some(1)]);
        let order: Vec<String> = queue.jobs().iter().map(|job| job.id.clone()).collect();
        assert_eq!(order, [1, 3, 2].map(|i: usize| all[i].id.clone()));
    }

    #[test]
    fn what_is_full_or_closed_takes_nothing() {
        let queue = Queue::new(1);
        queue.push(job("a")).unwrap();
        assert_eq!(queue.push(job("b")), Err(Refusal::Full));
        assert_eq!(queue.close().len(), 1);
        assert_eq!(queue.push(job("b")), Err(Refusal::Closed));
        assert!(queue.pop().is_none());
    }
}
