//! Threads: items are handed out one by one to whoever is free.

use host_tensor::Stop;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

/// A number of threads that work together; engines with the same number share them.
#[derive(Debug, Clone)]
pub(super) struct Threads {
    /// None for a single thread, which is the caller's.
    pool: Option<Arc<ThreadPool>>,
}

/// Floats of scratch from one thread's to the next: they do not share cache lines or sets.
pub(super) const fn pitch(floats: usize) -> usize {
    floats.next_multiple_of(1024) + 64
}

/// A pointer that threads share; each writes to a part of its own.
#[derive(Clone, Copy)]
struct Shared(*mut f32);

// SAFETY: each thread uses its own part only.
unsafe impl Sync for Shared {}

impl Shared {
    /// Whole method, so that closures capture the wrapper and not the pointer.
    fn part(&self, thread: usize, pitch: usize) -> *mut f32 {
        self.0.wrapping_add(thread * pitch)
    }
}

impl Threads {
    /// So many threads, or one for each core.
    pub(super) fn new(wanted: Option<usize>) -> Self {
        static POOLS: Mutex<Option<HashMap<usize, Arc<ThreadPool>>>> = Mutex::new(None);
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let n = wanted.unwrap_or_else(cores).clamp(1, 1024);
        if n == 1 {
            return Self { pool: None };
        }
        let mut pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
        let pools = pools.get_or_insert_with(HashMap::new);
        if let Some(pool) = pools.get(&n) {
            return Self { pool: Some(pool.clone()) };
        }
        // A system that gives no threads still has the caller's.
        let pool =
            ThreadPoolBuilder::new().num_threads(n).thread_name(|i| format!("mil-{i}")).build().ok().map(Arc::new);
        if let Some(pool) = &pool {
            pools.insert(n, pool.clone());
        }
        Self { pool }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.pool.as_ref().map_or(1, |p| p.current_num_threads())
    }

    /// Runs `f` within the threads, so that what it does in parallel uses them.
    pub(super) fn install<R: Send>(&self, f: impl FnOnce() -> R + Send) -> R {
        match &self.pool {
            Some(pool) => pool.install(f),
            None => f(),
        }
    }

    /// Calls `f` once for every item, with the calling thread's scratch, until there is none left or `stop` is set.
    ///
    /// Scratch is where the first thread's begins, and how far it is to the next one's.
    pub(super) fn each(
        &self,
        items: usize,
        (scratch, pitch): (*mut f32, usize),
        stop: &Stop,
        f: impl Fn(usize, *mut f32) + Sync,
    ) {
        match &self.pool {
            Some(pool) if items > 1 => {
                let (next, scratch) = (AtomicUsize::new(0), Shared(scratch));
                pool.broadcast(|thread| {
                    let own = scratch.part(thread.index(), pitch);
                    loop {
                        let item = next.fetch_add(1, Ordering::Relaxed);
                        if item >= items || stop.is_set() {
                            break;
                        }
                        f(item, own);
                    }
                });
            }
            _ => (0..items).take_while(|_| !stop.is_set()).for_each(|item| f(item, scratch)),
        }
    }
}
