//! What changes nothing, is known already, or is read by nobody.

use super::*;

#[test]
fn shape_operations_on_constants_are_views_of_them() {
    check(
        fold_constants,
        "(tensor<fp32, [1, 2]> x) {
            tensor<fp32, [2, 3]> c = const()[val = tensor<fp32, [2, 3]>([[1, 2, 3], [4, 5, 6]])];
            tensor<fp32, [3, 2]> t = transpose(perm = tensor<int32, [2]>([-1, 0]), x = c);
            tensor<fp32, [2, 3]> r = reshape(shape = tensor<int32, [2]>([2, 3]), x = t);
            tensor<fp16, [2, 3]> h = cast(dtype = string(\"fp16\"), x = r);
            tensor<fp16, [1, 2, 3]> e = expand_dims(axes = tensor<int32, [1]>([0]), x = h);
            tensor<fp16, [2, 3]> s = squeeze(axes = tensor<int32, [1]>([0]), x = e);
            tensor<fp16, [1, 2]> xh = cast(dtype = string(\"fp16\"), x = x);
            tensor<fp16, [1, 3]> y = matmul(x = xh, y = s);
        } -> (y)",
        expect![[r#"
            (tensor<fp32, [1, 2]> x) {
                string xh_dtype = string("fp16");
                tensor<fp16, [1, 2]> xh = cast(dtype = xh_dtype, x = x);
                tensor<fp16, [2, 3]> h_1 = tensor<fp16, [2, 3]>([[0x1p+0, 0x1p+2, 0x1p+1], [0x1.4p+2, 0x1.8p+1, 0x1.8p+2]]);
                tensor<fp16, [1, 3]> y = matmul(x = xh, y = h_1);
            } -> (y);
        "#]],
    );
}

#[test]
fn shape_arithmetic_is_done_at_once() {
    check(
        fold_constants,
        "(tensor<fp32, [2, 6]> x) {
            tensor<int32, [2]> s = shape(x = x);
            tensor<int32, [2]> a = floor_div(x = s, y = tensor<int32, [2]>([-4, 4]));
            tensor<int32, [2]> b = mul(x = a, y = int32(-1));
            tensor<int32, [2]> c = add(x = b, y = tensor<int32, [2]>([3, 4]));
            tensor<fp32, [4, 3]> y = reshape(shape = c, x = x);
        } -> (y)",
        expect![[r#"
            (tensor<fp32, [2, 6]> x) {
                tensor<int32, [2]> c_1 = tensor<int32, [2]>([4, 3]);
                tensor<fp32, [4, 3]> y = reshape(shape = c_1, x = x);
            } -> (y);
        "#]],
    );
}

#[test]
fn arithmetic_on_constants_without_elements_gives_one() {
    check(
        fold_constants,
        "(tensor<fp32, [0]> x) {
            tensor<fp32, [0]> c = mul(x = tensor<fp32, [0]>([]), y = fp32(2));
            tensor<fp32, [0]> y = add(x = x, y = c);
        } -> (y)",
        expect![[r#"
            (tensor<fp32, [0]> x) {
                tensor<fp32, [0]> c_1 = tensor<fp32, [0]>([]);
                tensor<fp32, [0]> y = add(x = x, y = c_1);
            } -> (y);
        "#]],
    );
}

#[test]
fn arithmetic_that_overflows_or_divides_by_zero_stays() {
    check_kept(
        fold_constants,
        "(tensor<int32, [1]> x) {
            int32 a = mul(x = int32(65536), y = int32(65536));
            int32 b = floor_div(x = int32(1), y = int32(0));
            int32 c = add(x = a, y = b);
            tensor<int32, [1]> y = add(x = x, y = c);
        } -> (y)",
    );
}

#[test]
fn results_of_the_function_are_not_folded() {
    check_kept(
        fold_constants,
        "(fp32 x) {
            fp32 z = identity(x = x);
            fp32 y = add(x = fp32(1), y = fp32(2));
        } -> (y, z)",
    );
}

#[test]
fn operations_that_change_nothing_are_removed() {
    check(
        remove_noops,
        "(tensor<fp32, [2, 3]> x) {
            tensor<fp32, [2, 3]> a = identity(x = x);
            tensor<fp32, [2, 3]> b = reshape(shape = tensor<int32, [2]>([2, 3]), x = a);
            tensor<fp32, [2, 3]> c = transpose(perm = tensor<int32, [2]>([0, 1]), x = b);
            tensor<fp32, [2, 3]> d = add(x = c, y = fp32(0));
            tensor<fp32, [2, 3]> e = mul(x = d, y = tensor<fp32, [1, 1]>([[1]]));
            tensor<fp32, [2, 3]> f = slice_by_index(begin = tensor<int32, [2]>([0, 0]), end = tensor<int32, [2]>([2, 3]), x = e);
            tensor<fp32, [2, 3]> g = cast(dtype = string(\"fp32\"), x = f);
            tensor<fp32, [2, 3]> r = relu(x = g);
            tensor<fp32, [2, 3]> y = real_div(x = r, y = fp32(1));
        } -> (y)",
        expect![[r#"
            (tensor<fp32, [2, 3]> x) {
                tensor<fp32, [2, 3]> y = relu(x = x);
            } -> (y);
        "#]],
    );
}

#[test]
fn near_noops_stay() {
    check_kept(
        remove_noops,
        "(tensor<fp32, [2, 2]> x) {
            tensor<fp32, [2, 2]> a = transpose(perm = tensor<int32, [2]>([1, 0]), x = x);
            tensor<fp32, [1, 2, 2]> b = add(x = a, y = tensor<fp32, [1, 1, 1]>([[[0]]]));
            tensor<fp32, [1, 2, 2]> c = sub(x = b, y = tensor<fp32, [2]>([0, 0]));
            tensor<fp32, [1, 2, 2]> d = sub(x = fp32(0), y = c);
            tensor<fp32, [1, 2, 2]> y = reverse(axes = tensor<int32, [1]>([1]), x = d);
        } -> (y)",
    );
}

#[test]
fn a_slice_that_runs_backwards_is_no_noop() {
    check_kept(
        remove_noops,
        "(tensor<fp32, [2]> x) {
            tensor<fp32, [2]> y = slice_by_index(begin = tensor<int32, [1]>([-1]), end = tensor<int32, [1]>([0]), end_mask = tensor<bool, [1]>([true]), stride = tensor<int32, [1]>([-1]), x = x);
        } -> (y)",
    );
}

#[test]
fn a_result_that_is_an_input_keeps_its_identity() {
    check_kept(remove_noops, "(fp32 x) { fp32 y = identity(x = x); } -> (y)");
}

#[test]
fn of_two_equal_results_the_second_keeps_its_identity() {
    check_kept(remove_noops, "(fp32 x) { fp32 y = relu(x = x); fp32 z = identity(x = y); } -> (y, z)");
}

#[test]
fn equal_operations_are_kept_once() {
    check(
        remove_redundant,
        "(tensor<fp32, [2]> x) {
            tensor<fp32, [2]> a = relu(x = x);
            tensor<fp32, [2]> b = relu(x = x);
            tensor<fp32, [2]> c = square(x = a);
            tensor<fp32, [2]> d = square(x = b);
            tensor<fp32, [2]> y = add(x = c, y = d);
        } -> (y)",
        expect![[r#"
            (tensor<fp32, [2]> x) {
                tensor<fp32, [2]> a = relu(x = x);
                tensor<fp32, [2]> c = square(x = a);
                tensor<fp32, [2]> y = add(x = c, y = c);
            } -> (y);
        "#]],
    );
}

#[test]
fn operations_that_differ_in_kind_or_order_of_operands_stay() {
    check_kept(
        remove_redundant,
        "(tensor<fp32, [2]> x) {
            tensor<fp32, [2]> a = relu(x = x);
            tensor<fp32, [2]> b = square(x = x);
            tensor<fp32, [2]> c = sub(x = a, y = b);
            tensor<fp32, [2]> d = sub(x = b, y = a);
            tensor<fp32, [2]> y = add(x = c, y = d);
        } -> (y)",
    );
}

#[test]
fn what_nobody_reads_is_removed() {
    check(
        eliminate_dead_code,
        "(fp32 x) {
            fp32 a = relu(x = x);
            fp32 b = square(x = a);
            fp32 y = sqrt(x = x);
        } -> (y)",
        expect![[r#"
            (fp32 x) {
                fp32 y = sqrt(x = x);
            } -> (y);
        "#]],
    );
}

#[test]
fn writing_a_state_is_never_dead() {
    let text = "(state<tensor<fp16, [1]>> s, tensor<fp16, [1]> x, bool p) {
        tensor<fp16, [1]> unused = cond(pred = p)
            () { write_state(data = x, input = s); } -> (x)
            () { } -> (x);
        write_state(data = x, input = s);
        tensor<fp16, [1]> y = read_state(input = s);
    } -> (y)";
    let mut program = program(Opset::CoreML8, text);
    assert_eq!(eliminate_dead_code(program.functions.get_mut("main").unwrap()), Ok(0));
}

#[test]
fn equal_constants_are_one_value() {
    check(
        deduplicate_constants,
        "(tensor<fp32, [2]> x) {
            tensor<fp32, [2]> a = add(x = x, y = tensor<fp32, [2]>([1, 2]));
            tensor<fp32, [2]> b = mul(x = a, y = tensor<fp32, [2]>([1, 2]));
            tensor<fp32, [1, 2]> y = add(x = b, y = tensor<fp32, [1, 2]>([[1, 2]]));
        } -> (y)",
        expect![[r#"
            (tensor<fp32, [2]> x) {
                tensor<fp32, [2]> a_y = tensor<fp32, [2]>([0x1p+0, 0x1p+1]);
                tensor<fp32, [2]> a = add(x = x, y = a_y);
                tensor<fp32, [2]> b = mul(x = a, y = a_y);
                tensor<fp32, [1, 2]> y_y = tensor<fp32, [1, 2]>([[0x1p+0, 0x1p+1]]);
                tensor<fp32, [1, 2]> y = add(x = b, y = y_y);
            } -> (y);
        "#]],
    );
}

#[test]
fn constants_with_the_same_bytes_but_another_type_stay() {
    check_kept(
        deduplicate_constants,
        "(tensor<fp32, [2]> x) {
            tensor<fp32, [2]> a = add(x = x, y = fp32(0));
            tensor<int32, [2]> i = cast(dtype = string(\"int32\"), x = a);
            tensor<int32, [2]> y = add(x = i, y = int32(0));
        } -> (y)",
    );
}
