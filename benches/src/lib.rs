//! Suites, one file per subject beside this folder: `cargo bench -p smelt-benches`.
//!
//! Those of Criterion answer "which of two inner loops"; how long a command takes is measured by `cargo xtask bench`,
//! whose results lie in `record/`, and which runs the suites `stop`, on packages that it makes, and `quality`. The library
//! itself is empty.
