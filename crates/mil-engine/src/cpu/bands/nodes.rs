//! A function's body as what can be computed row by row, and what cannot.
//!
//! Rows are those of pictures, `[1, C, H, W]` with more than one of them. A group normalisation is row by row once its
//! statistics are known; everything that mixes rows, attention above all, is whole.

use crate::cpu::{body::Body, graph::GroupNorm, recognize};
use mil::{Op, ValueId};
use std::ops::Range;

/// Operations that are done together.
#[derive(Debug)]
pub(super) struct Node {
    /// The operations, in their order.
    pub(super) ops: Vec<usize>,
    /// What they read of what is computed or given, each once.
    pub(super) reads: Vec<ValueId>,
    /// What others read of their results.
    pub(super) makes: Vec<ValueId>,
    /// How rows of the result follow from rows of the operands.
    pub(super) rule: Rule,
}

/// How rows of results follow from rows of operands.
#[derive(Debug)]
pub(super) enum Rule {
    /// A row from the same row of each picture.
    Pixelwise,
    /// A row from a window of rows.
    Window(Rows),
    /// Rows repeated.
    Repeat(usize),
    /// So many rows of a constant above.
    Shift(usize),
    /// A row from the same row, once the statistics are known.
    Norm(GroupNorm),
    /// All from all.
    Whole,
}

/// A convolution's window, of rows, and its padding on all sides.
#[derive(Debug)]
pub(super) struct Rows {
    /// Rows from the first to the last that the window covers, both counted.
    reach: usize,
    /// Rows from one window to the next.
    stride: usize,
    /// Rows of zeros above; columns left and right.
    pub(super) above: usize,
    /// See `above`.
    pub(super) columns: [usize; 2],
}

impl Rule {
    /// The rows of the results that are made when these are wanted.
    pub(super) fn makes(&self, wanted: &Range<usize>) -> Range<usize> {
        match *self {
            Self::Repeat(n) => wanted.start / n * n..wanted.end.next_multiple_of(n),
            _ => wanted.clone(),
        }
    }

    /// The rows of an operand of so many that these rows of the result need, and how many that are not there it wants
    /// above and below.
    pub(super) fn reads(&self, made: &Range<usize>, height: usize) -> (Range<usize>, [usize; 2]) {
        let signed = |n: usize| n as isize;
        let (first, last) = match self {
            Self::Window(rows) => {
                let first = signed(made.start * rows.stride) - signed(rows.above);
                (first, first + signed((made.len() - 1) * rows.stride + rows.reach))
            }
            Self::Repeat(n) => (signed(made.start / n), signed(made.end.div_ceil(*n))),
            Self::Shift(above) => (signed(made.start) - signed(*above), signed(made.end) - signed(*above)),
            Self::Pixelwise | Self::Norm(_) | Self::Whole => (signed(made.start), signed(made.end)),
        };
        // A row that lies wholly outside still reads one: an operand of no rows is none.
        let start = first.clamp(0, signed(height) - 1);
        let end = last.clamp(start + 1, signed(height));
        let missing = [start - first, last - end].map(|n| usize::try_from(n).unwrap_or(0));
        (start as usize..end as usize, missing)
    }
}

/// The height of a picture: `None` for whatever has no rows.
pub(super) fn height(body: &Body<'_>, id: ValueId) -> Option<usize> {
    match body.floats(id)?[..] {
        [1, _, height, _] if height > 1 => Some(height),
        _ => None,
    }
}

/// The nodes of a function, in an order in which they can be done; whole ones that follow each other are one. `None` when
/// there are operations within operations.
pub(super) fn nodes(body: &Body<'_>) -> Option<Vec<Node>> {
    if body.ops.iter().any(|op| !op.blocks.is_empty() || op.outputs.is_empty()) {
        return None;
    }
    let mut norms: Vec<(Vec<usize>, GroupNorm)> =
        (0..body.ops.len()).filter_map(|op| recognize::group_norm(body, op)).collect();
    norms.retain(|(_, norm)| height(body, norm.x).is_some() && height(body, norm.x) == height(body, norm.out));
    let mut taken = vec![false; body.ops.len()];
    norms.iter().flat_map(|(ops, _)| ops).for_each(|&op| taken[op] = true);
    let mut found: Vec<(Vec<usize>, Rule)> = norms.into_iter().map(|(ops, norm)| (ops, Rule::Norm(norm))).collect();
    let rest = (0..body.ops.len()).filter(|&op| !taken[op] && !body.ops[op].is_constexpr());
    found.extend(rest.map(|op| (vec![op], rule(body, &body.ops[op]).unwrap_or(Rule::Whole))));
    found.sort_by_key(|(ops, _)| ops.iter().max().copied());
    Some(joined(body, found))
}

/// Whole nodes that follow each other become one; every node learns what it reads and makes.
fn joined(body: &Body<'_>, found: Vec<(Vec<usize>, Rule)>) -> Vec<Node> {
    let mut groups: Vec<(Vec<usize>, Rule)> = Vec::new();
    for (ops, rule) in found {
        match groups.last_mut() {
            Some((earlier, Rule::Whole)) if matches!(rule, Rule::Whole) => earlier.extend(ops),
            _ => groups.push((ops, rule)),
        }
    }
    groups.into_iter().map(|(ops, rule)| node(body, ops, rule)).collect()
}

fn node(body: &Body<'_>, mut ops: Vec<usize>, rule: Rule) -> Node {
    ops.sort_unstable();
    let within = |op: Option<usize>| op.is_some_and(|op| ops.binary_search(&op).is_ok());
    let mut reads: Vec<ValueId> = ops.iter().flat_map(|&op| body.ops[op].operands()).collect();
    reads.retain(|&id| is_dynamic(body, id) && !within(body.def(id)));
    reads.sort_unstable();
    reads.dedup();
    let is_read = |id: &ValueId| {
        body.function.body.outputs.contains(id) || body.inner_uses(*id).iter().any(|&op| !within(Some(op)))
    };
    let makes = ops.iter().flat_map(|&op| body.ops[op].outputs.iter().copied()).filter(is_read).collect();
    Node { ops, reads, makes, rule }
}

/// Whether a value is neither a constant nor decoded from constants.
pub(super) fn is_dynamic(body: &Body<'_>, id: ValueId) -> bool {
    body.literal(id).is_none() && body.def(id).is_none_or(|op| !body.ops[op].is_constexpr())
}

/// How an operation's rows follow from its operands' rows, where they do.
fn rule(body: &Body<'_>, op: &Op) -> Option<Rule> {
    let to = height(body, op.output())?;
    let x = || op.input("x").and_then(|id| height(body, id));
    match &*op.kind {
        "conv" => Some(Rule::Window(window(body, op)?)),
        "upsample_nearest_neighbor" => {
            let factor = body.view(op).known_number("scale_factor_height").ok()?;
            let from = x()?;
            (to.is_multiple_of(from) && factor == (to / from) as f64).then_some(Rule::Repeat(to / from))
        }
        "pad" => shift(body, op),
        "concat" | "split" => {
            let axis = body.axis(op, "axis", 4)?;
            let interleaved = op.input("interleave").is_some() && body.view(op).known_bool("interleave").ok()?;
            (axis == 1 && !interleaved && is_pixelwise(body, op, to)).then_some(Rule::Pixelwise)
        }
        "batch_norm" => is_pixelwise(body, op, to).then_some(Rule::Pixelwise),
        kind => {
            const FAMILIES: [&str; 3] = ["activation", "elementwise_unary", "elementwise_binary"];
            let mut families = mil::ops::families().filter(|(name, _)| FAMILIES.contains(name));
            let known = families.any(|(_, specs)| specs.iter().any(|spec| spec.kind == kind));
            // The softmax of a picture is over whatever its axis is.
            (known && kind != "softmax" && is_pixelwise(body, op, to)).then_some(Rule::Pixelwise)
        }
    }
}

/// Whether every operand is a picture of that height or does not differ between rows.
fn is_pixelwise(body: &Body<'_>, op: &Op, to: usize) -> bool {
    let has_no_rows = |shape: &[usize]| shape.len() < 2 || shape[shape.len() - 2] == 1;
    let mut pictures = op.operands().filter(|&id| is_dynamic(body, id) && height(body, id).is_some());
    let mut rest = op.operands().filter(|&id| !is_dynamic(body, id) || height(body, id).is_none());
    let flat =
        |id: ValueId| body.function.ty(id).as_tensor().is_none() || body.shape(id).is_some_and(|s| has_no_rows(&s));
    op.outputs.iter().all(|&id| height(body, id) == Some(to))
        && pictures.all(|id| height(body, id) == Some(to))
        && rest.all(flat)
}

/// The rows of a convolution with a known weight.
fn window(body: &Body<'_>, op: &Op) -> Option<Rows> {
    let (x, weight) = (op.input("x")?, op.input("weight")?);
    height(body, x)?;
    let (from, to, filter) = (body.floats(x)?, body.floats(op.output())?, body.floats(weight)?);
    let dynamic = op.operands().filter(|&id| is_dynamic(body, id)).count();
    let ([_, _, kh, kw], 1) = (&filter[..], dynamic) else { return None };
    let view = body.view(op);
    let pair = |param: &str| -> Option<[usize; 2]> {
        let v = view.known_ints_of_len(param, 2).ok()?;
        Some([usize::try_from(v[0]).ok()?, usize::try_from(v[1]).ok()?])
    };
    let (strides, dilations) = (pair("strides")?, pair("dilations")?);
    let side = |d: usize, kernel: usize| -> Option<(usize, [usize; 2])> {
        let reach = kernel.checked_sub(1)? * dilations[d] + 1;
        let total = ((to[2 + d] - 1) * strides[d] + reach).saturating_sub(from[2 + d]);
        let pads = match view.known_text("pad_type").ok()? {
            "valid" => [0, 0],
            "custom" => {
                let pad = view.known_ints_of_len("pad", 4).ok()?;
                [usize::try_from(pad[2 * d]).ok()?, usize::try_from(pad[2 * d + 1]).ok()?]
            }
            "same" => [total / 2, total.div_ceil(2)],
            "same_lower" => [total.div_ceil(2), total / 2],
            _ => return None,
        };
        Some((reach, pads))
    };
    let ((reach, [above, _]), (_, columns)) = (side(0, *kh)?, side(1, *kw)?);
    Some(Rows { reach, stride: strides[0], above, columns })
}

/// Rows of a constant around a picture.
fn shift(body: &Body<'_>, op: &Op) -> Option<Rule> {
    let view = body.view(op);
    height(body, op.input("x")?)?;
    let pad = view.ints("pad")?;
    let rows = pad.len().checked_sub(4)?;
    let plain = view.known_text("mode").ok()? == "constant" && pad[..rows].iter().all(|&p| p == 0);
    let above = usize::try_from(pad[rows]).ok()?;
    (plain && pad[rows..].iter().all(|&p| p >= 0)).then_some(Rule::Shift(above))
}
