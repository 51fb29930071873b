//! What is told of a job, as a stream.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::{Stream, stream};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::{Job, JobEvent};

/// Everything that is told of a job, until it is over.
pub(crate) fn follow(job: &Arc<Job>) -> impl Stream<Item = Arc<JobEvent>> + use<> {
    let (status, preview, receiver) = job.follow();
    let before: VecDeque<_> = JobEvent::so_far(&status, preview.as_ref()).into_iter().map(Arc::new).collect();
    stream::unfold((before, receiver), async |(mut before, mut receiver)| {
        let event = match before.pop_front() {
            Some(event) => event,
            None => next(receiver.as_mut()?).await?,
        };
        // Nothing comes behind the last one.
        let receiver = receiver.filter(|_| !event.is_last());
        Some((event, (before, receiver)))
    })
}

/// The next event; whoever lags behind goes on with what is newest.
async fn next(receiver: &mut Receiver<Arc<JobEvent>>) -> Option<Arc<JobEvent>> {
    loop {
        match receiver.recv().await {
            Ok(event) => return Some(event),
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return None,
        }
    }
}
