//! Archives of PyTorch (`torch.jit.save`): zip archives of a pickle, tensors' bytes and code.
//!
//! Pickle and tensors lie in it as they are, and the code, which is compressed, is never read, so only modules whose class says what they compute are of use.
//! Archives of 4 GiB and more have another form (zip64), which is not read here.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use host_tensor::{DType, HostTensor, element_count};

use crate::CheckpointError;
use crate::pickle::{self, Value};
use crate::weights::map_file;

/// A module of TorchScript.
#[derive(Debug)]
pub(crate) struct Module {
    root: Value,
    storages: BTreeMap<String, Bytes>,
}

impl Module {
    /// Reads a file; none for one that is no module of TorchScript.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, CheckpointError> {
        let bytes = map_file(path)?;
        if !bytes.starts_with(b"PK\x03\x04") {
            return Ok(None);
        }
        let torch = |message: String| CheckpointError::Torch { path: path.to_owned(), message };
        let files = match unzip(&bytes) {
            Ok(files) => files,
            // Of archives of other names it is said what they are, damaged or not.
            Err(_) if path.extension().is_none_or(|e| e != "pt" && e != "pth") => return Ok(None),
            Err(e) => return Err(torch(format!("the archive is damaged or of another kind: {e}"))),
        };
        // Everything lies in one folder, which has the name of the file that was saved.
        let Some(folder) = files.keys().find_map(|name| name.strip_suffix("data.pkl").map(str::to_owned)) else {
            return Ok(None);
        };
        let inside = |name: &str| files.get(&format!("{folder}{name}"))?.clone();
        // A file of torch.save has no code.
        let code = format!("{folder}code/");
        if !files.keys().any(|name| name.starts_with(&code)) {
            return Ok(None);
        }
        if inside("byteorder").is_some_and(|order: Bytes| &order[..] != b"little") {
            return Err(torch("its numbers are big-endian; save it on another machine".to_owned()));
        }
        let pickled = inside("data.pkl").ok_or_else(|| torch("data.pkl in it is compressed".to_owned()))?;
        let root = pickle::read(&pickled).map_err(|e| torch(format!("data.pkl cannot be read: {e}")))?;
        let data = format!("{folder}data/");
        let storage = |(name, bytes): (String, Option<Bytes>)| Some((name.strip_prefix(&data)?.to_owned(), bytes?));
        Ok(Some(Self { root, storages: files.into_iter().filter_map(storage).collect() }))
    }

    /// Its class and its attributes.
    pub(crate) fn root(&self) -> &Value {
        &self.root
    }

    /// The tensor that a value refers to: `torch._utils._rebuild_tensor_v2(storage, offset, shape, strides, …)`.
    pub(crate) fn tensor(&self, value: &Value) -> Result<HostTensor, String> {
        const REBUILD: &str = "torch._utils._rebuild_tensor_v2";
        let Value::Call(call) = value else { return Err("it is no tensor".to_owned()) };
        let [Value::Global(function), Value::Tuple(args)] = &call[..] else { return Err("it is no tensor".to_owned()) };
        if &**function != REBUILD {
            return Err(format!("it is made by {function}, and only {REBUILD} is known"));
        }
        let [storage, Value::Int(offset), Value::Tuple(shape), Value::Tuple(strides), ..] = &args[..] else {
            return Err("its description has another form".to_owned());
        };
        let (shape, strides) = (numbers(shape)?, numbers(strides)?);
        if strides != contiguous(&shape) {
            return Err(format!(
                "shape {shape:?} with strides {strides:?} is not contiguous: save it as .contiguous()"
            ));
        }
        let (dtype, bytes) = self.storage(storage)?;
        let n = element_count(&shape).and_then(|n| dtype.byte_len(n));
        let start = usize::try_from(*offset).ok().and_then(|offset| dtype.byte_len(offset));
        let end = start.zip(n).and_then(|(start, n)| start.checked_add(n)).filter(|&end| end <= bytes.len());
        let (Some(start), Some(end)) = (start, end) else { return Err("it lies outside of its storage".to_owned()) };
        HostTensor::new(dtype, shape, bytes.slice(start..end)).map_err(|e| e.to_string())
    }

    /// `("storage", torch.FloatStorage, key, device, elements)`.
    fn storage(&self, value: &Value) -> Result<(DType, &Bytes), String> {
        let unknown = || "its storage is described in another form".to_owned();
        let Value::Persistent(id) = value else { return Err(unknown()) };
        let [Value::Tuple(id)] = &id[..] else { return Err(unknown()) };
        let [Value::Text(kind), Value::Global(class), Value::Text(key), ..] = &id[..] else { return Err(unknown()) };
        if &**kind != "storage" {
            return Err(unknown());
        }
        let dtype = match &**class {
            "torch.FloatStorage" => DType::F32,
            "torch.HalfStorage" => DType::F16,
            "torch.BFloat16Storage" => DType::BF16,
            "torch.DoubleStorage" => DType::F64,
            other => return Err(format!("numbers of {other} are not read")),
        };
        let bytes =
            self.storages.get(&**key).ok_or_else(|| format!("its bytes, data/{key}, are not there, or compressed"))?;
        Ok((dtype, bytes))
    }
}

fn numbers(values: &[Value]) -> Result<Vec<usize>, String> {
    let number = |value: &Value| match value {
        Value::Int(n) => usize::try_from(*n).map_err(|_| format!("{n} is no size")),
        other => Err(format!("{other:?} is no size")),
    };
    values.iter().map(number).collect()
}

/// Elements between neighbours along each axis, of a tensor without gaps.
fn contiguous(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = shape[axis].saturating_mul(strides[axis]);
    }
    strides
}

/// The files of an archive by name, and the bytes of those that are not compressed.
///
/// PKWARE's APPNOTE 6.3.10, sections 4.3.7, 4.3.12 and 4.3.16.
fn unzip(bytes: &Bytes) -> Result<BTreeMap<String, Option<Bytes>>, String> {
    const END_BYTES: usize = 22;
    const ENTRY_BYTES: usize = 46;
    const LOCAL_BYTES: usize = 30;
    let u16_at = |at: usize| bytes.get(at..at.checked_add(2)?).map(|b| usize::from(u16::from_le_bytes([b[0], b[1]])));
    let u32_at = |at: usize| {
        let b = bytes.get(at..at.checked_add(4)?)?;
        usize::try_from(u32::from_le_bytes([b[0], b[1], b[2], b[3]])).ok()
    };
    let starts = |at: usize, mark: &[u8; 4]| bytes.get(at..).is_some_and(|rest| rest.starts_with(mark));
    let last = bytes.len().checked_sub(END_BYTES).ok_or("it is cut off")?;
    let is_end = |&at: &usize| starts(at, b"PK\x05\x06") && u16_at(at + 20) == Some(last - at);
    let end = (last.saturating_sub(0xffff)..=last).rev().find(is_end).ok_or("it is cut off")?;
    let (n, mut at) = u16_at(end + 10).zip(u32_at(end + 16)).ok_or("it is cut off")?;
    let mut files = BTreeMap::new();
    for _ in 0..n {
        let entry = || {
            let (u16_of, u32_of) = (|n| u16_at(sum([at, n])), |n| u32_at(sum([at, n])));
            let fields = (u16_of(8)?, u16_of(10)?, u32_of(20)?, u32_of(24)?, u32_of(42)?);
            let lengths = [u16_of(28)?, u16_of(30)?, u16_of(32)?];
            Some((fields, lengths))
        };
        let damaged = "its table of contents is damaged";
        let ((flags, method, stored, size, local), lengths) =
            entry().filter(|_| starts(at, b"PK\x01\x02")).ok_or(damaged)?;
        let name = bytes.get(sum([at, ENTRY_BYTES])..sum([at, ENTRY_BYTES, lengths[0]])).ok_or(damaged)?;
        let name = std::str::from_utf8(name).map_err(|_| damaged)?.to_owned();
        let is_plain = method == 0 && flags & 1 == 0 && stored == size;
        let start = u16_at(sum([local, 26]))
            .zip(u16_at(sum([local, 28])))
            .map(|(name, extra)| sum([local, LOCAL_BYTES, name, extra]));
        let range = start.filter(|_| starts(local, b"PK\x03\x04")).map(|start| start..sum([start, stored]));
        let range = range.filter(|range| range.end <= bytes.len());
        let range = range.ok_or_else(|| format!("{name} lies outside of it, or it has 4 GiB and more"))?;
        if files.insert(name.clone(), is_plain.then(|| bytes.slice(range))).is_some() {
            return Err(format!("{name} is in it twice"));
        }
        at = sum([at, ENTRY_BYTES, lengths[0], lengths[1], lengths[2]]);
    }
    Ok(files)
}

/// Places in a file, whose numbers are untrusted: what is beyond all addresses is beyond the file.
fn sum<const N: usize>(parts: [usize; N]) -> usize {
    parts.into_iter().fold(0, usize::saturating_add)
}
