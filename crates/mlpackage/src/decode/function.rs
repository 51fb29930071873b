//! Functions, blocks and operations from messages.
//!
//! `const` operations become constants of the value table. Inline literals become constants too, under names made of
//! their operation and parameter that no explicit name of the function has.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
};

use coremltools_proto::mil_spec::{self as pb, argument::binding::Binding};
use mil::{
    Arg, Block, Function, Inputs, Literal, Op, Opset, Type, ValueId,
    ops::{self, Accepts},
};

use super::{WeightFiles, value};
use crate::{
    error::{Error, ModelFault, model_error},
    types,
};

/// Attributes that every operation may have.
const NAME: &str = "name";
/// The attribute that holds the value of a `const` operation.
const VAL: &str = "val";

/// The function in a message: its block for the opset that it declares.
pub(super) fn decode(
    name: &str,
    message: &pb::Function,
    place: &str,
    weights: &mut WeightFiles<'_>,
) -> Result<Function, Error> {
    let place = format!("{place}, function {name}");
    let opset = Opset::from_name(&message.opset)
        .ok_or_else(|| model_error(&place, ModelFault::Opset(message.opset.clone())))?;
    let body = message.block_specializations.get(&message.opset);
    let body = body.ok_or_else(|| model_error(&place, ModelFault::NoBlock(opset)))?;
    if !body.inputs.is_empty() {
        return Err(model_error(&place, ModelFault::BodyInputs));
    }
    let mut taken: HashSet<&str> = message.inputs.iter().map(|v| v.name.as_str()).collect();
    explicit_names(body, &mut taken);
    let mut function = Function::new(name, opset);
    function.attributes = value::decode_all(&message.attributes, &|| format!("{place}, attributes"), weights)?;
    let mut decoder = Decoder {
        function,
        weights,
        place: &place,
        taken,
        next_suffix: HashMap::new(),
        scope: HashMap::new(),
        next_op: 0,
    };
    for input in &message.inputs {
        let id = decoder.declare(input, None).map_err(|fault| decoder.fault("inputs", fault))?;
        decoder.function.inputs.push(id);
    }
    decoder.function.body = decoder.block(body)?;
    Ok(decoder.function)
}

/// Every name that the message itself gives to a value.
fn explicit_names<'m>(block: &'m pb::Block, names: &mut HashSet<&'m str>) {
    names.extend(block.inputs.iter().map(|v| v.name.as_str()));
    for op in &block.operations {
        names.extend(op.outputs.iter().map(|v| v.name.as_str()));
        op.blocks.iter().for_each(|b| explicit_names(b, names));
    }
}

struct Decoder<'d, 'm, 'w> {
    function: Function,
    weights: &'d mut WeightFiles<'w>,
    place: &'d str,
    /// Names that an inline literal may not have.
    taken: HashSet<&'m str>,
    /// Where the search for a fresh name with a given base goes on, so that many equal bases cost no more than few.
    next_suffix: HashMap<String, u32>,
    /// Values that are defined at this point.
    scope: HashMap<&'m str, ValueId>,
    next_op: usize,
}

impl<'m> Decoder<'_, 'm, '_> {
    fn block(&mut self, message: &'m pb::Block) -> Result<Block, Error> {
        if let Some(name) = message.attributes.keys().next() {
            return Err(self.fault("block", ModelFault::Attribute(name.clone())));
        }
        let mut block = Block::default();
        let mut defined = Vec::new();
        for input in &message.inputs {
            block.inputs.push(self.declare(input, None).map_err(|fault| self.fault("block inputs", fault))?);
            defined.push(input.name.as_str());
        }
        for op in &message.operations {
            let index = self.next_op;
            self.next_op += 1;
            match op.r#type.as_str() {
                "const" => self.constant(index, op)?,
                _ => {
                    let op = self.op(index, op)?;
                    block.ops.push(op);
                }
            }
            defined.extend(op.outputs.iter().map(|v| v.name.as_str()));
        }
        for name in &message.outputs {
            let id = self.scope.get(name.as_str()).copied();
            block.outputs.push(id.ok_or_else(|| self.fault("block outputs", ModelFault::Undefined(name.clone())))?);
        }
        for name in defined {
            self.scope.remove(name);
        }
        Ok(block)
    }

    fn constant(&mut self, index: usize, op: &'m pb::Operation) -> Result<(), Error> {
        let place = self.op_place(index, op);
        let fault = |fault| model_error(place(), fault);
        if let Some(param) = op.inputs.keys().next() {
            return Err(fault(ModelFault::Attribute(param.clone())));
        }
        if let Some(name) = op.attributes.keys().find(|k| ![NAME, VAL].contains(&k.as_str())) {
            return Err(fault(ModelFault::Attribute(name.clone())));
        }
        let [output] = &op.outputs[..] else { return Err(fault(ModelFault::Missing("the one output of a const"))) };
        let val = op.attributes.get(VAL).ok_or_else(|| fault(ModelFault::Missing("the value of a const")))?;
        let literal = value::decode(val, &place, self.weights)?;
        self.declare(output, Some(literal)).map_err(fault)?;
        Ok(())
    }

    fn op(&mut self, index: usize, op: &'m pb::Operation) -> Result<Op, Error> {
        let place = self.op_place(index, op);
        let name = self.op_name(op, &place)?;
        let mut inputs = Inputs::new();
        for (param, argument) in &op.inputs {
            let arg = self.argument(op, &name, param, argument, &place)?;
            inputs.insert(Cow::Owned(param.clone()), arg);
        }
        // Before CoreML8 the operands of `constexpr_*` are attributes.
        let is_constexpr = mil::ops::stage(&op.r#type) == mil::ops::Stage::Load;
        for (param, val) in op.attributes.iter().filter(|(k, _)| *k != NAME) {
            if !is_constexpr {
                return Err(model_error(place(), ModelFault::Attribute(param.clone())));
            }
            let literal = value::decode(val, &|| format!("{}, {param}", place()), self.weights)?;
            let id = self.inline(&name, param, literal);
            if inputs.insert(Cow::Owned(param.clone()), Arg::One(id)).is_some() {
                return Err(model_error(place(), ModelFault::BoundTwice(param.clone())));
            }
        }
        let blocks = op.blocks.iter().map(|b| self.block(b)).collect::<Result<_, _>>()?;
        let mut outputs = Vec::with_capacity(op.outputs.len());
        for output in &op.outputs {
            outputs.push(self.declare(output, None).map_err(|fault| model_error(place(), fault))?);
        }
        Ok(Op { kind: Cow::Owned(op.r#type.clone()), name: name.into(), inputs, outputs, blocks, origin: None })
    }

    /// The `name` attribute, or the name of the first result.
    fn op_name(&mut self, op: &pb::Operation, place: value::Place<'_>) -> Result<String, Error> {
        let Some(name) = op.attributes.get(NAME) else {
            return Ok(op.outputs.first().map_or_else(|| op.r#type.clone(), |v| v.name.clone()));
        };
        match value::decode(name, place, self.weights)? {
            Literal::Strings { shape, values } if shape.is_empty() && values.len() == 1 => Ok(values[0].to_string()),
            other => Err(model_error(
                place(),
                ModelFault::TypeMismatch { declared: Type::string().to_string(), found: other.ty().to_string() },
            )),
        }
    }

    fn argument(
        &mut self,
        op: &pb::Operation,
        name: &str,
        param: &str,
        argument: &'m pb::Argument,
        place: value::Place<'_>,
    ) -> Result<Arg, Error> {
        let mut values = Vec::with_capacity(argument.arguments.len());
        for binding in &argument.arguments {
            values.push(match &binding.binding {
                None => return Err(model_error(place(), ModelFault::Missing("a binding"))),
                Some(Binding::Name(name)) => {
                    let id = self.scope.get(name.as_str()).copied();
                    id.ok_or_else(|| model_error(place(), ModelFault::Undefined(name.clone())))?
                }
                Some(Binding::Value(val)) => {
                    let literal = value::decode(val, &|| format!("{}, {param}", place()), self.weights)?;
                    self.inline(name, param, literal)
                }
            });
        }
        Ok(match values[..] {
            [only] if !is_tuple(&op.r#type, param, self.function.opset) => Arg::One(only),
            _ => Arg::Many(values),
        })
    }

    /// A constant for an inline literal, under a name of its own.
    fn inline(&mut self, op_name: &str, param: &str, literal: Literal) -> ValueId {
        let base = mil::sanitize(&format!("{op_name}_{param}"));
        let ty = literal.ty();
        let suffix = self.next_suffix.entry(base.clone()).or_insert(0);
        loop {
            let name = if *suffix == 0 { base.clone() } else { format!("{base}_{suffix}") };
            *suffix += 1;
            let is_free = !self.taken.contains(name.as_str()) && self.function.by_name(&name).is_none();
            if is_free && let Some(id) = self.function.add_named(&name, ty.clone(), Some(literal.clone())) {
                return id;
            }
        }
    }

    /// Defines a value, which must be the first of its name in scope.
    fn declare(&mut self, message: &'m pb::NamedValueType, literal: Option<Literal>) -> Result<ValueId, ModelFault> {
        let mut ty = types::decode(message.r#type.as_ref())?;
        if let Some(literal) = &literal {
            let found = literal.ty();
            if !ty.agrees(&found) {
                return Err(ModelFault::TypeMismatch { declared: ty.to_string(), found: found.to_string() });
            }
            ty = found;
        }
        let name = message.name.as_str();
        if self.scope.contains_key(name) {
            return Err(ModelFault::Duplicate(name.to_owned()));
        }
        // Blocks that do not enclose each other may use one name twice; a function's value table may not.
        let id = match self.function.add_named(name, ty.clone(), literal.clone()) {
            Some(id) => id,
            None => {
                let fresh = self.function.fresh_name(name);
                self.function.add_named(&fresh, ty, literal).expect("invariant: the name is fresh")
            }
        };
        self.scope.insert(name, id);
        Ok(id)
    }

    fn op_place(&self, index: usize, op: &'m pb::Operation) -> impl Fn() -> String + use<'m> {
        let place = self.place.to_owned();
        move || {
            let result = op.outputs.first().map_or("", |v| v.name.as_str());
            format!("{place}, op #{index} {} {result}", op.r#type)
        }
    }

    fn fault(&self, what: &str, fault: ModelFault) -> Error {
        model_error(format!("{}, {what}", self.place), fault)
    }
}

/// True when a parameter takes a tuple even if one value is bound to it.
pub(crate) fn is_tuple(kind: &str, param: &str, opset: Opset) -> bool {
    let spec = ops::lookup(kind, opset);
    spec.and_then(|s| s.param(param)).is_some_and(|p| matches!(p.accepts, Accepts::Tuple))
}
