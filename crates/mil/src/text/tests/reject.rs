//! Near misses, with the messages that they get.

use super::*;

#[track_caller]
fn check_error(text: &str, expected: &str) {
    let error = parse(text, &NoBlobs).map(|p| print(&p, &PrintOptions::default()).text).unwrap_err();
    assert_eq!(error.to_string(), expected);
    assert!(expected.starts_with(&error.position().to_string()));
}

/// Statements of a function with the input `x`; positions count from the first of them.
#[track_caller]
fn check_body(body: &str, expected: &str) {
    check_error(&format!("program(1.3) {{ func main<ios18>(fp32 x) {{\n{body}\n}} -> (x); }}"), expected);
}

#[test]
fn headers_are_checked() {
    check_error("", "1:1: expected `program`, found the end of the text");
    check_error("program(2.0) {}", "1:9: program version 2.0 is not 1 or 1.x");
    check_error("program(1.) {}", "1:9: program version 1. is not 1 or 1.x");
    check_error("program(1) {} x", "1:15: expected the end of the text, found x");
    check_error("program(1) {\n func main<ios14>() {} -> (); }", "2:12: unknown opset ios14");
    check_error("program(1) { func m<ios15>() {} -> () }", "1:39: expected `;`, found `}`");
    check_error(
        "program(1) { func m<ios15>() {} -> (); func m<ios15>() {} -> (); }",
        "1:40: function m is defined twice",
    );
    check_error("program(1) [a = int32(1), a = int32(1)] {}", "1:27: attribute a is defined twice");
    check_error("program(1) {", "1:13: expected `func`, found the end of the text");
}

#[test]
fn tokens_are_checked() {
    check_body("fp32 é = relu(x = x);", "2:6: unexpected character 'é'");
    check_body("fp32 y = f(s = string(\"é\", $));", "2:26: expected `)`, found `,`");
    check_body("fp32 y = f(s = string(\"é));", "2:23: a quote has no end");
    check_body(
        r#"fp32 y = f(s = string("a\z"));"#,
        r#"2:25: the escapes are \" \` \\ \n \r \t and \xNN with N below 0x80"#,
    );
    check_body(
        r#"fp32 y = f(s = string("\xff"));"#,
        r#"2:24: the escapes are \" \` \\ \n \r \t and \xNN with N below 0x80"#,
    );
}

#[test]
fn names_are_defined_once_before_they_are_used() {
    check_body("fp32 y = relu(x = z);", "2:19: z is not defined here");
    check_body("fp32 y = relu(x = y);", "2:19: y is not defined here");
    check_body("fp32 x = relu(x = x);", "2:6: value x is defined twice");
    check_body("fp32 y, fp32 y = relu(x = x);", "2:14: value y is defined twice");
    check_body("fp32 y = add(x = x, x = x);", "2:21: argument x is defined twice");
    check_body("fp32 y = relu(x = fp32(1)); fp32 z = relu(x = y_x);", "2:47: y_x is not defined here");
    check_body(
        "fp32 y = cond(pred = x) () { fp32 a = relu(x = x); } -> (a) (fp32 b) { } -> (a);",
        "2:78: a is not defined here",
    );
    check_body(
        "fp32 y = cond(pred = x) () { } -> (x) (fp32 b) { } -> (b); fp32 z = relu(x = b);",
        "2:78: b is not defined here",
    );
}

#[test]
fn statements_are_checked() {
    check_body("fp32 y = relu(x = x)", "3:1: expected `;`, found `}`");
    check_body("fp32 y = relu(x x);", "2:17: expected `=`, found x");
    check_body("fp32 y = relu(x = x = x);", "2:21: expected `,` or `)`, found `=`");
    check_body("float y = relu(x = x);", "2:1: expected a type, found float");
    check_body("fp32 y = relu(x = x)[val = fp32(1)];", "2:22: relu has no attribute val");
    check_body(
        "fp32 y = relu(x = x)[name = fp32(1)];",
        "2:22: expected a string as name, found a value of tensor<fp32, []>",
    );
    check_body("fp32 y = constexpr_cast(a = x)[a = fp32(1)];", "2:32: argument a is defined twice");
    check_body("fp32 y = const(x = x)[val = fp32(1)];", "2:1: const has arguments");
    check_body("fp32 y, fp32 z = const()[val = fp32(1)];", "2:1: const does not have one result");
    check_body("fp32 y = const()[name = string(\"y\")];", "2:1: const has no val");
    check_body("fp32 y = const()[value = fp32(1)];", "2:18: const has no attribute value");
    check_body("fp32 y = const()[val = fp16(1)];", "2:1: declared tensor<fp32, []>, but the value is tensor<fp16, []>");
}

#[test]
fn numbers_must_fit_their_type() {
    for (ty, number) in [
        ("int8", "128"),
        ("int8", "-129"),
        ("uint1", "2"),
        ("int4", "8"),
        ("uint6", "64"),
        ("uint64", "18446744073709551616"),
        ("int32", "1.0"),
        ("int32", "0x10"),
        ("fp16", "65520"),
        ("fp32", "1e39"),
        ("fp64", "0x1p+1024"),
        ("fp32", "1.2.3"),
        ("bf16", "-1_0"),
        ("bool", "1"),
    ] {
        let (y, column) = ("y", 20 + ty.len());
        let found = format!("2:{column}: {number} is not of type {ty}");
        let found = if number.contains('_') { format!("2:{}: expected `)`, found _0", column + 2) } else { found };
        check_body(&format!("fp32 {y} = relu(x = {ty}({number}));"), &found);
    }
    check_body("fp32 y = relu(x = bool(maybe));", "2:24: expected an element of type bool, found maybe");
    check_body("fp32 y = relu(x = int32(nan));", "2:25: expected an element of type int32, found nan");
}

#[test]
fn literals_must_have_the_declared_shape() {
    for (value, message) in [
        ("tensor<int32, [2]>([1])", "2:41: 1 elements where tensor<int32, [2]> needs 2"),
        ("tensor<int32, [2]>([1, 2, 3])", "2:45: 3 elements where tensor<int32, [2]> needs 2"),
        ("tensor<int32, [2, 2]>([[1, 2], [3]])", "2:53: 1 elements where tensor<int32, [2, 2]> needs 2"),
        ("tensor<int32, [?, ?]>([[1, 2], [3]])", "2:53: 1 elements where tensor<int32, [?, ?]> needs 2"),
        ("tensor<int32, [2]>([])", "2:40: 0 elements where tensor<int32, [2]> needs 2"),
        ("tensor<int32, [1]>(1)", "2:38: expected `[`, found 1"),
        ("tensor<int32, []>([1])", "2:37: expected an element of type int32, found `[`"),
        ("list<int32, 2>([1])", "2:37: 1 elements where list<tensor<int32, []>, 2> needs 2"),
        ("tuple<int32, int32>((1))", "2:41: expected `,`, found `)`"),
        ("dict<string, int32>({{\"a\"}})", "2:44: expected `,`, found `}`"),
        ("state<tensor<int32, []>>(1)", "2:44: state<tensor<int32, []>> cannot be written as a literal"),
    ] {
        check_body(&format!("fp32 y = relu(x = {value});"), message);
    }
}

#[test]
fn sizes_are_capped_and_nothing_is_allocated_for_them() {
    check_body(
        "tensor<fp16, [1152921504606846976]> y = relu(x = x);",
        "2:1: tensor<fp16, [1152921504606846976]> is too large",
    );
    check_body(
        "tensor<fp16, [4294967296, 4294967296, 0]> y = relu(x = x);",
        "2:1: tensor<fp16, [4294967296, 4294967296, 0]> is too large",
    );
    check_body(
        "tensor<fp16, [99999999999999999999]> y = relu(x = x);",
        "2:15: expected a dimension, found 99999999999999999999",
    );
    check_body(
        "fp32 y = relu(x = tensor<fp16, [1099511627776]>([0]));",
        "2:52: 1 elements where tensor<fp16, [1099511627776]> needs 1099511627776",
    );
    let wide = vec!["int8"; 2000].join(", ");
    let text = format!("program(1) [a = list<list<tuple<{wide}>, ?>, ?>([{}])] {{}}", vec!["[]"; 2000].join(", "));
    assert!(matches!(parse(&text, &NoBlobs), Err(ParseError::TooLarge { .. })));
}

#[test]
fn nesting_is_capped() {
    let open = |s: &str| s.repeat(100_000);
    for text in [
        format!("program(1) [a = {}", open("list<")),
        format!("program(1) [a = {}", open("tensor<fp32, []>(BLOBFILE(path = ")),
        format!("program(1) {{ func f<ios15>() {{ {}", open("fp32 x = f() () {")),
    ] {
        let error = parse(&text, &NoBlobs).unwrap_err();
        assert!(error.to_string().ends_with("nested more than 64 deep"), "{error}");
    }
    let dims = vec!["1"; 100].join(", ");
    let text = format!("program(1) [a = tensor<fp16, [{dims}]>({}", open("["));
    assert!(matches!(parse(&text, &NoBlobs), Err(ParseError::TooDeep { .. })));
}

#[test]
fn blobs_are_checked_against_their_type() {
    let blob = |ty: &str, path: &str, offset: &str| {
        format!("fp32 y = relu(x = {ty}(BLOBFILE(path = {path}, offset = {offset})));")
    };
    let (path, offset) = ("string(\"w\")", "uint64(64)");
    check_body(&blob("tensor<fp16, [2]>", path, offset), "2:19: blob w at 64: blobs are not accepted here");
    check_body(&blob("tensor<fp16, [?]>", path, offset), "2:19: tensor<fp16, [?]> cannot be written as a blob");
    check_body(&blob("string", path, offset), "2:19: tensor<string, []> cannot be written as a blob");
    check_body(&blob("fp16", "int32(1)", offset), "2:40: expected a string, found a value of tensor<int32, []>");
    check_body(&blob("fp16", path, "int32(-1)"), "2:62: expected an offset, found a value of tensor<int32, []>");
    let text = in_function(Opset::CoreML8, &blob("tensor<fp16, [2]>", path, offset));
    let mut table = BlobTable::default();
    assert_eq!(parse(&text, &table).unwrap_err().to_string(), "1:59: blob w at 64: there is no such blob");
    table.insert_located(&located(Const::new(HostTensor::from_f32([2], vec![1.0, 2.0])), "w", 64));
    assert_eq!(parse(&text, &table).unwrap_err().to_string(), "1:59: blob w at 64: the blob is fp32, not fp16");
    let mut table = BlobTable::default();
    table.insert_located(&located(Const::new(HostTensor::from_f16([3], &[1.0; 3])), "w", 64));
    assert_eq!(
        parse(&text, &table).unwrap_err().to_string(),
        "1:59: blob w at 64: a constant of shape [2] cannot view [3]: the element counts differ"
    );
}
