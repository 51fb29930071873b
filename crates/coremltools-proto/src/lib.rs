//! Protobuf types of the Core ML model specification.
//!
//! Generated from `proto/*.proto` by `cargo xtask codegen` and committed; maps are sorted, so that equal messages have
//! equal bytes. This crate deliberately gives the messages no meaning: what a program, a weight offset or a version
//! number stands for is known to `mlpackage`.

pub use prost::Message;

/// The root message [`Model`], its description, features, pipelines and metadata (package `CoreML.Specification`).
///
/// Kinds of models that Smelt does not interpret are byte strings in [`model::Type`].
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::must_use_candidate,
    reason = "generated code; proto/*.proto documents the messages"
)]
mod specification {
    include!("generated/core_ml.specification.rs");

    pub mod mil_spec {
        include!("generated/core_ml.specification.mil_spec.rs");
    }
}

pub use specification::*;

// The example of the README compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
