//! Packing of elements narrower than a byte.
//!
//! Element `i` of width `b` takes the bits `[i·b, i·b + b)` of a little-endian bit stream, so that
//! 3- and 6-bit elements straddle bytes.
//! Source of the rule: coremltools 9.0, MIL blob storage v2, and `constexpr_lut_to_dense` of iOS 16.

/// Packs the low `bits` bits of each value, least significant bit first.
///
/// `bits` is 1 to 8.
#[must_use]
pub fn pack_bits(values: &[u8], bits: usize) -> Vec<u8> {
    match bits {
        1 => pack::<1>(values),
        2 => pack::<2>(values),
        3 => pack::<3>(values),
        4 => pack::<4>(values),
        5 => pack::<5>(values),
        6 => pack::<6>(values),
        7 => pack::<7>(values),
        _ => pack::<8>(values),
    }
}

/// Eight values make `BITS` bytes.
fn pack<const BITS: usize>(values: &[u8]) -> Vec<u8> {
    let mask = ((1u16 << BITS) - 1) as u8;
    let (whole, rest) = values.as_chunks::<8>();
    let mut out = vec![0u8; whole.len() * BITS + (rest.len() * BITS).div_ceil(8)];
    let word = |eight: &[u8]| eight.iter().rev().fold(0u64, |word, &v| word << BITS | u64::from(v & mask));
    let (packed, last) = out.split_at_mut(whole.len() * BITS);
    for (to, eight) in packed.as_chunks_mut::<BITS>().0.iter_mut().zip(whole) {
        to.copy_from_slice(&word(eight).to_le_bytes()[..BITS]);
    }
    last.copy_from_slice(&word(rest).to_le_bytes()[..last.len()]);
    out
}

/// Element `index` of a packed stream; missing bytes read as zero.
#[must_use]
pub fn unpack_bits_at(packed: &[u8], bits: usize, index: usize) -> u8 {
    let (byte, shift) = (index * bits / 8, index * bits % 8);
    let at = |i: usize| u16::from(packed.get(i).copied().unwrap_or(0));
    let wide = at(byte) | at(byte + 1) << 8;
    (wide >> shift) as u8 & ((1u16 << bits) - 1) as u8
}

/// Unpacks `n` values of `bits` bits each; missing bytes read as zero.
#[must_use]
pub fn unpack_bits(packed: &[u8], bits: usize, n: usize) -> Vec<u8> {
    debug_assert!((1..=8).contains(&bits));
    let mask = (1u64 << bits) - 1;
    let mut out = vec![0u8; n];
    let whole = out.as_chunks_mut::<8>().0.iter_mut().zip(packed.chunks_exact(bits));
    let mut done = 0;
    for (eight, bytes) in whole {
        let mut word = bytes.iter().rev().fold(0u64, |word, &b| word << 8 | u64::from(b));
        for v in eight {
            *v = (word & mask) as u8;
            word >>= bits;
        }
        done += 8;
    }
    (done..n).for_each(|i| out[i] = unpack_bits_at(packed, bits, i));
    out
}

#[cfg(test)]
mod tests {
    use super::{pack_bits, unpack_bits};
    use proptest::prelude::*;

    #[test]
    fn golden_vectors_of_the_blob_format() {
        assert_eq!(pack_bits(&[1, 0, 0, 1, 1, 1, 0, 1, 1], 1), [0xB9, 0x01]);
        assert_eq!(pack_bits(&[0, 1, 2, 3, 3], 2), [0xE4, 0x03]);
        assert_eq!(pack_bits(&[1, 2, 3, 4, 5, 6, 7, 0, 5], 3), [0xD1, 0x58, 0x1F, 0x05]);
        assert_eq!(pack_bits(&[1, 2, 15], 4), [0x21, 0x0F]);
        assert_eq!(pack_bits(&[1, 2, 63, 32, 5], 6), [0x81, 0xF0, 0x83, 0x05]);
        assert_eq!(pack_bits(&[1, 2, 3, 4, 5], 6), [0x81, 0x30, 0x10, 0x05]);
    }

    proptest! {
        #[test]
        fn unpack_inverts_pack(values in proptest::collection::vec(any::<u8>(), 0..70), bits in 1usize..=8) {
            let low: Vec<u8> = values.iter().map(|v| v & ((1u16 << bits) - 1) as u8).collect();
            prop_assert_eq!(unpack_bits(&pack_bits(&values, bits), bits, low.len()), low);
        }
    }
}
