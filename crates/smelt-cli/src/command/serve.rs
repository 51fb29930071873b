//! `smelt serve` and `smelt app`: the server, and its page in the browser.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;
use smelt_serve::{Access, Limits, ServeOptions, Started, serve};
use tracing_subscriber::filter::LevelFilter;

use crate::cli::{AppArgs, ServeArgs, ServedArgs};
use crate::file;
use crate::interrupt::{self, Writing};
use crate::report::Report;

/// What `--json` prints once it listens.
#[derive(Serialize)]
struct Listening {
    url: String,
    models: Vec<String>,
}

pub(super) fn run(args: &ServeArgs, report: &Report) -> Result<ExitCode> {
    let access = match &args.api_key {
        Some(key) => Access::Key(key.clone()),
        None if args.no_auth => Access::Open,
        None => Access::Local,
    };
    let options = ServeOptions {
        listen: args.listen,
        access,
        hosts: args.hosts.clone(),
        origins: args.origins.clone(),
        ..served(&args.served)
    };
    until_interrupted(options, report, |_| Ok(()))
}

pub(super) fn app(args: &AppArgs, report: &Report) -> Result<ExitCode> {
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    // Whoever opens the page is who started it.
    let mut options = ServeOptions { listen, allow_downloads: true, ..served(&args.served) };
    if options.keep.is_none() {
        options.keep = dirs::picture_dir().map(|folder| folder.join("Smelt"));
    }
    until_interrupted(options, report, |url| match args.no_browser {
        true => Ok(()),
        false => open::that_detached(url).with_context(|| format!("no browser could be opened; open {url} yourself")),
    })
}

fn served(args: &ServedArgs) -> ServeOptions {
    let usual = Limits::default();
    let limits = Limits {
        queue: args.queue.get(),
        body_bytes: usize::try_from(args.max_body).unwrap_or(usize::MAX),
        pixels: args.max_pixels.get(),
        job_time: Duration::from_secs(args.max_minutes.get() as u64 * 60),
        memory: args.memory,
        ..usual
    };
    ServeOptions {
        models: args.models.clone(),
        model: args.model.clone(),
        lora_dir: args.lora_dir.clone(),
        embedding_dir: args.embedding_dir.clone(),
        controlnet_dir: args.controlnet_dir.clone(),
        upscaler_dir: args.upscaler_dir.clone(),
        keep: args.keep.as_deref().map(absolute),
        engine: args.engine.spec(),
        low_memory: args.low_memory,
        allow_downloads: args.allow_downloads,
        cancel_on_disconnect: args.cancel_on_disconnect,
        cache: file::cache_folder(),
        limits,
        ..ServeOptions::default()
    }
}

fn absolute(path: &std::path::Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Serves until Ctrl-C, which ends the job that runs and closes connections; a second one does not wait.
fn until_interrupted(
    options: ServeOptions,
    report: &Report,
    listening: impl FnOnce(&str) -> Result<()>,
) -> Result<ExitCode> {
    log(report);
    let _serving = Writing::begin();
    let mut opened = Ok(());
    serve(options, &interrupt::stop(), |Started { address, models, .. }| {
        let url = format!("http://{address}/");
        report.line(format_args!("listening at {url}, Ctrl-C ends it; models: {}", models.join(", ")));
        // Programs read one line, and then the log.
        report.event(&Listening { url: url.clone(), models });
        opened = listening(&url);
    })?;
    opened.map(|()| ExitCode::SUCCESS)
}

/// The log, on standard error: as lines, or as JSON with `--json`. `SMELT_LOG` says how much: error, warn, info or debug.
fn log(report: &Report) {
    let wanted = std::env::var("SMELT_LOG").ok().and_then(|level| level.parse::<LevelFilter>().ok());
    let builder =
        tracing_subscriber::fmt().with_max_level(wanted.unwrap_or(LevelFilter::INFO)).with_writer(std::io::stderr);
    match report.is_json() {
        true => builder.json().init(),
        false => builder.with_target(false).compact().init(),
    }
}
