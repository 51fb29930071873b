//! How much a test program allocates at once, for tests whose memory must not grow with their input.
//!
//! ```
//! # use testkit::memory::{Counting, Peak, turn};
//! #[global_allocator]
//! static ALLOCATOR: Counting = Counting;
//!
//! let _turn = turn();
//! let peak = Peak::begin();
//! drop(vec![0_u8; 1 << 20]);
//! assert!(peak.bytes() >= 1 << 20);
//! ```

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The system's allocator, which counts what is allocated and the most of it at once.
pub struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
/// Tests of one program allocate one after the other.
static TURN: Mutex<()> = Mutex::new(());

// SAFETY: every call is passed on to the system's allocator as it came.
#[allow(unsafe_code, reason = "an allocator is made of such calls")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(now, Ordering::Relaxed);
        // SAFETY: the caller keeps the promises of this function, which are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the promises of this function, which are the same.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// The most that is allocated at once beyond what was when it began; needs [`Counting`] as the program's allocator.
pub struct Peak {
    before: usize,
}

impl Peak {
    /// Begins to look.
    #[must_use]
    pub fn begin() -> Self {
        let before = NOW.load(Ordering::Relaxed);
        PEAK.store(before, Ordering::Relaxed);
        Self { before }
    }

    /// Bytes, until now.
    #[must_use]
    pub fn bytes(&self) -> usize {
        PEAK.load(Ordering::Relaxed).saturating_sub(self.before)
    }
}

/// Waits until no other test of the program holds its turn.
pub fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}
