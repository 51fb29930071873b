//! Reads safetensors files whole, for references and expected tensors.
//!
//! Conversion does not read files this way: it maps them (see `sd-convert`).

use std::{collections::BTreeMap, fs, path::Path};

use bytes::Bytes;
use host_tensor::{DType, HostTensor};
use safetensors::{Dtype, SafeTensors};

/// Every tensor of the file by name.
///
/// # Panics
/// When the file cannot be read, is not a safetensors file, or holds a dtype that MIL has not.
#[must_use]
#[track_caller]
pub fn load_safetensors(path: impl AsRef<Path>) -> BTreeMap<String, HostTensor> {
    let path = path.as_ref();
    let fail = |what: &dyn std::fmt::Display| -> ! { panic!("{}: {what}", path.display()) };
    let data = fs::read(path).map(Bytes::from).unwrap_or_else(|e| fail(&e));
    let file = SafeTensors::deserialize(&data).unwrap_or_else(|e| fail(&e));
    let tensor = |(name, view): (String, safetensors::tensor::TensorView<'_>)| {
        let dtype = dtype_of(view.dtype()).unwrap_or_else(|| fail(&format!("{name}: dtype {:?}", view.dtype())));
        let bytes = data.slice_ref(view.data());
        let tensor = HostTensor::new(dtype, view.shape(), bytes).unwrap_or_else(|e| fail(&format!("{name}: {e}")));
        (name, tensor)
    };
    file.tensors().into_iter().map(tensor).collect()
}

/// The texts that a safetensors file says of itself; golden files say how they were made.
///
/// # Panics
/// If the file cannot be read or parsed.
#[must_use]
#[track_caller]
pub fn load_metadata(path: impl AsRef<Path>) -> BTreeMap<String, String> {
    let path = path.as_ref();
    let fail = |what: &dyn std::fmt::Display| -> ! { panic!("{}: {what}", path.display()) };
    let data = fs::read(path).unwrap_or_else(|e| fail(&e));
    let (_, metadata) = SafeTensors::read_metadata(&data).unwrap_or_else(|e| fail(&e));
    metadata.metadata().clone().unwrap_or_default().into_iter().collect()
}

fn dtype_of(dtype: Dtype) -> Option<DType> {
    Some(match dtype {
        Dtype::BOOL => DType::Bool,
        Dtype::U8 => DType::U8,
        Dtype::I8 => DType::I8,
        Dtype::U16 => DType::U16,
        Dtype::I16 => DType::I16,
        Dtype::U32 => DType::U32,
        Dtype::I32 => DType::I32,
        Dtype::U64 => DType::U64,
        Dtype::I64 => DType::I64,
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::BF16,
        Dtype::F32 => DType::F32,
        Dtype::F64 => DType::F64,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_text_encoder_loads_with_its_shapes_and_finite_values() {
        let weights = load_safetensors(crate::demo().join("text_encoder/model.safetensors"));
        let embedding = &weights["embeddings.token_embedding.weight"];
        assert_eq!((embedding.dtype(), embedding.shape()), (DType::F16, &[4096, 128][..]));
        assert!(embedding.to_f32_vec().iter().all(|x| x.is_finite()));
    }

    #[test]
    #[should_panic(expected = "no-such-file.safetensors: ")]
    fn a_missing_file_fails_with_its_path() {
        let _ = load_safetensors("no-such-file.safetensors");
    }
}
