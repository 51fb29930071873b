//! `cargo xtask oracle [WHAT]`: has tools that are not ours judge freshly converted packages.
//!
//! `packages`: a strict structural validator and coremltools' own loader, which infers the type of every op anew; and coremltools'
//! compressor, whose bytes must be those of `smelt compress` where the algorithm leaves no choice.
//! `networks`: PyTorch, with diffusers' classes, on small networks of shapes that golden data lacks.
//! `pictures`: Pillow, OpenCV and NumPy, on random pictures and seeds.
//! `controls`: diffusers, on pictures that ControlNets guide by holes and by edges.
//! `loras`: diffusers, peft and LyCORIS, on LoRAs of kinds that golden data lacks.
//! `edits`: diffusers' pipelines, on pictures that are edited by instructions, get a border or are drawn in two passes.
//! `dkm`: coremltools' palettizer that trains, on one layer.
//! `decoders`: diffusers' pipelines, on pictures that a TAESD decodes.
//! `upscalers`: PyTorch, on small random upscalers in every form that people have them in.
//! `onnx`: ONNX Runtime, on the packages of the example that takes ONNX files.
//! Needs Python 3.11 or 3.12, the network on its first run, and the validator's folder (`SMELT_TOOLS`, default
//! `../shared/tools`); therefore it is a command and not a test.

mod controls;
mod decoders;
mod dkm;
mod edits;
mod loras;
mod made;
mod networks;
mod onnx;
mod pictures;
mod upscalers;

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::{
    python::{self, succeed},
    smelt::{self, Profile},
    workspace_root,
};

const REQUIREMENTS: [&str; 3] = ["numpy==1.26.4", "coremltools==9.0", "scikit-learn==1.5.1"];
/// What every script has that judges by diffusers: one environment serves all of them, for PyTorch takes gigabytes.
const DIFFUSERS: [&str; 9] = [
    "torch==2.15.0",
    "diffusers==0.42.1",
    "transformers==5.24.0",
    "peft==0.21.2",
    "lycoris-lora==4.1.3",
    "safetensors==0.8.0",
    "numpy==2.4.6",
    "pillow==13.0.0",
    "opencv-python-headless==5.0.0.93",
];
const SAME_BYTES: &str = include_str!("oracle/same_bytes.py");
const LAYOUTS: [&str; 3] = ["original", "split-einsum", "split-einsum-v2"];

/// Arguments of `cargo xtask oracle`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[arg(value_enum, default_value_t)]
    what: What,
}

/// What is judged.
#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
enum What {
    /// The form of packages, and the bytes of compressed weights, by coremltools.
    #[default]
    Packages,
    /// What networks compute, by PyTorch.
    Networks,
    /// What ControlNets make of pictures with holes, and of their edges, by diffusers and OpenCV.
    Controls,
    /// What LoRAs make of weights, by diffusers, peft and LyCORIS.
    Loras,
    /// What packages made of ONNX files compute, by ONNX Runtime.
    Onnx,
    /// How pictures are resized, blurred and searched for edges, by Pillow and OpenCV, and random draws, by NumPy.
    Pictures,
    /// What is drawn from pictures, by diffusers: edits by instructions, borders, and second passes.
    Edits,
    /// What a TAESD makes of latents, from every form of its files, by diffusers.
    Decoders,
    /// What differentiable k-means makes of a layer, by coremltools.
    Dkm,
    /// What upscalers make of pictures, by PyTorch.
    Upscalers,
}

/// Converts, and fails if what comes of it is refused.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    match arguments.what {
        What::Packages => judge_packages(),
        What::Networks => networks::run(),
        What::Controls => controls::run(),
        What::Loras => loras::run(),
        What::Onnx => onnx::run(),
        What::Pictures => pictures::run(),
        What::Edits => edits::run(),
        What::Decoders => decoders::run(),
        What::Dkm => dkm::run(),
        What::Upscalers => upscalers::run(),
    }
}

/// Converts every known checkpoint in every attention layout and fails if a package is refused.
fn judge_packages() -> Result<()> {
    let place = smelt::target_dir()?.join("oracle");
    let judge = Judge::new()?;
    let packages = make_all(&place.join("packages"))?;
    let verdicts = judge.verdicts(&packages)?;
    report(&packages, &verdicts)?;
    compare_bytes(&judge.python, &place)
}

/// Runs a script that judges by diffusers in a folder of its own; returns the lines that it printed.
fn ask_diffusers(place: &Path, name: &str, script: &str, arguments: &[&Path]) -> Result<String> {
    let python = python::ensure_venv(&place.with_file_name("diffusers-venv"), &DIFFUSERS)?;
    let file = place.join(name);
    fs::write(&file, script)?;
    let output = Command::new(python).arg(file).args(arguments).stderr(Stdio::inherit()).output();
    let output = output.context("cannot start Python")?;
    ensure!(output.status.success(), "{name}: {}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}

/// The validator, and a Python that has what it needs.
#[derive(Debug)]
pub(crate) struct Judge {
    python: PathBuf,
    validator: PathBuf,
}

impl Judge {
    /// Finds the validator and makes the environment ready.
    pub(crate) fn new() -> Result<Self> {
        let venv = smelt::target_dir()?.join("oracle/venv");
        Ok(Self { validator: validator()?, python: python::ensure_venv(&venv, &REQUIREMENTS)? })
    }

    /// What is wrong with these packages, each fault with the package's name.
    pub(crate) fn faults(&self, packages: &[PathBuf]) -> Result<Vec<String>> {
        let verdicts = if packages.is_empty() { Vec::new() } else { self.verdicts(packages)? };
        let refused = packages.iter().zip(verdicts).filter(|(_, verdict)| !verdict.is_ok);
        let fault = |(package, verdict): (&PathBuf, Verdict)| {
            format!("coremltools refuses {}: {}", package.display(), verdict.errors.join("; "))
        };
        Ok(refused.map(fault).collect())
    }

    /// One verdict for each package.
    fn verdicts(&self, packages: &[PathBuf]) -> Result<Vec<Verdict>> {
        let mut command = Command::new(&self.python);
        command.arg(&self.validator).arg("--brief").args(packages).stderr(Stdio::inherit());
        let output = command.output().context("cannot start the validator")?;
        let mut verdicts = read_verdicts(&String::from_utf8_lossy(&output.stdout));
        ensure!(
            verdicts.len() == packages.len(),
            "the validator judged {} of {} packages ({})",
            verdicts.len(),
            packages.len(),
            output.status
        );
        for (package, verdict) in packages.iter().zip(&mut verdicts) {
            if made::has_functions(package)? {
                verdict.allow_functions();
            }
        }
        Ok(verdicts)
    }
}

/// Has coremltools compress what `smelt compress` did, and fails if a byte differs.
fn compare_bytes(python: &Path, place: &Path) -> Result<()> {
    let script = place.join("same_bytes.py");
    fs::write(&script, SAME_BYTES)?;
    let binary = smelt::build(Profile::Dev, |_| {})?.binary;
    let sources = ["13", "15"].map(|system| place.join("packages/made/sources").join(system));
    let mut command = Command::new(python);
    command.arg(script).arg(binary);
    for source in &sources {
        command.args(packages_in(source)?);
    }
    // coremltools draws its progress there.
    succeed(command.arg(place).stderr(Stdio::null()))
}

/// The validator script.
fn validator() -> Result<PathBuf> {
    let tools = std::env::var_os("SMELT_TOOLS").map_or_else(|| workspace_root().join("../shared/tools"), PathBuf::from);
    let script = tools.join("validate_mlpackage.py");
    ensure!(script.is_file(), "no validator at {} (set SMELT_TOOLS)", script.display());
    Ok(script)
}

/// Every package of the demo and, where there is golden data, of its SD 1.5 checkpoint; and those that are made of the
/// demo's UNet.
fn make_all(place: &Path) -> Result<Vec<PathBuf>> {
    let root = workspace_root();
    let golden = testkit::golden_path();
    let checkpoints =
        [("sd-emoji", root.join("crates/sd-demo/sd-emoji")), ("tiny-sd15", golden.join("checkpoints/tiny-sd15"))];
    let binary = smelt::build(Profile::Dev, |_| {})?.binary;
    if place.exists() {
        fs::remove_dir_all(place)?;
    }
    let mut packages = Vec::new();
    for (name, checkpoint) in checkpoints.iter().filter(|(_, checkpoint)| checkpoint.is_dir()) {
        for layout in LAYOUTS {
            let output = place.join(name).join(layout);
            fs::create_dir_all(&output)?;
            succeed(smelt::convert(&binary, checkpoint, &output).args(["--attention", layout]).stdout(Stdio::null()))?;
            packages.extend(packages_in(&output)?);
        }
    }
    packages.extend(made::all(&binary, &checkpoints[0].1, &place.join("made"))?);
    ensure!(!packages.is_empty(), "conversion left no packages in {}", place.display());
    Ok(packages)
}

/// The packages in a folder, sorted.
fn packages_in(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut packages = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension() == Some(OsStr::new("mlpackage")) {
            packages.push(path);
        }
    }
    packages.sort();
    Ok(packages)
}

/// What the validator says of one package.
#[derive(Debug, PartialEq, Eq)]
struct Verdict {
    is_ok: bool,
    /// The first few.
    errors: Vec<String>,
    /// The first few.
    warnings: Vec<String>,
}

impl Verdict {
    /// Takes back what the validator has against several functions.
    ///
    /// It wants the model's own features, which Model.proto forbids where functions are described one by one; what
    /// coremltools' `save_multifunction` writes is refused likewise.
    fn allow_functions(&mut self) {
        let n_errors = self.errors.len();
        self.errors
            .retain(|e| !e.starts_with("description inputs [] vs") && !e.starts_with("description outputs [] vs"));
        self.is_ok |= n_errors > 0 && self.errors.is_empty();
    }
}

/// One JSON object per line, in the order of the packages.
fn read_verdicts(output: &str) -> Vec<Verdict> {
    let strings = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(|text| text.as_str().map(str::to_owned)).collect()
    };
    output
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|verdict| {
            Some(Verdict {
                is_ok: verdict["ok"].as_bool()?,
                errors: strings(&verdict["errors"]),
                warnings: strings(&verdict["warnings"]),
            })
        })
        .collect()
}

/// Prints the table; fails if a package was refused.
#[allow(clippy::print_stdout, reason = "the table is the output")]
fn report(packages: &[PathBuf], verdicts: &[Verdict]) -> Result<()> {
    let part = |path: &Path, up: usize| {
        let name = path.ancestors().nth(up).and_then(Path::file_name);
        name.map_or_else(String::new, |name| name.to_string_lossy().into_owned())
    };
    println!("{:<10} {:<24} {:<62} verdict", "checkpoint", "attention, or what", "package");
    for (package, verdict) in packages.iter().zip(verdicts) {
        let word = if verdict.is_ok { "ok" } else { "REFUSED" };
        println!("{:<10} {:<24} {:<62} {word}", part(package, 2), part(package, 1), part(package, 0));
        for (kind, texts) in [("error", &verdict.errors), ("warning", &verdict.warnings)] {
            for text in texts {
                println!("    {kind}: {text}");
            }
        }
    }
    match verdicts.iter().filter(|verdict| !verdict.is_ok).count() {
        0 => Ok(()),
        n => bail!("{n} of {} packages refused", packages.len()),
    }
}

/// Runs a command to its successful end; what it says counts only if it fails, for it warns of all that these checkpoints
/// lack.
fn quietly(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("cannot start {}", command.get_program().display()))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = r#"{"ok": true, "path": "a.mlpackage", "errors": [], "n_errors": 0, "warnings": ["odd"]}
noise
{"ok": false, "path": "b.mlpackage", "errors": ["Manifest.json missing"], "n_errors": 1, "warnings": []}"#;

    #[test]
    fn only_what_concerns_functions_is_taken_back() {
        let about = ["description inputs [] vs function inputs ['x']", "description outputs [] vs block outputs ['y']"];
        let verdict = |errors: &[&str]| Verdict {
            is_ok: errors.is_empty(),
            errors: errors.iter().map(ToString::to_string).collect(),
            warnings: Vec::new(),
        };
        let after = |mut v: Verdict| {
            v.allow_functions();
            v.is_ok
        };
        assert!(after(verdict(&about)) && after(verdict(&[])));
        assert!(!after(verdict(&["odd", about[0]])) && !after(verdict(&["odd"])));
    }

    #[test]
    fn one_refused_package_fails_the_command() {
        let verdicts = read_verdicts(OUTPUT);
        assert_eq!(verdicts.iter().map(|verdict| verdict.is_ok).collect::<Vec<_>>(), [true, false]);
        assert_eq!(verdicts[0].warnings, ["odd"]);
        assert_eq!(verdicts[1].errors, ["Manifest.json missing"]);
        let packages = ["x/y/a.mlpackage", "x/y/b.mlpackage"].map(PathBuf::from);
        assert!(report(&packages[..1], &verdicts[..1]).is_ok());
        let fault = report(&packages, &verdicts).expect_err("b is refused");
        assert_eq!(fault.to_string(), "1 of 2 packages refused");
    }
}
