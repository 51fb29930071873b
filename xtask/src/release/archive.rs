//! A `.tar.gz` whose bytes follow from its files alone.

use std::collections::BTreeMap;

use anyhow::Result;
use flate2::{Compression, GzBuilder};
use tar::{Builder, EntryType, Header};

/// 1 January 1980, the first day that every archiver takes for a date.
const TIME: u64 = 315_532_800;

/// A file of the archive.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) bytes: Vec<u8>,
    is_program: bool,
}

impl Entry {
    pub(super) fn text(text: String) -> Self {
        Self { bytes: text.into_bytes(), is_program: false }
    }

    pub(super) fn program(bytes: Vec<u8>) -> Self {
        Self { bytes, is_program: true }
    }
}

/// The archive: all files below one folder, in the order of their names, owned by nobody in particular.
pub(super) fn write(folder: &str, entries: &BTreeMap<String, Entry>) -> Result<Vec<u8>> {
    // 255 is the format's "unknown": the name of the system is left out.
    let gzip = GzBuilder::new().mtime(0).operating_system(255).write(Vec::new(), Compression::best());
    let mut tar = Builder::new(gzip);
    for (name, entry) in entries {
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::Regular);
        header.set_size(entry.bytes.len() as u64);
        header.set_mode(if entry.is_program { 0o755 } else { 0o644 });
        header.set_mtime(TIME);
        header.set_uid(0);
        header.set_gid(0);
        tar.append_data(&mut header, format!("{folder}/{name}"), &entry.bytes[..])?;
    }
    Ok(tar.into_inner()?.finish()?)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn entries() -> BTreeMap<String, Entry> {
        BTreeMap::from([
            ("man/smelt.1".to_owned(), Entry::text("a page".into())),
            ("smelt".to_owned(), Entry::program(vec![7; 70_000])),
        ])
    }

    #[test]
    fn the_same_files_are_the_same_bytes() {
        let first = write("smelt-1", &entries()).expect("an archive");
        std::thread::sleep(std::time::Duration::from_millis(1100));
        assert!(first == write("smelt-1", &entries()).expect("an archive"));
    }

    #[test]
    fn what_comes_out_is_what_went_in() {
        let bytes = write("smelt-1", &entries()).expect("an archive");
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(&bytes[..]));
        let mut seen = Vec::new();
        for entry in archive.entries().expect("entries") {
            let mut entry = entry.expect("an entry");
            let mut content = Vec::new();
            entry.read_to_end(&mut content).expect("content");
            let path = entry.path().expect("a path").display().to_string();
            seen.push((path, entry.header().mode().expect("a mode"), content.len()));
        }
        assert_eq!(seen, [("smelt-1/man/smelt.1".into(), 0o644, 6), ("smelt-1/smelt".into(), 0o755, 70_000)]);
    }
}
