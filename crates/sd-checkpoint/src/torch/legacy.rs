//! The form before version 1.6: five pickles one after another, then the storages' bytes.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

use super::Storages;
use super::storage::Id;
use crate::pickle::{Item, Kind, Pickle};

// torch/serialization.py, PyTorch 2.15, _legacy_save: a number of ten bytes, the version of the form, and the machine.
const MAGIC: &[u8] = b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.";
const VERSION: i64 = 1001;

/// The pickles of a file, one after another.
struct Pickles<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Pickles<'_> {
    fn next(&mut self, what: &str) -> Result<Pickle, String> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let (pickle, n) = Pickle::read_first(rest).map_err(|e| format!("{what} cannot be read: {e}"))?;
        self.at += n;
        Ok(pickle)
    }
}

pub(super) fn read(bytes: &Bytes) -> Result<(Pickle, Storages), String> {
    if !bytes.get(2..).is_some_and(|rest| rest.starts_with(MAGIC)) {
        return Err("it is a Python pickle, but none of PyTorch".to_owned());
    }
    let mut pickles = Pickles { bytes, at: 2 + MAGIC.len() };
    let version = pickles.next("its version")?;
    if !matches!(version.root().kind(), Kind::Int(VERSION)) {
        return Err("it is of a version that is not read".to_owned());
    }
    let machine = pickles.next("its description of the machine")?;
    if !machine.root().get("little_endian").is_some_and(|value| matches!(value.kind(), Kind::Bool(true))) {
        return Err("its numbers are big-endian; save it on another machine".to_owned());
    }
    let pickle = pickles.next("its pickle")?;
    let keys = pickles.next("its list of storages")?;
    let storages = storages(bytes, pickles.at, keys.root(), &pickle)?;
    Ok((pickle, storages))
}

/// The storages in the order of their keys: how many elements there are, and these.
fn storages(bytes: &Bytes, mut at: usize, keys: Item<'_>, pickle: &Pickle) -> Result<Storages, String> {
    let elements = elements_of(pickle)?;
    let Kind::List(keys) = keys.kind() else { return Err("its list of storages is none".to_owned()) };
    let mut storages = BTreeMap::new();
    for key in keys.iter() {
        let key = key.text().ok_or("the key of a storage is no text")?;
        let cut_off = || format!("it breaks off in storage {key}, at byte {at}");
        let element_bytes = elements.get(key).ok_or_else(|| format!("no tensor has storage {key}"))?;
        let count = bytes.get(at..).and_then(|rest| rest.first_chunk()).ok_or_else(cut_off)?;
        let n_bytes = usize::try_from(u64::from_le_bytes(*count)).ok().and_then(|n| n.checked_mul(*element_bytes));
        let start = at + size_of::<u64>();
        let end = n_bytes.and_then(|n| start.checked_add(n)).filter(|&end| end <= bytes.len()).ok_or_else(cut_off)?;
        if storages.insert(key.to_owned(), Some(bytes.slice(start..end))).is_some() {
            return Err(format!("storage {key} is in it twice"));
        }
        at = end;
    }
    Ok(Storages::new(storages))
}

/// Bytes of an element of each storage, which only its references say.
fn elements_of(pickle: &Pickle) -> Result<HashMap<&str, usize>, String> {
    let mut elements = HashMap::new();
    for item in pickle.all().filter(|item| matches!(item.kind(), Kind::Persistent(_))) {
        let Id { key, class, .. } = Id::of(item)?;
        let n = class.element_bytes();
        if *elements.entry(key).or_insert(n) != n {
            return Err(format!("storage {key} has elements of several types"));
        }
    }
    Ok(elements)
}
