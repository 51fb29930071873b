//! One small server for Smelt, and a page: jobs with progress, previews and cancellation, for the browser and for clients
//! that exist.
//!
//! | below | whose interface |
//! |---|---|
//! | `/smelt/v1/` | its own, described by `/smelt/v1/openapi.json` |
//! | `/sdapi/v1/`, `/internal/`, `/controlnet/` | AUTOMATIC1111's |
//! | `/v1/` | OpenAI's for images |
//! | `/` | the page |
//!
//! [`serve`] blocks until it is asked to end. One thread draws, one picture after the other; everything else is answered
//! meanwhile.
//!
//! What it deliberately does not do: print, read arguments, fetch what requests name.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails by panicking"))]

mod a1111;
mod app;
mod blocking;
mod body;
mod call;
mod catalogue;
mod client;
mod clock;
mod enlarge;
mod error;
mod fault;
mod fetch;
mod fields;
mod format;
mod guard;
mod input;
mod job;
mod metrics;
mod native;
mod openai;
mod options;
mod order;
mod page;
mod queue;
mod server;
mod store;
mod worker;

pub use error::ServeError;
pub use options::{Access, Limits, PORT, ServeOptions};
pub use server::{Started, serve};
