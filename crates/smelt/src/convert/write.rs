//! Packages converted and written one after another; while one is written, the next is converted.

use std::path::Path;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use mlpackage::{WeightFile, Written};
use sd_convert::Converted;
use sd_convert::compress::{Writing as How, write_compressed};

use super::items::Item;
use super::plan::ConversionPlan;
use super::precision::{Made, Makers};
use super::workplace::Workplace;
use crate::chunk;
use crate::error::{Context, Result};
use crate::package::{guarded, open_package, write_or_link};
use crate::report::{ConvertedPackage, Part};
use crate::watch::{self, Event, Progress, Unit, Watch, Writing};

/// Converts and writes every component.
pub(super) fn all(plan: &ConversionPlan, watch: &mut dyn Watch) -> Result<Vec<ConvertedPackage>> {
    std::thread::scope(|scope| {
        let (sender, converted) = sync_channel(1);
        scope.spawn(move || {
            let mut makers = Makers::new(plan.conversion.precision);
            for item in &plan.items {
                let begin = Instant::now();
                let result = makers.make(item, &plan.options);
                let is_last = result.is_err();
                if sender.send((result, begin.elapsed())).is_err() || is_last {
                    break;
                }
            }
        });
        let mut packages = Vec::new();
        for item in &plan.items {
            watch::begin(watch, &item.label())?;
            let (result, convert_s) =
                converted.recv().map_err(std::io::Error::other).context("the conversion ended early")?;
            watch::end(watch)?;
            let made = result?;
            made.warn(&plan.opened, &plan.to, &plan.conversion, watch)?;
            packages.push(if plan.conversion.bundle.is_some() {
                // What is made elsewhere first is half written until it is in its place.
                let mut writing = Writing::begin(watch);
                whole(plan, item, &made, convert_s, writing.watch())?
            } else {
                whole(plan, item, &made, convert_s, watch)?
            });
        }
        Ok(packages)
    })
}

/// Writes one converted component in the form that it has in its folder, and removes others.
fn whole(
    plan: &ConversionPlan,
    item: &Item,
    made: &Made,
    convert_s: Duration,
    watch: &mut dyn Watch,
) -> Result<ConvertedPackage> {
    let place = Workplace::of(plan, item)?;
    let mut package = one(plan, item, made, (&place, convert_s), watch)?;
    place.finish(&mut package, watch)?;
    watch::tell(watch, Event::Converted(&package))?;
    package.chunks = chunks(plan, item, &place, watch)?;
    item.others.iter().try_for_each(|path| safe_files::remove_folder(path))?;
    Ok(package)
}

/// Writes one converted component.
fn one(
    plan: &ConversionPlan,
    item: &Item,
    made: &Made,
    (place, convert_s): (&Workplace<'_>, Duration),
    watch: &mut dyn Watch,
) -> Result<ConvertedPackage> {
    let (begin, converted) = (Instant::now(), &made.converted);
    let written = match palettes(plan, converted)? {
        Some(palettes) => compressed(plan, item, converted, (&palettes, &place.whole), watch)?,
        None => {
            let (program, description) = (converted.valid()?, &converted.description);
            let (first, existing) = (item.first.as_deref(), plan.conversion.existing);
            guarded(&item.label(), watch, |progress| {
                write_or_link(&place.whole, first, program, description, existing, progress)
            })?
        }
    };
    let is_shared = written.weight_file == WeightFile::Linked;
    Ok(ConvertedPackage {
        label: item.label(),
        chunks: Vec::new(),
        component: converted.role.name(),
        latent_sizes: item.shapes.sizes().iter().map(ToString::to_string).collect(),
        batches: item.shapes.batches().iter().map(|batch| batch.n()).collect(),
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
fn chunks(plan: &ConversionPlan, item: &Item, place: &Workplace<'_>, watch: &mut dyn Watch) -> Result<Vec<Part>> {
    if item.chunks.is_empty() {
        return Ok(Vec::new());
    }
    let chunks = sd_convert::chunk(open_package(&place.whole)?.model(), item.chunks.len())?;
    let mut parts = chunk::write(&chunks, &place.chunks, &item.first_chunks, plan.conversion.existing, watch)?;
    for (idx, part) in parts.iter_mut().enumerate() {
        place.finish_chunk(idx, part, watch)?;
        watch::tell(watch, Event::Chunked(part))?;
    }
    Ok(parts)
}

/// The plan of compression, for components that Apple's converter compresses.
fn palettes(plan: &ConversionPlan, converted: &Converted) -> Result<Option<mil_compress::Plan>> {
    let Some(bits) = plan.conversion.quantize_nbits else { return Ok(None) };
    let plan = || mil_compress::Plan::new(&converted.program, &mil_compress::Config::palettes(bits));
    Ok(converted.role.spec().compression.in_conversion.then(plan).transpose()?)
}

/// Compresses a component straight into its package.
fn compressed(
    plan: &ConversionPlan,
    item: &Item,
    converted: &Converted,
    (palettes, to): (&mil_compress::Plan, &Path),
    watch: &mut dyn Watch,
) -> Result<Written> {
    let (label, total) = (item.label(), palettes.n_elements());
    let mut writing = Writing::begin(watch);
    let mut progress = |at: sd_convert::compress::Progress| {
        writing.watch().event(Event::Progress(Progress { what: &label, done: at.done, total, unit: Unit::Elements }))
    };
    let first = item.first.as_deref();
    let how = How { existing: plan.conversion.existing, measure: false, first, calibration: None };
    let model = (&converted.program, &converted.description);
    let (written, _) = write_compressed(to, model, palettes, how, &mut progress)?;
    Ok(written)
}

fn n_operations(program: &mil::Program) -> usize {
    let mut n = 0;
    for function in program.functions.values() {
        function.body.for_each_op(&mut |_| n += 1);
    }
    n
}
