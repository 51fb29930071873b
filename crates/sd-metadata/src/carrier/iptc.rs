//! IPTC data sets within Photoshop's resources, which is where Mochi Diffusion's JPEG files have them.
//!
//! IPTC-NAA Information Interchange Model 4: 0x1C, record, data set, two bytes of length, value.

use super::{Carrier, Sink, utf8_or_latin1};

/// Number of the resource that holds data sets.
const DATA_SETS: u16 = 0x0404;

/// Walks Photoshop's resources: `8BIM`, number, name, length, data, each padded to an even length.
pub(super) fn read(mut rest: &[u8], sink: &mut Sink) {
    while let Some(after) = rest.strip_prefix(b"8BIM") {
        let Some((resource, data, next)) = resource(after) else {
            return sink.fault("IPTC: a resource of Photoshop's is cut off".to_owned());
        };
        if resource == DATA_SETS {
            data_sets(data, sink);
        }
        rest = next;
    }
}

/// Number and data of a resource, and what follows it.
fn resource(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    let name_bytes = usize::from(*rest.first()?) + 1;
    let rest = rest.get(name_bytes + name_bytes % 2..)?;
    let (length, rest) = rest.split_first_chunk()?;
    let length = u32::from_be_bytes(*length) as usize;
    let (data, rest) = rest.split_at_checked(length)?;
    Some((u16::from_be_bytes(*number), data, rest.get(length % 2..).unwrap_or_default()))
}

/// Takes what tools write: caption, program and its version.
fn data_sets(mut rest: &[u8], sink: &mut Sink) {
    while let [0x1C, record, number, high, low, after @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let Some((value, next)) = after.split_at_checked(length) else {
            return sink.fault(format!("IPTC: data set {record}:{number} is cut off"));
        };
        let keyword = match (record, number) {
            (2, 120) => Some("Caption"),
            (2, 65) => Some("OriginatingProgram"),
            (2, 70) => Some("ProgramVersion"),
            _ => None,
        };
        if let Some(keyword) = keyword {
            sink.text(Carrier::Iptc, keyword, utf8_or_latin1(value));
        }
        rest = next;
    }
}
