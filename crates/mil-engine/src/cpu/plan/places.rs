//! Addresses of buffers, and the proof that what a step is given lies in them.

use crate::{
    EngineError,
    cpu::{
        memory::{Arena, Buffer},
        view::View,
    },
};

/// Addresses of buffers for one step.
///
/// Kernels read and write through the pointers that they get here without looking, so this is where it is checked that
/// a view lies within its buffer, the buffer within its memory, and that the buffer holds something during the step.
/// That no two buffers share memory meanwhile, [`overlapping`](crate::cpu::memory::overlapping) checks for all at once.
pub(super) struct Places<'a> {
    /// Memory of what is computed in every run, and its floats.
    pub(super) arena: (&'a Arena, usize),
    /// Memory of what is kept from run to run, and its floats.
    pub(super) kept: (&'a Arena, usize),
    pub(super) buffers: &'a [Buffer],
    /// The step, and its name for messages.
    pub(super) step: (usize, &'a str),
}

impl Places<'_> {
    /// The first element of a view.
    pub(super) fn of(&self, view: &View) -> Result<*mut f32, EngineError> {
        let start = self.buffers.get(view.buffer).and_then(|buffer| self.start(buffer));
        let held = start.filter(|&(_, len)| view.extent().is_some_and(|extent| extent <= len));
        match held {
            Some((start, _)) => Ok(start.wrapping_add(view.offset)),
            None => Err(EngineError::Plan {
                name: self.step.1.to_owned(),
                fault: format!(
                    "step {} has no memory for {:?} in steps of {:?} from {} on in buffer {}",
                    self.step.0, view.shape, view.strides, view.offset, view.buffer
                ),
            }),
        }
    }

    /// The first element of an operand that may be left out; null where it is.
    pub(super) fn of_any(&self, view: Option<&View>) -> Result<*const f32, EngineError> {
        view.map_or(Ok(std::ptr::null()), |view| Ok(self.of(view)?.cast_const()))
    }

    /// Where a buffer begins and how many floats it has, when it holds something now.
    fn start(&self, buffer: &Buffer) -> Option<(*mut f32, usize)> {
        if let Some(values) = &buffer.constant {
            return Some((values.as_ptr().cast_mut(), values.len()));
        }
        let (first, last) = buffer.life?;
        let (arena, floats) = if buffer.kept { self.kept } else { self.arena };
        let fits = buffer.place.checked_add(buffer.len)? <= floats;
        let is_live = first <= self.step.0 && self.step.0 <= last;
        (fits && is_live).then(|| (arena.start().wrapping_add(buffer.place), buffer.len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(view: &View, step: usize, change: impl FnOnce(&mut Buffer)) -> Result<usize, String> {
        let arena = Arena::new(64).unwrap();
        let mut buffers = [Buffer { life: Some((2, 4)), place: 16, ..Buffer::computed(12) }];
        change(&mut buffers[0]);
        let places = Places { arena: (&arena, 64), kept: (&arena, 0), buffers: &buffers, step: (step, "conv") };
        let at = places.of(view).map_err(|error| error.to_string())?;
        Ok((at as usize - arena.start() as usize) / 4)
    }

    #[test]
    fn views_lie_in_buffers_and_buffers_in_memory_while_they_hold_something() {
        let view = |offset, strides: [usize; 2]| View { buffer: 0, offset, shape: vec![3, 4], strides: strides.into() };
        let whole = view(0, [4, 1]);
        assert_eq!(place(&whole, 2, |_| ()), Ok(16));
        assert_eq!(place(&view(1, [0, 3]), 4, |_| ()), Ok(17));
        for (view, step) in [(view(1, [4, 1]), 3), (view(0, [5, 1]), 3), (view(0, [usize::MAX, 1]), 3)] {
            let error = place(&view, step, |_| ()).unwrap_err();
            assert!(error.starts_with("conv: no plan for the fast engine: step 3 has no memory for [3, 4]"), "{error}");
        }
        place(&whole, 1, |_| ()).expect_err("before it holds anything");
        place(&whole, 5, |_| ()).expect_err("after it was given away");
        place(&whole, 3, |b| b.place = 53).expect_err("behind the end of the arena");
        place(&whole, 3, |b| b.kept = true).expect_err("in memory that has no room");
        place(&whole, 3, |b| b.life = None).expect_err("it was never placed");
        place(&View { buffer: 1, ..whole }, 3, |_| ()).expect_err("there is no such buffer");
    }
}
