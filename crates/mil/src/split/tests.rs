//! Programs cut in parts, as text and by what the parts store.

use super::*;
use crate::{
    Const, DType, FunctionBuilder, HostTensor, Literal, Opset, ValueId,
    text::{PrintOptions, print},
    validate,
};
use expect_test::expect;

/// A ladder: each step multiplies by a weight of its own and adds what came two steps before.
fn ladder(sizes: &[usize]) -> Program {
    let mut b = FunctionBuilder::new("main", Opset::CoreML6);
    let x = b.input("x", crate::Type::tensor(DType::F16, &[1, 4]));
    let mut e = b.emitter();
    let mut values: Vec<ValueId> = vec![x, x];
    for (i, &n) in sizes.iter().enumerate() {
        let weight = HostTensor::from_f16([n, 4], &vec![0.5 + i as f32 / 16.0; n * 4]);
        let weight = e.constant(&format!("w{i}"), Literal::Tensor(Const::new(weight)));
        let up = e.op("linear", &format!("up{i}"), [("x", values[i + 1].into()), ("weight", weight.into())]).unwrap();
        let mean = e.op(
            "reduce_mean",
            &format!("mean{i}"),
            [("x", up.into()), ("axes", [1].into()), ("keep_dims", true.into())],
        );
        let sum = e.op("add", &format!("sum{i}"), [("x", mean.unwrap().into()), ("y", values[i].into())]).unwrap();
        values.push(sum);
    }
    let ops = e.into_ops();
    let last = values.last().copied().unwrap();
    b.finish_program(ops, &[last])
}

fn stored(program: &Program) -> usize {
    let f = program.main().unwrap();
    f.constants_in_order()
        .into_iter()
        .flatten()
        .filter_map(|v| f.literal(v)?.as_const().map(|c| c.len() * c.dtype().bits() / 8))
        .sum()
}

#[test]
fn parts_are_even_by_what_they_store() {
    let program = ladder(&[10, 10, 300, 10, 10, 10, 10, 250, 20, 10]);
    let parts = split(&program, 2).unwrap();
    let sizes: Vec<usize> = parts.iter().map(stored).collect();
    assert!(sizes[0].abs_diff(sizes[1]) * 10 < sizes[0] + sizes[1], "{sizes:?}");
    for n in 1..=8 {
        let parts = split(&program, n).unwrap();
        assert_eq!(parts.len(), n);
        assert!(parts.iter().all(|p| validate(p).is_ok()), "{n}");
    }
    let most = split(&program, 1000).unwrap_err();
    let SplitError::Parts { most, .. } = most else { panic!("{most}") };
    assert_eq!(split(&program, most).unwrap().len(), most);
    assert!(split(&program, 0).is_err());
}

#[test]
fn one_part_is_the_whole() {
    let program = ladder(&[3, 5]);
    assert_eq!(split(&program, 1).unwrap(), [program]);
}

#[test]
fn halves_cross_as_floats_under_their_own_names() {
    let parts = split(&ladder(&[8, 8]), 2).unwrap();
    let lines = |p: &Program| {
        let text = print(p, &PrintOptions::default()).text;
        let shown = |l: &&str| l.contains("func ") || l.contains("cast(") || l.contains("->");
        text.lines()
            .filter(shown)
            .map(|l| l.trim().split("[name").next().unwrap_or_default().to_owned())
            .collect::<Vec<_>>()
            .join("\n")
    };
    expect![[r#"
        func main<ios16>(tensor<fp16, [1, 4]> x) {
        tensor<fp32, [1, 1]> mean0 = cast(dtype = mean0_to_fp32_dtype, x = mean0_1)
        } -> (mean0);
        --
        func main<ios16>(tensor<fp16, [1, 4]> x, tensor<fp32, [1, 1]> mean0) {
        tensor<fp16, [1, 1]> mean0_to_fp16 = cast(dtype = mean0_to_fp16_dtype, x = mean0)
        } -> (sum1);"#]]
    .assert_eq(&parts.iter().map(lines).collect::<Vec<_>>().join("\n--\n"));
}
