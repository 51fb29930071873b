//! The end of planning: places for all buffers, and steps with addresses.

use super::{Draft, OUTPUTS, Output, Planned, Planner, places::Places};
use crate::{
    EngineError,
    cpu::{
        memory::{self, Arena},
        step::{Action, Step},
        view::View,
    },
};
use mil::ValueId;
use std::collections::{BTreeMap, BTreeSet};

impl Planner<'_, '_> {
    /// Gives everything its place; so many steps are steady, after which the reference engine has these tensors.
    pub(super) fn finish(
        mut self,
        n_steady: usize,
        steady_tensors: &BTreeSet<ValueId>,
    ) -> Result<Planned, EngineError> {
        let outputs_in = self.outputs();
        let mut frees = self.frees(&outputs_in);
        let kept_tensors = self.kept_tensors(n_steady, steady_tensors, &outputs_in);
        let kept_floats = memory::keep(&mut self.buffers, n_steady);
        let arena_floats = memory::place(&mut self.buffers);
        if let Some([one, other]) = memory::overlapping(&self.buffers) {
            return Err(self.fault(format!("buffers {one} and {other} share memory while both hold something")));
        }
        let new = |floats: usize| Arena::new(floats).map_err(|_| EngineError::OutOfMemory { bytes: floats * 4 });
        let (arena, kept) = (new(arena_floats)?, new(kept_floats)?);
        // Buffers do not move from here on: their constants are on the heap, and the vector is kept.
        let places =
            Places { arena: (&arena, arena_floats), kept: (&kept, kept_floats), buffers: &self.buffers, step: (0, "") };
        let drafts = std::mem::take(&mut self.drafts);
        let n_steps = drafts.len();
        let mut steps = Vec::with_capacity(n_steps);
        for (i, draft) in drafts.into_iter().enumerate() {
            steps.push(self.step(draft, i, &places, frees.remove(&i).unwrap_or_default())?);
        }
        tell_what_follows(&mut steps);
        let places = Places { step: (n_steps, OUTPUTS), ..places };
        let mut outputs = Vec::with_capacity(outputs_in.len());
        for (id, view) in outputs_in {
            outputs.push(match view {
                Some(view) => Output::Floats { start: places.of(&view)?.cast_const(), view },
                None => Output::Tensor(id),
            });
        }
        let weight_bytes = self.matrices.values().map(|m| m.stored_bytes()).sum();
        let tensor_bytes = |id: &ValueId| self.body.shape(*id).map_or(0, |s| s.iter().product::<usize>() * 8);
        Ok(Planned {
            steps,
            steady_inputs: self.steady.inputs,
            n_steady,
            kept_bytes: kept_floats * 4 + kept_tensors.iter().map(tensor_bytes).sum::<usize>(),
            kept_tensors,
            outputs,
            scratch: self.scratch,
            memory: ([arena, kept], self.buffers),
            arena_floats,
            weight_bytes,
        })
    }

    /// Outputs, and where those lie that are floats; all are there when the last step is done.
    fn outputs(&mut self) -> Vec<(ValueId, Option<View>)> {
        let outputs = self.body.function.body.outputs.clone();
        for &id in &outputs {
            if !self.views.contains_key(&id) && !self.constants.contains_key(&id) {
                self.tensor(id);
            }
        }
        let last = self.drafts.len();
        let mut found = Vec::with_capacity(outputs.len());
        for id in outputs {
            let view = self.views.get(&id).or_else(|| self.constants.get(&id)).cloned();
            let view = if self.tensors.contains(&id) { None } else { view };
            if let Some(view) = &view {
                self.buffers[view.buffer].used_at(last);
            }
            found.push((id, view));
        }
        found
    }

    /// A step with addresses.
    fn step(&self, draft: Draft, index: usize, places: &Places<'_>, frees: Vec<ValueId>) -> Result<Step, EngineError> {
        let node = self.nodes.get(draft.node);
        let name = node.map_or_else(|| OUTPUTS.into(), |n| self.body.name(n.op));
        let places = Places { step: (index, &name), ..*places };
        let action = (draft.make)(&places)?;
        Ok(Step {
            name,
            kernel: draft.kernel,
            detail: draft.detail,
            flops: draft.flops,
            stands_for: node.map_or(1, |n| n.ops.len()),
            action,
            frees,
        })
    }

    /// Tensors of the reference engine that the first steps make and later ones or the caller read.
    fn kept_tensors(
        &self,
        n_steady: usize,
        made: &BTreeSet<ValueId>,
        outputs: &[(ValueId, Option<View>)],
    ) -> Vec<ValueId> {
        let returned = outputs.iter().filter(|(_, view)| view.is_none()).map(|(id, _)| *id);
        let read = self.drafts[n_steady..].iter().flat_map(|d| d.reads.iter().copied());
        let inputs = &self.body.function.inputs;
        let kept: BTreeSet<ValueId> =
            read.chain(returned).filter(|id| made.contains(id) && !inputs.contains(id)).collect();
        kept.into_iter().collect()
    }

    /// Tensors of the reference engine that each step is the last to read.
    fn frees(&self, outputs: &[(ValueId, Option<View>)]) -> BTreeMap<usize, Vec<ValueId>> {
        let mut last: BTreeMap<ValueId, usize> = BTreeMap::new();
        for (i, draft) in self.drafts.iter().enumerate() {
            last.extend(draft.reads.iter().map(|&id| (id, i)));
        }
        let mut frees: BTreeMap<usize, Vec<ValueId>> = BTreeMap::new();
        for (id, step) in last {
            if outputs.iter().all(|(out, _)| *out != id) {
                frees.entry(step).or_default().push(id);
            }
        }
        frees
    }
}

/// Each product learns whose weights are read next.
fn tell_what_follows(steps: &mut [Step]) {
    let mut after = None;
    for step in steps.iter_mut().rev() {
        if let Action::Gemm(gemm) = &mut step.action {
            gemm.after = after.replace(gemm.w.clone());
        }
    }
}
