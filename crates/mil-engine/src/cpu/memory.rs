//! Memory: one arena for everything that is computed, and parts of it given again once they are no longer read; and
//! one for what is kept from run to run.

use half::f16;
use memmap2::MmapMut;

/// Floats between the starts of two buffers are a multiple of this: a cache line.
const ALIGN: usize = 16;

/// A range of memory, and the steps during which it holds something.
#[derive(Debug, Clone)]
pub(super) struct Buffer {
    /// Floats.
    pub(super) len: usize,
    /// The values of a constant; it is not in the arena.
    pub(super) constant: Option<Vec<f32>>,
    /// First and last step that uses it.
    pub(super) life: Option<(usize, usize)>,
    /// Whether it holds its values from run to run; it is not in the arena then, but among what is kept.
    pub(super) kept: bool,
    /// Where it begins in the arena, or in the memory of what is kept.
    pub(super) place: usize,
}

impl Buffer {
    /// A buffer that is computed.
    pub(super) const fn computed(len: usize) -> Self {
        Self { len, constant: None, life: None, kept: false, place: 0 }
    }

    /// A buffer that never changes.
    pub(super) const fn constant(values: Vec<f32>) -> Self {
        Self { len: values.len(), constant: Some(values), life: None, kept: false, place: 0 }
    }

    /// Notes that a step uses it.
    pub(super) fn used_at(&mut self, step: usize) {
        let (first, last) = self.life.unwrap_or((step, step));
        self.life = Some((first.min(step), last.max(step)));
    }
}

/// Keeps the computed buffers that a step before `rest` writes and one from there on reads, one behind another, and
/// returns how many floats that are.
pub(super) fn keep(buffers: &mut [Buffer], rest: usize) -> usize {
    let mut total = 0;
    for buffer in buffers.iter_mut().filter(|b| b.constant.is_none()) {
        if buffer.life.is_some_and(|(first, last)| first < rest && rest <= last) {
            (buffer.kept, buffer.place) = (true, total);
            total += buffer.len.next_multiple_of(ALIGN);
        }
    }
    total
}

/// Gives every computed buffer that is not kept a place, and returns how many floats the arena needs.
///
/// The largest buffers choose first; each takes the lowest gap between those that live at the same time.
pub(super) fn place(buffers: &mut [Buffer]) -> usize {
    let is_placed = |b: &Buffer| b.constant.is_none() && b.life.is_some() && !b.kept;
    let mut order: Vec<usize> = (0..buffers.len()).filter(|&i| is_placed(&buffers[i])).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(buffers[i].len), i));
    let mut placed: Vec<usize> = Vec::new();
    let mut total = 0;
    for i in order {
        let (first, last) = buffers[i].life.unwrap_or_default();
        let len = buffers[i].len.next_multiple_of(ALIGN);
        let mut busy: Vec<(usize, usize)> = placed
            .iter()
            .map(|&j| &buffers[j])
            .filter(|b| b.life.is_some_and(|(f, l)| f <= last && first <= l))
            .map(|b| (b.place, b.place + b.len.next_multiple_of(ALIGN)))
            .collect();
        busy.sort_unstable();
        let mut at = 0;
        for (from, to) in busy {
            if from >= at + len {
                break;
            }
            at = at.max(to);
        }
        buffers[i].place = at;
        total = total.max(at + len);
        placed.push(i);
    }
    total
}

/// Two buffers that lie in the same memory while both hold something, if there are any.
pub(super) fn overlapping(buffers: &[Buffer]) -> Option<[usize; 2]> {
    let mut placed: Vec<usize> =
        (0..buffers.len()).filter(|&i| buffers[i].constant.is_none() && buffers[i].life.is_some()).collect();
    placed.sort_unstable_by_key(|&i| (buffers[i].kept, buffers[i].place));
    let together = |a: &Buffer, b: &Buffer| match (a.life, b.life) {
        (Some(a_life), Some(b_life)) => a.kept || (a_life.0 <= b_life.1 && b_life.0 <= a_life.1),
        _ => false,
    };
    placed.iter().enumerate().find_map(|(at, &i)| {
        let one = &buffers[i];
        let reached = |j: &&usize| buffers[**j].kept == one.kept && buffers[**j].place - one.place < one.len;
        let other = placed[at + 1..].iter().take_while(reached).find(|&&j| together(one, &buffers[j]))?;
        Some([i, *other])
    })
}

/// Memory that is zero until it is written, in large pages where the system has them.
#[derive(Debug)]
pub(super) struct Arena {
    map: MmapMut,
}

impl Arena {
    /// Memory for so many floats.
    ///
    /// # Errors
    /// The system's, when there is none.
    pub(super) fn new(floats: usize) -> std::io::Result<Self> {
        let map = MmapMut::map_anon(floats.max(1).saturating_mul(4))?;
        #[cfg(target_os = "linux")]
        {
            // Only a hint: without large pages everything works.
            let _ = map.advise(memmap2::Advice::HugePage);
        }
        Ok(Self { map })
    }

    /// Where it begins.
    pub(super) fn start(&self) -> *mut f32 {
        self.map.as_ptr().cast_mut().cast()
    }

    /// All of it, when nothing else points into it.
    pub(super) fn floats(&self) -> &[f32] {
        // SAFETY: pages are aligned, and whatever bytes they hold are floats.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().cast(), self.map.len() / 4) }
    }

    /// See [`Arena::floats`].
    pub(super) fn floats_mut(&mut self) -> &mut [f32] {
        // SAFETY: as above, and nobody else has it.
        unsafe { std::slice::from_raw_parts_mut(self.map.as_mut_ptr().cast(), self.map.len() / 4) }
    }

    /// All of it as halves, when nothing else points into it.
    pub(super) fn halves(&self) -> &[f16] {
        // SAFETY: pages are aligned, and whatever bytes they hold are halves.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().cast(), self.map.len() / 2) }
    }

    /// See [`Arena::halves`].
    pub(super) fn halves_mut(&mut self) -> &mut [f16] {
        // SAFETY: as above, and nobody else has it.
        unsafe { std::slice::from_raw_parts_mut(self.map.as_mut_ptr().cast(), self.map.len() / 2) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overlap_is_one_of_place_and_of_time() {
        let buffer = |place, life, kept| Buffer { place, life: Some(life), kept, ..Buffer::computed(10) };
        let overlap = |a, b| overlapping(&[a, Buffer::constant(vec![0.0; 99]), b]);
        assert_eq!(overlap(buffer(0, (1, 3), false), buffer(9, (3, 4), false)), Some([0, 2]));
        assert_eq!(overlap(buffer(9, (3, 4), false), buffer(0, (1, 3), false)), Some([2, 0]));
        assert_eq!(overlap(buffer(0, (1, 3), false), buffer(10, (3, 4), false)), None, "one behind the other");
        assert_eq!(overlap(buffer(0, (1, 2), false), buffer(9, (3, 4), false)), None, "one after the other");
        assert_eq!(overlap(buffer(0, (1, 3), true), buffer(9, (3, 4), false)), None, "in other memory");
        assert_eq!(overlap(buffer(0, (1, 2), true), buffer(9, (3, 4), true)), Some([0, 2]), "kept to the end");
    }

    #[test]
    fn buffers_that_live_at_the_same_time_do_not_overlap() {
        let mut rng = testkit::Rng::new(5);
        for _ in 0..50 {
            let mut buffers: Vec<Buffer> = (0..40)
                .map(|_| {
                    let mut b = Buffer::computed(1 + rng.below(300));
                    let first = rng.below(30);
                    b.used_at(first);
                    b.used_at(first + rng.below(10));
                    b
                })
                .collect();
            let rest = rng.below(30);
            let kept = keep(&mut buffers, rest);
            let crosses = |b: &Buffer| b.life.unwrap().0 < rest && rest <= b.life.unwrap().1;
            assert!(buffers.iter().all(|b| b.kept == crosses(b)));
            let lens =
                |all: &[Buffer]| all.iter().filter(|b| b.kept).map(|b| b.len.next_multiple_of(ALIGN)).sum::<usize>();
            assert_eq!(kept, lens(&buffers));
            let total = place(&mut buffers);
            assert_eq!(overlapping(&buffers), None);
            let live = |b: &Buffer| b.life.unwrap();
            let most = (0..40)
                .map(|t| buffers.iter().filter(|b| !b.kept && live(b).0 <= t && t <= live(b).1).map(|b| b.len).sum());
            let most: usize = most.max().unwrap();
            assert!(total >= most && total <= most * 2 + 40 * ALIGN, "{total} for {most}");
            for (i, a) in buffers.iter().enumerate() {
                assert!(a.place % ALIGN == 0 && a.place + a.len <= if a.kept { kept } else { total });
                for b in buffers[..i].iter().filter(|b| b.kept == a.kept) {
                    let together = a.kept || live(a).0 <= live(b).1 && live(b).0 <= live(a).1;
                    let apart = a.place + a.len <= b.place || b.place + b.len <= a.place;
                    assert!(!together || apart);
                }
            }
        }
    }
}
