//! Which constants go into the weight file, and where.

use std::{collections::HashMap, io::Write, ops::ControlFlow};

use mil::{Const, DType};

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
    /// Blobs by the bytes that they view.
    by_source: HashMap<(usize, usize, DType), Vec<usize>>,
    end: u64,
}

/// Smaller tensors stay in the model file (coremltools 9.0, `should_use_weight_file`).
const MIN_ELEMENTS: usize = 10;

impl<'p> WeightPlan<'p> {
    /// An empty plan for a model of this specification version, whose program spells the file's name so.
    pub(crate) fn new(file: &str, version: i32) -> Self {
        Self { file: file.to_owned(), version, blobs: Vec::new(), by_source: HashMap::new(), end: ALIGNMENT }
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

    /// Size of the file in bytes.
    pub(crate) fn n_bytes(&self) -> u64 {
        if self.is_empty() { 0 } else { self.end }
    }

    /// Bytes of all weights, headers and gaps not counted.
    pub(crate) fn n_data_bytes(&self) -> u64 {
        self.blobs.iter().map(|(plan, _)| plan.size).sum()
    }

    /// True when a constant of this type and size goes into the weight file.
    ///
    /// Types narrower than a byte count as the 8-bit types that they are in numpy; bf16, which numpy lacks, as fp16.
    pub(crate) fn takes(&self, constant: &Const) -> bool {
        let is_weight = match constant.dtype() {
            DType::F16 | DType::BF16 | DType::F32 | DType::I8 | DType::U8 => true,
            DType::I4 | DType::U1 | DType::U2 | DType::U3 | DType::U4 | DType::U6 => true,
            DType::I16 | DType::U16 | DType::I32 | DType::U32 => self.version >= 9,
            DType::Bool | DType::F64 | DType::I64 | DType::U64 => false,
        };
        is_weight && constant.len() >= MIN_ELEMENTS
    }

    /// The offset by which the model refers to a constant; a view that is planned already is not written twice.
    pub(crate) fn place(&mut self, constant: &'p Const) -> Result<u64, Error> {
        let source = constant.source().bytes();
        let key = (source.as_ptr() as usize, source.len(), constant.dtype());
        let same = self.by_source.entry(key).or_default();
        if let Some(&i) = same.iter().find(|&&i| self.blobs[i].1.same_view(constant)) {
            return Ok(self.blobs[i].0.offset);
        }
        let plan = BlobPlan::after(self.end, constant.dtype(), constant.len()).map_err(|fault| Error::Blob {
            file: self.file.clone(),
            offset: self.end,
            fault,
        })?;
        same.push(self.blobs.len());
        self.blobs.push((plan, constant));
        self.end = plan.end();
        Ok(plan.offset)
    }

    /// Streams all blobs into `writer`, calling `progress` with the bytes of each piece.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Stopped`] when `progress` breaks off, or [`Error::Blob`] should a constant not be as
    /// long as it says.
    pub(crate) fn write<W: Write + std::io::Seek>(
        &self,
        writer: &mut BlobWriter<W>,
        progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        for (plan, constant) in &self.blobs {
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
