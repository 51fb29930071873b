//! The weights of a program: constants and decoded constants, with what reads them.

use super::Place;
use crate::{Axes, decompress::Chains};
use host_tensor::DType;
use mil::{Block, Const, Function, Literal, Op, Program, SourceId, ValueId, ops::View};
use std::collections::HashMap;

/// A float tensor known at compile time, wherever the program has it.
#[derive(Debug, Clone)]
pub(crate) struct Weight {
    /// Name in the first function, without what compression has put behind it.
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) dtype: DType,
    pub(crate) places: Vec<Place>,
    /// Names of those places' values.
    pub(crate) values: Vec<String>,
    pub(crate) users: Vec<User>,
    /// A block returns it.
    pub(crate) feeds_output: bool,
    pub(crate) source: Source,
    /// Bytes that it takes now.
    pub(crate) stored_bytes: u64,
}

/// Where a weight's values come from.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    Const(Const),
    /// Operations that decode it; the last one's kind.
    Chain {
        place: Place,
        kind: String,
    },
}

/// An operation that reads a weight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) axes: Axes,
}

impl Weight {
    pub(crate) fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Types of the operations that read it.
    pub(crate) fn readers(&self) -> Vec<String> {
        let mut kinds: Vec<String> = self.users.iter().map(|u| u.kind.clone()).collect();
        kinds.sort();
        kinds.dedup();
        kinds
    }

    /// The channel axes, when all readers agree on them.
    pub(crate) fn axes(&self) -> Option<Axes> {
        let first = self.users.first()?.axes;
        self.users.iter().all(|u| u.axes == first).then_some(first)
    }
}

/// What compression puts behind names.
const SUFFIXES: [&str; 5] = ["_palettized_pcs", "_palettized", "_quantized", "_sparsified", "_cast"];

/// Every weight, in the order in which functions read them first.
pub(crate) fn of(program: &Program) -> Vec<Weight> {
    let mut found = Finder { weights: Vec::new(), by_source: HashMap::new() };
    for (name, function) in &program.functions {
        let mut here =
            Here { function, name, chains: Chains::new(function), found: &mut found, by_value: HashMap::new() };
        here.block(&function.body);
    }
    found.weights
}

struct Finder {
    weights: Vec<Weight>,
    /// Weights by what they are views of, and their number of elements.
    by_source: HashMap<(Option<SourceId>, usize), Vec<usize>>,
}

/// One function being looked through.
struct Here<'a> {
    function: &'a Function,
    name: &'a str,
    chains: Chains<'a>,
    found: &'a mut Finder,
    by_value: HashMap<ValueId, Option<usize>>,
}

impl<'a> Here<'a> {
    fn block(&mut self, block: &'a Block) {
        for op in &block.ops {
            if op.is_constexpr() {
                continue;
            }
            for (param, arg) in &op.inputs {
                for &value in arg.values() {
                    if let Some(weight) = self.weight(value) {
                        let weight = &mut self.found.weights[weight];
                        let axes = axes(self.function, op, param, weight.shape.len());
                        let user = User { name: op.name.to_string(), kind: op.kind.to_string(), axes };
                        if !weight.users.contains(&user) {
                            weight.users.push(user);
                        }
                    }
                }
            }
            op.blocks.iter().for_each(|b| self.block(b));
        }
        for &value in &block.outputs {
            if let Some(weight) = self.weight(value) {
                self.found.weights[weight].feeds_output = true;
            }
        }
    }

    /// The weight that a value is, entered when it is new.
    fn weight(&mut self, value: ValueId) -> Option<usize> {
        if let Some(&known) = self.by_value.get(&value) {
            return known;
        }
        let index = self.enter(value);
        self.by_value.insert(value, index);
        index
    }

    fn enter(&mut self, value: ValueId) -> Option<usize> {
        let place = (self.name.to_owned(), value);
        let known = self.function.value(value);
        let source = match (&known.literal, self.chains.op(value)) {
            (Some(Literal::Tensor(c)), _) => Source::Const(c.clone()),
            (None, Some(op)) => Source::Chain { place: place.clone(), kind: op.kind.to_string() },
            _ => return None,
        };
        let ty = known.ty.as_tensor().filter(|ty| matches!(ty.dtype, DType::F16 | DType::F32 | DType::BF16))?;
        let shape: Vec<usize> = ty.shape.iter().map(|d| d.size()).collect::<Option<_>>()?;
        let (id, stored_bytes) = match &source {
            Source::Const(c) => (Some(c.source_id()), c.dtype().byte_len(c.len())? as u64),
            Source::Chain { .. } => (self.chains.first_source(value), self.chains.stored_bytes(value)),
        };
        let same = self.found.by_source.entry((id, shape.iter().product())).or_default();
        let is_same = |w: &Weight| match (&w.source, &source) {
            (Source::Const(a), Source::Const(b)) => a.same_view(b),
            (Source::Chain { kind: a, .. }, Source::Chain { kind: b, .. }) => {
                a == b && id.is_some() && w.shape == shape && w.stored_bytes == stored_bytes && w.dtype == ty.dtype
            }
            _ => false,
        };
        if let Some(&i) = same.iter().find(|&&i| is_same(&self.found.weights[i])) {
            let weight = &mut self.found.weights[i];
            weight.places.push(place);
            if !weight.values.contains(&known.name.to_string()) {
                weight.values.push(known.name.to_string());
            }
            return Some(i);
        }
        let mut name = &*known.name;
        if let Source::Chain { .. } = source {
            name = SUFFIXES.iter().find_map(|s| name.strip_suffix(s)).unwrap_or(name);
        }
        let index = self.found.weights.len();
        same.push(index);
        self.found.weights.push(Weight {
            name: name.to_owned(),
            shape,
            dtype: ty.dtype,
            places: vec![place],
            values: vec![known.name.to_string()],
            users: Vec::new(),
            feeds_output: false,
            source,
            stored_bytes,
        });
        Some(index)
    }
}

/// The channel axes of a weight where an operation reads it (coremltools 9.0, `select_input_output_channel_axis`).
fn axes(function: &Function, op: &Op, param: &str, rank: usize) -> Axes {
    let transposed = |p: &str| View::of(function, op).known_bool(p) == Ok(true);
    let last =
        |output: usize, input: usize| Axes { output: rank.saturating_sub(output), input: rank.saturating_sub(input) };
    let (first, swapped) = (Axes { output: 0, input: 1 }, Axes { output: 1, input: 0 });
    match (&*op.kind, param) {
        _ if rank < 2 => first,
        ("conv_transpose", "weight") => swapped,
        ("matmul", "y") => {
            if transposed("transpose_y") {
                last(2, 1)
            } else {
                last(1, 2)
            }
        }
        ("matmul", "x") => {
            if transposed("transpose_x") {
                last(1, 2)
            } else {
                last(2, 1)
            }
        }
        _ => first,
    }
}
