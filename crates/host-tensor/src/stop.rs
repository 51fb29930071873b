//! A request to stop: a flag that whoever asks shares with whoever works.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// A request to stop. Clones share it; once it is set, it stays so.
///
/// Long work asks [`Stop::is_set`] between its parts, which costs no more than reading memory. Because a request is
/// never taken back, work that left out a part when it saw the request sees it again when it returns.
///
/// ```
/// use host_tensor::Stop;
///
/// let stop = Stop::new();
/// let same = stop.clone();
/// assert!(!same.is_set());
/// stop.set();
/// assert!(same.is_set());
/// ```
#[derive(Debug, Clone)]
pub struct Stop {
    /// None where nobody can ask.
    flag: Option<Arc<AtomicBool>>,
}

impl Stop {
    /// A request that has not been made yet.
    #[must_use]
    pub fn new() -> Self {
        Self { flag: Some(Arc::default()) }
    }

    /// A request that is never made, for work that runs to its end; [`Stop::set`] has no effect on it.
    #[must_use]
    pub const fn never() -> Self {
        Self { flag: None }
    }

    /// Asks to stop.
    pub fn set(&self) {
        if let Some(flag) = &self.flag {
            // Nothing else is handed over with the flag, so no order is needed.
            flag.store(true, Ordering::Relaxed);
        }
    }

    /// Whether stopping was asked for.
    #[must_use]
    #[inline]
    pub fn is_set(&self) -> bool {
        self.flag.as_ref().is_some_and(|flag| flag.load(Ordering::Relaxed))
    }
}

impl Default for Stop {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_a_request_and_others_do_not() {
        let (stop, other) = (Stop::new(), Stop::new());
        let same = stop.clone();
        std::thread::spawn(move || same.set()).join().unwrap();
        assert!(stop.is_set() && !other.is_set());
    }

    #[test]
    fn what_never_stops_cannot_be_asked_to() {
        let never = Stop::never();
        never.set();
        assert!(!never.is_set());
    }
}
