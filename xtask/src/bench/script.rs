//! A Python script that measures on request: a line of JSON to its input, a line of JSON back.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context, Result};
use serde::{Serialize, de::DeserializeOwned};

use super::process::memory_mb;

/// A running script. It ends with its input, at the latest when this is dropped.
#[derive(Debug)]
pub(super) struct Script {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    /// What it says besides: complaints of its libraries, and why it ended.
    log: PathBuf,
}

impl Script {
    /// Writes `text` to `scratch/name` and runs it; `configure` adds arguments.
    pub(super) fn start(
        python: &Path,
        scratch: &Path,
        name: &str,
        text: &str,
        configure: impl FnOnce(&mut Command),
    ) -> Result<Self> {
        let path = scratch.join(name);
        fs::write(&path, text)?;
        let log = path.with_extension("log");
        let mut command = Command::new(python);
        command.arg(path).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(File::create(&log)?);
        configure(&mut command);
        let mut child = command.spawn().context("cannot start Python")?;
        let (input, output) = (child.stdin.take(), child.stdout.take().context("no output")?);
        Ok(Self { child, input, output: BufReader::new(output), log })
    }

    /// Asks and waits for the answer.
    pub(super) fn ask<T: DeserializeOwned>(&mut self, question: &impl Serialize) -> Result<T> {
        writeln!(self.input.as_mut().context("no input")?, "{}", serde_json::to_string(question)?)?;
        self.read()
    }

    /// The next line that it says.
    pub(super) fn read<T: DeserializeOwned>(&mut self) -> Result<T> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        serde_json::from_str(&line).with_context(|| format!("it ended, or said {line:?}; see {}", self.log.display()))
    }

    /// Anonymous memory that it holds now, where the system tells.
    pub(super) fn memory_mb(&self) -> Option<f64> {
        memory_mb(self.child.id())
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        // The script ends with its input; should it hang, it is ended.
        drop(self.input.take());
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}
