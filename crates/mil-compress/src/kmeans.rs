//! k-means: the exact one for single values, Lloyd's iterations for vectors.
//!
//! A weight in half precision has at most 63 488 distinct finite values. Counting them takes one pass; what is left is
//! a weighted problem on a line, which has an optimum that can be computed.

mod distinct;
mod exact;
mod vector;

pub(crate) use distinct::{Distinct, NotFinite, PATTERNS, halves};
pub(crate) use exact::partition;
pub(crate) use vector::{Vectors, cluster};
