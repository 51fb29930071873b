//! A causal mask as an input, and what is none.

use super::*;
use crate::pass::open_mask;

const CAUSAL: &str = "tensor<fp32, [1, 1, 2, 2]>([[[[0, -10000], [0, 0]]]])";

fn program_with(mask: &str) -> String {
    format!(
        "(tensor<fp32, [1, 3, 2, 2]> x) {{
            tensor<fp32, [1, 3, 2, 2]> s = add(x = x, y = {mask});
            tensor<fp32, [1, 3, 2, 2]> w = softmax(axis = int32(-1), x = s);
            tensor<fp32, [1, 3, 2, 2]> t = add(x = w, y = {mask});
        }} -> (t)"
    )
}

#[test]
fn every_reader_of_a_causal_mask_reads_the_input() {
    let (n, after) = apply(Opset::CoreML7, &program_with(CAUSAL), |function| open_mask(function, "attention_mask"));
    let function = after.main().unwrap();
    assert_eq!(n, 2);
    let names: Vec<&str> = function.inputs.iter().map(|input| function.name_of(*input)).collect();
    assert_eq!(names, ["x", "attention_mask"]);
    assert_eq!(function.ty(function.inputs[1]).to_string(), "tensor<fp32, [1, 1, 2, 2]>");
}

#[test]
fn other_constants_are_no_masks() {
    for mask in [
        "tensor<fp32, [1, 1, 2, 2]>([[[[0, 0], [0, 0]]]])",
        "tensor<fp32, [1, 1, 2, 2]>([[[[0, -1], [0, 0]]]])",
        "tensor<fp32, [1, 1, 2, 2]>([[[[1, -10000], [0, 0]]]])",
        "tensor<fp32, [1, 1, 1, 2]>([[[[0, -10000]]]])",
    ] {
        let pass = |function: &mut Function| open_mask(function, "attention_mask");
        check_refused(Opset::CoreML7, pass, &program_with(mask), "no causal mask");
    }
}
