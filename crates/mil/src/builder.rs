//! Building functions: operations whose types are inferred and checked as they are added.

use crate::{
    constant::Literal,
    ir::{Arg, Function, Inputs, Op, Program, ValueId},
    ops::{self, OpError, View},
    opset::Opset,
    types::Type,
};
use std::{borrow::Cow, collections::HashMap, sync::Arc};

/// Appends operations to a list, adding their values to a function.
///
/// The builder and the passes share it: a pass takes a function's operations apart and emits new ones.
/// Small constants are interned, so that a program has one `[1, 1]` for all its strides.
#[derive(Debug)]
pub struct Emitter<'f> {
    function: &'f mut Function,
    ops: Vec<Op>,
    interned: HashMap<InternKey, ValueId>,
    origin: Option<Arc<str>>,
}

/// Type and content of a small constant.
type InternKey = (Type, Vec<u8>);

/// Constants of at most this many bytes are interned.
const INTERN_BYTES: usize = 256;

/// What may be bound to a parameter: a value, several, or a literal that becomes a constant.
#[derive(Debug, Clone)]
pub enum Bound {
    /// An existing value.
    Value(ValueId),
    /// A tuple of existing values.
    Values(Vec<ValueId>),
    /// A new constant.
    Literal(Literal),
}

macro_rules! bound_from {
    ($($from:ty => |$x:ident| $to:expr),* $(,)?) => {$(
        impl From<$from> for Bound {
            fn from($x: $from) -> Self { $to }
        }
    )*};
}
bound_from! {
    ValueId => |v| Self::Value(v),
    Vec<ValueId> => |vs| Self::Values(vs),
    &[ValueId] => |vs| Self::Values(vs.to_vec()),
    Literal => |l| Self::Literal(l),
    bool => |b| Self::Literal(Literal::bool(b)),
    i32 => |i| Self::Literal(Literal::int(i)),
    f32 => |x| Self::Literal(Literal::float(x)),
    &str => |s| Self::Literal(Literal::string(s)),
    &[i32] => |v| Self::Literal(Literal::ints(v)),
    Vec<i32> => |v| Self::Literal(Literal::ints(&v)),
    crate::constant::Const => |c| Self::Literal(Literal::Tensor(c)),
}
impl<const N: usize> From<[i32; N]> for Bound {
    fn from(v: [i32; N]) -> Self {
        Self::Literal(Literal::ints(&v))
    }
}

impl<'f> Emitter<'f> {
    /// An emitter that adds values to `function`; the operations are taken out with [`Emitter::into_ops`].
    pub fn new(function: &'f mut Function) -> Self {
        Self { function, ops: Vec::new(), interned: HashMap::new(), origin: None }
    }

    /// The function, for types and names of values.
    #[must_use]
    pub fn function(&self) -> &Function {
        self.function
    }

    /// The function, for renaming and retyping values.
    pub fn function_mut(&mut self) -> &mut Function {
        self.function
    }

    /// The operations emitted so far.
    #[must_use]
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// Sets the origin that following operations carry.
    pub fn set_origin(&mut self, origin: Option<Arc<str>>) {
        self.origin = origin;
    }

    /// A constant; small ones with equal content are one value.
    pub fn constant(&mut self, name: &str, literal: Literal) -> ValueId {
        let Some(key) = intern_key(&literal) else { return self.function.add_constant(name, literal) };
        if let Some(&id) = self.interned.get(&key) {
            return id;
        }
        let id = self.function.add_constant(name, literal);
        self.interned.insert(key, id);
        id
    }

    /// Adds an operation with one result and returns it.
    ///
    /// `name` becomes the name of the operation and of its result, made unique.
    /// Literal arguments become constants named after the operation and the parameter.
    ///
    /// # Errors
    /// When the operation is unknown in this opset, an argument is missing, superfluous or of a wrong type,
    /// or the types do not fit together.
    pub fn op<const N: usize>(
        &mut self,
        kind: &'static str,
        name: &str,
        args: [(&'static str, Bound); N],
    ) -> Result<ValueId, OpError> {
        let outputs = self.op_multi(kind, name, args.into_iter().collect())?;
        outputs.first().copied().ok_or_else(|| OpError::new(format!("{kind} has no result")))
    }

    /// Adds an operation with any number of results and returns them.
    ///
    /// # Errors
    /// As [`Emitter::op`].
    pub fn op_multi(
        &mut self,
        kind: &'static str,
        name: &str,
        args: Vec<(&'static str, Bound)>,
    ) -> Result<Vec<ValueId>, OpError> {
        let mut inputs = Inputs::new();
        for (param, bound) in args {
            let arg = match bound {
                Bound::Value(v) => Arg::One(v),
                Bound::Values(vs) => Arg::Many(vs),
                Bound::Literal(l) => Arg::One(self.constant(&format!("{name}_{param}"), l)),
            };
            inputs.insert(Cow::Borrowed(param), arg);
        }
        self.emit(kind, name, inputs)
    }

    /// Adds an operation with bound inputs and returns its results.
    ///
    /// # Errors
    /// As [`Emitter::op`].
    pub fn emit(&mut self, kind: &'static str, name: &str, inputs: Inputs) -> Result<Vec<ValueId>, OpError> {
        let types = ops::infer(kind, &View::new(self.function, &inputs), self.function.opset)?;
        let single = types.len() == 1;
        let op_name: Arc<str> = self.function.fresh_name(name).into();
        let mut outputs = Vec::with_capacity(types.len());
        for (i, ty) in types.into_iter().enumerate() {
            let base = if single { op_name.to_string() } else { format!("{op_name}_{i}") };
            outputs.push(self.function.add_value(&base, ty));
        }
        self.ops.push(Op {
            kind: Cow::Borrowed(kind),
            name: op_name,
            inputs,
            outputs: outputs.clone(),
            blocks: Vec::new(),
            origin: self.origin.clone(),
        });
        Ok(outputs)
    }

    /// Appends an existing operation as it is; its results are already in the function.
    pub fn keep(&mut self, op: Op) {
        self.ops.push(op);
    }

    /// The function and the operations, in order.
    #[must_use]
    pub fn into_parts(self) -> (&'f mut Function, Vec<Op>) {
        (self.function, self.ops)
    }

    /// The operations, in order.
    #[must_use]
    pub fn into_ops(self) -> Vec<Op> {
        self.ops
    }
}

/// The content of a literal that is small enough to intern.
fn intern_key(literal: &Literal) -> Option<InternKey> {
    let bytes = match literal {
        Literal::Tensor(c) if c.dtype().byte_len(c.len())? <= INTERN_BYTES => c.read().bytes().to_vec(),
        Literal::Strings { shape, values } if shape.is_empty() => values.first()?.as_bytes().to_vec(),
        _ => return None,
    };
    Some((literal.ty(), bytes))
}

/// Builds one function from its inputs to its outputs.
///
/// ```
/// use mil::{DType, FunctionBuilder, Opset, Type};
/// let mut b = FunctionBuilder::new("main", Opset::CoreML6);
/// let x = b.input("x", Type::tensor(DType::F32, &[1, 4]));
/// let mut e = b.emitter();
/// let y = e.op("relu", "y", [("x", x.into())])?;
/// let ops = e.into_ops();
/// let function = b.finish(ops, &[y]);
/// assert_eq!(function.ty(y), function.ty(x));
/// # Ok::<(), mil::OpError>(())
/// ```
#[derive(Debug)]
pub struct FunctionBuilder {
    function: Function,
}

impl FunctionBuilder {
    /// A function without inputs.
    #[must_use]
    pub fn new(name: &str, opset: Opset) -> Self {
        Self { function: Function::new(name, opset) }
    }

    /// Adds an input; the name is made an identifier and unique.
    pub fn input(&mut self, name: &str, ty: Type) -> ValueId {
        let id = self.function.add_value(name, ty);
        self.function.inputs.push(id);
        id
    }

    /// An emitter for the body.
    pub fn emitter(&mut self) -> Emitter<'_> {
        Emitter::new(&mut self.function)
    }

    /// The finished function.
    #[must_use]
    pub fn finish(mut self, ops: Vec<Op>, outputs: &[ValueId]) -> Function {
        self.function.body.ops = ops;
        self.function.body.outputs = outputs.to_vec();
        self.function
    }

    /// The finished function as a program of its own.
    #[must_use]
    pub fn finish_program(self, ops: Vec<Op>, outputs: &[ValueId]) -> Program {
        Program::single(self.finish(ops, outputs))
    }
}
