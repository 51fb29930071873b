//! `smelt tokens`: how a prompt lies in the windows of the text encoders.

use std::io::{self, BufRead};
use std::process::ExitCode;

use anyhow::{Context, Result};
use serde::Serialize;
use smelt::prompt::{CountedPrompt, PromptCount, PromptCounter, PromptWindow};
use smelt::{Opening, demo};

use crate::cli::TokensArgs;
use crate::file;
use crate::report::{Report, count};
use crate::screen::Screen;

/// What `--json` prints, for each prompt a line.
#[derive(Serialize)]
struct Summary {
    prompt: String,
    #[serde(flatten)]
    counted: CountedPrompt,
}

pub(super) fn run(args: &TokensArgs, report: &Report) -> Result<ExitCode> {
    let opening = Opening::from(&args.opening);
    let model = match &args.model {
        Some(model) => model.clone(),
        None => demo::directory(file::cache_folder())?.into(),
    };
    opening.fetch([&model], &[], &mut Screen::new(report))?;
    let counter = opening.open(model)?.prompt_counter()?;
    if args.prompt != "-" {
        return tell(&counter, &args.prompt, args, report);
    }
    // A line is counted as soon as it is there: whoever types sees it.
    for line in io::stdin().lock().lines() {
        tell(&counter, &line.context("cannot read standard input")?, args, report)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn tell(counter: &PromptCounter, prompt: &str, args: &TokensArgs, report: &Report) -> Result<ExitCode> {
    let counted = counter.count(prompt, args.emphasis.unwrap_or_default())?;
    report.text(told(&counted));
    report.json(&Summary { prompt: prompt.to_owned(), counted })?;
    Ok(ExitCode::SUCCESS)
}

fn told(CountedPrompt { texts, encoders, .. }: &CountedPrompt) -> String {
    let mut told = String::new();
    if texts.len() > 1 {
        told.push_str(&format!("{} on the way; the longest is counted\n", count(texts.len(), "text")));
    }
    // Encoders of one tokenizer have the same to say.
    let mut encoders: Vec<&PromptCount> = encoders.iter().collect();
    encoders.dedup();
    for PromptCount { n_tokens, room, windows, n_cut, .. } in encoders {
        let full = windows.len() * room;
        told.push_str(&format!("{n_tokens} of {full} tokens, {}\n", count(windows.len(), "window")));
        for (idx, PromptWindow { n_tokens, pieces, .. }) in windows.iter().enumerate() {
            told.push_str(&format!("  window {}: {}\n", idx + 1, count(*n_tokens, "token")));
            for piece in pieces {
                let text = piece.text.trim();
                told.push_str(&format!("    {:.2} x {text:?}\n", piece.weight));
            }
        }
        if *n_cut > 0 {
            told.push_str(&format!("  {} are cut off\n", count(*n_cut, "token")));
        }
    }
    told
}
