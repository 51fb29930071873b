//! `smelt convert`: a checkpoint to a directory of packages.
//!
//! Everything that can be refused is refused before any work begins; packages and the files beside them then appear one by one, each whole.

mod items;
mod place;
mod precision;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use mlpackage::{Existing, WeightFile, Written};
use sd_convert::compress::{Writing as How, write_compressed};
use sd_convert::{AttentionLayout, Checkpoint, Converted, Options, Precision, Role, Target, native_size};
use serde::Serialize;

use super::guarded;
use crate::cli::ConvertArgs;
use crate::interrupt::{Writing, interrupted};
use crate::report::{Report, Table, bytes, count, seconds};
use crate::screen::Screen;
use items::Item;
use place::Place;
pub(super) use precision::tensor_warnings;
use precision::{Made, Makers};
use smelt::bundle::Bundle;
use smelt::owner::Owner;

/// What `--json` prints.
#[derive(Serialize)]
struct Summary {
    checkpoint: String,
    output: String,
    model_version: String,
    packages: Vec<Package>,
    /// Components that the checkpoint does not have.
    skipped: Vec<&'static str>,
    /// Files beside the packages.
    files: Vec<String>,
    bytes: u64,
    seconds: f64,
}

#[derive(Serialize)]
struct Package {
    component: &'static str,
    /// Sizes of the latents that were asked for; several are functions of one package.
    latent_sizes: Vec<String>,
    path: String,
    n_operations: usize,
    bytes: u64,
    /// The weight file is that of the component's first package.
    is_shared: bool,
    precision: &'static str,
    convert_s: f64,
    /// Time of the check in half precision; zero where there was none.
    check_s: f64,
    write_s: f64,
    /// What half precision cannot hold in it, which then is in float32 unless float16 was asked for.
    overflow: Option<smelt::half_precision::Overflow>,
}

/// What is to be done.
struct Plan<'a> {
    checkpoint: Checkpoint,
    options: Options,
    items: Vec<Item>,
    skipped: Vec<Role>,
    bundle: Bundle,
    place: Place,
    model_version: String,
    /// What the user should know of the checkpoint.
    warnings: Vec<String>,
    args: &'a ConvertArgs,
}

pub(super) fn run(args: &ConvertArgs, report: &Report) -> Result<ExitCode> {
    let begin = Instant::now();
    let mut plan = Plan::new(args)?;
    for role in &plan.skipped {
        report.warn(format_args!("the checkpoint has no {role}; it is left out"));
    }
    for warning in plan.warnings.iter().chain(&plan.bundle.warnings) {
        report.warn(warning);
    }
    plan.place.tell_changes(report);
    plan.place.folder.make()?;
    let packages = plan.convert(report)?;
    plan.bundle.write(&plan.place.files, &mut Screen::new(report))?;
    tell(&plan, report, packages, begin.elapsed())?;
    Ok(ExitCode::SUCCESS)
}

impl<'a> Plan<'a> {
    /// Decides what to do, and refuses what cannot be done.
    fn new(args: &'a ConvertArgs) -> Result<Self> {
        if let Some(bits) = args.quantize_nbits {
            check_bits(bits, args)?;
        }
        let checkpoint = Checkpoint::open(&args.checkpoint)?.with_variant(args.variant.clone());
        let model_version = args.model_version.clone().unwrap_or_else(|| checkpoint.name());
        let (components, skipped) = choose(&checkpoint, &args.components)?;
        refuse_ineffective(args, &components)?;
        let (own, scale) = native_size(&checkpoint)?;
        let sizes = args.sizes.latents(scale, own)?;
        let items = items::of(args, &sizes, &components, &model_version)?;
        let bundle = Bundle::of_checkpoint(checkpoint.root(), &model_version)?;
        Owner::of_model(&model_version).check_may_enter(&args.output)?;
        if !args.force {
            let paths = items.iter().flat_map(|item| std::iter::once(item.path.clone()).chain(item.chunks(args)));
            let mut there: Vec<PathBuf> = paths.filter(|p| exists(p)).collect();
            there.extend(bundle.conflicts(&args.output));
            if !there.is_empty() {
                let list: Vec<String> = there.iter().map(|p| format!("\n  {}", p.display())).collect();
                bail!("these are there already; replace them with --force:{}", list.concat());
            }
        }
        let place = Place::new(args, checkpoint.root(), &items, &bundle)?;
        let options = Options {
            attention: args.attention.unwrap_or(AttentionLayout::SplitEinsum),
            latent_size: None,
            text_length: args.text_length,
            unet_batch_one: args.unet_batch_one,
            target: args.target,
            precision: args.precision.unwrap_or(Precision::Float16),
            model_version: Some(model_version.clone()),
        };
        let mut warnings = checkpoint.warnings();
        warnings.extend(check(&checkpoint, &items, &options)?);
        Ok(Self { checkpoint, options, items, skipped, bundle, place, model_version, warnings, args })
    }

    /// Converts and writes every component; while one is written, the next is converted.
    fn convert(&self, report: &Report) -> Result<Vec<Package>> {
        std::thread::scope(|scope| {
            let (sender, converted) = sync_channel(1);
            scope.spawn(move || {
                let mut makers = Makers::new(self.args.precision);
                for item in &self.items {
                    let begin = Instant::now();
                    let result = makers.make(item, &self.checkpoint, &self.options);
                    let is_last = result.is_err();
                    if sender.send((result, begin.elapsed())).is_err() || is_last {
                        break;
                    }
                }
            });
            let mut packages = Vec::new();
            for item in &self.items {
                let spinner = report.spinner(&item.label());
                let (result, convert_s) = converted.recv().context("the conversion ended early")?;
                spinner.finish_and_clear();
                let made = result?;
                made.warn(self.args, report);
                let package = self.write_one(item, &made, convert_s, report)?;
                report.text(row(item, &package));
                packages.push(package);
                self.write_chunks(item, report)?;
            }
            Ok(packages)
        })
    }

    /// Writes one converted component.
    fn write_one(&self, item: &Item, made: &Made, convert_s: Duration, report: &Report) -> Result<Package> {
        let (begin, converted) = (Instant::now(), &made.converted);
        let written = match self.palettes(converted)? {
            Some(plan) => self.write_compressed(item, converted, &plan, report)?,
            None => self.write(item, converted, report)?,
        };
        let is_shared = written.weight_file == WeightFile::Linked;
        Ok(Package {
            component: converted.role.name(),
            latent_sizes: item.sizes.iter().map(ToString::to_string).collect(),
            path: item.path.display().to_string(),
            n_operations: n_operations(&converted.program),
            bytes: written.model_bytes + if is_shared { 0 } else { written.weight_bytes },
            is_shared,
            precision: made.precision(),
            convert_s: convert_s.saturating_sub(made.check_time()).as_secs_f64(),
            check_s: made.check_time().as_secs_f64(),
            overflow: made.overflow(),
            write_s: begin.elapsed().as_secs_f64(),
        })
    }

    /// Writes the chunks of a package that was just written, compressed as it is.
    fn write_chunks(&self, item: &Item, report: &Report) -> Result<()> {
        let targets = item.chunks(self.args);
        if targets.is_empty() {
            return Ok(());
        }
        let chunks = sd_convert::chunk(super::open_package(&item.path)?.model(), targets.len())?;
        let first = item.first_chunks(self.args);
        for part in super::chunk::write(&chunks, &targets, &first, self.existing(), report)? {
            let name = Path::new(&part.path).file_stem().map_or_else(String::new, |s| s.to_string_lossy().into_owned());
            let label = name.rsplit_once('_').map_or("", |(_, label)| label).to_owned();
            report.line(format_args!("    {label:<14}  {:>26}", bytes(part.bytes)));
        }
        Ok(())
    }

    const fn existing(&self) -> Existing {
        if self.args.force { Existing::Replace } else { Existing::Refuse }
    }

    /// The plan of compression, for components that Apple's converter compresses.
    fn palettes(&self, converted: &Converted) -> Result<Option<mil_compress::Plan>> {
        let Some(bits) = self.args.quantize_nbits else { return Ok(None) };
        let is_compressed = matches!(converted.role, Role::TextEncoder | Role::UNet);
        let plan = || mil_compress::Plan::new(&converted.program, &mil_compress::Config::palettes(bits));
        Ok(is_compressed.then(plan).transpose()?)
    }

    /// Compresses a component straight into its package.
    fn write_compressed(
        &self,
        item: &Item,
        converted: &Converted,
        plan: &mil_compress::Plan,
        report: &Report,
    ) -> Result<Written> {
        let _writing = Writing::begin();
        let bar = report.work_bar(&item.label(), plan.n_elements());
        let mut progress = |at: sd_convert::compress::Progress| {
            bar.set_position(at.done);
            if interrupted() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let how = How { existing: self.existing(), measure: false, first: item.first.as_deref() };
        let model = (&converted.program, &converted.description);
        let (written, _) = write_compressed(&item.path, model, plan, how, &mut progress)?;
        bar.finish_and_clear();
        Ok(written)
    }

    /// Writes a package.
    fn write(&self, item: &Item, converted: &Converted, report: &Report) -> Result<Written> {
        let (program, description) = (converted.valid()?, &converted.description);
        guarded(&item.label(), report, |progress| {
            write_or_link(&item.path, item.first.as_deref(), program, description, self.existing(), progress)
        })
    }
}

/// Writes a package, with the weight file of the one at `first` where that has the same weights.
pub(super) fn write_or_link(
    path: &Path,
    first: Option<&Path>,
    program: mil::Valid<'_>,
    description: &mlpackage::Description,
    existing: Existing,
    progress: &mut dyn FnMut(mlpackage::Progress) -> ControlFlow<()>,
) -> Result<Written> {
    if let Some(first) = first {
        match mlpackage::write_linked(path, program, description, existing, first) {
            // A weight that depends on the size: the package is written with its own.
            Err(mlpackage::Error::WeightsDiffer { .. }) => {}
            linked => return Ok(linked?),
        }
    }
    Ok(mlpackage::write_until(path, program, description, existing, progress)?)
}

/// Looks at every package's component before any is built; what is said of several sizes or components is said once.
fn check(checkpoint: &Checkpoint, items: &[Item], options: &Options) -> Result<Vec<String>> {
    let mut warnings: Vec<String> = Vec::new();
    for item in items {
        let sizes = item.sizes.iter().copied().map(Some);
        for latent_size in if item.sizes.is_empty() { vec![None] } else { sizes.collect() } {
            let options = Options { latent_size, ..options.clone() };
            for warning in sd_convert::check(checkpoint, item.role, &options)? {
                if !warnings.contains(&warning) {
                    warnings.push(warning);
                }
            }
        }
    }
    Ok(warnings)
}

/// Refuses options that none of the chosen components heeds.
fn refuse_ineffective(args: &ConvertArgs, components: &[Role]) -> Result<()> {
    let has = |wanted: &[Role]| wanted.iter().any(|c| components.contains(c));
    let unet: &[Role] = &[Role::UNet];
    let sized = [Role::UNet, Role::VaeDecoder, Role::VaeEncoder, Role::SafetyChecker];
    for (option, is_given, heeded_by) in [
        ("--attention", args.attention.is_some(), unet),
        ("--text-length", args.text_length.is_some(), unet),
        ("--unet-batch-one", args.unet_batch_one, unet),
        ("--chunk-unet", args.chunk_unet.is_some(), unet),
        ("--quantize-nbits", args.quantize_nbits.is_some(), &[Role::UNet, Role::TextEncoder]),
        ("a size", args.sizes.is_given(), &sized),
    ] {
        if is_given && !has(heeded_by) {
            let names: Vec<&str> = heeded_by.iter().map(|c| c.name()).collect();
            bail!("{option} has no effect here: it is for {}, and none of these is converted", names.join(", "));
        }
    }
    Ok(())
}

/// The components to convert, and those of the default that the checkpoint lacks.
fn choose(checkpoint: &Checkpoint, asked: &[Role]) -> Result<(Vec<Role>, Vec<Role>)> {
    if asked.is_empty() {
        checkpoint.check_family()?;
    }
    // What the index lists must be there, or the download is incomplete; people leave the safety checker out by hand.
    let is_needed = |c: Role| match asked.is_empty() {
        true => checkpoint.lists(c) && (c != Role::SafetyChecker || checkpoint.has(c)),
        false => asked.contains(&c),
    };
    Role::ALL.into_iter().filter(|&c| is_needed(c)).try_for_each(|role| checkpoint.check(role))?;
    let all = Role::ALL.into_iter().filter(|c| asked.is_empty() || asked.contains(c));
    let (there, missing): (Vec<_>, Vec<_>) = all.partition(|&c| checkpoint.has(c));
    if let Some(role) = missing.iter().find(|c| asked.contains(c)) {
        bail!("{} has no {role}", checkpoint.root().display());
    }
    if there.is_empty() {
        bail!("{} has no component that can be converted", checkpoint.root().display());
    }
    Ok((there, missing))
}

/// Refuses widths that no palette has, or not on the system.
fn check_bits(bits: u8, args: &ConvertArgs) -> Result<()> {
    match bits {
        1 | 2 | 4 | 6 | 8 => Ok(()),
        3 if args.target == Target::MacOs15 => Ok(()),
        3 => bail!("--quantize-nbits 3 needs --target macOS15; 1, 2, 4, 6 and 8 do not"),
        _ => bail!("--quantize-nbits {bits}: palettes have 1, 2, 3 (macOS15), 4, 6 or 8 bits"),
    }
}

/// A link to nothing is none: what it points to will be made.
fn exists(path: &Path) -> bool {
    path.exists()
}

fn n_operations(program: &mil::Program) -> usize {
    let mut n = 0;
    for function in program.functions.values() {
        function.body.for_each_op(&mut |_| n += 1);
    }
    n
}

fn row(item: &Item, package: &Package) -> Table {
    let mut table = Table::new(2, "<>>><");
    let time = Duration::from_secs_f64(package.convert_s + package.write_s);
    let check = Duration::from_secs_f64(package.check_s);
    let check = if check.is_zero() { String::new() } else { format!("and {} to check half precision", seconds(check)) };
    table.row([
        format!("{:<16}", item.label()),
        format!("{:>16}", count(package.n_operations, "operation")),
        format!("{:>8}", bytes(package.bytes)),
        format!("{:>12}", seconds(time)),
        match (package.is_shared, item.sizes.len()) {
            (true, _) => "and the first one's weights".to_owned(),
            (false, 0 | 1) => check,
            (false, _) => {
                format!("for {}{}{check}", package.latent_sizes.join(", "), if check.is_empty() { "" } else { "; " })
            }
        },
    ]);
    table
}

fn tell(plan: &Plan<'_>, report: &Report, packages: Vec<Package>, elapsed: Duration) -> Result<()> {
    let total: u64 = packages.iter().map(|p| p.bytes).sum();
    report.line(format_args!(
        "wrote {} to {}: {} in {}",
        count(packages.len(), "package"),
        plan.args.output.display(),
        bytes(total),
        seconds(elapsed)
    ));
    report.json(&Summary {
        checkpoint: plan.checkpoint.root().display().to_string(),
        output: plan.args.output.display().to_string(),
        model_version: plan.model_version.clone(),
        packages,
        skipped: plan.skipped.iter().map(|c| c.name()).collect(),
        files: plan.bundle.names().map(str::to_owned).collect(),
        bytes: total,
        seconds: elapsed.as_secs_f64(),
    })
}
