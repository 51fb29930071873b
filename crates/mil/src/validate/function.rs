//! The walk over a function: scopes, definitions, and the checks of each operation.

use super::{Fault, FaultKind, OpPlace, blocks, boundary};
use crate::{
    constant::Literal,
    ir::{Block, Function, Op, ValueId},
    names::is_identifier,
    ops::{self, View},
    types::Type,
};
use host_tensor::element_count;

/// Blocks nested deeper than this are refused, so that a hostile program cannot exhaust the stack.
const MAX_NESTING: usize = 32;

/// What has been learned about a value so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not met yet.
    Undefined,
    /// A function's or a block's argument.
    Argument,
    /// Result of an operation that runs.
    Result,
    /// Result of a `constexpr_*` operation, known at compile time.
    Constexpr,
    /// Was defined in a block that has ended.
    OutOfScope,
}

/// Checks one function.
pub(super) fn check(function: &Function, faults: &mut Vec<Fault>) {
    let n = function.values().len();
    let mut walk = Walk {
        function,
        states: vec![State::Undefined; n],
        constexpr: vec![false; n],
        unimplemented: vec![false; n],
        checked: vec![false; n],
        used: vec![false; n],
        next_op: 0,
        place: None,
        faults,
    };
    walk.signature();
    walk.block(&function.body, 0);
    walk.results();
}

struct Walk<'a> {
    function: &'a Function,
    states: Vec<State>,
    /// Which values are results of `constexpr_*` operations, for the operations' own checks.
    constexpr: Vec<bool>,
    /// Which values are results of operations that are not implemented, whose types are taken as they are declared.
    unimplemented: Vec<bool>,
    /// Values whose name and literal have been checked.
    checked: Vec<bool>,
    used: Vec<bool>,
    next_op: usize,
    place: Option<OpPlace>,
    faults: &'a mut Vec<Fault>,
}

impl Walk<'_> {
    fn fault(&mut self, message: impl Into<String>) {
        self.fault_of(FaultKind::Breach, message.into());
    }

    fn fault_of(&mut self, kind: FaultKind, message: String) {
        let function = self.function.name.clone();
        self.faults.push(Fault { kind, function, op: self.place.clone(), message });
    }

    fn signature(&mut self) {
        let f = self.function;
        if !is_identifier(&f.name) {
            self.fault(format!("the function's name {:?} is no identifier", f.name));
        }
        boundary::check_inputs(f, &mut |m| self.fault(m));
        for &input in &f.inputs {
            if self.exists(input) && self.states[input.index()] == State::Undefined {
                self.define(input, State::Argument);
            }
        }
        if !f.body.inputs.is_empty() {
            self.fault("the body of a function takes no arguments of its own");
        }
    }

    /// After the body: outputs come from operations, and every input is used.
    fn results(&mut self) {
        let f = self.function;
        let unimplemented = std::mem::take(&mut self.unimplemented);
        boundary::check_outputs(f, &unimplemented, &mut |m| self.fault(m));
        for &output in &f.body.outputs {
            if !self.exists(output) {
                continue;
            }
            let name = f.name_of(output);
            let what = match self.states[output.index()] {
                _ if f.literal(output).is_some() => "a constant",
                State::Argument => "an input",
                State::Constexpr => "the result of a constexpr operation",
                _ => continue,
            };
            self.fault(format!("output {name} is {what}; only results of operations may be outputs: insert identity"));
        }
        for &input in &f.inputs {
            if self.exists(input) && !self.used[input.index()] {
                self.fault(format!("input {} is never used; insert identity to keep it", f.name_of(input)));
            }
        }
    }

    /// Walks a block; false when one of its arguments or results is no value of this function.
    fn block(&mut self, block: &Block, depth: usize) -> bool {
        let mut sound = true;
        let mut defined = block.inputs.clone();
        for &input in &block.inputs {
            if self.exists(input) {
                self.define(input, State::Argument);
            } else {
                sound = false;
            }
        }
        for op in &block.ops {
            self.op(op, depth);
            defined.extend(&op.outputs);
        }
        self.place = None;
        for &output in &block.outputs {
            sound &= self.read(output, "the list of outputs");
        }
        if depth > 0 {
            for v in defined {
                if let Some(state) = self.states.get_mut(v.index()) {
                    *state = State::OutOfScope;
                }
            }
        }
        sound
    }

    fn op(&mut self, op: &Op, depth: usize) {
        let place = OpPlace {
            index: self.next_op,
            name: op.name.clone(),
            kind: op.kind.as_ref().into(),
            origin: op.origin.clone(),
        };
        self.next_op += 1;
        self.place = Some(place.clone());
        if !is_identifier(&op.name) {
            self.fault(format!("the operation's name {:?} is no identifier", op.name));
        }
        let mut sound = true;
        for (param, arg) in &op.inputs {
            for &v in arg.values() {
                sound &= self.read(v, param);
            }
        }
        if depth >= MAX_NESTING && !op.blocks.is_empty() {
            self.fault(format!("blocks are nested deeper than {MAX_NESTING}"));
            sound = false;
        } else {
            for block in &op.blocks {
                sound &= self.block(block, depth + 1);
                self.place = Some(place.clone());
            }
        }
        for &v in &op.outputs {
            sound &= self.exists(v);
        }
        if sound {
            self.specification(op);
        }
        let state = if op.is_constexpr() { State::Constexpr } else { State::Result };
        for &v in &op.outputs {
            if v.index() < self.states.len() {
                self.define(v, state);
            }
        }
    }

    /// The operation against its specification, and its declared result types against the inferred ones.
    fn specification(&mut self, op: &Op) {
        let f = self.function;
        let Some(spec) = ops::lookup(&op.kind, f.opset).filter(|s| s.since <= f.opset) else {
            let message = ops::unknown_operation(&op.kind, f.opset).to_string();
            if !ops::is_unspecified(&op.kind, f.opset) {
                return self.fault(message);
            }
            op.outputs.iter().for_each(|v| self.unimplemented[v.index()] = true);
            return self.fault_of(FaultKind::Unimplemented, message);
        };
        let operands = View::new(f, &op.inputs).with_constexpr(&self.constexpr);
        match blocks::result_types(f, op, spec, &operands) {
            Err(e) => self.fault(e.to_string()),
            Ok(types) => self.declared(op, &types),
        }
    }

    fn declared(&mut self, op: &Op, inferred: &[Type]) {
        let f = self.function;
        if op.outputs.len() != inferred.len() {
            self.fault(format!("{} has {} results, but declares {}", op.kind, inferred.len(), op.outputs.len()));
        }
        for (&v, ty) in op.outputs.iter().zip(inferred) {
            if !f.ty(v).agrees(ty) {
                self.fault(format!("{} yields {ty}, but {} is declared as {}", op.kind, f.name_of(v), f.ty(v)));
            }
        }
    }

    /// Notes a read of `v` by the parameter `by`; false when the value cannot be looked at.
    fn read(&mut self, v: ValueId, by: &str) -> bool {
        if !self.exists(v) {
            return false;
        }
        self.used[v.index()] = true;
        self.value(v);
        if self.function.literal(v).is_none() {
            let name = self.function.name_of(v);
            match self.states[v.index()] {
                State::Undefined => self.fault(format!("{by} reads {name} before it is defined")),
                State::OutOfScope => self.fault(format!("{by} reads {name}, which is local to a block that has ended")),
                State::Argument | State::Result | State::Constexpr => {}
            }
        }
        true
    }

    fn define(&mut self, v: ValueId, state: State) {
        self.value(v);
        let name = self.function.name_of(v);
        if self.function.literal(v).is_some() {
            self.fault(format!("{name} is a constant, but is defined again"));
        } else if self.states[v.index()] != State::Undefined {
            self.fault(format!("{name} is defined twice"));
        }
        self.states[v.index()] = state;
        self.constexpr[v.index()] = state == State::Constexpr;
        if state == State::Result
            && !self.unimplemented[v.index()]
            && let Type::Tensor(t) = self.function.ty(v)
            && let Err(why) = boundary::check_run_time(t, self.function.opset)
        {
            self.fault(format!("{name}: {why}"));
        }
    }

    /// Checks that the id belongs to this function.
    fn exists(&mut self, v: ValueId) -> bool {
        let ok = v.index() < self.states.len();
        if !ok {
            self.fault(format!("value #{} is not a value of this function", v.index()));
        }
        ok
    }

    /// Checks a value's name, and its literal against its type, once.
    fn value(&mut self, v: ValueId) {
        if std::mem::replace(&mut self.checked[v.index()], true) {
            return;
        }
        let value = self.function.value(v);
        if !is_identifier(&value.name) {
            self.fault(format!("the name {:?} is no identifier", value.name));
        }
        let Some(literal) = &value.literal else { return };
        if !literal.ty().agrees(&value.ty) {
            self.fault(format!("constant {} is declared as {}, but holds {}", value.name, value.ty, literal.ty()));
        }
        if !strings_fill_their_shape(literal) {
            self.fault(format!("constant {} does not have as many strings as its shape says", value.name));
        }
    }
}

fn strings_fill_their_shape(literal: &Literal) -> bool {
    match literal {
        Literal::Strings { shape, values } => element_count(shape) == Some(values.len()),
        Literal::Tuple(items) | Literal::List(_, items) => items.iter().all(strings_fill_their_shape),
        Literal::Dict(_, _, entries) => {
            entries.iter().all(|(k, v)| strings_fill_their_shape(k) && strings_fill_their_shape(v))
        }
        Literal::Tensor(_) => true,
    }
}
