//! Pictures that guide by ControlNets, and what becomes of them first.

use std::fmt;
use std::str::FromStr;

use crate::error::{Result, RuntimeError};
use crate::image::{Canny, Filter, GreyImage, RgbImage, Size};

/// A picture that guides by a ControlNet, how strongly, and for how long.
#[derive(Debug, Clone, PartialEq)]
pub struct ControlPicture {
    /// The picture; it is scaled to the pipeline's size, whatever its proportions.
    pub image: RgbImage,
    /// How opaque its pixels are, if they differ: where they are wholly transparent, ControlNets that fill in are told of
    /// a hole.
    pub alpha: Option<GreyImage>,
    /// What becomes of the picture first.
    pub preprocess: Preprocess,
    /// How strongly it guides; 1 is what the ControlNet was trained for, 0 not at all.
    pub weight: f32,
    /// Share of the steps after which it begins, 0 to 1.
    pub start: f64,
    /// Share of the steps after which it ends; it is above the start, and 1 at most.
    pub end: f64,
}

/// What becomes of a picture before a ControlNet sees it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[non_exhaustive]
pub enum Preprocess {
    /// Nothing: it is what the ControlNet takes.
    #[default]
    None,
    /// Its edges, of the picture at the size that is drawn.
    Canny(Canny),
}

impl ControlPicture {
    /// A picture that guides all steps as strongly as the ControlNet was trained for.
    #[must_use]
    pub fn new(image: RgbImage) -> Self {
        Self { image, alpha: None, preprocess: Preprocess::None, weight: 1.0, start: 0.0, end: 1.0 }
    }

    /// Three planes at a size, 0 to 1, and −1 in holes.
    ///
    /// # Errors
    /// [`RuntimeError::ImageSizes`] for an alpha of another size than the picture's.
    pub(crate) fn planes(&self, size: Size) -> Result<Vec<f32>> {
        let sides = |size: Size| (size.width, size.height);
        if let Some(alpha) = self.alpha.as_ref().filter(|alpha| alpha.size() != self.image.size()) {
            return Err(RuntimeError::ImageSizes { a: sides(self.image.size()), b: sides(alpha.size()) });
        }
        let scaled = self.image.resize(size, Filter::Lanczos);
        let image = match self.preprocess {
            Preprocess::None => scaled,
            Preprocess::Canny(canny) => canny.edges(&scaled).to_rgb(),
        };
        // A mean would let holes shrink, and edges have none.
        let alpha = self.alpha.as_ref().filter(|_| self.preprocess == Preprocess::None);
        image.to_control_planes(alpha.map(|alpha| alpha.resize(size, Filter::Nearest)).as_ref())
    }

    /// Refuses numbers that mean nothing.
    ///
    /// # Errors
    /// [`RuntimeError::Options`] for a weight that is no number, and for a start and an end that leave no step.
    pub fn check(&self) -> Result<()> {
        let Self { weight, start, end, .. } = *self;
        let fail = |reason: String| Err(RuntimeError::Options(reason));
        if !weight.is_finite() {
            return fail(format!("weight {weight} of a ControlNet is not a number"));
        }
        match start >= 0.0 && start < end && end <= 1.0 {
            true => Ok(()),
            false => fail(format!(
                "a ControlNet guides from {start} to {end} of the steps; give a start from 0 on and an end above it, 1 at \
                 most"
            )),
        }
    }
}

impl FromStr for Preprocess {
    type Err = String;

    /// `none`, `canny`, or `canny:LOW,HIGH`.
    fn from_str(text: &str) -> Result<Self, String> {
        let fail = || format!("{text:?} is not none, canny or canny:LOW,HIGH, such as canny:100,200");
        let (name, numbers) = text.split_once(':').map_or((text, None), |(name, numbers)| (name, Some(numbers)));
        match (name, numbers) {
            ("none", None) => Ok(Self::None),
            ("canny", None) => Ok(Self::Canny(Canny::default())),
            ("canny", Some(numbers)) => {
                let (low, high) = numbers.split_once(',').ok_or_else(fail)?;
                let number = |text: &str| text.trim().parse::<f64>().map_err(|_| fail());
                Ok(Self::Canny(Canny::new(number(low)?, number(high)?).map_err(|error| error.to_string())?))
            }
            _ => Err(fail()),
        }
    }
}

impl fmt::Display for Preprocess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Canny(canny) => write!(f, "canny:{},{}", canny.low(), canny.high()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A white square in the middle of black.
    fn square(side: usize) -> RgbImage {
        let is_in = |i: usize| (side / 4..side * 3 / 4).contains(&i);
        let pixel = |i: usize| if is_in(i % side) && is_in(i / side) { [255; 3] } else { [0; 3] };
        RgbImage::new(side, side, (0..side * side).flat_map(pixel).collect()).unwrap()
    }

    #[test]
    fn edges_are_those_of_the_size_that_is_drawn() {
        let size = Size { width: 16, height: 16 };
        let canny = Preprocess::Canny(Canny::default());
        let planes = ControlPicture { preprocess: canny, ..ControlPicture::new(square(64)) }.planes(size).unwrap();
        let edges = Canny::default().edges(&square(64).resize(size, Filter::Lanczos)).to_rgb();
        assert_eq!(planes, edges.to_control_planes(None).unwrap());
        assert!(planes.iter().all(|x| [0.0, 1.0].contains(x)) && planes.contains(&1.0));
    }

    #[test]
    fn transparent_pixels_are_holes_at_every_size_unless_edges_are_taken() {
        let size = Size { width: 4, height: 4 };
        let alpha = |i: usize| if i % 8 < 4 { 0 } else { 255 };
        let alpha = GreyImage::new(Size { width: 8, height: 8 }, (0..64).map(alpha).collect()).unwrap();
        let picture = ControlPicture { alpha: Some(alpha), ..ControlPicture::new(square(8)) };
        let planes = picture.planes(size).unwrap();
        let holes: Vec<bool> = planes.iter().map(|x| *x == -1.0).collect();
        assert_eq!(holes, [true, true, false, false].repeat(12));
        let edges = ControlPicture { preprocess: Preprocess::Canny(Canny::default()), ..picture.clone() };
        assert!(!edges.planes(size).unwrap().contains(&-1.0));
        let other = ControlPicture { image: square(16), ..picture };
        assert!(other.planes(size).is_err());
    }

    #[test]
    fn weights_and_windows_are_numbers() {
        let picture = ControlPicture::new(square(8));
        picture.check().unwrap();
        ControlPicture { weight: -0.5, start: 0.5, end: 0.75, ..picture.clone() }.check().unwrap();
        for (start, end) in [(-0.1, 1.0), (0.5, 0.5), (0.8, 0.2), (0.0, 1.1), (f64::NAN, 1.0), (0.0, f64::NAN)] {
            let error = ControlPicture { start, end, ..picture.clone() }.check().unwrap_err().to_string();
            assert!(error.contains("of the steps"), "{error}");
        }
        assert!(ControlPicture { weight: f32::INFINITY, ..picture }.check().is_err());
    }

    #[test]
    fn preprocessing_is_named_with_its_numbers() {
        for (text, written) in [("none", "none"), ("canny", "canny:100,200"), ("canny:80, 20.5", "canny:20,80")] {
            assert_eq!(text.parse::<Preprocess>().unwrap().to_string(), written);
        }
        for bad in ["", "depth", "canny:", "canny:1", "canny:1,x", "none:1", "canny:-1,2"] {
            assert!(bad.parse::<Preprocess>().is_err(), "{bad}");
        }
    }
}
