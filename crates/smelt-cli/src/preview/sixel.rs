//! Sixel graphics: a palette of at most 256 colours, and bands of six rows, each colour over the one before.
//!
//! The palette is found by median cut; pixels are not dithered.
//! Source: DEC STD 070, "Sixel Graphics"; colours are in percent, so that a tenth of a byte's values is what is lost.

use smelt::image::RgbImage;

/// Registers that every terminal with sixels has.
const N_COLORS: usize = 256;
/// Bits of a channel that colours are told apart by while the palette is made.
const BITS: u32 = 5;

/// A palette, and which of its colours each pixel has.
struct Indexed {
    /// Colours in percent.
    palette: Vec<[u8; 3]>,
    indices: Vec<u8>,
}

/// The sequence that draws the picture at the cursor.
pub(super) fn encode(image: &RgbImage) -> String {
    let (width, height) = (image.width(), image.height());
    let Indexed { palette, indices } = quantize(image);
    // Raster attributes: square pixels, and the size.
    let mut text = format!("\x1bPq\"1;1;{width};{height}");
    for (idx, [r, g, b]) in palette.iter().enumerate() {
        text.push_str(&format!("#{idx};2;{r};{g};{b}"));
    }
    for band in indices.chunks((width * 6).max(1)) {
        let mut is_used = [false; N_COLORS];
        band.iter().for_each(|&idx| is_used[usize::from(idx)] = true);
        let used = (0..=u8::MAX).filter(|&idx| is_used[usize::from(idx)]);
        for (n, idx) in used.enumerate() {
            // `$` returns to the left edge of the band.
            text.push_str(&format!("{}#{idx}", if n > 0 { "$" } else { "" }));
            run_lengths(&sixels(band, width, idx), &mut text);
        }
        text.push('-');
    }
    text + "\x1b\\\n"
}

/// For each column the rows of the band that have this colour, lowest bit at the top.
fn sixels(band: &[u8], width: usize, color: u8) -> Vec<u8> {
    let mut columns = vec![0; width];
    for (y, row) in band.chunks(width).enumerate() {
        for (column, &idx) in columns.iter_mut().zip(row) {
            *column |= u8::from(idx == color) << y;
        }
    }
    columns
}

/// Columns as characters; `!N` before one repeats it. Empty ones at the end are left out.
fn run_lengths(columns: &[u8], text: &mut String) {
    let end = columns.iter().rposition(|&bits| bits != 0).map_or(0, |last| last + 1);
    for run in columns[..end].chunk_by(|a, b| a == b) {
        let char = char::from(b'?' + run[0]);
        match run.len() {
            n @ 0..4 => (0..n).for_each(|_| text.push(char)),
            n => text.push_str(&format!("!{n}{char}")),
        }
    }
}

/// Pixels whose colours agree in their first bits.
#[derive(Clone, Copy, Default)]
struct Bucket {
    n: u64,
    sums: [u64; 3],
}

/// Colours as numbers of their first bits.
fn bucket_of(pixel: &[u8]) -> usize {
    pixel.iter().fold(0, |number, &v| (number << BITS) | usize::from(v >> (8 - BITS)))
}

/// Which part of a bucket's number is a channel's.
fn channel(bucket: usize, channel: usize) -> usize {
    (bucket >> (BITS as usize * (2 - channel))) & ((1 << BITS) - 1)
}

/// The palette by median cut: the most populous box that can be cut is cut across its widest channel, until there are enough.
fn quantize(image: &RgbImage) -> Indexed {
    let mut buckets = vec![Bucket::default(); 1 << (3 * BITS)];
    for pixel in image.pixels().chunks_exact(3) {
        let bucket = &mut buckets[bucket_of(pixel)];
        bucket.n += 1;
        bucket.sums.iter_mut().zip(pixel).for_each(|(sum, &v)| *sum += u64::from(v));
    }
    let mut boxes: Vec<Vec<usize>> = vec![(0..buckets.len()).filter(|&b| buckets[b].n > 0).collect()];
    while boxes.len() < N_COLORS {
        let population = |members: &[usize]| members.iter().map(|&b| buckets[b].n).sum::<u64>();
        let divisible = (0..boxes.len()).filter(|&i| boxes[i].len() > 1);
        let Some(largest) = divisible.max_by_key(|&i| population(&boxes[i])) else { break };
        let mut members = boxes.swap_remove(largest);
        let width = |c: usize| {
            let values = members.iter().map(|&b| channel(b, c));
            values.clone().max().unwrap_or(0) - values.min().unwrap_or(0)
        };
        let widest = (0..3).max_by_key(|&c| width(c)).unwrap_or(0);
        members.sort_by_key(|&b| channel(b, widest));
        let half = population(&members) / 2;
        let mut below = 0;
        let cut = members.iter().position(|&b| {
            below += buckets[b].n;
            below > half
        });
        // Both parts hold at least one bucket.
        let upper = members.split_off(cut.unwrap_or(1).clamp(1, members.len() - 1));
        boxes.extend([members, upper]);
    }
    let mut index_of = vec![0u8; buckets.len()];
    let mut palette = Vec::with_capacity(boxes.len());
    for (idx, members) in boxes.iter().enumerate() {
        members.iter().for_each(|&b| index_of[b] = idx as u8);
        let n = members.iter().map(|&b| buckets[b].n).sum::<u64>().max(1);
        palette.push([0, 1, 2].map(|c| {
            let sum = members.iter().map(|&b| buckets[b].sums[c]).sum::<u64>();
            ((sum as f64 / n as f64) * 100.0 / 255.0).round() as u8
        }));
    }
    Indexed { palette, indices: image.pixels().chunks_exact(3).map(|pixel| index_of[bucket_of(pixel)]).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a terminal draws from the sequence: size and pixels, in percent.
    fn drawn(text: &str) -> (usize, usize, Vec<[u8; 3]>) {
        let body = text.strip_prefix("\x1bPq\"").unwrap().strip_suffix("\x1b\\\n").unwrap();
        let mut chars = body.chars().peekable();
        let numbers = |chars: &mut std::iter::Peekable<std::str::Chars<'_>>| {
            let mut list = vec![0usize];
            while let Some(&c) = chars.peek() {
                match c {
                    '0'..='9' => *list.last_mut().unwrap() = list.last().unwrap() * 10 + c as usize - '0' as usize,
                    ';' => list.push(0),
                    _ => break,
                }
                chars.next();
            }
            list
        };
        let raster = numbers(&mut chars);
        let (width, height) = (raster[2], raster[3]);
        let (mut palette, mut pixels) = (vec![[0; 3]; 256], vec![[255; 3]; width * height]);
        let (mut color, mut x, mut top) = (0, 0, 0);
        while let Some(c) = chars.next() {
            let (n, c) = if c == '!' { (numbers(&mut chars)[0], chars.next().unwrap()) } else { (1, c) };
            match c {
                '#' => match numbers(&mut chars)[..] {
                    [idx, 2, r, g, b] => palette[idx] = [r as u8, g as u8, b as u8],
                    [idx] => color = idx,
                    ref other => panic!("{other:?}"),
                },
                '$' => x = 0,
                '-' => (x, top) = (0, top + 6),
                '?'..='~' => {
                    for _ in 0..n {
                        let bits = c as u8 - b'?';
                        for y in (0..6).filter(|y| bits >> y & 1 == 1) {
                            pixels[(top + y) * width + x] = palette[color];
                        }
                        x += 1;
                    }
                }
                other => panic!("{other:?}"),
            }
        }
        (width, height, pixels)
    }

    /// The largest difference between a picture and what is drawn of it, in values of a byte.
    fn worst(image: &RgbImage) -> f64 {
        let (width, height, pixels) = drawn(&encode(image));
        assert_eq!((width, height), (image.width(), image.height()));
        let values = pixels.iter().flatten().map(|&percent| f64::from(percent) * 2.55);
        values.zip(image.pixels()).map(|(v, &wanted)| (v - f64::from(wanted)).abs()).fold(0.0, f64::max)
    }

    #[test]
    fn few_colours_are_drawn_as_exactly_as_percents_can_tell() {
        // Seven rows: a whole band and one row of another.
        let colors = [[255, 0, 0], [0, 128, 255], [17, 99, 200], [0, 0, 0], [255; 3]];
        let pixels = (0..13 * 7).flat_map(|i| colors[i * i % 5]).collect();
        let image = RgbImage::new(13, 7, pixels).unwrap();
        assert!(worst(&image) <= 1.3, "{}", worst(&image));
    }

    #[test]
    fn a_gradient_of_many_colours_stays_near() {
        let pixels = (0..64 * 64).flat_map(|i| [(i % 64 * 4) as u8, (i / 64 * 4) as u8, 90]).collect();
        let image = RgbImage::new(64, 64, pixels).unwrap();
        assert!(worst(&image) <= 16.0, "{}", worst(&image));
        assert_eq!(quantize(&image).palette.len(), 256);
    }

    #[test]
    fn runs_are_counted() {
        let text = encode(&RgbImage::new(100, 6, vec![255; 1800]).unwrap());
        assert_eq!(text, "\x1bPq\"1;1;100;6#0;2;100;100;100#0!100~-\x1b\\\n");
    }
}
