//! The fuzz body of the text form.

use super::{BlobError, BlobSource, PrintOptions, parse, print};
use crate::constant::Const;
use host_tensor::{Bytes, DType, HostTensor, element_count};

/// Zeros for every blob of moderate size.
struct Zeros;

impl BlobSource for Zeros {
    fn resolve(&self, _: &str, _: u64, dtype: DType, shape: &[usize]) -> Result<Const, BlobError> {
        let n_bytes = element_count(shape).and_then(|n| dtype.byte_len(n)).filter(|&n| n <= 1 << 16);
        let n_bytes = n_bytes.ok_or("too large for a test")?;
        Ok(Const::new(HostTensor::new(dtype, shape, Bytes::from(vec![0; n_bytes]))?))
    }
}

/// Parses `bytes`; what is a program must print as a text that parses as the same program.
///
/// # Panics
/// When it does not, which is a bug.
pub fn fuzz_parse(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(program) = parse(text, &Zeros) else { return };
    let printed = print(&program, &PrintOptions::default());
    match parse(&printed.text, &printed.blobs) {
        Ok(again) => assert!(again == program, "another program after printing:\n{}", printed.text),
        Err(e) => panic!("{e} in printed text:\n{}", printed.text),
    }
}
