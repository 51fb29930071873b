//! What is shown of a picture while it is drawn: in a file that each preview replaces, or in the terminal.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use safe_files::{OutputFile, Outputs, is_stream};
use smelt::Step;
use smelt::image::{Filter, PictureFormat, RgbImage};

use crate::cli::PreviewArgs;
use crate::file;
use crate::preview::Protocol;
use crate::report::Report;
use crate::screen::Screen;

/// Where previews go.
pub(super) struct Previews {
    /// Steps from one to the next.
    every: usize,
    to: Option<PreviewFile>,
    terminal: Option<Terminal>,
}

/// A file that previews replace.
#[derive(Clone)]
pub(super) struct PreviewFile {
    file: OutputFile,
    /// Nobody named it, so that nobody wants it at the end.
    is_scratch: bool,
}

struct Terminal {
    protocol: Protocol,
    /// Lines of the last preview, which the next one takes the place of.
    n_lines: usize,
}

impl Previews {
    /// Names the file beside others of the command; `output` is what the pictures are called by.
    pub(super) fn of(
        args: &PreviewArgs,
        outputs: &mut Outputs,
        output: &Path,
        terminal: Option<Protocol>,
    ) -> Result<Option<Self>> {
        let Some(every) = args.preview else { return Ok(None) };
        let to = match &args.preview_to {
            Some(path) if is_stream(path) => {
                bail!(
                    "--preview-to {} is no file that each preview could replace; give the name of one",
                    path.display()
                )
            }
            Some(path) => Some((file::picture(outputs, "--preview-to", path)?, false)),
            None if terminal.is_some() => None,
            None if is_stream(output) => {
                bail!("-o {} has no file beside it for previews; name one with --preview-to", output.display())
            }
            None => Some((file::picture(outputs, "--preview", &free_beside(output)?)?, true)),
        };
        let to = to.map(|(file, is_scratch)| PreviewFile { file, is_scratch });
        let terminal = terminal.map(|protocol| Terminal { protocol, n_lines: 0 });
        Ok(Some(Self { every: every.0.get(), to, terminal }))
    }

    /// The file to be removed when the program ends early.
    pub(super) fn file(&self) -> Option<PreviewFile> {
        self.to.clone()
    }

    /// Shows a step, if it is one of those that are shown; returns the file.
    pub(super) fn show(&mut self, step: &Step<'_>, screen: &Screen<'_>) -> Result<Option<String>> {
        // Behind the last step comes the picture.
        if !step.step.is_multiple_of(self.every) || step.is_last() {
            return Ok(None);
        }
        let small = step.preview()?;
        let large = || match small.size() == step.size() {
            true => small.clone(),
            false => small.resize(step.size(), Filter::Bicubic),
        };
        if let Some(terminal) = &mut self.terminal {
            let image = if terminal.protocol.is_sharp() { large() } else { small.clone() };
            screen.say(|report| terminal.show(&image, report))?;
        }
        let Some(PreviewFile { file, .. }) = &self.to else { return Ok(None) };
        let format = PictureFormat::of(file.path()).unwrap_or_default();
        file::write(file, |out| Ok(large().write(out, format, &[]).map(drop)?))?;
        Ok(Some(file.path().display().to_string()))
    }

    /// Something else stands below the last preview in the terminal now.
    pub(super) const fn pass_on(&mut self) {
        if let Some(terminal) = &mut self.terminal {
            terminal.n_lines = 0;
        }
    }
}

impl Drop for Previews {
    fn drop(&mut self) {
        if let Some(file) = &self.to {
            file.end();
        }
    }
}

impl PreviewFile {
    /// Removes it, if nobody named it; a drawing that ends well does not fail for that.
    pub(super) fn end(&self) {
        if self.is_scratch {
            let _ = self.file.remove();
        }
    }
}

impl Terminal {
    fn show(&mut self, image: &RgbImage, report: &Report) -> Result<()> {
        let text = self.protocol.encode(image)?;
        let up = if self.n_lines > 0 { format!("\x1b[{}A", self.n_lines) } else { String::new() };
        report.text(format_args!("{up}{text}"));
        // Of pixels it is not known how many lines they take.
        self.n_lines = if self.protocol.is_sharp() { 0 } else { text.lines().count() };
        Ok(())
    }
}

/// `x-preview.png` for `x.png`, or a name that is not taken.
fn free_beside(output: &Path) -> Result<PathBuf> {
    let stem = output.file_stem().unwrap_or_default();
    let name = |i: u32| {
        let mut name = stem.to_owned();
        name.push(if i == 1 { "-preview.png".to_owned() } else { format!("-preview-{i}.png") });
        output.with_file_name(name)
    };
    let is_free = |path: &PathBuf| path.symlink_metadata().is_err();
    (1..10_000).map(name).find(is_free).context("every name …-preview-N.png is taken; name one with --preview-to")
}
