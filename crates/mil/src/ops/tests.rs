//! Inference as data: `tests/<family>.txt` are tables of operations with their results or errors.
//!
//! A line says an opset, an operation and its operands; the line below it, which `UPDATE_EXPECT=1 cargo test`
//! fills, what inference makes of them. Operands are
//! - `fp16[2,?,4]`: a tensor that is known only at run time; `fp16[]` a scalar; `state:fp16[2]` a state;
//! - `7`, `0.5`, `true`, `'same'`: constant scalars; `(1,-1)`, `(true,false)`: constant vectors;
//! - `uint8:(1,2)`, `fp16:0.5`: constants of another type; `uint1(2,3):(1,0,1,1,0,0)`: with a shape;
//! - `zeros:fp16[8,2]`: a constant tensor of zeros; `{fp16[2],fp16[3]}`: a tuple.

mod case;
mod hostile;

use super::*;
use crate::types::Dim;
use case::Case;
use expect_test::{ExpectFile, expect_file};

/// Runs the table and compares it with itself.
#[track_caller]
fn check(table: &ExpectFile) {
    assert!(!table.data().is_empty(), "{} is empty or not there", table.path.display());
    let mut out = String::new();
    for line in table.data().lines() {
        if line.starts_with(' ') {
            continue;
        }
        out += line;
        out += "\n";
        if !line.is_empty() && !line.starts_with('#') {
            match Case::parse(line).infer() {
                Ok(types) if types.is_empty() => out += "  => no result\n",
                Ok(types) => {
                    out += &format!("  => {}\n", types.iter().map(case::compact).collect::<Vec<_>>().join(" "))
                }
                Err(e) => out += &format!("  !! {e}\n"),
            }
        }
    }
    table.assert_eq(&out);
}

/// One test for each table, and the list of them.
macro_rules! tables {
    ($($name:ident => $file:literal),* $(,)?) => {
        $(
            #[test]
            fn $name() {
                check(&expect_file![concat!("tests/", $file)]);
            }
        )*

        fn all_tables() -> Vec<ExpectFile> {
            vec![$(expect_file![concat!("tests/", $file)]),*]
        }
    };
}

tables! {
    elementwise_operations_broadcast_and_keep_or_change_the_type => "elementwise.txt",
    activations_and_normalizations_keep_the_type_of_x => "normalization.txt",
    states_are_carried_from_step_to_step => "recurrent.txt",
    reductions_remove_or_keep_their_axes => "reduction.txt",
    matrix_products_contract_one_dimension => "linear_algebra.txt",
    windows_move_as_padding_stride_and_dilation_say => "window.txt",
    shapes_change_but_elements_stay => "shape.txt",
    slices_count_from_both_ends => "slice.txt",
    indices_pick_and_place => "gather_scatter.txt",
    images_change_their_resolution => "resize.txt",
    attention_needs_matching_batches_and_lengths => "attention.txt",
    compressed_constants_state_their_shape_or_carry_it => "constexpr.txt",
    activations_are_quantized_by_tensor_or_axis => "quantization.txt",
    tensors_are_made_found_and_ordered => "generation.txt",
}

#[test]
fn every_kind_and_opset_has_one_specification() {
    for pair in all().windows(2) {
        assert!((pair[0].kind, pair[0].since) < (pair[1].kind, pair[1].since), "{} stands twice", pair[0].kind);
    }
}

#[test]
fn lookup_finds_the_newest_version_that_is_not_newer_than_the_opset() {
    let since = |kind, opset| lookup(kind, opset).map(|s| s.since);
    for spec in all() {
        assert_eq!(since(spec.kind, spec.since), Some(spec.since), "{}", spec.kind);
    }
    assert_eq!(since("gather", Opset::CoreML5), Some(Opset::CoreML5));
    assert_eq!(since("gather", Opset::CoreML6), Some(Opset::CoreML6));
    assert_eq!(since("gather", Opset::CoreML9), Some(Opset::CoreML7));
    assert_eq!(since("quantize", Opset::CoreML6), None);
    assert_eq!(since("no_such_operation", Opset::CoreML9), None);
    // Only the abstract operation is found before its opset.
    assert_eq!(since("scaled_dot_product_attention", Opset::CoreML5), Some(Opset::CoreML8));
}

#[test]
fn operations_that_are_computed_at_load_are_those_that_core_ml_names_so() {
    for spec in all() {
        assert_eq!(spec.stage == Stage::Load, spec.kind.starts_with("constexpr_"), "{}", spec.kind);
        assert_eq!(stage(spec.kind), spec.stage, "{}", spec.kind);
    }
    assert_eq!(stage("constexpr_of_a_later_system"), Stage::Load);
    assert_eq!(stage("an_operation_of_a_later_system"), Stage::Run);
}

#[test]
fn tables_are_sound() {
    for spec in all() {
        for (i, p) in spec.params.iter().enumerate() {
            let at = format!("{}@{} {}", spec.kind, spec.since, p.name);
            assert!(spec.params[..i].iter().all(|q| q.name != p.name), "{at} stands twice");
            assert!(p.default.is_none() || p.optional, "{at} has a default, but is required");
            if let Accepts::Tensor(letter, domain) = p.accepts {
                assert!(!domain.is_empty(), "{at} accepts nothing");
                // The domains under one letter overlap, or no call could be right.
                let shares = |q: &&Param| matches!(q.accepts, Accepts::Tensor(l, _) if l == letter && l != '_');
                for q in spec.params.iter().filter(shares) {
                    let Accepts::Tensor(_, other) = q.accepts else { continue };
                    assert!(domain.iter().any(|d| other.contains(d)), "{at} and {} share no type", q.name);
                }
            }
            if let (Accepts::Text(choices), Some(Default::Text(s))) = (p.accepts, p.default) {
                assert!(choices.contains(&s), "{at} has the default {s:?}, which is no choice");
            }
        }
    }
}

#[test]
fn every_operation_has_a_case_in_a_table() {
    let table: String = all_tables().iter().map(ExpectFile::data).collect();
    let cases: Vec<&str> = table.lines().filter_map(|l| l.split(' ').nth(1)).collect();
    // What follows from nested blocks is tested with validation.
    let missing: Vec<_> =
        all().iter().filter(|s| s.n_blocks == 0 && !cases.contains(&s.kind)).map(|s| s.kind).collect();
    assert!(missing.is_empty(), "no case for {missing:?}");
}
