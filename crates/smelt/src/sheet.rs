//! Contact sheets: pictures in a grid on white, each with its caption below.
//!
//! Pictures are neither scaled nor cropped; columns are as wide as the widest of them, rows as high as they must be.
//! Captions are set in Noto Sans Mono, in lines that fit the cell.

use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};
use sd_runtime::image::RgbImage;

use crate::error::Result;

/// White space around the sheet and between cells.
const MARGIN: usize = 12;
/// Between a picture and its caption.
const GAP: usize = 4;
/// Below this width of a picture captions widen the cell, so that short ones need no second line.
const NARROW: usize = 112;
/// From this width of a picture on the larger letters are used: such sheets are looked at reduced.
const WIDE: usize = 384;
/// Brightness of text; 0 is black.
const INK: u32 = 32;

/// A picture and the lines of text below it; each line may become several.
pub struct Cell<'a> {
    /// The picture.
    pub image: &'a RgbImage,
    /// Below it.
    pub caption: Vec<String>,
}

/// A row of the sheet.
struct Row<'a> {
    cells: &'a [Cell<'a>],
    /// The wrapped captions of these cells.
    captions: &'a [Vec<String>],
}

impl Row<'_> {
    fn picture_height(&self) -> usize {
        self.cells.iter().map(|cell| cell.image.height()).max().unwrap_or(0)
    }

    fn height(&self, letters: Letters) -> usize {
        let n_lines = self.captions.iter().map(Vec::len).max().unwrap_or(0);
        self.picture_height() + if n_lines > 0 { GAP + n_lines * letters.line_height() } else { 0 }
    }
}

/// Draws the cells row by row, in so many columns, or in as many as leave few places empty.
pub fn draw(cells: &[Cell<'_>], n_columns: Option<usize>) -> Result<RgbImage> {
    let n_columns = n_columns.unwrap_or_else(|| square_columns(cells.len())).clamp(1, cells.len().max(1));
    let widest = cells.iter().map(|cell| cell.image.width()).max().unwrap_or(0);
    let letters = Letters(if widest < WIDE { RasterHeight::Size16 } else { RasterHeight::Size24 });
    let longest = cells.iter().flat_map(|cell| &cell.caption).map(|line| line.chars().count()).max().unwrap_or(0);
    let cell_width = widest.max((longest * letters.width()).min(NARROW));
    let n_chars = (cell_width / letters.width()).max(1);
    let wrapped = |cell: &Cell<'_>| cell.caption.iter().flat_map(|line| wrap(line, n_chars)).collect();
    let captions: Vec<Vec<String>> = cells.iter().map(wrapped).collect();
    let rows = cells.chunks(n_columns).zip(captions.chunks(n_columns));
    let rows: Vec<Row<'_>> = rows.map(|(cells, captions)| Row { cells, captions }).collect();

    let height = MARGIN + rows.iter().map(|row| row.height(letters) + MARGIN).sum::<usize>();
    let mut canvas = Canvas::white(MARGIN + n_columns * (cell_width + MARGIN), height);
    let mut top = MARGIN;
    for row in &rows {
        // Pictures of a row stand on a common line above their captions, in the middle of their cells.
        let foot = top + row.picture_height();
        for (column, (cell, caption)) in row.cells.iter().zip(row.captions).enumerate() {
            let middle = |width: usize| MARGIN + column * (cell_width + MARGIN) + (cell_width - width) / 2;
            canvas.picture(cell.image, middle(cell.image.width()), foot - cell.image.height());
            for (line_idx, line) in caption.iter().enumerate() {
                let left = middle(line.chars().count() * letters.width());
                canvas.text(line, left, foot + GAP + line_idx * letters.line_height(), letters);
            }
        }
        top += row.height(letters) + MARGIN;
    }
    Ok(RgbImage::new(canvas.width, canvas.height, canvas.pixels)?)
}

/// A number of columns near the square root, with as few empty places in the last row as can be.
fn square_columns(n: usize) -> usize {
    let root = (1..).find(|c| c * c >= n).unwrap_or(1);
    let n_empty = |&c: &usize| n.div_ceil(c) * c - n;
    (root..=root + 2).min_by_key(n_empty).unwrap_or(root)
}

/// Breaks a line at spaces into lines of at most `n_chars`, and words that are longer where they must.
fn wrap(text: &str, n_chars: usize) -> Vec<String> {
    let mut lines: Vec<Vec<char>> = vec![Vec::new()];
    for word in text.split_whitespace() {
        let mut rest: Vec<char> = word.chars().collect();
        while !rest.is_empty() {
            let line = lines.last_mut().expect("invariant: there is a line");
            let n_needed = rest.len() + usize::from(!line.is_empty());
            if line.len() + n_needed <= n_chars {
                if !line.is_empty() {
                    line.push(' ');
                }
                line.append(&mut rest);
            } else if line.is_empty() {
                line.extend(rest.drain(..n_chars));
                lines.push(Vec::new());
            } else {
                lines.push(Vec::new());
            }
        }
    }
    let lines = lines.into_iter().filter(|line| !line.is_empty());
    lines.map(|line| line.into_iter().collect()).collect()
}

/// Letters of one size.
#[derive(Clone, Copy)]
struct Letters(RasterHeight);

impl Letters {
    fn width(self) -> usize {
        get_raster_width(FontWeight::Regular, self.0)
    }

    fn line_height(self) -> usize {
        self.0.val()
    }
}

/// A picture while it is drawn.
struct Canvas {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

impl Canvas {
    fn white(width: usize, height: usize) -> Self {
        Self { width, height, pixels: vec![255; width * height * 3] }
    }

    fn picture(&mut self, image: &RgbImage, left: usize, top: usize) {
        let n = image.width() * 3;
        for y in 0..image.height() {
            let at = ((top + y) * self.width + left) * 3;
            self.pixels[at..at + n].copy_from_slice(&image.pixels()[y * n..][..n]);
        }
    }

    fn text(&mut self, line: &str, left: usize, top: usize, letters: Letters) {
        for (idx, char) in line.chars().enumerate() {
            let raster = |c| get_raster(c, FontWeight::Regular, letters.0);
            let Some(glyph) = raster(plain(char)).or_else(|| raster('?')) else { continue };
            for (y, row) in glyph.rows().enumerate() {
                for (x, &cover) in row.iter().enumerate() {
                    let at = ((top + y) * self.width + left + idx * letters.width() + x) * 3;
                    let value = (255 * 255 - u32::from(cover) * (255 - INK)) / 255;
                    self.pixels[at..at + 3].fill(value as u8);
                }
            }
        }
    }
}

/// Typographic characters as those that the font has.
fn plain(char: char) -> char {
    match char {
        '‘' | '’' => '\'',
        '“' | '”' | '„' => '"',
        '–' | '—' | '−' => '-',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain_image(width: usize, height: usize, value: u8) -> RgbImage {
        RgbImage::new(width, height, vec![value; width * height * 3]).unwrap()
    }

    fn pixel(image: &RgbImage, x: usize, y: usize) -> [u8; 3] {
        let at = (y * image.width() + x) * 3;
        [image.pixels()[at], image.pixels()[at + 1], image.pixels()[at + 2]]
    }

    /// Columns that hold a dark pixel in these rows.
    fn dark_columns(image: &RgbImage, rows: std::ops::Range<usize>) -> Vec<usize> {
        let is_dark = |&x: &usize| rows.clone().any(|y| pixel(image, x, y)[0] < 128);
        (0..image.width()).filter(is_dark).collect()
    }

    #[test]
    fn pictures_stand_in_a_grid_on_white() {
        let (a, b, c) = (plain_image(20, 10, 0), plain_image(10, 10, 50), plain_image(20, 4, 100));
        let cells = [&a, &b, &c].map(|image| Cell { image, caption: Vec::new() });
        let sheet = draw(&cells, Some(2)).unwrap();
        assert_eq!((sheet.width(), sheet.height()), (3 * MARGIN + 40, 3 * MARGIN + 14));
        assert_eq!(pixel(&sheet, 0, 0), [255; 3]);
        assert_eq!(pixel(&sheet, MARGIN, MARGIN), [0; 3]);
        // The narrow one in the middle of its cell.
        let second = 2 * MARGIN + 20;
        assert_eq!(pixel(&sheet, second + 4, MARGIN), [255; 3]);
        assert_eq!(pixel(&sheet, second + 5, MARGIN), [50; 3]);
        assert_eq!(pixel(&sheet, MARGIN, 2 * MARGIN + 9), [255; 3]);
        assert_eq!(pixel(&sheet, MARGIN, 2 * MARGIN + 10), [100; 3]);
        // In one row, the low one at its foot.
        let sheet = draw(&cells, Some(3)).unwrap();
        let third = 3 * MARGIN + 40;
        assert_eq!(pixel(&sheet, third, MARGIN + 5), [255; 3]);
        assert_eq!(pixel(&sheet, third, MARGIN + 6), [100; 3]);
    }

    #[test]
    fn a_row_is_as_high_as_its_own_captions() {
        let image = plain_image(60, 60, 0);
        let cell = |n: usize| Cell { image: &image, caption: vec!["x".into(); n] };
        let height = |cells: &[Cell<'_>]| draw(cells, Some(1)).unwrap().height();
        assert_eq!(height(&[cell(3), cell(1)]), 3 * MARGIN + 2 * (60 + GAP) + 4 * 16);
    }

    #[test]
    fn captions_are_dark_below_their_picture_and_inside_the_cell() {
        let image = plain_image(32, 32, 255);
        for caption in ["i", "a caption of several words", "one-word-that-is-wider-than-the-widest-cell"] {
            let sheet = draw(&[Cell { image: &image, caption: vec![caption.into()] }], None).unwrap();
            let dark = dark_columns(&sheet, MARGIN + 32..sheet.height());
            let (first, last) = (dark[0], dark[dark.len() - 1]);
            assert!(first >= MARGIN && last < sheet.width() - MARGIN, "{caption}: {first} to {last}");
            assert!(sheet.width() <= NARROW + 2 * MARGIN, "{caption}");
            assert!(dark_columns(&sheet, 0..MARGIN + 32).is_empty());
        }
    }

    #[test]
    fn lines_break_at_spaces_and_only_long_words_inside() {
        let check = |text: &str, n, lines: &[&str]| assert_eq!(wrap(text, n), lines, "{text}");
        check("a red heart", 5, &["a red", "heart"]);
        check("a red heart", 11, &["a red heart"]);
        check("abcdefgh ij", 3, &["abc", "def", "gh", "ij"]);
        check("abcdef g", 3, &["abc", "def", "g"]);
        check("é é", 1, &["é", "é"]);
        check("", 4, &[]);
    }

    #[test]
    fn letters_that_the_font_lacks_are_question_marks_and_quotes_are_plain() {
        let image = plain_image(200, 1, 255);
        let drawn = |caption: &str| draw(&[Cell { image: &image, caption: vec![caption.into()] }], None).unwrap();
        assert_eq!(drawn("日"), drawn("?"));
        assert_eq!(drawn("“é” – 1"), drawn("\"é\" - 1"));
        assert_ne!(drawn("é"), drawn("?"));
    }

    #[test]
    fn columns_leave_few_places_empty() {
        let columns = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 16].map(|n| (n, square_columns(n)));
        let wanted = [1, 2, 3, 2, 5, 3, 4, 4, 3, 5, 4, 4, 4];
        assert_eq!(columns.map(|(_, c)| c), wanted);
    }
}
