//! EXIF that holds one comment: a TIFF header, a directory that points to EXIF's own, and that one's `UserComment`.
// EXIF 2.32, 4.6.5; the order of bytes is the one that AUTOMATIC1111's web UI writes.

/// The block of a text.
pub(super) fn block(text: &str) -> Vec<u8> {
    const LONG: u16 = 4;
    const UNDEFINED: u16 = 7;
    const EXIF_DIRECTORY: u16 = 0x8769;
    const USER_COMMENT: u16 = 0x9286;
    let mut comment = b"UNICODE\0".to_vec();
    comment.extend(text.encode_utf16().flat_map(u16::to_be_bytes));
    let length = u32::try_from(comment.len()).unwrap_or(u32::MAX);
    let mut block = b"MM\0*\0\0\0\x08".to_vec();
    // Directories of one entry are 18 bytes long.
    block.extend(directory(EXIF_DIRECTORY, LONG, 1, 8 + 18));
    block.extend(directory(USER_COMMENT, UNDEFINED, length, 8 + 2 * 18));
    block.extend(comment);
    block
}

/// A directory of one entry, and no next one.
fn directory(tag: u16, kind: u16, count: u32, value: u32) -> Vec<u8> {
    let mut bytes = 1u16.to_be_bytes().to_vec();
    bytes.extend(tag.to_be_bytes());
    bytes.extend(kind.to_be_bytes());
    for number in [count, value, 0] {
        bytes.extend(number.to_be_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_is_laid_out_as_readers_expect_it() {
        let block = block("aé");
        let want = [
            &b"MM\0*\0\0\0\x08"[..],
            b"\0\x01\x87\x69\0\x04\0\0\0\x01\0\0\0\x1a\0\0\0\0",
            b"\0\x01\x92\x86\0\x07\0\0\0\x0c\0\0\0\x2c\0\0\0\0",
            b"UNICODE\0\0a\0\xe9",
        ];
        assert_eq!(block, want.concat());
    }
}
