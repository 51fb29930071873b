//! A weight whose values are those of a few palettes.

use half::f16;
use host_tensor::{DType, HostTensor};
use mil_compress::{Axes, Encoded, PaletteGroups, PaletteMode, Palettize, Scheme, encode};
use rayon::prelude::*;

use crate::adam::Adam;
use crate::distinct::Distinct;
use crate::error::FinetuneError;
use crate::soft::{self, Refined};

/// Of a palette whose entries are all the same; its square is a temperature, which must not be nothing.
const LEAST_SCALE: f32 = 1e-12;

/// How values are drawn to the entries of their palettes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Pull {
    /// By attention; a temperature of 1 is the square of a palette's mean distance between neighbours.
    Soft { temperature: f32, n_iterations: usize },
    /// Each has the entry that it was given.
    Hard,
}

/// A weight, the palettes of its groups, and what moves both.
///
/// Output channels are the first axis, as in checkpoints; a group is some of them, one behind the other.
#[derive(Debug, Clone)]
pub(crate) struct Palettized {
    pub(crate) n_bits: usize,
    pub(crate) n_groups: usize,
    /// Elements, row by row.
    pub(crate) elements: Vec<f32>,
    /// The palettes of all groups.
    pub(crate) entries: Vec<f32>,
    /// Mean distance of neighbours in each group's first palette, which everything is measured by.
    pub(crate) scales: Vec<f32>,
    /// Which entry each element has, once they are given out.
    pub(crate) places: Vec<u8>,
    pub(crate) by_element: Adam,
    pub(crate) by_entry: Adam,
}

/// A part of a weight that has a palette of its own.
struct Group<'a> {
    elements: &'a [f32],
    palette: &'a [f32],
    scale: f32,
}

/// What the way back needs of a way there.
#[derive(Debug, Default)]
pub(crate) struct Tape {
    /// Of each group; none where entries are given out.
    distinct: Vec<Distinct>,
    /// Palettes after the iterations, which the next step begins with.
    refined: Vec<f32>,
}

impl Palettized {
    /// Begins with the palettes of least squared error.
    pub(crate) fn new(weight: &HostTensor, n_bits: u8, group_size: Option<usize>) -> Result<Self, String> {
        let channels = weight.shape()[0];
        let n_groups = match group_size {
            None => 1,
            Some(size) if size > 0 && channels.is_multiple_of(size) => channels / size,
            Some(size) => return Err(format!("{channels} channels do not divide into groups of {size}")),
        };
        let groups = match group_size {
            None => PaletteGroups::PerTensor,
            Some(group_size) => PaletteGroups::PerGroupedChannel { group_size, axis: Some(0) },
        };
        let mode = PaletteMode::KMeans { bits: n_bits };
        let how = Palettize { mode, groups, cluster_dim: 1, per_channel_scale: false };
        // Means in f32: the search rounds entries to the weight's type.
        let (encoded, _) =
            encode(&weight.cast(DType::F32), &Scheme::Palettize(how), Axes { output: 0, input: 1 }, false)?;
        let Encoded::Lut(found) = encoded else { return Err("it has no palette".into()) };
        let entries = found.lut.to_f32_vec();
        let k = 1 << n_bits;
        if entries.len() != n_groups * k || k > soft::MAX_ENTRIES {
            return Err(format!("palettes of {n_bits} bits cannot be trained; give 1 to 4"));
        }
        let spread = |palette: &[f32]| {
            let (low, high) = palette.iter().fold((f32::MAX, f32::MIN), |(l, h), &v| (l.min(v), h.max(v)));
            ((high - low) / (k - 1) as f32).max(LEAST_SCALE)
        };
        let elements = weight.to_f32_vec();
        Ok(Self {
            n_bits: n_bits.into(),
            n_groups,
            scales: entries.chunks(k).map(spread).collect(),
            places: Vec::new(),
            by_element: Adam::new(elements.len()),
            by_entry: Adam::new(entries.len()),
            elements,
            entries,
        })
    }

    fn n_entries(&self) -> usize {
        1 << self.n_bits
    }

    fn group_len(&self) -> usize {
        self.elements.len() / self.n_groups
    }

    fn groups(&self) -> impl IndexedParallelIterator<Item = Group<'_>> {
        let elements = self.elements.par_chunks(self.group_len());
        let parts = elements.zip(self.entries.par_chunks(self.n_entries())).zip(&self.scales);
        parts.map(|((elements, palette), &scale)| Group { elements, palette, scale })
    }

    /// What the network computes with.
    pub(crate) fn values(&self, pull: Pull) -> (Vec<f32>, Tape) {
        let Pull::Soft { temperature, n_iterations } = pull else {
            return (self.given(), Tape::default());
        };
        let of_group = |Group { elements, palette, scale }: Group<'_>| {
            let distinct = Distinct::of(elements);
            let temperature = temperature * scale * scale;
            let palette: Refined = soft::refine(distinct.values(), palette, temperature, n_iterations);
            let mut values = Vec::with_capacity(distinct.values().values.len());
            soft::assign(distinct.values().values, &palette, temperature, &mut values);
            (distinct.gather(values), distinct, palette.entries)
        };
        let found: Vec<(Vec<f32>, Distinct, Vec<f32>)> = self.groups().map(of_group).collect();
        let mut values = Vec::with_capacity(self.elements.len());
        let mut tape = Tape::default();
        for (of_group, distinct, palette) in found {
            values.extend_from_slice(&of_group);
            tape.distinct.push(distinct);
            tape.refined.extend(palette);
        }
        (values, tape)
    }

    /// Each element's entry, rounded as it will be stored.
    pub(crate) fn given(&self) -> Vec<f32> {
        let rounded: Vec<f32> = self.entries.iter().map(|&entry| f16::from_f32(entry).to_f32()).collect();
        let groups = self.places.par_chunks(self.group_len()).zip(rounded.par_chunks(self.n_entries()));
        groups.flat_map_iter(|(places, palette)| places.iter().map(|&place| palette[usize::from(place)])).collect()
    }

    /// The gradients by elements and by entries.
    pub(crate) fn gradients(&self, pull: Pull, tape: &Tape, gradient: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let Pull::Soft { temperature, n_iterations } = pull else {
            return (Vec::new(), self.by_given(gradient));
        };
        let of_group = |((group, distinct), gradient): ((Group<'_>, &Distinct), &[f32])| {
            let Group { palette, scale, .. } = group;
            let temperature = temperature * scale * scale;
            let sums = distinct.scatter(gradient);
            let back = soft::backward(distinct.values(), palette, temperature, n_iterations, &sums);
            (distinct.chain(gradient, &back.slopes, &back.shifts), back.entries)
        };
        let gradients = gradient.par_chunks(self.group_len());
        let found: Vec<(Vec<f32>, Vec<f32>)> = self.groups().zip(&tape.distinct).zip(gradients).map(of_group).collect();
        let (by_element, by_entry): (Vec<_>, Vec<_>) = found.into_iter().unzip();
        (by_element.concat(), by_entry.concat())
    }

    fn by_given(&self, gradient: &[f32]) -> Vec<f32> {
        let k = self.n_entries();
        let groups = self.places.par_chunks(self.group_len()).zip(gradient.par_chunks(self.group_len()));
        let of_group = |(places, gradient): (&[u8], &[f32])| {
            let mut sums = vec![0.0; k];
            places.iter().zip(gradient).for_each(|(&place, g)| sums[usize::from(place)] += g);
            sums
        };
        groups.flat_map_iter(of_group).collect()
    }

    /// One step of both; rates are shares of a palette's mean distance between neighbours.
    pub(crate) fn step(&mut self, tape: &Tape, gradients: &(Vec<f32>, Vec<f32>), at: usize, rates: (f32, f32)) {
        if !tape.refined.is_empty() {
            self.entries.copy_from_slice(&tape.refined);
        }
        let scaled = |rate: f32| -> Vec<f32> { self.scales.iter().map(|scale| rate * scale).collect() };
        let (by_element, by_entry) = (scaled(rates.0), scaled(rates.1));
        let (len, k) = (self.group_len(), self.n_entries());
        if !gradients.0.is_empty() {
            self.by_element.step(&mut self.elements, &gradients.0, at, len, &by_element);
        }
        self.by_entry.step(&mut self.entries, &gradients.1, at, k, &by_entry);
    }

    /// Gives each element the nearest entry, for good.
    pub(crate) fn give_out(&mut self) {
        let nearest = |element: f32, palette: &[f32]| {
            let by_distance =
                |a: &(usize, &f32), b: &(usize, &f32)| (element - a.1).abs().total_cmp(&(element - b.1).abs());
            palette.iter().enumerate().min_by(by_distance).map_or(0, |(idx, _)| idx as u8)
        };
        let of_group = |Group { elements, palette, .. }: Group<'_>| -> Vec<u8> {
            elements.iter().map(|&element| nearest(element, palette)).collect()
        };
        self.places = self.groups().flat_map_iter(of_group).collect();
        self.by_entry = Adam::new(self.entries.len());
    }
}

/// A fault of a weight.
pub(crate) fn fault(name: &str, reason: String) -> FinetuneError {
    FinetuneError::Weight { name: name.to_owned(), reason }
}
