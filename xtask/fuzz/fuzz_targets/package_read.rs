//! Any bytes are read as a manifest, a weight file, and a model with weights.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| mlpackage::fuzz::fuzz_read(bytes));
