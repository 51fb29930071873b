//! The compression of a whole program: weights are read, compressed and stored one after another, several at a time.
//!
//! Workers take weights in the order of the plan and are never more than a few ahead of what is stored, so memory is
//! bounded by a few weights. Results are stored in that order, whatever the number of threads.

use crate::{
    Calibrated, Calibration, CompressError, Loss, Plan, Scheme, Store,
    decompress::Chains,
    lower::{Lowered, lower},
    making::Making,
    rewrite::{Replacement, rewrite},
    select::{Job, Source, Weight},
};
use host_tensor::{Bytes, DType, HostTensor};
use mil::{Opset, Program};
use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    ops::ControlFlow,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// How far a compression has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Elements of the weights that are done.
    pub done: u64,
    /// Elements of all weights that are compressed.
    pub total: u64,
}

/// What became of each weight.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Those that were compressed, in the order of the program.
    pub compressed: Vec<Compressed>,
    /// Those that were left.
    pub kept: Vec<Kept>,
}

/// A weight that was compressed.
#[derive(Debug, Clone)]
pub struct Compressed {
    /// Name.
    pub name: String,
    /// Types of the operations that read it.
    pub readers: Vec<String>,
    /// Shape.
    pub shape: Vec<usize>,
    /// What it is now, in words, for example `palette of 64`.
    pub encoding: String,
    /// Bytes before.
    pub bytes_before: u64,
    /// Bytes after, of all tensors that it is decoded from.
    pub bytes_after: u64,
    /// What was lost, where it was measured.
    pub loss: Option<Loss>,
    /// Whether what it is multiplied by decided its codes.
    pub is_calibrated: bool,
}

impl Compressed {
    /// Bits per element, palettes and scales included.
    #[must_use]
    pub fn bits(&self) -> f64 {
        self.bytes_after as f64 * 8.0 / self.shape.iter().product::<usize>() as f64
    }
}

/// A weight that was left as it is.
#[derive(Debug, Clone)]
pub struct Kept {
    /// Name.
    pub name: String,
    /// Types of the operations that read it.
    pub readers: Vec<String>,
    /// Shape.
    pub shape: Vec<usize>,
    /// Bytes.
    pub bytes: u64,
    /// Why.
    pub reason: String,
}

/// What went wrong: here, or in the store.
#[derive(Debug)]
pub enum RunError<E> {
    /// In the compression.
    Compress(CompressError),
    /// In the store.
    Store(E),
}

impl<E: std::fmt::Display> std::fmt::Display for RunError<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Compress(e) => e.fmt(f),
            Self::Store(e) => e.fmt(f),
        }
    }
}

impl<E: std::error::Error> std::error::Error for RunError<E> {}

/// Compresses a program by a plan that was made for it; `store` keeps the new tensors.
///
/// With `measure` the loss of every weight is known afterwards; for palettes it always is. `progress` is called after
/// each weight and several times a second, and may break off.
///
/// # Errors
/// [`CompressError::Stopped`] when `progress` breaks off, [`CompressError::Decode`] for weights that are compressed
/// already in a way that cannot be decoded, and what the store says.
pub fn compress<S: Store>(
    program: &Program,
    plan: &Plan,
    store: &mut S,
    measure: bool,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<(Program, Outcome), RunError<S::Error>> {
    run(program, plan, store, Making { measure, calibration: None }, progress)
}

/// Compresses a program as [`compress`] does, with codes chosen by what weights are multiplied by.
///
/// Weights are compressed one after another, each by all threads, because statistics of several would need much memory.
///
/// # Errors
/// As [`compress`], and what `calibration` says.
pub fn compress_with<S: Store>(
    program: &Program,
    plan: &Plan,
    store: &mut S,
    (measure, calibration): (bool, &dyn Calibration),
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<(Program, Outcome), RunError<S::Error>> {
    run(program, plan, store, Making { measure, calibration: Some(calibration) }, progress)
}

fn run<S: Store>(
    program: &Program,
    plan: &Plan,
    store: &mut S,
    making: Making<'_>,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<(Program, Outcome), RunError<S::Error>> {
    let mut raised = program.clone();
    plan.raise_opsets(&mut raised);
    let mut outcome = Outcome::default();
    outcome.kept.extend(plan.kept.iter().map(|(w, reason)| kept(w, reason.clone())));
    let mut made: Vec<(&Job, Lowered, Vec<usize>)> = Vec::new();
    let mut shelf = Shelf { store, n: 0, small: HashMap::new() };
    let chains = chains_of(program);
    let opset_of = |job: &Job| job.weight.places.first().and_then(|(f, _)| raised.functions.get(f)).map(|f| f.opset);
    let work = |job: &Job| one(job, &chains, opset_of(job).unwrap_or(Opset::CoreML6), making);
    let total = plan.n_elements();
    let mut done = 0;
    in_order(&plan.jobs, making.n_workers(), work, |event| {
        if let Some((job, result)) = event {
            done += job.weight.len() as u64;
            match result.map_err(RunError::Compress)? {
                Made::Kept(reason) => outcome.kept.push(kept(&job.weight, reason)),
                Made::Compressed(mut lowered, compressed) => {
                    let tensors = std::mem::take(&mut lowered.tensors).into_iter();
                    let places = tensors.map(|t| shelf.put(t)).collect::<Result<_, _>>().map_err(RunError::Store)?;
                    made.push((job, lowered, places));
                    outcome.compressed.push(*compressed);
                }
            }
        }
        match progress(Progress { done, total }) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(RunError::Compress(CompressError::Stopped)),
        }
    })?;
    let tensors = shelf.store.take().map_err(RunError::Store)?;
    let mut replacements = Vec::with_capacity(made.len());
    for (job, lowered, places) in made {
        let tensors = places.into_iter().filter_map(|i| tensors.get(i).cloned()).collect();
        replacements.push(Replacement { weight: &job.weight, lowered, tensors });
    }
    rewrite(&mut raised, &replacements).map_err(RunError::Compress)?;
    Ok((raised, outcome))
}

/// The store, in which small tensors that are equal lie once: zero points, above all.
struct Shelf<'s, S> {
    store: &'s mut S,
    /// Number of stored tensors.
    n: usize,
    small: HashMap<(DType, Vec<usize>, Bytes), usize>,
}

/// Tensors of up to this many bytes are compared with others.
const SMALL_BYTES: usize = 1 << 12;

impl<S: Store> Shelf<'_, S> {
    /// Where the tensor lies.
    fn put(&mut self, tensor: HostTensor) -> Result<usize, S::Error> {
        let is_small = tensor.bytes().len() <= SMALL_BYTES;
        if is_small {
            let key = (tensor.dtype(), tensor.shape().to_vec(), tensor.bytes().clone());
            match self.small.entry(key) {
                Entry::Occupied(known) => return Ok(*known.get()),
                Entry::Vacant(new) => drop(new.insert(self.n)),
            }
        }
        self.store.put(tensor)?;
        self.n += 1;
        Ok(self.n - 1)
    }
}

enum Made {
    Compressed(Lowered, Box<Compressed>),
    Kept(String),
}

fn kept(weight: &Weight, reason: String) -> Kept {
    let (name, shape, bytes) = (weight.name.clone(), weight.shape.clone(), weight.stored_bytes);
    Kept { name, readers: weight.readers(), shape, bytes, reason }
}

/// What decodes the weights of each function.
pub(crate) fn chains_of(program: &Program) -> BTreeMap<&str, Chains<'_>> {
    program.functions.iter().map(|(name, function)| (name.as_str(), Chains::new(function))).collect()
}

/// A weight's values.
pub(crate) fn read(weight: &Weight, chains: &BTreeMap<&str, Chains<'_>>) -> Result<HostTensor, CompressError> {
    match &weight.source {
        Source::Const(c) => Ok(c.read()),
        Source::Chain { place: (function, value), .. } => {
            let decode = |reason| CompressError::Decode { weight: weight.name.clone(), reason };
            let chains = chains.get(function.as_str()).ok_or_else(|| decode("its function is gone".to_owned()))?;
            chains.evaluate(*value).map_err(decode)
        }
    }
}

fn one(
    job: &Job,
    chains: &BTreeMap<&str, Chains<'_>>,
    opset: Opset,
    making: Making<'_>,
) -> Result<Made, CompressError> {
    let weight = &job.weight;
    let values = read(weight, chains)?;
    let Calibrated { encoded, loss, is_calibrated } = match making.encode(job, &values)? {
        Ok(result) => result,
        Err(reason) => return Ok(Made::Kept(reason)),
    };
    let lowered = lower(&encoded, opset);
    let compressed = Compressed {
        name: weight.name.clone(),
        readers: weight.readers(),
        shape: weight.shape.clone(),
        encoding: in_words(&job.scheme, &encoded) + if is_calibrated { ", calibrated" } else { "" },
        bytes_before: weight.stored_bytes,
        bytes_after: lowered.tensors.iter().map(|t| t.bytes().len() as u64).sum(),
        loss,
        is_calibrated,
    };
    Ok(Made::Compressed(lowered, Box::new(compressed)))
}

fn in_words(scheme: &Scheme, encoded: &crate::Encoded) -> String {
    use crate::{Encoded, NonZero};
    let palette = |lut: &crate::Lut| format!("palette of {}", 1 << lut.indices.dtype().bits());
    let text = match encoded {
        Encoded::Half(_) => "fp16".to_owned(),
        Encoded::Lut(lut) => palette(lut),
        Encoded::ScaledLut { lut, .. } => format!("{}, scaled", palette(lut)),
        Encoded::Affine(a) => a.data.dtype().name().to_owned(),
        Encoded::Sparse { values: NonZero::Plain(_), .. } => "sparse".to_owned(),
        Encoded::Sparse { values: NonZero::Lut(lut), .. } => format!("sparse, {}", palette(lut)),
        Encoded::Sparse { values: NonZero::Affine(a), .. } => format!("sparse, {}", a.data.dtype().name()),
    };
    match scheme {
        Scheme::Palettize(p) if p.cluster_dim > 1 => format!("{text} vectors of {}", p.cluster_dim),
        _ => text,
    }
}

/// State that workers and the one who stores share.
struct Queue<R> {
    next: usize,
    stored: usize,
    done: BTreeMap<usize, R>,
    stop: bool,
}

/// Results that may wait per worker.
const AHEAD: usize = 2;
/// How often somebody who waits is told.
const TICK: Duration = Duration::from_millis(100);

/// Calls `work` on every job with so many threads, and `sink` with the results, in order; `sink` is also called with nothing
/// while it waits.
pub(crate) fn in_order<'j, J: Sync, R: Send, E>(
    jobs: &'j [J],
    n_workers: usize,
    work: impl Fn(&J) -> R + Sync,
    mut sink: impl FnMut(Option<(&'j J, R)>) -> Result<(), E>,
) -> Result<(), E> {
    let n_workers = n_workers.min(jobs.len()).max(1);
    let queue = Mutex::new(Queue { next: 0, stored: 0, done: BTreeMap::new(), stop: false });
    let (changed, lock) = (Condvar::new(), || queue.lock().unwrap_or_else(PoisonError::into_inner));
    let worker = || loop {
        let mut q = lock();
        while !q.stop && q.next < jobs.len() && q.next >= q.stored + AHEAD * n_workers {
            q = changed.wait(q).unwrap_or_else(PoisonError::into_inner);
        }
        if q.stop || q.next >= jobs.len() {
            return;
        }
        let i = q.next;
        q.next += 1;
        drop(q);
        let guard = StopOnPanic(&queue, &changed);
        let result = work(&jobs[i]);
        std::mem::forget(guard);
        lock().done.insert(i, result);
        changed.notify_all();
    };
    std::thread::scope(|scope| {
        for _ in 0..n_workers {
            scope.spawn(worker);
        }
        let mut run = || {
            for (i, job) in jobs.iter().enumerate() {
                let result = loop {
                    let mut q: MutexGuard<'_, Queue<R>> = lock();
                    if let Some(result) = q.done.remove(&i) {
                        break Some(result);
                    }
                    if q.stop {
                        break None;
                    }
                    let (q, _) = changed.wait_timeout(q, TICK).unwrap_or_else(PoisonError::into_inner);
                    let waits = !q.done.contains_key(&i);
                    drop(q);
                    if waits {
                        sink(None)?;
                    }
                };
                // A worker panicked: the scope passes it on.
                let Some(result) = result else { return Ok(()) };
                sink(Some((job, result)))?;
                lock().stored = i + 1;
                changed.notify_all();
            }
            Ok(())
        };
        let result = run();
        lock().stop = true;
        changed.notify_all();
        result
    })
}

/// Wakes everybody when a worker panics.
struct StopOnPanic<'q, R>(&'q Mutex<Queue<R>>, &'q Condvar);

impl<R> Drop for StopOnPanic<'_, R> {
    fn drop(&mut self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).stop = true;
        self.1.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn results_come_in_order_and_workers_stay_close() {
        let jobs: Vec<usize> = (0..200).collect();
        let (begun, mut seen) = (AtomicUsize::new(0), Vec::new());
        let work = |&i: &usize| {
            begun.fetch_add(1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_micros((i as u64 * 37) % 300));
            i * 2
        };
        in_order::<_, _, ()>(&jobs, rayon::current_num_threads(), work, |event| {
            if let Some((job, result)) = event {
                assert_eq!(job * 2, result);
                assert!(begun.load(Ordering::SeqCst) <= seen.len() + AHEAD * rayon::current_num_threads());
                seen.push(result);
            }
            Ok(())
        })
        .unwrap();
        assert_eq!(seen.len(), 200);
    }

    #[test]
    fn an_error_of_the_sink_ends_it() {
        let jobs: Vec<usize> = (0..1000).collect();
        let begun = AtomicUsize::new(0);
        let result = in_order(
            &jobs,
            rayon::current_num_threads(),
            |_| begun.fetch_add(1, Ordering::SeqCst),
            |event| match event {
                Some((3, _)) => Err("enough"),
                _ => Ok(()),
            },
        );
        assert_eq!(result, Err("enough"));
        assert!(begun.load(Ordering::SeqCst) < 1000);
    }
}
