//! Which constants go into the weight file, and where.

use std::{collections::HashMap, io::Write, ops::ControlFlow};

use mil::{Const, DType, SourceId};

use crate::{
    blob::{ALIGNMENT, BlobPlan, BlobWriter},
    error::{BlobFault, Error},
};

/// The blobs of one weight file in the order in which they are written.
#[derive(Debug)]
pub(crate) struct WeightPlan<'p> {
    file: String,
    version: i32,
    blobs: Vec<(BlobPlan, &'p Const)>,
    /// How many of the blobs the file holds already.
    n_stored: usize,
    /// Blobs by the bytes that they view.
    by_source: HashMap<(SourceId, DType), Vec<usize>>,
    end: u64,
}

/// Smaller tensors stay in the model file (coremltools 9.0, `should_use_weight_file`).
const MIN_ELEMENTS: usize = 10;

/// True when a tensor of this type and size goes into the weight file of a model of this specification version.
///
/// Types narrower than a byte count as the 8-bit types that they are in numpy; bf16, which numpy lacks, as fp16.
pub(crate) fn is_weight(dtype: DType, n_elements: usize, version: i32) -> bool {
    let is_weight = match dtype {
        DType::F16 | DType::BF16 | DType::F32 | DType::I8 | DType::U8 => true,
        DType::I4 | DType::U1 | DType::U2 | DType::U3 | DType::U4 | DType::U6 => true,
        DType::I16 | DType::U16 | DType::I32 | DType::U32 => version >= 9,
        DType::Bool | DType::F64 | DType::I64 | DType::U64 => false,
    };
    is_weight && n_elements >= MIN_ELEMENTS
}

impl<'p> WeightPlan<'p> {
    /// An empty plan for a model of this specification version, whose program spells the file's name so.
    pub(crate) fn new(file: &str, version: i32) -> Self {
        let (blobs, by_source) = (Vec::new(), HashMap::new());
        Self { file: file.to_owned(), version, blobs, n_stored: 0, by_source, end: ALIGNMENT }
    }

    /// Says that the file holds these blobs already, at its beginning and one after another.
    ///
    /// Constants that view them refer to them; others follow behind.
    pub(crate) fn continue_after(&mut self, stored: &'p [(BlobPlan, Const)]) {
        for (plan, constant) in stored {
            self.push(*plan, constant);
        }
        self.n_stored = self.blobs.len();
    }

    /// The name of the file as the program spells it.
    pub(crate) fn file(&self) -> &str {
        &self.file
    }

    /// True when nothing is planned, and there is no file.
    pub(crate) fn is_empty(&self) -> bool {
        self.blobs.is_empty()
    }

    /// Number of blobs.
    pub(crate) fn len(&self) -> usize {
        self.blobs.len()
    }

    /// The blobs, in the order in which they lie in the file.
    pub(crate) fn blobs(&self) -> &[(BlobPlan, &'p Const)] {
        &self.blobs
    }

    /// Size of the file in bytes.
    pub(crate) fn n_bytes(&self) -> u64 {
        if self.is_empty() { 0 } else { self.end }
    }

    /// Bytes of all weights, headers and gaps not counted.
    pub(crate) fn n_data_bytes(&self) -> u64 {
        self.blobs.iter().map(|(plan, _)| plan.size).sum()
    }

    /// Bytes of the weights that the file holds already.
    pub(crate) fn n_stored_bytes(&self) -> u64 {
        self.blobs[..self.n_stored].iter().map(|(plan, _)| plan.size).sum()
    }

    /// True when this constant goes into the weight file.
    pub(crate) fn takes(&self, constant: &Const) -> bool {
        is_weight(constant.dtype(), constant.len(), self.version)
    }

    /// The offset by which the model refers to a constant; a view that is planned already is not written twice.
    pub(crate) fn place(&mut self, constant: &'p Const) -> Result<u64, Error> {
        let same = self.by_source.get(&key(constant)).map_or(&[][..], Vec::as_slice);
        if let Some(&i) = same.iter().find(|&&i| is_same_blob(self.blobs[i].1, constant)) {
            return Ok(self.blobs[i].0.offset);
        }
        let plan = BlobPlan::after(self.end, constant.dtype(), constant.len()).map_err(|fault| Error::Blob {
            file: self.file.clone(),
            offset: self.end,
            fault,
        })?;
        self.push(plan, constant);
        Ok(plan.offset)
    }

    fn push(&mut self, plan: BlobPlan, constant: &'p Const) {
        self.by_source.entry(key(constant)).or_default().push(self.blobs.len());
        self.blobs.push((plan, constant));
        self.end = plan.end();
    }

    /// Streams the blobs that the file does not hold yet into `writer`, calling `progress` with the bytes of each
    /// piece.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Stopped`] when `progress` breaks off, or [`Error::Blob`] should a constant not be as
    /// long as it says.
    pub(crate) fn write<W: Write + std::io::Seek>(
        &self,
        writer: &mut BlobWriter<W>,
        progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        for (plan, constant) in &self.blobs[self.n_stored..] {
            let mut sink = writer.begin(constant.dtype(), constant.len())?;
            constant.for_each_chunk(|chunk| {
                sink.write(chunk)?;
                match progress(chunk.len() as u64) {
                    ControlFlow::Continue(()) => Ok(()),
                    ControlFlow::Break(()) => Err(Error::Stopped),
                }
            })?;
            let offset = sink.finish()?;
            if offset != plan.offset {
                let fault = BlobFault::Written { expected: plan.offset, actual: offset };
                return Err(Error::Blob { file: self.file.clone(), offset, fault });
            }
        }
        Ok(())
    }
}

/// What a constant is a view of, and what it becomes.
fn key(constant: &Const) -> (SourceId, DType) {
    (constant.source_id(), constant.dtype())
}

/// True when one blob serves both, decided without reading them: a blob has no shape, only a number of elements.
fn is_same_blob(a: &Const, b: &Const) -> bool {
    // Equal keys are given: the same source, the same type.
    a.same_view(b) || (a.stored().is_some() && b.stored().is_some() && a.len() == b.len())
}
