//! coremltools' palettizer on a sample of the weights that `smelt compress` palettizes.
//!
//! All of them would take minutes a turn. So weights are sorted into classes of one kind and one order of size, a
//! twentieth of each class is measured, and the class's time follows from its number of elements. What coremltools does
//! besides (loading, rewriting and saving the model, packing indices) is not counted.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Result, ensure};

use super::script::Script;
use crate::python;

const REQUIREMENTS: [&str; 3] = ["numpy==1.26.4", "coremltools==9.0", "scikit-learn==1.5.1"];
const SCRIPT: &str = include_str!("peer_coremltools.py");
const BITS: &str = "6";
/// One of this many elements of each class is measured.
const SAMPLE_PART: usize = 20;

/// A running Python that has the package open.
#[derive(Debug)]
pub(super) struct Peer {
    script: Script,
    classes: Vec<Class>,
}

/// Weights of one kind and one order of size.
#[derive(Debug, PartialEq, Eq)]
struct Class {
    n_elements: usize,
    n_sampled_elements: usize,
    /// Positions of the measured ones in the script's list.
    sample: Vec<usize>,
}

impl Peer {
    /// Makes the environment if need be, starts Python, and draws the sample.
    pub(super) fn start(scratch: &Path, package: &Path) -> Result<Self> {
        let python = python::ensure_venv(&scratch.join("venv"), &REQUIREMENTS)?;
        let mut script = Script::start(&python, scratch, "peer_coremltools.py", SCRIPT, |command| {
            command.arg(package).arg(BITS);
        })?;
        let weights: Vec<(String, Vec<usize>)> = script.read()?;
        let classes = sample(&weights.into_iter().map(|(_, shape)| shape).collect::<Vec<_>>());
        ensure!(!classes.is_empty(), "coremltools finds no weight to palettize in {}", package.display());
        Ok(Self { script, classes })
    }

    /// Seconds that coremltools would take for all weights.
    pub(super) fn measure(&mut self) -> Result<f64> {
        let mut total_s = 0.0;
        for class in &self.classes {
            let seconds: Vec<f64> = self.script.ask(&class.sample)?;
            ensure!(seconds.len() == class.sample.len(), "{} times for {}", seconds.len(), class.sample.len());
            total_s += seconds.iter().sum::<f64>() * class.n_elements as f64 / class.n_sampled_elements as f64;
        }
        Ok(total_s)
    }

    /// Elements that are measured.
    pub(super) fn n_sampled(&self) -> usize {
        self.classes.iter().map(|class| class.n_sampled_elements).sum()
    }

    /// Elements of all weights.
    pub(super) fn n_elements(&self) -> usize {
        self.classes.iter().map(|class| class.n_elements).sum()
    }

    /// How this was measured.
    pub(super) fn note(&self) -> String {
        format!(
            "{} in one process, its default; palettize_weights.blockwise_compress (KMEANS, {BITS} bits, per tensor) \
             of {} of its weights, evenly spread over {} classes (3x3 convolutions or linear, by size), times \
             elements of the class / elements measured; loading, packing and saving not counted",
            REQUIREMENTS.join(" "),
            self.classes.iter().map(|class| class.sample.len()).sum::<usize>(),
            self.classes.len(),
        )
    }
}

/// Sorts weights of these shapes into classes and draws from each, the same ones each time.
fn sample(shapes: &[Vec<usize>]) -> Vec<Class> {
    let n_elements = |i: usize| shapes[i].iter().product::<usize>();
    let mut classes: BTreeMap<(bool, usize), Vec<usize>> = BTreeMap::new();
    for (i, shape) in shapes.iter().enumerate() {
        let is_spatial = shape.iter().skip(2).any(|&size| size > 1);
        // Orders of size: below 2^16, 2^19, 2^22, and above.
        let order = [16, 19, 22].into_iter().filter(|&log| n_elements(i) >> log > 0).count();
        classes.entry((is_spatial, order)).or_default().push(i);
    }
    let draw = |mut members: Vec<usize>| {
        members.sort_by_key(|&i| n_elements(i));
        let all: usize = members.iter().map(|&i| n_elements(i)).sum();
        let spread = |m: usize| (0..m).map(|k| members[(2 * k + 1) * members.len() / (2 * m)]).collect::<Vec<_>>();
        let size = |sample: &[usize]| sample.iter().map(|&i| n_elements(i)).sum::<usize>();
        let samples = (1..=members.len()).map(spread);
        let sample = samples.into_iter().find(|sample| size(sample) * SAMPLE_PART >= all).unwrap_or_default();
        Class { n_elements: all, n_sampled_elements: size(&sample), sample }
    };
    classes.into_values().map(draw).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_a_twentieth_of_each_kind_and_order_of_size() {
        let mut shapes = vec![vec![320, 320, 3, 3]; 40];
        shapes.extend(vec![vec![320, 320, 1, 1]; 19]);
        shapes.extend([vec![64, 64], vec![1280, 2560, 3, 3]]);
        let classes = sample(&shapes);
        let counts: Vec<_> = classes.iter().map(|class| (class.sample.len(), class.n_elements)).collect();
        assert_eq!(counts, [(1, 4096), (1, 19 * 102_400), (2, 40 * 921_600), (1, 29_491_200)]);
        for class in &classes {
            assert!(class.n_sampled_elements * SAMPLE_PART >= class.n_elements);
            assert_eq!(
                class.n_sampled_elements,
                class.sample.iter().map(|&i| shapes[i].iter().product::<usize>()).sum::<usize>()
            );
        }
        // The third class: one from each half.
        assert_eq!(classes[2].sample, [10, 30]);
    }

    #[test]
    fn a_sample_is_spread_over_the_sizes_of_its_class() {
        let shapes: Vec<Vec<usize>> = (1..=59).map(|i| vec![1000 * i, 70]).collect();
        let classes = sample(&shapes);
        assert_eq!(classes.len(), 2);
        let large = &classes[1];
        assert!(large.sample.len() >= 2 && large.sample.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(classes, sample(&shapes));
    }
}
