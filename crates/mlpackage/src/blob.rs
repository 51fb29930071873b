//! `weight.bin`: MIL blob storage, version 2.
//!
//! A header of 64 bytes, then per blob a record of 64 bytes and the data; records and data begin at multiples of 64,
//! everything is little endian. A model refers to a blob by the offset of its *record*, never of its data.
//! Older versions (Espresso) are refused. What a blob means to a program is not known here.
//!
//! ```text
//! header: u32 count, u32 version = 2, 56 reserved bytes
//! record: u32 0xdeadbeef, u32 dtype, u64 size in bytes, u64 data offset, u64 padding in bits, 32 reserved bytes
//! ```
//! Source of the rules: coremltools 9.0, `mlmodel/src/MILBlob/Blob/StorageFormat.hpp`. Writers before iOS 18 left
//! garbage in the reserved bytes and in the padding of byte-sized types, so neither is read.

mod reader;
mod writer;

pub use reader::{Blob, BlobFile};
pub(crate) use reader::{map_file, map_records};
pub(crate) use writer::BlobPlan;
pub use writer::{BlobSink, BlobWriter};

use mil::DType;

/// Alignment of records and data, and size of header and record.
pub(crate) const ALIGNMENT: u64 = 64;
const SENTINEL: u32 = 0xDEAD_BEEF;
const VERSION: u32 = 2;

/// The number of an element type in a record; `None` for types that weight files cannot hold.
#[must_use]
pub(crate) const fn dtype_code(dtype: DType) -> Option<u32> {
    Some(match dtype {
        DType::F16 => 1,
        DType::F32 => 2,
        DType::U8 => 3,
        DType::I8 => 4,
        DType::BF16 => 5,
        DType::I16 => 6,
        DType::U16 => 7,
        DType::I4 => 8,
        DType::U1 => 9,
        DType::U2 => 10,
        DType::U4 => 11,
        DType::U3 => 12,
        DType::U6 => 13,
        DType::I32 => 14,
        DType::U32 => 15,
        DType::Bool | DType::F64 | DType::I64 | DType::U64 => return None,
    })
}

fn dtype_of_code(code: u32) -> Option<DType> {
    DType::ALL.into_iter().find(|&d| dtype_code(d) == Some(code))
}

/// The next multiple of 64.
pub(crate) fn align(offset: u64) -> Option<u64> {
    offset.checked_next_multiple_of(ALIGNMENT)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::error::{BlobFault, Error};
    use mil::{Bytes, HostTensor};

    /// A tensor, its packed bytes, and its padding in bits.
    type Golden = (HostTensor, Vec<u8>, u64);

    /// A file with the golden vectors of the format (coremltools 9.0, `BlobStorageWriter`).
    fn golden() -> (Vec<u8>, Vec<Golden>) {
        let ints = |dtype, values: &[i32]| HostTensor::from_i32([values.len()], values.to_vec()).cast(dtype);
        let cases = vec![
            (ints(DType::U1, &[1, 0, 0, 1, 1, 1, 0, 1, 1]), vec![0xB9, 0x01], 7),
            (ints(DType::U2, &[0, 1, 2, 3, 3]), vec![0xE4, 0x03], 6),
            (ints(DType::U3, &[1, 2, 3, 4, 5, 6, 7, 0, 5]), vec![0xD1, 0x58, 0x1F, 0x05], 5),
            (ints(DType::U4, &[1, 2, 15]), vec![0x21, 0x0F], 4),
            (ints(DType::I4, &[-8, 7, -1]), vec![0x78, 0x0F], 4),
            (ints(DType::U6, &[1, 2, 63, 32, 5]), vec![0x81, 0xF0, 0x83, 0x05], 2),
            (HostTensor::from_f16([2], &[1.5, -2.0]), vec![0x00, 0x3E, 0x00, 0xC0], 0),
        ];
        let mut writer = BlobWriter::new(Cursor::new(Vec::new()), "weight.bin").unwrap();
        for (tensor, _, _) in &cases {
            let mut sink = writer.begin(tensor.dtype(), tensor.len()).unwrap();
            sink.write(tensor.bytes()).unwrap();
            sink.finish().unwrap();
        }
        (writer.finish().unwrap().into_inner(), cases)
    }

    fn open(bytes: &[u8]) -> Result<BlobFile, Error> {
        BlobFile::new("weight.bin", Bytes::copy_from_slice(bytes))
    }

    #[track_caller]
    fn fault<T: std::fmt::Debug>(result: Result<T, Error>) -> BlobFault {
        match result {
            Err(Error::Blob { fault, .. }) => fault,
            other => panic!("no blob fault but {other:?}"),
        }
    }

    #[test]
    fn golden_vectors_are_written_byte_for_byte() {
        let (bytes, cases) = golden();
        assert_eq!(bytes[..8], [7, 0, 0, 0, 2, 0, 0, 0]);
        for (i, (tensor, packed, padding)) in cases.iter().enumerate() {
            // Records lie at 64, 192, 320, …
            let at = 64 + 128 * i;
            assert_eq!(bytes[at..at + 4], [0xEF, 0xBE, 0xAD, 0xDE]);
            assert_eq!(bytes[at + 8..at + 16], (packed.len() as u64).to_le_bytes());
            assert_eq!(bytes[at + 16..at + 24], (at as u64 + 64).to_le_bytes());
            assert_eq!(bytes[at + 24..at + 32], padding.to_le_bytes());
            assert_eq!(&bytes[at + 64..at + 64 + packed.len()], &packed[..], "{tensor:?}");
        }
        // Nothing follows the last blob.
        assert_eq!(bytes.len(), 64 + 128 * 6 + 64 + 4);
    }

    #[test]
    fn what_is_written_is_read_back() {
        let (bytes, cases) = golden();
        let file = open(&bytes).unwrap();
        let offsets: Vec<u64> = file.offsets().collect::<Result<_, _>>().unwrap();
        assert_eq!(offsets, [64, 192, 320, 448, 576, 704, 832]);
        for (offset, (tensor, _, _)) in offsets.iter().zip(&cases) {
            let blob = file.blob(*offset).unwrap();
            assert_eq!((blob.dtype, blob.n_elements, &blob.data), (tensor.dtype(), tensor.len(), tensor.bytes()));
        }
        file.check_disjoint(offsets).unwrap();
    }

    #[test]
    fn every_truncation_is_noticed() {
        let (bytes, _) = golden();
        for n in 0..bytes.len() {
            let read = open(&bytes[..n]).and_then(|f| {
                let offsets: Vec<u64> = f.offsets().collect::<Result<_, _>>()?;
                offsets.iter().map(|&o| f.blob(o).map(|_| ())).collect::<Result<Vec<()>, _>>()
            });
            assert!(read.is_err(), "{n} of {} bytes", bytes.len());
        }
    }

    #[test]
    fn a_flipped_bit_changes_a_value_or_is_noticed_but_never_panics() {
        let (bytes, cases) = golden();
        for bit in 0..bytes.len() * 8 {
            let mut broken = bytes.clone();
            broken[bit / 8] ^= 1 << (bit % 8);
            let Ok(file) = open(&broken) else { continue };
            for i in 0..cases.len() {
                let _ = file.blob(64 + 128 * i as u64);
            }
            let _ = file.offsets().take(100).count();
        }
    }

    #[test]
    fn hostile_records_are_refused_by_name() {
        let (bytes, _) = golden();
        let with = |at: usize, patch: &[u8]| {
            let mut b = bytes.clone();
            b[at..at + patch.len()].copy_from_slice(patch);
            b
        };
        let read = |b: &[u8]| open(b).and_then(|f| f.blob(64).map(|_| ()));
        let huge = u64::MAX.to_le_bytes();
        let length = bytes.len() as u64;
        assert_eq!(fault(open(&bytes[..63])), BlobFault::TooShort(63));
        assert_eq!(fault(open(&with(4, &[1]))), BlobFault::Version(1));
        assert_eq!(fault(open(&with(0, &[255; 4]))), BlobFault::Count { count: u32::MAX, n_bytes: length });
        assert_eq!(fault(read(&with(64, &[0; 4]))), BlobFault::Sentinel(0));
        assert_eq!(fault(read(&with(68, &[16]))), BlobFault::Dtype(16));
        assert_eq!(fault(read(&with(68, &[99]))), BlobFault::Dtype(99));
        assert_eq!(
            fault(read(&with(72, &huge))),
            BlobFault::DataOutOfRange { data_offset: 128, size: u64::MAX, n_bytes: length }
        );
        assert_eq!(fault(read(&with(80, &huge))), BlobFault::DataOffset(u64::MAX));
        assert_eq!(fault(read(&with(80, &[64]))), BlobFault::DataOffset(64));
        assert_eq!(fault(read(&with(80, &[129]))), BlobFault::DataOffset(129));
        assert!(matches!(fault(read(&with(88, &[8]))), BlobFault::Size { padding: 8, .. }));
        assert!(matches!(fault(read(&with(88, &huge))), BlobFault::Size { .. }));
        let file = open(&bytes).unwrap();
        for offset in [0, 1, 63, 65, 96, u64::MAX, u64::MAX - 63] {
            assert!(matches!(fault(file.blob(offset)), BlobFault::Misaligned | BlobFault::OutOfRange(_)), "{offset}");
        }
        assert_eq!(fault(file.blob(128)), BlobFault::Sentinel(0x01B9));
    }

    #[test]
    fn a_record_inside_another_blobs_data_is_an_overlap() {
        // The first blob's data is itself a well-formed record.
        let inner = {
            let mut w = BlobWriter::new(Cursor::new(Vec::new()), "w").unwrap();
            let mut sink = w.begin(DType::U8, 128).unwrap();
            sink.write(&[7; 128]).unwrap();
            sink.finish().unwrap();
            w.finish().unwrap().into_inner()[64..].to_vec()
        };
        let mut writer = BlobWriter::new(Cursor::new(Vec::new()), "w").unwrap();
        let mut sink = writer.begin(DType::U8, inner.len()).unwrap();
        let mut patched = inner.clone();
        patched[16..24].copy_from_slice(&192u64.to_le_bytes());
        sink.write(&patched).unwrap();
        let offset = sink.finish().unwrap();
        let mut bytes = writer.finish().unwrap().into_inner();
        let file = open(&bytes).unwrap();
        assert!(file.blob(offset + 64).is_ok());
        assert_eq!(fault(file.check_disjoint([offset, offset + 64])), BlobFault::Uncounted { used: 2, count: 1 });
        bytes[0] = 2;
        assert_eq!(fault(open(&bytes).unwrap().check_disjoint([offset, offset + 64])), BlobFault::Overlap(64));
    }

    #[test]
    fn a_writer_insists_on_the_promised_length() {
        let mut writer = BlobWriter::new(Cursor::new(Vec::new()), "w").unwrap();
        assert_eq!(fault(writer.begin(DType::F32, usize::MAX).map(|_| ())), BlobFault::TooLarge);
        assert_eq!(fault(writer.begin(DType::I64, 1).map(|_| ())), BlobFault::NotStorable(DType::I64));
        let mut sink = writer.begin(DType::F32, 2).unwrap();
        assert_eq!(fault(sink.write(&[0; 9])), BlobFault::Written { expected: 8, actual: 9 });
        sink.write(&[0; 4]).unwrap();
        assert_eq!(fault(sink.finish()), BlobFault::Written { expected: 8, actual: 4 });
    }

    #[test]
    fn a_dropped_sink_leaves_no_counted_blob() {
        let mut writer = BlobWriter::new(Cursor::new(Vec::new()), "w").unwrap();
        writer.begin(DType::F32, 2).unwrap().write(&[0; 4]).unwrap();
        assert!(matches!(fault(writer.finish().map(|_| ())), BlobFault::Written { expected: 8, actual: 4 }));
    }
}
