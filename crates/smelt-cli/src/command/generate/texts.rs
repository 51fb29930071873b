//! Prompts from elsewhere: standard input, and files with one a line.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, bail};
use smelt::{Variations, Wildcards, prompt_lines};

use crate::cli::{GenerateArgs, Seed};

/// Cap on a file of prompts, in bytes.
const MAX_BYTES: u64 = 16 << 20;

/// The prompt as it was typed, or as standard input has it.
pub(super) fn prompt(args: &GenerateArgs) -> Result<Option<String>> {
    if args.prompt.as_deref() != Some("-") {
        return Ok(args.prompt.clone());
    }
    let text = standard_input()?;
    match text.trim() {
        "" => bail!("the prompt is -, which is standard input, and there is nothing in it"),
        prompt => Ok(Some(prompt.to_owned())),
    }
}

/// What differs between pictures.
pub(super) fn variations(args: &GenerateArgs) -> Result<Variations> {
    let seeds = match &args.seed {
        Some(Seed::Several(seeds)) => seeds.clone(),
        _ => Vec::new(),
    };
    Ok(Variations {
        prompts: args.vary.prompts.as_deref().map_or_else(|| Ok(Vec::new()), prompts)?,
        seeds,
        x: args.vary.x.clone(),
        y: args.vary.y.clone(),
        wildcards: args.vary.wildcards.as_ref().map(Wildcards::of).transpose()?,
    })
}

/// The prompts of a file, or of standard input.
pub(in crate::command) fn prompts(path: &Path) -> Result<Vec<String>> {
    let text = match path == Path::new("-") {
        true => standard_input().context("--prompts -")?,
        false => safe_files::read_text(path, MAX_BYTES).context("--prompts")?,
    };
    let lines: Vec<String> = prompt_lines(&text).map(str::to_owned).collect();
    if lines.is_empty() {
        bail!("--prompts {}: there is no prompt in it: one a line, but for those that begin with #", path.display());
    }
    Ok(lines)
}

fn standard_input() -> Result<String> {
    let mut bytes = Vec::new();
    std::io::stdin().lock().take(MAX_BYTES + 1).read_to_end(&mut bytes).context("cannot read standard input")?;
    if bytes.len() as u64 > MAX_BYTES {
        bail!("standard input has more than {MAX_BYTES} bytes, which no prompts have");
    }
    String::from_utf8(bytes).context("standard input is not text in UTF-8")
}
