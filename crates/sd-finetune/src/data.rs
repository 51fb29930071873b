//! Samples that a network is trained with: what `smelt calibrate` wrote, in batches.

use std::path::Path;

use host_tensor::HostTensor;
use safetensors::Dtype;
use safetensors::SafeTensors;

use crate::error::FinetuneError;
use crate::network::Samples;

/// Most bytes of a file of samples.
const MOST_BYTES: u64 = 1 << 34;

/// Inputs of a network, a sample at each place of the first axis.
#[derive(Debug, Clone)]
pub struct Data {
    inputs: Samples,
    n_samples: usize,
}

impl Data {
    /// Takes tensors that have the same length.
    ///
    /// # Errors
    /// When there are none, or lengths differ.
    pub fn new(inputs: Samples) -> Result<Self, String> {
        let length = |tensor: &HostTensor| tensor.shape().first().copied().unwrap_or(0);
        let n_samples = inputs.values().next().map_or(0, length);
        if n_samples == 0 {
            return Err("it holds no samples; write some by `smelt calibrate`".into());
        }
        match inputs.iter().find(|(_, tensor)| length(tensor) != n_samples) {
            Some((name, tensor)) => Err(format!("{name} has {} samples, others {n_samples}", length(tensor))),
            None => Ok(Self { inputs, n_samples }),
        }
    }

    /// Reads a safetensors file of tensors in f32, as `smelt calibrate` writes it.
    ///
    /// # Errors
    /// When it cannot be read, or holds something else.
    pub fn read(path: &Path) -> Result<Self, FinetuneError> {
        let fault = |reason: String| FinetuneError::File { path: path.to_owned(), reason };
        let bytes = safe_files::read(path, MOST_BYTES).map_err(|e| fault(e.to_string()))?;
        let tensors = SafeTensors::deserialize(&bytes).map_err(|e| fault(format!("no safetensors file: {e}")))?;
        let mut inputs = Samples::new();
        for (name, view) in tensors.tensors() {
            if view.dtype() != Dtype::F32 {
                return Err(fault(format!("{name} is of type {:?}, and samples are in f32", view.dtype())));
            }
            inputs.insert(name, HostTensor::from_f32(view.shape(), floats(view.data())));
        }
        Self::new(inputs).map_err(fault)
    }

    /// How many samples there are.
    #[must_use]
    pub const fn n_samples(&self) -> usize {
        self.n_samples
    }

    /// Whether samples are pairs of the same latents, as guidance evaluates them and `smelt calibrate` records them.
    #[must_use]
    pub fn has_pairs(&self) -> bool {
        let Some(latents) = self.inputs.get("sample").filter(|_| self.n_samples.is_multiple_of(2)) else {
            return false;
        };
        let (len, bytes) = (latents.bytes().len() / self.n_samples, latents.bytes());
        bytes.chunks(2 * len).all(|pair| pair[..len] == pair[len..])
    }

    /// These samples.
    #[must_use]
    pub fn batch(&self, places: &[usize]) -> Samples {
        self.inputs.iter().map(|(name, tensor)| (name.clone(), rows(tensor, places))).collect()
    }
}

/// Rows of a tensor in f32.
pub(crate) fn rows(tensor: &HostTensor, places: &[usize]) -> HostTensor {
    let len = tensor.bytes().len() / tensor.shape()[0];
    let parts = places.iter().flat_map(|place| floats(&tensor.bytes()[place * len..(place + 1) * len]));
    let shape: Vec<usize> = std::iter::once(places.len()).chain(tensor.shape()[1..].iter().copied()).collect();
    HostTensor::from_f32(shape, parts.collect())
}

/// Little-endian numbers.
pub(crate) fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|four| f32::from_le_bytes(*four)).collect()
}

/// The samples of a step: each comes once before any comes again, in an order that follows from the seed.
#[must_use]
pub(crate) fn places(seed: u64, n_samples: usize, batch: usize, step: usize) -> Vec<usize> {
    let begin = step * batch;
    let mut order = Vec::new();
    let mut known = usize::MAX;
    let mut place = |at: usize| {
        let round = at / n_samples;
        if round != known {
            order = shuffled(seed.wrapping_add(round as u64), n_samples);
            known = round;
        }
        order[at % n_samples]
    };
    (begin..begin + batch).map(&mut place).collect()
}

/// The same for pairs, whose two samples stay together.
#[must_use]
pub(crate) fn paired_places(seed: u64, n_samples: usize, batch: usize, step: usize) -> Vec<usize> {
    places(seed, n_samples / 2, batch / 2, step).into_iter().flat_map(|pair| [2 * pair, 2 * pair + 1]).collect()
}

/// An order of so many, by Fisher and Yates with SplitMix64.
fn shuffled(seed: u64, n: usize) -> Vec<usize> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    let mut order: Vec<usize> = (0..n).collect();
    for at in (1..n).rev() {
        order.swap(at, (next() % (at as u64 + 1)) as usize);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_comes_once_before_any_comes_again() {
        let mut seen: Vec<usize> = (0..5).flat_map(|step| places(3, 10, 4, step)).collect();
        assert_eq!(seen.len(), 20);
        let mut second = seen.split_off(10);
        assert_ne!(seen, second);
        for round in [&mut seen, &mut second] {
            round.sort_unstable();
            assert_eq!(*round, (0..10).collect::<Vec<_>>());
        }
    }

    #[test]
    fn pairs_stay_together() {
        let chosen = paired_places(3, 10, 4, 1);
        assert_eq!(chosen.len(), 4);
        assert!(chosen.chunks(2).all(|pair| pair[0] % 2 == 0 && pair[1] == pair[0] + 1), "{chosen:?}");
        let of = |values: &[f32]| {
            let latents = HostTensor::from_f32([values.len()], values.to_vec());
            Data::new(Samples::from([("sample".to_owned(), latents)])).unwrap()
        };
        assert!(of(&[1.0, 1.0, 2.0, 2.0]).has_pairs());
        assert!(!of(&[1.0, 2.0, 2.0, 1.0]).has_pairs() && !of(&[1.0, 1.0, 1.0]).has_pairs());
    }

    #[test]
    fn lengths_that_differ_are_refused() {
        let tensor = |n: usize| HostTensor::from_f32([n, 2], vec![0.0; 2 * n]);
        let of = |a, b| Data::new(Samples::from([("a".to_owned(), tensor(a)), ("b".to_owned(), tensor(b))]));
        assert_eq!(of(3, 3).unwrap().n_samples(), 3);
        assert_eq!(of(3, 4).unwrap_err(), "b has 4 samples, others 3");
        assert!(of(0, 0).unwrap_err().contains("no samples"));
        let batch = of(3, 3).unwrap().batch(&[2, 0]);
        assert_eq!(batch["a"].shape(), [2, 2]);
    }
}
