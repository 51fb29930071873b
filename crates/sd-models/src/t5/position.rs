//! Distances between tokens, in buckets.

use burn::tensor::{Device, Int, Tensor, TensorData};

/// The bucket of each key as each query sees it: `[len, len]`, queries first.
///
/// Half of the buckets are for keys behind the query. In each half, small distances have buckets of their own, and the rest
/// share the others, which widen with the logarithm of the distance up to `max_distance` (transformers 5.24
/// `_relative_position_bucket`, bidirectional, which computes in f32).
pub(super) fn buckets(len: usize, n_buckets: usize, max_distance: usize, device: &Device) -> Tensor<2, Int> {
    let half = n_buckets / 2;
    let bucket = move |query: usize, key: usize| {
        let distance = query.abs_diff(key);
        let behind = if key > query { half } else { 0 };
        (behind + of_distance(distance, half, max_distance)) as i64
    };
    let values: Vec<i64> = (0..len).flat_map(|query| (0..len).map(move |key| bucket(query, key))).collect();
    Tensor::from_data(TensorData::new(values, [len, len]), device)
}

fn of_distance(distance: usize, n_buckets: usize, max_distance: usize) -> usize {
    let n_exact = n_buckets / 2;
    if distance < n_exact {
        return distance;
    }
    let ratio = (distance as f32 / n_exact as f32).ln();
    let whole = (max_distance as f64 / n_exact as f64).ln() as f32;
    let beyond = (ratio / whole * (n_buckets - n_exact) as f32) as usize;
    (n_exact + beyond).min(n_buckets - 1)
}

#[cfg(test)]
mod tests {
    use super::of_distance;

    #[test]
    fn small_distances_are_told_apart_and_far_ones_are_one() {
        let of = |distance| of_distance(distance, 16, 128);
        assert_eq!([0, 1, 7, 8].map(of), [0, 1, 7, 8]);
        // By transformers: 12 to 15 share a bucket, and from 91 on all do.
        assert_eq!(
            [11, 12, 15, 16, 22, 23, 32, 46, 64, 90, 91, 128, 5000].map(of),
            [8, 9, 9, 10, 10, 11, 12, 13, 14, 14, 15, 15, 15]
        );
    }
}
