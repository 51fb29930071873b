//! The weights that `burn-onnx` writes beside its code, by their path in the module.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use burn::tensor::DType as BurnType;
use host_tensor::{DType, HostTensor};
use mil::Const;

/// Weights by path.
pub(crate) struct Weights {
    by_path: BTreeMap<String, Const>,
}

impl Weights {
    /// Reads a file.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let cannot = || format!("cannot read {}", path.display());
        let tensors = burn_pack::Reader::from_file(path).and_then(burn_pack::Reader::into_tensors);
        let mut by_path = BTreeMap::new();
        for tensor in tensors.with_context(cannot)? {
            let (name, dtype, shape, _, bytes) = tensor.into_parts().with_context(cannot)?;
            let dtype = dtype_of(dtype).with_context(|| format!("{}: {name}", path.display()))?;
            let tensor = HostTensor::new(dtype, shape.to_vec(), bytes.to_vec().into())?;
            by_path.insert(name, Const::new(tensor));
        }
        Ok(Self { by_path })
    }

    /// The weight with this path.
    pub(crate) fn get(&self, path: &str) -> Option<Const> {
        self.by_path.get(path).cloned()
    }
}

fn dtype_of(dtype: BurnType) -> Result<DType> {
    Ok(match dtype {
        BurnType::F32 => DType::F32,
        BurnType::F16 => DType::F16,
        BurnType::I32 => DType::I32,
        BurnType::I64 => DType::I64,
        other => bail!("a weight of type {other:?}"),
    })
}
