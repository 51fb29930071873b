//! Texts in both dialects, as they are printed and as others write them.

mod reject;
mod round_trip;

use super::*;
use crate::{
    constant::{BlobLocation, Const, Literal},
    ir::{Arg, Block, Function, Op, Program},
    opset::Opset,
    types::{Dim, TensorType, Type},
};
use expect_test::{Expect, expect};
use host_tensor::{DType, HostTensor};
use std::{collections::BTreeMap, time::Duration};

/// Prints `text`'s program, compares, and makes sure that nothing was lost.
#[track_caller]
fn check(text: &str, expected: Expect) {
    let program = parse(text, &NoBlobs).unwrap();
    let printed = print(&program, &PrintOptions::default());
    expected.assert_eq(&printed.text);
    assert!(parse(&printed.text, &printed.blobs).unwrap() == program);
}

/// `body` as the statements of a function that returns nothing.
fn in_function(opset: Opset, body: &str) -> String {
    format!("program(1) {{ func main<{}>(fp32 x) {{ {body} }} -> (); }}", opset.ios_tag())
}

#[test]
fn up_to_ios_17_scalars_are_tensors_without_dimensions() {
    check(
        r#"program(1.3) [buildInfo = dict<string, string>({{"a", "1"}, {"b", "2"}})] {
            func main<ios16>(tensor<fp32, [1, ?, 4]> x) {
                tensor<fp32, [1, ?, 4]> y = softmax(axis = int32(-1), x = x)[name = string("op")];
            } -> (y);
        }"#,
        expect![[r#"
            program(1.0)
            [buildInfo = dict<tensor<string, []>, tensor<string, []>>({{"a", "1"}, {"b", "2"}})]
            {
                func main<ios16>(tensor<fp32, [1, ?, 4]> x) {
                        tensor<int32, []> op_axis = const()[name = tensor<string, []>("op_axis"), val = tensor<int32, []>(-1)];
                        tensor<fp32, [1, ?, 4]> y = softmax(axis = op_axis, x = x)[name = tensor<string, []>("op")];
                    } -> (y);
            }
        "#]],
    );
}

#[test]
fn since_ios_18_scalars_are_bare() {
    check(
        r#"program(1.0) {
            func main<ios18>(state<tensor<fp16, [2]>> s, tensor<fp16, [1, 2, 3]> x) {
                tensor<int32, []> ax = const()[name = tensor<string, []>("ax"), val = tensor<int32, []>(1)];
                tensor<int32, [2]> sz = const()[val = tensor<int32, [2]>([1, 1])];
                tensor<fp16, [1, 1, 3]> a, tensor<fp16, [1, 1, 3]> b = split(axis = ax, split_sizes = sz, x = x)[name = string("op_1")];
                tensor<fp16, [2]> r = read_state(input = s);
                write_state(data = r, input = s)[name = string("w")];
                tensor<fp16, [1, 2, 3]> y = concat(axis = ax, interleave = bool(false), values = (b, a));
            } -> (y, b);
        }"#,
        expect![[r#"
            program(1.3)
            []
            {
                func main<ios18>(state<tensor<fp16, [2]>> s, tensor<fp16, [1, 2, 3]> x) {
                        int32 ax = const()[name = string("ax"), val = int32(1)];
                        tensor<int32, [2]> sz = const()[name = string("sz"), val = tensor<int32, [2]>([1, 1])];
                        tensor<fp16, [1, 1, 3]> a, tensor<fp16, [1, 1, 3]> b = split(axis = ax, split_sizes = sz, x = x)[name = string("op_1")];
                        tensor<fp16, [2]> r = read_state(input = s)[name = string("r")];
                        write_state(data = r, input = s)[name = string("w")];
                        bool y_interleave = const()[name = string("y_interleave"), val = bool(false)];
                        tensor<fp16, [1, 2, 3]> y = concat(axis = ax, interleave = y_interleave, values = (b, a))[name = string("y")];
                    } -> (y, b);
            }
        "#]],
    );
}

#[test]
fn decimal_numbers_are_read_and_printed_in_hexadecimal() {
    check(
        &in_function(
            Opset::CoreML8,
            "fp32 y = f(a = fp16(0.1), b = fp32(-2.5e-3), c = fp64(1e300), d = bf16(3), e = tensor<fp16, [2, 2]>([[inf, -inf], [nan, 6e-8]]))[name = string(\"y\")];",
        ),
        expect![[r#"
            program(1.3)
            []
            {
                func main<ios18>(fp32 x) {
                        fp16 y_a = const()[name = string("y_a"), val = fp16(0x1.998p-4)];
                        fp32 y_b = const()[name = string("y_b"), val = fp32(-0x1.47ae14p-9)];
                        fp64 y_c = const()[name = string("y_c"), val = fp64(0x1.7e43c8800759cp+996)];
                        bf16 y_d = const()[name = string("y_d"), val = bf16(0x1.8p+1)];
                        tensor<fp16, [2, 2]> y_e = const()[name = string("y_e"), val = tensor<fp16, [2, 2]>([[inf, -inf], [nan, 0x1p-24]])];
                        fp32 y = f(a = y_a, b = y_b, c = y_c, d = y_d, e = y_e)[name = string("y")];
                    } -> ();
            }
        "#]],
    );
}

#[test]
fn integers_and_booleans_print_in_one_pair_of_brackets_for_each_dimension() {
    check(
        &in_function(
            Opset::CoreML7,
            "fp32 y = f(a = tensor<uint64, [1, 2]>([[18446744073709551615, 0]]), b = tensor<int4, [3]>([-8, 7, -1]), \
             c = tensor<uint3, [2, 2]>([[7, 0], [1, 2]]), d = tensor<bool, [2]>([true, false]), \
             e = tensor<int32, [2, 0]>([[], []]), f = tensor<string, [2]>([\"a\", \"\\\"\\\\\\n\\x07é\"]));",
        ),
        expect![[r#"
            program(1.0)
            []
            {
                func main<ios17>(tensor<fp32, []> x) {
                        tensor<uint64, [1, 2]> y_a = const()[name = tensor<string, []>("y_a"), val = tensor<uint64, [1, 2]>([[18446744073709551615, 0]])];
                        tensor<int4, [3]> y_b = const()[name = tensor<string, []>("y_b"), val = tensor<int4, [3]>([-8, 7, -1])];
                        tensor<uint3, [2, 2]> y_c = const()[name = tensor<string, []>("y_c"), val = tensor<uint3, [2, 2]>([[7, 0], [1, 2]])];
                        tensor<bool, [2]> y_d = const()[name = tensor<string, []>("y_d"), val = tensor<bool, [2]>([true, false])];
                        tensor<int32, [2, 0]> y_e = const()[name = tensor<string, []>("y_e"), val = tensor<int32, [2, 0]>([])];
                        tensor<string, [2]> y_f = const()[name = tensor<string, []>("y_f"), val = tensor<string, [2]>(["a", "\"\\\n\x07é"])];
                        tensor<fp32, []> y = f(a = y_a, b = y_b, c = y_c, d = y_d, e = y_e, f = y_f)[name = tensor<string, []>("y")];
                    } -> ();
            }
        "#]],
    );
}

#[test]
fn tuples_lists_and_maps_are_literals_too() {
    // The attribute that coremlc gives to functions with flexible shapes.
    check(
        r#"program(1.3) {
            func main<ios18>(tensor<fp32, [?]> x) [FlexibleShapeInformation = tuple<tuple<string, dict<string, tensor<int32, [?]>>>, tuple<string, dict<string, list<tensor<int32, [2]>, ?>>>>((("DefaultShapes", {{"x", [4]}}), ("RangeDims", {{"x", [[0, 4]]}})))] {
                string c = classify(classes = list<string, ?>(["cat", "dog"]), none = list<tuple<int32, bool>, 0>([]), x = x);
            } -> (c);
        }"#,
        expect![[r#"
            program(1.3)
            []
            {
                func main<ios18>(tensor<fp32, [?]> x) [FlexibleShapeInformation = tuple<tuple<string, dict<string, tensor<int32, [?]>>>, tuple<string, dict<string, list<tensor<int32, [2]>, ?>>>>((("DefaultShapes", {{"x", [4]}}), ("RangeDims", {{"x", [[0, 4]]}})))] {
                        list<string, 2> c_classes = const()[name = string("c_classes"), val = list<string, 2>(["cat", "dog"])];
                        list<tuple<int32, bool>, 0> c_none = const()[name = string("c_none"), val = list<tuple<int32, bool>, 0>([])];
                        string c = classify(classes = c_classes, none = c_none, x = x)[name = string("c")];
                    } -> (c);
            }
        "#]],
    );
}

#[test]
fn nested_blocks_stand_after_the_attributes() {
    check(
        r#"program(1.3) {
            func main<ios18>(bool p, fp32 x) {
                fp32 y = cond(pred = p)[name = string("choice")]
                    () { fp32 a = add(x = x, y = fp32(1))[name = string("a")]; } -> (a)
                    () { fp32 k = const()[val = fp32(2)]; } -> (k);
                fp32 z = while_loop(loop_vars = (y))
                    (fp32 i) { bool c = less(x = i, y = x); } -> (c)
                    (fp32 j) { fp32 d = add(x = j, y = j); } -> (d);
            } -> (z);
        }"#,
        expect![[r#"
            program(1.3)
            []
            {
                func main<ios18>(bool p, fp32 x) {
                        fp32 a_y = const()[name = string("a_y"), val = fp32(0x1p+0)];
                        fp32 k = const()[name = string("k"), val = fp32(0x1p+1)];
                        fp32 y = cond(pred = p)[name = string("choice")]
                            () {
                                fp32 a = add(x = x, y = a_y)[name = string("a")];
                            } -> (a)
                            () {
                            } -> (k);
                        fp32 z = while_loop(loop_vars = (y))[name = string("z")]
                            (fp32 i) {
                                bool c = less(x = i, y = x)[name = string("c")];
                            } -> (c)
                            (fp32 j) {
                                fp32 d = add(x = j, y = j)[name = string("d")];
                            } -> (d);
                    } -> (z);
            }
        "#]],
    );
}

/// A palettized weight that is also read by an ordinary operation through its look-up table.
const PALETTIZED: &str = r#"program(1.3) { func main<OPSET>(fp16 x) {
    tensor<fp16, [4]> lut = const()[val = tensor<fp16, [4]>([0, 1, 2, 3])];
    tensor<uint8, [1]> idx = const()[val = tensor<uint8, [1]>([228])];
    tensor<fp16, [2, 2]> w = constexpr_lut_to_dense(indices = idx, lut = lut, shape = tensor<uint32, [2]>([2, 2]))[name = string("w_op")];
    tensor<fp16, [4]> y = add(x = lut, y = x)[name = string("y")];
} -> (y, w); }"#;

#[test]
fn up_to_ios_17_constexpr_operations_keep_their_constants_as_attributes() {
    check(
        &PALETTIZED.replace("OPSET", "ios16"),
        expect![[r#"
        program(1.0)
        []
        {
            func main<ios16>(tensor<fp16, []> x) {
                    tensor<fp16, [4]> lut = const()[name = tensor<string, []>("lut"), val = tensor<fp16, [4]>([0x0p+0, 0x1p+0, 0x1p+1, 0x1.8p+1])];
                    tensor<fp16, [2, 2]> w = constexpr_lut_to_dense()[indices = tensor<uint8, [1]>([228]), lut = tensor<fp16, [4]>([0x0p+0, 0x1p+0, 0x1p+1, 0x1.8p+1]), name = tensor<string, []>("w_op"), shape = tensor<uint32, [2]>([2, 2])];
                    tensor<fp16, [4]> y = add(x = lut, y = x)[name = tensor<string, []>("y")];
                } -> (y, w);
        }
    "#]],
    );
}

#[test]
fn since_ios_18_constexpr_operations_take_them_as_arguments() {
    check(
        &PALETTIZED.replace("OPSET", "ios18"),
        expect![[r#"
        program(1.3)
        []
        {
            func main<ios18>(fp16 x) {
                    tensor<fp16, [4]> lut = const()[name = string("lut"), val = tensor<fp16, [4]>([0x0p+0, 0x1p+0, 0x1p+1, 0x1.8p+1])];
                    tensor<fp16, [2, 2]> w = constexpr_lut_to_dense(indices = tensor<uint8, [1]>([228]), lut = lut, shape = tensor<uint32, [2]>([2, 2]))[name = string("w_op")];
                    tensor<fp16, [4]> y = add(x = lut, y = x)[name = string("y")];
                } -> (y, w);
        }
    "#]],
    );
}

#[test]
fn names_that_are_none_stand_in_backquotes() {
    check(
        r#"program(1) { func `été 1`<ios15>(fp16 `state`, fp16 int4) {
            fp16 `a\`b` = `add.v2`(`my x` = int4, y = state)[name = string("any \"thing\"")];
        } -> (`a\`b`); }"#,
        expect![[r#"
            program(1.0)
            []
            {
                func `été 1`<ios15>(tensor<fp16, []> `state`, tensor<fp16, []> int4) {
                        tensor<fp16, []> `a\`b` = `add.v2`(`my x` = int4, y = `state`)[name = tensor<string, []>("any \"thing\"")];
                    } -> (`a\`b`);
            }
        "#]],
    );
}

#[test]
fn a_constant_in_place_yields_its_name_to_one_that_the_text_names() {
    let text = in_function(
        Opset::CoreML8,
        "fp32 y = add(x = x, y = fp32(1)); fp32 z = add(x = x, y = fp32(2))[name = string(\"y\")]; fp32 y_y = relu(x = z);",
    );
    let program = parse(&text, &NoBlobs).unwrap();
    let main = program.main().unwrap();
    let names: Vec<&str> = main.values().iter().map(|v| &*v.name).collect();
    assert_eq!(names, ["x", "y_y_2", "y", "y_y_1", "z", "y_y"]);
}

fn program_with_constants(opset: Opset, constants: &[Const]) -> Program {
    let mut f = Function::new("main", opset);
    let inputs = constants
        .iter()
        .enumerate()
        .map(|(i, c)| (format!("p{i}").into(), Arg::One(f.add_constant(&format!("c{i}"), c.clone().into()))))
        .collect();
    let y = f.add_value("y", Type::tensor(DType::F16, &[]));
    f.body.ops.push(Op { kind: "f".into(), name: "y".into(), inputs, outputs: vec![y], blocks: vec![], origin: None });
    f.body.outputs.push(y);
    Program::single(f)
}

fn located(mut c: Const, file: &str, offset: u64) -> Const {
    c.location = Some(BlobLocation { file: file.into(), offset });
    c
}

#[test]
fn large_constants_stand_in_blobs_and_those_with_a_location_at_that_place() {
    let ten = Const::new(HostTensor::from_f16([10], &[0.5; 10]));
    let program = program_with_constants(
        Opset::CoreML6,
        &[
            ten.clone(),
            located(ten.reshape([2, 5]).unwrap(), "@model_path/weights/weight.bin", 64),
            Const::new(HostTensor::from_f16([1, 9], &[0.5; 9])),
            Const::new(HostTensor::from_i32([10], vec![7; 10])),
            Const::new(HostTensor::from_i32([12], vec![3; 12]).cast(DType::U4)),
            located(Const::new(HostTensor::from_i32([1], vec![3])), "other.bin", 0),
        ],
    );
    let printed = print(&program, &PrintOptions::default());
    expect![[r#"
        program(1.0)
        []
        {
            func main<ios16>() {
                    tensor<fp16, [10]> c0 = const()[name = tensor<string, []>("c0"), val = tensor<fp16, [10]>(BLOBFILE(path = tensor<string, []>("@model_path/weights/weight.bin"), offset = tensor<uint64, []>(128)))];
                    tensor<fp16, [2, 5]> c1 = const()[name = tensor<string, []>("c1"), val = tensor<fp16, [2, 5]>(BLOBFILE(path = tensor<string, []>("@model_path/weights/weight.bin"), offset = tensor<uint64, []>(64)))];
                    tensor<fp16, [1, 9]> c2 = const()[name = tensor<string, []>("c2"), val = tensor<fp16, [1, 9]>([[0x1p-1, 0x1p-1, 0x1p-1, 0x1p-1, 0x1p-1, 0x1p-1, 0x1p-1, 0x1p-1, 0x1p-1]])];
                    tensor<int32, [10]> c3 = const()[name = tensor<string, []>("c3"), val = tensor<int32, [10]>([7, 7, 7, 7, 7, 7, 7, 7, 7, 7])];
                    tensor<uint4, [12]> c4 = const()[name = tensor<string, []>("c4"), val = tensor<uint4, [12]>(BLOBFILE(path = tensor<string, []>("@model_path/weights/weight.bin"), offset = tensor<uint64, []>(256)))];
                    tensor<int32, [1]> c5 = const()[name = tensor<string, []>("c5"), val = tensor<int32, [1]>(BLOBFILE(path = tensor<string, []>("other.bin"), offset = tensor<uint64, []>(0)))];
                    tensor<fp16, []> y = f(p0 = c0, p1 = c1, p2 = c2, p3 = c3, p4 = c4, p5 = c5)[name = tensor<string, []>("y")];
                } -> (y);
        }
    "#]].assert_eq(&printed.text);
    let places: Vec<(String, u64)> = printed.blobs.iter().map(|(l, _)| (l.file.to_string(), l.offset)).collect();
    let own = "@model_path/weights/weight.bin".to_owned();
    assert_eq!(places, [(own.clone(), 64), (own.clone(), 128), (own, 256), ("other.bin".into(), 0)]);
    assert!(parse(&printed.text, &printed.blobs).unwrap() == program);
    let everything = PrintOptions { blob_threshold: usize::MAX, ..PrintOptions::default() };
    assert_eq!(print(&program, &everything).blobs.len(), 2);
}

#[test]
fn integers_of_two_and_four_bytes_stand_in_blobs_since_ios_18() {
    let ten = [Const::new(HostTensor::from_i32([10], vec![7; 10]))];
    for (opset, n) in [(Opset::CoreML7, 0), (Opset::CoreML8, 1)] {
        assert_eq!(print(&program_with_constants(opset, &ten), &PrintOptions::default()).blobs.len(), n);
    }
}

#[test]
fn two_constants_that_claim_one_place_stand_in_two() {
    let at = |x| located(Const::new(HostTensor::from_i32([1], vec![x])), "w", 64);
    let program = program_with_constants(Opset::CoreML8, &[at(1), at(2)]);
    let printed = print(&program, &PrintOptions { blob_threshold: 1, ..PrintOptions::default() });
    assert_eq!(printed.blobs.len(), 2);
    assert!(parse(&printed.text, &printed.blobs).unwrap() == program);
}

#[test]
fn printing_what_was_parsed_gives_the_same_text() {
    let ten = Const::new(HostTensor::from_f16([10], &[0.5; 10]));
    let first = print(&program_with_constants(Opset::CoreML6, &[ten.clone(), ten]), &PrintOptions::default());
    let again = print(&parse(&first.text, &first.blobs).unwrap(), &PrintOptions::default());
    assert_eq!(again.text, first.text);
}

#[test]
fn several_functions_make_a_program_short() {
    let text = "program(1) { func a<ios15>() {} -> (); func b<ios15>() {} -> (); }";
    let program = parse(text, &NoBlobs).unwrap();
    assert_eq!(Dialect::of(&program), Dialect::Short);
    let verbose = PrintOptions { dialect: Some(Dialect::Verbose), ..PrintOptions::default() };
    assert!(print(&program, &verbose).text.starts_with("program(1.0)\n"));
}

#[test]
fn mutated_texts_never_panic_and_survive_when_they_are_programs() {
    let corpus = [
        PALETTIZED.replace("OPSET", "ios16"),
        PALETTIZED.replace("OPSET", "ios18"),
        in_function(Opset::CoreML8, "fp32 y = cond(pred = x) () { } -> (x) (fp64 z, int4 u) { } -> (z, x);"),
        in_function(Opset::CoreML6, "tensor<int32, [2, 1]> y = const()[val = tensor<int32, [?, 1]>([[1], [-2]])];"),
        "program(1.3) [a = tuple<dict<string, list<fp16, ?>>>(({{\"k\", [0x1.8p-3, nan]}})), b = list<int3, 0>([])] {}"
            .into(),
        in_function(
            Opset::CoreML8,
            "fp16 y = f(w = tensor<uint3, [9]>(BLOBFILE(path = string(\"a\"), offset = uint64(64))));",
        ),
    ];
    let corpus: Vec<&[u8]> = corpus.iter().map(String::as_bytes).collect();
    assert!(testkit::fuzz::run_for(Duration::from_secs(1), &corpus, fuzz_parse) > 100);
}
