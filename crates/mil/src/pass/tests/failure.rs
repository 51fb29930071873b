//! Passes that fail, and passes that never finish.

use super::*;
use host_tensor::DType;

/// The first attention can be expanded, the second cannot: its mask is not added.
const TWO_ATTENTIONS: &str = r#"(tensor<fp32, [1, 2, 4, 8]> q, tensor<bool, [1, 1, 4, 4]> m) {
    tensor<fp32, [1, 2, 4, 8]> a = scaled_dot_product_attention(key = q, query = q, value = q);
    tensor<fp32, [1, 2, 4, 8]> b = scaled_dot_product_attention(attn_mask = m, key = q, query = a, value = q);
} -> (b)"#;

const RELU: &str = "(tensor<fp32, [2]> x) { tensor<fp32, [2]> y = relu(x = x); } -> (y)";

#[test]
fn a_pass_that_fails_leaves_the_program_as_it_was_and_says_where() {
    let before = program(Opset::CoreML8, TWO_ATTENTIONS);
    let mut after = before.clone();
    let error = expand_attention(after.functions.get_mut("main").unwrap()).unwrap_err();
    assert_eq!(after, before);
    assert_eq!((&*error.pass, error.op.as_deref()), ("expand_attention", Some("b")));
    assert!(error.to_string().starts_with("pass expand_attention, op b: "), "{error}");
}

#[test]
fn a_list_of_passes_ends_with_the_error_of_the_one_that_fails() {
    let mut program = program(Opset::CoreML8, TWO_ATTENTIONS);
    let main = program.functions.get_mut("main").unwrap();
    let passes: [(&str, Pass); 2] = [("remove_noops", remove_noops), ("expand_attention", expand_attention)];
    assert_eq!(run(main, &passes).unwrap_err().pass, "expand_attention");
}

#[test]
fn declarations_that_fail_leave_the_function_as_it_was() {
    let before = program(Opset::CoreML6, RELU);
    let mut after = before.clone();
    let main = after.functions.get_mut("main").unwrap();
    // There is no cast to this type in this opset.
    for failed in [declare_input(main, "x", DType::I4), declare_output(main, 0, "z", DType::I4)] {
        let error = failed.unwrap_err();
        assert!(error.message.starts_with("cast: "), "{error}");
    }
    assert!(declare_output(main, 1, "z", DType::F16).is_err());
    assert_eq!(after, before);
}

#[test]
fn passes_that_find_no_end_are_an_error_that_names_one_of_them() {
    let restless: Pass = |_| Ok(1);
    let mut program = program(Opset::CoreML6, RELU);
    let main = program.functions.get_mut("main").unwrap();
    let passes: [(&str, Pass); 2] = [("restless", restless), ("remove_noops", remove_noops)];
    let error = run(main, &passes).unwrap_err();
    assert_eq!(error.pass, "restless");
    assert!(error.message.contains(&MAX_ROUNDS.to_string()), "{error}");
}
