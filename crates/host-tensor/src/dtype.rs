//! Element types and their MIL names.

/// The type of a tensor's elements.
///
/// The set is that of Core ML's MIL (`MILSpec.DataType`) without strings and without the 8-bit floats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DType {
    /// One byte per element, 0 or 1.
    Bool,
    /// IEEE 754 half precision.
    F16,
    /// bfloat16: the upper half of an `f32`.
    BF16,
    /// IEEE 754 single precision.
    F32,
    /// IEEE 754 double precision.
    F64,
    /// Signed 4-bit integer, two to a byte.
    I4,
    /// Signed 8-bit integer.
    I8,
    /// Signed 16-bit integer.
    I16,
    /// Signed 32-bit integer.
    I32,
    /// Signed 64-bit integer.
    I64,
    /// Unsigned 1-bit integer, eight to a byte.
    U1,
    /// Unsigned 2-bit integer, four to a byte.
    U2,
    /// Unsigned 3-bit integer, packed without gaps.
    U3,
    /// Unsigned 4-bit integer, two to a byte.
    U4,
    /// Unsigned 6-bit integer, packed without gaps.
    U6,
    /// Unsigned 8-bit integer.
    U8,
    /// Unsigned 16-bit integer.
    U16,
    /// Unsigned 32-bit integer.
    U32,
    /// Unsigned 64-bit integer.
    U64,
}

impl DType {
    /// Every type, in declaration order.
    pub const ALL: [Self; 19] = [
        Self::Bool,
        Self::F16,
        Self::BF16,
        Self::F32,
        Self::F64,
        Self::I4,
        Self::I8,
        Self::I16,
        Self::I32,
        Self::I64,
        Self::U1,
        Self::U2,
        Self::U3,
        Self::U4,
        Self::U6,
        Self::U8,
        Self::U16,
        Self::U32,
        Self::U64,
    ];

    /// Bits that one element takes in storage.
    #[must_use]
    pub const fn bits(self) -> usize {
        match self {
            Self::U1 => 1,
            Self::U2 => 2,
            Self::U3 => 3,
            Self::I4 | Self::U4 => 4,
            Self::U6 => 6,
            Self::Bool | Self::I8 | Self::U8 => 8,
            Self::F16 | Self::BF16 | Self::I16 | Self::U16 => 16,
            Self::F32 | Self::I32 | Self::U32 => 32,
            Self::F64 | Self::I64 | Self::U64 => 64,
        }
    }

    /// Bytes that `n` elements take, the last byte padded; `None` on overflow.
    #[must_use]
    pub fn byte_len(self, n: usize) -> Option<usize> {
        let bits = self.bits();
        if bits >= 8 {
            n.checked_mul(bits / 8)
        } else {
            // n · bits may overflow where the byte count does not: whole groups of eight first.
            (n / 8).checked_mul(bits)?.checked_add((n % 8 * bits).div_ceil(8))
        }
    }

    /// True for types narrower than a byte, whose elements are packed.
    #[must_use]
    pub const fn is_sub_byte(self) -> bool {
        self.bits() < 8
    }

    /// True for floating-point types.
    #[must_use]
    pub const fn is_float(self) -> bool {
        matches!(self, Self::F16 | Self::BF16 | Self::F32 | Self::F64)
    }

    /// True for integer types; booleans are not integers.
    #[must_use]
    pub const fn is_int(self) -> bool {
        !self.is_float() && !matches!(self, Self::Bool)
    }

    /// True for the signed integer types.
    #[must_use]
    pub const fn is_signed_int(self) -> bool {
        matches!(self, Self::I4 | Self::I8 | Self::I16 | Self::I32 | Self::I64)
    }

    /// The name in MIL's text form, for example `fp16`, `int32`, `uint4`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::F16 => "fp16",
            Self::BF16 => "bf16",
            Self::F32 => "fp32",
            Self::F64 => "fp64",
            Self::I4 => "int4",
            Self::I8 => "int8",
            Self::I16 => "int16",
            Self::I32 => "int32",
            Self::I64 => "int64",
            Self::U1 => "uint1",
            Self::U2 => "uint2",
            Self::U3 => "uint3",
            Self::U4 => "uint4",
            Self::U6 => "uint6",
            Self::U8 => "uint8",
            Self::U16 => "uint16",
            Self::U32 => "uint32",
            Self::U64 => "uint64",
        }
    }

    /// The type with this MIL name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|d| d.name() == name)
    }
}

impl std::fmt::Display for DType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::DType;

    #[test]
    fn names_round_trip() {
        for d in DType::ALL {
            assert_eq!(DType::from_name(d.name()), Some(d));
        }
        assert_eq!(DType::from_name("float"), None);
    }

    #[test]
    fn packed_lengths_round_up_and_do_not_overflow() {
        assert_eq!(DType::U3.byte_len(9), Some(4));
        assert_eq!(DType::U1.byte_len(9), Some(2));
        assert_eq!(DType::U6.byte_len(4), Some(3));
        assert_eq!(DType::U4.byte_len(usize::MAX), Some(usize::MAX / 2 + 1));
        assert_eq!(DType::F32.byte_len(usize::MAX / 2), None);
    }
}
