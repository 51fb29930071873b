//! Steps, executed: kernels on their items, and tensors between the arena and the reference engine.
//!
//! Whether the run is to stop is asked before every item. What a step has then left undone nobody reads: the caller
//! asks again behind each step, and a request is never taken back.

use super::{
    memory::Arena,
    plan::Planned,
    precision::Precision,
    step::{Action, Patches, Step},
    threads::{Threads, pitch},
    view::View,
};
use crate::{
    EngineError,
    kernel::{
        Kernels,
        gemm::Gemm,
        norm::{self, GroupNorm, LayerNorm},
        weights::Matrix,
        winograd::Winograd,
    },
    reference::{self, Odometer, Run, Tensor},
};
use host_tensor::Stop;
use mil::ValueId;

/// What executes steps: the kernels of one instruction set, threads with their scratch, and when to stop.
///
/// SAFETY of every call of a kernel here: its instruction set exists, for `kernels` gives no others; the planner made
/// the operands as the kernel asks, in memory that this run has for itself; each item is handed out once; and the
/// scratch is as large as the largest that a step asked for.
pub(super) struct Executor<'a> {
    kernels: &'static Kernels,
    precision: Precision,
    threads: &'a Threads,
    scratch: &'a Arena,
    /// Floats from one thread's scratch to the next.
    gap: usize,
    stop: &'a Stop,
}

impl<'a> Executor<'a> {
    /// What executes the steps of a plan that was made for so many threads.
    pub(super) fn new(
        (kernels, precision): (&'static Kernels, Precision),
        (threads, scratch): (&'a Threads, &'a Arena),
        planned: &Planned,
        stop: &'a Stop,
    ) -> Self {
        Self { kernels, precision, threads, scratch, gap: pitch(planned.scratch), stop }
    }

    /// Executes one step; where the run is to stop, perhaps in part.
    pub(super) fn execute(&self, step: &Step, run: &mut Run<'_>) -> Result<(), EngineError> {
        let k = self.kernels;
        match &step.action {
            Action::Gemm(g) => self.product(g),
            Action::Winograd(parts) => self.winograd(parts),
            Action::Patches(parts) => self.patches(parts),
            // SAFETY: see `Executor`.
            Action::Attention(a) => self.each(a.items(), &|i, s| unsafe { (k.attention)(a, i, s) }),
            Action::GroupNorm(g) => self.group_norm(g),
            Action::LayerNorm(l) => self.layer_norm(l),
            // SAFETY: see `Executor`.
            Action::Map(m) => self.each(m.items(), &|i, _| unsafe { (k.map)(m, i) }),
            Action::Rows { w, indices, op, out } => self.rows(w, (*indices, *op), *out, run)?,
            Action::Import { id, to, len } => import(&step.name, *id, (*to, *len), run)?,
            Action::Export { id, from, view } => {
                // SAFETY: the view is of the plan's own memory.
                let values = unsafe { read(*from, view) };
                run.set(*id, Tensor::new(view.shape.clone(), values));
            }
            // It frees what dies itself.
            Action::Reference { op } => return run.execute(*op),
        }
        step.frees.iter().for_each(|&id| run.forget(id));
        Ok(())
    }

    /// Calls `f` for every item, with the calling thread's scratch.
    fn each(&self, items: usize, f: &(dyn Fn(usize, *mut f32) + Sync)) {
        self.threads.each(items, (self.scratch.start(), self.gap), self.stop, f);
    }

    fn product(&self, g: &Gemm) {
        let kernel = self.precision.kernel(self.kernels);
        // SAFETY: see `Executor`.
        self.each(self.precision.items(g), &|i, s| unsafe { kernel(g, i, s) });
    }

    fn winograd(&self, parts: &[Winograd]) {
        let k = self.kernels;
        for w in parts {
            // SAFETY: see `Executor`.
            self.each(w.input_items(), &|i, _| unsafe { (k.winograd_input)(w, i) });
            // SAFETY: see `Executor`.
            self.each(w.items(), &|i, s| unsafe { (k.winograd)(w, i, s) });
        }
    }

    fn patches(&self, parts: &[(Patches, Gemm)]) {
        for (patches, g) in parts {
            // SAFETY: see `Executor`.
            self.each(patches.items(), &|i, _| unsafe { patches.item(i) });
            self.product(g);
        }
    }

    fn group_norm(&self, g: &GroupNorm) {
        let k = self.kernels;
        // SAFETY: see `Executor`.
        self.each(g.items(), &|i, s| unsafe { (k.group_stats)(g, i, s) });
        for picture in 0..g.size[0] {
            // SAFETY: see `Executor`; all statistics are there, or nobody reads what is made of them.
            unsafe { norm::group_affine(g, picture) };
        }
        // SAFETY: see `Executor`.
        self.each(g.items(), &|i, _| unsafe { (k.group_apply)(g, i) });
    }

    fn layer_norm(&self, l: &LayerNorm) {
        let k = self.kernels;
        // SAFETY: see `Executor`.
        self.each(l.size[0].div_ceil(norm::LAYER_ROWS), &|i, _| unsafe { (k.layer_norm)(l, i) });
    }

    /// Rows of a table; `op` is the operation, for messages.
    fn rows(
        &self,
        w: &Matrix,
        (indices, op): (ValueId, usize),
        out: *mut f32,
        run: &Run<'_>,
    ) -> Result<(), EngineError> {
        let tensor = run.get(indices)?;
        let fault = |fault| run.fault_of(op, fault);
        for (i, &index) in tensor.ints().map_err(fault)?.iter().enumerate() {
            if self.stop.is_set() {
                break;
            }
            let row = reference::index(index, w.rows).map_err(fault)?;
            // SAFETY: see `Executor`; the result has a row for each index.
            unsafe { (self.kernels.decode)(w, row, 0, w.cols, out.add(i * w.cols)) };
        }
        Ok(())
    }
}

/// A tensor of the reference engine becomes floats in the arena.
fn import(name: &str, id: ValueId, (to, len): (*mut f32, usize), run: &Run<'_>) -> Result<(), EngineError> {
    let tensor = run.get(id)?;
    let values = tensor.floats().ok().filter(|values| values.len() == len);
    let values = values.ok_or_else(|| EngineError::Undefined { name: name.to_owned() })?;
    // SAFETY: the planner made room for as many floats.
    unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), to, len) };
    Ok(())
}

/// The elements of a view in row-major order.
///
/// # Safety
/// `start` points to the first element of memory that holds the view.
pub(super) unsafe fn read(start: *const f32, view: &View) -> Vec<f32> {
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
