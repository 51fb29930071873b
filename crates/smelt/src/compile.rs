//! Packages compiled, as Core ML loads them: what `xcrun coremlcompiler` does on a Mac, anywhere.
//!
//! Where Core ML is, its own compiler does it.

use std::path::{Path, PathBuf};
use std::time::Instant;

use mlpackage::{Existing, WeightFile};
use safe_files::{OutputFolder, Outputs, Tree};
use sd_checkpoint::place::Wanted;
use serde::Serialize;

use crate::core_ml;
use crate::error::{Context, Result, refuse};
use crate::model_dir::{folder, packages};
use crate::owner::Owner;
use crate::package::{
    guarded, is_named_as_compiled, is_named_as_package, not_wanted, open_package, refuse_existing, stem,
};
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
    /// Compiles a package into a folder, under its name, or to a place whose name ends with .mlmodelc; or all packages of
    /// a folder and of folders in it, whose other files are copied.
    ///
    /// # Errors
    /// For what is no package, or compiled already; for what is there already; for a disk that is full, and when the
    /// watcher breaks off.
    pub fn run(&self, from: &Path, to: &Path, watch: &mut dyn Watch) -> Result<CompileReport> {
        let begin = Instant::now();
        let work = Work::look(from, to)?;
        refuse_existing(work.targets(), self.existing)?;
        // Folders that were made, and stay empty, go with these.
        let mut folders = work.name()?;
        folders.iter_mut().try_for_each(OutputFolder::make)?;
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
        let bytes = open_package(target)?.n_bytes();
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
    /// Where everything goes.
    folder: PathBuf,
    packages: Vec<(PathBuf, PathBuf)>,
    copies: Vec<(Tree, PathBuf)>,
}

impl Work {
    fn look(from: &Path, to: &Path) -> Result<Self> {
        if !from.is_dir() || is_named_as_package(from) {
            if is_named_as_compiled(from) {
                refuse!("{} is compiled already", from.display());
            }
            // A place that is named as a compiled model is the model's own.
            let (folder, target) = match is_named_as_compiled(to) {
                true => (to.parent().unwrap_or(to).to_owned(), to.to_owned()),
                false => (to.to_owned(), compiled(from, to)),
            };
            return Ok(Self { folder, packages: vec![(from.to_owned(), target)], copies: Vec::new() });
        }
        let Some(from) = &folder(from)? else { return Err(not_wanted(from, Wanted::Packages).into()) };
        if is_named_as_compiled(to) {
            refuse!("{} is named as one compiled model, and {} holds several", to.display(), from.display());
        }
        let is_in_place = from.canonicalize().ok() == to.canonicalize().ok();
        if !is_in_place {
            Owner::of_folder(from)?.check_may_enter(to)?;
        }
        let mut work = Self { folder: to.to_owned(), ..Self::default() };
        work.gather(from, to)?;
        if work.packages.is_empty() {
            refuse!("{} holds compiled models, and no package that is not compiled", from.display());
        }
        work.copies.retain(|_| !is_in_place);
        work.copies.sort_by(|(_, a), (_, b)| a.cmp(b));
        Ok(work)
    }

    /// Adds what a folder holds; folders in it are looked through where they hold packages, as that of ControlNets does.
    fn gather(&mut self, from: &Path, to: &Path) -> Result<()> {
        let own: Vec<PathBuf> = packages(from)?.into_iter().filter(|path| !is_named_as_compiled(path)).collect();
        let made: Vec<PathBuf> = own.iter().map(|package| compiled(package, to)).collect();
        self.packages.extend(own.into_iter().zip(made.iter().cloned()));
        let cannot = || format!("cannot read {}", from.display());
        for entry in std::fs::read_dir(from).with_context(cannot)? {
            let path = entry.with_context(cannot)?.path();
            let Some(name) = path.file_name().filter(|name| !name.as_encoded_bytes().starts_with(b".")) else {
                continue;
            };
            let target = to.join(name);
            // A compiled model of a package is made anew.
            if made.contains(&target) || self.packages.iter().any(|(package, _)| *package == path) {
                continue;
            }
            if path.is_dir() && !is_named_as_package(&path) && !packages(&path)?.is_empty() {
                self.gather(&path, &target)?;
            } else {
                self.copies.push((Tree::read(&path)?, target));
            }
        }
        Ok(())
    }

    fn targets(&self) -> impl Iterator<Item = &Path> {
        self.packages.iter().map(|(_, to)| to.as_path()).chain(self.copies.iter().map(|(_, to)| to.as_path()))
    }

    /// Names everything that is read and written; returns the folders to be made.
    fn name(&self) -> Result<Vec<OutputFolder>> {
        let mut outputs = Outputs::new();
        self.packages.iter().try_for_each(|(package, _)| outputs.reads("the package", package))?;
        self.copies.iter().try_for_each(|(tree, _)| outputs.reads("the copied", tree.root()))?;
        let mut folders = vec![outputs.folder("-o", &self.folder)?];
        let mut below: Vec<&Path> = self.targets().filter_map(Path::parent).collect();
        below.sort_unstable();
        below.dedup();
        for folder in below.into_iter().filter(|folder| *folder != self.folder) {
            folders.push(outputs.folder("-o", folder)?);
        }
        self.packages.iter().try_for_each(|(_, target)| outputs.directory("-o", target))?;
        for (tree, target) in &self.copies {
            if tree.root().is_dir() {
                outputs.directory("-o", target)?;
            } else {
                outputs.file("-o", target)?;
            }
        }
        Ok(folders)
    }
}

/// Where a package's compiled model goes.
fn compiled(package: &Path, to: &Path) -> PathBuf {
    to.join(format!("{}.mlmodelc", stem(package)))
}
