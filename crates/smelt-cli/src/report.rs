//! What the user sees: lines, tables, JSON, warnings, errors, progress bars, and how sizes and times are spelt.
//!
//! Results go to standard output, or to standard error where a file of the command goes there; progress, warnings and errors to standard error.
//! Progress is drawn only on a terminal, and never beside `--json`.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this module is the program's voice")]

use std::cell::Cell;
use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};
use safe_files::{Outputs, is_closed_pipe};
use serde::Serialize;
pub(crate) use smelt::{bytes, count, decibels, seconds};

/// Where results go, and in which form.
pub(crate) struct Report {
    json: bool,
    /// JSON is lines, each about something that happens.
    by_line: Cell<bool>,
    /// An output goes to standard output, so that text must not.
    is_beside: Cell<bool>,
}

impl Report {
    pub(crate) fn new(json: bool) -> Self {
        Self { json, by_line: Cell::new(false), is_beside: Cell::new(false) }
    }

    /// Leaves standard output to an output of the command, if one goes there: text goes to standard error from now on.
    pub(crate) fn make_way(&self, outputs: &Outputs) -> anyhow::Result<()> {
        let Some(option) = outputs.stdout() else { return Ok(()) };
        if self.json {
            anyhow::bail!(
                "--json and {option} both write to standard output; leave --json out, or give {option} a file"
            );
        }
        self.is_beside.set(true);
        Ok(())
    }

    /// Prints text, unless JSON was asked for.
    pub(crate) fn text(&self, text: impl Display) {
        match (self.json, self.is_beside.get()) {
            (true, _) => {}
            (false, true) => eprint!("{text}"),
            (false, false) => print(format_args!("{text}")),
        }
    }

    /// Prints a line, unless JSON was asked for.
    pub(crate) fn line(&self, line: impl Display) {
        self.text(format_args!("{line}\n"));
    }

    /// Prints one object, if JSON was asked for.
    pub(crate) fn json(&self, value: &impl Serialize) -> anyhow::Result<()> {
        if self.json {
            print(format_args!("{}\n", serde_json::to_string_pretty(value)?));
        }
        Ok(())
    }

    /// Whether JSON was asked for.
    pub(crate) const fn is_json(&self) -> bool {
        self.json
    }

    /// From now on JSON is lines, of which warnings are some too.
    pub(crate) fn by_line(&self) {
        self.by_line.set(self.json);
    }

    /// Prints a line of JSON, if JSON was asked for.
    pub(crate) fn event(&self, value: &impl Serialize) {
        if self.json {
            json_line(value);
        }
    }

    /// Says what goes on beside the results, unless JSON was asked for.
    pub(crate) fn aside(&self, line: impl Display) {
        if !self.json {
            eprintln!("{line}");
        }
    }

    /// Says what the user should know although nothing failed.
    pub(crate) fn warn(&self, message: impl Display) {
        if self.by_line.get() {
            json_line(&serde_json::json!({ "event": "warning", "message": message.to_string() }));
        }
        eprintln!("warning: {message}");
    }

    /// Says what failed, and below it why.
    pub(crate) fn error(&self, error: &anyhow::Error) {
        eprintln!("{}", error_text(error));
    }

    /// A bar over a number of bytes.
    pub(crate) fn byte_bar(&self, label: &str, n_bytes: u64) -> ProgressBar {
        self.bar(
            label,
            n_bytes,
            "{msg:<16} {wide_bar} {bytes:>10} / {total_bytes:<10} {binary_bytes_per_sec:>12}, {eta} left",
        )
    }

    /// A bar over an amount of work that is only counted to know how long it takes.
    pub(crate) fn work_bar(&self, label: &str, amount: u64) -> ProgressBar {
        self.bar(label, amount, "{msg:<16} {wide_bar} {percent:>3} %, {eta} left")
    }

    /// A bar over a number of steps; how quick they are is told as its prefix.
    pub(crate) fn step_bar(&self, label: &str, n_steps: u64) -> ProgressBar {
        self.bar(label, n_steps, "{msg:<16} {wide_bar} {pos}/{len} steps{prefix}")
    }

    /// A bar over a number of parts of a picture.
    pub(crate) fn tile_bar(&self, label: &str, n_tiles: u64) -> ProgressBar {
        self.bar(label, n_tiles, "{msg:<16} {wide_bar} {pos}/{len} parts, {eta} left")
    }

    /// A sign of life for work of unknown length.
    pub(crate) fn spinner(&self, label: &str) -> ProgressBar {
        let spinner = self.bar(label, 0, "{spinner} {msg} {elapsed}");
        spinner.enable_steady_tick(Duration::from_millis(120));
        spinner
    }

    fn bar(&self, label: &str, length: u64, template: &str) -> ProgressBar {
        let visible = !self.json && std::io::stderr().is_terminal();
        let target = if visible { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        ProgressBar::with_draw_target(Some(length), target)
            .with_style(style)
            .with_message(label.to_owned())
            // An error that drops the bar must not stand beside its remains.
            .with_finish(ProgressFinish::AndClear)
    }
}

/// Prints an object as one line.
pub(crate) fn json_line(value: &impl Serialize) {
    match serde_json::to_string(value) {
        Ok(line) => print(format_args!("{line}\n")),
        Err(e) => eprintln!("error: cannot print as JSON: {e}"),
    }
}

/// Says what is there when the program is interrupted; what is left of a bar gives way.
pub(crate) fn last_words(words: impl Display) {
    let clear = if std::io::stderr().is_terminal() { "\r\x1b[2K" } else { "" };
    eprintln!("{clear}{words}");
}

/// Prints to standard output; a reader that went away (`smelt … | head`) ends the program quietly.
fn print(text: std::fmt::Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    match out.write_fmt(text).and_then(|()| out.flush()) {
        Err(e) if is_closed_pipe(&e) => std::process::exit(0),
        Err(e) => eprintln!("error: cannot write to standard output: {e}"),
        Ok(()) => {}
    }
}

/// The message, and every cause that says more than the message before it.
fn error_text(error: &anyhow::Error) -> String {
    let mut text = format!("error: {error}");
    let mut said = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !said.contains(&cause) {
            text.push_str("\n  because: ");
            text.push_str(&cause);
            said = cause;
        }
    }
    text
}

/// A table of columns that are as wide as their widest cell.
#[derive(Default)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
    right: Vec<bool>,
    indent: usize,
}

impl Table {
    /// A table whose columns are aligned as told: `<` left, `>` right; a letter per column.
    pub(crate) fn new(indent: usize, alignment: &str) -> Self {
        Self { rows: Vec::new(), right: alignment.chars().map(|c| c == '>').collect(), indent }
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let n_columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |c: usize| self.rows.iter().filter_map(|row| row.get(c)).map(|s| s.chars().count()).max();
        let widths: Vec<usize> = (0..n_columns).map(|c| width(c).unwrap_or(0)).collect();
        for row in &self.rows {
            let mut line = " ".repeat(self.indent);
            for (c, cell) in row.iter().enumerate() {
                let pad = " ".repeat(widths[c] - cell.chars().count());
                let right = self.right.get(c).copied().unwrap_or(false);
                let (before, after) = if right { (pad.as_str(), "") } else { ("", pad.as_str()) };
                line.push_str(&format!("{}{before}{cell}{after}", if c > 0 { "  " } else { "" }));
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(2, "<>");
        table.row(["é".into(), "10".into(), "x".into()]);
        table.row(["abc".into(), "9".into(), String::new()]);
        assert_eq!(table.to_string(), "  é    10  x\n  abc   9\n");
    }

    #[test]
    fn causes_are_said_once() {
        let inner = anyhow::anyhow!("no space left");
        let error = inner.context("cannot write x: no space left").context("unet");
        assert_eq!(error_text(&error), "error: unet\n  because: cannot write x: no space left");
    }
}
