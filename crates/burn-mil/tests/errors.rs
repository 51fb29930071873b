//! What cannot be lowered is refused with its name, its place and what to write instead.

mod common;

use burn::nn::{Linear, LinearConfig};
use burn::tensor::Tensor;
use burn_mil::{LowerError, Lowering, Outputs};
use common::{lower, lowering, zeros};
use mil::{DType, Function, Opset};

#[track_caller]
fn check(result: Result<Function, LowerError>, expected: &str) {
    let error = result.expect_err("a lowering that must fail").to_string();
    assert_eq!(error, expected);
}

fn linear(weights: &[(&str, &[usize])], forward: impl FnOnce(Tensor<2>) -> Tensor<2>) -> Result<Function, LowerError> {
    lowering(&[("x", DType::F32, &[1, 3])]).lower(
        |device| LinearConfig::new(3, 2).init(device),
        zeros(weights),
        |linear: &Linear, inputs| Outputs::new().float("y", forward(linear.forward(inputs.float::<2>("x")?))),
    )
}

#[test]
fn an_unsupported_operation_is_named_with_its_place() {
    check(
        linear(&[("weight", &[3, 2]), ("bias", &[2])], |x| x.acosh()),
        "ArcCosh after weight has no MIL form; nearest supported: its definition with log and sqrt",
    );
    check(
        lower(&[&[2, 3]], |inputs| Outputs::new().float("y", inputs.float::<2>("a")?.cumprod(1))),
        "CumProd after the inputs has no MIL form; nearest supported: a cumulative sum",
    );
}

#[test]
fn a_parameter_without_bytes_or_of_another_shape_is_named() {
    check(linear(&[("bias", &[2])], |x| x), "no tensor is given for parameter \"weight\"");
    check(
        linear(&[("weight", &[2, 3]), ("bias", &[2])], |x| x),
        "parameter \"weight\" has the shape [3, 2], but the tensor given for it [2, 3]",
    );
}

#[test]
fn inputs_are_taken_once_with_the_declared_kind() {
    check(
        lower(&[&[2, 3]], |inputs| Outputs::new().float("y", inputs.float::<2>("z")?)),
        "forward takes an input \"z\" that is not declared; declared: a",
    );
    check(
        lower(&[&[2, 3]], |inputs| Outputs::new().float("y", inputs.float::<3>("a")?)),
        "input \"a\" is declared as fp32 of rank 2, but forward takes it as fp32 of rank 3",
    );
    check(
        lower(&[&[2, 3]], |inputs| Outputs::new().int("y", inputs.int::<2>("a")?)),
        "input \"a\" is declared as fp32 of rank 2, but forward takes it as int32 of rank 2",
    );
    check(
        lower(&[&[2, 3], &[2, 3]], |inputs| Outputs::new().float("y", inputs.float::<2>("a")? + 1.0)),
        "input \"b\" is taken 0 times by forward, expected once",
    );
    check(
        lower(&[&[2, 3]], |inputs| Outputs::new().float("y", inputs.float::<2>("a")? + inputs.float::<2>("a")?)),
        "input \"a\" is taken 2 times by forward, expected once",
    );
}

#[test]
fn names_and_shapes_of_the_boundary_are_checked() {
    check(
        lower(&[&[2]], |inputs| Outputs::new().float("no name", inputs.float::<1>("a")? + 1.0)),
        "\"no name\" cannot be the name of an input or output: it is no MIL identifier",
    );
    check(
        lower(&[&[2]], |inputs| {
            let a = inputs.float::<1>("a")?;
            Outputs::new().float("y", a.clone() + 1.0)?.float("y", a + 2.0)
        }),
        "\"y\" cannot be the name of an input or output: it stands twice",
    );
    for shape in [vec![0, 4], vec![1 << 60], vec![usize::MAX, usize::MAX]] {
        let result = Lowering::new("main", Opset::CoreML6).input("a", DType::F32, &shape).lower(
            |device| LinearConfig::new(3, 2).init(device),
            |_| None,
            |_: &Linear, inputs| Outputs::new().float("y", inputs.float::<2>("a")?),
        );
        let error = result.expect_err("a shape that no tensor has").to_string();
        assert!(error.contains("whose element count overflows or is zero"), "{error}");
    }
}
