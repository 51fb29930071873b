//! Functions, blocks and operations to messages, and those to bytes as soon as they are whole.

use std::collections::BTreeMap;

use coremltools_proto::{
    Message,
    mil_spec::{self as pb, argument},
};
use mil::{Arg, Block, Function, Literal, Op, Opset, Program, ValueId};

use super::{
    WeightPlan,
    raw::{put_entry, put_message},
    value,
};
use crate::{
    error::{Error, ModelFault, model_error},
    types,
};

/// The bytes of a program's message; large constants are added to `weights` in program order.
pub(crate) fn encode<'p>(program: &'p Program, weights: &mut WeightPlan<'p>) -> Result<Vec<u8>, Error> {
    let mut out = pb::Program { version: 1, ..pb::Program::default() }.encode_to_vec();
    for (name, function) in &program.functions {
        put_entry(&mut out, FUNCTIONS, name, &encode_function(function, weights)?);
    }
    let attributes = encode_attributes(&program.attributes, weights)?;
    out.extend(pb::Program { attributes, ..pb::Program::default() }.encode_to_vec());
    Ok(out)
}

/// Numbers of the fields that are put together from bytes: of a program, a function and a block.
const FUNCTIONS: u32 = 2;
const BLOCK_SPECIALIZATIONS: u32 = 3;
const OPERATIONS: u32 = 3;

fn encode_attributes<'p>(
    attributes: &'p BTreeMap<String, Literal>,
    weights: &mut WeightPlan<'p>,
) -> Result<BTreeMap<String, pb::Value>, Error> {
    attributes.iter().map(|(name, literal)| Ok((name.clone(), value::encode(literal, weights)?))).collect()
}

fn encode_function<'p>(function: &'p Function, weights: &mut WeightPlan<'p>) -> Result<Vec<u8>, Error> {
    let attributes = encode_attributes(&function.attributes, weights)?;
    let mut encoder = Encoder { function, weights, is_emitted: vec![false; function.values().len()] };
    let body = encoder.body()?;
    let (inputs, opset) = (encoder.named(&function.inputs), function.opset.name());
    let mut out = pb::Function { inputs, opset: opset.to_owned(), ..pb::Function::default() }.encode_to_vec();
    put_entry(&mut out, BLOCK_SPECIALIZATIONS, opset, &body);
    out.extend(pb::Function { attributes, ..pb::Function::default() }.encode_to_vec());
    Ok(out)
}

struct Encoder<'e, 'p> {
    function: &'p Function,
    weights: &'e mut WeightPlan<'p>,
    /// Constants that have their `const` operation already.
    is_emitted: Vec<bool>,
}

impl<'p> Encoder<'_, 'p> {
    /// The bytes of the function's block, with a `const` operation before the first user of each constant.
    ///
    /// Constants of nested blocks stand before the operation that holds the blocks, so that each stands once.
    fn body(&mut self) -> Result<Vec<u8>, Error> {
        let body = &self.function.body;
        let mut out = pb::Block { outputs: self.names(&body.outputs), ..pb::Block::default() }.encode_to_vec();
        for op in &body.ops {
            let mut used = Vec::new();
            for_each_bound(op, &mut |v| used.push(v));
            self.constants(&used, &mut out)?;
            put_message(&mut out, OPERATIONS, &self.op(op)?);
        }
        self.constants(&body.outputs, &mut out)?;
        Ok(out)
    }

    fn constants(&mut self, values: &[ValueId], out: &mut Vec<u8>) -> Result<(), Error> {
        let function = self.function;
        for &id in values {
            let Some(literal) = function.literal(id) else { continue };
            if !std::mem::replace(&mut self.is_emitted[id.index()], true) {
                let val = value::encode(literal, self.weights)?;
                let output = pb::NamedValueType {
                    name: function.name_of(id).to_owned(),
                    r#type: Some(types::encode(&literal.ty())),
                };
                let attributes =
                    BTreeMap::from([("name".to_owned(), self.string(function.name_of(id))?), ("val".to_owned(), val)]);
                let operation = pb::Operation {
                    r#type: "const".to_owned(),
                    outputs: vec![output],
                    attributes,
                    ..pb::Operation::default()
                };
                put_message(out, OPERATIONS, &operation);
            }
        }
        Ok(())
    }

    fn op(&mut self, op: &'p Op) -> Result<pb::Operation, Error> {
        let mut attributes = BTreeMap::from([("name".to_owned(), self.string(&op.name)?)]);
        let mut inputs = BTreeMap::new();
        let is_constexpr = op.is_constexpr();
        for (param, arg) in &op.inputs {
            if is_constexpr && self.function.opset < Opset::CoreML8 {
                attributes.insert(param.to_string(), self.attribute(op, param, arg)?);
            } else {
                inputs.insert(param.to_string(), self.argument(arg, is_constexpr)?);
            }
        }
        let blocks = op.blocks.iter().map(|block| self.block(block)).collect::<Result<_, _>>()?;
        Ok(pb::Operation { r#type: op.kind.to_string(), inputs, outputs: self.named(&op.outputs), blocks, attributes })
    }

    /// A nested block; its constants have been emitted outside.
    fn block(&mut self, block: &'p Block) -> Result<pb::Block, Error> {
        Ok(pb::Block {
            inputs: self.named(&block.inputs),
            outputs: self.names(&block.outputs),
            operations: block.ops.iter().map(|op| self.op(op)).collect::<Result<_, _>>()?,
            attributes: BTreeMap::new(),
        })
    }

    /// An operand of a `constexpr_*` operation before `CoreML8`: an attribute, always constant.
    fn attribute(&mut self, op: &Op, param: &str, arg: &Arg) -> Result<pb::Value, Error> {
        let literal = match arg {
            Arg::One(id) => self.function.literal(*id),
            Arg::Many(_) => None,
        };
        let place = || format!("function {}, op {}", self.function.name, op.name);
        let literal = literal.ok_or_else(|| model_error(place(), ModelFault::NotConstant(param.to_owned())))?;
        value::encode(literal, self.weights)
    }

    /// One binding per value: by name, or by value for the constants of a `constexpr_*` operation.
    fn argument(&mut self, arg: &Arg, by_value: bool) -> Result<pb::Argument, Error> {
        let mut arguments = Vec::with_capacity(arg.values().len());
        for &id in arg.values() {
            let binding = match self.function.literal(id) {
                Some(literal) if by_value => argument::binding::Binding::Value(value::encode(literal, self.weights)?),
                _ => argument::binding::Binding::Name(self.function.name_of(id).to_owned()),
            };
            arguments.push(argument::Binding { binding: Some(binding) });
        }
        Ok(pb::Argument { arguments })
    }

    /// The value of a `name` attribute.
    fn string(&self, text: &str) -> Result<pb::Value, Error> {
        let literal = Literal::string(text);
        // A string is never a weight, so the plan of the program is not needed (and could not outlive `literal`).
        value::encode(&literal, &mut WeightPlan::new("", 0))
    }

    fn named(&self, values: &[ValueId]) -> Vec<pb::NamedValueType> {
        let named = |&id: &ValueId| pb::NamedValueType {
            name: self.function.name_of(id).to_owned(),
            r#type: Some(types::encode(self.function.ty(id))),
        };
        values.iter().map(named).collect()
    }

    fn names(&self, values: &[ValueId]) -> Vec<String> {
        values.iter().map(|&id| self.function.name_of(id).to_owned()).collect()
    }
}

/// Calls `f` on each value that `op` binds by name, the operations of its blocks included.
fn for_each_bound(op: &Op, f: &mut dyn FnMut(ValueId)) {
    if !op.is_constexpr() {
        op.operands().for_each(&mut *f);
    }
    for block in &op.blocks {
        block.ops.iter().for_each(|op| for_each_bound(op, f));
        block.outputs.iter().copied().for_each(&mut *f);
    }
}
