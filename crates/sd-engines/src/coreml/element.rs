//! Element types as Core ML numbers them.

use host_tensor::DType;

/// `MLMultiArrayDataType` (macOS 26 SDK): a bit for the kind, and the width.
const TYPES: [(isize, DType); 5] = [
    (0x1_0010, DType::F16),
    (0x1_0020, DType::F32),
    (0x1_0040, DType::F64),
    (0x2_0008, DType::I8),
    (0x2_0020, DType::I32),
];

/// The type that Core ML has this number for.
pub(super) fn dtype_of(code: isize) -> Option<DType> {
    TYPES.iter().find(|(own, _)| *own == code).map(|(_, dtype)| *dtype)
}

/// Core ML's number of a type; arrays have no others.
pub(super) fn code_of(dtype: DType) -> Option<isize> {
    TYPES.iter().find(|(_, own)| *own == dtype).map(|(code, _)| *code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_of_arrays_have_the_numbers_of_the_header_and_others_have_none() {
        for (code, dtype) in TYPES {
            assert_eq!((dtype_of(code), code_of(dtype)), (Some(dtype), Some(code)));
            assert_eq!(code & 0xff, dtype.bits() as isize);
        }
        assert_eq!(code_of(DType::Bool), None);
        assert_eq!(dtype_of(0x1_0008), None);
        assert_eq!(dtype_of(-1), None);
    }
}
