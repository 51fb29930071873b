//! Developer commands of the workspace, one module per command: `cargo xtask COMMAND`.

use clap::{Parser, Subcommand};

mod codegen;

/// Developer commands of the workspace.
#[derive(Parser)]
#[command(name = "xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Compile `proto/*.proto` into `coremltools-proto`.
    Codegen {
        /// Only say whether the committed code is up to date.
        #[arg(long)]
        check: bool,
    },
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Codegen { check } => codegen::run(check),
    }
}
