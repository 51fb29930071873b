//! One package: opened, written while somebody looks on, and what it takes.

use std::ops::ControlFlow;
use std::path::Path;

use mil::{Function, Program};
use mil_compress::{StoredWeight, stored_weights};
use mlpackage::{Existing, Package, Written};
use sd_checkpoint::CheckpointError;
use sd_checkpoint::place::{Place, Wanted};
use sd_convert::verify::Input;
use sd_runtime::Engine;

use crate::error::{Context, Error, Result};
use crate::watch::{Event, Progress, Unit, Watch, Writing};

/// Endings of the names of what Core ML takes: packages, and what its compiler makes of them.
const FORMS: [&str; 2] = ["mlpackage", "mlmodelc"];

/// Whether a path is named as a package, compiled or not.
pub(crate) fn is_named_as_package(path: &Path) -> bool {
    path.extension().is_some_and(|own| FORMS.iter().any(|form| own == *form))
}

/// Whether a path is named as a compiled model.
pub(crate) fn is_named_as_compiled(path: &Path) -> bool {
    path.extension().is_some_and(|own| own == FORMS[1])
}

/// The name of a package without what says that it is one.
pub(crate) fn without_form(name: &str) -> &str {
    let named = FORMS.iter().find_map(|form| name.strip_suffix(form)?.strip_suffix('.'));
    named.unwrap_or(name)
}

/// Opens a package, compiled or not; a path that is something else is named for what it is.
///
/// # Errors
/// When it is no package, or one that cannot be read.
pub fn open_package(path: &Path) -> Result<Package> {
    let is_package = path.join(mlpackage::MANIFEST_FILE).is_file();
    let is_model_file = path.is_file() && path.extension().is_some_and(|e| e == "mlmodel");
    if !is_package && !is_model_file && !mlpackage::is_compiled(path) {
        return Err(not_wanted(path, Wanted::Package).into());
    }
    Package::open(path).with_context(|| format!("cannot open {}", path.display()))
}

/// The function that a package runs where none is named: its default one, or its only one; none of pipelines.
pub(crate) fn default_function(package: &Package) -> Option<&Function> {
    let program = package.model().program()?;
    program.functions.get(&package.model().description.default_function).or_else(|| program.main())
}

/// Elements of weights from which a model is large: a run of it takes seconds.
pub const LARGE: usize = 100_000_000;

/// Whether a function has more than [`LARGE`] elements of weights, whichever of them are looked at.
pub(crate) fn is_large(function: &Function) -> bool {
    let weights = stored_weights(&Program::single(function.clone()));
    weights.iter().map(StoredWeight::len).sum::<usize>() > LARGE
}

/// Refuses to replace what is there, where nothing is to be replaced.
pub(crate) fn refuse_existing<'p>(paths: impl IntoIterator<Item = &'p Path>, existing: Existing) -> Result<()> {
    match paths.into_iter().find(|path| existing == Existing::Refuse && path.exists()) {
        Some(there) => Err(Error::Exists(format!("{} is there already; replace it with --force", there.display()))),
        None => Ok(()),
    }
}

/// What a path is that is not what was wanted, and what to do.
pub(crate) fn not_wanted(path: &Path, wanted: Wanted) -> CheckpointError {
    let Place { what, next } = Place::of(path, wanted);
    CheckpointError::Place { path: path.to_owned(), what, next }
}

/// A model's inputs, as random ones are drawn for them.
pub(crate) fn inputs_of(engine: &dyn Engine) -> Vec<Input> {
    let features = engine.signature().inputs.iter();
    features
        .map(|f| Input { name: f.name.clone(), dtype: f.dtype, shape: f.shape.dims().unwrap_or_default().to_vec() })
        .collect()
}

/// A file's name without its extension.
pub(crate) fn stem(path: &Path) -> String {
    path.file_stem().map_or_else(String::new, |s| s.to_string_lossy().into_owned())
}

/// How `mlpackage` tells of its progress.
pub(crate) type OnProgress<'p> = &'p mut dyn FnMut(mlpackage::Progress) -> ControlFlow<()>;

/// Writes a package while somebody looks on; when they break off, nothing of it is left.
pub(crate) fn guarded(
    what: &str,
    watch: &mut dyn Watch,
    write: impl FnOnce(OnProgress<'_>) -> Result<Written>,
) -> Result<Written> {
    let mut writing = Writing::begin(watch);
    write(&mut |at| {
        let (done, total) = (at.written_bytes, at.total_bytes);
        writing.watch().event(Event::Progress(Progress { what, done, total, unit: Unit::Bytes }))
    })
}

/// Writes a package, with the weight file of the one at `first` where that has the same weights.
pub(crate) fn write_or_link(
    path: &Path,
    first: Option<&Path>,
    program: mil::Valid<'_>,
    description: &mlpackage::Description,
    existing: Existing,
    progress: OnProgress<'_>,
) -> Result<Written> {
    if let Some(first) = first {
        match mlpackage::write_linked(path, program, description, existing, first) {
            // A weight that depends on the size: the package is written with its own.
            Err(mlpackage::Error::WeightsDiffer { .. }) => {}
            linked => return Ok(linked?),
        }
    }
    Ok(mlpackage::write_until(path, program, description, existing, progress)?)
}

#[cfg(test)]
mod tests {
    use std::ops::Range;
    use std::sync::Arc;

    use mil::{Compute, Const, DType, FunctionBuilder, Opset, Type};

    use super::*;

    /// A weight that is never read.
    #[derive(Debug)]
    struct Unread([usize; 2]);

    impl Compute for Unread {
        fn dtype(&self) -> DType {
            DType::F16
        }

        fn shape(&self) -> &[usize] {
            &self.0
        }

        fn fill_rows(&self, _: Range<usize>, _: &mut [u8]) {
            panic!("how large a model is was asked, not what is in it");
        }
    }

    /// Two layers.
    fn function(hidden: usize) -> Function {
        let mut b = FunctionBuilder::new("main", Opset::CoreML7);
        let mut x = b.input("x", Type::tensor(DType::F16, &[1, 64]));
        let mut e = b.emitter();
        for (name, shape) in [("up", [hidden, 64]), ("down", [64, hidden])] {
            let weight = Const::computed(Arc::new(Unread(shape))).unwrap();
            let weight = e.constant(&format!("{name}_weight"), weight.into());
            x = e.op("linear", name, [("x", x.into()), ("weight", weight.into())]).unwrap();
        }
        let ops = e.into_ops();
        b.finish_program(ops, &[x]).main().unwrap().clone()
    }

    #[test]
    fn a_model_is_large_by_all_of_its_weights() {
        let half = LARGE / 2 / 64;
        assert!(!is_large(&function(half)));
        assert!(is_large(&function(half + 1)));
    }
}
