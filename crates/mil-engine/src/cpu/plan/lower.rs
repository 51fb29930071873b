//! Each kind of node as steps.

use super::{Make, Planner};
use crate::{
    EngineError,
    cpu::{
        graph::{GroupNorm, Kind, LayerNorm},
        step::Action,
        view::{View, channels_last, inner_last, row_major, rows_along, strides_in_order},
    },
    kernel::{
        map::{self, Map},
        math::Activation,
        norm,
    },
};
use mil::ValueId;

/// The distance between rows when all dimensions but `inner` lie behind one another and `inner` is contiguous.
pub(super) fn row_stride(view: &View, inner: usize) -> Option<usize> {
    if view.strides[inner] != 1 && view.shape[inner] != 1 {
        return None;
    }
    let outer: Vec<(usize, usize)> = (0..view.shape.len())
        .filter(|&d| d != inner && view.shape[d] > 1)
        .map(|d| (view.shape[d], view.strides[d]))
        .collect();
    let behind = outer.windows(2).all(|w| w[0].1 == w[1].0 * w[1].1);
    behind.then(|| outer.last().map_or(view.shape[inner], |&(_, s)| s))
}

/// What is wrong with an operand of which a kernel wants channels, rows and columns.
pub(super) const NO_PICTURE: &str = "it is no picture of four dimensions";

const COPY: map::Op = map::Op::Unary(Activation::Identity);

impl Planner<'_, '_> {
    /// Lowers a node.
    pub(super) fn lower(&mut self, node: usize) -> Result<(), EngineError> {
        let kind = std::mem::replace(&mut self.nodes[node].kind, Kind::Reference);
        match kind {
            Kind::Product(p) => self.product(p)?,
            Kind::GroupNorm(g) => self.group_norm(g)?,
            Kind::LayerNorm(l) => self.layer_norm(l)?,
            Kind::Attention(a) => self.attention(&a)?,
            Kind::Map { op, operands, out } => self.map(op, &operands, out)?,
            Kind::Reshape { x, out } => {
                let view = self.view(x)?;
                self.reshaped(&view, out)?;
            }
            Kind::Transpose { x, perm, out } => {
                let view = self.view(x)?.transpose(&perm);
                self.views.insert(out, view);
            }
            Kind::Slices { x, parts } => {
                let view = self.view(x)?;
                for part in parts {
                    self.reshaped(&view.slice(&part.begin, &part.step, &part.shape), part.out)?;
                }
            }
            Kind::Concat { values, axis, out } => self.concat(&values, axis, out)?,
            Kind::Upsample { x, factors, out } => self.upsample(x, factors, out)?,
            Kind::Rows { table, indices, out } => self.rows(table, indices, out)?,
            Kind::Reference => self.reference_step(self.nodes[node].op),
        }
        Ok(())
    }

    /// Gives a value the elements of a view under its own shape.
    pub(super) fn reshaped(&mut self, view: &View, out: ValueId) -> Result<(), EngineError> {
        let shape = self.floats(out)?;
        let view = self.in_shape(view, &shape)?;
        self.views.insert(out, view);
        Ok(())
    }

    /// The elements of a view under another shape, as a view where strides can say that, else of a copy.
    pub(super) fn in_shape(&mut self, view: &View, shape: &[usize]) -> Result<View, EngineError> {
        if let Some(view) = view.reshape(shape) {
            return Ok(view);
        }
        let copy = self.copied(view, row_major(&view.shape))?;
        copy.reshape(shape).ok_or_else(|| self.fault(format!("{:?} cannot become {shape:?}", view.shape)))
    }

    /// A picture whose channels are contiguous: itself, or a copy.
    pub(super) fn with_channels_last(&mut self, x: View) -> Result<View, EngineError> {
        if x.strides[1] == 1 || x.shape[1] == 1 { Ok(x) } else { self.copied(&x, channels_last(&x.shape)) }
    }

    /// A copy of a view with other strides.
    pub(super) fn copied(&mut self, view: &View, strides: Vec<usize>) -> Result<View, EngineError> {
        let to = self.fresh(&view.shape, strides);
        self.push_map(COPY, view, None, &to, "copy")?;
        Ok(to)
    }

    /// The view itself when `inner` is contiguous and the rest are rows behind one another, or a copy that is so.
    pub(super) fn as_rows(&mut self, view: View, inner: usize) -> Result<(View, usize), EngineError> {
        if let Some(stride) = row_stride(&view, inner) {
            return Ok((view, stride));
        }
        let view = self.copied(&view, inner_last(&view.shape, inner))?;
        let stride = view.shape[inner];
        Ok((view, stride))
    }

    fn map(&mut self, op: map::Op, operands: &[ValueId], out: ValueId) -> Result<(), EngineError> {
        let shape = self.floats(out)?;
        let mut views = Vec::with_capacity(2);
        for &id in operands {
            views.push(self.view(id)?);
        }
        // The layout of an operand that is no constant and as large as the result, if there is one.
        let model = views.iter().find(|v| v.shape == shape && self.buffers[v.buffer].constant.is_none());
        let strides = model.map_or_else(|| row_major(&shape), |v| strides_in_order(&shape, &v.order()));
        let to = self.result(out, &shape, strides);
        let Some(x) = views.first() else { return Err(self.fault("it has no operand")) };
        self.push_map(op, x, views.get(1), &to, "map")?;
        self.views.insert(out, to);
        Ok(())
    }

    /// An elementwise step; operands are broadcast to the result.
    fn push_map(
        &mut self,
        op: map::Op,
        x: &View,
        y: Option<&View>,
        out: &View,
        kernel: &'static str,
    ) -> Result<(), EngineError> {
        let shape = &out.shape;
        let (xs, ys) = (self.spread(x, shape)?, y.map_or_else(|| Ok(vec![0; shape.len()]), |y| self.spread(y, shape))?);
        let joined = Joined::new(shape, &out.strides, &xs, &ys);
        let binary = y.is_some();
        let (x, y, to) = (x.clone(), y.cloned().unwrap_or_else(|| x.clone()), out.clone());
        let detail = format!("{op:?} {shape:?}");
        self.push(kernel, (detail, out.len() as f64), [&x.clone(), &y.clone(), out], move |p| {
            Ok(Action::Map(Map {
                op,
                shape: joined.shape,
                x: p.of(&x)?.cast_const(),
                x_strides: joined.x,
                y: p.of_any(binary.then_some(&y))?,
                y_strides: joined.y,
                out: p.of(&to)?,
                out_strides: joined.out,
            }))
        });
        Ok(())
    }

    /// Strides of an operand that is broadcast to a shape.
    pub(super) fn spread(&self, view: &View, shape: &[usize]) -> Result<Vec<usize>, EngineError> {
        view.broadcast(shape).ok_or_else(|| self.fault(format!("{:?} is not broadcast to {shape:?}", view.shape)))
    }

    fn concat(&mut self, values: &[ValueId], axis: usize, out: ValueId) -> Result<(), EngineError> {
        let placed = self.views.get(&out).cloned();
        let whole = placed.ok_or_else(|| self.fault("the concatenation has no place"))?;
        let mut begin = vec![0; whole.shape.len()];
        for &value in values {
            let view = self.view(value)?;
            let part = whole.slice(&begin, &vec![1; begin.len()], &view.shape);
            begin[axis] += view.shape[axis];
            if view != part {
                self.push_map(COPY, &view, None, &part, "copy")?;
            }
        }
        Ok(())
    }

    fn upsample(&mut self, x: ValueId, [fh, fw]: [usize; 2], out: ValueId) -> Result<(), EngineError> {
        let (from, shape) = (self.view(x)?, self.floats(out)?);
        let ([b, c, h, w], 4) = (&from.shape[..], shape.len()) else { return Err(self.fault(NO_PICTURE)) };
        let (b, c, h, w) = (*b, *c, *h, *w);
        let to = self.result(out, &shape, channels_last(&shape));
        let repeated = |v: &View, step: [usize; 2], between: [usize; 2]| View {
            buffer: v.buffer,
            offset: v.offset,
            shape: vec![b, h, fh, w, fw, c],
            strides: vec![
                v.strides[0],
                v.strides[2] * step[0],
                between[0],
                v.strides[3] * step[1],
                between[1],
                v.strides[1],
            ],
        };
        let target = repeated(&to, [fh, fw], [to.strides[2], to.strides[3]]);
        // Each pixel is read again for every one that it becomes.
        let source = repeated(&from, [1, 1], [0, 0]);
        self.push_map(COPY, &source, None, &target, "upsample")?;
        self.views.insert(out, to);
        Ok(())
    }

    fn rows(&mut self, table: ValueId, indices: ValueId, out: ValueId) -> Result<(), EngineError> {
        let shape = self.floats(out)?;
        let &[n, _] = &self.floats(table)?[..] else { return Err(self.fault("its table has not two dimensions")) };
        let w = self.matrix(table, n)?;
        self.tensor(indices);
        let to = self.fresh(&shape, row_major(&shape));
        let (view, op) = (to.clone(), self.nodes[self.node].op);
        let make: Make = Box::new(move |p| Ok(Action::Rows { w, indices, op, out: p.of(&view)? }));
        self.push_reading("rows", Some(&to), vec![indices], make);
        self.views.insert(out, to);
        Ok(())
    }

    fn group_norm(&mut self, g: GroupNorm) -> Result<(), EngineError> {
        let shape = self.floats(g.x)?;
        let view = self.view(g.x)?;
        let (n, c, pixels) = (shape[0], shape[1], shape[2..].iter().product::<usize>());
        // Pictures may lie apart, but the pixels of one must follow each other.
        let of_one = |v: &View| {
            let picture = v.slice(&vec![0; shape.len()], &vec![1; shape.len()], &[&[1], &shape[1..]].concat());
            row_stride(&picture, 1)
        };
        let (view, row) = match of_one(&view) {
            Some(row) => (view, row),
            None => self.as_rows(view, 1)?,
        };
        let mut to = self.result(g.out, &shape, rows_along(&shape, 1));
        if of_one(&to).is_none() {
            to = self.fresh(&shape, rows_along(&shape, 1));
        }
        let out_row = of_one(&to).unwrap_or(c);
        let size = [n, pixels, c];
        let stats = self.temporary(norm::GroupNorm::stats_len(size, g.groups));
        let affine = self.temporary(n * c * 2);
        let gamma = g.gamma.map(|v| self.constant_view(v));
        let beta = g.beta.map(|v| self.constant_view(v));
        self.needs_scratch(c);
        let views = [view.clone(), to.clone(), stats.clone(), affine.clone()];
        let detail = format!("{shape:?} in {} groups, {:?}", g.groups, g.activation);
        let flops = 8.0 * to.len() as f64;
        let out = to.clone();
        self.push("group_norm", (detail, flops), &views, move |p| {
            Ok(Action::GroupNorm(norm::GroupNorm {
                size,
                groups: g.groups,
                x: p.of(&view)?.cast_const(),
                x_strides: [view.strides[0], row],
                out: p.of(&out)?,
                out_strides: [out.strides[0], out_row],
                epsilon: g.epsilon,
                gamma: p.of_any(gamma.as_ref())?,
                beta: p.of_any(beta.as_ref())?,
                activation: g.activation,
                stats: p.of(&stats)?,
                affine: p.of(&affine)?,
            }))
        });
        self.views.insert(g.out, to);
        Ok(())
    }

    fn layer_norm(&mut self, l: LayerNorm) -> Result<(), EngineError> {
        let view = self.view(l.x)?;
        let (view, x_row) = self.as_rows(view, l.axis)?;
        let shape = view.shape.clone();
        let mut to = self.result(l.out, &shape, rows_along(&shape, l.axis));
        if row_stride(&to, l.axis).is_none() {
            to = self.fresh(&shape, rows_along(&shape, l.axis));
        }
        let out_row = row_stride(&to, l.axis).unwrap_or(shape[l.axis]);
        let n = shape[l.axis];
        let size = [to.len() / n, n];
        let gamma = l.gamma.map(|v| self.constant_view(v));
        let beta = l.beta.map(|v| self.constant_view(v));
        let (from, out) = (view.clone(), to.clone());
        let detail = format!("{} rows of {n}", size[0]);
        self.push("layer_norm", (detail, 8.0 * to.len() as f64), [&view, &to], move |p| {
            Ok(Action::LayerNorm(norm::LayerNorm {
                size,
                x: p.of(&from)?.cast_const(),
                x_row,
                out: p.of(&out)?,
                out_row,
                epsilon: l.epsilon,
                gamma: p.of_any(gamma.as_ref())?,
                beta: p.of_any(beta.as_ref())?,
            }))
        });
        self.views.insert(l.out, to);
        Ok(())
    }
}

/// Dimensions in the result's order of memory, those that lie behind one another joined.
struct Joined {
    shape: Vec<usize>,
    out: Vec<usize>,
    x: Vec<usize>,
    y: Vec<usize>,
}

impl Joined {
    fn new(shape: &[usize], out: &[usize], x: &[usize], y: &[usize]) -> Self {
        let mut order: Vec<usize> = (0..shape.len()).filter(|&d| shape[d] > 1).collect();
        order.sort_by_key(|&d| std::cmp::Reverse(out[d]));
        let mut joined = Self { shape: vec![], out: vec![], x: vec![], y: vec![] };
        for d in order {
            let n = shape[d];
            let behind = |outer: &[usize], s: usize| outer.last().is_some_and(|&o| o == s * n);
            if behind(&joined.out, out[d]) && behind(&joined.x, x[d]) && behind(&joined.y, y[d]) {
                let last = joined.shape.len() - 1;
                joined.shape[last] *= n;
                (joined.out[last], joined.x[last], joined.y[last]) = (out[d], x[d], y[d]);
            } else {
                joined.shape.push(n);
                joined.out.push(out[d]);
                joined.x.push(x[d]);
                joined.y.push(y[d]);
            }
        }
        // The kernel writes along the innermost dimension without gaps.
        if joined.out.last().is_none_or(|&s| s != 1) {
            joined.shape.push(1);
            joined.out.push(1);
            joined.x.push(0);
            joined.y.push(0);
        }
        joined
    }
}
