//! The command line of Smelt.
fn main() {}
