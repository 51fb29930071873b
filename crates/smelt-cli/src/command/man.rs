//! `smelt man`: the help as manual pages.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Command, CommandFactory};
use clap_mangen::Man;
use safe_files::Outputs;
use serde::Serialize;

use crate::cli::{Cli, ManArgs};
use crate::file;
use crate::report::{Report, count};

/// What `--json` prints.
#[derive(Serialize)]
struct Summary {
    /// The main page, where no directory was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    page: Option<String>,
    /// Files written.
    files: Vec<String>,
}

/// A page and the name of its file.
struct Page {
    file_name: String,
    text: Vec<u8>,
}

pub(super) fn run(args: &ManArgs, report: &Report) -> Result<ExitCode> {
    let pages = pages()?;
    let summary = match &args.output {
        Some(dir) => Summary { page: None, files: write(dir, &pages, report)? },
        None => {
            let main = pages.into_iter().next().context("there is no page")?;
            let page = String::from_utf8(main.text)?;
            report.text(&page);
            Summary { page: Some(page), files: Vec::new() }
        }
    };
    report.json(&summary)?;
    Ok(ExitCode::SUCCESS)
}

/// The page of smelt, and one for each command.
fn pages() -> Result<Vec<Page>> {
    // `help` has nothing to tell on a page of its own.
    let mut smelt = Cli::command().disable_help_subcommand(true);
    smelt.build();
    std::iter::once(&smelt).chain(smelt.get_subcommands()).map(page).collect()
}

fn page(command: &Command) -> Result<Page> {
    let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let man = Man::new(command.clone()).source(concat!("smelt ", env!("CARGO_PKG_VERSION")));
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut text)?;
    }
    text.extend_from_slice(examples_section(&examples).as_bytes());
    Ok(Page { file_name: man.get_filename(), text })
}

/// The examples with their lines kept, so that they can be copied; `clap_mangen` would fill them like prose.
fn examples_section(examples: &str) -> String {
    let lines = examples.lines().skip_while(|line| !line.starts_with("  "));
    let lines: String = lines.map(|line| line.trim().replace('\\', "\\e").replace('-', "\\-") + "\n").collect();
    format!(".SH EXAMPLES\n.nf\n{lines}.fi\n")
}

fn write(dir: &Path, pages: &[Page], report: &Report) -> Result<Vec<String>> {
    let mut outputs = Outputs::new();
    let mut folder = outputs.folder("-o", dir)?;
    let paths =
        pages.iter().map(|page| outputs.file("-o", &dir.join(&page.file_name))).collect::<Result<Vec<_>, _>>()?;
    folder.make()?;
    let mut files = Vec::new();
    for (path, page) in paths.iter().zip(pages) {
        file::write(path, |out| Ok(out.write_all(&page.text)?))?;
        files.push(path.to_string());
    }
    report.line(format_args!("wrote {} to {}", count(files.len(), "page"), dir.display()));
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_with_its_options_and_examples() {
        let pages = pages().unwrap();
        let n_commands = Cli::command().get_subcommands().count();
        assert_eq!(pages.len(), n_commands + 1);
        assert_eq!(pages[0].file_name, "smelt.1");
        let text = |name: &str| {
            let page = pages.iter().find(|page| page.file_name == name).unwrap();
            String::from_utf8(page.text.clone()).unwrap()
        };
        assert!(text("smelt.1").contains("smelt\\-generate(1)"), "{}", text("smelt.1"));
        let generate = text("smelt-generate.1");
        for words in ["\\-\\-negative\\-prompt", ".SH EXAMPLES\n.nf\nsmelt generate \"a red heart\" \\-\\-show"] {
            assert!(generate.contains(words), "{words}: {generate}");
        }
    }
}
