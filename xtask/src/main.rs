//! Developer commands of the workspace, one module per command: `cargo xtask COMMAND`.
#![recursion_limit = "256"] // serde_json's `json!` recurses once per key, and a UNet's configuration has fifty.

use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};

mod bench;
mod ci;
mod clients;
mod codegen;
mod config_keys;
mod cross;
mod demo_model;
mod e2e;
mod mac;
mod oracle;
mod package;
mod python;
mod release;
mod smelt;
mod synth;
mod tidy;

/// Developer commands of the workspace.
#[derive(Parser)]
#[command(name = "xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run every check that CI runs, cheapest first.
    Ci,
    /// Check the rules of the house: layers, module headers, docs, dependency reasons, forbidden words.
    Tidy,
    /// Compile `proto/*.proto` into `coremltools-proto`.
    Codegen {
        /// Only say whether the committed code is up to date.
        #[arg(long)]
        check: bool,
    },
    /// Run the command line from end to end over a matrix, and name what it makes by hashes.
    E2e(e2e::Arguments),
    /// Pack the binary with completions, manual pages and licences as an archive for this platform.
    Release,
    /// Write a checkpoint of real shape with random weights.
    Synth(synth::Arguments),
    /// Measure, and append the result to `benches/record`.
    Bench(bench::Arguments),
    /// Type-check and lint for systems that this machine is not: macOS and iOS.
    Cross(cross::Arguments),
    /// List the keys that configuration classes of diffusers and transformers define; needs Python and network.
    ConfigKeys,
    /// Train the model in the box again; needs Python, network and hours.
    DemoModel(demo_model::Arguments),
    /// Try the Core ML engine: tests, pictures, times, plans; needs a Mac, and writes a report.
    Mac,
    /// Pack every crate that is published, and check what it says of itself and how large it is.
    Package,
    /// Have programs of others talk to `smelt serve`, and Chromium use its page; needs Python, Node and network.
    Clients(clients::Arguments),
    /// Convert checkpoints and have coremltools judge the packages, or PyTorch the networks; needs Python and network.
    Oracle(oracle::Arguments),
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Ci => ci::run(),
        Command::Tidy => tidy::run(),
        Command::Codegen { check } => codegen::run(check),
        Command::E2e(arguments) => e2e::run(&arguments),
        Command::Release => release::run(),
        Command::Synth(arguments) => synth::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Cross(arguments) => cross::run(&arguments),
        Command::ConfigKeys => config_keys::run(),
        Command::DemoModel(arguments) => demo_model::run(&arguments),
        Command::Mac => mac::run(),
        Command::Package => package::run(),
        Command::Clients(arguments) => clients::run(&arguments),
        Command::Oracle(arguments) => oracle::run(&arguments),
    }
}

/// The folder of the root manifest.
fn workspace_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("invariant: xtask lies in the root").to_path_buf()
}
