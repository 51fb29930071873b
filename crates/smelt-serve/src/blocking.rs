//! Work that takes a while, where nobody else waits for it.

use crate::fault::Fault;

/// Does what takes a while where nobody else waits for it.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|_| Err(Fault::internal("the request broke off by a fault in the program")))
}
