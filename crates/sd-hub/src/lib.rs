//! Models of the Hugging Face Hub, fetched into the cache that huggingface_hub has.
//!
//! ```no_run
//! use sd_hub::{Event, Hub, Settings, Wanted};
//! use std::ops::ControlFlow;
//!
//! let hub = Hub::new(Settings::standard()?);
//! let fetched = hub.fetch("someone/model", None, &Wanted::default(), &mut |event: Event<'_>| {
//!     if let Event::Found { n_bytes, .. } = event {
//!         eprintln!("{n_bytes} bytes to fetch");
//!     }
//!     ControlFlow::Continue(())
//! })?;
//! println!("{}", fetched.path.display());
//! # Ok::<(), sd_hub::HubError>(())
//! ```
//!
//! - A file grows as `ETAG.incomplete` and is a blob only when its length and its hash are those that the Hub lists; what
//!   breaks off is gone on with, in this run or another.
//! - The token goes to the Hub and to no other host, whatever it redirects to.
//! - What may pass (a cut connection, 429, 5xx) is tried again, with pauses that the server asks for as far as they are
//!   bearable; everything else is an error that says what answered what, and what to do.
//!
//! What it deliberately does not do: decide which files are needed ([`sd_checkpoint::hub`] does), upload, or print.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails by panicking"))]

mod address;
mod answer;
mod ask;
mod blob;
mod client;
mod error;
mod fetch;
mod hash;
mod listing;
mod pause;
mod settings;
mod watch;
mod work;

pub use error::HubError;
pub use fetch::{Fetched, FetchedFile, Hub};
pub use pause::Patience;
pub use sd_checkpoint::hub::{Extent, Wanted};
pub use settings::{Settings, is_offline};
pub use watch::{Event, Watch};
