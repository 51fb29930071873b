//! Ctrl-C: at once where nothing is being written, and after cleaning up where something is.
//!
//! Whoever writes holds a [`Writing`] and, if it takes long, breaks off when [`interrupted`] says so; the program ends when the last one is dropped.
//! A second Ctrl-C does not wait; what it leaves is a hidden directory that the next run removes.
//! Whoever has something to say of what is there already leaves it as a [`LastAct`].

use std::process::exit;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use anyhow::Context;
use smelt::Stop;

/// Exit code of an interrupted program: 128 + SIGINT.
const EXIT_CODE: i32 = 130;

static STATE: Mutex<State> = Mutex::new(State { writers: 0, interrupted: false, last_act: None });

/// Set with it, for models that run while something is being written.
static STOP: OnceLock<Stop> = OnceLock::new();

struct State {
    writers: usize,
    interrupted: bool,
    last_act: Option<Act>,
}

/// What is done before the program ends; it asks nothing of this module.
type Act = Box<dyn FnOnce() + Send>;

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends the program without unwinding.
fn end(state: &mut State) -> ! {
    if let Some(act) = state.last_act.take() {
        act();
    }
    safe_files::remove_empty_folders();
    exit(EXIT_CODE)
}

/// Sets the handler for Ctrl-C and, on Unix, for SIGTERM and SIGHUP.
pub(crate) fn install() -> anyhow::Result<()> {
    let handler = || {
        let mut state = state();
        if state.writers == 0 || state.interrupted {
            // The lock is held: nobody begins to write meanwhile.
            end(&mut state);
        }
        state.interrupted = true;
        if let Some(stop) = STOP.get() {
            stop.set();
        }
    };
    ctrlc::set_handler(handler).context("cannot handle Ctrl-C")
}

/// What a model asks while it runs, set once the user asks to stop while something is being written.
pub(crate) fn stop() -> Stop {
    STOP.get_or_init(Stop::new).clone()
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
            end(&mut state);
        }
    }
}

/// Something that is done if the program is interrupted while this is held.
pub(crate) struct LastAct(());

impl LastAct {
    pub(crate) fn new(act: impl FnOnce() + Send + 'static) -> Self {
        state().last_act = Some(Box::new(act));
        Self(())
    }
}

impl Drop for LastAct {
    fn drop(&mut self) {
        state().last_act = None;
    }
}
