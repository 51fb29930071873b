//! What Stable Diffusion checkpoints say, as data.
//!
//! [`keys`] answers every key of every configuration: it is followed, it has no effect and why, or values of it are refused.
//! Readers stay with whoever builds something from the values; here stands only what becomes of each key, once.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails by panicking"))]

pub mod keys;
