//! An operation that multiplies a weight by something: what it is given, one column after another.

use host_tensor::HostTensor;
use mil::{Function, Op, ValueId, ops::View};
use mil_compress::Statistics;

/// An operation that reads a weight, and from where it takes what the weight is multiplied by.
#[derive(Debug, Clone)]
pub(super) struct Reader {
    /// Name of the weight's value.
    pub(super) weight: String,
    /// The other operand.
    pub(super) x: ValueId,
    form: Form,
}

#[derive(Debug, Clone)]
enum Form {
    /// `[…, n]`: columns lie one after another.
    Rows {
        n: usize,
    },
    /// `[…, n, m]`: columns are columns.
    Columns {
        n: usize,
    },
    Windows(Windows),
}

/// Windows of a convolution, whose spatial dimensions are filled up to three.
#[derive(Debug, Clone)]
struct Windows {
    groups: usize,
    /// Input channels of a group.
    channels: usize,
    kernel: [usize; 3],
    strides: [usize; 3],
    dilations: [usize; 3],
    pad: Pad,
}

#[derive(Debug, Clone, Copy)]
enum Pad {
    Before([usize; 3], [usize; 3]),
    /// As much as makes the output as large as the input over the stride; what is odd lies before where `lower`.
    Same {
        lower: bool,
    },
}

/// Elements of windows that are laid out at a time.
const PIECE: usize = 8 << 20;

impl Reader {
    /// The reader that an operation is of a value; `None` where it does not multiply it by something.
    pub(super) fn of(function: &Function, op: &Op, weight: ValueId) -> Option<Self> {
        let view = View::of(function, op);
        let is = |param: &str| op.input(param) == Some(weight);
        let shape = shape(function, weight)?;
        let (form, x) = match &*op.kind {
            "linear" if is("weight") => (Form::Rows { n: *shape.get(1)? }, op.input("x")?),
            "conv" if is("weight") => (Form::Windows(Windows::of(&view, &shape)?), op.input("x")?),
            "matmul" if is("y") && shape.len() == 2 => {
                let n = shape[usize::from(view.known_bool("transpose_y").ok()?)];
                let is_turned = view.known_bool("transpose_x").ok()?;
                (if is_turned { Form::Columns { n } } else { Form::Rows { n } }, op.input("x")?)
            }
            _ => return None,
        };
        function.literal(x).is_none().then(|| Self { weight: function.name_of(weight).to_owned(), x, form })
    }

    /// Elements of a row of the weight, and groups.
    pub(super) fn extent(&self) -> (usize, usize) {
        match &self.form {
            Form::Rows { n } | Form::Columns { n } => (*n, 1),
            Form::Windows(w) => (w.channels * w.kernel.iter().product::<usize>(), w.groups),
        }
    }

    /// Counts what the operation was given.
    pub(super) fn count(&self, x: &HostTensor, statistics: &mut Statistics) {
        let values = x.to_f32_vec();
        match &self.form {
            Form::Rows { .. } => statistics.add(0, &values),
            Form::Columns { n } => {
                let m = x.shape().last().copied().unwrap_or(1);
                for matrix in values.chunks_exact((n * m).max(1)) {
                    let turned: Vec<f32> = (0..n * m).map(|i| matrix[i % n * m + i / n]).collect();
                    statistics.add(0, &turned);
                }
            }
            Form::Windows(windows) => windows.count(&values, x.shape(), statistics),
        }
    }
}

fn shape(function: &Function, v: ValueId) -> Option<Vec<usize>> {
    function.ty(v).as_tensor()?.shape.iter().map(|d| d.size()).collect()
}

/// Spatial dimensions, filled up with ones in front.
fn widen(dims: &[usize], filler: usize) -> Option<[usize; 3]> {
    let mut wide = [filler; 3];
    wide.get_mut(3usize.checked_sub(dims.len())?..)?.copy_from_slice(dims);
    Some(wide)
}

impl Windows {
    fn of(view: &View<'_>, weight: &[usize]) -> Option<Self> {
        let kernel = weight.get(2..)?;
        let n = kernel.len();
        let ints = |param: &str, len: usize| -> Option<Vec<usize>> {
            let known = view.known_ints_of_len(param, len).ok()?;
            known.into_iter().map(|i| usize::try_from(i).ok()).collect()
        };
        let pad = match view.known_text("pad_type").ok()? {
            "same" => Pad::Same { lower: false },
            "same_lower" => Pad::Same { lower: true },
            "custom" => {
                let pads = ints("pad", 2 * n)?;
                let side = |side: usize| widen(&pads.iter().skip(side).step_by(2).copied().collect::<Vec<_>>(), 0);
                Pad::Before(side(0)?, side(1)?)
            }
            _ => Pad::Before([0; 3], [0; 3]),
        };
        Some(Self {
            groups: usize::try_from(view.known_int("groups").ok()?).ok()?,
            channels: weight[1],
            kernel: widen(kernel, 1)?,
            strides: widen(&ints("strides", n)?, 1)?,
            dilations: widen(&ints("dilations", n)?, 1)?,
            pad,
        })
    }

    /// Padding in front of a dimension of this size, and windows along it.
    fn along(&self, i: usize, size: usize) -> (usize, usize) {
        let reach = (self.kernel[i].saturating_sub(1)) * self.dilations[i] + 1;
        let stride = self.strides[i].max(1);
        match self.pad {
            Pad::Before(before, after) => {
                let room = (size + before[i] + after[i]).checked_sub(reach);
                (before[i], room.map_or(0, |room| room / stride + 1))
            }
            Pad::Same { lower } => {
                let n = size.div_ceil(stride);
                let total = (n.saturating_sub(1) * stride + reach).saturating_sub(size);
                (if lower { total - total / 2 } else { total / 2 }, n)
            }
        }
    }

    fn count(&self, values: &[f32], shape: &[usize], statistics: &mut Statistics) {
        let Some(size) = shape.get(2..).and_then(|dims| widen(dims, 1)) else { return };
        let along: Vec<(usize, usize)> = (0..3).map(|i| self.along(i, size[i])).collect();
        let (before, n): (Vec<usize>, Vec<usize>) = along.into_iter().unzip();
        let positions = n[0] * n[1] * n[2];
        let (area, columns) = (size.iter().product::<usize>(), self.channels * self.kernel.iter().product::<usize>());
        let at_once = (PIECE / columns.max(1)).max(1);
        for picture in values.chunks_exact((shape[1] * area).max(1)) {
            for (group, channels) in picture.chunks_exact((self.channels * area).max(1)).enumerate() {
                for first in (0..positions).step_by(at_once) {
                    let mut rows = vec![0f32; (positions - first).min(at_once) * columns];
                    for (i, row) in rows.chunks_exact_mut(columns.max(1)).enumerate() {
                        let at = first + i;
                        let at = [at / (n[1] * n[2]), at / n[2] % n[1], at % n[2]];
                        let corner = [0, 1, 2].map(|d| (at[d] * self.strides[d], before[d]));
                        self.window(channels, size, corner, row);
                    }
                    statistics.add(group, &rows);
                }
            }
        }
    }

    /// Lays out one window; what lies in the padding stays zero.
    fn window(&self, channels: &[f32], size: [usize; 3], corner: [(usize, usize); 3], row: &mut [f32]) {
        let [kd, kh, kw] = self.kernel;
        let place = |d: usize, tap: usize| {
            let (at, before) = corner[d];
            (at + tap * self.dilations[d]).checked_sub(before).filter(|&at| at < size[d])
        };
        let area = size.iter().product::<usize>();
        for (channel, taps) in channels.chunks_exact(area.max(1)).zip(row.chunks_exact_mut((kd * kh * kw).max(1))) {
            for (tap, value) in taps.iter_mut().enumerate() {
                let (z, y, x) = (place(0, tap / (kh * kw)), place(1, tap / kw % kh), place(2, tap % kw));
                if let (Some(z), Some(y), Some(x)) = (z, y, x) {
                    *value = channel[(z * size[1] + y) * size[2] + x];
                }
            }
        }
    }
}
