//! Packages whose weights are computed while they are written, and whose program is known last.
//!
//! Weights go to the disk as they come, and are then given back as views of the file, so that the memory they need does
//! not grow with their number. A program made of these views and of other constants completes the package.
//! What is stored, and whether two weights are the same, is the caller's affair.
//!
//! ```text
//! PackageWriter ──store(w)──▶ … ──seal()──▶ SealedPackage + views ──finish(program of the views)──▶ package
//! ```
//! The weight file is not written where it will lie, but beside the staged package, and linked into it in the end:
//! systems that refuse to move a directory while something in it is open then have no reason to. Systems that do not
//! remove a mapped file keep it, hidden, until the last view is dropped.

use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use mil::{Bytes, Const, DType, HostTensor, Valid};
use safe_files::{Existing, StagedDir};

use crate::{
    blob::{ALIGNMENT, BlobPlan, map_records},
    description::Description,
    encode,
    error::Error,
    link::{link_or_copy, same_file},
    manifest::Manifest,
    write::{Draft, Progress, WeightFile, WeightOutput, Written, check_size},
};

/// A package to which weights are being added. Dropped before [`SealedPackage::finish`], it leaves nothing.
#[derive(Debug)]
pub struct PackageWriter {
    // Files are closed before their directory goes: fields drop in this order.
    file: WeightOutput,
    stored: Vec<Stored>,
    staged: StagedDir,
}

/// A package whose weights are in their file, to be completed by a program that uses them.
#[derive(Debug)]
pub struct SealedPackage {
    file: WeightOutput,
    /// What the file holds.
    blobs: Vec<(BlobPlan, Const)>,
    staged: StagedDir,
    /// A package whose weight file may be the same.
    first: Option<PathBuf>,
}

/// One tensor of the caller's.
#[derive(Debug)]
enum Stored {
    /// In the file; the tensor's bytes are not there any more, only its type and shape.
    InFile(BlobPlan, mil::DType, Vec<usize>),
    /// Too small for the file, or of a type that not every specification version lets into it.
    InMemory(HostTensor),
}

impl PackageWriter {
    /// Begins a package.
    ///
    /// # Errors
    /// [`Error::Exists`] when the package is there and `existing` refuses, [`Error::Target`], [`Error::Io`].
    pub fn create(path: impl AsRef<Path>, existing: Existing) -> Result<Self, Error> {
        let staged = StagedDir::new(path.as_ref(), existing)?;
        let file = WeightOutput::create(&staged, &staged.spool())?;
        Ok(Self { file, stored: Vec::new(), staged })
    }

    /// Adds a weight: to the file, or to memory when it is too small for one.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Blob`] when the file would be too large.
    pub fn store(&mut self, tensor: &HostTensor) -> Result<(), Error> {
        // The specification version follows from the program: what the lowest one admits is safe.
        if !encode::is_weight(tensor.dtype(), tensor.len(), 0) {
            self.stored.push(Stored::InMemory(owned(tensor)));
            return Ok(());
        }
        let plan = self.file.append(tensor)?;
        self.stored.push(Stored::InFile(plan, tensor.dtype(), tensor.shape().to_vec()));
        Ok(())
    }

    /// Ends the adding of weights, and gives all of them back in the order in which they came: those in the file as
    /// views of it, which stay good for as long as they are kept.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn seal(mut self) -> Result<(SealedPackage, Vec<HostTensor>), Error> {
        let end = self.file.blobs.flush()?;
        let records = map_records(self.file.path(), end, self.staged.residue())?;
        let (mut tensors, mut blobs) = (Vec::with_capacity(self.stored.len()), Vec::new());
        for stored in self.stored {
            tensors.push(match stored {
                Stored::InMemory(tensor) => tensor,
                Stored::InFile(plan, dtype, shape) => {
                    let tensor = HostTensor::new(dtype, shape, data(&records, &plan))
                        .expect("invariant: the plan's size is that of the type and shape");
                    blobs.push((plan, Const::new(tensor.clone())));
                    tensor
                }
            });
        }
        Ok((SealedPackage { file: self.file, blobs, staged: self.staged, first: None }, tensors))
    }
}

impl SealedPackage {
    /// Lets the package share the weight file of the package at `first`, if both are the same byte for byte.
    ///
    /// [`Written::weight_file`] says whether they were.
    #[must_use]
    pub fn sharing(self, first: impl Into<PathBuf>) -> Self {
        Self { first: Some(first.into()), ..self }
    }

    /// Completes the package, whole or not at all.
    ///
    /// Constants that are plain views of stored weights refer to those; all other weights are added to the file, as by
    /// [`write_until`](crate::write_until). A stored weight that the program does not use stays in the file.
    /// The same calls with the same values give the same bytes. `progress` is called before the first of the added
    /// weights, and after each piece of them.
    ///
    /// # Errors
    /// As [`write_until`](crate::write_until); whatever was at the path is then as it was.
    pub fn finish(
        mut self,
        program: Valid<'_>,
        description: &Description,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Written, Error> {
        let (model, plan) = encode::model_after(program.program(), description, &self.blobs)?;
        check_size(&model)?;
        let mut report = Progress { written_bytes: plan.n_stored_bytes(), total_bytes: plan.n_data_bytes() };
        if progress(report).is_break() {
            return Err(Error::Stopped);
        }
        self.file.write(&plan, &mut |n| {
            report.written_bytes += n;
            progress(report)
        })?;
        let spool = self.file.path().to_path_buf();
        self.file.finish()?;
        let plans = [plan];
        let draft = Draft::new(self.staged, &model, &plans)?;
        let mut weight_file = WeightFile::Written;
        if !plans[0].is_empty() {
            let shared = self.first.as_deref().map(|first| same_file(&spool, first)).transpose()?.flatten();
            let target = draft.weight_file(&plans[0]);
            match shared {
                Some(theirs) => weight_file = link_or_copy(&theirs, &target)?,
                None => drop(link_or_copy(&spool, &target)?),
            }
        }
        draft.commit(weight_file)
    }
}

/// Bytes of all files of the package that [`PackageWriter`] writes when it is given these tensors one after another and then
/// this program, which views them; nothing is written, and no weight is read.
///
/// # Errors
/// As [`SealedPackage::finish`], but for those of the disk.
pub fn planned_after(program: Valid<'_>, description: &Description, stored: &[HostTensor]) -> Result<u64, Error> {
    let (mut blobs, mut end) = (Vec::new(), ALIGNMENT);
    for tensor in stored.iter().filter(|t| encode::is_weight(t.dtype(), t.len(), 0)) {
        let plan = BlobPlan::after(end, tensor.dtype(), tensor.len()).map_err(|fault| {
            let file = encode::WEIGHT_FILE.into();
            Error::Blob { file, offset: end, fault }
        })?;
        end = plan.end();
        blobs.push((plan, Const::new(tensor.clone())));
    }
    let (model, weights) = encode::model_after(program.program(), description, &blobs)?;
    check_size(&model)?;
    let manifest = Manifest::for_program(!weights.is_empty()).to_json();
    Ok((manifest.len() + model.len()) as u64 + weights.n_bytes())
}

/// Bytes that a tensor of this type and size adds to the files of a package, but for what the program says of it.
#[must_use]
pub fn footprint(dtype: DType, n_elements: usize) -> u64 {
    let n_bytes = dtype.byte_len(n_elements).map_or(u64::MAX, |n| n as u64);
    if encode::is_weight(dtype, n_elements, 0) {
        n_bytes.next_multiple_of(ALIGNMENT).saturating_add(ALIGNMENT)
    } else {
        n_bytes
    }
}

/// The tensor with bytes of its own: it may be a small part of something large.
fn owned(tensor: &HostTensor) -> HostTensor {
    HostTensor::new(tensor.dtype(), tensor.shape(), Bytes::copy_from_slice(tensor.bytes()))
        .expect("invariant: as many bytes as the tensor has")
}

/// A blob's data in the mapped part of the file, which begins with the first record.
fn data(records: &Bytes, plan: &BlobPlan) -> Bytes {
    // The record comes first, the header is not mapped: both have the same size.
    let from = |offset: u64| usize::try_from(offset).expect("invariant: inside the mapped file");
    records.slice(from(plan.offset)..from(plan.offset + plan.size))
}
