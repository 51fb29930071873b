//! What is masked filled with the colours around it before it is repainted: `inpainting_fill` 0.
// webui 1.10, modules/masking.py, fill.

use smelt::image::{GreyImage, RgbImage};

/// Radii of blurs in pixels, the widest first, and how often each is laid over what is there.
const ROUNDS: [(f32, usize); 6] = [(256.0, 1), (64.0, 1), (16.0, 2), (4.0, 4), (2.0, 2), (0.0, 1)];

/// The picture with its hole (white) filled.
pub(super) fn filled(picture: &RgbImage, hole: &GreyImage) -> RgbImage {
    let opacity = hole.inverted();
    // Colours times their opacity, which is what can be blurred.
    let opaque: Vec<u8> = picture
        .pixels()
        .chunks_exact(3)
        .zip(opacity.pixels())
        .flat_map(|(pixel, opacity)| {
            let times = |value: u8| ((u32::from(value) * u32::from(*opacity) + 127) / 255) as u8;
            [times(pixel[0]), times(pixel[1]), times(pixel[2])]
        })
        .collect();
    let Ok(opaque) = RgbImage::new(picture.width(), picture.height(), opaque) else { return picture.clone() };
    let mut pixels: Vec<f32> = vec![0.0; picture.pixels().len()];
    for (radius, times) in ROUNDS {
        let (over, cover) = (opaque.blur(radius), opacity.blur(radius));
        for _ in 0..times {
            for (i, below) in pixels.iter_mut().enumerate() {
                *below = f32::from(over.pixels()[i]) + *below * (1.0 - f32::from(cover.pixels()[i / 3]) / 255.0);
            }
        }
    }
    let bytes = pixels.into_iter().map(|value| value.round().clamp(0.0, 255.0) as u8).collect();
    RgbImage::new(picture.width(), picture.height(), bytes).unwrap_or_else(|_| picture.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use smelt::image::Size;

    #[test]
    fn a_hole_has_the_colours_around_it_and_all_else_stays() {
        let size = Size { width: 32, height: 32 };
        let is_hole = |i: usize| (12..20).contains(&(i % 32)) && (12..20).contains(&(i / 32));
        let pixels = (0..1024).flat_map(|i| if is_hole(i) { [255, 255, 255] } else { [200, 40, 10] }).collect();
        let picture = RgbImage::new(32, 32, pixels).unwrap();
        let hole = GreyImage::new(size, (0..1024).map(|i| if is_hole(i) { 255 } else { 0 }).collect()).unwrap();
        let filled = filled(&picture, &hole);
        for (pixel, wanted) in filled.pixels().chunks_exact(3).zip(std::iter::repeat([200u8, 40, 10])) {
            assert!(pixel.iter().zip(wanted).all(|(a, b)| a.abs_diff(b) <= 6), "{pixel:?}");
        }
    }
}
