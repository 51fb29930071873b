//! k-means of short vectors: k-means++ seeds and Lloyd's iterations, the same on every machine and thread count.

use rayon::prelude::*;

/// Vectors one after another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Vectors<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) dim: usize,
}

impl<'a> Vectors<'a> {
    fn len(&self) -> usize {
        self.data.len() / self.dim
    }

    fn get(&self, i: usize) -> &'a [f32] {
        &self.data[i * self.dim..][..self.dim]
    }
}

/// Most iterations; the error has long stopped to fall noticeably.
const MAX_ITERATIONS: usize = 60;
/// Iterations end when the error falls by less than this share.
const TOLERANCE: f64 = 1e-5;
/// Seeds are drawn from at most this many vectors, evenly spread.
const SEED_VECTORS: usize = 1 << 16;
/// Vectors per piece of work; sums are added up piece by piece, in order.
const PIECE: usize = 1 << 13;

/// Centres settle on at most this many vectors, evenly spread, before all are looked at.
const FIRST_VECTORS: usize = 1 << 17;
/// Iterations over all vectors, after those over some.
const LAST_ITERATIONS: usize = 2;

/// Centres of at most `k` clusters, one after another, and each vector's cluster.
pub(crate) fn cluster(vectors: Vectors<'_>, k: usize) -> (Vec<f32>, Vec<u8>) {
    let mut centres = seeds(vectors, k);
    let mut labels = vec![0u8; vectors.len()];
    if vectors.len() <= FIRST_VECTORS {
        settle(vectors, &mut centres, &mut labels, MAX_ITERATIONS);
    } else {
        let step = vectors.len().div_ceil(FIRST_VECTORS);
        let some: Vec<f32> = (0..vectors.len()).step_by(step).flat_map(|i| vectors.get(i)).copied().collect();
        let some = Vectors { data: &some, dim: vectors.dim };
        settle(some, &mut centres, &mut labels[..some.len()], MAX_ITERATIONS);
        settle(vectors, &mut centres, &mut labels, LAST_ITERATIONS);
    }
    assign(vectors, &centres, &mut labels);
    (centres, labels)
}

/// Lloyd's iterations, until the error falls no more to speak of.
fn settle(vectors: Vectors<'_>, centres: &mut [f32], labels: &mut [u8], n_iterations: usize) {
    let mut before = f64::INFINITY;
    for _ in 0..n_iterations {
        let sums = assign(vectors, centres, labels);
        sums.move_centres(centres);
        if sums.error >= before * (1.0 - TOLERANCE) {
            break;
        }
        before = sums.error;
    }
}

/// SplitMix64: a fixed sequence, so that results can be repeated.
struct Sequence(u64);

impl Sequence {
    /// A number in [0, 1).
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) as f64 / 2f64.powi(64)
    }
}

fn distance(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

/// k-means++: each seed is drawn with a probability that grows with its squared distance from those before.
fn seeds(vectors: Vectors<'_>, k: usize) -> Vec<f32> {
    let step = vectors.len().div_ceil(SEED_VECTORS).max(1);
    let sample: Vec<&[f32]> = (0..vectors.len()).step_by(step).map(|i| vectors.get(i)).collect();
    let mut random = Sequence(0);
    let mut chosen = (random.next() * sample.len() as f64) as usize;
    let mut nearest = vec![f32::INFINITY; sample.len()];
    let mut seeds = Vec::with_capacity(k * vectors.dim);
    for _ in 0..k {
        let Some(&seed) = sample.get(chosen) else { break };
        seeds.extend_from_slice(seed);
        nearest.par_iter_mut().zip(&sample).with_min_len(PIECE).for_each(|(d, v)| *d = d.min(distance(v, seed)));
        let total: f64 = nearest.iter().map(|&d| f64::from(d)).sum();
        if total == 0.0 {
            // Every vector is a seed already.
            break;
        }
        let mut left = random.next() * total;
        let passes = |&d: &f32| {
            left -= f64::from(d);
            left < 0.0
        };
        let last = nearest.iter().rposition(|&d| d > 0.0).unwrap_or(0);
        chosen = nearest.iter().position(passes).map_or(last, |i| i);
    }
    seeds
}

/// Sums of the vectors of each cluster, their number, and the squared error.
struct Sums {
    sums: Vec<f64>,
    counts: Vec<u64>,
    error: f64,
}

impl Sums {
    /// Moves centres to the means of their clusters; one without vectors stays.
    fn move_centres(&self, centres: &mut [f32]) {
        let dim = self.sums.len() / self.counts.len();
        for (c, &count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let (centre, sum) = (&mut centres[c * dim..][..dim], &self.sums[c * dim..][..dim]);
            centre.iter_mut().zip(sum).for_each(|(c, s)| *c = (s / count as f64) as f32);
        }
    }
}

/// Labels each vector with its nearest centre; of equally near ones the first.
fn assign(vectors: Vectors<'_>, centres: &[f32], labels: &mut [u8]) -> Sums {
    let (dim, k) = (vectors.dim, centres.len() / vectors.dim);
    let piece = |(vectors, labels): (&[f32], &mut [u8])| {
        let mut part = Sums { sums: vec![0.0; k * dim], counts: vec![0; k], error: 0.0 };
        for (v, label) in vectors.chunks_exact(dim).zip(labels) {
            let mut best = (f32::INFINITY, 0);
            for (c, centre) in centres.chunks_exact(dim).enumerate() {
                let d = distance(v, centre);
                if d < best.0 {
                    best = (d, c);
                }
            }
            let (d, c) = best;
            *label = c as u8;
            part.counts[c] += 1;
            part.error += f64::from(d);
            part.sums[c * dim..][..dim].iter_mut().zip(v).for_each(|(s, &v)| *s += f64::from(v));
        }
        part
    };
    let pieces: Vec<Sums> = vectors.data.par_chunks(PIECE * dim).zip(labels.par_chunks_mut(PIECE)).map(piece).collect();
    let mut all = Sums { sums: vec![0.0; k * dim], counts: vec![0; k], error: 0.0 };
    for part in pieces {
        all.sums.iter_mut().zip(&part.sums).for_each(|(a, b)| *a += b);
        all.counts.iter_mut().zip(&part.counts).for_each(|(a, b)| *a += b);
        all.error += part.error;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separate_clusters_are_found_among_few_vectors_and_many() {
        let centres = [[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [10.0, 10.0f32]];
        for n in [4000, FIRST_VECTORS + 77] {
            let mut random = Sequence(7);
            let near = |c: f32, random: &mut Sequence| c + (random.next() as f32 - 0.5);
            let data: Vec<f32> = (0..n).flat_map(|i| centres[i % 4].map(|c| near(c, &mut random))).collect();
            let (found, labels) = cluster(Vectors { data: &data, dim: 2 }, 4);
            for (i, &label) in labels.iter().enumerate() {
                assert_eq!(label, labels[i % 4]);
                assert!(distance(&found[usize::from(label) * 2..][..2], &centres[i % 4]) < 0.01);
            }
        }
    }

    #[test]
    fn fewer_distinct_vectors_than_clusters_are_all_exact() {
        let data = [1.0, 2.0, 3.0, 4.0, 1.0, 2.0];
        let (found, labels) = cluster(Vectors { data: &data, dim: 2 }, 16);
        assert_eq!(found.len(), 4);
        for (v, &label) in data.chunks_exact(2).zip(&labels) {
            assert_eq!(&found[usize::from(label) * 2..][..2], v);
        }
    }
}
