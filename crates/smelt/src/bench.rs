//! How fast packages run here, and how close that is to what the machine can do.
//!
//! Inputs are the same in every run, so that a UNet's run is a step of a picture whose text has been seen before.
//! The machine's peak is measured before and after every run: on shared machines it wanders, and only the ratio says
//! something.

mod core_ml;
mod flame;
mod measure;
mod table;

pub use core_ml::MeasuredByCoreMl;
pub use flame::draw as flame_graph;
pub use measure::{Benchmark, Measured, ProfileLine};
pub(crate) use measure::{median, peak};
pub use table::{PictureBenchmark, TableRow};
