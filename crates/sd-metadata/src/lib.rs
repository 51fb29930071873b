//! What made a picture, read from the picture.
//!
//! - [`texts`] takes the texts out of a PNG, JPEG or WebP file, whoever wrote them and wherever they stand.
//! - [`recognise`] finds the tool among them and turns its settings into one plain struct, [`Made`]; [`read`] does both.
//! - [`parse_parameters`] reads AUTOMATIC1111's grammar by itself, [`parameters_apart`] only takes it apart, and
//!   [`Made::to_parameters`] writes it.
//!
//! Nothing is dropped: what is not understood stays in [`Made::unknown`] by its name, with what was wrong where something was.
//! Names of samplers, schedules and models are the tool's own; nothing here translates them, and no pixel is decoded.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails by panicking"))]

mod carrier;
mod comfy;
mod control;
mod draw_things;
mod error;
mod field;
mod invoke;
mod json;
mod lora;
mod made;
mod mochi;
mod others;
mod parameters;
mod recognise;
mod smelt;
mod tool;

pub use carrier::{Carrier, KEYWORDS, MAX_TEXT_BYTES, PictureFormat, Text, Texts, texts};
pub use error::MetadataError;
pub use made::{Control, Hires, Inpaint, Lora, Made, Refiner, Size, Unknown, Variation};
pub use parameters::{apart as parameters_apart, parse as parse_parameters};
pub use recognise::{Found, read, recognise};
pub use tool::Tool;

// The example of the README compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
