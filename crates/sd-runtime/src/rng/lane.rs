//! One picture's share of draws for several: tools that draw pictures as a batch draw one tensor for all of them.

use super::{DrawOrder, RandomSource};

/// Takes the values of one picture out of each draw for all pictures of a run.
///
/// Every lane of a run goes through a copy of the same stream, so pictures may be drawn one after the other and are those
/// of a batch.
pub(crate) struct Lane {
    source: Box<dyn RandomSource>,
    idx: usize,
    count: usize,
}

impl Lane {
    /// The lane of picture `idx` of `count`, from where the stream stands.
    pub(crate) fn new(source: &dyn RandomSource, idx: usize, count: usize) -> Self {
        Self { source: source.boxed_clone(), idx, count }
    }

    /// The stream behind all draws.
    pub(crate) fn into_source(self) -> Box<dyn RandomSource> {
        self.source
    }

    fn own<T>(&mut self, n: usize, draw: impl FnOnce(&mut dyn RandomSource, usize) -> Vec<T>) -> Vec<T> {
        let mut all = draw(self.source.as_mut(), n * self.count);
        let mut own = all.split_off(n * self.idx);
        own.truncate(n);
        own
    }
}

impl RandomSource for Lane {
    fn normals(&mut self, n: usize) -> Vec<f64> {
        self.own(n, |source, n| source.normals(n))
    }

    fn normals_f32(&mut self, n: usize) -> Vec<f32> {
        self.own(n, |source, n| source.normals_f32(n))
    }

    fn normals_f16(&mut self, n: usize) -> Vec<f32> {
        self.own(n, |source, n| source.normals_f16(n))
    }

    fn latents(&mut self, n: usize) -> Vec<f32> {
        self.own(n, |source, n| source.latents(n))
    }

    fn order(&self) -> DrawOrder {
        self.source.order()
    }

    fn boxed_clone(&self) -> Box<dyn RandomSource> {
        Box::new(Self { source: self.source.boxed_clone(), idx: self.idx, count: self.count })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::TorchRandom;

    #[test]
    fn lanes_side_by_side_are_the_draws_of_a_batch() {
        let source = TorchRandom::new(7);
        let mut whole = source.clone();
        let mut lanes: Vec<Lane> = (0..3).map(|idx| Lane::new(&source, idx, 3)).collect();
        for n in [5, 48, 7] {
            let batch = whole.normals_f32(3 * n);
            let parts: Vec<f32> = lanes.iter_mut().flat_map(|lane| lane.normals_f32(n)).collect();
            assert_eq!(parts, batch, "{n}");
        }
        let mut after = lanes.pop().unwrap().into_source();
        assert_eq!(after.normals_f32(4), whole.normals_f32(4));
    }
}
