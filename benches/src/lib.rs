//! Criterion suites, one file per subject beside this folder: `cargo bench -p smelt-benches`.
//!
//! They answer "which of two inner loops"; how long a command takes is measured by `cargo xtask bench`,
//! whose results lie in `record/`. The library itself is empty.
