//! Constants that stand outside the text.

use crate::constant::{BlobLocation, Const};
use host_tensor::DType;
use std::{collections::BTreeMap, sync::Arc};

/// Why a blob cannot be had.
pub type BlobError = Box<dyn std::error::Error + Send + Sync>;

/// Where [`parse`](super::parse) gets the constants that the text only refers to.
pub trait BlobSource {
    /// The constant at `offset` in `file` (as the program spells it), of this element type and shape.
    ///
    /// The shape comes from the text and is only known not to overflow: check it against what is there
    /// before allocating anything.
    ///
    /// # Errors
    /// When there is no such blob, or it is of another type or size.
    fn resolve(&self, file: &str, offset: u64, dtype: DType, shape: &[usize]) -> Result<Const, BlobError>;
}

/// Refuses every blob: for texts that are complete in themselves.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoBlobs;

impl BlobSource for NoBlobs {
    fn resolve(&self, _: &str, _: u64, _: DType, _: &[usize]) -> Result<Const, BlobError> {
        Err("blobs are not accepted here".into())
    }
}

/// Constants by file and offset: what a printed text refers to.
#[derive(Debug, Clone, Default)]
pub struct BlobTable {
    blobs: BTreeMap<(Arc<str>, u64), Const>,
    next_offset: u64,
}

/// The file in which constants without a location of their own are put.
const DEFAULT_FILE: &str = "@model_path/weights/weight.bin";

/// Records and data begin at multiples of this in blob storage v2.
const ALIGNMENT: u64 = 64;

impl BlobTable {
    /// The constant at this place.
    #[must_use]
    pub fn get(&self, file: &str, offset: u64) -> Option<&Const> {
        self.blobs.get(&(Arc::from(file), offset))
    }

    /// Every place with its constant, by file, then offset.
    pub fn iter(&self) -> impl Iterator<Item = (BlobLocation, &Const)> {
        self.blobs.iter().map(|((file, offset), c)| (BlobLocation { file: file.clone(), offset: *offset }, c))
    }

    /// Number of constants.
    #[must_use]
    pub fn len(&self) -> usize {
        self.blobs.len()
    }

    /// True when the text refers to nothing outside it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.blobs.is_empty()
    }

    /// Puts `constant` where it says that it lies; false when something else lies there.
    pub(super) fn insert_located(&mut self, constant: &Const) -> bool {
        let Some(location) = &constant.location else { return false };
        let key = (location.file.clone(), location.offset);
        match self.blobs.get(&key) {
            Some(there) => holds(there, constant),
            None => {
                self.blobs.insert(key, constant.clone());
                true
            }
        }
    }

    /// Puts `constant` at the next free place, laid out as in a `weight.bin`.
    pub(super) fn insert(&mut self, constant: &Const) -> BlobLocation {
        let file: Arc<str> = DEFAULT_FILE.into();
        let mut offset = self.next_offset.max(ALIGNMENT);
        while self.blobs.contains_key(&(file.clone(), offset)) {
            offset += ALIGNMENT;
        }
        let data_bytes = constant.dtype().byte_len(constant.len()).unwrap_or(0) as u64;
        self.next_offset = (offset + ALIGNMENT).saturating_add(data_bytes).next_multiple_of(ALIGNMENT);
        self.blobs.insert((file.clone(), offset), constant.clone());
        BlobLocation { file, offset }
    }
}

/// True when the blob that `there` was read from also gives `wanted`, perhaps under another shape.
fn holds(there: &Const, wanted: &Const) -> bool {
    there.dtype() == wanted.dtype() && there.reshape(wanted.shape()).is_ok_and(|c| c == *wanted)
}

impl BlobSource for BlobTable {
    fn resolve(&self, file: &str, offset: u64, dtype: DType, shape: &[usize]) -> Result<Const, BlobError> {
        let found = self.get(file, offset).ok_or("there is no such blob")?;
        if found.dtype() != dtype {
            return Err(format!("the blob is {}, not {dtype}", found.dtype()).into());
        }
        Ok(found.reshape(shape)?)
    }
}
