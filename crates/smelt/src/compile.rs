//! Packages compiled, as Core ML loads them: what `xcrun coremlcompiler` does on a Mac, anywhere.
//!
//! Where Core ML is, its own compiler does it.

use std::path::{Path, PathBuf};
use std::time::Instant;

use mlpackage::{Existing, WeightFile};
use safe_files::{Outputs, Tree};
use sd_checkpoint::place::Wanted;
use serde::Serialize;

use crate::core_ml;
use crate::error::{Context, Error, Result, refuse};
use crate::model_dir::packages;
use crate::owner::Owner;
use crate::package::{guarded, is_named_as_compiled, is_named_as_package, not_wanted, open_package, stem};
use crate::watch::{Watch, Writing};

/// What is known of models that are compiled here, to be said once by whoever writes some; none where Core ML compiles.
#[must_use]
pub fn compiled_here() -> Option<&'static str> {
    (!core_ml::has_compiler()).then_some(COMPILED_HERE)
}

const COMPILED_HERE: &str = "compiled models were compared with those of Apple's compiler, file by file, and no \
     Core ML has loaded them here; on a Mac, docs/mac.md says how to try them";

/// How packages are compiled.
#[derive(Debug, Clone, Copy, Default)]
pub struct Compiling {
    /// What happens to compiled models that are there already.
    pub existing: Existing,
}

/// What was compiled.
#[derive(Debug, Clone, Serialize)]
pub struct CompileReport {
    /// The compiled models, in the order in which they were written.
    pub models: Vec<CompiledModel>,
    /// Files and models that were copied as they are.
    pub copied: Vec<String>,
    /// Time for everything.
    pub seconds: f64,
}

/// A compiled model that was written.
#[derive(Debug, Clone, Serialize)]
pub struct CompiledModel {
    /// Where it is.
    pub path: String,
    /// Bytes of its program and weights.
    pub bytes: u64,
    /// Its weights are the package's own file, and take no space of their own.
    pub is_shared: bool,
}

impl Compiling {
    /// Compiles a package into a folder, under its name; or all packages of a folder, whose other files are copied.
    ///
    /// # Errors
    /// For what is no package, or compiled already; for what is there already; for a disk that is full, and when the
    /// watcher breaks off.
    pub fn run(&self, from: &Path, to: &Path, watch: &mut dyn Watch) -> Result<CompileReport> {
        let begin = Instant::now();
        let work = Work::look(from, to)?;
        work.refuse_existing(self.existing)?;
        let mut folder = work.name(from, to)?;
        folder.make()?;
        let mut models = Vec::new();
        for (package, target) in &work.packages {
            models.push(compile(package, target, self.existing, watch)?);
        }
        for (tree, target) in &work.copies {
            let _writing = Writing::begin(watch);
            let cannot = || format!("cannot copy {} to {}", tree.root().display(), target.display());
            tree.copy_to(target).with_context(cannot)?;
        }
        let copied = work.copies.iter().map(|(_, target)| target.display().to_string()).collect();
        Ok(CompileReport { models, copied, seconds: begin.elapsed().as_secs_f64() })
    }
}

/// Compiles one package.
///
/// # Errors
/// As [`Compiling::run`].
pub(crate) fn compile(
    package: &Path,
    target: &Path,
    existing: Existing,
    watch: &mut dyn Watch,
) -> Result<CompiledModel> {
    if core_ml::has_compiler() {
        let _writing = Writing::begin(watch);
        core_ml::compile(package, target)?;
        let opened = open_package(target)?;
        let weights: u64 = opened.weight_files().values().map(mlpackage::BlobFile::n_bytes).sum();
        let bytes = opened.model_bytes() + weights;
        return Ok(CompiledModel { path: target.display().to_string(), bytes, is_shared: false });
    }
    let opened = open_package(package)?;
    let written = guarded("compiling", watch, |progress| {
        let compiled = mlpackage::compile(&opened, target, existing, progress);
        compiled.with_context(|| format!("cannot compile {}", package.display()))
    })?;
    Ok(CompiledModel {
        path: target.display().to_string(),
        bytes: written.model_bytes + written.weight_bytes,
        is_shared: written.weight_file == WeightFile::Linked,
    })
}

/// What is compiled, and what comes along, each with its place.
#[derive(Debug, Default)]
struct Work {
    packages: Vec<(PathBuf, PathBuf)>,
    copies: Vec<(Tree, PathBuf)>,
}

impl Work {
    fn look(from: &Path, to: &Path) -> Result<Self> {
        let compiled = |package: &Path| to.join(format!("{}.mlmodelc", stem(package)));
        if !from.is_dir() || is_named_as_package(from) {
            if is_named_as_compiled(from) {
                refuse!("{} is compiled already", from.display());
            }
            return Ok(Self { packages: vec![(from.to_owned(), compiled(from))], copies: Vec::new() });
        }
        let mut work = Self::default();
        for path in packages(from)?.into_iter().filter(|path| !is_named_as_compiled(path)) {
            let target = compiled(&path);
            work.packages.push((path, target));
        }
        if work.packages.is_empty() {
            return Err(not_wanted(from, Wanted::Packages).into());
        }
        if from.canonicalize().ok() == to.canonicalize().ok() {
            return Ok(work);
        }
        Owner::of_folder(from)?.check_may_enter(to)?;
        let cannot = || format!("cannot read {}", from.display());
        for entry in std::fs::read_dir(from).with_context(cannot)? {
            let path = entry.with_context(cannot)?.path();
            let Some(name) = path.file_name().filter(|name| !name.as_encoded_bytes().starts_with(b".")) else {
                continue;
            };
            let target = to.join(name);
            // A compiled model of a package is made anew.
            let is_made = work.packages.iter().any(|(package, made)| *package == path || *made == target);
            if !is_made {
                work.copies.push((Tree::read(&path)?, target));
            }
        }
        work.copies.sort_by(|(_, a), (_, b)| a.cmp(b));
        Ok(work)
    }

    fn targets(&self) -> impl Iterator<Item = &Path> {
        self.packages.iter().map(|(_, to)| to.as_path()).chain(self.copies.iter().map(|(_, to)| to.as_path()))
    }

    fn refuse_existing(&self, existing: Existing) -> Result<()> {
        match self.targets().find(|target| existing == Existing::Refuse && target.exists()) {
            Some(there) => Err(Error::Exists(format!("{} is there already; replace it with --force", there.display()))),
            None => Ok(()),
        }
    }

    /// Names everything that is read and written; returns the folder to be made.
    fn name(&self, from: &Path, to: &Path) -> Result<safe_files::OutputFolder> {
        let mut outputs = Outputs::new();
        if self.packages.iter().all(|(package, _)| package != from) && !self.copies.is_empty() {
            outputs.reads("the folder of packages", from)?;
        }
        self.packages.iter().try_for_each(|(package, _)| outputs.reads("the package", package))?;
        self.copies.iter().try_for_each(|(tree, _)| outputs.reads("the copied", tree.root()))?;
        let folder = outputs.folder("-o", to)?;
        self.packages.iter().try_for_each(|(_, target)| outputs.directory("-o", target))?;
        for (tree, target) in &self.copies {
            if tree.root().is_dir() {
                outputs.directory("-o", target)?;
            } else {
                outputs.file("-o", target)?;
            }
        }
        Ok(folder)
    }
}
