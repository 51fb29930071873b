//! `cargo xtask clients [WHAT]`: has programs of others, unchanged, talk to a server of ours.
//!
//! `programs`: clients of AUTOMATIC1111 and OpenAI, in Python, JavaScript and Rust; the outcome of each call goes to the table of
//! `docs/clients.md`.
//! `page`: the page in a real Chromium, with axe-core; pictures of the screen go to the folder of `--screens`.
//! `document`: schemathesis on the OpenAPI document.
//! How many at once it serves is measured by `cargo xtask bench serve`.
//! Needs Python, Node 22, Chromium for the page, and the network on the first run; therefore it is a command and not a test.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::{
    python::{ensure_venv, succeed},
    smelt::{self, Profile, Server},
    workspace_root,
};

/// Arguments of `cargo xtask clients`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[arg(value_enum, default_value_t)]
    what: What,
    /// Where pictures of the page are written.
    #[arg(long, default_value = "target/clients/screens")]
    screens: PathBuf,
    /// A server's program that is there, in the place of a release build.
    #[arg(long)]
    smelt: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum What {
    /// Clients of AUTOMATIC1111 and OpenAI.
    #[default]
    Programs,
    /// The page in Chromium.
    Page,
    /// The OpenAPI document, by schemathesis.
    Document,
}

/// What the Python clients are.
const PYTHON: [&str; 4] = ["webuiapi==0.9.17", "openai==3.57.0", "sd-backend-client==0.5.0", "pillow==13.0.0"];
const SCHEMATHESIS: &str = "schemathesis==4.32.5";
/// Lines of the page around the table.
const BEGIN: &str = "<!-- cargo xtask clients -->";
const END: &str = "<!-- end -->";

/// A call of a client, as its script tells it.
#[derive(Debug, Deserialize)]
struct Call {
    client: String,
    call: String,
    ok: bool,
    #[serde(default)]
    note: String,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let binary = match &arguments.smelt {
        Some(binary) => std::path::absolute(binary)?,
        None => smelt::build(Profile::Release, |_| {})?.binary,
    };
    let scratch = smelt::target_dir()?.join("clients");
    fs::create_dir_all(&scratch)?;
    let server = Server::start(&binary)?;
    match arguments.what {
        What::Programs => programs(&server, &scratch),
        What::Page => page(&server, &scratch, &arguments.screens),
        What::Document => document(&server, &scratch),
    }
}

fn scripts(folder: &Path, ending: &str) -> Result<Vec<PathBuf>> {
    let all = fs::read_dir(folder).with_context(|| format!("no scripts in {}", folder.display()))?;
    let mut all: Vec<PathBuf> = all.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    all.retain(|path| path.extension().is_some_and(|own| own == ending));
    all.sort();
    Ok(all)
}

/// Copies a folder of the crate's tests to where packages of npm may lie beside it.
fn copied(name: &str, scratch: &Path) -> Result<PathBuf> {
    fn copy(from: &Path, to: &Path) -> Result<()> {
        fs::create_dir_all(to)?;
        for entry in fs::read_dir(from)? {
            let (entry, to) = (entry?, to);
            let (path, to) = (entry.path(), to.join(entry.file_name()));
            match path.is_dir() {
                true if entry.file_name() == "node_modules" => {}
                true => copy(&path, &to)?,
                false => drop(fs::copy(&path, &to)?),
            }
        }
        Ok(())
    }
    let to = scratch.join(name);
    copy(&workspace_root().join("crates/smelt-serve/tests").join(name), &to)?;
    Ok(to)
}

/// Runs the scripts of all clients, and writes the table.
fn programs(server: &Server, scratch: &Path) -> Result<()> {
    let python = ensure_venv(&scratch.join("python"), &PYTHON)?;
    let folder = copied("clients", scratch)?;
    let mut calls = Vec::new();
    for script in scripts(&folder, "py")? {
        calls.extend(told(Command::new(&python).arg(&script).arg(&server.url))?);
    }
    succeed(Command::new("npm").args(["ci", "--silent", "--prefix"]).arg(&folder))?;
    // Node of the version that the clients ask for, whatever the system has; npm runs no scripts of packages by itself.
    let node = folder.join("node_modules/node");
    succeed(Command::new("node").arg("installArchSpecificPackage.js").current_dir(&node).stdout(Stdio::null()))?;
    let node = node.join("bin/node");
    for script in scripts(&folder, "mjs")? {
        calls.extend(told(Command::new(&node).arg(&script).arg(&server.url))?);
    }
    let rust = folder.join("async-openai/Cargo.toml");
    let mut run = smelt::cargo();
    run.args(["run", "--quiet", "--locked", "--manifest-path"])
        .arg(&rust)
        .arg("--target-dir")
        .arg(scratch.join("rust"));
    calls.extend(told(run.arg("--").arg(&server.url))?);
    ensure!(!calls.is_empty(), "no client called anything");
    write_table(&calls)?;
    let failed: Vec<&Call> = calls.iter().filter(|call| !call.ok).collect();
    ensure!(failed.is_empty(), "{} of {} calls failed: {failed:?}", failed.len(), calls.len());
    Ok(())
}

/// The calls that a script tells, a JSON object a line; a script that fails for other reasons is an error.
fn told(command: &mut Command) -> Result<Vec<Call>> {
    let output = command.stderr(Stdio::inherit()).output().with_context(|| format!("cannot start {command:?}"))?;
    let text = String::from_utf8(output.stdout)?;
    let lines = text.lines().filter(|line| line.starts_with('{'));
    let calls: Vec<Call> = lines.map(serde_json::from_str).collect::<Result<_, _>>()?;
    if calls.is_empty() {
        bail!("{command:?} told of no call: {}", output.status);
    }
    Ok(calls)
}

fn write_table(calls: &[Call]) -> Result<()> {
    let path = workspace_root().join("docs/clients.md");
    let page = fs::read_to_string(&path)?;
    let (before, rest) = page.split_once(BEGIN).context("docs/clients.md has no place for the table")?;
    let (_, after) = rest.split_once(END).context("the table of docs/clients.md has no end")?;
    let mut table = String::from("\n| client | call | outcome |\n|---|---|---|\n");
    for Call { client, call, ok, note } in calls {
        let outcome = if *ok { "works" } else { "fails" };
        let note = if note.is_empty() { String::new() } else { format!(": {}", note.replace(['|', '\n'], " ")) };
        table.push_str(&format!("| {client} | {call} | {outcome}{note} |\n"));
    }
    fs::write(&path, format!("{before}{BEGIN}\n{table}\n{END}{after}")).with_context(|| path.display().to_string())
}

/// Drives the page.
fn page(server: &Server, scratch: &Path, screens: &Path) -> Result<()> {
    let folder = copied("page", scratch)?;
    fs::create_dir_all(screens)?;
    succeed(Command::new("npm").args(["install", "--silent", "--prefix"]).arg(&folder))?;
    succeed(Command::new("node").arg(folder.join("drive.mjs")).arg(&server.url).arg(std::path::absolute(screens)?))
}

/// No request that the document allows, and none that it does not, is answered by a fault of ours.
fn document(server: &Server, scratch: &Path) -> Result<()> {
    let python = ensure_venv(&scratch.join("schemathesis"), &[SCHEMATHESIS])?;
    let program = python.with_file_name("schemathesis");
    let about = format!("{}smelt/v1/openapi.json", server.url);
    let checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";
    // It leaves a folder where it runs.
    succeed(Command::new(program).current_dir(scratch).args([
        "run",
        &about,
        "--checks",
        checks,
        "--max-examples",
        "40",
        "--request-timeout",
        "30",
    ]))
}
