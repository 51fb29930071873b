//! The representation: programs, functions, blocks, operations and values.
//!
//! Constants are not operations here. A constant is a [`Value`] with a [`Literal`]; writers emit it as a
//! `const` operation before its first user, and only if it has one. So constants need no ordering, no
//! dead-code elimination, and a pass may look through any operand with [`Function::literal`].

use crate::{constant::Literal, names::sanitize, opset::Opset, types::Type};
use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// A whole program.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Program {
    /// Functions by name; a model with one function calls it `main`.
    pub functions: BTreeMap<String, Function>,
    /// Program attributes, such as `buildInfo`.
    pub attributes: BTreeMap<String, Literal>,
}

impl Program {
    /// A program with one function, under that function's name.
    #[must_use]
    pub fn single(function: Function) -> Self {
        Self { functions: BTreeMap::from([(function.name.clone(), function)]), attributes: BTreeMap::new() }
    }

    /// The function `main`, or the only one.
    #[must_use]
    pub fn main(&self) -> Option<&Function> {
        self.functions
            .get("main")
            .or_else(|| (self.functions.len() == 1).then(|| self.functions.values().next()).flatten())
    }
}

/// A value of one function, by its index in the function's value table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueId(u32);

impl ValueId {
    /// Position in the value table.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A named, typed value; a constant when it has a literal.
#[derive(Debug, Clone, PartialEq)]
pub struct Value {
    /// Unique in its function.
    pub name: Arc<str>,
    /// Type.
    pub ty: Type,
    /// The value itself, when it is known at compile time.
    pub literal: Option<Literal>,
}

/// What an operation's parameter is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arg {
    /// One value.
    One(ValueId),
    /// A tuple of values, as `concat` takes them.
    Many(Vec<ValueId>),
}

impl Arg {
    /// The values, in order.
    #[must_use]
    pub fn values(&self) -> &[ValueId] {
        match self {
            Self::One(v) => std::slice::from_ref(v),
            Self::Many(vs) => vs,
        }
    }

    /// The values, in order, for replacement.
    pub fn values_mut(&mut self) -> &mut [ValueId] {
        match self {
            Self::One(v) => std::slice::from_mut(v),
            Self::Many(vs) => vs,
        }
    }
}

/// An operation's bound parameters by name; the order is the alphabet's, as in the text form.
pub type Inputs = BTreeMap<Cow<'static, str>, Arg>;

/// One operation.
#[derive(Debug, Clone, PartialEq)]
pub struct Op {
    /// Operation type, such as `conv`.
    pub kind: Cow<'static, str>,
    /// The `name` attribute.
    pub name: Arc<str>,
    /// Bound parameters. Operands that a file keeps as attributes (`constexpr_*` of iOS 16) stand here too.
    pub inputs: Inputs,
    /// Results, in the order of the operation's specification.
    pub outputs: Vec<ValueId>,
    /// Nested blocks, for `cond` and `while_loop`.
    pub blocks: Vec<Block>,
    /// Where it came from, for messages; not stored in files.
    pub origin: Option<Arc<str>>,
}

impl Op {
    /// The value bound to `param`, when it is a single one.
    #[must_use]
    pub fn input(&self, param: &str) -> Option<ValueId> {
        match self.inputs.get(param) {
            Some(Arg::One(v)) => Some(*v),
            _ => None,
        }
    }

    /// The values bound to `param`; empty when it is not bound.
    #[must_use]
    pub fn input_values(&self, param: &str) -> &[ValueId] {
        self.inputs.get(param).map_or(&[], Arg::values)
    }

    /// Every operand of this operation itself, nested blocks not included.
    pub fn operands(&self) -> impl Iterator<Item = ValueId> + '_ {
        self.inputs.values().flat_map(|a| a.values().iter().copied())
    }

    /// The first result.
    ///
    /// # Panics
    /// When there is none, which only `write_state` may have.
    #[must_use]
    pub fn output(&self) -> ValueId {
        self.outputs[0]
    }

    /// Calls `f` on every value that this operation reads, nested blocks included.
    pub fn for_each_use(&self, f: &mut impl FnMut(ValueId)) {
        self.operands().for_each(&mut *f);
        for block in &self.blocks {
            block.for_each_use(f);
        }
    }

    /// Calls `f` on every place that reads a value, nested blocks included.
    pub fn for_each_use_mut(&mut self, f: &mut impl FnMut(&mut ValueId)) {
        for arg in self.inputs.values_mut() {
            arg.values_mut().iter_mut().for_each(&mut *f);
        }
        for block in &mut self.blocks {
            block.for_each_use_mut(f);
        }
    }
}

/// A sequence of operations with results.
///
/// Operations stand in an order in which every operand is defined before it is used.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Block {
    /// Arguments; empty for a function's body, whose arguments are the function's inputs.
    pub inputs: Vec<ValueId>,
    /// Operations, in execution order.
    pub ops: Vec<Op>,
    /// Results.
    pub outputs: Vec<ValueId>,
}

impl Block {
    /// Calls `f` on every value read in this block, its outputs included.
    pub fn for_each_use(&self, f: &mut impl FnMut(ValueId)) {
        for op in &self.ops {
            op.for_each_use(f);
        }
        self.outputs.iter().copied().for_each(f);
    }

    /// Calls `f` on every place in this block that reads a value, its outputs included.
    pub fn for_each_use_mut(&mut self, f: &mut impl FnMut(&mut ValueId)) {
        for op in &mut self.ops {
            op.for_each_use_mut(f);
        }
        self.outputs.iter_mut().for_each(f);
    }

    /// Calls `f` on every operation, outer before inner.
    pub fn for_each_op<'a>(&'a self, f: &mut impl FnMut(&'a Op)) {
        for op in &self.ops {
            f(op);
            for block in &op.blocks {
                block.for_each_op(f);
            }
        }
    }
}

/// A function: its inputs, its body, and the table of all its values.
#[derive(Debug, Clone)]
pub struct Function {
    /// Name; `main` for the only function of a model.
    pub name: String,
    /// Which operations it may use.
    pub opset: Opset,
    /// Inputs, in signature order.
    pub inputs: Vec<ValueId>,
    /// Body; its outputs are the function's.
    pub body: Block,
    /// Function attributes; normally none.
    pub attributes: BTreeMap<String, Literal>,
    values: Vec<Value>,
    names: HashMap<Arc<str>, ValueId>,
}

impl Function {
    /// An empty function.
    #[must_use]
    pub fn new(name: impl Into<String>, opset: Opset) -> Self {
        Self {
            name: name.into(),
            opset,
            inputs: Vec::new(),
            body: Block::default(),
            attributes: BTreeMap::new(),
            values: Vec::new(),
            names: HashMap::new(),
        }
    }

    /// Adds a value under exactly this name.
    ///
    /// Returns `None` when the name is taken. The name is not checked: readers keep what a file says, and
    /// validation reports it.
    pub fn add_named(&mut self, name: &str, ty: Type, literal: Option<Literal>) -> Option<ValueId> {
        if self.names.contains_key(name) {
            return None;
        }
        let name: Arc<str> = name.into();
        let id = ValueId(u32::try_from(self.values.len()).expect("invariant: fewer than 2^32 values"));
        self.names.insert(name.clone(), id);
        self.values.push(Value { name, ty, literal });
        Some(id)
    }

    /// Adds a value under a fresh name made from `base`.
    pub fn add_value(&mut self, base: &str, ty: Type) -> ValueId {
        let name = self.fresh_name(base);
        self.add_named(&name, ty, None).expect("invariant: the name is fresh")
    }

    /// Adds a constant under a fresh name made from `base`.
    pub fn add_constant(&mut self, base: &str, literal: Literal) -> ValueId {
        let name = self.fresh_name(base);
        self.add_named(&name, literal.ty(), Some(literal)).expect("invariant: the name is fresh")
    }

    /// An identifier that is not taken yet: `base` itself, or `base_1`, `base_2`, …
    #[must_use]
    pub fn fresh_name(&self, base: &str) -> String {
        let base = sanitize(base);
        if !self.names.contains_key(base.as_str()) {
            return base;
        }
        (1..).map(|n| format!("{base}_{n}")).find(|n| !self.names.contains_key(n.as_str())).expect("invariant: endless")
    }

    /// Gives `id` this name; a value that holds it gets a fresh one.
    pub fn rename(&mut self, id: ValueId, name: &str) {
        if let Some(&holder) = self.names.get(name) {
            if holder == id {
                return;
            }
            let fresh: Arc<str> = self.fresh_name(name).into();
            self.names.insert(fresh.clone(), holder);
            self.values[holder.index()].name = fresh;
        }
        self.names.remove(&self.values[id.index()].name.clone());
        let name: Arc<str> = name.into();
        self.names.insert(name.clone(), id);
        self.values[id.index()].name = name;
    }

    /// The value table, in order of creation.
    #[must_use]
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// One value.
    #[must_use]
    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.index()]
    }

    /// A value's name.
    #[must_use]
    pub fn name_of(&self, id: ValueId) -> &str {
        &self.value(id).name
    }

    /// A value's type.
    #[must_use]
    pub fn ty(&self, id: ValueId) -> &Type {
        &self.value(id).ty
    }

    /// Changes a value's type; the caller keeps producer and users consistent.
    pub fn set_ty(&mut self, id: ValueId, ty: Type) {
        self.values[id.index()].ty = ty;
    }

    /// Changes a constant's literal, and its type with it.
    pub fn set_literal(&mut self, id: ValueId, literal: Literal) {
        let value = &mut self.values[id.index()];
        value.ty = literal.ty();
        value.literal = Some(literal);
    }

    /// The compile-time value, when `id` is a constant.
    #[must_use]
    pub fn literal(&self, id: ValueId) -> Option<&Literal> {
        self.value(id).literal.as_ref()
    }

    /// The value with this name.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<ValueId> {
        self.names.get(name).copied()
    }

    /// Constants that something reads, in the order of their first use; nested blocks count at the place
    /// of the operation that holds them.
    ///
    /// Returns the constants before each top-level operation, and last those that only the outputs read.
    #[must_use]
    pub fn constants_in_order(&self) -> Vec<Vec<ValueId>> {
        let mut seen = vec![false; self.values.len()];
        let mut groups = Vec::with_capacity(self.body.ops.len() + 1);
        let mut visit = |group: &mut Vec<ValueId>, v: ValueId| {
            if self.literal(v).is_some() && !std::mem::replace(&mut seen[v.index()], true) {
                group.push(v);
            }
        };
        for op in &self.body.ops {
            let mut group = Vec::new();
            op.for_each_use(&mut |v| visit(&mut group, v));
            groups.push(group);
        }
        let mut last = Vec::new();
        self.body.outputs.iter().for_each(|&v| visit(&mut last, v));
        groups.push(last);
        groups
    }
}

/// Equal in everything that a file keeps: names, types, literals and structure, but not the numbering of
/// values, unused values, origins, or the names of constants that `constexpr_*` operations read, which a file
/// writes in place.
impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
            && self.opset == other.opset
            && self.attributes == other.attributes
            && same_values(self, &self.inputs, other, &other.inputs)
            && same_block(self, &self.body, other, &other.body)
    }
}

fn same_values(f: &Function, a: &[ValueId], g: &Function, b: &[ValueId]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(&a, &b)| f.value(a) == g.value(b))
}

fn same_block(f: &Function, a: &Block, g: &Function, b: &Block) -> bool {
    same_values(f, &a.inputs, g, &b.inputs)
        && same_values(f, &a.outputs, g, &b.outputs)
        && a.ops.len() == b.ops.len()
        && a.ops.iter().zip(&b.ops).all(|(a, b)| same_op(f, a, g, b))
}

fn same_operands(f: &Function, a: &Op, x: &Arg, g: &Function, y: &Arg) -> bool {
    match (x, y) {
        (Arg::One(x), Arg::One(y)) => {
            let in_place = a.is_constexpr() && f.literal(*x).is_some();
            let literals = || f.ty(*x) == g.ty(*y) && f.literal(*x) == g.literal(*y);
            if in_place { literals() } else { f.value(*x) == g.value(*y) }
        }
        (Arg::Many(x), Arg::Many(y)) => same_values(f, x, g, y),
        _ => false,
    }
}

fn same_op(f: &Function, a: &Op, g: &Function, b: &Op) -> bool {
    a.kind == b.kind
        && a.name == b.name
        && same_values(f, &a.outputs, g, &b.outputs)
        && a.inputs.len() == b.inputs.len()
        && a.inputs.iter().zip(&b.inputs).all(|((p, x), (q, y))| p == q && same_operands(f, a, x, g, y))
        && a.blocks.len() == b.blocks.len()
        && a.blocks.iter().zip(&b.blocks).all(|(a, b)| same_block(f, a, g, b))
}
