//! Any bytes are parsed as the text form of a program.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| mil::text::fuzz_parse(bytes));
