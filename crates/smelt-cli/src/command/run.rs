//! `smelt run`: one package on tensors from a file.

mod shapes;

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use host_tensor::HostTensor;
use mil::TensorType;
use mlpackage::Interface;
use safe_files::{OutputFile, Outputs};
use sd_engines::MilEngine;
use sd_runtime::{Engine, Tensors};
use serde::Serialize;

use super::open_package;
use crate::cli::RunArgs;
use crate::file;
use crate::report::{Report, Table, seconds};
use crate::screen::Screen;
use smelt::tensor_file;

/// What `--json` prints.
#[derive(Serialize)]
struct Summary {
    package: String,
    prepare_s: f64,
    run_s: f64,
    outputs: Vec<Output>,
}

#[derive(Serialize)]
struct Output {
    name: String,
    dtype: &'static str,
    shape: Vec<usize>,
    min: f32,
    max: f32,
    mean: f64,
}

pub(super) fn run(args: &RunArgs, report: &Report) -> Result<ExitCode> {
    let mut outputs = Outputs::new();
    outputs.reads("the package", &args.package)?;
    outputs.reads("--inputs", &args.inputs)?;
    let target = file::binary(&mut outputs, "--outputs", None, &args.outputs)?;
    report.make_way(&outputs)?;
    let options = args.engine.executor(args.rounding.into())?;
    let begin = Instant::now();
    let package = open_package(&args.package)?;
    let engine = match &args.function {
        Some(function) => MilEngine::from_function(package.model(), function, options),
        None => MilEngine::from_model(package.model(), options),
    };
    let engine = engine.with_context(|| format!("cannot run {}", args.package.display()))?;
    let description = &package.model().description;
    let interface = match &args.function {
        Some(function) => description.function(function),
        None => description.main(),
    };
    let inputs = fit_inputs(&engine, interface, tensor_file::read(&args.inputs)?)
        .with_context(|| format!("{} does not fit {}", args.inputs.display(), args.package.display()))?;
    let prepared = begin.elapsed();
    let begin = Instant::now();
    let spinner = report.spinner("running");
    let cannot = || format!("cannot run {}", args.package.display());
    let (outputs, not_finite) = engine.run_watched(&inputs).with_context(cannot)?;
    spinner.finish_and_clear();
    if let Some(first) = not_finite {
        report.warn(format_args!("results are not finite, first those of one operation: {first}"));
    }
    let elapsed = begin.elapsed();
    tensor_file::write(&target, &outputs, &mut Screen::new(report))?;
    tell(args, report, &target, &outputs, prepared, elapsed)?;
    Ok(ExitCode::SUCCESS)
}

/// Names tensors as the model does and checks them; every fault is in the error.
fn fit_inputs(
    engine: &MilEngine,
    interface: Option<&Interface>,
    file: BTreeMap<String, HostTensor>,
) -> Result<Tensors> {
    let (mut inputs, mut faults) = (Tensors::new(), Vec::new());
    let mut given = BTreeSet::new();
    for (name, tensor) in file {
        let known = |name: &str| engine.signature().input(name).is_some();
        let feature = name.strip_prefix("in.").filter(|_| !known(&name)).unwrap_or(&name);
        let Some(ty) = engine.input_type(feature).filter(|_| known(feature)) else {
            // Files of expected results hold inputs and outputs side by side.
            if !name.starts_with("out.") {
                faults.push(format!("there is no input {feature}"));
            }
            continue;
        };
        if !given.insert(feature.to_owned()) {
            faults.push(format!("{feature} is given twice, with and without \"in.\""));
        }
        match fit(&tensor, ty) {
            Some(fitting) => {
                faults.extend(shapes::fault(interface, feature, fitting.shape()));
                inputs.insert(feature.to_owned(), fitting);
            }
            None => faults.push(format!("{feature} has shape {:?}, the model takes {ty}", tensor.shape())),
        }
    }
    let missing = engine.signature().inputs.iter().filter(|f| !given.contains(&f.name));
    faults.extend(missing.map(|f| format!("{} is missing", f.name)));
    if faults.is_empty() {
        return Ok(inputs);
    }
    let takes: Vec<String> =
        engine.signature().inputs.iter().map(|f| format!("{} {} {}", f.name, f.dtype, f.shape)).collect();
    bail!("{}\nthe model takes {}", faults.join("\n"), takes.join(", "))
}

/// The tensor in the model's type, if its shape agrees; a scalar may be given as one element.
fn fit(tensor: &HostTensor, ty: &TensorType) -> Option<HostTensor> {
    if ty.rank() == 0 && tensor.len() == 1 {
        return tensor.reshape([]).ok().map(|t| t.cast(ty.dtype));
    }
    let agrees = tensor.shape().len() == ty.rank()
        && ty.shape.iter().zip(tensor.shape()).all(|(dim, &n)| dim.size().is_none_or(|size| size == n));
    agrees.then(|| tensor.cast(ty.dtype))
}

fn tell(
    args: &RunArgs,
    report: &Report,
    target: &OutputFile,
    outputs: &Tensors,
    prepared: Duration,
    elapsed: Duration,
) -> Result<()> {
    let outputs: Vec<Output> = outputs.iter().map(|(name, tensor)| describe(name, tensor)).collect();
    let mut table = Table::new(2, "<<<>>>");
    table.row(["output", "type", "shape", "min", "mean", "max"].map(String::from));
    for o in &outputs {
        let [min, mean, max] = [f64::from(o.min), o.mean, f64::from(o.max)].map(|x| format!("{x:.4}"));
        table.row([o.name.clone(), o.dtype.to_owned(), format!("{:?}", o.shape), min, mean, max]);
    }
    report.text(table);
    report.line(format_args!("wrote {target} after {} ({} to prepare)", seconds(elapsed), seconds(prepared)));
    let package = args.package.display().to_string();
    report.json(&Summary { package, prepare_s: prepared.as_secs_f64(), run_s: elapsed.as_secs_f64(), outputs })
}

fn describe(name: &str, tensor: &HostTensor) -> Output {
    let values = tensor.to_f32_vec();
    let sum: f64 = values.iter().map(|&x| f64::from(x)).sum();
    Output {
        name: name.to_owned(),
        dtype: tensor.dtype().name(),
        shape: tensor.shape().to_vec(),
        min: values.iter().copied().reduce(f32::min).unwrap_or(0.0),
        max: values.iter().copied().reduce(f32::max).unwrap_or(0.0),
        mean: if values.is_empty() { 0.0 } else { sum / values.len() as f64 },
    }
}
