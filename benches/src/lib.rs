//! Criterion benchmark suites; results of `cargo xtask bench` are in `record/`.
