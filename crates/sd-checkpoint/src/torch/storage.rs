//! Storages: the bytes that tensors are views of, and how a pickle refers to them.

use std::collections::BTreeMap;

use bytes::Bytes;
use host_tensor::DType;

use crate::element::{Element, SmallFloat};
use crate::pickle::{Item, Kind};

/// The bytes of storages by key, and none of those that are compressed.
#[derive(Debug)]
pub(crate) struct Storages {
    by_key: BTreeMap<String, Option<Bytes>>,
}

/// What a storage is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Of(Element),
    /// Of bytes whose type the tensor says.
    Untyped,
    /// Of what is not computed with here; and bytes of an element.
    Unknown(usize),
}

/// A type by the names that files have for it, without the module: the class of a storage, and the type of a tensor.
type Row = (&'static str, &'static str, Class);

const fn plain(dtype: DType) -> Class {
    Class::Of(Element::Plain(dtype))
}

const fn small(float: SmallFloat) -> Class {
    Class::Of(Element::Small(float))
}

const TYPES: [Row; 23] = [
    ("FloatStorage", "float32", plain(DType::F32)),
    ("HalfStorage", "float16", plain(DType::F16)),
    ("BFloat16Storage", "bfloat16", plain(DType::BF16)),
    ("DoubleStorage", "float64", plain(DType::F64)),
    ("LongStorage", "int64", plain(DType::I64)),
    ("IntStorage", "int32", plain(DType::I32)),
    ("ShortStorage", "int16", plain(DType::I16)),
    ("CharStorage", "int8", plain(DType::I8)),
    ("ByteStorage", "uint8", plain(DType::U8)),
    ("BoolStorage", "bool", plain(DType::Bool)),
    ("", "uint16", plain(DType::U16)),
    ("", "uint32", plain(DType::U32)),
    ("", "uint64", plain(DType::U64)),
    ("", "float8_e4m3fn", small(SmallFloat::E4M3FN)),
    ("", "float8_e5m2", small(SmallFloat::E5M2)),
    ("", "float8_e4m3fnuz", small(SmallFloat::E4M3FNUZ)),
    ("", "float8_e5m2fnuz", small(SmallFloat::E5M2FNUZ)),
    ("ComplexFloatStorage", "complex64", Class::Unknown(8)),
    ("ComplexDoubleStorage", "complex128", Class::Unknown(16)),
    ("QInt8Storage", "qint8", Class::Unknown(1)),
    ("QUInt8Storage", "quint8", Class::Unknown(1)),
    ("QInt32Storage", "qint32", Class::Unknown(4)),
    ("UntypedStorage", "", Class::Untyped),
];

impl Class {
    fn of_storage(name: &str) -> Option<Self> {
        let bare = name.strip_prefix("torch.storage.").or_else(|| name.strip_prefix("torch."))?;
        TYPES.iter().find(|(storage, ..)| !storage.is_empty() && *storage == bare).map(|row| row.2)
    }

    pub(super) fn of_dtype(name: &str) -> Option<Self> {
        let bare = name.strip_prefix("torch.")?;
        TYPES.iter().find(|(_, dtype, _)| !dtype.is_empty() && *dtype == bare).map(|row| row.2)
    }

    pub(super) fn element_bytes(self) -> usize {
        match self {
            Self::Of(element) => element.byte_len(1).unwrap_or(1),
            Self::Untyped => 1,
            Self::Unknown(n) => n,
        }
    }
}

/// `("storage", torch.FloatStorage, key, device, elements[, (key, offset, elements)])`.
pub(super) struct Id<'a> {
    pub(super) class: Class,
    pub(super) name: &'a str,
    pub(super) key: &'a str,
    n_elements: usize,
    /// The elements of it that a storage within it has.
    window: Option<(usize, usize)>,
}

impl<'a> Id<'a> {
    pub(super) fn of(item: Item<'a>) -> Result<Self, String> {
        const UNKNOWN: &str = "its storage is described in another form";
        let Kind::Persistent(id) = item.kind() else { return Err(UNKNOWN.to_owned()) };
        let Kind::Tuple(id) = id.kind() else { return Err(UNKNOWN.to_owned()) };
        let [kind, class, key, _, n_elements] = id.head().ok_or(UNKNOWN)?;
        if kind.text() != Some("storage") {
            return Err(UNKNOWN.to_owned());
        }
        let (name, key) = class.global().zip(key.text()).ok_or(UNKNOWN)?;
        let window = match id.iter().nth(5).map(Item::kind) {
            None | Some(Kind::None) => None,
            Some(Kind::Tuple(view)) => {
                let [_, offset, n] = view.head().ok_or(UNKNOWN)?;
                Some((number(offset)?, number(n)?))
            }
            Some(_) => return Err(UNKNOWN.to_owned()),
        };
        let class = Class::of_storage(name).ok_or_else(|| format!("numbers of {name} are not read"))?;
        Ok(Self { class, name, key, n_elements: number(n_elements)?, window })
    }
}

impl Storages {
    pub(super) const fn new(by_key: BTreeMap<String, Option<Bytes>>) -> Self {
        Self { by_key }
    }

    /// The bytes that a reference stands for.
    pub(super) fn bytes(&self, id: &Id<'_>) -> Result<Bytes, String> {
        let Id { key, window, n_elements, class, .. } = id;
        let bytes = match self.by_key.get(*key) {
            Some(Some(bytes)) => bytes,
            Some(None) => return Err(format!("its bytes, data/{key}, are compressed")),
            None => return Err(format!("its bytes, data/{key}, are not there")),
        };
        let width = class.element_bytes();
        let has = |n: usize| n.checked_mul(width).filter(|&n| n <= bytes.len());
        if has(*n_elements).is_none() {
            return Err(format!(
                "storage {key} should have {n_elements} elements, and has {}",
                bytes.len() / width.max(1)
            ));
        }
        let Some((offset, n)) = window else { return Ok(bytes.clone()) };
        let range = offset.checked_add(*n).and_then(has).zip(has(*offset)).map(|(end, start)| start..end);
        range.map(|range| bytes.slice(range)).ok_or_else(|| format!("a part of storage {key} lies outside of it"))
    }
}

/// A size or a place.
pub(super) fn number(item: Item<'_>) -> Result<usize, String> {
    match item.kind() {
        Kind::Int(n) => usize::try_from(n).map_err(|_| format!("{n} is no size")),
        _ => Err("a size is no whole number".to_owned()),
    }
}
