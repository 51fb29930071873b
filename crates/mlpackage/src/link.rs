//! Packages that share one weight file on the disk, by hard links.
//!
//! A model for another size of input has the same weights, and below `CoreML8` it must be a package of its own.
//! The weights are compared byte for byte before they are shared. Which models are worth the comparison is the
//! caller's affair.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
};

use mil::{Const, Program, Valid};
use safe_files::{Existing, Shared, StagedDir};

use crate::{
    blob::{BlobFile, BlobPlan},
    description::Description,
    encode::{self, WEIGHT_FILE, WeightPlan},
    error::{Error, IoContext, ManifestFault, ModelFault, model_error},
    manifest::{Manifest, Outside, resolve_inside},
    write::{Draft, WeightFile, Written, check_size},
};

/// Files are compared in pieces of this size.
const COMPARED_BYTES: usize = 1 << 20;

/// Writes a package whose weight file is a hard link to that of the package at `first`, which [`write()`] or its
/// siblings wrote; a copy where the file system cannot link. [`Written::weight_file`] says which.
///
/// The result is, byte for byte, what [`write()`] would have written. A program without weights is simply written.
///
/// [`write()`]: crate::write()
///
/// # Errors
/// [`Error::WeightsDiffer`], which names the first weight that `first` does not have in this place; errors of reading
/// `first`; otherwise as [`write()`].
pub fn write_linked(
    path: impl AsRef<Path>,
    program: Valid<'_>,
    description: &Description,
    existing: Existing,
    first: impl AsRef<Path>,
) -> Result<Written, Error> {
    let (model, plan) = encode::model(program.program(), description)?;
    check_size(&model)?;
    let plans = [plan];
    let source = match plans[0].is_empty() {
        true => None,
        false => Some(same_weights(&plans[0], program.program(), first.as_ref())?),
    };
    let draft = Draft::new(StagedDir::new(path.as_ref(), existing)?, &model, &plans)?;
    let weight_file = match source {
        Some(source) => link_or_copy(&source, &draft.weight_file(&plans[0]))?,
        None => WeightFile::Written,
    };
    draft.commit(weight_file)
}

/// The weight file of the package at `first`, after comparing it with the plan.
fn same_weights(plan: &WeightPlan<'_>, program: &Program, first: &Path) -> Result<PathBuf, Error> {
    let path = weight_file_of(first)?;
    let file = BlobFile::open(&path, path.display().to_string())?;
    for (blob, constant) in plan.blobs() {
        if let Some(difference) = difference(&file, blob, constant)? {
            let place = format!("weight {:?}", name_of(program, constant));
            return Err(Error::WeightsDiffer { first: path, place, difference });
        }
    }
    let (theirs, ours) = ((file.count() as usize, file.n_bytes()), (plan.len(), plan.n_bytes()));
    if theirs != ours {
        let difference = format!("{} weights in {} bytes there, {} in {} here", theirs.0, theirs.1, ours.0, ours.1);
        return Err(Error::WeightsDiffer { first: path, place: "the end of the weights".to_owned(), difference });
    }
    Ok(path)
}

/// The weight file of the package at `first`, when it has the very bytes of `own`.
///
/// # Errors
/// Of reading either.
pub(crate) fn same_file(own: &Path, first: &Path) -> Result<Option<PathBuf>, Error> {
    let theirs = weight_file_of(first)?;
    let n_bytes = |path: &Path| Ok::<_, Error>(fs::metadata(path).at("read the size of", path)?.len());
    if n_bytes(own)? != n_bytes(&theirs)? {
        return Ok(None);
    }
    let open =
        |path: &Path| Ok::<_, Error>(BufReader::with_capacity(COMPARED_BYTES, File::open(path).at("open", path)?));
    let (mut a, mut b) = (open(own)?, open(&theirs)?);
    loop {
        let (ours, others) = (a.fill_buf().at("read", own)?, b.fill_buf().at("read", &theirs)?);
        let n = ours.len().min(others.len());
        if ours[..n] != others[..n] || (n == 0 && ours.len() != others.len()) {
            return Ok(None);
        }
        if n == 0 {
            return Ok(Some(theirs));
        }
        a.consume(n);
        b.consume(n);
    }
}

/// Where the package at `first` keeps the weights of its program.
fn weight_file_of(first: &Path) -> Result<PathBuf, Error> {
    let manifest = Manifest::read(first)?;
    let directory = &Manifest::directory_of(first, manifest.root());
    let relative = WEIGHT_FILE.trim_start_matches("@model_path/");
    resolve_inside(directory, relative).map_err(|outside| match outside {
        Outside::Absent => model_error(first.display().to_string(), ModelFault::NoWeightFile(WEIGHT_FILE.to_owned())),
        Outside::Refused(reason) => Error::Manifest {
            path: first.to_path_buf(),
            fault: ManifestFault::Path { path: relative.to_owned(), reason },
        },
        Outside::Io(source) => Error::Io { action: "resolve", path: directory.join(relative), source },
    })
}

/// How the blob at the planned place differs from the constant, if it does.
fn difference(file: &BlobFile, plan: &BlobPlan, constant: &Const) -> Result<Option<String>, Error> {
    if plan.end() > file.n_bytes() {
        return Ok(Some(format!("that file ends at {}, before offset {}", file.n_bytes(), plan.end())));
    }
    let blob = match file.blob(plan.offset) {
        Ok(blob) => blob,
        Err(Error::Blob { fault, .. }) => return Ok(Some(format!("at offset {} of that file, {fault}", plan.offset))),
        Err(e) => return Err(e),
    };
    if (blob.dtype, blob.n_elements) != (constant.dtype(), constant.len()) {
        let (dtype, n) = (blob.dtype, blob.n_elements);
        return Ok(Some(format!("{n} × {dtype} there, {} × {} here", constant.len(), constant.dtype())));
    }
    let mut rest = &blob.data[..];
    let compared = constant.for_each_chunk(|chunk| match rest.split_at_checked(chunk.len()) {
        Some((there, after)) if there == chunk => {
            rest = after;
            Ok(())
        }
        _ => Err(()),
    });
    Ok(compared.is_err().then(|| "the values differ".to_owned()))
}

/// The name of the value that holds this very constant.
fn name_of<'p>(program: &'p Program, constant: &Const) -> &'p str {
    let values = program.functions.values().flat_map(|f| f.values());
    let mut named = values
        .filter(|v| v.literal.as_ref().and_then(mil::Literal::as_const).is_some_and(|c| std::ptr::eq(c, constant)));
    named.next().map_or("(part of an attribute)", |v| &v.name)
}

/// Makes `to` the same file as `from`, or a copy of it.
///
/// # Errors
/// [`Error::Io`].
pub(crate) fn link_or_copy(from: &Path, to: &Path) -> Result<WeightFile, Error> {
    Ok(match safe_files::link_or_copy(from, to)? {
        Shared::Linked => WeightFile::Linked,
        Shared::Copied => WeightFile::Copied,
    })
}
