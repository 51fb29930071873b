//! The text form: the language of `model.mil`, printed and parsed.
//!
//! Compiled Core ML models (`.mlmodelc`) carry their program in this language, and here it is also what
//! programs look like in tests and on the terminal.
//! There are two dialects: [`Dialect::Verbose`] (`program(1.0)`, up to iOS 17) spells a scalar
//! `tensor<fp16, []>`, [`Dialect::Short`] (`program(1.3)`, iOS 18) spells it `fp16`.
//! [`print()`] chooses by opset, [`parse`] takes both, freely mixed.
//!
//! ```text
//! program(1.3)
//! []
//! {
//!     func main<ios18>(tensor<fp16, [1, 4]> x) {
//!             fp16 y_y = const()[name = string("y_y"), val = fp16(0x1.8p+0)];
//!             tensor<fp16, [1, 4]> y = add(x = x, y = y_y)[name = string("y")];
//!         } -> (y);
//! }
//! ```
//!
//! Large constants stand outside the text, as `BLOBFILE` references: printing returns them in a
//! [`BlobTable`], parsing asks a [`BlobSource`] for them.
//! For every program whose names and operations could stand in a model file, `parse(print(p)) == p`.
//! Payloads of NaNs are not kept: every NaN is `nan`.
//!
//! Nothing is inferred or validated here, and no file is opened.
//! Source of the grammar: `model.mil` files written by coremlc 3520 and 3600; block syntax of `cond` and
//! `while_loop` from published listings.

mod blob;
mod error;
mod float;
#[cfg(any(test, feature = "fuzz"))]
mod fuzz;
mod lexer;
mod parse;
mod print;

#[cfg(test)]
mod tests;

pub use blob::{BlobError, BlobSource, BlobTable, NoBlobs};
pub use error::{ParseError, Position};
#[doc(hidden)]
#[cfg(any(test, feature = "fuzz"))]
pub use fuzz::fuzz_parse;
pub use parse::parse;
pub use print::{Dialect, PrintOptions, Printed, print, write_type, write_value};

/// True when `s` can stand in the text as a name without quotes: `[A-Za-z_][A-Za-z0-9_@]*`.
fn is_bare_name(s: &str) -> bool {
    let mut bytes = s.bytes();
    bytes.next().is_some_and(starts_name) && bytes.all(continues_name)
}

fn starts_name(b: u8) -> bool {
    b.is_ascii_alphabetic() || b == b'_'
}

fn continues_name(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_' || b == b'@'
}
