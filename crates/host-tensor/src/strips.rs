//! Conversion between f32, f16 and bf16 in strips that stay in the first-level cache: what weights go through.
//!
//! Only these three types; everything else converts element by element in `tensor`.

use half::{bf16, f16, slice::HalfFloatSliceExt};

use crate::DType;

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

/// Converts elements that lie one after another to f32; false, and nothing done, unless they are f32, f16 or bf16.
pub(crate) fn read(from: DType, bytes: &[u8], out: &mut [f32]) -> bool {
    let Some(read) = reader(from) else { return false };
    for (bytes, values) in bytes.chunks(STRIP * from.bits() / 8).zip(out.chunks_mut(STRIP)) {
        read(bytes, values);
    }
    true
}

/// Converts f32 to elements of `to`; false, and nothing done, unless these are f32, f16 or bf16.
pub(crate) fn write(values: &[f32], to: DType, out: &mut [u8]) -> bool {
    let Some(write) = writer(to) else { return false };
    for (values, bytes) in values.chunks(STRIP).zip(out.chunks_mut(STRIP * to.bits() / 8)) {
        write(values, bytes);
    }
    true
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
    fn missing_bytes_shorten_the_result_and_other_types_are_refused() {
        assert_eq!(convert(DType::F32, DType::F16, &[0; 9], 100), Some(vec![0; 4]));
        assert_eq!(convert(DType::F32, DType::I32, &[0; 8], 2), None);
    }
}
