//! `coremldata.bin`: what a compiled model is, and its description. Numbers are little endian.
//!
//! ```text
//! u32 type      number of the field of `Model.Type`: 502 a program, 202 a pipeline
//! u32 version   of what is compiled: 5 up to specification version 7, then the specification version; 1 of a pipeline
//! u32 0, 0, 0   u32 1 of a pipeline, else 0   u32 0
//! text          for whom the body is: "generic", and of a pipeline the versions and texts of its models behind it
//! u64 specification version   u64 0, 0, 0
//! bytes         the description, as it stands in the model file
//! tail          of each function u64 502, 0; of a pipeline u64 number of models, 202
//! ```
//! Texts and bytes have a u64 of their length before them.

use super::{ML_PROGRAM, PIPELINE};

/// For whom the body of programs and pipelines is.
pub(crate) const GENERIC: &str = "generic";

/// What `coremldata.bin` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Container<'b> {
    /// Number of the field of `Model.Type`.
    pub(crate) kind: u32,
    pub(crate) specification_version: u64,
    /// The encoded description.
    pub(crate) description: &'b [u8],
    pub(crate) tail: Tail,
}

/// What stands behind the description.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tail {
    /// A program of so many functions.
    Functions(usize),
    /// A pipeline of so many models.
    Models(usize),
}

impl Container<'_> {
    /// The version of the compiled form.
    fn version(&self) -> u64 {
        match self.tail {
            Tail::Models(_) => 1,
            Tail::Functions(_) if self.specification_version < 8 => 5,
            Tail::Functions(_) => self.specification_version,
        }
    }

    /// The bytes of the file; `reader` is for whom the body is.
    pub(crate) fn write(&self, reader: &str) -> Vec<u8> {
        let mut out = Vec::new();
        for number in [u64::from(self.kind), self.version(), 0, 0, 0, u64::from(self.kind == PIPELINE), 0] {
            // Versions and field numbers are small.
            out.extend(u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes());
        }
        put_bytes(&mut out, reader.as_bytes());
        put_numbers(&mut out, &[self.specification_version, 0, 0, 0]);
        put_bytes(&mut out, self.description);
        match self.tail {
            Tail::Functions(n) => (0..n).for_each(|_| put_numbers(&mut out, &[u64::from(ML_PROGRAM), 0])),
            Tail::Models(n) => put_numbers(&mut out, &[n as u64, u64::from(PIPELINE)]),
        }
        out
    }

    /// What a pipeline says of it: its version, and for whom its body is.
    pub(crate) fn named(&self, reader: &str) -> String {
        format!("v{}.0.0{reader}", self.version())
    }
}

/// Reads a container.
///
/// # Errors
/// What is wrong, in words.
pub(crate) fn read(bytes: &[u8]) -> Result<Container<'_>, String> {
    let cut = |what: &str| format!("it ends in {what}");
    let mut rest = Cursor(bytes);
    let kind = rest.u32().ok_or_else(|| cut("the type"))?;
    for _ in 0..6 {
        rest.u32().ok_or_else(|| cut("its head"))?;
    }
    let reader = rest.bytes().ok_or_else(|| cut("the kind of its body"))?;
    let specification_version = rest.u64().ok_or_else(|| cut("the specification version"))?;
    for _ in 0..3 {
        rest.u64().ok_or_else(|| cut("its head"))?;
    }
    if !reader.starts_with(GENERIC.as_bytes()) {
        let reader = String::from_utf8_lossy(&reader[..reader.len().min(40)]).into_owned();
        return Err(format!("its body is for {reader:?}, which is known of models that are no programs"));
    }
    let description = rest.bytes().ok_or_else(|| cut("the description"))?;
    let tail = if kind == PIPELINE {
        let n = rest.u64().ok_or_else(|| cut("the number of models"))?;
        Tail::Models(usize::try_from(n).map_err(|_| format!("{n} models"))?)
    } else {
        Tail::Functions(rest.0.len() / 16)
    };
    Ok(Container { kind, specification_version, description, tail })
}

/// The names of a pipeline's models: `modelNames/coremldata.bin`.
pub(crate) fn write_names(names: &[String]) -> Vec<u8> {
    let mut out = Vec::new();
    put_numbers(&mut out, &[names.len() as u64]);
    names.iter().for_each(|name| put_bytes(&mut out, name.as_bytes()));
    out
}

/// Reads the names of a pipeline's models.
///
/// # Errors
/// What is wrong, in words.
pub(crate) fn read_names(bytes: &[u8]) -> Result<Vec<String>, String> {
    let mut rest = Cursor(bytes);
    let n = rest.u64().ok_or("it has no number of names")?;
    let mut names = Vec::new();
    // Each name takes its length at least: what is not there is found before anything is set aside for it.
    for i in 0..n {
        let name = rest.bytes().ok_or_else(|| format!("it has {i} of {n} names"))?;
        names.push(String::from_utf8(name.to_vec()).map_err(|_| format!("name {i} is not UTF-8"))?);
    }
    Ok(names)
}

/// A section of `analytics/coremldata.bin`: a name and pairs.
pub(crate) type Section<'s> = (&'s str, &'s [(&'s str, String)]);

/// The bytes of `analytics/coremldata.bin`.
pub(crate) fn write_analytics(sections: &[Section<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, pairs) in sections {
        put_bytes(&mut out, name.as_bytes());
        put_numbers(&mut out, &[pairs.len() as u64]);
        for (key, value) in *pairs {
            put_bytes(&mut out, key.as_bytes());
            put_bytes(&mut out, value.as_bytes());
        }
    }
    out
}

fn put_numbers(out: &mut Vec<u8>, numbers: &[u64]) {
    out.extend(numbers.iter().flat_map(|n| n.to_le_bytes()));
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_numbers(out, &[bytes.len() as u64]);
    out.extend_from_slice(bytes);
}

/// What has not been read.
struct Cursor<'b>(&'b [u8]);

impl<'b> Cursor<'b> {
    fn take(&mut self, n: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn bytes(&mut self) -> Option<&'b [u8]> {
        let n = self.u64()?;
        self.take(usize::try_from(n).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(specification_version: u64) -> Container<'static> {
        Container { kind: ML_PROGRAM, specification_version, description: b"abc", tail: Tail::Functions(2) }
    }

    #[test]
    fn what_is_written_is_read_and_every_cut_is_noticed() {
        let pipeline =
            Container { kind: PIPELINE, specification_version: 9, description: b"xy", tail: Tail::Models(2) };
        for (container, reader, least) in [(program(7), GENERIC, 0x53 + 3), (pipeline, "generic.model0", 0x53 + 17)] {
            let bytes = container.write(reader);
            assert_eq!(read(&bytes).unwrap(), container);
            for end in 0..least {
                assert!(read(&bytes[..end]).is_err(), "{end}");
            }
        }
    }

    #[test]
    fn the_compiled_version_is_five_up_to_specification_seven() {
        for (specification, version) in [(6, 5), (7, 5), (8, 8), (9, 9), (10, 10)] {
            assert_eq!(program(specification).write(GENERIC)[4], version);
        }
        let pipeline = Container { kind: PIPELINE, specification_version: 6, description: b"", tail: Tail::Models(1) };
        let bytes = pipeline.write(GENERIC);
        assert_eq!((bytes[4], bytes[0x14]), (1, 1));
        assert_eq!(program(6).named(GENERIC), "v5.0.0generic");
    }

    #[test]
    fn names_survive_and_a_number_without_names_is_no_list() {
        let names = ["a".to_owned(), String::new(), "große".to_owned()];
        assert_eq!(read_names(&write_names(&names)).unwrap(), names);
        assert!(read_names(&u64::MAX.to_le_bytes()).is_err());
        assert!(read_names(&[]).is_err());
    }
}
