//! Where the elements of a block lie in a row-major tensor.

use std::ops::Range;

/// A tensor cut into equal blocks: a grid of them along each axis.
#[derive(Debug, Clone)]
pub(crate) struct Grid {
    /// Blocks along each axis.
    blocks: Vec<usize>,
    /// Elements from one block to the next along each axis.
    block_steps: Vec<usize>,
    /// Runs of a block: how many along each outer axis, and how far apart.
    runs: Vec<(usize, usize)>,
    /// Elements of a run.
    run: usize,
}

impl Grid {
    /// Blocks of a tensor of this shape; each entry of `blocks` divides the dimension.
    pub(crate) fn new(shape: &[usize], blocks: &[usize]) -> Self {
        let mut steps = vec![1; shape.len()];
        for i in (0..shape.len().saturating_sub(1)).rev() {
            steps[i] = steps[i + 1] * shape[i + 1];
        }
        let sizes: Vec<usize> = shape.iter().zip(blocks).map(|(&d, &b)| d / b.max(1)).collect();
        // Axes from `inner` on are not cut: with what a block has of the axis before, they are one run.
        let inner = blocks.iter().rposition(|&b| b != 1).unwrap_or(0);
        let run = sizes[inner..].iter().product();
        Self {
            blocks: blocks.to_vec(),
            block_steps: sizes.iter().zip(&steps).map(|(size, step)| size * step).collect(),
            runs: sizes[..inner].iter().copied().zip(steps.iter().copied()).collect(),
            run,
        }
    }

    /// Blocks of one axis only.
    pub(crate) fn along(shape: &[usize], axis: usize, n: usize) -> Self {
        let mut blocks = vec![1; shape.len()];
        blocks[axis] = n;
        Self::new(shape, &blocks)
    }

    /// Number of blocks.
    pub(crate) fn len(&self) -> usize {
        self.blocks.iter().product()
    }

    /// Ranges of elements of a block, in order; blocks are numbered row-major.
    pub(crate) fn ranges(&self, block: usize) -> impl Iterator<Item = Range<usize>> + Clone + '_ {
        let mut rest = block;
        let mut first = 0;
        for (&n, step) in self.blocks.iter().zip(&self.block_steps).rev() {
            first += rest % n * step;
            rest /= n;
        }
        let n_runs = self.runs.iter().map(|(n, _)| n).product();
        (0..n_runs).map(move |run: usize| {
            let mut rest = run;
            let mut at = first;
            for &(n, step) in self.runs.iter().rev() {
                at += rest % n * step;
                rest /= n;
            }
            at..at + self.run
        })
    }

    /// The bytes of those ranges, for elements `width` bytes wide.
    pub(crate) fn bytes<'a>(
        &'a self,
        block: usize,
        bytes: &'a [u8],
        width: usize,
    ) -> impl Iterator<Item = &'a [u8]> + Clone + 'a {
        self.ranges(block).map(move |r| &bytes[r.start * width..r.end * width])
    }
}

/// Elements after one another along an axis: how many rows of them, channels, and elements of a channel.
pub(crate) fn around(shape: &[usize], axis: usize) -> (usize, usize, usize) {
    (shape[..axis].iter().product(), shape[axis], shape[axis + 1..].iter().product())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cover_the_tensor_once() {
        for (shape, blocks) in [
            (vec![4, 6, 2], vec![1, 1, 1]),
            (vec![4, 6, 2], vec![4, 1, 1]),
            (vec![4, 6, 2], vec![1, 3, 1]),
            (vec![4, 6, 2], vec![2, 2, 2]),
            (vec![5], vec![5]),
        ] {
            let grid = Grid::new(&shape, &blocks);
            assert_eq!(grid.len(), blocks.iter().product::<usize>());
            let mut owner = vec![usize::MAX; shape.iter().product()];
            for block in 0..grid.len() {
                for i in grid.ranges(block).flatten() {
                    assert_eq!(std::mem::replace(&mut owner[i], block), usize::MAX);
                }
            }
            assert!(!owner.contains(&usize::MAX));
        }
        let grid = Grid::along(&[2, 4, 3], 1, 2);
        assert_eq!(grid.ranges(1).collect::<Vec<_>>(), [6..12, 18..24]);
    }
}
