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
    debug_assert!((1..=8).contains(&bits));
    let mut out = vec![0u8; values.len() / 8 * bits + (values.len() % 8 * bits).div_ceil(8)];
    let mask = ((1u16 << bits) - 1) as u8;
    for (i, &v) in values.iter().enumerate() {
        let (byte, shift) = (i * bits / 8, i * bits % 8);
        let wide = u16::from(v & mask) << shift;
        out[byte] |= wide as u8;
        if shift + bits > 8 {
            out[byte + 1] |= (wide >> 8) as u8;
        }
    }
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
    (0..n).map(|i| unpack_bits_at(packed, bits, i)).collect()
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
