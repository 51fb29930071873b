//! Packages to compiled models: what Apple's compiler writes, byte for byte as far as that is determined.
//!
//! The text is written from the messages of the model file and not from a [`mil::Program`], which does not keep what the
//! compiler shows: where constants stand, and what they are called. So are descriptions, whose maps keep their order.
//! What is not the compiler's: versions in `buildInfo`, keys of enumerated shapes, the order of keys in
//! `metadata.json`, and in it what no sample has: names of some operations, and what models with palettes of iOS 18
//! store. The tests compare; no Core ML has loaded what is written here.

mod describe;
mod features;
mod operators;
mod precision;
#[cfg(test)]
mod tests;
mod text;
mod wire;

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use coremltools_proto::{self as pb, Message, mil_spec};
use mil::Bytes;
use safe_files::{Existing, StagedDir};
use sha2::{Digest, Sha256};

use crate::{
    blob::map_file,
    compiled::{
        ANALYTICS, COREML_DATA, METADATA, ML_PROGRAM, MODEL_MIL, MODEL_NAMES, PIPELINE,
        container::{self, Container, Section, Tail},
    },
    decode::{WeightFiles, WeightSource},
    error::{CompiledFault, Error},
    link::link_or_copy,
    model::{Body, Model, SubModel},
    package::{Package, stem},
    write::{Progress, Written},
};

/// Fields of `Model`, `Pipeline` and `ModelDescription`.
const DESCRIPTION: u32 = 2;
const MODELS: u32 = 1;
const DESCRIPTION_METADATA: u32 = 100;
/// What the compiler appends to a description without metadata.
const NO_METADATA: [u8; 3] = [0xa2, 0x06, 0x00];
/// What every weight file's name begins with.
const MODEL_PATH: &str = "@model_path/";

/// Compiles a package: writes the directory that Core ML loads, whole or not at all.
///
/// Weights are the package's own files, by hard links where the file system has them, and `progress` is called after
/// each. A model of a pipeline gets all weight files of the package, as Apple's compiler has it.
/// The same package gives the same bytes.
///
/// # Errors
/// [`Error::Exists`] when the output is there and `existing` refuses, [`Error::Compiled`] when the package is a compiled
/// model already or says what cannot be compiled, [`Error::Stopped`] when `progress` breaks off, or [`Error::Io`].
/// Whatever was at `to` is then as it was.
pub fn compile(
    package: &Package,
    to: impl AsRef<Path>,
    existing: Existing,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Written, Error> {
    let already = || Error::Compiled { path: package.path().to_path_buf(), fault: CompiledFault::AlreadyCompiled };
    let file = package.source().ok_or_else(already)?;
    let bytes = map_file(&file.file)?;
    let source = WeightSource::Directory { root: file.directory.clone(), below: PathBuf::new() };
    let mut compiler = Compiler { weights: WeightFiles::new(source), files: BTreeMap::new(), programs: Vec::new() };
    let message = pb::Model::decode(bytes.clone()).map_err(|e| Error::Protobuf { message: e.to_string() })?;
    let part = Part { message: &message, bytes: &bytes, model: package.model() };
    compiler.model("", part, Some(&source_of(&bytes, &file.name)))?;
    let metadata = describe::metadata(package.model(), &stem(package.path()))?;
    compiler.add("", METADATA, metadata.into_bytes());
    compiler.write(to.as_ref(), package, existing, progress)
}

/// What the compiler says of its source.
fn source_of(bytes: &Bytes, name: &str) -> [(&'static str, String); 2] {
    [("modelHash", STANDARD.encode(Sha256::digest(bytes))), ("modelName", name.to_owned())]
}

struct Compiler<'w> {
    weights: WeightFiles<'w>,
    /// Small files by their places.
    files: BTreeMap<String, Vec<u8>>,
    /// The folders of programs, with a slash behind each but the root.
    programs: Vec<String>,
}

impl Compiler<'_> {
    fn add(&mut self, place: &str, file: &str, bytes: Vec<u8>) {
        self.files.insert(format!("{place}{file}"), bytes);
    }

    /// Adds the files of the model at `place`, and of those in it; returns for whom its description is, and the
    /// version of its compiled form.
    fn model(&mut self, place: &str, part: Part<'_>, source: Option<&[(&str, String)]>) -> Result<String, Error> {
        let Part { message, bytes, model } = part;
        let (kind, tail, details, reader) = match (&model.body, &message.r#type) {
            (Body::Program(_), Some(pb::model::Type::MlProgram(program))) => {
                self.program(place, program, model)?;
                let details =
                    ("NeuralNetworkModelDetails", vec![("containsCustomLayer", zero()), ("modelDimension", zero())]);
                (ML_PROGRAM, Tail::Functions(program.functions.len()), details, container::GENERIC.to_owned())
            }
            (Body::Pipeline(models), Some(pb::model::Type::Pipeline(pipeline))) => {
                let reader = self.pipeline(place, pipeline, wire::only(bytes, PIPELINE, "the pipeline")?, models)?;
                let details = ("PipelineModelDetails", vec![("modelDimension", models.len().to_string())]);
                (PIPELINE, Tail::Models(models.len()), details, reader)
            }
            _ => return Err(unwritable("a pipeline that is a classifier or a regressor")),
        };
        let specification_version = u64::try_from(model.specification_version).unwrap_or_default();
        let description = description(bytes, source.is_some())?;
        let container = Container { kind, specification_version, description: &description, tail };
        self.add(place, COREML_DATA, container.write(&reader));
        let details: Section<'_> = (details.0, &details.1);
        let sections = source.map_or_else(|| vec![details], |source| vec![details, ("SpecificationDetails", source)]);
        self.add(place, ANALYTICS, container::write_analytics(&sections));
        Ok(container.named(&reader))
    }

    fn program(&mut self, place: &str, program: &mil_spec::Program, model: &Model) -> Result<(), Error> {
        for program in model.programs() {
            mil::validate(program).map_err(|faults| unwritable(&format!("a program that is not valid: {faults}")))?;
        }
        let interfaces = &model.description.functions;
        let text = text::print(program, model.specification_version, interfaces, &mut self.weights)?;
        self.add(place, MODEL_MIL, text.into_bytes());
        self.programs.push(place.to_owned());
        Ok(())
    }

    fn pipeline(
        &mut self,
        place: &str,
        pipeline: &pb::Pipeline,
        bytes: Option<&[u8]>,
        models: &[SubModel],
    ) -> Result<String, Error> {
        let parts = wire::all(bytes.unwrap_or_default(), MODELS)?;
        let mut reader = container::GENERIC.to_owned();
        for (i, ((message, bytes), model)) in pipeline.models.iter().zip(parts).zip(models).enumerate() {
            let part = Part { message, bytes, model: &model.model };
            let named = self.model(&format!("{place}model{i}/"), part, None)?;
            reader += &format!(".model{i}{named}");
        }
        if !pipeline.names.is_empty() {
            self.add(place, MODEL_NAMES, container::write_names(&pipeline.names));
        }
        Ok(reader)
    }

    fn write(
        self,
        to: &Path,
        package: &Package,
        existing: Existing,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Written, Error> {
        let weights = package.weight_files().iter().map(|(name, file)| (name.as_str(), file.n_bytes()));
        let weights: Vec<_> = weights.flat_map(|of| self.programs.iter().map(move |place| (place, of))).collect();
        let mut report = Progress { written_bytes: 0, total_bytes: weights.iter().map(|(_, (_, n))| n).sum() };
        let staged = StagedDir::new(to, existing)?;
        let mut written = Written { weight_bytes: report.total_bytes, ..Written::default() };
        for (place, bytes) in &self.files {
            written.model_bytes += if place.ends_with(MODEL_MIL) { bytes.len() as u64 } else { 0 };
            staged.write(&staged.path().join(place), bytes)?;
        }
        written.n_blobs = package.weight_files().values().map(|file| file.count() as usize).sum();
        for (place, (name, n_bytes)) in weights {
            if progress(report).is_break() {
                return Err(Error::Stopped);
            }
            let from = package.weight_path(name)?;
            let target = staged.path().join(place).join(name.trim_start_matches(MODEL_PATH));
            staged.make_folder(target.parent().unwrap_or(&target))?;
            written.weight_file = link_or_copy(&from, &target)?;
            report.written_bytes += n_bytes;
        }
        if progress(report).is_break() {
            return Err(Error::Stopped);
        }
        staged.commit()?;
        Ok(written)
    }
}

/// A model as a message, as the bytes of the message, and as it was read.
struct Part<'m> {
    message: &'m pb::Model,
    bytes: &'m [u8],
    model: &'m Model,
}

fn zero() -> String {
    "0".to_owned()
}

/// The description as it stands in the message; at the top the compiler adds metadata where there are none.
fn description(bytes: &[u8], is_top: bool) -> Result<Vec<u8>, Error> {
    let description = wire::only(bytes, DESCRIPTION, "the description")?;
    let mut description = description.unwrap_or_default().to_vec();
    if is_top && wire::all(&description, DESCRIPTION_METADATA)?.is_empty() {
        description.extend(NO_METADATA);
    }
    Ok(description)
}

fn unwritable(what: &str) -> Error {
    Error::Compiled { path: PathBuf::from(MODEL_MIL), fault: CompiledFault::Unwritable(what.to_owned()) }
}
