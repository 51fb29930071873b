//! The fields of a message, as bytes: some must be written again exactly as they were read.
//!
//! Decoding a message sorts its maps, and what compiled models hold is the source's own order.

use crate::error::{Error, ModelFault, model_error};

/// One field: its number, and what is between it and the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field<'b> {
    /// A number.
    Number(u32, u64),
    /// A message, text or bytes.
    Bytes(u32, &'b [u8]),
    /// Anything else, which nobody here asks for.
    Other,
}

/// The fields of a message in order.
///
/// # Errors
/// [`Error::Protobuf`] when the bytes are no message.
pub(super) fn fields(bytes: &[u8]) -> Result<Vec<Field<'_>>, Error> {
    let mut rest = Some(bytes).filter(|b| !b.is_empty());
    let mut fields = Vec::new();
    while let Some(at) = rest {
        let (field, after) = field(at).ok_or_else(|| Error::Protobuf { message: "a field is cut off".to_owned() })?;
        fields.push(field);
        rest = Some(after).filter(|b| !b.is_empty());
    }
    Ok(fields)
}

fn field(bytes: &[u8]) -> Option<(Field<'_>, &[u8])> {
    let (key, rest) = varint(bytes)?;
    let number = u32::try_from(key >> 3).ok()?;
    Some(match key & 7 {
        0 => {
            let (value, rest) = varint(rest)?;
            (Field::Number(number, value), rest)
        }
        1 => (Field::Other, rest.get(8..)?),
        2 => {
            let (n, rest) = varint(rest)?;
            let (value, rest) = rest.split_at_checked(usize::try_from(n).ok()?)?;
            (Field::Bytes(number, value), rest)
        }
        5 => (Field::Other, rest.get(4..)?),
        _ => return None,
    })
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0u64;
    for (i, &byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f).checked_shl(7 * u32::try_from(i).ok()?)?;
        if byte & 0x80 == 0 {
            return Some((value, &bytes[i + 1..]));
        }
    }
    None
}

/// The one field of this number that holds bytes.
///
/// # Errors
/// [`Error::Protobuf`], or [`ModelFault::Duplicate`], which a decoder would merge.
pub(super) fn only<'b>(bytes: &'b [u8], number: u32, what: &str) -> Result<Option<&'b [u8]>, Error> {
    let mut found = None;
    for field in fields(bytes)? {
        if let Field::Bytes(n, value) = field
            && n == number
            && found.replace(value).is_some()
        {
            return Err(model_error("model", ModelFault::Duplicate(what.to_owned())));
        }
    }
    Ok(found)
}

/// Every field of this number that holds bytes.
///
/// # Errors
/// [`Error::Protobuf`].
pub(super) fn all(bytes: &[u8], number: u32) -> Result<Vec<&[u8]>, Error> {
    let of = |field| match field {
        Field::Bytes(n, value) if n == number => Some(value),
        _ => None,
    };
    Ok(fields(bytes)?.into_iter().filter_map(of).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_cut_where_they_end_and_nowhere_else() {
        let message = [0x08, 0x96, 0x01, 0x12, 2, b'h', b'i', 0x1d, 1, 2, 3, 4, 0xa2, 6, 0];
        let expected = [Field::Number(1, 150), Field::Bytes(2, b"hi"), Field::Other, Field::Bytes(100, b"")];
        assert_eq!(fields(&message).unwrap(), expected);
        for end in 1..message.len() {
            let n = fields(&message[..end]).map(|f| f.len());
            assert_eq!(n.is_ok(), [3, 7, 12].contains(&end), "{end}: {n:?}");
        }
        assert_eq!(only(&message, 2, "x").unwrap(), Some(&b"hi"[..]));
        assert!(only(&[0x12, 0, 0x12, 0], 2, "x").is_err());
        assert_eq!(all(&[0x12, 0, 0x12, 1, 7], 2).unwrap(), [&b""[..], &[7]]);
        assert!(fields(&[0xff; 16]).is_err());
        assert!(fields(&[0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]).is_err());
    }
}
