//! Messages that are put together from bytes: operation after operation, level around level.
//!
//! The operations of a large network are some 40 MB as messages and 7 MB as bytes, so each is encoded when it is made.
//! A message is the concatenation of its fields, and a field that is a message looks like one that is bytes; fields are
//! put in the order of their numbers, and what is empty is left out, so that the bytes are those of the whole message.

use coremltools_proto::Message;

/// Wire type of fields with a length.
const DELIMITED: u64 = 2;

fn put_varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn varint_len(n: usize) -> usize {
    (usize::BITS - (n | 1).leading_zeros()).div_ceil(7) as usize
}

fn put_head(out: &mut Vec<u8>, field: u32, n_bytes: usize) {
    put_varint(out, u64::from(field) << 3 | DELIMITED);
    put_varint(out, n_bytes as u64);
}

/// Appends a field that is this message, or these bytes, whichever it is declared as.
pub(super) fn put_bytes(out: &mut Vec<u8>, field: u32, bytes: &[u8]) {
    out.reserve(bytes.len() + 16);
    put_head(out, field, bytes.len());
    out.extend_from_slice(bytes);
}

/// Appends a field that is this message.
pub(super) fn put_message(out: &mut Vec<u8>, field: u32, message: &impl Message) {
    put_head(out, field, message.encoded_len());
    out.extend(message.encode_to_vec());
}

/// Appends an entry of a map from names to messages; neither key nor value is written where it is empty.
pub(super) fn put_entry(out: &mut Vec<u8>, field: u32, key: &str, value: &[u8]) {
    let len = |n: usize| if n == 0 { 0 } else { 1 + varint_len(n) + n };
    out.reserve(key.len() + value.len() + 32);
    put_head(out, field, len(key.len()) + len(value.len()));
    for (number, bytes) in [(1, key.as_bytes()), (2, value)].into_iter().filter(|(_, bytes)| !bytes.is_empty()) {
        put_head(out, number, bytes.len());
        out.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coremltools_proto::mil_spec::{Block, Function, Operation};
    use std::collections::BTreeMap;

    #[test]
    fn lengths_are_those_of_what_is_written() {
        for n in [0, 1, 127, 128, 16_383, 16_384, 1 << 21, usize::MAX] {
            let mut out = Vec::new();
            put_varint(&mut out, n as u64);
            assert_eq!(out.len(), varint_len(n), "{n}");
        }
    }

    #[test]
    fn bytes_are_those_of_the_whole_message() {
        for (key, n) in [("CoreML6", 300), ("CoreML6", 0), ("", 3), ("", 0)] {
            let operation = |i| Operation { r#type: format!("op{i}").repeat(i), ..Operation::default() };
            let block = Block { operations: (0..n).map(operation).collect(), ..Block::default() };
            let mut of_block = Vec::new();
            block.operations.iter().for_each(|operation| put_message(&mut of_block, 3, operation));
            assert_eq!(of_block, block.encode_to_vec());
            let mut of_function = Function { opset: "o".into(), ..Function::default() }.encode_to_vec();
            put_entry(&mut of_function, 3, key, &of_block);
            let block_specializations = BTreeMap::from([(key.to_owned(), block)]);
            let function = Function { opset: "o".into(), block_specializations, ..Function::default() };
            assert_eq!(of_function, function.encode_to_vec(), "{key:?} {n}");
        }
    }
}
