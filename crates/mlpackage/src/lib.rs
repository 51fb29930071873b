//! Reads and writes Core ML packages.
