//! No operands make inference panic or take long, however large, negative or ill-typed they are.

use super::{Accepts, Dim, OpSpec, Param, Rank, Type, View, all};
use crate::{
    constant::{Const, Literal},
    ir::{Arg, Function, Inputs, ValueId},
    types::TensorType,
};
use host_tensor::{DType, HostTensor};
use std::borrow::Cow;
use testkit::Rng;

const SIZES: [Dim; 12] = [
    Dim::Size(1),
    Dim::Size(1),
    Dim::Size(2),
    Dim::Size(4),
    Dim::Size(4),
    Dim::Size(0),
    Dim::Size(16),
    Dim::Size(1 << 31),
    Dim::Size(1 << 60),
    Dim::Size(usize::MAX),
    Dim::Unknown,
    Dim::Unknown,
];
const INTS: [i32; 12] = [0, 0, 1, 1, 2, 3, 4, -1, -2, i32::MIN, i32::MAX, 1 << 20];

#[test]
fn no_operands_make_inference_panic() {
    let mut rng = Rng::new(22);
    let (mut n_accepted, mut n_refused) = (0, 0);
    for round in 0..400 {
        for spec in all() {
            let mut function = Function::new("main", spec.since);
            let inputs = operands(&mut rng, &mut function, spec, round % 8 == 0);
            let operands = View::new(&function, &inputs);
            match spec.result_types(&operands) {
                Ok(_) => n_accepted += 1,
                Err(_) => n_refused += 1,
            }
        }
    }
    // Both ways are walked, or the test would prove little.
    assert!(n_accepted > 1000 && n_refused > 1000, "{n_accepted} accepted, {n_refused} refused");
}

fn operands(rng: &mut Rng, function: &mut Function, spec: &OpSpec, ill_typed: bool) -> Inputs {
    // Tensors of one case mostly share a rank and a type, so that many pass the first checks.
    let (rank, float) = (rng.below(7), *rng.pick(&[DType::F16, DType::F32]));
    let mut inputs = Inputs::new();
    for param in spec.params {
        if (param.optional && rng.below(2) == 0) || rng.below(50) == 0 {
            continue;
        }
        let n = if matches!(param.accepts, Accepts::Tuple | Accepts::Values) { 1 + rng.below(3) } else { 1 };
        let values: Vec<ValueId> = (0..n).map(|_| value(rng, function, param, rank, float, ill_typed)).collect();
        let arg = if let ([one], false) = (&values[..], n > 1) { Arg::One(*one) } else { Arg::Many(values) };
        inputs.insert(Cow::Borrowed(param.name), arg);
    }
    inputs
}

fn value(rng: &mut Rng, f: &mut Function, param: &Param, rank: usize, float: DType, ill_typed: bool) -> ValueId {
    let mut dtype = match param.accepts {
        Accepts::Tensor(_, domain) if domain.contains(&float) => float,
        Accepts::Tensor(_, domain) => *rng.pick(domain),
        Accepts::Text(choices) if !ill_typed => return f.add_constant("text", Literal::string(*rng.pick(choices))),
        Accepts::Text(_) | Accepts::FreeText => {
            let text = *rng.pick(&["", "fp16", "nchw,nwhu->nchu", "a,b->c", "int8", "->,", "é,é->é"]);
            return f.add_constant("text", Literal::string(text));
        }
        Accepts::State => return f.add_value("s", Type::State(shape(rng, float, rank))),
        Accepts::Tuple | Accepts::Values | Accepts::Any => float,
    };
    if ill_typed && rng.below(4) == 0 {
        dtype = *rng.pick(&DType::ALL);
    }
    let rank = match param.rank {
        Rank::Scalar => 0,
        Rank::Vector => 1,
        Rank::Any => rank,
    };
    if (param.constant || rng.below(3) == 0) && rank < 2 && !ill_typed {
        let n = if rank == 0 { 1 } else { rng.below(8) };
        let values = (0..n).map(|_| *rng.pick(&INTS)).collect();
        let literal = HostTensor::from_i32(vec![n; rank], values).cast(dtype);
        return f.add_constant("c", Literal::Tensor(Const::new(literal)));
    }
    f.add_value("x", Type::Tensor(shape(rng, dtype, rank)))
}

fn shape(rng: &mut Rng, dtype: DType, rank: usize) -> TensorType {
    TensorType { dtype, shape: (0..rank).map(|_| *rng.pick(&SIZES)).collect() }
}
