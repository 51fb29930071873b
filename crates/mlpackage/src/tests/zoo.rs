//! Programs with one of everything.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use mil::{
    Arg, Block, Const, DType, Dim, Function, HostTensor, Inputs, Literal, Op, Opset, Program, TensorType, Type, ValueId,
};

/// An operation with results of these types, named after the operation.
fn op(f: &mut Function, kind: &'static str, name: &str, inputs: &[(&'static str, Arg)], types: &[Type]) -> Op {
    let outputs = match types {
        [only] => vec![f.add_named(name, only.clone(), None).unwrap()],
        many => (0..many.len()).map(|i| f.add_named(&format!("{name}_{i}"), many[i].clone(), None).unwrap()).collect(),
    };
    Op {
        kind: Cow::Borrowed(kind),
        name: format!("{name}_op").into(),
        inputs: inputs.iter().map(|(k, v)| (Cow::Borrowed(*k), v.clone())).collect::<Inputs>(),
        outputs,
        blocks: Vec::new(),
        origin: None,
    }
}

fn one(id: ValueId) -> Arg {
    Arg::One(id)
}

/// A tensor of `n` elements of any type.
pub(super) fn tensor(dtype: DType, n: usize) -> HostTensor {
    HostTensor::from_i32([n], (0..n as i32).map(|i| i * 7 % 11 - i % 2).collect()).cast(dtype)
}

/// Literals of every kind.
fn literals() -> Vec<Literal> {
    let mut all: Vec<Literal> = Vec::new();
    for dtype in DType::ALL {
        for n in [0, 1, 9, 10, 67] {
            all.push(tensor(dtype, n).into());
        }
        all.push(Literal::Tensor(Const::new(tensor(dtype, 1)).reshape([]).unwrap()));
        all.push(Literal::Tensor(Const::new(tensor(dtype, 24)).reshape([2, 3, 4]).unwrap()));
    }
    // A view that is computed when it is read.
    let view = Const::new(tensor(DType::F32, 24)).reshape([4, 6]).unwrap().transpose(&[1, 0]).unwrap();
    all.push(view.cast(DType::F16).into());
    all.push(HostTensor::from_f32([3], vec![f32::INFINITY, -0.0, f32::MIN_POSITIVE]).into());
    all.push(Literal::string("é\"\\"));
    all.push(Literal::Strings { shape: vec![2], values: vec![Arc::from("a"), Arc::from("")] });
    all.push(Literal::Tuple(vec![Literal::int(1), Literal::Tuple(Vec::new())]));
    all.push(Literal::List(Type::string(), vec![Literal::string("x"), Literal::string("y")]));
    all.push(Literal::List(Type::tensor(DType::I32, &[]), Vec::new()));
    all.push(Literal::Dict(Type::string(), Type::string(), vec![(Literal::string("k"), Literal::string("v"))]));
    all
}

/// A function that uses literals of every kind, tuples, several results, and nested blocks.
fn function(name: &str, opset: Opset) -> Function {
    let mut f = Function::new(name, opset);
    let ty = Type::tensor(DType::F32, &[2, 4]);
    let x = f.add_named("x", ty.clone(), None).unwrap();
    f.inputs.push(x);
    let mut ops = Vec::new();
    for (i, literal) in literals().into_iter().enumerate() {
        let c = f.add_constant(&format!("c{i}"), literal);
        // An operation that nobody knows takes anything.
        ops.push(op(&mut f, "take", &format!("t{i}"), &[("x", one(x)), ("y", one(c))], std::slice::from_ref(&ty)));
    }
    let two = Arg::Many(vec![x, ops[0].outputs[0]]);
    let open = Type::Tensor(TensorType { dtype: DType::F32, shape: vec![Dim::Unknown, Dim::Size(4)] });
    ops.push(op(&mut f, "join", "j", &[("values", two)], &[open.clone(), ty.clone()]));
    ops.push(branch(&mut f, x));
    ops.push(op(&mut f, "nothing", "n", &[("values", Arg::Many(Vec::new()))], &[]));
    ops.extend(constexpr(&mut f, x));
    let last = op(&mut f, "relu", "y", &[("x", one(x))], &[ty]);
    f.body.outputs = vec![last.outputs[0]];
    ops.push(last);
    f.body.ops = ops;
    f
}

/// A `cond` whose blocks use a constant of their own, one that is shared, and a value from outside.
fn branch(f: &mut Function, x: ValueId) -> Op {
    let ty = f.ty(x).clone();
    let pred = f.add_constant("pred", Literal::bool(true));
    let shared = f.add_constant("shared", tensor(DType::F32, 40).into());
    let mut block = |name: &str| {
        let own = f.add_constant(&format!("{name}_own"), Literal::int(3));
        let argument = f.add_named(&format!("{name}_arg"), ty.clone(), None).unwrap();
        let inputs = [("a", one(own)), ("b", one(shared)), ("c", one(argument)), ("x", one(x))];
        let inner = op(f, "mix", name, &inputs, std::slice::from_ref(&ty));
        Block { inputs: vec![argument], outputs: vec![inner.outputs[0]], ops: vec![inner] }
    };
    let blocks = vec![block("yes"), block("no")];
    let mut cond = op(f, "cond", "c", &[("pred", one(pred))], std::slice::from_ref(&ty));
    cond.blocks = blocks;
    cond
}

/// Compressed weights: operands are attributes before `CoreML8`, inline or named inputs from then on.
fn constexpr(f: &mut Function, x: ValueId) -> Vec<Op> {
    let weight = Type::tensor(DType::F16, &[6, 8]);
    let mut operand =
        |name: &str, literal: Literal| one(f.add_named(&format!("w_op_{name}"), literal.ty(), Some(literal)).unwrap());
    let mut inputs = vec![("lut", operand("lut", tensor(DType::F16, 16).into()))];
    if f.opset < Opset::CoreML8 {
        inputs.push((
            "indices",
            one(f
                .add_named("w_op_indices", Type::tensor(DType::U8, &[24]), Some(tensor(DType::U8, 24).into()))
                .unwrap()),
        ));
        inputs.push((
            "shape",
            one(f.add_named("w_op_shape", Type::tensor(DType::U32, &[2]), Some(tensor(DType::U32, 2).into())).unwrap()),
        ));
        let lut = op(f, "constexpr_lut_to_dense", "w", &inputs, std::slice::from_ref(&weight));
        let user = op(f, "use", "u", &[("w", one(lut.outputs[0])), ("x", one(x))], &[weight]);
        return vec![lut, user];
    }
    let indices = Const::new(tensor(DType::U4, 48)).reshape([6, 8]).unwrap();
    inputs.push((
        "indices",
        one(f.add_named("w_op_indices", Type::tensor(DType::U4, &[6, 8]), Some(indices.into())).unwrap()),
    ));
    let lut = op(f, "constexpr_lut_to_dense", "w", &inputs, std::slice::from_ref(&weight));
    let scale = f.add_named("s_op_scale", Type::tensor(DType::F16, &[1]), Some(tensor(DType::F16, 1).into())).unwrap();
    // Fed by another constexpr, so bound by name.
    let inputs = [("data", one(lut.outputs[0])), ("scale", one(scale))];
    let scaled = op(f, "constexpr_blockwise_shift_scale", "s", &inputs, std::slice::from_ref(&weight));
    let user = op(f, "use", "u", &[("w", one(scaled.outputs[0])), ("x", one(x))], &[weight]);
    vec![lut, scaled, user]
}

/// A program with one function of everything; two from `CoreML8` on, one of them with a state.
pub(super) fn program(opset: Opset) -> Program {
    let mut program = Program::single(function("main", opset));
    if opset >= Opset::CoreML8 {
        let mut second = function("second", opset);
        let state = Type::State(TensorType::fixed(DType::F16, &[1, 8]));
        let id = second.add_named("memory", state, None).unwrap();
        second.inputs.push(id);
        program.functions.insert("second".into(), second);
    }
    let entry = |k: &str, v: &str| (Literal::string(k), Literal::string(v));
    let info = Literal::Dict(Type::string(), Type::string(), vec![entry("z", "1"), entry("a", "2")]);
    program.attributes = BTreeMap::from([("buildInfo".to_owned(), info)]);
    program
}

/// A small program: `y = relu(x + c)` with a weight of 40 elements.
pub(super) fn small() -> Program {
    let mut f = Function::new("main", Opset::CoreML6);
    let ty = Type::tensor(DType::F32, &[4, 10]);
    let x = f.add_named("x", ty.clone(), None).unwrap();
    f.inputs.push(x);
    let c = Const::new(tensor(DType::F32, 40)).reshape([4, 10]).unwrap();
    let c = f.add_constant("weight", c.into());
    let add = op(&mut f, "add", "sum", &[("x", one(x)), ("y", one(c))], std::slice::from_ref(&ty));
    let relu = op(&mut f, "relu", "y", &[("x", one(add.outputs[0]))], &[ty]);
    f.body.outputs = vec![relu.outputs[0]];
    f.body.ops = vec![add, relu];
    Program::single(f)
}
