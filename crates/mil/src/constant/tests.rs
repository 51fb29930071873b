//! Views of stored and of computed tensors.

use super::*;
use std::{
    ops::Range,
    sync::atomic::{AtomicUsize, Ordering},
};

#[test]
fn a_view_transposes_reshapes_and_casts_when_it_is_read() {
    let base = Const::new(HostTensor::from_f32([2, 3], vec![1., 2., 3., 4., 5., 6.]));
    let view = base.transpose(&[1, 0]).unwrap().reshape([3, 2, 1]).unwrap().cast(DType::F16);
    assert_eq!(view.ty(), TensorType::fixed(DType::F16, &[3, 2, 1]));
    assert_eq!(view.read().to_f32_vec(), [1., 4., 2., 5., 3., 6.]);
    assert!(base.transpose(&[1, 0]).unwrap().transpose(&[1, 0]).unwrap().same_view(&base));
    assert!(base.transpose(&[0, 0]).is_err());
}

#[test]
fn a_part_is_cut_out_of_a_view_whatever_it_views() {
    let base = Const::new(HostTensor::from_f16([24], &(0..24u8).map(f32::from).collect::<Vec<_>>()));
    let table = base.reshape([3, 4, 2]).unwrap().cast(DType::F32);
    let part = table.crop(&[1..3, 1..3, 0..2]).unwrap();
    assert_eq!((part.dtype(), part.shape()), (DType::F32, &[2, 2, 2][..]));
    assert_eq!(part.read().to_f32_vec(), [10., 11., 12., 13., 18., 19., 20., 21.]);
    assert_eq!(table.crop(&[2..3, 0..4, 1..2]).unwrap().read().to_f32_vec(), [17., 19., 21., 23.]);
    let turned = table.transpose(&[2, 1, 0]).unwrap().crop(&[1..2, 0..2, 0..3]).unwrap();
    assert_eq!(turned.read().to_f32_vec(), [1., 9., 17., 3., 11., 19.]);
    let again = part.reshape([4, 2]).unwrap().transpose(&[1, 0]).unwrap();
    assert_eq!(again.read().to_f32_vec(), [10., 12., 18., 20., 11., 13., 19., 21.]);
    for outside in [&[0..4, 0..4, 0..2][..], &[0..3, 0..4], &[0..3, 0..4, 0..2, 0..1]] {
        assert!(table.crop(outside).is_err(), "{outside:?}");
    }
}

#[test]
fn a_part_of_a_part_is_a_part_of_the_whole() {
    let table = Const::new(HostTensor::from_f32([4, 4, 2], noise(32, 3)));
    let outer = table.crop(&[1..4, 0..4, 0..2]).unwrap();
    let part = outer.crop(&[1..2, 1..3, 0..2]).unwrap();
    assert_eq!(part, table.crop(&[2..3, 1..3, 0..2]).unwrap());
    assert!(part.stored().is_none(), "it was computed and kept");
    // Inside the table, and not inside its part.
    assert!(outer.crop(&[0..4, 0..4, 0..2]).is_err());
    let reshaped = outer.reshape([12, 2]).unwrap().crop(&[3..5, 1..2]).unwrap();
    assert_eq!(reshaped.read().to_f32_vec(), table.crop(&[1..3, 0..4, 1..2]).unwrap().read().to_f32_vec()[3..5]);
}

#[test]
fn a_transposition_after_a_reshape_is_right() {
    let base = Const::new(HostTensor::from_f32([6], (0..6u8).map(f32::from).collect()));
    let t = base.reshape([2, 3]).unwrap().transpose(&[1, 0]).unwrap();
    assert_eq!(t.read().to_f32_vec(), [0., 3., 1., 4., 2., 5.]);
}

/// A transposition of a reshaped view is that of the tensor which the view is, and shares its source if told to.
#[track_caller]
fn check_transposed(source: &[usize], shape: &[usize], perm: &[usize], is_view: bool) {
    let n = source.iter().product();
    // Halves seen as floats: what computes this view copies it.
    let base = Const::new(HostTensor::from_f16(source, &noise(n, 5))).cast(DType::F32);
    let lazy = base.reshape(shape).unwrap().transpose(perm).unwrap();
    let mut expected = vec![0.0; n];
    let permuted: Vec<usize> = perm.iter().map(|&p| shape[p]).collect();
    for (at, value) in base.read().to_f32_vec().into_iter().enumerate() {
        let index: Vec<usize> =
            (0..shape.len()).map(|axis| at / shape[axis + 1..].iter().product::<usize>() % shape[axis]).collect();
        let place = perm.iter().zip(&permuted).fold(0, |place, (&p, &size)| place * size + index[p]);
        expected[place] = value;
    }
    assert_eq!((lazy.shape(), lazy.read().to_f32_vec()), (&permuted[..], expected), "{source:?} {shape:?} {perm:?}");
    assert_eq!(lazy.source_id() == base.source_id(), is_view, "{source:?} {shape:?} {perm:?}");
}

#[test]
fn a_transposition_after_axes_were_merged_stays_a_view() {
    check_transposed(&[2, 3, 4], &[6, 4], &[1, 0], true);
    check_transposed(&[2, 3, 4], &[2, 12], &[1, 0], true);
    check_transposed(&[2, 3], &[1, 2, 1, 3, 1], &[3, 0, 4, 1, 2], true);
    check_transposed(&[1, 2, 1, 3, 1], &[2, 3], &[1, 0], true);
    check_transposed(&[1, 5], &[1, 5], &[1, 0], true);
    check_transposed(&[1, 1], &[], &[], false);
    check_transposed(&[2, 0, 3], &[0, 3], &[1, 0], true);
    // Split, or cut elsewhere.
    check_transposed(&[6, 4], &[2, 3, 4], &[2, 0, 1], false);
    check_transposed(&[2, 3], &[3, 2], &[1, 0], false);
    check_transposed(&[4, 6], &[8, 3], &[1, 0], false);
}

#[test]
fn transpositions_and_merges_in_turn_are_right() {
    let base = Const::new(HostTensor::from_f32([2, 3, 4], noise(24, 9)));
    let merged = base.transpose(&[2, 0, 1]).unwrap().reshape([4, 6]).unwrap();
    let back = merged.transpose(&[1, 0]).unwrap();
    assert!(back.same_view(&base.reshape([6, 4]).unwrap()));
    assert_eq!(back, Const::new(merged.read()).transpose(&[1, 0]).unwrap());
}

#[test]
fn halves_seen_as_floats_and_cast_back_are_the_same_bytes() {
    let half = Const::new(HostTensor::from_f16([3], &[1.0, 0.1, -2.5]));
    let back = half.cast(DType::F32).cast(DType::F16);
    assert!(back.same_view(&half));
    let lossy = Const::new(HostTensor::from_f32([1], vec![0.1])).cast(DType::F16).cast(DType::F32);
    assert_eq!(lossy.read().to_f32_vec(), [0.099_975_586]);
}

/// Tensors one below another, for example the projections of queries, keys and values.
#[derive(Debug)]
struct Join {
    parts: Vec<HostTensor>,
    shape: Vec<usize>,
}

impl Join {
    fn new(parts: Vec<HostTensor>) -> Self {
        let mut shape = parts[0].shape().to_vec();
        shape[0] = parts.iter().map(|p| p.shape()[0]).sum();
        Self { parts, shape }
    }

    fn eager(&self) -> HostTensor {
        let values = self.parts.iter().flat_map(HostTensor::to_f32_vec).collect();
        HostTensor::from_f32(self.shape.clone(), values)
    }
}

impl Compute for Join {
    fn dtype(&self) -> DType {
        DType::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn fill_rows(&self, rows: Range<usize>, out: &mut [u8]) {
        let row_bytes = out.len() / rows.len();
        let (mut first, mut filled) = (0, 0);
        for part in &self.parts {
            let n_rows = part.shape()[0];
            let (from, to) = (rows.start.clamp(first, first + n_rows), rows.end.clamp(first, first + n_rows));
            let bytes = &part.bytes()[(from - first) * row_bytes..(to - first) * row_bytes];
            out[filled..filled + bytes.len()].copy_from_slice(bytes);
            (first, filled) = (first + n_rows, filled + bytes.len());
        }
    }
}

/// `W + B·A`, as an adapter of low rank adds to a weight; notes the most bytes that it is asked for at once.
#[derive(Debug)]
struct Sum {
    weight: HostTensor,
    up: Vec<f32>,
    down: Vec<f32>,
    most: AtomicUsize,
}

impl Sum {
    fn new(rows: usize, columns: usize, rank: usize) -> Self {
        let (up, down) = (noise(rows * rank, 7), noise(rank * columns, 11));
        let weight = HostTensor::from_f32([rows, columns], noise(rows * columns, 13));
        Self { weight, up, down, most: AtomicUsize::new(0) }
    }

    fn eager(&self) -> HostTensor {
        let n_rows = self.weight.shape()[0];
        let mut bytes = vec![0; self.weight.bytes().len()];
        self.fill(0..n_rows, &mut bytes);
        HostTensor::new(DType::F32, self.weight.shape(), bytes.into()).unwrap()
    }

    fn fill(&self, rows: Range<usize>, out: &mut [u8]) {
        let columns = self.weight.shape()[1];
        let rank = self.down.len() / columns;
        let words = self.weight.bytes()[rows.start * columns * 4..].as_chunks().0;
        for (i, word) in out.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            let (row, column) = (rows.start + i / columns, i % columns);
            let product: f32 = (0..rank).map(|r| self.up[row * rank + r] * self.down[r * columns + column]).sum();
            *word = (f32::from_le_bytes(words[i]) + product).to_le_bytes();
        }
    }
}

impl Compute for Sum {
    fn dtype(&self) -> DType {
        DType::F32
    }

    fn shape(&self) -> &[usize] {
        self.weight.shape()
    }

    fn fill_rows(&self, rows: Range<usize>, out: &mut [u8]) {
        self.most.fetch_max(out.len(), Ordering::Relaxed);
        self.fill(rows, out);
    }
}

fn noise(n: usize, seed: usize) -> Vec<f32> {
    (0..n).map(|i| ((i * 7919 + seed * 104_729) % 2003) as f32 / 1001.5 - 1.0).collect()
}

/// The computed constant and the tensor that it should be, seen alike, have the same bytes.
#[track_caller]
fn check_views(computed: Arc<dyn Compute>, eager: HostTensor) {
    let (computed, eager) = (Const::computed(computed).unwrap(), Const::new(eager));
    let rank = eager.shape().len();
    let transposed: Vec<usize> = (0..rank).rev().collect();
    let mut rotated: Vec<usize> = (0..rank).collect();
    rotated.rotate_left(1);
    let views: [&dyn Fn(&Const) -> Const; 9] = [
        &Const::clone,
        &|c| c.transpose(&transposed).unwrap(),
        &|c| c.transpose(&rotated).unwrap(),
        &|c| c.reshape([c.len()]).unwrap(),
        &|c| c.cast(DType::F16),
        &|c| c.cast(DType::U4),
        &|c| c.transpose(&transposed).unwrap().reshape([1, c.len()]).unwrap().cast(DType::F16),
        &|c| c.reshape([c.len() / 2, 2]).unwrap().transpose(&[1, 0]).unwrap(),
        &|c| c.cast(DType::F16).cast(DType::F32),
    ];
    for (i, view) in views.iter().enumerate() {
        let (lazy, expected) = (view(&computed), view(&eager));
        assert_eq!(lazy.read(), expected.read(), "view {i}");
        assert_eq!(lazy, expected, "view {i}");
        assert_eq!(expected, lazy, "view {i}");
        assert!(!lazy.same_view(&expected), "view {i}");
        let mut chunks = Vec::new();
        lazy.for_each_chunk(|chunk| {
            chunks.extend_from_slice(chunk);
            Ok::<(), ()>(())
        })
        .unwrap();
        assert_eq!(chunks, expected.read().bytes()[..], "view {i}");
    }
    assert_eq!(computed.source_exceptions(), eager.source_exceptions());
}

#[test]
fn a_join_reads_like_the_joined_tensor_under_every_view() {
    let part = |rows: usize, seed| HostTensor::from_f32([rows, 3, 2], noise(rows * 6, seed));
    let join = Join::new(vec![part(5, 1), part(1, 2), part(4, 3)]);
    let eager = join.eager();
    check_views(Arc::new(join), eager);
    let large = |rows: usize, seed| HostTensor::from_f32([rows, 1030], noise(rows * 1030, seed));
    let join = Join::new(vec![large(700, 1), large(900, 2)]);
    let eager = join.eager();
    check_views(Arc::new(join), eager);
}

#[test]
fn a_sum_reads_like_the_added_tensor_under_every_view() {
    let sum = Sum::new(6, 5, 2);
    let eager = sum.eager();
    check_views(Arc::new(sum), eager);
}

#[test]
fn no_more_than_a_few_mib_of_rows_are_asked_for_at_once() {
    let sum = Arc::new(Sum::new(6100, 1000, 1));
    let computed = Const::computed(sum.clone()).unwrap();
    for view in [computed.clone(), computed.cast(DType::F16), computed.transpose(&[1, 0]).unwrap()] {
        sum.most.store(0, Ordering::Relaxed);
        let mut longest = 0;
        view.for_each_chunk(|chunk| {
            longest = longest.max(chunk.len());
            Ok::<(), ()>(())
        })
        .unwrap();
        let most = sum.most.load(Ordering::Relaxed);
        assert!(most > 0 && most <= 16 << 20, "{most} bytes were asked for");
        assert!(longest > 0 && longest <= 16 << 20, "{longest} bytes were passed on");
    }
}

#[test]
fn views_of_one_computation_are_the_same_constant_and_those_of_two_are_compared() {
    let (sum, again) = (Arc::new(Sum::new(4, 4, 1)), Arc::new(Sum::new(4, 4, 1)));
    let of = |sum: &Arc<Sum>| Const::computed(sum.clone()).unwrap();
    assert!(of(&sum).same_view(&of(&sum)) && of(&sum).source_id() == of(&sum).source_id());
    assert!(!of(&sum).same_view(&of(&again)) && of(&sum).source_id() != of(&again).source_id());
    assert!(!of(&sum).same_view(&of(&sum).transpose(&[1, 0]).unwrap()));
    assert_eq!(of(&sum), of(&again));
    assert_ne!(of(&sum), of(&sum).transpose(&[1, 0]).unwrap());
}

/// Says anything of itself, and is never computed.
#[derive(Debug)]
struct Claim(DType, Vec<usize>);

impl Compute for Claim {
    fn dtype(&self) -> DType {
        self.0
    }

    fn shape(&self) -> &[usize] {
        &self.1
    }

    fn fill_rows(&self, _: Range<usize>, out: &mut [u8]) {
        assert!(!out.is_empty(), "nobody asks for nothing");
        out.fill(1);
    }
}

#[test]
fn what_no_tensor_is_is_refused_and_empty_tensors_are_never_computed() {
    let claim = |dtype, shape: &[usize]| Const::computed(Arc::new(Claim(dtype, shape.to_vec())));
    assert!(claim(DType::U4, &[8]).is_err());
    let refused = claim(DType::F32, &[1 << 40, 1 << 40]).unwrap_err();
    assert!(refused.to_string().contains("1099511627776"), "{refused}");
    for shape in [&[0, 3][..], &[3, 0]] {
        assert!(claim(DType::F32, shape).unwrap().read().is_empty());
        assert!(claim(DType::F32, shape).unwrap().transpose(&[1, 0]).unwrap().read().is_empty());
    }
    assert_eq!(claim(DType::U8, &[]).unwrap().read().to_i64_vec(), [1]);
    assert_eq!(claim(DType::U8, &[]).unwrap().transpose(&[]).unwrap().read().to_i64_vec(), [1]);
}
