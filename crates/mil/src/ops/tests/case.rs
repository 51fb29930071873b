//! One line of a table, read.

use super::{Dim, OpError, Opset, Type, View, infer};
use crate::{
    constant::{Const, Literal},
    ir::{Arg, Function, Inputs, ValueId},
    types::TensorType,
};
use host_tensor::{Bytes, DType, HostTensor};
use std::borrow::Cow;

/// An operation with its operands.
pub(super) struct Case {
    function: Function,
    kind: String,
    inputs: Inputs,
}

impl Case {
    #[track_caller]
    pub(super) fn parse(line: &str) -> Self {
        let mut words = line.split_whitespace();
        let opset = words.next().and_then(Opset::from_ios_tag).unwrap_or_else(|| panic!("no opset in {line:?}"));
        let kind = words.next().unwrap_or_else(|| panic!("no operation in {line:?}")).to_owned();
        let mut case = Self { function: Function::new("main", opset), kind, inputs: Inputs::new() };
        for word in words {
            let (param, text) = word.split_once('=').unwrap_or_else(|| panic!("no value in {word:?}"));
            let arg = match text.strip_prefix('{').and_then(|t| t.strip_suffix('}')) {
                Some(items) => Arg::Many(split_top(items).into_iter().map(|item| case.value(param, item)).collect()),
                None => Arg::One(case.value(param, text)),
            };
            case.inputs.insert(Cow::Owned(param.to_owned()), arg);
        }
        case
    }

    pub(super) fn infer(&self) -> Result<Vec<Type>, OpError> {
        infer(&self.kind, &View::new(&self.function, &self.inputs), self.function.opset)
    }

    #[track_caller]
    fn value(&mut self, param: &str, text: &str) -> ValueId {
        if let Some(state) = text.strip_prefix("state:") {
            let ty = tensor(state).unwrap_or_else(|| panic!("no type: {state:?}"));
            return self.function.add_value(param, Type::State(ty));
        }
        if let Some(ty) = tensor(text) {
            return self.function.add_value(param, Type::Tensor(ty));
        }
        let literal = literal(text).unwrap_or_else(|| panic!("no operand: {text:?}"));
        self.function.add_constant(param, literal)
    }
}

/// Splits at the commas that stand outside brackets.
fn split_top(text: &str) -> Vec<&str> {
    let mut depth = 0;
    text.split(|c| {
        depth += i32::from(matches!(c, '(' | '[')) - i32::from(matches!(c, ')' | ']'));
        c == ',' && depth == 0
    })
    .filter(|item| !item.is_empty())
    .collect()
}

/// `fp16[2,?,4]`
fn tensor(text: &str) -> Option<TensorType> {
    let (dtype, dims) = text.strip_suffix(']')?.split_once('[')?;
    let dim = |d: &str| if d == "?" { Some(Dim::Unknown) } else { d.parse().ok().map(Dim::Size) };
    let shape = dims.split(',').filter(|d| !d.is_empty()).map(dim).collect::<Option<_>>()?;
    Some(TensorType { dtype: DType::from_name(dtype)?, shape })
}

fn literal(text: &str) -> Option<Literal> {
    if let Some(s) = text.strip_prefix('\'').and_then(|t| t.strip_suffix('\'')) {
        return Some(Literal::string(s));
    }
    if let Some(ty) = text.strip_prefix("zeros:").and_then(tensor) {
        let shape = ty.static_shape()?;
        let bytes = Bytes::from(vec![0; ty.dtype.byte_len(shape.iter().product())?]);
        return Some(Literal::Tensor(Const::new(HostTensor::new(ty.dtype, shape, bytes).ok()?)));
    }
    let (ty, values) = text.split_once(':').map_or((None, text), |(ty, values)| (Some(ty), values));
    let items: Vec<f64> =
        values.trim_matches(['(', ')']).split(',').filter(|s| !s.is_empty()).map(number).collect::<Option<_>>()?;
    let plain = match items.first() {
        _ if values.contains("true") || values.contains("false") => DType::Bool,
        _ if values.contains('.') => DType::F32,
        _ => DType::I32,
    };
    let mut shape = if values.starts_with('(') { vec![items.len()] } else { Vec::new() };
    let mut dtype = plain;
    if let Some(ty) = ty {
        let (name, dims) = ty.split_once('(').unwrap_or((ty, ""));
        dtype = DType::from_name(name)?;
        if !dims.is_empty() {
            shape = dims.trim_end_matches(')').split(',').map(|d| d.parse().ok()).collect::<Option<_>>()?;
        }
    }
    let values = items.into_iter().map(|x| x as f32).collect();
    Some(Literal::Tensor(Const::new(HostTensor::from_f32(shape, values).cast(dtype))))
}

fn number(text: &str) -> Option<f64> {
    match text {
        "true" => Some(1.0),
        "false" => Some(0.0),
        other => other.parse().ok(),
    }
}

/// A type as the tables write it.
pub(super) fn compact(ty: &Type) -> String {
    match ty {
        Type::Tensor(t) => {
            let dims: Vec<_> = t.shape.iter().map(ToString::to_string).collect();
            format!("{}[{}]", t.dtype, dims.join(","))
        }
        other => other.to_string(),
    }
}
