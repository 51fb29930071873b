//! `cargo xtask bench NAME`: runs a benchmark on this machine, appends its result as one JSON line to
//! `benches/record/NAME.jsonl`, and prints that line.
//!
//! These are whole-program measurements; micro-benchmarks are criterion suites in `benches`.

mod analyse;
mod build;
mod chunk;
mod compress;
mod convert;
mod decode;
mod engine;
mod fit;
mod ground;
mod lora;
mod newcomer;
mod peer;
mod picture;
mod process;
mod quality;
mod recipe;
mod record;
mod script;
mod serve;
mod speed;
mod stop;

use anyhow::{Result, ensure};
use sd_spec::Role;

use self::record::Metrics;
use crate::synth::{self, PresetName};

/// Arguments of `cargo xtask bench`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    name: Name,
    /// Measured runs, after the warm-up.
    #[arg(long)]
    runs: Option<usize>,
    /// Whose shapes the checkpoint has, for `convert`, `compress`, `fit`, `chunk` and `lora`; SD 1.5 by default.
    #[arg(long, value_enum)]
    preset: Option<PresetName>,
    /// Only these components of that checkpoint, for `convert`: where the disk is too small for all of it, twice.
    #[arg(long = "component", value_name = "NAME,…", value_delimiter = ',', value_parser = synth::role)]
    components: Vec<Role>,
    /// Measure other tools on the same work in the same run; needs Python, and the network once.
    #[arg(long)]
    peers: bool,
    /// Measure one part of `engine`, and record nothing.
    #[arg(long, value_enum)]
    only: Option<engine::Part>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Name {
    /// `smelt convert` of a checkpoint of real shape against `cp` of the same files.
    Convert,
    /// `smelt compress` of the UNet of that checkpoint against `cp` of its weights; with `--peers` also coremltools.
    Compress,
    /// `smelt analyse` of the UNet of that checkpoint against a step of it.
    Analyse,
    /// `smelt compress --fit` of the UNet of that checkpoint, to a quarter, against `cp` of its weights.
    Fit,
    /// `smelt chunk` of the UNet of that checkpoint against `cp` of its weights.
    Chunk,
    /// `smelt convert` of that checkpoint's UNet with twenty LoRAs against `cp` of the same files.
    Lora,
    /// Release build of `smelt` from an empty target folder.
    Build,
    /// A fresh clone with empty caches: the README's two commands.
    Newcomer,
    /// The CPU engine on that checkpoint: models, single operations, a picture; with `--peers` also PyTorch and OpenVINO.
    Engine,
    /// A picture at that checkpoint's shape: twenty guided steps, four of a few-step model, twenty with `--fast`.
    Picture,
    /// A VAE's decoder at that checkpoint's shape, as a whole and by rows: time and memory of large pictures.
    Decode,
    /// What the ways to draw faster cost in likeness, with the model in the box; writes the table of `docs/speed.md`.
    Speed,
    /// The server: a picture against the same without one, and two hundred clients at once for five minutes.
    Serve,
    /// What mixed bits gain on pictures of the model in the box, beside one width for all and Apple's analysis.
    Quality,
    /// How long the engine goes on after it was asked to stop, at random moments of the models of that checkpoint.
    Stop,
}

/// Measures, records and prints; a part is printed only.
#[allow(clippy::print_stdout, reason = "the result is the output")]
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let Arguments { name, runs, preset, ref components, peers, only } = *arguments;
    let takes_preset = matches!(name, Name::Convert | Name::Compress | Name::Fit | Name::Chunk | Name::Lora);
    ensure!(preset.is_none() || takes_preset, "only convert, compress, fit, chunk and lora take a preset");
    ensure!(components.is_empty() || matches!(name, Name::Convert), "only convert takes components");
    let preset = preset.unwrap_or(PresetName::Sd15);
    ensure!(!peers || matches!(name, Name::Compress | Name::Engine), "only compress and engine have peers");
    ensure!(only.is_none() || matches!(name, Name::Engine), "only engine has parts");
    let (name, metrics): (_, Metrics) = match name {
        Name::Convert => ("convert", convert::run(preset, components, runs.unwrap_or(5))?),
        Name::Compress => ("compress", compress::run(preset, runs.unwrap_or(5), peers)?),
        Name::Analyse => ("analyse", analyse::run()?),
        Name::Fit => ("fit", fit::run(preset, runs.unwrap_or(3))?),
        Name::Chunk => ("chunk", chunk::run(preset, runs.unwrap_or(5))?),
        Name::Lora => ("lora", lora::run(preset, runs.unwrap_or(3))?),
        Name::Build => ("build", build::run(runs.unwrap_or(1))?),
        Name::Newcomer => ("newcomer", newcomer::run()?),
        Name::Engine => ("engine", engine::run(runs.unwrap_or(3).max(1), peers, only)?),
        Name::Picture => ("picture", picture::run(runs.unwrap_or(3).max(1))?),
        Name::Decode => ("decode", decode::run(runs.unwrap_or(1).max(1))?),
        Name::Speed => ("speed", speed::run()?),
        Name::Serve => ("serve", serve::run(runs.unwrap_or(10).max(1))?),
        Name::Quality => ("quality", quality::run()?),
        Name::Stop => ("stop", stop::run(runs.unwrap_or(40).max(1))?),
    };
    println!("{}", if only.is_some() { record::line(name, &metrics) } else { record::append(name, &metrics)? });
    Ok(())
}
