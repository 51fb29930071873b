//! What Core ML calls operations where it says of which set they are: `Ios17.add`, `Tile`.
//!
//! An operation has a new name in each set that changed which types it takes, and keeps it in later ones. No list of
//! them is public. What is here was seen in `metadata.json` files of coremlc and in compute plans that people printed;
//! operations that were seen nowhere have the name of their like.

use mil::{Opset, ops};

/// Sets in which operations got another name, and those operations.
const RENAMED: [(&[u32], &[&str]); 4] = [
    // Sums and means over floating-point numbers, and interpolation.
    (
        &[16],
        &[
            "einsum",
            "reduce_l1_norm",
            "reduce_l2_norm",
            "reduce_log_sum",
            "reduce_log_sum_exp",
            "reduce_max",
            "reduce_mean",
            "reduce_min",
            "reduce_prod",
            "reduce_sum",
            "reduce_sum_square",
            "upsample_bilinear",
            "upsample_nearest_neighbor",
        ],
    ),
    // Activations without parameters, and pools.
    (
        &[16, 18],
        &[
            "avg_pool", "gelu", "l2_pool", "max_pool", "relu", "relu6", "sigmoid", "silu", "softmax", "softplus",
            "softsign",
        ],
    ),
    // What computes.
    (
        &[16, 17, 18],
        &[
            "abs",
            "acos",
            "add",
            "affine",
            "asin",
            "atan",
            "atanh",
            "batch_norm",
            "cast",
            "ceil",
            "clamped_relu",
            "clip",
            "conv",
            "conv_transpose",
            "cos",
            "cosh",
            "crop_resize",
            "elu",
            "equal",
            "erf",
            "exp",
            "exp2",
            "floor",
            "floor_div",
            "gather",
            "gather_along_axis",
            "gather_nd",
            "greater",
            "greater_equal",
            "gru",
            "instance_norm",
            "inverse",
            "l2_norm",
            "layer_norm",
            "leaky_relu",
            "less",
            "less_equal",
            "linear",
            "linear_activation",
            "local_response_norm",
            "log",
            "logical_and",
            "logical_not",
            "logical_or",
            "logical_xor",
            "lstm",
            "matmul",
            "maximum",
            "minimum",
            "mod",
            "mul",
            "not_equal",
            "pow",
            "prelu",
            "real_div",
            "reduce_argmax",
            "reduce_argmin",
            "resample",
            "reshape",
            "reshape_like",
            "resize",
            "rnn",
            "round",
            "rsqrt",
            "scaled_tanh",
            "scatter",
            "scatter_along_axis",
            "scatter_nd",
            "sigmoid_hard",
            "sign",
            "sin",
            "sinh",
            "softplus_parametric",
            "sqrt",
            "square",
            "sub",
            "tan",
            "tanh",
            "threshold",
            "thresholded_relu",
            "topk",
        ],
    ),
    // What moves elements without looking at them.
    (
        &[17, 18],
        &[
            "concat",
            "expand_dims",
            "reverse",
            "reverse_sequence",
            "slice_by_index",
            "slice_by_size",
            "sliding_windows",
            "squeeze",
            "transpose",
        ],
    ),
];

/// What Core ML calls the operation `kind` in a function of this set.
pub(super) fn name(kind: &str, opset: Opset) -> String {
    let renamed = RENAMED.iter().find(|(_, kinds)| kinds.contains(&kind)).map_or(&[][..], |(sets, _)| sets);
    let own = number(opset);
    // An operation that came with a later set than the first has that one's name.
    let first = Opset::ALL.into_iter().find(|&set| ops::lookup(kind, set).is_some_and(|s| s.since <= set));
    let first = first.map(number).filter(|&n| n > 15);
    let set = renamed.iter().copied().chain(first).filter(|&set| set <= own).max();
    let camel = camel_case(kind);
    match set {
        Some(set) => format!("Ios{set}.{camel}"),
        None => {
            let mut letters = camel.chars();
            letters.next().map(|c| c.to_ascii_uppercase()).into_iter().chain(letters).collect()
        }
    }
}

/// The number that a set's tag has: 16 of `ios16`.
fn number(opset: Opset) -> u32 {
    opset.ios_tag().trim_start_matches("ios").parse().unwrap_or(u32::MAX)
}

fn camel_case(kind: &str) -> String {
    let mut words = kind.split('_');
    let mut out = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        out.extend(letters.next().map(|c| c.to_ascii_uppercase()));
        out.push_str(letters.as_str());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_is_named_by_the_last_set_that_changed_it() {
        for (kind, opset, expected) in [
            ("add", Opset::CoreML5, "Add"),
            ("conv", Opset::CoreML6, "Ios16.conv"),
            ("reduce_argmax", Opset::CoreML6, "Ios16.reduceArgmax"),
            ("slice_by_index", Opset::CoreML6, "SliceByIndex"),
            ("slice_by_index", Opset::CoreML7, "Ios17.sliceByIndex"),
            ("einsum", Opset::CoreML8, "Ios16.einsum"),
            ("softmax", Opset::CoreML7, "Ios16.softmax"),
            ("softmax", Opset::CoreML8, "Ios18.softmax"),
            ("tile", Opset::CoreML8, "Tile"),
            ("constexpr_affine_dequantize", Opset::CoreML7, "Ios16.constexprAffineDequantize"),
            ("range_1d", Opset::CoreML7, "Range1d"),
        ] {
            assert_eq!(name(kind, opset), expected);
        }
    }

    #[test]
    fn no_operation_stands_in_two_groups_and_all_are_operations() {
        let all: Vec<_> = RENAMED.iter().flat_map(|(_, kinds)| *kinds).collect();
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
    }
}
