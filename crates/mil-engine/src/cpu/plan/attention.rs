//! Attention as a step: which dimensions of its operands are the kernel's.

use super::Planner;
use crate::{
    EngineError,
    cpu::{
        graph::{Attention, Roles},
        step::Action,
        view::{View, rows_in_order},
    },
    kernel::attention,
};

impl Planner<'_, '_> {
    pub(super) fn attention(&mut self, a: &Attention) -> Result<(), EngineError> {
        let shape = self.floats(a.out.value)?;
        let (q, k, v) = (self.view(a.q.value)?, self.view(a.k.value)?, self.view(a.v.value)?);
        let two = TwoBatches::of(&q, &a.q);
        let batch = two.sizes(&q, &a.q);
        let lengths = [q.shape[a.q.token], k.shape[a.k.token]];
        let dims = [q.shape[a.q.element], v.shape[a.v.element]];
        // Tokens first, then heads: what follows sees the heads of a token as one.
        let (mut outer, mut heads) = (Vec::new(), Vec::new());
        a.out.batch.iter().for_each(|&d| if d == 0 { outer.push(d) } else { heads.push(d) });
        let order = [&outer[..], &[a.out.token], &heads, &[a.out.element]].concat();
        let to = self.result(a.out.value, &shape, rows_in_order(&shape, &order, 1 + heads.len()));
        let mask = a.mask.as_ref().map(|roles| self.mask(roles, &q, &a.q, lengths)).transpose()?;
        let mask = mask.zip(a.mask.as_ref()).map(|(view, roles)| (two.strides(&view, roles), view));
        let strides = [(&q, &a.q), (&k, &a.k), (&v, &a.v), (&to, &a.out)].map(|(view, roles)| two.strides(view, roles));
        let [q_strides, k_strides, v_strides, out_strides] = strides;
        let (scale, nothing) = (a.scale, a.nothing);
        self.needs_scratch(attention::scratch(dims));
        let flops = 2.0 * (batch[0] * batch[1] * lengths[0] * lengths[1] * (dims[0] + dims[1])) as f64;
        let detail = format!("{batch:?} heads, {} queries, {} keys, {dims:?}", lengths[0], lengths[1]);
        let mut views = vec![q.clone(), k.clone(), v.clone(), to.clone()];
        views.extend(mask.iter().map(|(_, view)| view.clone()));
        let out = to.clone();
        self.push("attention", (detail, flops), &views, move |p| {
            Ok(Action::Attention(attention::Attention {
                batch,
                lengths,
                dims,
                q: p.of(&q)?.cast_const(),
                q_strides,
                k: p.of(&k)?.cast_const(),
                k_strides,
                v: p.of(&v)?.cast_const(),
                v_strides,
                mask: p.of_any(mask.as_ref().map(|(_, view)| view))?,
                mask_strides: mask.as_ref().map_or([0; 4], |(strides, _)| *strides),
                out: p.of(&out)?,
                out_strides,
                scale,
                nothing,
            }))
        });
        self.views.insert(a.out.value, to);
        Ok(())
    }

    /// A mask, broadcast to the scores of so many queries and keys.
    fn mask(
        &mut self,
        mask: &Roles,
        q: &View,
        q_roles: &Roles,
        [queries, keys]: [usize; 2],
    ) -> Result<View, EngineError> {
        let mut scores = vec![0; mask.batch.len() + 2];
        for (&d, &of_q) in mask.batch.iter().zip(&q_roles.batch) {
            scores[d] = q.shape[of_q];
        }
        (scores[mask.token], scores[mask.element]) = (queries, keys);
        let view = self.view(mask.value)?;
        Ok(View { strides: self.spread(&view, &scores)?, shape: scores, ..view })
    }
}

/// Which of an attention's batch dimensions are the kernel's two: those with more than one index.
struct TwoBatches(Vec<usize>);

impl TwoBatches {
    fn of(q: &View, roles: &Roles) -> Self {
        Self((0..roles.batch.len()).filter(|&i| q.shape[roles.batch[i]] > 1).collect())
    }

    /// The kernel's two dimensions and those of the operand's that they are; the kernel's first is one where it has none.
    fn slots(&self) -> impl Iterator<Item = (usize, usize)> {
        (2 - self.0.len()..2).zip(self.0.iter().copied())
    }

    fn sizes(&self, view: &View, roles: &Roles) -> [usize; 2] {
        let mut sizes = [1; 2];
        self.slots().for_each(|(slot, i)| sizes[slot] = view.shape[roles.batch[i]]);
        sizes
    }

    /// Strides of an operand as the kernel takes them: two of the batch, of tokens, of elements.
    fn strides(&self, view: &View, roles: &Roles) -> [usize; 4] {
        let mut strides = [0, 0, view.strides[roles.token], view.strides[roles.element]];
        self.slots().for_each(|(slot, i)| strides[slot] = view.strides[roles.batch[i]]);
        strides
    }
}
