//! Lowers one recorded operation after the other through MIL's builder.
//!
//! This module holds what every operation needs (operands, literals, names, origins, the check of types) and
//! the list of families; each family has a file.

mod activation;
mod attention;
mod base;
mod elementwise;
mod module;
mod reduce;
mod resize;
mod window;

use std::collections::HashMap;
use std::sync::Arc;

use burn::backend::capture::TensorId;
use burn::backend::ir::{OperationIr, ScalarIr, TensorIr};
use mil::{Bound, Const, DType, Emitter, Function, FunctionBuilder, Literal, OpError, Opset, Type, ValueId};

use crate::error::LowerError;
use crate::plan::{LinearNode, Node, live_operations, plan};
use crate::recording::Recording;
use crate::statics::{Static, Statics, view};
use crate::types;

/// Lowers a recording to a function.
pub(crate) fn lower_graph(
    name: &str,
    opset: Opset,
    recording: &Recording,
    parameters: impl FnMut(&str) -> Option<Const>,
) -> Result<Function, LowerError> {
    let outputs: Vec<TensorId> = recording.outputs.iter().map(|output| output.id).collect();
    let live = live_operations(&recording.graph.graph.operations, &outputs);
    let statics = collect_statics(recording, &live, &outputs, parameters)?;
    let nodes = plan(&live, &statics, &outputs);

    let mut builder = FunctionBuilder::new(name, opset);
    let mut values = HashMap::new();
    for (spec, id) in &recording.inputs {
        values.insert(*id, builder.input(&spec.name, Type::tensor(spec.dtype, &spec.shape)));
    }
    let mut lowerer = Lowerer {
        emitter: builder.emitter(),
        statics: &statics,
        values,
        origins: HashMap::new(),
        origin: None,
        label: String::new(),
    };
    for node in &nodes {
        lowerer.node(node)?;
    }
    let results = lowerer.outputs(recording)?;
    let ops = lowerer.emitter.into_ops();
    Ok(builder.finish(ops, &results))
}

/// Parameters and literals that a live operation reads or an output is, and the views of them.
fn collect_statics(
    recording: &Recording,
    live: &[&OperationIr],
    outputs: &[TensorId],
    mut parameters: impl FnMut(&str) -> Option<Const>,
) -> Result<Statics, LowerError> {
    let mut statics = Statics::new();
    let inputs: Vec<TensorId> = recording.inputs.iter().map(|(_, id)| *id).collect();
    for operation in live {
        for tensor in operation.inputs() {
            if statics.contains_key(&tensor.id) || inputs.contains(&tensor.id) {
                continue;
            }
            if let Some(path) = recording.parameters.get(&tensor.id) {
                let value = parameter(path, tensor, &mut parameters)?;
                statics.insert(tensor.id, Static::new(value, path.clone(), true));
            } else if let Some(data) = recording.graph.values.get(&tensor.id) {
                statics.insert(tensor.id, literal(data)?);
            }
        }
        if let Some((id, known)) = view(operation, &statics) {
            statics.insert(id, known);
        }
    }
    for id in outputs {
        if let (Some(data), false) = (recording.graph.values.get(id), inputs.contains(id)) {
            statics.insert(*id, literal(data)?);
        }
    }
    Ok(statics)
}

fn literal(data: &burn::tensor::TensorData) -> Result<Static, LowerError> {
    let value = types::constant(data).map_err(|value| LowerError::OutOfRange {
        op: "literal".to_owned(),
        origin: START.to_owned(),
        value,
        dtype: "fp32, fp16, int32 or bool",
    })?;
    Ok(Static::new(value, "literal".into(), false))
}

fn parameter(
    path: &Arc<str>,
    tensor: &TensorIr,
    parameters: &mut impl FnMut(&str) -> Option<Const>,
) -> Result<Const, LowerError> {
    let value = parameters(path).ok_or_else(|| LowerError::MissingParameter { path: path.to_string() })?;
    if value.shape() != tensor.shape.as_slice() {
        return Err(LowerError::ParameterShape {
            path: path.to_string(),
            expected: tensor.shape.to_vec(),
            found: value.shape().to_vec(),
        });
    }
    let dtype = types::dtype(tensor.dtype).map_err(|dtype| LowerError::Unsupported {
        op: format!("parameter of type {dtype}"),
        origin: path.to_string(),
        nearest: "a parameter of f32, f16, integers or booleans".to_owned(),
    })?;
    Ok(value.cast(dtype))
}

/// What messages say for an operation that no parameter precedes.
const START: &str = "the inputs";

/// Why one operation could not be lowered; [`Lowerer`] adds which one and where.
#[derive(Debug)]
enum Failure {
    /// MIL's builder refused it.
    Build(OpError),
    /// There is no form of it; what to write instead.
    Unsupported(&'static str),
    /// A scalar does not fit the element type.
    OutOfRange(String, &'static str),
    /// The lowered and the recorded type.
    TypeMismatch(String, String),
}

impl From<OpError> for Failure {
    fn from(error: OpError) -> Self {
        Self::Build(error)
    }
}

impl From<mil::ConstError> for Failure {
    fn from(error: mil::ConstError) -> Self {
        Self::Build(OpError::new(error.to_string()))
    }
}

/// Where an operation's result comes from: a parameter's module, and how late in the program.
#[derive(Clone, Debug)]
struct Origin {
    path: Arc<str>,
    at: usize,
}

/// The state of one lowering.
struct Lowerer<'f, 's> {
    emitter: Emitter<'f>,
    statics: &'s Statics,
    /// Values of tensors, statics included once they are used.
    values: HashMap<TensorId, ValueId>,
    origins: HashMap<TensorId, Origin>,
    /// Of the operation that is being lowered.
    origin: Option<Origin>,
    /// What its values are named after.
    label: String,
}

impl<'s> Lowerer<'_, 's> {
    fn node(&mut self, node: &Node<'_>) -> Result<(), LowerError> {
        self.enter(node);
        let result = match node {
            Node::Op(operation) => self.operation(operation),
            Node::Linear(linear) => self.linear(linear),
        };
        result.map_err(|failure| self.explain(node, failure))?;
        for out in node.outputs() {
            if let Some(origin) = &self.origin {
                self.origins.insert(out.id, origin.clone());
            }
        }
        Ok(())
    }

    fn operation(&mut self, operation: &OperationIr) -> Result<(), Failure> {
        match operation {
            OperationIr::BaseFloat(op) | OperationIr::BaseInt(op) | OperationIr::BaseBool(op) => self.base(op),
            OperationIr::NumericFloat(_, op) | OperationIr::NumericInt(_, op) => self.numeric(op),
            OperationIr::Float(_, op) => self.float(op),
            OperationIr::Int(op) => self.int(op),
            OperationIr::Bool(op) => self.bool(op),
            OperationIr::Module(op) => self.module(op),
            OperationIr::Activation(op) => self.activation(op),
            OperationIr::Init(_) | OperationIr::Drop(_) => Ok(()),
            OperationIr::Custom(_) => Err(Failure::Unsupported("the operation's own parts, recorded one by one")),
            OperationIr::Distributed(_) => Err(Failure::Unsupported("a module that runs on one device")),
        }
    }

    /// Sets origin and label from the parameters that the node reads, or from its latest producer.
    fn enter(&mut self, node: &Node<'_>) {
        let inputs = node.inputs();
        let module = inputs
            .iter()
            .filter_map(|input| self.statics.get(&input.id))
            .find(|known| known.is_parameter)
            .map(|known| parent(&known.name));
        self.origin = match &module {
            Some(path) => Some(Origin { path: path.clone(), at: self.emitter.ops().len() }),
            None => inputs.iter().filter_map(|input| self.origins.get(&input.id)).max_by_key(|o| o.at).cloned(),
        };
        self.emitter.set_origin(self.origin.as_ref().map(|origin| origin.path.clone()));
        self.label = module.map_or_else(String::new, |path| path.to_string());
    }

    /// Adds an operation with one result.
    fn emit<const N: usize>(
        &mut self,
        kind: &'static str,
        args: [(&'static str, Bound); N],
    ) -> Result<ValueId, Failure> {
        let name = self.name(kind);
        Ok(self.emitter.op(kind, &name, args)?)
    }

    /// Adds an operation whose arguments are not known in number.
    fn emit_many(&mut self, kind: &'static str, args: Vec<(&'static str, Bound)>) -> Result<Vec<ValueId>, Failure> {
        let name = self.name(kind);
        Ok(self.emitter.op_multi(kind, &name, args)?)
    }

    /// A layer is named after its module; what stands between layers after the layer before it.
    fn name(&self, kind: &str) -> String {
        match (&self.label, &self.origin) {
            (label, _) if !label.is_empty() => label.clone(),
            (_, Some(origin)) => format!("{}_{kind}", origin.path),
            _ => kind.to_owned(),
        }
    }

    /// The value of a recorded tensor; a static one becomes a constant.
    fn value(&mut self, tensor: &TensorIr) -> Result<ValueId, Failure> {
        if let Some(value) = self.values.get(&tensor.id) {
            return Ok(*value);
        }
        let statics = self.statics;
        let known = statics
            .get(&tensor.id)
            .ok_or(Failure::Unsupported("a tensor that is an input, a parameter, a literal or computed from them"))?;
        let value = self.emitter.constant(&known.name, Literal::Tensor(known.value()?));
        self.values.insert(tensor.id, value);
        Ok(value)
    }

    /// A recorded scalar in the element type of `tensor`.
    fn scalar(&self, value: ScalarIr, tensor: &TensorIr) -> Result<Bound, Failure> {
        let dtype = self.dtype(tensor)?;
        let literal = types::scalar(value, dtype).map_err(|value| Failure::OutOfRange(value, dtype.name()))?;
        Ok(Bound::Literal(literal))
    }

    fn dtype(&self, tensor: &TensorIr) -> Result<DType, Failure> {
        types::dtype(tensor.dtype).map_err(|_| Failure::Unsupported("tensors of f32, f16, integers or booleans"))
    }

    /// Says that `value` is `tensor`, if their types are equal.
    fn bind(&mut self, tensor: &TensorIr, value: ValueId) -> Result<(), Failure> {
        let lowered = self.emitter.function().ty(value);
        let recorded = types::tensor_type(tensor)
            .map_err(|_| Failure::Unsupported("tensors of f32, f16, integers or booleans"))?;
        if *lowered != recorded {
            return Err(Failure::TypeMismatch(lowered.to_string(), recorded.to_string()));
        }
        self.values.insert(tensor.id, value);
        Ok(())
    }

    /// Binds `value` after a reshape, if it has another shape than `tensor`.
    fn bind_reshaped(&mut self, tensor: &TensorIr, value: ValueId) -> Result<(), Failure> {
        let shape = self.emitter.function().ty(value).as_tensor().and_then(mil::TensorType::static_shape);
        let value = match shape.as_deref() == Some(tensor.shape.as_slice()) {
            true => value,
            false => self.emit("reshape", [("x", value.into()), ("shape", dims(&tensor.shape)?)])?,
        };
        self.bind(tensor, value)
    }

    /// `x · weight + bias`, with the checkpoint's own bytes as `[out, in]`.
    fn linear(&mut self, node: &LinearNode<'_>) -> Result<(), Failure> {
        let statics = self.statics;
        let fail = Failure::Unsupported("a static matrix");
        let weight = statics.get(&node.weight.id).ok_or(fail)?;
        let matrix = weight.of_rank(2).ok_or(Failure::Unsupported("a static matrix"))?.transpose(&[1, 0])?;
        let weight = self.emitter.constant(&weight.name, Literal::Tensor(matrix));
        let mut args = vec![("x", self.value(node.x)?.into()), ("weight", weight.into())];
        if let Some(bias) = node.bias {
            let bias = statics.get(&bias.id).ok_or(Failure::Unsupported("a static bias"))?;
            let vector = bias.of_rank(1).ok_or(Failure::Unsupported("a static bias"))?;
            args.push(("bias", self.emitter.constant(&bias.name, Literal::Tensor(vector)).into()));
        }
        let values = self.emit_many("linear", args)?;
        self.bind(node.out, values[0])
    }

    /// The output values, under their names; an output that is an input or a constant passes an `identity`.
    fn outputs(&mut self, recording: &Recording) -> Result<Vec<ValueId>, LowerError> {
        let mut results: Vec<ValueId> = Vec::with_capacity(recording.outputs.len());
        for output in &recording.outputs {
            self.origin = self.origins.get(&output.id).cloned();
            let value = self.output(output.id, &results).map_err(|failure| {
                let op = format!("output {}", output.name);
                self.locate(op, failure)
            })?;
            self.emitter.function_mut().rename(value, &output.name);
            results.push(value);
        }
        Ok(results)
    }

    fn output(&mut self, id: TensorId, taken: &[ValueId]) -> Result<ValueId, Failure> {
        let statics = self.statics;
        let value = match (self.values.get(&id), statics.get(&id)) {
            (Some(value), _) => *value,
            (None, Some(known)) => self.emitter.constant(&known.name, Literal::Tensor(known.value()?)),
            (None, None) => return Err(Failure::Unsupported("a result that is computed from the inputs")),
        };
        let function = self.emitter.function();
        let computed = function.literal(value).is_none() && !function.inputs.contains(&value);
        match computed && !taken.contains(&value) {
            true => Ok(value),
            false => self.emit("identity", [("x", value.into())]),
        }
    }

    fn explain(&self, node: &Node<'_>, failure: Failure) -> LowerError {
        let op = match node {
            Node::Op(operation) => operation_name(operation),
            Node::Linear(_) => "Linear".to_owned(),
        };
        self.locate(op, failure)
    }

    fn locate(&self, op: String, failure: Failure) -> LowerError {
        let origin = self.origin.as_ref().map_or(START, |origin| &*origin.path).to_owned();
        match failure {
            Failure::Build(source) => LowerError::Build { op, origin, source },
            Failure::Unsupported(nearest) => LowerError::Unsupported { op, origin, nearest: nearest.to_owned() },
            Failure::OutOfRange(value, dtype) => LowerError::OutOfRange { op, origin, value, dtype },
            Failure::TypeMismatch(lowered, recorded) => LowerError::TypeMismatch { op, origin, lowered, recorded },
        }
    }
}

/// The module that holds a parameter: the path without its last part.
fn parent(path: &Arc<str>) -> Arc<str> {
    match path.rsplit_once('.') {
        Some((module, _)) => module.into(),
        None => path.clone(),
    }
}

/// The innermost variant name: `NumericFloat(F32, Add(BinaryOpIr { .. }))` is `Add`.
fn operation_name(operation: &OperationIr) -> String {
    let debug = format!("{operation:?}");
    let head = debug.split(" {").next().unwrap_or_default();
    let innermost = head.split(['(', ' ', ')']).rev().find(|name| !name.is_empty() && !name.ends_with("OpIr"));
    innermost.unwrap_or(head).to_owned()
}

/// A shape, or any list of sizes, as an `int32` vector.
fn dims(sizes: &[usize]) -> Result<Bound, Failure> {
    let ints: Result<Vec<i32>, _> = sizes.iter().map(|n| axis(*n)).collect();
    Ok(Bound::from(ints?))
}

/// A size or an axis as `int32`.
fn axis(n: usize) -> Result<i32, Failure> {
    i32::try_from(n).map_err(|_| Failure::OutOfRange(n.to_string(), DType::I32.name()))
}
