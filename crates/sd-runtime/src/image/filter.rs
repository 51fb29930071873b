//! Filters that pictures are resized with: Pillow's, as data.

use std::f64::consts::PI;

/// How a picture is resized.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Filter {
    /// The pixel at the place, without a mean.
    Nearest,
    /// The mean of the pixels that a new one covers.
    Box,
    /// A triangle.
    Bilinear,
    /// A raised cosine, as sharp as bicubic without its overshoot.
    Hamming,
    /// Keys' cubic with a = −1/2.
    Bicubic,
    /// A windowed sinc of three lobes: what diffusers resizes with.
    Lanczos,
}

/// A filter as a function of the distance from its centre.
pub(super) struct Kernel {
    /// Beyond it the weight is 0.
    pub(super) support: f64,
    pub(super) weight: fn(f64) -> f64,
}

impl Filter {
    /// The filter's weights; nearest has none, because it takes no mean.
    pub(super) const fn kernel(self) -> Option<Kernel> {
        let (support, weight): (f64, fn(f64) -> f64) = match self {
            Self::Nearest => return None,
            Self::Box => (0.5, |x| if x > -0.5 && x <= 0.5 { 1.0 } else { 0.0 }),
            Self::Bilinear => (1.0, |x| (1.0 - x.abs()).max(0.0)),
            Self::Hamming => (1.0, hamming),
            Self::Bicubic => (2.0, bicubic),
            Self::Lanczos => (3.0, lanczos),
        };
        Some(Kernel { support, weight })
    }
}

fn hamming(x: f64) -> f64 {
    let x = x.abs();
    if x == 0.0 {
        return 1.0;
    }
    if x >= 1.0 {
        return 0.0;
    }
    let x = x * PI;
    x.sin() / x * (0.54 + 0.46 * x.cos())
}

fn bicubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

fn lanczos(x: f64) -> f64 {
    let sinc = |x: f64| if x == 0.0 { 1.0 } else { (x * PI).sin() / (x * PI) };
    if (-3.0..3.0).contains(&x) { sinc(x) * sinc(x / 3.0) } else { 0.0 }
}
