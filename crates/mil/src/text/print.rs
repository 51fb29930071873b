//! Programs to text.

use super::{BlobTable, float::write_hex, is_bare_name, lexer::write_quoted};
use crate::{
    constant::{BlobLocation, Const, Literal},
    ir::{Arg, Block, Function, Op, Program, ValueId},
    names::is_identifier,
    opset::Opset,
    types::{Dim, Type},
};
use host_tensor::DType;
use std::fmt::Write;

/// How scalars are spelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Dialect {
    /// `program(1.0)`, `tensor<fp16, []>(0x1p+0)`: specification versions up to 8.
    Verbose,
    /// `program(1.3)`, `fp16(0x1p+0)`: from specification version 9.
    Short,
}

impl Dialect {
    /// The dialect that Apple's compiler uses for `program`: short when a function has an opset of iOS 18
    /// or later, or there are several functions.
    #[must_use]
    pub fn of(program: &Program) -> Self {
        let is_new = program.functions.values().any(|f| f.opset >= Opset::CoreML8);
        if is_new || program.functions.len() > 1 { Self::Short } else { Self::Verbose }
    }
}

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrintOptions {
    /// The dialect; [`Dialect::of`] the program when `None`.
    pub dialect: Option<Dialect>,
    /// Constants of at least this many elements stand outside the text, if their type may; as do all that
    /// have a location.
    pub blob_threshold: usize,
}

impl Default for PrintOptions {
    /// Apple's choices.
    fn default() -> Self {
        // coremltools 9.0, milproto backend: blobs from ten elements on.
        Self { dialect: None, blob_threshold: 10 }
    }
}

/// A printed program.
#[derive(Debug, Clone)]
pub struct Printed {
    /// The text; ends with a newline.
    pub text: String,
    /// The constants that it refers to.
    pub blobs: BlobTable,
}

/// Prints `program`.
///
/// Names that are no names of this language stand in backquotes, which only [`parse`](super::parse) knows.
#[must_use]
pub fn print(program: &Program, options: &PrintOptions) -> Printed {
    let mut blobs = BlobTable::default();
    // First those that have a place, so that no other is put there.
    for function in program.functions.values() {
        for id in function.constants_in_order().into_iter().flatten() {
            if let Some(constant) = function.literal(id).and_then(Literal::as_const) {
                blobs.insert_located(constant);
            }
        }
    }
    let short = options.dialect.unwrap_or_else(|| Dialect::of(program)) == Dialect::Short;
    let mut printer =
        Printer { out: String::new(), blobs, short, blob_threshold: options.blob_threshold, opset: Opset::CoreML5 };
    printer.program(program);
    Printed { text: printer.out, blobs: printer.blobs }
}

/// Writes a type behind what is in `out`.
pub fn write_type(out: &mut String, ty: &Type, dialect: Dialect) {
    Printer::continuing(out, dialect, |printer| printer.ty(ty));
}

/// Writes a literal with its type behind what is in `out`; a constant that has a location is a reference to it, all
/// others stand in place.
pub fn write_value(out: &mut String, literal: &Literal, dialect: Dialect) {
    Printer::continuing(out, dialect, |printer| printer.value(literal));
}

struct Printer {
    out: String,
    blobs: BlobTable,
    short: bool,
    blob_threshold: usize,
    /// Of the function being printed.
    opset: Opset,
}

/// One function with the facts that its statements need.
struct Scope<'f> {
    function: &'f Function,
    /// By value: read by an operation that keeps names of constants, or by a block's outputs.
    keeps_name: Vec<bool>,
}

impl Printer {
    fn continuing(out: &mut String, dialect: Dialect, write: impl FnOnce(&mut Self)) {
        let mut printer = Self {
            out: std::mem::take(out),
            blobs: BlobTable::default(),
            short: dialect == Dialect::Short,
            blob_threshold: usize::MAX,
            opset: Opset::CoreML5,
        };
        write(&mut printer);
        *out = printer.out;
    }

    fn program(&mut self, program: &Program) {
        self.out.push_str(if self.short { "program(1.3)\n" } else { "program(1.0)\n" });
        self.attributes(program.attributes.iter().map(|(name, value)| (name.as_str(), value)));
        self.out.push_str("\n{\n");
        for function in program.functions.values() {
            self.function(function);
        }
        self.out.push_str("}\n");
    }

    fn function(&mut self, function: &Function) {
        self.opset = function.opset;
        self.out.push_str("    func ");
        self.name(&function.name);
        write!(self.out, "<{}>", function.opset.ios_tag()).expect(INFALLIBLE);
        self.declarations(function, &function.inputs, true);
        self.out.push(' ');
        if !function.attributes.is_empty() {
            self.attributes(function.attributes.iter().map(|(name, value)| (name.as_str(), value)));
            self.out.push(' ');
        }
        let scope = Scope { function, keeps_name: self.constants_with_names(function) };
        self.out.push_str("{\n");
        let constants = function.constants_in_order();
        for (i, group) in constants.iter().enumerate() {
            for &id in group.iter().filter(|id| scope.keeps_name[id.index()]) {
                self.constant(function, id);
            }
            if let Some(op) = function.body.ops.get(i) {
                self.op(&scope, op, 12);
            }
        }
        self.out.push_str("        } -> ");
        self.names(function, &function.body.outputs);
        self.out.push_str(";\n");
    }

    /// For each value, whether some reader of it needs a `const` statement rather than a copy in place.
    fn constants_with_names(&self, function: &Function) -> Vec<bool> {
        let mut keeps = vec![false; function.values().len()];
        function.body.for_each_op(&mut |op| {
            for arg in op.inputs.values() {
                let inlines = op.is_constexpr() && matches!(arg, Arg::One(_));
                for v in arg.values() {
                    keeps[v.index()] |= !inlines;
                }
            }
            for block in &op.blocks {
                block.outputs.iter().for_each(|v| keeps[v.index()] = true);
            }
        });
        function.body.outputs.iter().for_each(|v| keeps[v.index()] = true);
        keeps
    }

    fn constant(&mut self, function: &Function, id: ValueId) {
        let value = function.value(id);
        let Some(literal) = &value.literal else { return };
        self.indent(12);
        self.declaration(function, id);
        self.out.push_str(" = const()");
        self.attributes([("name", &Literal::string(value.name.clone())), ("val", literal)]);
        self.out.push_str(";\n");
    }

    fn op(&mut self, scope: &Scope<'_>, op: &Op, indent: usize) {
        let function = scope.function;
        self.indent(indent);
        self.declarations(function, &op.outputs, false);
        if !op.outputs.is_empty() {
            self.out.push_str(" = ");
        }
        self.bare_name(&op.kind);
        // Up to iOS 17 these operations keep their constants as attributes, since iOS 18 as arguments.
        let inlined = |arg: &Arg| match arg {
            Arg::One(v) if op.is_constexpr() => function.literal(*v),
            _ => None,
        };
        let as_attributes = self.opset < Opset::CoreML8;
        let name = Literal::string(op.name.clone());
        let mut attributes = vec![("name", &name)];
        self.out.push('(');
        let mut n_printed = 0;
        for (param, arg) in &op.inputs {
            let literal = inlined(arg);
            if let Some(literal) = literal.filter(|_| as_attributes && param != "name") {
                attributes.push((param, literal));
                continue;
            }
            self.separate(&mut n_printed);
            self.bare_name(param);
            self.out.push_str(" = ");
            match (arg, literal) {
                (Arg::One(v), Some(literal)) if !scope.keeps_name[v.index()] => self.value(literal),
                (Arg::One(v), _) => self.name(function.name_of(*v)),
                (Arg::Many(vs), _) => self.names(function, vs),
            }
        }
        self.out.push(')');
        attributes.sort_by_key(|(name, _)| *name);
        self.attributes(attributes);
        for block in &op.blocks {
            self.block(scope, block, indent + 4);
        }
        self.out.push_str(";\n");
    }

    fn block(&mut self, scope: &Scope<'_>, block: &Block, indent: usize) {
        self.out.push('\n');
        self.indent(indent);
        self.declarations(scope.function, &block.inputs, true);
        self.out.push_str(" {\n");
        for op in &block.ops {
            self.op(scope, op, indent + 4);
        }
        self.indent(indent);
        self.out.push_str("} -> ");
        self.names(scope.function, &block.outputs);
    }

    fn indent(&mut self, n: usize) {
        self.out.extend(std::iter::repeat_n(' ', n));
    }

    fn separate(&mut self, n_printed: &mut usize) {
        if *n_printed > 0 {
            self.out.push_str(", ");
        }
        *n_printed += 1;
    }

    fn declarations(&mut self, function: &Function, ids: &[ValueId], parentheses: bool) {
        self.out.push_str(if parentheses { "(" } else { "" });
        let mut n_printed = 0;
        for &id in ids {
            self.separate(&mut n_printed);
            self.declaration(function, id);
        }
        self.out.push_str(if parentheses { ")" } else { "" });
    }

    fn declaration(&mut self, function: &Function, id: ValueId) {
        self.ty(function.ty(id));
        self.out.push(' ');
        self.name(function.name_of(id));
    }

    fn names(&mut self, function: &Function, ids: &[ValueId]) {
        self.out.push('(');
        let mut n_printed = 0;
        for &id in ids {
            self.separate(&mut n_printed);
            self.name(function.name_of(id));
        }
        self.out.push(')');
    }

    /// A value's or function's name.
    fn name(&mut self, name: &str) {
        if is_identifier(name) { self.out.push_str(name) } else { write_quoted(&mut self.out, name, '`') }
    }

    /// A name where a keyword cannot be mistaken for one.
    fn bare_name(&mut self, name: &str) {
        if is_bare_name(name) { self.out.push_str(name) } else { write_quoted(&mut self.out, name, '`') }
    }

    fn attributes<'a>(&mut self, attributes: impl IntoIterator<Item = (&'a str, &'a Literal)>) {
        self.out.push('[');
        let mut n_printed = 0;
        for (name, value) in attributes {
            self.separate(&mut n_printed);
            self.bare_name(name);
            self.out.push_str(" = ");
            self.value(value);
        }
        self.out.push(']');
    }

    fn ty(&mut self, ty: &Type) {
        match ty {
            Type::Tensor(t) => self.tensor_ty(t.dtype.name(), &t.shape),
            Type::Strings(shape) => self.tensor_ty("string", shape),
            Type::List(element, length) => {
                self.out.push_str("list<");
                self.ty(element);
                write!(self.out, ", {length}>").expect(INFALLIBLE);
            }
            Type::Tuple(types) => {
                self.out.push_str("tuple<");
                let mut n_printed = 0;
                for ty in types {
                    self.separate(&mut n_printed);
                    self.ty(ty);
                }
                self.out.push('>');
            }
            Type::Dict(key, value) => {
                self.out.push_str("dict<");
                self.ty(key);
                self.out.push_str(", ");
                self.ty(value);
                self.out.push('>');
            }
            Type::State(t) => {
                self.out.push_str("state<");
                self.tensor_ty(t.dtype.name(), &t.shape);
                self.out.push('>');
            }
        }
    }

    fn tensor_ty(&mut self, element: &str, shape: &[Dim]) {
        if self.short && shape.is_empty() {
            self.out.push_str(element);
            return;
        }
        write!(self.out, "tensor<{element}, [").expect(INFALLIBLE);
        let mut n_printed = 0;
        for dim in shape {
            self.separate(&mut n_printed);
            write!(self.out, "{dim}").expect(INFALLIBLE);
        }
        self.out.push_str("]>");
    }

    /// A literal with its type, in place or as a reference to a blob.
    fn value(&mut self, literal: &Literal) {
        self.ty(&literal.ty());
        self.out.push('(');
        match literal.as_const().and_then(|c| self.blob(c)) {
            Some(BlobLocation { file, offset }) => {
                self.out.push_str("BLOBFILE(path = ");
                self.value(&Literal::string(file));
                self.out.push_str(", offset = ");
                self.tensor_ty(DType::U64.name(), &[]);
                write!(self.out, "({offset}))").expect(INFALLIBLE);
            }
            None => self.literal(literal),
        }
        self.out.push(')');
    }

    /// Where `constant` stands, when that is outside the text.
    fn blob(&mut self, constant: &Const) -> Option<BlobLocation> {
        if self.blobs.insert_located(constant) {
            return constant.location.clone();
        }
        let may = match constant.dtype() {
            DType::Bool | DType::BF16 | DType::F64 | DType::I64 | DType::U64 => false,
            DType::I16 | DType::U16 | DType::I32 | DType::U32 => self.opset >= Opset::CoreML8,
            _ => true,
        };
        (may && constant.len() >= self.blob_threshold).then(|| self.blobs.insert(constant))
    }

    fn literal(&mut self, literal: &Literal) {
        match literal {
            Literal::Tensor(c) => {
                let elements = Elements::of(c);
                self.nested(c.shape(), 0, &|out, i| elements.write(out, i));
            }
            Literal::Strings { shape, values } => {
                self.nested(shape, 0, &|out, i| write_quoted(out, values.get(i).map_or("", |s| &**s), '"'));
            }
            Literal::Tuple(items) => self.sequence('(', items, ')'),
            Literal::List(_, items) => self.sequence('[', items, ']'),
            Literal::Dict(_, _, entries) => {
                self.out.push('{');
                let mut n_printed = 0;
                for (key, value) in entries {
                    self.separate(&mut n_printed);
                    self.out.push('{');
                    self.literal(key);
                    self.out.push_str(", ");
                    self.literal(value);
                    self.out.push('}');
                }
                self.out.push('}');
            }
        }
    }

    fn sequence(&mut self, open: char, items: &[Literal], close: char) {
        self.out.push(open);
        let mut n_printed = 0;
        for item in items {
            self.separate(&mut n_printed);
            self.literal(item);
        }
        self.out.push(close);
    }

    /// The elements from `first` on that fill `shape`, one pair of brackets for each dimension.
    ///
    /// A tensor without elements is `[]`, whatever its shape.
    fn nested(&mut self, shape: &[usize], first: usize, write: &dyn Fn(&mut String, usize)) {
        let Some((&n, inner)) = shape.split_first() else { return write(&mut self.out, first) };
        self.out.push('[');
        if !shape.contains(&0) {
            let stride: usize = inner.iter().product();
            let mut n_printed = 0;
            for i in 0..n {
                self.separate(&mut n_printed);
                self.nested(inner, first + i * stride, write);
            }
        }
        self.out.push(']');
    }
}

const INFALLIBLE: &str = "invariant: a String takes everything";

/// A constant's elements, read once.
enum Elements {
    Bools(Vec<i64>),
    Ints(Vec<i64>),
    Unsigned(Vec<i64>),
    Floats(Vec<f64>),
}

impl Elements {
    fn of(constant: &Const) -> Self {
        let tensor = constant.read();
        match constant.dtype() {
            DType::Bool => Self::Bools(tensor.to_i64_vec()),
            DType::U64 => Self::Unsigned(tensor.to_i64_vec()),
            d if d.is_float() => Self::Floats(
                tensor
                    .cast(DType::F64)
                    .bytes()
                    .chunks_exact(8)
                    .map(|b| f64::from_le_bytes(b.try_into().expect("invariant: chunks of eight")))
                    .collect(),
            ),
            _ => Self::Ints(tensor.to_i64_vec()),
        }
    }

    fn write(&self, out: &mut String, i: usize) {
        match self {
            Self::Bools(v) => out.push_str(if v[i] != 0 { "true" } else { "false" }),
            Self::Ints(v) => write!(out, "{}", v[i]).expect(INFALLIBLE),
            Self::Unsigned(v) => write!(out, "{}", v[i] as u64).expect(INFALLIBLE),
            Self::Floats(v) => write_hex(out, v[i]),
        }
    }
}
