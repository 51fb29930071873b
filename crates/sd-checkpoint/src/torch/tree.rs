//! What a pickle holds, by keys.

use std::collections::BTreeMap;

use super::{Storages, TorchEntry, tensor};
use crate::pickle::{Item, Kind};

/// Dictionaries within dictionaries: those of optimisers have six.
const MAX_DEPTH: usize = 32;
/// Values that are looked at; a value that is used several times counts as several.
const MAX_VALUES: usize = 1 << 20;
/// Characters of all keys together.
const MAX_KEY_BYTES: usize = 64 << 20;

/// Keys under which trainings keep the state of the model.
///
/// Trainings of upscalers keep an average beside it, which is what they draw with.
const STATES: [&str; 6] = ["state_dict", "model_state_dict", "module", "model", "params_ema", "params"];

/// What modules of PyTorch keep their tensors and other modules in.
const PARTS: [&str; 3] = ["_parameters", "_buffers", "_modules"];

struct Place<'a> {
    item: Item<'a>,
    key: String,
    depth: usize,
}

/// Every value that holds no others, by key.
pub(super) fn entries(root: Item<'_>, storages: &Storages) -> Result<BTreeMap<String, TorchEntry>, String> {
    let mut found = BTreeMap::new();
    let mut left = vec![Place { item: root, key: String::new(), depth: 0 }];
    let (mut n_values, mut key_bytes) = (1, 0);
    while let Some(place) = left.pop() {
        if let Some(entry) = leaf(place.item, storages) {
            if found.insert(place.key.clone(), entry).is_some() {
                return Err(format!("{} is in it twice", place.key));
            }
            continue;
        }
        if place.depth == MAX_DEPTH {
            return Err(format!("values are nested more than {MAX_DEPTH} deep at {}", place.key));
        }
        for (name, item) in inside(place.item) {
            let key = joined(&place.key, name);
            (n_values, key_bytes) = (n_values + 1, key_bytes + key.len());
            if n_values > MAX_VALUES || key_bytes > MAX_KEY_BYTES {
                return Err("it holds more values than any model has".to_owned());
            }
            left.push(Place { item, key, depth: place.depth + 1 });
        }
    }
    Ok(found)
}

/// What the keys of the model's state begin with.
pub(super) fn state(root: Item<'_>) -> String {
    let (mut item, mut key) = (root, String::new());
    for _ in 0..MAX_DEPTH {
        let inner = STATES.iter().find_map(|name| Some((*name, item.get(name)?)));
        let Some((name, inner)) = inner.filter(|(_, inner)| inner.is_dictionary() || is_module(*inner)) else { break };
        (item, key) = (inner, format!("{key}{name}."));
    }
    key
}

/// The name of a part, or a number; the parts of a module are named as if they were its own.
type Name<'a> = Option<std::borrow::Cow<'a, str>>;

fn joined(start: &str, name: Name<'_>) -> String {
    match name {
        None => start.to_owned(),
        Some(name) if start.is_empty() => name.into_owned(),
        Some(name) => format!("{start}.{name}"),
    }
}

/// The entry of a value that is not looked into.
fn leaf(item: Item<'_>, storages: &Storages) -> Option<TorchEntry> {
    Some(match item.kind() {
        Kind::None => TorchEntry::None,
        Kind::Bool(value) => TorchEntry::Bool(value),
        Kind::Int(value) => TorchEntry::Int(value),
        Kind::Float(value) => TorchEntry::Float(value),
        Kind::Text(text) => TorchEntry::Text(text.to_owned()),
        Kind::Global(name) => TorchEntry::Object(name.to_owned()),
        Kind::Persistent(_) | Kind::Other => TorchEntry::Object("bytes".to_owned()),
        Kind::Tuple(_) | Kind::List(_) | Kind::Dict => return None,
        Kind::Call { .. } | Kind::Object { .. } => {
            if let Some(entry) = tensor::entry(item, storages) {
                return Some(entry);
            }
            if item.is_dictionary() || is_module(item) {
                return None;
            }
            let name = item.class().or_else(|| item.call().map(|call| call.0));
            TorchEntry::Object(name.unwrap_or("unknown").to_owned())
        }
    })
}

fn is_module(item: Item<'_>) -> bool {
    item.state().is_some_and(|state| PARTS.iter().any(|part| state.get(part).is_some()))
}

/// What a value holds, by name.
fn inside(item: Item<'_>) -> Box<dyn Iterator<Item = (Name<'_>, Item<'_>)> + '_> {
    if let Kind::Tuple(items) | Kind::List(items) = item.kind() {
        return Box::new(items.iter().enumerate().map(|(i, item)| (Some(i.to_string().into()), item)));
    }
    let parts = item.state().filter(|_| is_module(item)).into_iter();
    let parts = parts.flat_map(|state| PARTS.iter().filter_map(move |part| state.get(part))).map(|part| (None, part));
    let named = |(key, item): (_, _)| (Some(name(key)), item);
    Box::new(parts.chain(item.entries().map(named)))
}

/// A key as a name.
fn name(key: Item<'_>) -> std::borrow::Cow<'_, str> {
    match key.kind() {
        Kind::Text(text) => text.into(),
        Kind::Global(name) => name.into(),
        Kind::Int(number) => number.to_string().into(),
        Kind::Bool(value) => value.to_string().into(),
        Kind::Float(value) => value.to_string().into(),
        Kind::None => "None".into(),
        _ => "?".into(),
    }
}
