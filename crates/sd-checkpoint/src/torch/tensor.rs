//! Tensors: calls of the functions that make them, read as descriptions.

use super::storage::{Class, Id, number};
use super::{Storages, TorchEntry};
use crate::Weight;
use crate::pickle::{Item, Items, Kind};
use crate::strided::Layout;

/// More dimensions than this no tensor has.
const MAX_RANK: usize = 64;
/// Wrappers within wrappers.
const MAX_WRAPPERS: usize = 4;

/// Functions that make a tensor of a storage, and where they are told its type, if they are.
const REBUILD: [(&str, Option<usize>); 3] = [
    ("torch._utils._rebuild_tensor", None),
    ("torch._utils._rebuild_tensor_v2", None),
    ("torch._utils._rebuild_tensor_v3", Some(6)),
];

/// Functions that wrap a tensor, and which argument it is, or a tuple of that tensor's own arguments.
const WRAPPERS: [(&str, usize); 3] = [
    ("torch._utils._rebuild_parameter", 0),
    ("torch._utils._rebuild_parameter_with_state", 0),
    ("torch.nn.parameter.Parameter", 0),
];

/// Functions that make tensors of another kind.
const OTHERS: [&str; 5] = [
    "torch._utils._rebuild_sparse_tensor",
    "torch._utils._rebuild_qtensor",
    "torch._utils._rebuild_meta_tensor_no_storage",
    "torch._utils._rebuild_device_tensor_from_numpy",
    "torch._tensor._rebuild_from_type_v2",
];

/// The entry of what a call gives, if that is a tensor.
pub(super) fn entry(item: Item<'_>, storages: &Storages) -> Option<TorchEntry> {
    let (name, _) = item.call()?;
    let is_tensor =
        REBUILD.iter().any(|row| row.0 == name) || WRAPPERS.iter().any(|row| row.0 == name) || OTHERS.contains(&name);
    is_tensor.then(|| match tensor(item, storages) {
        Ok(weight) => TorchEntry::Tensor(weight),
        Err(why) => TorchEntry::Unread(why),
    })
}

/// The tensor that a value stands for.
///
/// # Errors
/// In words, for what is none, or is not read.
pub(crate) fn tensor(item: Item<'_>, storages: &Storages) -> Result<Weight, String> {
    const NONE: &str = "it is no tensor";
    let mut item = item;
    for _ in 0..MAX_WRAPPERS {
        let (name, arguments) = item.call().ok_or(NONE)?;
        if let Some((_, typed)) = REBUILD.iter().find(|row| row.0 == name) {
            return rebuilt(arguments, *typed, storages);
        }
        let Some((_, index)) = WRAPPERS.iter().find(|row| row.0 == name) else {
            return Err(format!("it is made by {name}, which is not read"));
        };
        item = arguments.iter().nth(*index).ok_or(NONE)?;
    }
    Err(NONE.to_owned())
}

/// `(storage, offset, shape, strides, …)`.
fn rebuilt(arguments: Items<'_>, typed: Option<usize>, storages: &Storages) -> Result<Weight, String> {
    const FORM: &str = "its description has another form";
    let [storage, offset, shape, strides] = arguments.head().ok_or(FORM)?;
    let id = Id::of(storage)?;
    let class = match typed {
        None => id.class,
        Some(index) => {
            let name = arguments.iter().nth(index).and_then(Item::global).ok_or(FORM)?;
            Class::of_dtype(name).ok_or_else(|| format!("numbers of {name} are not read"))?
        }
    };
    let Class::Of(element) = class else { return Err(format!("numbers of {} are not read", id.name)) };
    let layout = Layout { shape: numbers(shape)?, strides: numbers(strides)?, offset: number(offset)? };
    layout.weight(element, &storages.bytes(&id)?)
}

fn numbers(item: Item<'_>) -> Result<Vec<usize>, String> {
    let numbers = match item.kind() {
        Kind::Tuple(numbers) | Kind::List(numbers) => numbers,
        _ => match item.call() {
            // torch.Size((2, 3))
            Some(("torch.Size", arguments)) => match arguments.first().map(Item::kind) {
                Some(Kind::Tuple(numbers) | Kind::List(numbers)) => numbers,
                _ => return Err("its shape is none".to_owned()),
            },
            _ => return Err("its shape is none".to_owned()),
        },
    };
    if numbers.len() > MAX_RANK {
        return Err(format!("it has {} dimensions", numbers.len()));
    }
    numbers.iter().map(number).collect()
}
