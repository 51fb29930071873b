//! Where everything goes, named before any work.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use safe_files::{OutputFile, Outputs, is_stream};
use smelt::{Source, Varied};

use super::names::{Names, beside};
use super::previews::Previews;
use crate::cli::GenerateArgs;
use crate::file;
use crate::report::Report;
use crate::view::View;

/// Where everything goes, named before any work.
pub(super) struct Places {
    pub(super) files: Vec<OutputFile>,
    /// What is said below each picture, where several stand side by side.
    pub(super) captions: Vec<Vec<String>>,
    pub(super) latents: Option<OutputFile>,
    pub(super) view: View,
    pub(super) previews: Option<Previews>,
}

impl Places {
    /// Names all outputs of requests; `columns` are those of the grid that axes make without being asked.
    pub(super) fn of(args: &GenerateArgs, series: &[Varied], columns: Option<usize>, report: &Report) -> Result<Self> {
        let one_by_one = series.iter().flat_map(|varied| std::iter::repeat_n(varied, varied.request.drawn_count()));
        let pictures: Vec<&Varied> = one_by_one.collect();
        let prompts: Vec<&str> = pictures.iter().map(|varied| varied.request.prompt.as_str()).collect();
        let Names { base: output, paths } = Names::of(args.output.as_deref(), &prompts)?;
        let mut outputs = Outputs::new();
        let files = picture_files(&mut outputs, &output, &paths)?;
        let latents =
            args.latents.as_deref().map(|path| file::binary(&mut outputs, "--latents", None, path)).transpose()?;
        let grid = columns.filter(|_| !is_stream(&output)).map(|columns| (beside(&output, "-grid"), columns));
        let view = args.view.prepare_with(&mut outputs, grid)?;
        let previews = Previews::of(&args.preview, &mut outputs, &output, view.protocol())?;
        name_inputs(&mut outputs, args)?;
        report.make_way(&outputs)?;
        Ok(Self { files, captions: captions(&pictures, &paths), latents, view, previews })
    }
}

/// What stands below each picture: what it has of its own, or its name; below a single one its prompt.
fn captions(pictures: &[&Varied], paths: &[PathBuf]) -> Vec<Vec<String>> {
    let prompt = |varied: &Varied| varied.request.prompt.clone();
    if let [only] = pictures {
        return vec![vec![prompt(only)]];
    }
    let has_prompts = pictures.windows(2).any(|two| two[0].request.prompt != two[1].request.prompt);
    let caption = |(varied, path): (&&Varied, &PathBuf)| {
        let mut lines = varied.labels.clone();
        // An axis of words in the prompt says which already.
        if has_prompts && !lines.iter().any(|line| line.starts_with("prompt=")) {
            lines.insert(0, prompt(varied));
        }
        if lines.is_empty() { vec![file::stem(path)] } else { lines }
    };
    pictures.iter().zip(paths).map(caption).collect()
}

/// Names the pictures; what has no name beside it takes one.
fn picture_files(outputs: &mut Outputs, output: &Path, paths: &[PathBuf]) -> Result<Vec<OutputFile>> {
    if paths.len() > 1 && is_stream(output) {
        let n = paths.len();
        bail!("-o {} takes one picture, and {n} are asked for; give the name of a file", output.display());
    }
    if paths.len() > 1 && output.is_dir() {
        bail!("cannot write {}: it is a directory; give the name of a file in it", output.display());
    }
    paths.iter().map(|path| file::picture(outputs, "-o", path)).collect()
}

/// Names what no picture may replace.
fn name_inputs(outputs: &mut Outputs, args: &GenerateArgs) -> Result<()> {
    for (option, file) in [("--image", &args.start.image), ("--mask", &args.start.mask), ("--noise", &args.noise)] {
        file.iter().try_for_each(|file| outputs.reads(option, file))?;
    }
    let typed = [("--settings", &args.settings), ("--like", &args.like.like), ("--prompts", &args.vary.prompts)];
    for (option, file) in typed {
        file.iter().filter(|file| !is_stream(file)).try_for_each(|file| outputs.reads(option, file))?;
    }
    for image in &args.control.control_images {
        outputs.reads("--control-image", image)?;
    }
    let beside = args.control.controlnets.iter().map(|net| ("the ControlNet's file", net));
    let taesd = args.taesd.iter().chain(&args.preview.preview_taesd).map(|taesd| ("the TAESD's file", taesd));
    let beside = beside.chain(taesd);
    for (what, source) in beside {
        for path in source.path().filter(|path| path.exists()).map(smelt::files).unwrap_or_default() {
            outputs.reads(what, &path)?;
        }
    }
    let models = [&args.model, &args.xl.refiner].into_iter().flatten().filter_map(Source::path);
    for dir in models.chain(args.tokenizer.as_deref()) {
        smelt::files(dir).iter().try_for_each(|path| outputs.reads("the model's file", path))?;
    }
    Ok(())
}
