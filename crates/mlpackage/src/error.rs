//! What can be wrong with a package, or with writing one.
//!
//! [`Error`] says where; the `*Fault` enums say what. Every fact is in the error, none only in a log.

use std::{
    io,
    path::{Path, PathBuf},
};

use mil::{DType, Opset};
use safe_files::WriteError;

/// Why a package cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A file is not what its name says, too large, or cannot be read.
    #[error(transparent)]
    Read(#[from] safe_files::ReadError),
    /// The output is there already and may not be replaced.
    #[error("{} exists already", path.display())]
    Exists {
        /// The output.
        path: PathBuf,
    },
    /// The caller broke off the writing; nothing is left of it.
    #[error("stopped before the package was written")]
    Stopped,
    /// The output path cannot be a package.
    #[error("{} cannot be written: {reason}", path.display())]
    Target {
        /// The output.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A file is larger than a package's file of this kind can be.
    #[error("{} has {n_bytes} bytes, more than the {limit} that are read", path.display())]
    FileTooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        n_bytes: u64,
        /// The largest size that is read.
        limit: u64,
    },
    /// The manifest is not acceptable.
    #[error("{}: {fault}", path.display())]
    Manifest {
        /// The manifest, or the package that lacks one.
        path: PathBuf,
        /// What is wrong.
        fault: ManifestFault,
    },
    /// A weight file is not acceptable.
    #[error("{file}, offset {offset}: {fault}")]
    Blob {
        /// The weight file.
        file: String,
        /// Offset of the record at fault in bytes; 0 is the file's header.
        offset: u64,
        /// What is wrong.
        fault: BlobFault,
    },
    /// The weights are not those of the package whose weight file was to be shared.
    #[error("{place} is not the same in {}: {difference}", first.display())]
    WeightsDiffer {
        /// The weight file that was to be shared.
        first: PathBuf,
        /// Which weight.
        place: String,
        /// How it differs.
        difference: String,
    },
    /// A compiled model is not acceptable.
    #[error("{}: {fault}", path.display())]
    Compiled {
        /// The compiled model, or the file in it.
        path: PathBuf,
        /// What is wrong.
        fault: CompiledFault,
    },
    /// The model file is no protobuf message of the expected kind.
    #[error("the model does not decode: {message}")]
    Protobuf {
        /// What the decoder says.
        message: String,
    },
    /// The model is not acceptable.
    #[error("{place}: {fault}")]
    Model {
        /// The part at fault, for example `function main, op #214 conv_3`.
        place: String,
        /// What is wrong.
        fault: ModelFault,
    },
}

/// What is wrong with a manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestFault {
    /// There is none.
    #[error("there is no Manifest.json")]
    Missing,
    /// It is no JSON object with the required keys and types.
    #[error("not a manifest: {0}")]
    Syntax(String),
    /// `fileFormatVersion` is not `a.b.c`, or newer than 1.0.0.
    #[error("file format version {0:?} is not 1.0.0 or older")]
    Version(String),
    /// `rootModelIdentifier` is not the key of an item.
    #[error("root model {0:?} is not among the items")]
    Root(String),
    /// Two items have the same author and name.
    #[error("two items are called {0:?}")]
    Duplicate(String),
    /// An item's path is absolute, leaves the package, or is spelt in a way that could.
    #[error("item path {path:?} is not acceptable: {reason}")]
    Path {
        /// The path as it stands in the file.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// An item's path names nothing.
    #[error("item path {0:?} does not exist")]
    Absent(String),
}

/// What is wrong with a compiled model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CompiledFault {
    /// It is a neural network, which is executed by layers and not by a program.
    #[error("a neural network of Core ML 1 to 4, not an ML Program; compile the model from an ML Program")]
    NeuralNetwork,
    /// It is another kind of model.
    #[error("a compiled model of type {0}, no ML Program (502) and no pipeline of them (202)")]
    Kind(u32),
    /// There is no program.
    #[error("there is no model.mil")]
    NoText,
    /// A model of a pipeline is missing.
    #[error("the folder {0} of a pipeline is missing")]
    NoModel(String),
    /// A file with numbers is not as it must be.
    #[error("not the data of a compiled model: {0}")]
    Data(String),
    /// The text is no program.
    #[error("{0}")]
    Text(String),
    /// It is compiled already.
    #[error("it is compiled already")]
    AlreadyCompiled,
    /// A part of the model has no place in a compiled one.
    #[error("{0}, which cannot be compiled here")]
    Unwritable(String),
}

/// What is wrong with a weight file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlobFault {
    /// The file cannot hold a header.
    #[error("the file has {0} bytes, a header takes 64")]
    TooShort(u64),
    /// Not version 2.
    #[error("storage version {0} is not 2")]
    Version(u32),
    /// More blobs than the file has room for.
    #[error("{count} blobs do not fit in {n_bytes} bytes")]
    Count {
        /// Blobs that the header promises.
        count: u32,
        /// Size of the file.
        n_bytes: u64,
    },
    /// More distinct blobs are referred to than the header promises.
    #[error("{used} blobs are referred to, the header counts {count}")]
    Uncounted {
        /// Blobs that the model refers to.
        used: usize,
        /// Blobs that the header counts.
        count: u32,
    },
    /// The record does not begin at a multiple of 64, or lies in the header.
    #[error("no record can begin here")]
    Misaligned,
    /// The record does not lie in the file.
    #[error("the record ends past the {0} bytes of the file")]
    OutOfRange(u64),
    /// The record does not begin with the magic number.
    #[error("the record begins with {0:#010x} instead of 0xdeadbeef")]
    Sentinel(u32),
    /// The element type is unknown, or one that is not supported (8-bit floats).
    #[error("element type {0} is not supported")]
    Dtype(u32),
    /// The data does not begin at a multiple of 64 behind the record.
    #[error("the data cannot begin at {0}")]
    DataOffset(u64),
    /// The data does not lie in the file.
    #[error("data at {data_offset} of {size} bytes ends past the {n_bytes} bytes of the file")]
    DataOutOfRange {
        /// Where the data begins.
        data_offset: u64,
        /// Its size in bytes.
        size: u64,
        /// Size of the file.
        n_bytes: u64,
    },
    /// The size is no whole number of elements.
    #[error("{size} bytes with {padding} bits of padding are no whole number of {dtype}")]
    Size {
        /// Size in bytes.
        size: u64,
        /// Padding in bits.
        padding: u64,
        /// Element type.
        dtype: DType,
    },
    /// The data overlaps another blob.
    #[error("overlaps the blob at {0}")]
    Overlap(u64),
    /// A writer was given another number of bytes than it was promised.
    #[error("{expected} bytes were promised, {actual} written")]
    Written {
        /// Promised number of bytes.
        expected: u64,
        /// Bytes that came.
        actual: u64,
    },
    /// Weight files have no number for this element type.
    #[error("weight files cannot hold {0}")]
    NotStorable(DType),
    /// The file would hold more than 2^32 blobs or 2^64 bytes.
    #[error("the weight file would be too large")]
    TooLarge,
}

/// What is wrong with a model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ModelFault {
    /// Neither an ML Program nor a pipeline.
    #[error("a model of type {0} is no ML Program")]
    Kind(&'static str),
    /// The model has no body at all.
    #[error("the model has no type")]
    NoKind,
    /// The specification version is not one of ML Programs.
    #[error("specification version {0} is not 6 to 10")]
    SpecificationVersion(i32),
    /// The program version is not 1.
    #[error("program version {0} is not 1")]
    ProgramVersion(i64),
    /// A function's opset is unknown.
    #[error("opset {0:?} is unknown")]
    Opset(String),
    /// A function has no body for its opset.
    #[error("there is no block for opset {0}")]
    NoBlock(Opset),
    /// A function of this name is missing.
    #[error("function {0:?} is missing")]
    NoFunction(String),
    /// A part that must be there is not.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// The element type's number is unknown or not supported.
    #[error("element type {0} is not supported")]
    Dtype(i32),
    /// The rank is unknown, or differs from the number of dimensions.
    #[error("rank {rank} does not fit {n_dims} dimensions")]
    Rank {
        /// Declared rank.
        rank: i64,
        /// Dimensions given.
        n_dims: usize,
    },
    /// A tensor has more elements than any model needs, or more than fit in a number.
    #[error("a tensor of shape {0} is too large")]
    TooLarge(String),
    /// Two things have one name.
    #[error("{0:?} is defined twice")]
    Duplicate(String),
    /// A value is used that no earlier operation defines (cycles show as this too).
    #[error("{0:?} is used before it is defined")]
    Undefined(String),
    /// An immediate value is kept in another field than its type demands.
    #[error("a {ty} is kept as {found}")]
    Storage {
        /// Declared type.
        ty: String,
        /// The field that was set.
        found: &'static str,
    },
    /// A value has another number of elements than its type.
    #[error("a {ty} needs {expected} elements, {actual} are there")]
    Count {
        /// Declared type.
        ty: String,
        /// Elements or bytes that it needs.
        expected: usize,
        /// Elements or bytes that were found.
        actual: usize,
    },
    /// A value and the type declared for it differ.
    #[error("declared as {declared}, but the value is {found}")]
    TypeMismatch {
        /// Declared type.
        declared: String,
        /// The value's own type.
        found: String,
    },
    /// An immediate integer does not fit its element type.
    #[error("{value} is no {dtype}")]
    Element {
        /// The number.
        value: i64,
        /// Element type.
        dtype: DType,
    },
    /// A weight file's name is not `@model_path/…`, or leaves the package.
    #[error("weight file {file:?} is not acceptable: {reason}")]
    WeightPath {
        /// The name in the model.
        file: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A weight file is not there.
    #[error("weight file {0:?} is missing")]
    NoWeightFile(String),
    /// An attribute that has no meaning here.
    #[error("attribute {0:?} is not understood")]
    Attribute(String),
    /// A parameter is bound both as an input and as an attribute.
    #[error("parameter {0:?} is bound twice")]
    BoundTwice(String),
    /// A `constexpr_*` operand of opsets before `CoreML8` must be constant.
    #[error("operand {0:?} must be constant in this opset")]
    NotConstant(String),
    /// The description does not say what the program says.
    #[error("{what} {name:?}: {problem}")]
    Description {
        /// Which list of features.
        what: &'static str,
        /// The feature.
        name: String,
        /// How they differ.
        problem: String,
    },
    /// The number of names of a pipeline differs from that of its models.
    #[error("{n_names} names for {n_models} models")]
    PipelineNames {
        /// Names given.
        n_names: usize,
        /// Models given.
        n_models: usize,
    },
    /// Pipelines inside pipelines go too deep.
    #[error("pipelines are nested more than {0} deep")]
    Nesting(usize),
    /// Only other kinds of models can be trained further.
    #[error("an ML Program cannot be updatable")]
    Updatable,
    /// A function's own block has inputs besides those of the function.
    #[error("the block of a function has inputs of its own")]
    BodyInputs,
    /// The encoded model exceeds what protobuf allows.
    #[error("the model takes {0} bytes without weights, protobuf allows 2^31 - 1")]
    ModelTooLarge(u64),
}

/// Adds what was tried, and on which path, to an error of the operating system.
pub(crate) trait IoContext<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, Error>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, Error> {
        self.map_err(|source| Error::Io { action, path: path.to_path_buf(), source })
    }
}

impl From<WriteError> for Error {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Io { action, path, source } => Self::Io { action, path, source },
            WriteError::Exists { path } => Self::Exists { path },
            WriteError::Target { path, reason } => Self::Target { path, reason },
            other => Self::Io { action: "write", path: PathBuf::new(), source: io::Error::other(other) },
        }
    }
}

/// An error of the model at `place`.
pub(crate) fn model_error(place: impl Into<String>, fault: ModelFault) -> Error {
    Error::Model { place: place.into(), fault }
}
