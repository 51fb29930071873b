//! What to lower: the operations that an output depends on, with linear layers put together again.
//!
//! Burn records `nn::Linear` in parts, and in one of two forms:
//! ```text
//! w = reshape(weight, [1, in, out])             r = reshape(x, [b·s, in])
//! p = matmul(x, w)                              p = matmul(r, weight)
//! b = reshape(bias, [1, 1, out])                b = reshape(bias, [1, out])
//! y = add(p, b)                                 q = add(p, b)
//!                                               y = reshape(q, [b, s, out])
//! ```
//! The second one, chosen when a merged batch fills the tiles of a GPU better, would hide the token axis from
//! every later pass. Both become one [`LinearNode`].

use std::collections::{HashMap, HashSet};

use burn::backend::capture::TensorId;
use burn::backend::ir::{
    BaseOperationIr, BinaryOpIr, FloatOperationIr, MatmulOpIr, ModuleOperationIr, NumericOperationIr, OperationIr,
    ShapeOpIr, TensorIr,
};

use crate::statics::{Static, Statics};

/// One step of the lowering.
#[derive(Debug)]
pub(crate) enum Node<'g> {
    /// A recorded operation as it stands.
    Op(&'g OperationIr),
    /// A product with a static matrix, and what belongs to it.
    Linear(LinearNode<'g>),
}

/// `x · weight + bias`.
#[derive(Debug)]
pub(crate) struct LinearNode<'g> {
    pub(crate) x: &'g TensorIr,
    /// Static, `[in, out]` behind leading ones.
    pub(crate) weight: &'g TensorIr,
    /// Static, `[out]` behind leading ones.
    pub(crate) bias: Option<&'g TensorIr>,
    pub(crate) out: &'g TensorIr,
}

impl<'g> Node<'g> {
    pub(crate) fn inputs(&self) -> Vec<&'g TensorIr> {
        match self {
            Self::Op(operation) => operation.inputs().collect(),
            Self::Linear(node) => [node.x, node.weight].into_iter().chain(node.bias).collect(),
        }
    }

    pub(crate) fn outputs(&self) -> Vec<&'g TensorIr> {
        match self {
            Self::Op(operation) => operation.outputs().collect(),
            Self::Linear(node) => vec![node.out],
        }
    }
}

/// The ids that `outputs` depend on, through any of `nodes`.
fn live_ids<'g>(nodes: &[Node<'g>], outputs: &[TensorId]) -> HashSet<TensorId> {
    let mut live: HashSet<TensorId> = outputs.iter().copied().collect();
    for node in nodes.iter().rev() {
        if node.outputs().iter().any(|out| live.contains(&out.id)) {
            live.extend(node.inputs().iter().map(|input| input.id));
        }
    }
    live
}

/// The operations that `outputs` depend on, in their recorded order.
pub(crate) fn live_operations<'g>(operations: &'g [OperationIr], outputs: &[TensorId]) -> Vec<&'g OperationIr> {
    let nodes: Vec<Node<'g>> = operations.iter().map(Node::Op).collect();
    let live = live_ids(&nodes, outputs);
    operations.iter().filter(|operation| operation.outputs().any(|out| live.contains(&out.id))).collect()
}

/// The steps of the lowering; static operations are none.
pub(crate) fn plan<'g>(operations: &[&'g OperationIr], statics: &Statics, outputs: &[TensorId]) -> Vec<Node<'g>> {
    let dynamic: Vec<&'g OperationIr> = operations
        .iter()
        .copied()
        .filter(|operation| operation.outputs().any(|out| !statics.contains_key(&out.id)))
        .collect();
    let matcher = Matcher::new(&dynamic, statics, outputs);
    let mut nodes: Vec<Option<Node<'g>>> = dynamic.iter().map(|operation| Some(Node::Op(operation))).collect();
    for index in 0..dynamic.len() {
        if let Some(found) = matcher.linear(index) {
            found.consumed.iter().for_each(|&at| nodes[at] = None);
            nodes[found.last] = Some(Node::Linear(found.node));
        }
    }
    let nodes: Vec<Node<'g>> = nodes.into_iter().flatten().collect();
    let live = live_ids(&nodes, outputs);
    nodes.into_iter().filter(|node| node.outputs().iter().any(|out| live.contains(&out.id))).collect()
}

/// Looks at a graph from each value's producer and users.
struct Matcher<'a, 'g> {
    operations: &'a [&'g OperationIr],
    statics: &'a Statics,
    producers: HashMap<TensorId, usize>,
    /// Operations that read a value, once for each operand; `None` is the boundary.
    users: HashMap<TensorId, Vec<Option<usize>>>,
}

struct Found<'g> {
    node: LinearNode<'g>,
    consumed: Vec<usize>,
    /// Where the node goes: the last consumed operation.
    last: usize,
}

impl<'a, 'g> Matcher<'a, 'g> {
    fn new(operations: &'a [&'g OperationIr], statics: &'a Statics, outputs: &[TensorId]) -> Self {
        let mut producers = HashMap::new();
        let mut users: HashMap<TensorId, Vec<Option<usize>>> = HashMap::new();
        for (index, operation) in operations.iter().enumerate() {
            producers.extend(operation.outputs().map(|out| (out.id, index)));
            operation.inputs().for_each(|input| users.entry(input.id).or_default().push(Some(index)));
        }
        outputs.iter().for_each(|id| users.entry(*id).or_default().push(None));
        Self { operations, statics, producers, users }
    }

    fn linear(&self, index: usize) -> Option<Found<'g>> {
        if let OperationIr::Module(ModuleOperationIr::Linear(op)) = self.operations[index] {
            self.statics.get(&op.weight.id)?.of_rank(2)?;
            let bias = op.bias.as_ref();
            bias.is_none_or(|bias| self.statics.contains_key(&bias.id)).then_some(())?;
            let node = LinearNode { x: &op.x, weight: &op.weight, bias, out: &op.out };
            return Some(Found { node, consumed: vec![index], last: index });
        }
        let OperationIr::Float(_, FloatOperationIr::Matmul(product)) = self.operations[index] else {
            return None;
        };
        let MatmulOpIr { lhs, rhs, out } = product;
        let [_, columns] = <[usize; 2]>::try_from(self.statics.get(&rhs.id)?.of_rank(2)?.shape()).ok()?;
        if self.statics.contains_key(&lhs.id) {
            return None;
        }
        let mut found =
            Found { node: LinearNode { x: lhs, weight: rhs, bias: None, out }, consumed: vec![index], last: index };
        if let Some((at, bias, sum)) = self.bias(out, columns) {
            found.extend(at, sum);
            found.node.bias = Some(bias);
        }
        if let Some((at, x, out)) = self.merged_batch(found.node.x, found.node.out, columns) {
            found.extend(at, out);
            found.node.x = x;
        }
        Some(found)
    }

    /// The only operation that reads `tensor`, if there is exactly one and it is no output.
    fn only_user(&self, tensor: &TensorIr) -> Option<(usize, &'g OperationIr)> {
        match self.users.get(&tensor.id).map(Vec::as_slice) {
            Some([Some(at)]) => Some((*at, self.operations[*at])),
            _ => None,
        }
    }

    /// `product + bias` with a static `bias` of `columns` elements behind leading ones.
    fn bias(&self, product: &TensorIr, columns: usize) -> Option<(usize, &'g TensorIr, &'g TensorIr)> {
        let (at, user) = self.only_user(product)?;
        let OperationIr::NumericFloat(_, NumericOperationIr::Add(BinaryOpIr { lhs, rhs, out })) = user else {
            return None;
        };
        let bias = if lhs.id == product.id { rhs } else { lhs };
        let known: &Static = self.statics.get(&bias.id)?;
        let vector = known.of_rank(1)?;
        let fits = vector.shape() == [columns] && out.shape == product.shape;
        fits.then_some((at, bias, out))
    }

    /// `reshape(linear(reshape(x)))` where both only merge and split the leading axes.
    fn merged_batch(
        &self,
        rows: &'g TensorIr,
        result: &TensorIr,
        columns: usize,
    ) -> Option<(usize, &'g TensorIr, &'g TensorIr)> {
        let merge = reshape(self.operations[*self.producers.get(&rows.id)?])?;
        let (at, user) = self.only_user(result)?;
        let split = reshape(user)?;
        let (before, merged) = (merge.input.shape.as_slice(), merge.out.shape.as_slice());
        let (lead, inner) = (before.split_last()?.1, *before.last()?);
        let mut expected = lead.to_vec();
        expected.push(columns);
        let fits = merged.len() == 2 && merged[1] == inner && split.out.shape.as_slice() == expected;
        fits.then_some((at, &merge.input, &split.out))
    }
}

impl<'g> Found<'g> {
    fn extend(&mut self, at: usize, out: &'g TensorIr) {
        self.consumed.push(at);
        self.last = at;
        self.node.out = out;
    }
}

fn reshape(operation: &OperationIr) -> Option<&ShapeOpIr> {
    match operation {
        OperationIr::BaseFloat(BaseOperationIr::Reshape(op)) => Some(op),
        _ => None,
    }
}
