//! Where everything goes, named before any work.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use safe_files::{OutputFile, Outputs, is_stream};
use smelt::{Request, Source};

use super::names::{free_name, numbered};
use super::previews::Previews;
use crate::cli::GenerateArgs;
use crate::file;
use crate::report::Report;
use crate::view::View;

/// Where everything goes, named before any work.
pub(super) struct Places<'a> {
    pub(super) paths: Vec<PathBuf>,
    pub(super) files: Vec<OutputFile>,
    pub(super) latents: Option<OutputFile>,
    pub(super) view: View<'a>,
    pub(super) previews: Option<Previews>,
}

impl<'a> Places<'a> {
    pub(super) fn of(args: &'a GenerateArgs, request: &Request, report: &Report) -> Result<Self> {
        let count = request.drawn_count();
        let output = args.output.clone().map_or_else(|| free_name(&request.prompt, count), Ok)?;
        let paths: Vec<PathBuf> = (0..count).map(|idx| numbered(&output, idx, count)).collect();
        let mut outputs = Outputs::new();
        let files = picture_files(&mut outputs, &output, &paths)?;
        let latents =
            args.latents.as_deref().map(|path| file::binary(&mut outputs, "--latents", None, path)).transpose()?;
        let view = args.view.prepare(&mut outputs)?;
        let previews = Previews::of(&args.preview, &mut outputs, &output, view.protocol())?;
        name_inputs(&mut outputs, args)?;
        report.make_way(&outputs)?;
        Ok(Self { paths, files, latents, view, previews })
    }
}

/// Names the pictures; what has no name beside it takes one.
fn picture_files(outputs: &mut Outputs, output: &Path, paths: &[PathBuf]) -> Result<Vec<OutputFile>> {
    if paths.len() > 1 && is_stream(output) {
        let n = paths.len();
        bail!("-o {} takes one picture, and --count asks for {n}; give the name of a file", output.display());
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
    for (option, file) in [("--settings", &args.settings), ("--like", &args.like.like)] {
        file.iter().try_for_each(|file| outputs.reads(option, file))?;
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
