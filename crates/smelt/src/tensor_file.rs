//! Tensors by name in safetensors files.
//!
//! These are inputs and outputs of a run: small enough to be read whole.
//! Checkpoints are mapped instead, by `sd-convert`.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use host_tensor::{Bytes, DType, HostTensor};
use safe_files::{FileKind, OutputFile};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use crate::error::{Context, Result, refusal};
use crate::watch::{Watch, write_file};

/// Both names of the element types that the two worlds share.
const DTYPES: [(Dtype, DType); 13] = [
    (Dtype::BOOL, DType::Bool),
    (Dtype::F16, DType::F16),
    (Dtype::BF16, DType::BF16),
    (Dtype::F32, DType::F32),
    (Dtype::F64, DType::F64),
    (Dtype::I8, DType::I8),
    (Dtype::I16, DType::I16),
    (Dtype::I32, DType::I32),
    (Dtype::I64, DType::I64),
    (Dtype::U8, DType::U8),
    (Dtype::U16, DType::U16),
    (Dtype::U32, DType::U32),
    (Dtype::U64, DType::U64),
];

/// Texts of a file's header.
pub(crate) type Metadata = HashMap<String, String>;

/// Reads every tensor of a file.
pub fn read(path: &Path) -> Result<BTreeMap<String, HostTensor>> {
    Ok(read_with_metadata(path)?.0)
}

/// Reads every tensor of a file, and what its header says beside them.
pub(crate) fn read_with_metadata(path: &Path) -> Result<(BTreeMap<String, HostTensor>, Metadata)> {
    let data = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    crate::file::refuse_kind(path, &data, Some(FileKind::Safetensors))?;
    let data = Bytes::from(data);
    let both = || -> Result<_> {
        let (_, header) = SafeTensors::read_metadata(&data)?;
        Ok((decode(data.clone())?, header.metadata().clone().unwrap_or_default()))
    };
    both().with_context(|| format!("{} is not a usable safetensors file", path.display()))
}

fn decode(data: Bytes) -> Result<BTreeMap<String, HostTensor>> {
    let file = SafeTensors::deserialize(&data)?;
    let tensor = |(name, view): (String, TensorView<'_>)| {
        let dtype = DTYPES.iter().find(|(theirs, _)| *theirs == view.dtype());
        let (_, dtype) = dtype.ok_or_else(|| refusal!("{name}: element type {:?} is not supported", view.dtype()))?;
        let tensor = HostTensor::new(*dtype, view.shape(), data.slice_ref(view.data()));
        Ok((name.clone(), tensor.with_context(|| name)?))
    };
    file.tensors().into_iter().map(tensor).collect()
}

/// What files have for an element type, if they can hold it.
pub(crate) fn stored(dtype: DType) -> Option<Dtype> {
    DTYPES.iter().find(|(_, ours)| *ours == dtype).map(|(theirs, _)| *theirs)
}

/// Writes tensors, whole or not at all.
pub fn write(output: &OutputFile, tensors: &BTreeMap<String, HostTensor>, watch: &mut dyn Watch) -> Result<()> {
    let mut views = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        let dtype = stored(tensor.dtype())
            .ok_or_else(|| refusal!("{name}: safetensors files cannot hold elements of {}", tensor.dtype()))?;
        views.push((name, TensorView::new(dtype, tensor.shape().to_vec(), tensor.bytes())?));
    }
    let data = safetensors::serialize(views, None)?;
    write_file(output, watch, |out| Ok(out.write_all(&data)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::Unwatched;

    #[test]
    fn tensors_survive_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.safetensors");
        let tensors = BTreeMap::from([
            ("f".to_owned(), HostTensor::from_f32([2], vec![1.5, -2.0])),
            ("h".to_owned(), HostTensor::from_f16([1, 2], &[1.5, -2.0])),
            ("i".to_owned(), HostTensor::from_i32([], vec![7])),
            ("b".to_owned(), HostTensor::from_bool([3], &[true, false, true])),
        ]);
        write(&safe_files::Outputs::new().file("-o", &path).unwrap(), &tensors, &mut Unwatched).unwrap();
        let again = read(&path).unwrap();
        assert_eq!(again.len(), 4);
        for (name, tensor) in &tensors {
            assert_eq!(
                (again[name].dtype(), again[name].shape(), again[name].bytes()),
                (tensor.dtype(), tensor.shape(), tensor.bytes()),
                "{name}"
            );
        }
    }

    #[test]
    fn damaged_files_are_named_errors() {
        let header = br#"{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}"#;
        let whole = [&(header.len() as u64).to_le_bytes()[..], header, &[0; 16]].concat();
        assert_eq!(decode(whole.clone().into()).unwrap()["a"].len(), 4);
        for n in 0..whole.len() {
            assert!(decode(whole[..n].to_vec().into()).is_err(), "{n} bytes");
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.safetensors");
        std::fs::write(&path, &whole[..20]).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("x.safetensors is not a usable safetensors file"));
    }
}
