//! Finished pictures side by side: `--grid` into one file, `--show` in the terminal.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use safe_files::{OutputFile, Outputs};
use smelt::image::{PngText, RgbImage};

use crate::file;
use crate::preview::{Protocol, Show};
use crate::report::Report;
use smelt::sheet::{self, Cell};

/// Where pictures go besides their own files.
#[derive(Debug, Args)]
pub(crate) struct ViewArgs {
    /// Write a picture that holds all of them side by side, each with its caption: a PNG, JPEG or WebP, by its name; - is
    /// standard output.
    #[arg(long, value_name = "FILE")]
    pub(crate) grid: Option<PathBuf>,
    /// Columns of the grid; default: about as many as rows.
    #[arg(long, value_name = "N", requires = "grid")]
    pub(crate) columns: Option<NonZeroUsize>,
    /// Show the pictures in the terminal; how is told by the terminal, or by --show=HOW.
    #[arg(long, value_name = "HOW", num_args = 0..=1, require_equals = true, default_missing_value = "auto", conflicts_with = "json")]
    pub(crate) show: Option<Show>,
}

/// The same, decided on.
pub(crate) struct View {
    grid: Option<OutputFile>,
    columns: Option<usize>,
    protocol: Option<Protocol>,
}

impl ViewArgs {
    /// Refuses what cannot be done, before any work; the command's other outputs are named already.
    pub(crate) fn prepare(&self, outputs: &mut Outputs) -> Result<View> {
        self.prepare_with(outputs, None)
    }

    /// The same with a grid, and its columns, that is written unless others are asked for.
    pub(crate) fn prepare_with(&self, outputs: &mut Outputs, own: Option<(PathBuf, usize)>) -> Result<View> {
        let (own, own_columns) = own.unzip();
        let path = self.grid.as_ref().or(own.as_ref());
        let grid = path.map(|path| file::picture(outputs, "--grid", path)).transpose()?;
        let columns = self.columns.map(NonZeroUsize::get).or(own_columns);
        if let (Some(_), Some(option)) = (self.show, outputs.stdout()) {
            bail!("--show and {option} both write to standard output; leave --show out, or give {option} a file");
        }
        let protocol = self.show.map(Show::protocol).transpose()?;
        Ok(View { grid, columns, protocol })
    }
}

impl View {
    /// Whether a grid is written or anything shown; else [`View::finish`] does nothing.
    pub(crate) fn is_wanted(&self) -> bool {
        self.protocol.is_some() || self.grid.is_some()
    }

    /// How the terminal shows pictures, if it does.
    pub(crate) const fn protocol(&self) -> Option<Protocol> {
        self.protocol
    }

    /// Writes the grid, with a description of what it shows, and shows the pictures; returns the grid's path.
    ///
    /// Terminals that show single pixels get several pictures as the grid, others one after another, for half blocks leave nothing of captions.
    pub(crate) fn finish(
        &self,
        cells: &[Cell<'_>],
        description: Option<&str>,
        report: &Report,
    ) -> Result<Option<String>> {
        let is_sheet_shown = cells.len() > 1 && self.protocol.is_some_and(Protocol::is_sharp);
        let sheet = if is_sheet_shown || self.grid.is_some() { Some(sheet::draw(cells, self.columns)?) } else { None };
        if let Some(protocol) = self.protocol {
            match sheet.as_ref().filter(|_| is_sheet_shown) {
                Some(sheet) => report.text(protocol.encode(sheet)?),
                None => cells.iter().try_for_each(|cell| show(protocol, cell, cells.len(), report))?,
            }
        }
        let written = sheet.as_ref().zip(self.grid.as_ref());
        written.map(|(sheet, path)| write(sheet, path, description, report)).transpose()
    }
}

/// Shows one picture, below its caption if there are several.
fn show(protocol: Protocol, cell: &Cell<'_>, n_pictures: usize, report: &Report) -> Result<()> {
    if n_pictures > 1 {
        report.line(cell.caption.join(", "));
    }
    report.text(protocol.encode(cell.image)?);
    Ok(())
}

fn write(sheet: &RgbImage, output: &OutputFile, description: Option<&str>, report: &Report) -> Result<String> {
    let mut texts = vec![PngText::new("Software", concat!("smelt ", env!("CARGO_PKG_VERSION")))];
    texts.extend(description.map(|text| PngText::new("Description", text)));
    file::write_picture(output, |out, format| Ok(sheet.write(out, format, &texts)?), report)?;
    report.line(format_args!("wrote {output} ({}x{})", sheet.width(), sheet.height()));
    Ok(output.path().display().to_string())
}
