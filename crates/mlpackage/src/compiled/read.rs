//! Compiled models to models: the same that their packages give.
//!
//! `coremldata.bin` says what `model.mil` does not: the order and types of features, for the compiler sorts a function's
//! inputs by name. Whoever publishes a model without it still has a program; its interface is then taken from there.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use coremltools_proto::{self as pb, Message};
use mil::{
    Const, DType, Literal, Program,
    text::{BlobError, BlobSource, parse},
};

use super::{
    BUILD_INFO, COMPILER, COMPONENT, COREML_DATA, FLEXIBLE, ML_PROGRAM, MODEL_MIL, MODEL_NAMES, NEURAL_NETWORK,
    NEURAL_NETWORKS, PIPELINE,
    container::{self, Container, Tail},
};
use crate::{
    blob::{BlobFile, map_file},
    decode::{self, MAX_MODEL_BYTES, MAX_NESTING, WeightError, WeightFiles, WeightSource},
    description::{self, Description},
    encode,
    error::{CompiledFault, Error, ModelFault, model_error},
    model::{Body, Model, SubModel},
};

/// No description comes near this size.
const MAX_BYTES: u64 = 64 << 20;

/// What a compiled model holds.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) model: Model,
    /// Size of the texts in bytes.
    pub(crate) text_bytes: u64,
    /// Weight files by the names that the programs use, those of a pipeline's models behind the model's folder.
    pub(crate) weight_files: BTreeMap<String, BlobFile>,
    /// Name and version of the compiler, where the program says it.
    pub(crate) compiler: Option<String>,
}

/// Opens a compiled model.
///
/// # Errors
/// [`Error::Compiled`], [`Error::Model`], [`Error::Blob`] or those of reading.
pub(crate) fn open(path: &Path) -> Result<Compiled, Error> {
    let mut reader = Reader { root: path, text_bytes: 0, weight_files: BTreeMap::new(), compiler: None };
    let model = reader.model(path, "", 0)?;
    let Reader { text_bytes, weight_files, compiler, .. } = reader;
    Ok(Compiled { model, text_bytes, weight_files, compiler })
}

struct Reader<'r> {
    root: &'r Path,
    text_bytes: u64,
    weight_files: BTreeMap<String, BlobFile>,
    compiler: Option<String>,
}

impl Reader<'_> {
    /// The model in a folder, which is `below` the root.
    fn model(&mut self, folder: &Path, below: &str, depth: usize) -> Result<Model, Error> {
        let fault = |fault| Err(Error::Compiled { path: folder.to_path_buf(), fault });
        if folder.join(NEURAL_NETWORK).is_file() {
            return fault(CompiledFault::NeuralNetwork);
        }
        let data = folder.join(COREML_DATA);
        let Some(bytes) = read_if_present(&data)? else {
            return self.program(folder, below, None);
        };
        let unreadable = |what| Error::Compiled { path: data.clone(), fault: CompiledFault::Data(what) };
        let kind = bytes.first_chunk::<4>().map(|kind| u32::from_le_bytes(*kind));
        match kind {
            Some(ML_PROGRAM | PIPELINE) => {}
            Some(kind) if NEURAL_NETWORKS.contains(&kind) => return fault(CompiledFault::NeuralNetwork),
            Some(kind) => return fault(CompiledFault::Kind(kind)),
            None => return Err(unreadable("it has no type".to_owned())),
        }
        let container = container::read(&bytes).map_err(unreadable)?;
        match container.tail {
            Tail::Functions(_) => self.program(folder, below, Some(&container)),
            Tail::Models(_) if depth == MAX_NESTING => Err(model_error(below, ModelFault::Nesting(MAX_NESTING))),
            Tail::Models(n) => self.pipeline(folder, below, &container, n, depth),
        }
    }

    fn pipeline(
        &mut self,
        folder: &Path,
        below: &str,
        container: &Container<'_>,
        n: usize,
        depth: usize,
    ) -> Result<Model, Error> {
        let names_file = folder.join(MODEL_NAMES);
        let names = match read_if_present(&names_file)? {
            Some(bytes) => container::read_names(&bytes)
                .map_err(|what| Error::Compiled { path: names_file, fault: CompiledFault::Data(what) })?,
            None if n > MAX_MODELS => {
                let fault = ModelFault::PipelineNames { n_names: MAX_MODELS, n_models: n };
                return Err(model_error(folder.display().to_string(), fault));
            }
            None => Vec::new(),
        };
        let names = decode::model_names(names, n).map_err(|fault| model_error(folder.display().to_string(), fault))?;
        let mut models = Vec::new();
        for (i, name) in names.into_iter().enumerate() {
            let child = format!("model{i}");
            let path = folder.join(&child);
            if !path.is_dir() {
                return Err(Error::Compiled { path: folder.to_path_buf(), fault: CompiledFault::NoModel(child) });
            }
            let model = self.model(&path, &format!("{below}{child}/"), depth + 1)?;
            models.push(SubModel { name, model });
        }
        Ok(Model {
            specification_version: version(container)?,
            description: described(container, folder)?,
            body: Body::Pipeline(models),
        })
    }

    fn program(&mut self, folder: &Path, below: &str, container: Option<&Container<'_>>) -> Result<Model, Error> {
        let path = folder.join(MODEL_MIL);
        if !path.is_file() {
            return Err(Error::Compiled { path: folder.to_path_buf(), fault: CompiledFault::NoText });
        }
        let (mut program, files) = self.text(&path, below)?;
        self.weight_files.extend(files.into_iter().map(|(name, file)| (format!("{below}{name}"), file)));
        self.compiler = self.compiler.take().or(undo_compiler(&mut program));
        let Some(container) = container else {
            let description = Description::of(&program);
            let specification_version = encode::specification_version(&program, &description);
            return Ok(Model { specification_version, description, body: Body::Program(program) });
        };
        let description = described(container, folder)?;
        description::check_names(&description, &program)?;
        order_inputs(&mut program, &description);
        Ok(Model { specification_version: version(container)?, description, body: Body::Program(program) })
    }

    /// The program of a text, and the weight files that it refers to.
    fn text(&mut self, path: &Path, below: &str) -> Result<(Program, BTreeMap<String, BlobFile>), Error> {
        let bytes = map_file(path)?;
        let n_bytes = bytes.len() as u64;
        if n_bytes > MAX_MODEL_BYTES {
            return Err(Error::FileTooLarge { path: path.to_path_buf(), n_bytes, limit: MAX_MODEL_BYTES });
        }
        self.text_bytes += n_bytes;
        let text = str::from_utf8(&bytes)
            .map_err(|e| safe_files::ReadError::NotText { path: path.to_path_buf(), at: e.valid_up_to() })?;
        let source = WeightSource::Directory { root: self.root.to_path_buf(), below: PathBuf::from(below) };
        let weights = TextWeights { files: RefCell::new(WeightFiles::new(source)), fault: RefCell::new(None) };
        let parsed = parse(text, &weights);
        let TextWeights { files, fault } = weights;
        let program = parsed.map_err(|error| match fault.into_inner() {
            Some(fault) => fault,
            None => Error::Compiled { path: path.to_path_buf(), fault: CompiledFault::Text(error.to_string()) },
        })?;
        let files = files.into_inner();
        files.check_disjoint()?;
        Ok((program, files.into_files()))
    }
}

/// More models than this no pipeline has; names of that many are made before their folders are looked for.
const MAX_MODELS: usize = 1 << 16;

fn version(container: &Container<'_>) -> Result<i32, Error> {
    let version = i32::try_from(container.specification_version).unwrap_or(i32::MAX);
    match container.tail {
        Tail::Functions(_) if !(6..=10).contains(&version) => {
            Err(model_error("model", ModelFault::SpecificationVersion(version)))
        }
        _ => Ok(version),
    }
}

fn described(container: &Container<'_>, folder: &Path) -> Result<Description, Error> {
    let message = pb::ModelDescription::decode(container.description).map_err(|e| {
        let fault = CompiledFault::Data(format!("its description does not decode: {e}"));
        Error::Compiled { path: folder.join(COREML_DATA), fault }
    });
    description::decode(message?)
}

/// A small file, if it is there; a pipe or a folder in its place is refused before anybody waits for it.
fn read_if_present(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    if path.exists() && !path.is_file() {
        let fault = CompiledFault::Data("it is no regular file".to_owned());
        return Err(Error::Compiled { path: path.to_path_buf(), fault });
    }
    Ok(safe_files::read_if_present(path, MAX_BYTES)?)
}

/// Takes away what the compiler added to the program; returns the compiler's name and version.
fn undo_compiler(program: &mut Program) -> Option<String> {
    for function in program.functions.values_mut() {
        function.attributes.remove(FLEXIBLE);
    }
    let Some(Literal::Dict(_, _, entries)) = program.attributes.get_mut(BUILD_INFO) else { return None };
    let text = |literal: &Literal| match literal {
        Literal::Strings { values, .. } => values.first().map(ToString::to_string),
        _ => None,
    };
    let is = |key: &Literal, name| text(key).is_some_and(|key| key == name);
    let of = |name| entries.iter().find(|(key, _)| is(key, name)).and_then(|(_, value)| text(value));
    // Apple's component is known by a number, others by what they are called.
    let component = of(COMPONENT).filter(|name| !name.starts_with(|c: char| c.is_ascii_digit()));
    let compiler = of(COMPILER).map(|version| format!("{} {version}", component.as_deref().unwrap_or("coremlc")));
    entries.retain(|(key, _)| !is(key, COMPILER) && !is(key, COMPONENT));
    if entries.is_empty() {
        program.attributes.remove(BUILD_INFO);
    }
    compiler
}

/// Gives the inputs of each function the order that the description has; states keep theirs, behind.
fn order_inputs(program: &mut Program, description: &Description) {
    for interface in &description.functions {
        let Some(function) = program.functions.get_mut(&interface.name) else { continue };
        let features = || interface.inputs.iter().chain(&interface.states);
        let mut inputs = std::mem::take(&mut function.inputs);
        inputs.sort_by_key(|&id| features().position(|f| f.name == function.name_of(id)));
        function.inputs = inputs;
    }
}

/// Weights for the parser, with the error that it cannot carry.
struct TextWeights<'w> {
    files: RefCell<WeightFiles<'w>>,
    fault: RefCell<Option<Error>>,
}

impl BlobSource for TextWeights<'_> {
    fn resolve(&self, file: &str, offset: u64, dtype: DType, shape: &[usize]) -> Result<Const, BlobError> {
        // The shape is known not to overflow.
        let n_elements = shape.iter().product();
        self.files.borrow_mut().constant(file, offset, dtype, shape, n_elements).map_err(|error| {
            let (words, fault) = match error {
                WeightError::Model(fault) => (fault.to_string(), model_error(MODEL_MIL, fault)),
                WeightError::File(error) => (error.to_string(), error),
            };
            *self.fault.borrow_mut() = Some(fault);
            words.into()
        })
    }
}
