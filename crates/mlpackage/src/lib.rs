//! Reads and writes Core ML packages.
//!
//! [`Package::open`] reads any package whose model is an ML Program or a pipeline of them, and what Apple's compiler
//! makes of one (`.mlmodelc`), strictly and without copying weights; [`compile()`] does what that compiler does; [`write()`] writes one from a validated program, streaming its weights, whole or not at all;
//! [`PackageWriter`] does so when weights are computed one by one and the program is known last, and [`write_linked`]
//! when another package has the same weights already.
//! This is the only crate that knows the fields of the model file and the offsets of `weight.bin`.
//! It knows nothing of Burn or of diffusion, and does not judge whether a program makes sense: [`mil::validate`] does.
//!
//! ```
//! use mil::{Const, DType, FunctionBuilder, HostTensor, Opset, Type, validate};
//! use mlpackage::{Description, Existing, Package, write};
//!
//! let mut builder = FunctionBuilder::new("main", Opset::CoreML6);
//! let x = builder.input("x", Type::tensor(DType::F32, &[1, 64]));
//! let mut emitter = builder.emitter();
//! let weight = HostTensor::from_f32([32, 64], (0..2048u16).map(|i| f32::from(i % 61)).collect());
//! let weight = emitter.constant("weight", Const::new(weight).into());
//! let y = emitter.op("linear", "y", [("x", x.into()), ("weight", weight.into())])?;
//! let ops = emitter.into_ops();
//! let program = builder.finish_program(ops, &[y]);
//!
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("linear.mlpackage");
//! write(&path, validate(&program)?, &Description::of(&program), Existing::Refuse, &mut |_| {})?;
//! assert!(*Package::open(&path)?.model().program().ok_or("not a program")? == program);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod blob;
mod compile;
mod compiled;
mod decode;
mod description;
mod encode;
mod error;
#[doc(hidden)]
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod link;
mod manifest;
mod model;
mod package;
mod repack;
mod store;
mod types;
mod write;

pub use blob::{Blob, BlobFile, BlobSink, BlobWriter};
pub use compile::compile;
pub use compiled::is_compiled;
pub use description::{
    ColorSpace, DefaultValue, Description, Feature, FeatureType, Image, ImageFlexibility, Interface, KeyType, Metadata,
    MultiArray, ShapeFlexibility, SizeRange,
};
pub use error::{BlobFault, CompiledFault, Error, ManifestFault, ModelFault};
pub use link::write_linked;
pub use manifest::{Item, MANIFEST_FILE, Manifest};
pub use model::{Body, Model, SubModel};
pub use package::Package;
pub use repack::repack;
pub use safe_files::Existing;
pub use store::{PackageWriter, SealedPackage, footprint, planned_after};
pub use write::{Progress, Stage, WeightFile, Written, planned, planned_pipeline, write, write_pipeline, write_until};

#[cfg(test)]
mod tests;

// The example of the README compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
