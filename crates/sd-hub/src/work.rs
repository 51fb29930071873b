//! Several files at a time, and one who hears of them all.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::HubError;
use crate::blob::{Blob, Origin, Word, obtain};
use crate::watch::{Event, Watch};

/// Files that are fetched at a time; the largest ones of a model are seldom more.
const MAX_WORKERS: usize = 4;
/// How often progress is told, and the watcher asked whether to go on.
const TICK: Duration = Duration::from_millis(100);

enum Message {
    Word(Word),
    Failed(HubError),
}

/// Fetches blobs, the largest ones first; the first failure ends it, and what is on its way is kept for the next run.
pub(crate) fn fetch(origin: Origin<'_>, blobs: &[&Blob], n_bytes: u64, watch: &mut dyn Watch) -> Result<(), HubError> {
    let mut queue: Vec<&Blob> = blobs.to_vec();
    queue.sort_by_key(|blob| std::cmp::Reverse(blob.n_bytes));
    let queue = Mutex::new(VecDeque::from(queue));
    let (sender, receiver) = channel();
    std::thread::scope(|scope| {
        for _ in 0..blobs.len().min(MAX_WORKERS) {
            let (queue, sender) = (&queue, sender.clone());
            scope.spawn(move || work(origin, queue, &sender));
        }
        drop(sender);
        listen(origin, &receiver, n_bytes, watch)
    })
}

fn work(origin: Origin<'_>, queue: &Mutex<VecDeque<&Blob>>, sender: &Sender<Message>) {
    // Whoever listens goes on until the last sender is gone.
    let send = |message| drop(sender.send(message));
    while !origin.stop.is_set() {
        let Some(blob) = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front() else { return };
        if let Err(error) = obtain(origin, blob, &mut |word| send(Message::Word(word))) {
            // In this order: the others fail because they are stopped, and the first failure is the one that is told.
            send(Message::Failed(error));
            return origin.stop.set();
        }
    }
}

fn listen(
    origin: Origin<'_>,
    receiver: &Receiver<Message>,
    n_bytes: u64,
    watch: &mut dyn Watch,
) -> Result<(), HubError> {
    let (mut done, mut failure) = (0_i64, None);
    let mut told = Instant::now();
    let mut tell = |event: Event<'_>| {
        if watch.event(event).is_break() {
            origin.stop.set();
        }
    };
    loop {
        let message = receiver.recv_timeout(TICK);
        let is_over = matches!(message, Err(RecvTimeoutError::Disconnected));
        match message {
            Ok(Message::Word(Word::Bytes(more))) => done += more,
            Ok(Message::Word(Word::Note(words))) => tell(Event::Note(&words)),
            // The others stop because of the first.
            Ok(Message::Failed(error)) => drop(failure.get_or_insert(error)),
            Err(_) => {}
        }
        if is_over || told.elapsed() >= TICK {
            told = Instant::now();
            let done = u64::try_from(done).unwrap_or(0);
            tell(Event::Progress { done, total: n_bytes.max(done) });
        }
        if is_over {
            break;
        }
    }
    match failure {
        Some(error) => Err(error),
        None if origin.stop.is_set() => Err(HubError::Stopped),
        None => Ok(()),
    }
}
