//! Half blocks: two pixels in a character, the upper one its foreground and the lower one its background.

use smelt::image::{Filter, RgbImage, Size};

/// The picture, reduced until it fits so many columns and rows; never enlarged.
pub(super) fn fit(image: &RgbImage, columns: usize, rows: usize) -> RgbImage {
    let (width, height) = (image.width().max(1) as f64, image.height().max(1) as f64);
    let scale = (columns as f64 / width).min(rows as f64 * 2.0 / height);
    if scale >= 1.0 {
        return image.clone();
    }
    let side = |side: f64| (side * scale).round() as usize;
    image.resize(Size { width: side(width), height: side(height) }, Filter::Bicubic)
}

/// A line of characters for every two rows of pixels; below an odd last row the background stays the terminal's.
pub(super) fn encode(image: &RgbImage) -> String {
    let mut text = String::new();
    let mut rows = image.pixels().chunks_exact((image.width() * 3).max(1));
    while let Some(upper) = rows.next() {
        let lower = rows.next();
        let mut last = None;
        for (x, above) in upper.chunks_exact(3).enumerate() {
            let below = lower.map(|row| &row[x * 3..x * 3 + 3]);
            // A colour holds until the next one is set.
            if last != Some((above, below)) {
                text.push_str(&format!("\x1b[38;2;{};{};{}m", above[0], above[1], above[2]));
                if let Some(below) = below {
                    text.push_str(&format!("\x1b[48;2;{};{};{}m", below[0], below[1], below[2]));
                }
                last = Some((above, below));
            }
            text.push('▀');
        }
        text.push_str("\x1b[0m\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a terminal shows: pixels of each row of characters, `None` where its own background stays.
    fn shown(text: &str) -> Vec<Vec<[Option<[u8; 3]>; 2]>> {
        let mut lines = Vec::new();
        for line in text.lines() {
            let (mut colors, mut cells) = ([None; 2], Vec::new());
            let mut rest = line;
            while !rest.is_empty() {
                if let Some(after) = rest.strip_prefix('▀') {
                    cells.push(colors);
                    rest = after;
                    continue;
                }
                let (sequence, after) = rest.strip_prefix("\x1b[").unwrap().split_once('m').unwrap();
                let numbers: Vec<u8> = sequence.split(';').map(|n| n.parse().unwrap()).collect();
                match numbers[..] {
                    [0] => colors = [None; 2],
                    [38, 2, r, g, b] => colors[0] = Some([r, g, b]),
                    [48, 2, r, g, b] => colors[1] = Some([r, g, b]),
                    _ => panic!("{sequence}"),
                }
                rest = after;
            }
            lines.push(cells);
        }
        lines
    }

    #[test]
    fn a_character_is_two_pixels() {
        let pixels: Vec<u8> = (0..2 * 3 * 3).collect();
        let text = encode(&RgbImage::new(2, 3, pixels).unwrap());
        let p = |first| Some([first, first + 1, first + 2]);
        assert_eq!(shown(&text), [vec![[p(0), p(6)], [p(3), p(9)]], vec![[p(12), None], [p(15), None]]]);
        assert!(text.ends_with("\x1b[0m\n"), "the terminal's own colours come back");
    }

    #[test]
    fn colours_are_set_only_where_they_change() {
        let text = encode(&RgbImage::new(50, 2, vec![9; 300]).unwrap());
        assert_eq!(text.matches('\x1b').count(), 3);
        assert_eq!(shown(&text), [vec![[Some([9; 3]); 2]; 50]]);
    }

    #[test]
    fn pictures_are_reduced_to_columns_and_rows_and_never_enlarged() {
        let image = RgbImage::new(100, 50, vec![77; 15_000]).unwrap();
        for ((columns, rows), size) in [((80, usize::MAX), (80, 40)), ((80, 10), (40, 20)), ((200, 100), (100, 50))] {
            let fitted = fit(&image, columns, rows);
            assert_eq!((fitted.width(), fitted.height()), size);
            assert!(fitted.pixels().iter().all(|&v| v == 77));
        }
    }
}
