//! `model.mil`: the operations of a model file as text, one for one.
//!
//! What the compiler does besides: it sorts a function's inputs by name, names itself in `buildInfo`, and gives a
//! function whose inputs have flexible shapes an attribute that says so.
//! Up to specification version 8 scalars are spelt as tensors, whatever the opset.

use std::collections::BTreeMap;

use coremltools_proto::mil_spec::{self as pb, argument::binding::Binding};
use mil::{
    Const, DType, Dim, HostTensor, Literal, Opset, TensorType, Type,
    text::{Dialect, write_type, write_value},
};

use crate::{
    compiled::{BUILD_INFO, COMPILER, COMPONENT, FLEXIBLE},
    decode::{self, WeightFiles},
    description::{FeatureType, Interface, ShapeFlexibility},
    error::{Error, ModelFault, model_error},
    types,
};

/// What stands in the place of the compiler's component and version: whoever reads the file sees what wrote it. A
/// version is a number, in case that somebody compares it.
const WRITER: [(&str, &str); 2] = [(COMPONENT, "smelt"), (COMPILER, env!("CARGO_PKG_VERSION"))];

/// Widths of indentation: of functions, of the ends of their blocks, of statements.
const FUNCTION: usize = 4;
const END: usize = 8;
const STATEMENT: usize = 12;

/// The text of a program; the compiler writes no newline at the end.
///
/// # Errors
/// What decoding the program would refuse.
pub(super) fn print(
    program: &pb::Program,
    specification_version: i32,
    interfaces: &[Interface],
    weights: &mut WeightFiles<'_>,
) -> Result<String, Error> {
    let dialect = if specification_version >= 9 { Dialect::Short } else { Dialect::Verbose };
    let mut printer = Printer { out: String::new(), dialect, weights, opset: Opset::CoreML5 };
    printer.out.push_str(if dialect == Dialect::Short { "program(1.3)\n" } else { "program(1.0)\n" });
    let mut attributes = decode::attributes(&program.attributes, "program attributes", printer.weights)?;
    let info = build_info(attributes.remove(BUILD_INFO));
    attributes.insert(BUILD_INFO.to_owned(), info);
    printer.attributes(attributes.iter().map(|(name, value)| (name.as_str(), value)));
    printer.out.push_str("\n{\n");
    for (name, function) in &program.functions {
        printer.function(name, function, interfaces.iter().find(|f| f.name == *name))?;
    }
    printer.out.push('}');
    Ok(printer.out)
}

/// The program's information about how it was made, with the compiler's, sorted by key.
fn build_info(known: Option<Literal>) -> Literal {
    let mut entries = match known {
        Some(Literal::Dict(_, _, entries)) => entries,
        _ => Vec::new(),
    };
    let key = |literal: &Literal| match literal {
        Literal::Strings { values, .. } => values.first().map(ToString::to_string).unwrap_or_default(),
        _ => String::new(),
    };
    entries.retain(|(k, _)| ![COMPILER, COMPONENT].contains(&key(k).as_str()));
    entries.extend(WRITER.map(|(key, value)| (Literal::string(key), Literal::string(value))));
    entries.sort_by_key(|(k, _)| key(k));
    Literal::Dict(Type::string(), Type::string(), entries)
}

struct Printer<'p, 'w> {
    out: String,
    dialect: Dialect,
    weights: &'p mut WeightFiles<'w>,
    /// Of the function being printed.
    opset: Opset,
}

impl Printer<'_, '_> {
    fn function(&mut self, name: &str, function: &pb::Function, interface: Option<&Interface>) -> Result<(), Error> {
        let place = format!("function {name}");
        let opset = Opset::from_name(&function.opset);
        self.opset = opset.ok_or_else(|| model_error(&place, ModelFault::Opset(function.opset.clone())))?;
        let block = function.block_specializations.get(&function.opset);
        let block = block.ok_or_else(|| model_error(&place, ModelFault::NoBlock(self.opset)))?;
        self.indent(FUNCTION);
        self.out.push_str(&format!("func {name}<{}>(", self.opset.ios_tag()));
        let mut inputs: Vec<_> = function.inputs.iter().collect();
        inputs.sort_by(|a, b| a.name.cmp(&b.name));
        self.declarations(inputs, &place)?;
        self.out.push_str(") ");
        let mut attributes = decode::attributes(&function.attributes, &place, self.weights)?;
        if let Some(flexible) = interface.and_then(flexible_shapes) {
            attributes.insert(FLEXIBLE.to_owned(), flexible);
        }
        if !attributes.is_empty() {
            self.attributes(attributes.iter().map(|(name, value)| (name.as_str(), value)));
            self.out.push(' ');
        }
        self.out.push_str("{\n");
        for op in &block.operations {
            self.op(op, STATEMENT, &place)?;
        }
        self.indent(END);
        self.out.push_str(&format!("}} -> ({});\n", block.outputs.join(", ")));
        Ok(())
    }

    fn op(&mut self, op: &pb::Operation, indent: usize, place: &str) -> Result<(), Error> {
        let result = op.outputs.first().map_or("", |v| v.name.as_str());
        let place = format!("{place}, {} {result}", op.r#type);
        self.indent(indent);
        self.declarations(op.outputs.iter(), &place)?;
        if !op.outputs.is_empty() {
            self.out.push_str(" = ");
        }
        self.out.push_str(&op.r#type);
        self.out.push('(');
        for (i, (param, argument)) in op.inputs.iter().enumerate() {
            self.out.push_str(if i > 0 { ", " } else { "" });
            self.out.push_str(&format!("{param} = "));
            let is_tuple = argument.arguments.len() != 1 || decode::is_tuple(&op.r#type, param, self.opset);
            self.out.push_str(if is_tuple { "(" } else { "" });
            for (i, binding) in argument.arguments.iter().enumerate() {
                self.out.push_str(if i > 0 { ", " } else { "" });
                match &binding.binding {
                    None => return Err(model_error(place, ModelFault::Missing("a binding"))),
                    Some(Binding::Name(name)) => self.out.push_str(name),
                    Some(Binding::Value(value)) => {
                        let literal = decode::literal(value, &place, self.weights)?;
                        self.value(&literal);
                    }
                }
            }
            self.out.push_str(if is_tuple { ")" } else { "" });
        }
        self.out.push(')');
        let attributes = decode::attributes(&op.attributes, &place, self.weights)?;
        if !attributes.is_empty() {
            self.attributes(attributes.iter().map(|(name, value)| (name.as_str(), value)));
        }
        for block in &op.blocks {
            self.block(block, indent + 4, &place)?;
        }
        self.out.push_str(";\n");
        Ok(())
    }

    fn block(&mut self, block: &pb::Block, indent: usize, place: &str) -> Result<(), Error> {
        self.out.push('\n');
        self.indent(indent);
        self.out.push('(');
        self.declarations(block.inputs.iter(), place)?;
        self.out.push_str(") {\n");
        for op in &block.operations {
            self.op(op, indent + 4, place)?;
        }
        self.indent(indent);
        self.out.push_str(&format!("}} -> ({})", block.outputs.join(", ")));
        Ok(())
    }

    fn declarations<'m>(
        &mut self,
        values: impl IntoIterator<Item = &'m pb::NamedValueType>,
        place: &str,
    ) -> Result<(), Error> {
        for (i, value) in values.into_iter().enumerate() {
            self.out.push_str(if i > 0 { ", " } else { "" });
            let ty = types::decode(value.r#type.as_ref()).map_err(|fault| model_error(place, fault))?;
            write_type(&mut self.out, &ty, self.dialect);
            self.out.push(' ');
            self.out.push_str(&value.name);
        }
        Ok(())
    }

    fn attributes<'a>(&mut self, attributes: impl Iterator<Item = (&'a str, &'a Literal)>) {
        self.out.push('[');
        for (i, (name, value)) in attributes.enumerate() {
            self.out.push_str(if i > 0 { ", " } else { "" });
            self.out.push_str(&format!("{name} = "));
            self.value(value);
        }
        self.out.push(']');
    }

    fn value(&mut self, literal: &Literal) {
        write_value(&mut self.out, literal, self.dialect);
    }

    fn indent(&mut self, n: usize) {
        self.out.extend(std::iter::repeat_n(' ', n));
    }
}

/// What the compiler says of inputs with flexible shapes: their shapes without a choice, and which they may have.
///
/// Keys of enumerated shapes are eight hexadecimal digits of unknown meaning; here they count. Ranges and lists of
/// shapes in one function have not been seen; the ranges are then said.
fn flexible_shapes(interface: &Interface) -> Option<Literal> {
    let (mut defaults, mut ranges) = (BTreeMap::new(), BTreeMap::new());
    let mut shapes: Vec<BTreeMap<&str, Literal>> = Vec::new();
    for feature in &interface.inputs {
        let FeatureType::MultiArray(array) = &feature.ty else { continue };
        match &array.flexibility {
            ShapeFlexibility::Fixed => continue,
            ShapeFlexibility::Ranges(sizes) => {
                let size = |n: u64| i32::try_from(n).unwrap_or(i32::MAX);
                let sizes = sizes.iter().map(|s| integers([size(s.lower), s.upper.map_or(-1, size)]));
                ranges.insert(feature.name.as_str(), Literal::List(int_tensor(Dim::Size(2)), sizes.collect()));
            }
            ShapeFlexibility::Enumerated(all) => {
                shapes.resize_with(shapes.len().max(all.len()), BTreeMap::new);
                for (inputs, shape) in shapes.iter_mut().zip(all) {
                    inputs.insert(&feature.name, integers(sizes_of(shape)));
                }
            }
        }
        defaults.insert(feature.name.as_str(), integers(sizes_of(&array.shape)));
    }
    let pair = |name: &'static str, dict| Literal::Tuple(vec![Literal::string(name), dict]);
    let choice = if !ranges.is_empty() {
        pair("RangeDims", dict(Type::List(Box::new(int_tensor(Dim::Size(2))), Dim::Unknown), ranges))
    } else if !shapes.is_empty() {
        let keyed = shapes.into_iter().enumerate();
        let keyed = keyed.map(|(i, inputs)| (format!("{i:08x}"), dict(int_tensor(Dim::Unknown), inputs)));
        let ty = Type::Dict(Box::new(Type::string()), Box::new(int_tensor(Dim::Unknown)));
        pair("EnumeratedShapes", dict(ty, keyed))
    } else {
        return None;
    };
    Some(Literal::Tuple(vec![pair("DefaultShapes", dict(int_tensor(Dim::Unknown), defaults)), choice]))
}

fn sizes_of(shape: &[usize]) -> impl Iterator<Item = i32> {
    shape.iter().map(|&n| i32::try_from(n).unwrap_or(i32::MAX))
}

fn integers(values: impl IntoIterator<Item = i32>) -> Literal {
    let values: Vec<i32> = values.into_iter().collect();
    Literal::Tensor(Const::new(HostTensor::from_i32([values.len()], values)))
}

fn int_tensor(dim: Dim) -> Type {
    Type::Tensor(TensorType { dtype: DType::I32, shape: vec![dim] })
}

fn dict<K: AsRef<str>>(ty: Type, entries: impl IntoIterator<Item = (K, Literal)>) -> Literal {
    let entries = entries.into_iter().map(|(key, value)| (Literal::string(key.as_ref()), value));
    Literal::Dict(Type::string(), ty, entries.collect())
}
