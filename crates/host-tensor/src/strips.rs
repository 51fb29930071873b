//! Conversion between f32, f16 and bf16 in strips that stay in the first-level cache: what weights go through.
//!
//! Only these three types; everything else converts element by element in `tensor`.

use half::{bf16, f16, slice::HalfFloatSliceExt};

use crate::{DType, convert_bytes};

/// Elements converted at a time.
const STRIP: usize = 512;

/// Converts the first `n` elements; `None` unless both types are f32, f16 or bf16.
pub(crate) fn convert(from: DType, to: DType, bytes: &[u8], n: usize) -> Option<Vec<u8>> {
    let (read, write) = (reader(from)?, writer(to)?);
    let (n_from, n_to) = (from.bits() / 8, to.bits() / 8);
    let n = n.min(bytes.len() / n_from);
    let mut out = vec![0; n * n_to];
    let mut values = [0f32; STRIP];
    for (source, target) in bytes[..n * n_from].chunks(STRIP * n_from).zip(out.chunks_mut(STRIP * n_to)) {
        let values = &mut values[..source.len() / n_from];
        read(source, values);
        write(values, target);
    }
    Some(out)
}

/// Converts elements that lie one after another to f32, into `out`, which is as long as they are many.
///
/// Of f16, bf16 and f32 as fast as memory is read; other types as [`convert_bytes`] does it.
pub fn to_singles(from: DType, bytes: &[u8], out: &mut [f32]) {
    let Some(read) = reader(from) else {
        let wide = convert_bytes(from, DType::F32, bytes, out.len());
        return out.iter_mut().zip(wide.as_chunks().0).for_each(|(out, &word)| *out = f32::from_le_bytes(word));
    };
    for (bytes, values) in bytes.chunks(STRIP * from.bits() / 8).zip(out.chunks_mut(STRIP)) {
        read(bytes, values);
    }
}

/// Converts f32 to elements of `to`, little-endian and packed into `out`, which is as long as they are.
///
/// To f16, bf16 and f32 as fast as memory is written; to other types as [`convert_bytes`] does it.
pub fn from_singles(values: &[f32], to: DType, out: &mut [u8]) {
    let Some(write) = writer(to) else {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let made = convert_bytes(DType::F32, to, &bytes, values.len());
        return out.iter_mut().zip(made).for_each(|(out, byte)| *out = byte);
    };
    for (values, bytes) in values.chunks(STRIP).zip(out.chunks_mut(STRIP * to.bits() / 8)) {
        write(values, bytes);
    }
}

/// Fills a strip of values from bytes of one type.
type Reader = fn(&[u8], &mut [f32]);
/// Fills bytes of one type from a strip of values.
type Writer = fn(&[f32], &mut [u8]);

fn reader(dtype: DType) -> Option<Reader> {
    Some(match dtype {
        DType::F32 => |bytes, values| {
            for (value, &word) in values.iter_mut().zip(bytes.as_chunks::<4>().0) {
                *value = f32::from_le_bytes(word);
            }
        },
        DType::F16 => |bytes, values| {
            let mut halves = [f16::ZERO; STRIP];
            for (half, &word) in halves.iter_mut().zip(bytes.as_chunks::<2>().0) {
                *half = f16::from_le_bytes(word);
            }
            halves[..values.len()].convert_to_f32_slice(values);
        },
        DType::BF16 => |bytes, values| {
            for (value, &word) in values.iter_mut().zip(bytes.as_chunks::<2>().0) {
                *value = bf16::from_le_bytes(word).to_f32();
            }
        },
        _ => return None,
    })
}

fn writer(dtype: DType) -> Option<Writer> {
    Some(match dtype {
        DType::F32 => |values, bytes| {
            for (word, value) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(values) {
                *word = value.to_le_bytes();
            }
        },
        DType::F16 => |values, bytes| {
            let mut halves = [f16::ZERO; STRIP];
            halves[..values.len()].convert_from_f32_slice(values);
            for (word, half) in bytes.as_chunks_mut::<2>().0.iter_mut().zip(halves) {
                *word = half.to_le_bytes();
            }
        },
        DType::BF16 => |values, bytes| {
            for (word, &value) in bytes.as_chunks_mut::<2>().0.iter_mut().zip(values) {
                *word = bf16::from_f32(value).to_le_bytes();
            }
        },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strip_that_is_not_full_converts_like_the_others() {
        let n = 2 * STRIP + 7;
        let wide: Vec<u8> = (0..n).flat_map(|i| (i as f32 - 500.0).to_le_bytes()).collect();
        for half in [DType::F16, DType::BF16] {
            let narrow = convert(DType::F32, half, &wide, n).expect("float types");
            assert_eq!(narrow.len(), 2 * n);
            let back = convert(half, DType::F32, &narrow, n).expect("float types");
            let last = f32::from_le_bytes(*back.last_chunk().expect("not empty"));
            assert_eq!(last, if half == DType::F16 { 530.0 } else { 528.0 }, "{half}");
        }
    }

    #[test]
    fn values_are_read_and_written_where_they_are_wanted() {
        let n = STRIP + 3;
        let values: Vec<f32> = (0..n).map(|i| i as f32 * 0.37 - 60.0).collect();
        let wide: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        for dtype in [DType::F32, DType::F16, DType::BF16, DType::F64, DType::I8, DType::U4] {
            let expected = convert_bytes(DType::F32, dtype, &wide, n);
            let mut bytes = vec![0; expected.len()];
            from_singles(&values, dtype, &mut bytes);
            assert_eq!(bytes, expected, "{dtype}");
            let mut back = vec![0.0; n];
            to_singles(dtype, &bytes, &mut back);
            let wanted = convert_bytes(dtype, DType::F32, &bytes, n);
            assert!(back.iter().flat_map(|x| x.to_le_bytes()).eq(wanted), "{dtype}");
        }
    }

    #[test]
    fn missing_bytes_shorten_the_result_and_other_types_are_refused() {
        assert_eq!(convert(DType::F32, DType::F16, &[0; 9], 100), Some(vec![0; 4]));
        assert_eq!(convert(DType::F32, DType::I32, &[0; 8], 2), None);
    }
}
