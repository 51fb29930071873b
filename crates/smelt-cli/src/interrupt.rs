//! Ctrl-C: at once where nothing is being written, and after cleaning up where something is.
//!
//! Whoever writes holds a [`Writing`] and, if it takes long, breaks off when [`interrupted`] says so; the program ends when the last one is dropped.
//! A second Ctrl-C does not wait; what it leaves is a hidden directory that the next run removes.

use std::process::exit;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Context;

/// Exit code of an interrupted program: 128 + SIGINT.
const EXIT_CODE: i32 = 130;

static STATE: Mutex<State> = Mutex::new(State { writers: 0, interrupted: false });

struct State {
    writers: usize,
    interrupted: bool,
}

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends the program without unwinding.
fn end() -> ! {
    safe_files::remove_empty_folders();
    exit(EXIT_CODE)
}

/// Sets the handler for Ctrl-C and, on Unix, for SIGTERM and SIGHUP.
pub(crate) fn install() -> anyhow::Result<()> {
    let handler = || {
        let mut state = state();
        if state.writers == 0 || state.interrupted {
            // The lock is held: nobody begins to write meanwhile.
            end();
        }
        state.interrupted = true;
    };
    ctrlc::set_handler(handler).context("cannot handle Ctrl-C")
}

/// Whether the user asked to stop.
pub(crate) fn interrupted() -> bool {
    state().interrupted
}

/// Held while something is half written; declared before it, so that it is dropped after it.
pub(crate) struct Writing(());

impl Writing {
    pub(crate) fn begin() -> Self {
        state().writers += 1;
        Self(())
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        let mut state = state();
        state.writers -= 1;
        if state.writers == 0 && state.interrupted {
            end();
        }
    }
}
