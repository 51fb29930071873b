//! Palettization: indices into a palette.
//!
//! Single values get the palette with the least squared error that there is; entries ascend. The partition is the
//! optimum of exact values, and entries are then rounded to the weight's type, as coremltools does, so that the bytes
//! are the same where it solves the same problem.

use crate::{
    Axes, Encoded, Loss, Lut, PaletteGroups, PaletteMode, Palettize,
    kmeans::{Distinct, NotFinite, PATTERNS, Vectors, cluster, halves, partition},
    layout::{Grid, around},
};
use half::f16;
use host_tensor::{Bytes, DType, HostTensor, pack_bits};

/// Most entries of a palette.
const MAX_ENTRIES: usize = 256;

/// Palettizes a weight of type `F16` or `F32`; the error says why it is better left as it is.
pub(crate) fn palettize(weight: &HostTensor, how: &Palettize, axes: Axes) -> Result<(Encoded, Loss), String> {
    if how.per_channel_scale {
        return scaled(weight, how, axes);
    }
    let (lut, loss) = plain(weight, how, axes)?;
    Ok((Encoded::Lut(lut), loss))
}

fn plain(weight: &HostTensor, how: &Palettize, axes: Axes) -> Result<(Lut, Loss), String> {
    let (axis, n_groups) = groups(weight.shape(), how, axes)?;
    if how.cluster_dim > 1 { vectors(weight, how, axis, n_groups) } else { scalars(weight, how.mode, axis, n_groups) }
}

/// Axis of the channels, and number of groups.
fn groups(shape: &[usize], how: &Palettize, axes: Axes) -> Result<(usize, usize), String> {
    let (axis, size) = match how.groups {
        PaletteGroups::PerTensor => return Ok((axes.output, 1)),
        PaletteGroups::PerGroupedChannel { group_size, axis } => (axis.unwrap_or(axes.output), group_size),
    };
    match shape.get(axis) {
        Some(&n) if size > 0 && n % size == 0 => Ok((axis, n / size)),
        Some(n) => Err(format!("{n} channels do not divide into groups of {size}")),
        None => Err(format!("{shape:?} has no axis {axis}")),
    }
}

/// Index width, and one palette per group.
struct Palettes {
    bits: usize,
    /// Entries of each group, `2^bits` times the vector length.
    entries: Vec<f64>,
}

/// The palette of one group and the index of each distinct value.
struct Palette {
    entries: Vec<f64>,
    indices: Vec<u8>,
}

impl Palette {
    fn find(distinct: &Distinct, mode: PaletteMode, dtype: DType) -> Self {
        let mut palette = match mode {
            PaletteMode::KMeans { bits } => Self::k_means(distinct, 1 << bits),
            PaletteMode::Uniform { bits } => Self::uniform(distinct, bits, dtype),
            PaletteMode::Unique => {
                let n = distinct.len().min(MAX_ENTRIES);
                Self { entries: distinct.values.clone(), indices: (0..n).map(|i| i as u8).collect() }
            }
        };
        palette.entries.iter_mut().for_each(|e| *e = round_to(dtype, *e));
        palette
    }

    /// What is lost of the values that it was found for.
    fn loss(&self, distinct: &Distinct) -> Loss {
        let mut loss = Loss::default();
        for ((&value, &count), &index) in distinct.values.iter().zip(&distinct.counts).zip(&self.indices) {
            loss.squared_error += count as f64 * (value - self.entries[usize::from(index)]).powi(2);
            loss.signal += count as f64 * value * value;
        }
        loss
    }

    fn k_means(distinct: &Distinct, k: usize) -> Self {
        let mut palette = Self { entries: Vec::with_capacity(k), indices: Vec::with_capacity(distinct.len()) };
        let mut from = 0;
        for to in partition(distinct, k) {
            // A running mean, as coremltools takes it: where the mean lies halfway between two halves, the way in which
            // it was computed decides.
            let (mut weight, mut mean) = (0.0, 0.0);
            for i in from..to {
                let count = distinct.counts[i] as f64;
                weight += count;
                mean += (distinct.values[i] - mean) * count / weight;
                palette.indices.push(palette.entries.len() as u8);
            }
            palette.entries.push(mean);
            from = to;
        }
        palette
    }

    /// Entries evenly between least and greatest; indices and the range are rounded to the weight's type, the step
    /// between entries is not (coremltools 9.0 on numpy 1.26, where a scalar divided by an integer becomes an f64).
    fn uniform(distinct: &Distinct, bits: u8, dtype: DType) -> Self {
        let round = |x: f64| round_to(dtype, x);
        let (lo, hi) = (distinct.values[0], distinct.values[distinct.len() - 1]);
        let (last, range) = (f64::from((1u16 << bits) - 1), round(hi - lo));
        let step = range / last;
        let index = |&v: &f64| {
            let part = if range > 0.0 { round(round(v - lo) / range) } else { 0.0 };
            round(part * last).round_ties_even().clamp(0.0, last) as u8
        };
        Self {
            entries: (0..1u16 << bits).map(|i| f64::from(i) * step + lo).collect(),
            indices: distinct.values.iter().map(index).collect(),
        }
    }
}

/// The nearest value of a float type that is finite.
fn round_to(dtype: DType, x: f64) -> f64 {
    if dtype == DType::F16 {
        host_tensor::f16_from_f64(x.clamp(f16::MIN.to_f64(), f16::MAX.to_f64())).to_f64()
    } else {
        f64::from(x.clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32)
    }
}

fn scalars(weight: &HostTensor, mode: PaletteMode, axis: usize, n_groups: usize) -> Result<(Lut, Loss), String> {
    let (dtype, bytes) = (weight.dtype(), weight.bytes());
    let grid = Grid::along(weight.shape(), axis, n_groups);
    let distinct = distinct_by_group(weight, &grid)?;
    let bits = match mode {
        PaletteMode::KMeans { bits } | PaletteMode::Uniform { bits } => usize::from(bits),
        PaletteMode::Unique => {
            let n = distinct.iter().map(Distinct::len).max().unwrap_or(0);
            let widths = [1, 2, 3, 4, 6, 8];
            let fits = widths.into_iter().find(|&bits| n <= 1 << bits);
            fits.ok_or_else(|| format!("it has {n} distinct values, and a palette at most {MAX_ENTRIES}"))?
        }
    };
    let mut palettes = Palettes { bits, entries: Vec::with_capacity(n_groups << bits) };
    let (mut loss, mut packer) = (Loss::default(), Packer::new(bits, weight.len(), n_groups));
    for (g, distinct) in distinct.iter().enumerate() {
        let mut palette = Palette::find(distinct, mode, dtype);
        loss += palette.loss(distinct);
        let labels = Labels::new(dtype, distinct, &palette.indices);
        packer.group(&grid, g, bytes, dtype.bits() / 8, &labels);
        palette.entries.resize(1 << bits, 0.0);
        palettes.entries.append(&mut palette.entries);
    }
    let indices = packer.finish(weight.shape().to_vec());
    Ok((palettes.into_lut(dtype, weight.shape(), axis, n_groups, 1, indices), loss))
}

/// What palettes by k-means of several widths lose of a weight, each with these groups; its values are counted once.
pub(crate) fn losses(
    weight: &HostTensor,
    groups: PaletteGroups,
    axes: Axes,
    widths: &[u8],
) -> Result<Vec<Loss>, String> {
    let how = Palettize { mode: PaletteMode::Unique, groups, cluster_dim: 1, per_channel_scale: false };
    let (axis, n_groups) = self::groups(weight.shape(), &how, axes)?;
    let distinct = distinct_by_group(weight, &Grid::along(weight.shape(), axis, n_groups))?;
    let of = |&bits: &u8| {
        let mut loss = Loss::default();
        for distinct in &distinct {
            loss += Palette::find(distinct, PaletteMode::KMeans { bits }, weight.dtype()).loss(distinct);
        }
        loss
    };
    Ok(widths.iter().map(of).collect())
}

fn distinct_by_group(weight: &HostTensor, grid: &Grid) -> Result<Vec<Distinct>, String> {
    let of = |g| distinct(weight.dtype(), grid.bytes(g, weight.bytes(), weight.dtype().bits() / 8));
    let all: Result<Vec<Distinct>, NotFinite> = (0..grid.len()).map(of).collect();
    all.map_err(|NotFinite(n)| format!("{n} of its values are infinite or not numbers"))
}

fn distinct<'a>(dtype: DType, runs: impl Iterator<Item = &'a [u8]> + Clone) -> Result<Distinct, NotFinite> {
    match dtype {
        DType::F16 => Distinct::of_halves(runs),
        _ => Distinct::of_f32(runs.flat_map(floats).collect()),
    }
}

fn floats(run: &[u8]) -> impl Iterator<Item = f32> + '_ {
    run.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b))
}

/// Finds the index of an element.
enum Labels {
    /// By bit pattern.
    Halves(Box<[u8; PATTERNS]>),
    /// The least value of each index, and the index.
    Floats(Vec<(f32, u8)>),
}

impl Labels {
    fn new(dtype: DType, distinct: &Distinct, indices: &[u8]) -> Self {
        if dtype != DType::F16 {
            let mut first: Vec<(f32, u8)> = Vec::new();
            for (&value, &index) in distinct.values.iter().zip(indices) {
                if first.last().is_none_or(|last| last.1 != index) {
                    first.push((value as f32, index));
                }
            }
            return Self::Floats(first);
        }
        let mut table: Box<[u8; PATTERNS]> =
            vec![0; PATTERNS].into_boxed_slice().try_into().expect("invariant: of that length");
        for (&value, &index) in distinct.values.iter().zip(indices) {
            table[usize::from(f16::from_f64(value).to_bits())] = index;
            if value == 0.0 {
                table[usize::from(f16::NEG_ZERO.to_bits())] = index;
            }
        }
        Self::Halves(table)
    }

    /// Writes the indices of a run of elements.
    fn write(&self, run: &[u8], to: &mut [u8]) {
        match self {
            Self::Halves(table) => to.iter_mut().zip(halves(run)).for_each(|(to, bits)| *to = table[usize::from(bits)]),
            Self::Floats(first) => to.iter_mut().zip(floats(run)).for_each(|(to, v)| {
                let after = first.partition_point(|(least, _)| *least <= v);
                *to = first[after.saturating_sub(1)].1;
            }),
        }
    }
}

/// Collects indices in the order of the weight.
struct Packer {
    bits: usize,
    /// Packed already, when there is one group; a byte each otherwise.
    indices: Vec<u8>,
    is_packed: bool,
}

/// Elements that are labelled and packed together; a multiple of eight.
const PIECE: usize = 1 << 14;

impl Packer {
    fn new(bits: usize, n: usize, n_groups: usize) -> Self {
        let is_packed = n_groups == 1;
        let indices = if is_packed { Vec::with_capacity(n / 8 * bits + bits) } else { vec![0; n] };
        Self { bits, indices, is_packed }
    }

    fn group(&mut self, grid: &Grid, group: usize, bytes: &[u8], width: usize, labels: &Labels) {
        if !self.is_packed {
            for (range, run) in grid.ranges(group).zip(grid.bytes(group, bytes, width)) {
                labels.write(run, &mut self.indices[range]);
            }
            return;
        }
        let mut piece = [0u8; PIECE];
        for run in bytes.chunks(PIECE * width) {
            let piece = &mut piece[..run.len() / width];
            labels.write(run, piece);
            self.indices.extend_from_slice(&pack_bits(piece, self.bits));
        }
    }

    fn finish(self, shape: Vec<usize>) -> HostTensor {
        let packed = if self.is_packed { self.indices } else { pack_bits(&self.indices, self.bits) };
        index_tensor(self.bits, shape, packed)
    }
}

fn index_tensor(bits: usize, shape: Vec<usize>, packed: Vec<u8>) -> HostTensor {
    let dtype = match bits {
        1 => DType::U1,
        2 => DType::U2,
        3 => DType::U3,
        4 => DType::U4,
        6 => DType::U6,
        _ => DType::U8,
    };
    HostTensor::new(dtype, shape, Bytes::from(packed)).expect("invariant: packed to that length")
}

impl Palettes {
    fn into_lut(
        self,
        dtype: DType,
        shape: &[usize],
        axis: usize,
        n_groups: usize,
        vector: usize,
        indices: HostTensor,
    ) -> Lut {
        let mut lut_shape = vec![1; shape.len()];
        lut_shape[axis] = n_groups;
        lut_shape.extend([1 << self.bits, vector]);
        let values: Vec<f32> = self.entries.iter().map(|&e| e as f32).collect();
        let lut = HostTensor::from_f32(lut_shape, values).cast(dtype);
        Lut { indices, lut, vector_axis: (vector > 1).then_some(axis) }
    }
}

/// Vectors of consecutive channels at one place.
fn vectors(weight: &HostTensor, how: &Palettize, axis: usize, n_groups: usize) -> Result<(Lut, Loss), String> {
    let PaletteMode::KMeans { bits } = how.mode else {
        return Err("palettes of vectors are found by k-means only".into());
    };
    let (dim, bits, shape) = (how.cluster_dim, usize::from(bits), weight.shape());
    if !(shape[axis] / n_groups).is_multiple_of(dim) {
        return Err(format!("groups of {} channels do not divide into vectors of {dim}", shape[axis] / n_groups));
    }
    let all = weight.to_f32_vec();
    if all.iter().any(|v| !v.is_finite()) {
        return Err("some of its values are infinite or not numbers".into());
    }
    let (outer, channels, inner) = around(shape, axis);
    let (size, mut palettes) = (channels / n_groups, Palettes { bits, entries: Vec::new() });
    let (mut labels, mut loss) = (vec![0u8; weight.len() / dim], Loss::default());
    for g in 0..n_groups {
        // Rows of channels at which vectors begin; a vector's elements are `inner` apart.
        let rows = (0..outer).flat_map(|o| (0..size / dim).map(move |v| o * channels + g * size + v * dim));
        let places: Vec<(usize, usize)> = rows.flat_map(|row| (0..inner).map(move |i| (row, i))).collect();
        let elements = |&(row, i): &(usize, usize)| (0..dim).map(move |d| (row + d) * inner + i);
        let data: Vec<f32> = places.iter().flat_map(elements).map(|at| all[at]).collect();
        let (centres, found) = cluster(Vectors { data: &data, dim }, 1 << bits);
        let mut entries: Vec<f64> = centres.iter().map(|&c| round_to(weight.dtype(), f64::from(c))).collect();
        for ((&(row, i), vector), &label) in places.iter().zip(data.chunks_exact(dim)).zip(&found) {
            labels[row / dim * inner + i] = label;
            let entry = &entries[usize::from(label) * dim..][..dim];
            for (&v, e) in vector.iter().zip(entry) {
                loss.squared_error += (f64::from(v) - e).powi(2);
                loss.signal += f64::from(v).powi(2);
            }
        }
        entries.resize(dim << bits, 0.0);
        palettes.entries.append(&mut entries);
    }
    let mut index_shape = shape.to_vec();
    index_shape[axis] /= dim;
    let indices = index_tensor(bits, index_shape, pack_bits(&labels, bits));
    Ok((palettes.into_lut(weight.dtype(), shape, axis, n_groups, dim, indices), loss))
}

/// Each output channel divided by its largest magnitude, then palettized.
fn scaled(weight: &HostTensor, how: &Palettize, axes: Axes) -> Result<(Encoded, Loss), String> {
    let (dtype, shape) = (weight.dtype(), weight.shape());
    let all = weight.to_f32_vec();
    let grid = Grid::along(shape, axes.output, shape[axes.output]);
    let mut scales = Vec::with_capacity(shape[axes.output]);
    let mut divided = all.clone();
    for channel in 0..shape[axes.output] {
        let largest = grid.ranges(channel).flat_map(|r| &all[r]).fold(0f32, |m, v| m.max(v.abs()));
        // A channel of zeros stays one whatever it is multiplied by.
        let scale = if largest > 0.0 { largest } else { 1.0 };
        grid.ranges(channel).for_each(|r| divided[r].iter_mut().for_each(|v| *v /= scale));
        scales.push(scale);
    }
    let divided = HostTensor::from_f32(shape, divided).cast(dtype);
    let (lut, _) = plain(&divided, &Palettize { per_channel_scale: false, ..*how }, axes)?;
    let mut scale_shape = vec![1; shape.len()];
    scale_shape[axes.output] = scales.len();
    let scale = HostTensor::from_f32(scale_shape, scales).cast(dtype);
    let encoded = Encoded::ScaledLut { lut, scale };
    let loss = encoded.loss(weight);
    Ok((encoded, loss))
}
