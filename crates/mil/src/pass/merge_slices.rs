//! Slices that together cover an axis are one `split`.
//!
//! ```text
//! %a = slice_by_index(x=%x, begin=[0, 0], end=[1, 4])
//! %b = slice_by_index(x=%x, begin=[0, 4], end=[1, 8])   ==>   (%a, %b) = split(x=%x, split_sizes=[4, 4], axis=1)
//! ```

use super::error::PassError;
use super::rewrite::rewrite;
use crate::{
    ir::{Function, Op, ValueId},
    ops::View,
};
use std::collections::{BTreeMap, HashMap};

/// Merges slices of one value that tile one axis in order, without gap or overlap.
///
/// # Errors
/// When the split is refused, which validated programs do not cause.
pub fn merge_slices(function: &mut Function) -> Result<usize, PassError> {
    let groups = tilings(function);
    let mut made: HashMap<(ValueId, usize), Vec<ValueId>> = HashMap::new();
    let member: HashMap<ValueId, ((ValueId, usize), usize)> = groups
        .iter()
        .flat_map(|(&key, slices)| slices.iter().enumerate().map(move |(i, s)| (s.output, (key, i))))
        .collect();
    rewrite("merge_slices", function, |rw, op| {
        let Some(&(key, index)) = op.outputs.first().and_then(|v| member.get(v)) else { return Ok(false) };
        let parts = match made.get(&key) {
            Some(parts) => parts.clone(),
            None => {
                let sizes: Vec<i32> = groups[&key].iter().map(|s| (s.end - s.begin) as i32).collect();
                let Some(x) = op.input("x") else { return Ok(false) };
                let args = vec![("x", x.into()), ("split_sizes", sizes.into()), ("axis", (key.1 as i32).into())];
                let parts = rw.op_multi("split", args)?;
                made.insert(key, parts.clone());
                parts
            }
        };
        rw.replace(op.output(), parts[index])?;
        Ok(true)
    })
}

struct Slice {
    output: ValueId,
    begin: usize,
    end: usize,
}

/// Slices by source and axis, sorted by place, of the groups that tile their axis.
fn tilings(f: &Function) -> BTreeMap<(ValueId, usize), Vec<Slice>> {
    let mut groups: BTreeMap<(ValueId, usize), Vec<Slice>> = BTreeMap::new();
    for op in &f.body.ops {
        if let Some((x, axis, slice)) = one_axis_slice(f, op) {
            groups.entry((x, axis)).or_default().push(slice);
        }
    }
    groups.retain(|&(x, axis), slices| {
        slices.sort_by_key(|s| s.begin);
        let size = f.ty(x).as_tensor().and_then(|t| t.shape[axis].size());
        let joined = slices.windows(2).all(|w| w[0].end == w[1].begin);
        slices.len() > 1 && joined && slices[0].begin == 0 && slices.last().map(|s| s.end) == size
    });
    groups
}

/// Source, axis and range of a slice that is shorter than its source along exactly one axis.
fn one_axis_slice(f: &Function, op: &Op) -> Option<(ValueId, usize, Slice)> {
    if op.kind != "slice_by_index" {
        return None;
    }
    let (view, x) = (View::of(f, op), op.input("x")?);
    let rank = f.ty(x).as_tensor()?.rank();
    for mask in ["begin_mask", "end_mask", "squeeze_mask"] {
        if view.known_flags(mask, rank).ok()?.contains(&true) {
            return None;
        }
    }
    if view.known_ints_of_len("stride", rank).ok()?.iter().any(|&s| s != 1) {
        return None;
    }
    let (source, out) = (f.ty(x).as_tensor()?.static_shape()?, f.ty(op.output()).as_tensor()?.static_shape()?);
    let mut axes = (0..source.len()).filter(|&i| source.get(i) != out.get(i));
    let axis = axes.next()?;
    if axes.next().is_some() || source.len() != out.len() {
        return None;
    }
    let begin = usize::try_from(*view.ints("begin")?.get(axis)?).ok()?;
    Some((x, axis, Slice { output: op.output(), begin, end: begin + out[axis] }))
}
