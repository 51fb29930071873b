//! Runs one case: its command, and what is asked of the packages that it made.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

use anyhow::{Context, Result, bail, ensure};
use mlpackage::Package;
use serde_json::Value;
use tempfile::TempDir;

use super::{
    assemble,
    families::{FAMILIES, From},
    hash::{self, Content},
    inputs,
    matrix::{BASES, Base, Case, Verb},
    record::Row,
};
use crate::{
    oracle::Judge,
    smelt,
    synth::{self, PresetName},
};

/// The user pressed Ctrl-C: the command that runs ends by itself, and the scratch folder goes with `Work`.
static IS_INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// What became of a case.
pub(super) enum Outcome {
    /// Its source is golden data that is not there.
    Skipped,
    Ran {
        rows: Vec<Row>,
        faults: Vec<String>,
    },
}

/// The binary, the scratch folder and what is in it.
pub(super) struct Work {
    binary: PathBuf,
    scratch: TempDir,
    golden: Option<PathBuf>,
    /// Bases and checkpoints that were made already.
    made: BTreeMap<&'static str, PathBuf>,
    judge: Option<Judge>,
}

/// What a command did.
struct Said {
    /// The exit code; none after a signal.
    code: Option<i32>,
    /// What it printed, without times and paths.
    text: String,
    /// Its `--json`, as it was printed; null without any.
    json: Value,
    /// The last line of its standard error.
    last: String,
    seconds: f64,
}

impl Work {
    pub(super) fn new(binary: PathBuf, asks_oracle: bool) -> Result<Self> {
        ctrlc::set_handler(|| IS_INTERRUPTED.store(true, Ordering::Relaxed))?;
        let target = smelt::target_dir()?;
        fs::create_dir_all(&target)?;
        Ok(Self {
            binary,
            scratch: tempfile::Builder::new().prefix("e2e-").tempdir_in(target)?,
            golden: Some(testkit::golden_path()).filter(|path| path.is_dir()),
            made: BTreeMap::new(),
            judge: asks_oracle.then(Judge::new).transpose()?,
        })
    }

    /// Runs a case in a folder that is gone afterwards.
    pub(super) fn run(&mut self, case: &Case) -> Result<Outcome> {
        let Some(source) = self.source(case.source)? else { return Ok(Outcome::Skipped) };
        let out = self.scratch.path().join("case");
        fs::create_dir(&out)?;
        let said = self.command(case.verb, &source, &case.options, &out)?;
        let (mut rows, mut faults) = (vec![row("says", &said, hash::of_bytes(&said.text))], Vec::new());
        if said.code != Some(0) {
            faults.push(format!("exit code {:?}: {}", said.code, said.last));
        }
        let packages = packages_in(&out)?;
        for package in &packages {
            let made = row(&file_name(package), &said, hash::of_folder(package)?);
            faults.extend(validate(package).err().map(|e| format!("{}: {e:#}", made.product)));
            rows.push(made);
            let is_whole = !file_name(package).contains("_chunk") && !is_of_another(package, case);
            if matches!(case.verb, Verb::Convert | Verb::Compress) && is_whole {
                rows.extend(self.verify(package, &source)?);
            }
        }
        if let Some(judge) = &self.judge {
            faults.extend(judge.faults(&packages)?);
        }
        let rest = hash::files_below(&out)?;
        let rest: Vec<PathBuf> = rest.into_iter().filter(|f| !packages.iter().any(|p| f.starts_with(p))).collect();
        if packages.is_empty() {
            for file in &rest {
                rows.push(row(&file_name(file), &said, hash::of_file(file)?));
            }
        } else if !rest.is_empty() {
            rows.push(row("files", &said, hash::of_files(&out, &rest)?));
        }
        fs::remove_dir_all(&out)?;
        rows.iter_mut().for_each(|row| row.case = case.name());
        Ok(Outcome::Ran { rows, faults })
    }

    /// Compares a package with the checkpoint or package that it was made of; puts the PSNR into a row of its own.
    fn verify(&self, package: &Path, source: &Path) -> Result<Option<Row>> {
        // A folder of packages was compressed package by package.
        let beside = source.join(file_name(package));
        let against = if beside.exists() { &beside } else { source };
        let mut command = self.smelt("verify");
        command.arg(package).arg("--against").arg(against).arg("--min-psnr=-1000");
        let said = self.say(command)?;
        let name = format!("{} verify", file_name(package));
        let mut verified = row(&name, &said, hash::of_bytes(&said.text));
        let outputs = said.json["outputs"].as_array().into_iter().flatten();
        verified.psnr_db = outputs.filter_map(|output| output["psnr_db"].as_f64()).reduce(f64::min);
        Ok(Some(verified))
    }

    /// Where a source is, made if need be; `None` where it is golden data that is not there.
    fn source(&mut self, name: &'static str) -> Result<Option<PathBuf>> {
        if let Some(base) = BASES.iter().find(|base| base.name == name) {
            return self.base(base);
        }
        if let Some(family) = FAMILIES.iter().find(|family| family.name == name) {
            return self.family(name, family.checkpoint);
        }
        if let Some(family) = FAMILIES.iter().find(|family| family.packages == name) {
            let base = Base { name, verb: Verb::Convert, source: family.name, options: family.convert };
            return self.base(&base);
        }
        Ok(match name {
            "demo" => Some(testkit::demo()),
            // `generate` without --model.
            "box" => Some(PathBuf::new()),
            _ => {
                let place = match name.strip_prefix("apple-") {
                    Some(folder) => Path::new("packages/tiny-sd15").join(folder),
                    None => Path::new("checkpoints").join(name),
                };
                let place = self.golden.as_ref().map(|golden| golden.join(place)).filter(|place| place.is_dir());
                place.map(|place| only_package(&place)).transpose()?
            }
        })
    }

    fn base(&mut self, base: &Base) -> Result<Option<PathBuf>> {
        if let Some(path) = self.made.get(base.name) {
            return Ok(Some(path.clone()));
        }
        let Some(source) = self.source(base.source)? else { return Ok(None) };
        let out = self.scratch.path().join(base.name);
        fs::create_dir(&out)?;
        let said = self.command(base.verb, &source, base.options, &out)?;
        ensure!(said.code == Some(0), "base {}: exit code {:?}: {}", base.name, said.code, said.last);
        let path = only_package(&out)?;
        self.made.insert(base.name, path.clone());
        Ok(Some(path))
    }

    /// The checkpoint of a kind of model.
    fn family(&mut self, name: &'static str, from: From) -> Result<Option<PathBuf>> {
        if let Some(path) = self.made.get(name) {
            return Ok(Some(path.clone()));
        }
        let place = self.scratch.path().join(name);
        match (from, &self.golden) {
            (From::Synth, _) => synth::ensure_checkpoint(PresetName::TinyPix2Pix, &place, 0)?,
            (From::Golden(golden), Some(root)) => assemble::checkpoint(&root.join("checkpoints"), golden, &place)?,
            (From::Golden(_), None) => return Ok(None),
        }
        self.made.insert(name, place.clone());
        Ok(Some(place))
    }

    /// Runs a verb's command, which writes into `out`.
    fn command(&mut self, verb: Verb, source: &Path, options: &str, out: &Path) -> Result<Said> {
        let mut command = self.smelt(verb.name());
        match verb {
            Verb::Convert | Verb::Chunk => command.arg(source).arg("-o").arg(out),
            Verb::Compress if is_package(source) => command.arg(source).arg("-o").arg(out.join(file_name(source))),
            Verb::Compress => command.arg(source).arg("-o").arg(out),
            Verb::Run => {
                let drawn = self.scratch.path().join("inputs.safetensors");
                inputs::write(Package::open(source)?.model(), &drawn)?;
                command.arg(source).arg("--inputs").arg(drawn).arg("--outputs").arg(out.join("outputs.safetensors"))
            }
            Verb::Generate => command.arg("a red heart").arg("-o").arg(out.join("picture.png")),
        };
        if verb == Verb::Generate && source != Path::new("") {
            command.arg("-m").arg(source);
        }
        for option in options.split_whitespace() {
            let option = if option == "{picture}" {
                self.source("picture")?.context("the picture is drawn by the demo")?.join("picture.png")
            } else {
                let golden = self.golden.as_ref().map(|golden| golden.join("checkpoints"));
                let golden = golden.unwrap_or_default().to_string_lossy().into_owned();
                PathBuf::from(option.replace("{out}", &out.to_string_lossy()).replace("{golden}", &golden))
            };
            command.arg(option);
        }
        self.say(command)
    }

    fn smelt(&self, command: &str) -> Command {
        let mut smelt = Command::new(&self.binary);
        smelt.arg(command).arg("--json").env("SMELT_CACHE", self.scratch.path().join("cache"));
        smelt.current_dir(self.scratch.path());
        smelt
    }

    /// Runs a command to its end, whatever its exit code.
    fn say(&self, mut command: Command) -> Result<Said> {
        let begin = Instant::now();
        let output = command.output().with_context(|| format!("cannot start {}", self.binary.display()))?;
        let seconds = begin.elapsed().as_secs_f64();
        if IS_INTERRUPTED.load(Ordering::Relaxed) {
            bail!("interrupted");
        }
        let [printed, errors] =
            [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        let json = said(&printed);
        let code = output.status.code();
        let last = errors.lines().last().unwrap_or_default().to_owned();
        let text = self.without_paths(&format!("{code:?}\n{:#}\n{errors}", without_times(json.clone())));
        Ok(Said { code, text, json, last, seconds })
    }

    /// The text with the names of places that differ between machines and runs replaced.
    fn without_paths(&self, text: &str) -> String {
        let demo = testkit::demo();
        let places = [Some((self.scratch.path(), "SCRATCH")), Some((&demo, "DEMO"))];
        let golden = self.golden.as_deref().map(|golden| (golden, "GOLDEN"));
        let places = places.into_iter().chain([golden]).flatten();
        places.fold(text.to_owned(), |text, (place, name)| text.replace(&*place.to_string_lossy(), name))
    }
}

/// What `--json` printed: one value, or the last of several lines.
fn said(printed: &str) -> Value {
    let last = serde_json::Deserializer::from_str(printed).into_iter::<Value>().last();
    let mut said = last.and_then(Result::ok).unwrap_or(Value::Null);
    if let Value::Object(members) = &mut said {
        members.remove("event");
    }
    said
}

/// A row whose case is filled in later.
fn row(product: &str, said: &Said, content: Content) -> Row {
    Row {
        case: String::new(),
        product: product.to_owned(),
        bytes: content.bytes,
        seconds: said.seconds,
        psnr_db: None,
        sha256: content.sha256,
    }
}

/// The value without members that say how long something took.
fn without_times(value: Value) -> Value {
    let is_time = |key: &str| key.ends_with("_s") || key == "seconds" || key == "seconds_per_step";
    match value {
        Value::Array(items) => Value::Array(items.into_iter().map(without_times).collect()),
        Value::Object(members) => {
            let kept = members.into_iter().filter(|(key, _)| !is_time(key));
            Value::Object(kept.map(|(key, value)| (key, without_times(value))).collect())
        }
        other => other,
    }
}

/// Reads a package and validates its programs.
fn validate(package: &Path) -> Result<()> {
    for program in Package::open(package)?.model().programs() {
        mil::validate(program)?;
    }
    Ok(())
}

fn is_package(path: &Path) -> bool {
    path.extension() == Some(OsStr::new("mlpackage"))
}

/// Whether a package was made of a checkpoint that stands in the options, and not of the case's source.
fn is_of_another(package: &Path, case: &Case) -> bool {
    let name = file_name(package);
    let is_guide = name.starts_with("ControlNet_") && case.options.contains("--controlnet");
    is_guide || name.ends_with("_refiner.mlpackage") && case.options.contains("--refiner")
}

/// The packages in a folder, sorted.
fn packages_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut packages = Vec::new();
    for entry in fs::read_dir(folder)? {
        packages.push(entry?.path());
    }
    packages.retain(|path| is_package(path));
    packages.sort();
    Ok(packages)
}

/// The package in a folder that has just one, or else the folder.
fn only_package(folder: &Path) -> Result<PathBuf> {
    let packages = packages_in(folder)?;
    Ok(if let [package] = packages.as_slice() { package.clone() } else { folder.to_owned() })
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn times_are_left_out_wherever_they_stand() {
        let value = json!({"path": "x", "seconds": 1.0, "parts": [{"run_s": 2, "bytes": 3}], "seconds_per_step": null});
        assert_eq!(without_times(value), json!({"path": "x", "parts": [{"bytes": 3}]}));
    }
}
