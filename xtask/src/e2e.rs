//! `cargo xtask e2e`: the command line from end to end, over a matrix of checkpoints and options.
//!
//! It drives the binary and nothing else, so that one program measures any commit: what is made is named by its hash,
//! what is said by the hash of the text without times and paths. `--save` on one commit and `--against` on another show
//! what a change to the code changed in the results.
//! Hashes of computed values (pictures, outputs, PSNR) hold on one kind of processor; those of packages everywhere.

mod assemble;
mod families;
pub(crate) mod hash;
mod inputs;
mod matrix;
mod pairs;
mod record;
mod work;

use std::{path::PathBuf, time::Instant};

use anyhow::{Context, Result, bail};

use crate::smelt::{self, Profile};
use matrix::Case;
use record::Record;
use work::{Outcome, Work};

/// `cargo xtask e2e`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// A ready binary, of this commit or another; default: built here, optimised unless --quick is given.
    #[arg(long, value_name = "PATH")]
    smelt: Option<PathBuf>,
    /// Only a few cases that touch every command.
    #[arg(long)]
    quick: bool,
    /// Only cases whose name has each of these words.
    #[arg(long, value_name = "WORDS", default_value = "", allow_hyphen_values = true)]
    only: String,
    /// Have coremltools judge the packages too; needs Python and network.
    #[arg(long)]
    oracle: bool,
    /// Write what was found as JSON.
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Compare with what was saved; fails where a hash differs or is missing.
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
}

/// Runs the cases, prints the table and fails with what went wrong or differs.
#[allow(clippy::print_stdout, reason = "the table is the output")]
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let begin = Instant::now();
    let before = arguments.against.as_deref().map(Record::load).transpose()?;
    let is_asked = |name: &str| arguments.only.split_whitespace().all(|word| name.contains(word));
    let cases = if arguments.quick { matrix::quick() } else { matrix::cases() };
    let cases: Vec<Case> = cases.into_iter().filter(|case| is_asked(&case.name())).collect();
    if cases.is_empty() {
        bail!("no case has the words {:?}; leave --only out to see all", arguments.only);
    }
    let mut work = Work::new(binary(arguments)?, arguments.oracle)?;
    let (mut record, mut faults, mut n_skipped) = (Record::default(), Vec::new(), 0);
    println!("  {:<62} {:>11} {:>7} {:>7}  sha256", "product", "bytes", "s", "PSNR");
    for case in &cases {
        let name = case.name();
        match work.run(case).with_context(|| name.clone())? {
            Outcome::Skipped => n_skipped += 1,
            Outcome::Ran { rows, faults: new } => {
                println!("{name}");
                rows.iter().for_each(|row| println!("{}", row.line()));
                record.rows.extend(rows);
                faults.extend(new.into_iter().map(|fault| format!("{name}: {fault}")));
            }
        }
    }
    let n_cases = cases.len() - n_skipped;
    println!("{n_cases} cases, {} hashes, {:.0} s", record.rows.len(), begin.elapsed().as_secs_f64());
    if n_skipped > 0 {
        println!("{n_skipped} cases skipped: their golden data is not there (set SMELT_GOLDEN)");
    }
    if let Some(path) = &arguments.save {
        record.save(path)?;
    }
    if let Some(before) = &before {
        // A quick run has a part of the cases, and misses none of the others.
        let is_in = |name: &str| is_asked(name) && (!arguments.quick || cases.iter().any(|case| case.name() == name));
        faults.extend(record.differences(before, is_in));
        println!("{} hashes are new, and compared with nothing", record.n_new(before));
    }
    faults.iter().for_each(|fault| println!("{fault}"));
    match faults.len() {
        0 => Ok(()),
        n => bail!("{n} faults or differences"),
    }
}

/// The quick cases with the binary that `cargo test --workspace` left, so that nothing is built again.
pub(crate) fn smoke() -> Result<()> {
    let binary = smelt::target_dir()?.join("debug").join(format!("smelt{}", std::env::consts::EXE_SUFFIX));
    let arguments =
        Arguments { smelt: Some(binary), quick: true, only: String::new(), oracle: false, save: None, against: None };
    run(&arguments)
}

/// The binary to run, by its absolute path.
fn binary(arguments: &Arguments) -> Result<PathBuf> {
    let profile = if arguments.quick { Profile::Dev } else { Profile::Release };
    match &arguments.smelt {
        Some(path) => path.canonicalize().with_context(|| format!("no binary at {}", path.display())),
        None => Ok(smelt::build(profile, |_| {})?.binary),
    }
}
