//! Edges of a picture by Canny's rule, for ControlNets that were trained on them.
// Source of the rules: OpenCV 4 and 5, Canny with a Sobel aperture of 3 and the L1 gradient, exact to the pixel.

use super::{GreyImage, RgbImage, Size};
use crate::error::{Result, RuntimeError};

/// Thresholds of the gradient, which runs to about 2 000: an edge begins above the upper one and goes on above the lower.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Canny {
    low: i32,
    high: i32,
}

impl Default for Canny {
    /// 100 and 200, as ControlNet's own preprocessor.
    fn default() -> Self {
        Self { low: 100, high: 200 }
    }
}

/// The gradient of a pixel: of its colour that changes most.
#[derive(Clone, Copy, Default)]
struct Gradient {
    x: i32,
    y: i32,
}

impl Gradient {
    fn size(self) -> i32 {
        self.x.abs() + self.y.abs()
    }
}

/// What is known of a pixel.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    Nothing,
    /// A ridge above the lower threshold, an edge if it touches one.
    Ridge,
    Edge,
}

impl Canny {
    /// Thresholds, in whichever order; fractions are rounded down.
    ///
    /// # Errors
    /// [`RuntimeError::Options`] for one that is no number of 0 or more.
    pub fn new(a: f64, b: f64) -> Result<Self> {
        for threshold in [a, b] {
            if !(threshold >= 0.0 && threshold.is_finite()) {
                return Err(RuntimeError::Options(format!("threshold {threshold} of edges is not a number from 0 on")));
            }
        }
        // Beyond any gradient nothing changes.
        let whole = |x: f64| x.min(1e6) as i32;
        Ok(Self { low: whole(a.min(b)), high: whole(a.max(b)) })
    }

    /// The threshold above which an edge goes on.
    #[must_use]
    pub const fn low(self) -> i32 {
        self.low
    }

    /// The threshold above which an edge begins.
    #[must_use]
    pub const fn high(self) -> i32 {
        self.high
    }

    /// The edges: 255 on black.
    #[must_use]
    pub fn edges(self, picture: &RgbImage) -> GreyImage {
        let size = picture.size();
        let mut found = self.ridges(&Gradients::of(picture));
        follow(&mut found, size);
        let pixels = found.into_iter().map(|f| if f == Found::Edge { 255 } else { 0 }).collect();
        GreyImage::new(size, pixels).expect("invariant: as many pixels as the picture has")
    }

    /// Pixels whose gradient is largest across the edge; those above the upper threshold are edges already.
    fn ridges(self, gradients: &Gradients) -> Vec<Found> {
        let Size { width, height } = gradients.size;
        let mut found = Vec::with_capacity(gradients.values.len());
        for y in 0..height as isize {
            for x in 0..width as isize {
                let size = gradients.size_at(x, y);
                let is_ridge = size > self.low && gradients.is_largest_across(x, y);
                found.push(match is_ridge {
                    false => Found::Nothing,
                    true if size > self.high => Found::Edge,
                    true => Found::Ridge,
                });
            }
        }
        found
    }
}

/// The gradients of a picture; outside of it they are 0.
struct Gradients {
    size: Size,
    values: Vec<Gradient>,
}

impl Gradients {
    fn of(picture: &RgbImage) -> Self {
        let Size { width, height } = picture.size();
        let mut values = Vec::with_capacity(width * height);
        for y in 0..height {
            let rows = [y.saturating_sub(1), y, (y + 1).min(height - 1)]
                .map(|y| &picture.pixels[y * width * 3..][..width * 3]);
            for x in 0..width {
                let columns = [x.saturating_sub(1), x, (x + 1).min(width - 1)];
                let colours = [0, 1, 2].map(|colour| sobel(&rows, columns.map(|x| x * 3 + colour)));
                // The first of equals.
                let strongest = colours[1..].iter().fold(colours[0], |a, b| if b.size() > a.size() { *b } else { a });
                values.push(strongest);
            }
        }
        Self { size: picture.size(), values }
    }

    fn size_at(&self, x: isize, y: isize) -> i32 {
        let inside = (0..self.size.width as isize).contains(&x) && (0..self.size.height as isize).contains(&y);
        if inside { self.values[y as usize * self.size.width + x as usize].size() } else { 0 }
    }

    /// Whether neither neighbour in the direction of the gradient has a larger one; of equal ones the last counts.
    fn is_largest_across(&self, x: isize, y: isize) -> bool {
        /// tan 22.5° in 15-bit fixed point.
        const TANGENT: i64 = 13_573;
        let Gradient { x: dx, y: dy } = self.values[y as usize * self.size.width + x as usize];
        let size = self.size_at(x, y);
        let (across, down) = (i64::from(dx.abs()), i64::from(dy.abs()) << 15);
        let flat = across * TANGENT;
        let steep = flat + (across << 16);
        if down < flat {
            size > self.size_at(x - 1, y) && size >= self.size_at(x + 1, y)
        } else if down > steep {
            size > self.size_at(x, y - 1) && size >= self.size_at(x, y + 1)
        } else {
            let side = if (dx ^ dy) < 0 { -1 } else { 1 };
            size > self.size_at(x - side, y - 1) && size > self.size_at(x + side, y + 1)
        }
    }
}

/// Sobel's derivatives of three rows at three columns.
fn sobel(rows: &[&[u8]; 3], columns: [usize; 3]) -> Gradient {
    let at = |row: usize, column: usize| i32::from(rows[row][columns[column]]);
    let column = |c: usize| at(0, c) + 2 * at(1, c) + at(2, c);
    let row = |r: usize| at(r, 0) + 2 * at(r, 1) + at(r, 2);
    Gradient { x: column(2) - column(0), y: row(2) - row(0) }
}

/// Makes edges of the ridges that touch one, sideways or across a corner.
fn follow(found: &mut [Found], Size { width, height }: Size) {
    let mut open: Vec<usize> = (0..found.len()).filter(|&i| found[i] == Found::Edge).collect();
    while let Some(at) = open.pop() {
        let (x, y) = (at % width, at / width);
        for y in y.saturating_sub(1)..=(y + 1).min(height - 1) {
            for x in x.saturating_sub(1)..=(x + 1).min(width - 1) {
                let neighbour = y * width + x;
                if found[neighbour] == Found::Ridge {
                    found[neighbour] = Found::Edge;
                    open.push(neighbour);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Waves of three colours, the same in OpenCV's script.
    fn waves(width: usize, height: usize) -> RgbImage {
        let value = |i: usize| {
            let (c, x, y) = (i % 3, i / 3 % width, i / 3 / width);
            ((x * x * (3 + c) + y * y * 5 + x * y * (c + 1)) / 7 % 256) as u8
        };
        RgbImage::new(width, height, (0..width * height * 3).map(value).collect()).unwrap()
    }

    /// A row of the picture as text.
    fn drawn(edges: &GreyImage) -> Vec<String> {
        let row = |row: &[u8]| row.iter().map(|v| if *v == 255 { '#' } else { '.' }).collect();
        edges.pixels().chunks(edges.size().width).map(row).collect()
    }

    #[test]
    fn edges_are_opencvs() {
        // opencv-python-headless: cv2.Canny(waves, low, high).
        assert_eq!(
            drawn(&Canny::new(150.0, 420.0).unwrap().edges(&waves(24, 12))),
            [
                "..................#..#..",
                "..................#..#..",
                "..................#.#...",
                "..................#.#...",
                ".................#..#...",
                "...................#...#",
                "................#.##..#.",
                "...............#..#..##.",
                ".................#...#..",
                "................##..#..#",
                ".............#.##..##.#.",
                ".............#.#...#..#.",
            ]
        );
    }

    #[test]
    fn sums_of_larger_pictures_are_opencvs() {
        // (width, height, low, high), the number of edge pixels and the sum of their indices modulo 1 000 003.
        for ((width, height, low, high), want) in [
            ((24, 12, 100.0, 200.0), (53, 174092)),
            ((200, 150, 100.0, 200.0), (9825, 137985)),
            ((257, 131, 50.0, 150.0), (11199, 949909)),
            ((640, 480, 300.0, 900.0), (84180, 914614)),
            ((3, 200, 100.0, 200.0), (192, 206731)),
            ((200, 2, 10.0, 20.0), (147, 883151)),
            ((64, 64, 0.0, 0.0), (1285, 740016)),
            ((100, 100, 700.0, 300.0), (2784, 829677)),
        ] {
            let edges = Canny::new(low, high).unwrap().edges(&waves(width, height));
            let places: Vec<u64> = (0u64..).zip(edges.pixels()).filter(|(_, v)| **v == 255).map(|(i, _)| i).collect();
            let sum = places.iter().fold(0, |sum, i| (sum + i * i) % 1_000_003);
            assert_eq!((places.len(), sum), want, "{width}x{height}, {low} and {high}");
        }
    }

    #[test]
    fn thresholds_come_in_either_order_and_are_numbers() {
        assert_eq!(Canny::new(200.9, 100.2).unwrap(), Canny::default());
        for wrong in [-1.0, f64::NAN, f64::INFINITY] {
            let error = Canny::new(100.0, wrong).unwrap_err().to_string();
            assert!(error.contains("threshold"), "{error}");
        }
    }

    #[test]
    fn small_and_flat_pictures_have_no_edges() {
        for (width, height) in [(0, 0), (1, 1), (1, 9), (9, 1), (5, 5)] {
            let flat = RgbImage::new(width, height, vec![90; width * height * 3]).unwrap();
            assert!(Canny::default().edges(&flat).pixels().iter().all(|v| *v == 0));
        }
    }
}
