//! `smelt bench --table`: a row of the tables that Apple's ml-stable-diffusion has, for this machine.

use std::process::ExitCode;

use anyhow::Result;
use serde::Serialize;
use smelt::bench::{PictureBenchmark, TableRow};
use smelt::{Opening, demo};

use crate::cli::BenchArgs;
use crate::file::cache_folder;
use crate::report::Report;
use crate::screen::Screen;

/// What `--json` prints.
#[derive(Serialize)]
struct Summary {
    rows: Vec<TableRow>,
}

pub(super) fn run(args: &BenchArgs, report: &Report) -> Result<ExitCode> {
    let (mut screen, opening) = (Screen::new(report), Opening::default());
    let mut benchmark = PictureBenchmark {
        runs: args.runs,
        seed: args.seed,
        attention: args.attention,
        engine: args.engine.spec(),
        ..PictureBenchmark::default()
    };
    benchmark.engine.check_here()?;
    let model = match &args.package {
        Some(model) => model.clone(),
        None => {
            benchmark.guidance = demo::GUIDANCE;
            demo::directory(cache_folder())?
        }
    };
    let rows = vec![benchmark.run(&opening.open(model)?, &mut screen)?];
    drop(screen);
    report.text(TableRow::markdown(&rows));
    report.json(&Summary { rows })?;
    Ok(ExitCode::SUCCESS)
}
