//! Puts compressed weights in the place of plain ones.

use crate::{CompressError, lower::Lowered, select::Weight};
use host_tensor::HostTensor;
use mil::{Emitter, Function, Program, ValueId};
use std::collections::{HashMap, HashSet, hash_map::Entry};

/// A weight and the operations that stand for it from now on.
pub(crate) struct Replacement<'p> {
    pub(crate) weight: &'p Weight,
    pub(crate) lowered: Lowered,
    pub(crate) tensors: Vec<HostTensor>,
}

/// Replaces weights in all functions; the new operations stand before the first reader.
pub(crate) fn rewrite(program: &mut Program, replacements: &[Replacement<'_>]) -> Result<(), CompressError> {
    for (name, function) in &mut program.functions {
        let here = |r: &Replacement<'_>| {
            r.weight.places.iter().filter(|(f, _)| f == name).map(|(_, v)| *v).collect::<Vec<_>>()
        };
        let mut by_value = HashMap::new();
        for (i, r) in replacements.iter().enumerate() {
            by_value.extend(here(r).into_iter().map(|v| (v, i)));
        }
        if !by_value.is_empty() {
            rewrite_function(function, replacements, &by_value)?;
            drop_unread(function);
        }
    }
    Ok(())
}

fn rewrite_function(
    function: &mut Function,
    replacements: &[Replacement<'_>],
    by_value: &HashMap<ValueId, usize>,
) -> Result<(), CompressError> {
    // Decoded weights that are decoded otherwise from now on leave their names to the new ones.
    for (&value, &i) in by_value {
        if function.literal(value).is_none() {
            let free = function.fresh_name(&format!("{}_before", replacements[i].weight.name));
            function.rename(value, &free);
        }
    }
    let ops = std::mem::take(&mut function.body.ops);
    let mut e = Emitter::new(function);
    // One chain per weight, also where several values of the function view it.
    let mut results: HashMap<usize, ValueId> = HashMap::new();
    for mut op in ops {
        if op.is_constexpr() {
            e.keep(op);
            continue;
        }
        let mut read = Vec::new();
        op.for_each_use(&mut |v| read.extend(by_value.get(&v)));
        for i in read {
            if let Entry::Vacant(entry) = results.entry(i) {
                let Replacement { weight, lowered, tensors } = &replacements[i];
                let rewrite = |source| CompressError::Rewrite { weight: weight.name.clone(), source };
                entry.insert(lowered.clone().emit(&mut e, &weight.name, tensors).map_err(rewrite)?);
            }
        }
        op.for_each_use_mut(&mut |v| {
            if let Some(new) = by_value.get(v).and_then(|i| results.get(i)) {
                *v = *new;
            }
        });
        e.keep(op);
    }
    let (function, ops) = e.into_parts();
    function.body.ops = ops;
    Ok(())
}

/// Removes decoding operations that nothing reads any more.
fn drop_unread(function: &mut Function) {
    let mut read: HashSet<ValueId> = function.body.outputs.iter().copied().collect();
    let mut ops = std::mem::take(&mut function.body.ops);
    ops.reverse();
    ops.retain(|op| {
        let stays = !op.is_constexpr() || op.outputs.iter().any(|v| read.contains(v));
        if stays {
            op.for_each_use(&mut |v| read.extend([v]));
        }
        stays
    });
    ops.reverse();
    function.body.ops = ops;
}
