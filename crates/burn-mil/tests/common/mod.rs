//! Lowering a small module and showing the result line by line.

#![allow(dead_code, reason = "each test binary uses its own part")]

use burn::module::Module;
use burn::tensor::Device;
use burn_mil::{Inputs, LowerError, Lowering, Outputs};
use mil::{Arg, Const, DType, Function, HostTensor, Literal, Opset, ValueId};

/// A module without parameters.
#[derive(Module, Debug, Default)]
pub(crate) struct Stateless {
    unit: usize,
}

pub(crate) fn lowering(inputs: &[(&str, DType, &[usize])]) -> Lowering {
    let start = Lowering::new("main", Opset::CoreML6);
    inputs.iter().fold(start, |lowering, (name, dtype, shape)| lowering.input(name, *dtype, shape))
}

/// Parameters of these shapes, all zero.
pub(crate) fn zeros(shapes: &[(&str, &[usize])]) -> impl FnMut(&str) -> Option<Const> {
    let table: Vec<(String, Vec<usize>)> = shapes.iter().map(|(p, s)| ((*p).to_owned(), s.to_vec())).collect();
    move |path| {
        let (_, shape) = table.iter().find(|(name, _)| name == path)?;
        Some(Const::new(HostTensor::from_f32(shape.clone(), vec![0.0; shape.iter().product()])))
    }
}

/// Lowers a function of float inputs `a`, `b`, … of these shapes that has no parameters.
pub(crate) fn lower(
    shapes: &[&[usize]],
    forward: impl FnOnce(&Inputs<'_>) -> Result<Outputs, LowerError>,
) -> Result<Function, LowerError> {
    let names = ["a", "b", "c", "d"];
    let inputs: Vec<_> = names.iter().zip(shapes).map(|(name, shape)| (*name, DType::F32, *shape)).collect();
    lowering(&inputs).lower(|_: &Device| Stateless::default(), |_| None, |_, inputs| forward(inputs))
}

/// One line per operation: result, kind, arguments, type. Small constants stand with their value.
pub(crate) fn show(function: &Function) -> String {
    let mut text = String::new();
    for op in &function.body.ops {
        let args: Vec<String> =
            op.inputs.iter().map(|(param, arg)| format!("{param}={}", argument(function, arg))).collect();
        let results: Vec<&str> = op.outputs.iter().map(|v| function.name_of(*v)).collect();
        let types: Vec<String> = op.outputs.iter().map(|v| short(function.ty(*v))).collect();
        let origin = op.origin.as_deref().map_or(String::new(), |origin| format!("  # {origin}"));
        text += &format!("{} = {}({}): {}{origin}\n", results.join(", "), op.kind, args.join(", "), types.join(", "));
    }
    text
}

/// Only the kinds, in order.
pub(crate) fn kinds(function: &Function) -> Vec<String> {
    function.body.ops.iter().map(|op| op.kind.to_string()).collect()
}

fn argument(function: &Function, arg: &Arg) -> String {
    match arg {
        Arg::One(value) => operand(function, *value),
        Arg::Many(values) => {
            let values: Vec<String> = values.iter().map(|v| operand(function, *v)).collect();
            format!("({})", values.join(", "))
        }
    }
}

fn operand(function: &Function, value: ValueId) -> String {
    match function.literal(value) {
        None => function.name_of(value).to_owned(),
        Some(Literal::Tensor(c)) if c.len() <= 6 && function.value(value).name.ends_with("weight") => {
            format!("{}{:?}", function.name_of(value), c.shape())
        }
        Some(literal @ Literal::Tensor(c)) if c.len() <= 8 => match (literal.as_bool(), literal.as_ints()) {
            (Some(flag), _) => flag.to_string(),
            (None, Some(ints)) if c.shape().is_empty() => ints[0].to_string(),
            (None, Some(ints)) => format!("{ints:?}"),
            (None, None) if c.shape().is_empty() => format!("{:?}", c.read().to_f32_vec()[0]),
            (None, None) => format!("{}{:?}", function.name_of(value), c.shape()),
        },
        Some(Literal::Tensor(c)) => format!("{}{:?}", function.name_of(value), c.shape()),
        Some(literal) => literal.as_str().map_or_else(|| "?".to_owned(), |text| format!("{text:?}")),
    }
}

fn short(ty: &mil::Type) -> String {
    ty.to_string().replace("tensor<", "").replace(">", "")
}
