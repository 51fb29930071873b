//! One run of a plan.

use super::{
    Cpu,
    plan::Output,
    steady::Kept,
    step::{Action, Step},
    threads::pitch,
    view::View,
};
use crate::{
    EngineError,
    kernel::norm,
    reference::{self, Odometer, Run, States, Tensor},
};
use host_tensor::HostTensor;
use std::{collections::BTreeMap, sync::PoisonError, time::Instant};

/// Runs every step that is due, and notes how long each took where that is wanted.
pub(super) fn run(
    cpu: &Cpu,
    inputs: &BTreeMap<String, HostTensor>,
    states: &mut States,
    seconds: Option<&mut Vec<f64>>,
) -> Result<BTreeMap<String, HostTensor>, EngineError> {
    // A run that panicked has left whole what it kept, or nothing: see `steady`.
    let mut alone = cpu.kept.lock().unwrap_or_else(PoisonError::into_inner);
    let kept = &mut *alone;
    cpu.threads.install(|| run_alone(cpu, inputs, states, kept, seconds))
}

fn run_alone(
    cpu: &Cpu,
    inputs: &BTreeMap<String, HostTensor>,
    states: &mut States,
    kept: &mut Option<Kept>,
    mut seconds: Option<&mut Vec<f64>>,
) -> Result<BTreeMap<String, HostTensor>, EngineError> {
    let arguments = cpu.reference.arguments(inputs)?;
    let constants = cpu.reference.new_constants();
    let mut run = Run::new(&cpu.reference, &constants, states);
    run.begin(arguments);
    let (first, rest) = cpu.planned.steps.split_at(cpu.planned.n_steady);
    steady(cpu, first, inputs, &mut run, kept, &mut seconds)?;
    execute_all(cpu, rest, &mut run, &mut seconds)?;
    let mut outputs = BTreeMap::new();
    for (feature, output) in cpu.reference.outputs().iter().zip(&cpu.planned.outputs) {
        let tensor = match output {
            Output::Floats { start, view } => {
                // SAFETY: the view is of the plan's own memory, which this run has for itself.
                let values = unsafe { read(*start, view) };
                HostTensor::from_f32(view.shape.clone(), values).cast(feature.ty.dtype)
            }
            Output::Tensor(id) => run.get(*id)?.to_host(feature.ty.dtype),
        };
        outputs.insert(feature.name.clone(), tensor);
    }
    Ok(outputs)
}

/// Does the steady steps, unless an earlier run has done them for the same inputs.
fn steady(
    cpu: &Cpu,
    steps: &[Step],
    inputs: &BTreeMap<String, HostTensor>,
    run: &mut Run<'_>,
    kept: &mut Option<Kept>,
    seconds: &mut Option<&mut Vec<f64>>,
) -> Result<(), EngineError> {
    if steps.is_empty() {
        return Ok(());
    }
    let names = &cpu.planned.steady_inputs;
    if let Some(kept) = kept.as_ref().filter(|kept| kept.is_for(names, inputs)) {
        kept.tensors.iter().for_each(|(id, tensor)| run.set(*id, tensor.clone()));
        if let Some(seconds) = seconds {
            seconds.resize(steps.len(), 0.0);
        }
        return Ok(());
    }
    // Until all steps are done, there is nothing that a later run could rely on.
    *kept = None;
    execute_all(cpu, steps, run, seconds)?;
    let tensor = |&id| Ok((id, run.get(id)?));
    let tensors = cpu.planned.kept_tensors.iter().map(tensor).collect::<Result<_, EngineError>>()?;
    *kept = Some(Kept::new(names, inputs, tensors));
    Ok(())
}

fn execute_all(
    cpu: &Cpu,
    steps: &[Step],
    run: &mut Run<'_>,
    seconds: &mut Option<&mut Vec<f64>>,
) -> Result<(), EngineError> {
    for step in steps {
        let start = Instant::now();
        execute(cpu, step, run)?;
        if let Some(seconds) = seconds {
            seconds.push(start.elapsed().as_secs_f64());
        }
    }
    Ok(())
}

/// The elements of a view in row-major order.
///
/// # Safety
/// `start` points to the first element of memory that holds the view.
unsafe fn read(start: *const f32, view: &View) -> Vec<f32> {
    let n = view.len();
    if view.is_row_major() {
        // SAFETY: the caller's contract; the elements follow each other.
        return unsafe { std::slice::from_raw_parts(start, n) }.to_vec();
    }
    let strides: Vec<isize> = view.strides.iter().map(|&s| s as isize).collect();
    let mut at = Odometer::new(&view.shape, [&strides], 0);
    let element = |_| {
        // SAFETY: the caller's contract; the offset is that of an element.
        let value = unsafe { *start.offset(at.offsets()[0]) };
        at.advance();
        value
    };
    (0..n).map(element).collect()
}

fn execute(cpu: &Cpu, step: &Step, run: &mut Run<'_>) -> Result<(), EngineError> {
    let (k, precision) = (cpu.kernels, cpu.precision);
    let gemm = precision.kernel(k);
    let scratch = cpu.scratch.start();
    let gap = pitch(cpu.planned.scratch);
    let each = |items: usize, f: &(dyn Fn(usize, *mut f32) + Sync)| cpu.threads.each(items, scratch, gap, f);
    // SAFETY of every call of a kernel: its instruction set exists, for `kernels` gives no others; the planner made
    // the operands as the kernel asks, in memory that this run has for itself; each item is handed out once; and the
    // scratch is as large as the largest that a step asked for.
    match &step.action {
        // SAFETY: see above.
        Action::Gemm(g) => each(precision.items(g), &|i, s| unsafe { gemm(g, i, s) }),
        Action::Winograd(parts) => {
            for w in parts {
                // SAFETY: see above.
                each(w.input_items(), &|i, _| unsafe { (k.winograd_input)(w, i) });
                // SAFETY: see above.
                each(w.items(), &|i, s| unsafe { (k.winograd)(w, i, s) });
            }
        }
        Action::Patches(parts) => {
            for (patches, g) in parts {
                // SAFETY: see above.
                each(patches.items(), &|i, _| unsafe { patches.item(i) });
                // SAFETY: see above.
                each(precision.items(g), &|i, s| unsafe { gemm(g, i, s) });
            }
        }
        // SAFETY: see above.
        Action::Attention(a) => each(a.items(), &|i, s| unsafe { (k.attention)(a, i, s) }),
        Action::GroupNorm(g) => {
            // SAFETY: see above.
            each(g.items(), &|i, s| unsafe { (k.group_stats)(g, i, s) });
            for picture in 0..g.size[0] {
                // SAFETY: see above; all statistics are there.
                unsafe { norm::group_affine(g, picture) };
            }
            // SAFETY: see above.
            each(g.items(), &|i, _| unsafe { (k.group_apply)(g, i) });
        }
        Action::LayerNorm(l) => {
            let items = l.size[0].div_ceil(norm::LAYER_ROWS);
            // SAFETY: see above.
            each(items, &|i, _| unsafe { (k.layer_norm)(l, i) });
        }
        // SAFETY: see above.
        Action::Map(m) => each(m.items(), &|i, _| unsafe { (k.map)(m, i) }),
        Action::Rows { w, indices, op, out } => {
            let tensor = run.get(*indices)?;
            let fault = |run: &Run<'_>, fault| run.fault_of(*op, fault);
            let indices = tensor.ints().map_err(|f| fault(run, f))?;
            for (i, &index) in indices.iter().enumerate() {
                let row = reference::index(index, w.rows).map_err(|f| fault(run, f))?;
                // SAFETY: see above; the result has a row for each index.
                unsafe { (k.decode)(w, row, 0, w.cols, out.add(i * w.cols)) };
            }
        }
        Action::Import { id, to, len } => {
            let tensor = run.get(*id)?;
            let values = tensor.floats().map_err(|_| EngineError::Undefined { name: step.name.clone() })?;
            if values.len() != *len {
                return Err(EngineError::Undefined { name: step.name.clone() });
            }
            // SAFETY: the planner made room for as many floats.
            unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), *to, *len) };
        }
        Action::Export { id, from, view } => {
            // SAFETY: the view is of the plan's own memory.
            let values = unsafe { read(*from, view) };
            run.set(*id, Tensor::new(view.shape.clone(), values));
        }
        Action::Reference { op } => run.execute(*op)?,
    }
    if !matches!(step.action, Action::Reference { .. }) {
        step.frees.iter().for_each(|&id| run.forget(id));
    }
    Ok(())
}
