//! A profile as a picture: what the time goes to, by kernel and by place in the model.
//!
//! Below are the kernels; above each of them the parts of the model, by the dots and underscores of their names, as
//! wide as they take time.

use std::fmt::Write;

use super::measure::ProfileLine as Line;

const WIDTH: f64 = 1200.0;
const ROW: f64 = 18.0;
/// Names are cut into at most so many levels.
const LEVELS: usize = 5;

/// A box of the picture: what it stands for, and what stands on it.
#[derive(Default)]
struct Frame {
    name: String,
    seconds: f64,
    children: Vec<Frame>,
}

impl Frame {
    fn add(&mut self, path: &[String], seconds: f64) {
        self.seconds += seconds;
        let Some((first, rest)) = path.split_first() else { return };
        let at = self.children.iter().position(|c| c.name == *first).unwrap_or_else(|| {
            self.children.push(Self { name: first.clone(), ..Self::default() });
            self.children.len() - 1
        });
        self.children[at].add(rest, seconds);
    }

    fn height(&self) -> usize {
        1 + self.children.iter().map(Self::height).max().unwrap_or(0)
    }
}

/// A profile as an SVG picture.
#[must_use]
pub fn draw(lines: &[Line]) -> String {
    let mut root = Frame { name: "all".into(), ..Frame::default() };
    for line in lines {
        let mut path = vec![line.kernel.to_owned()];
        path.extend(levels(&line.name));
        root.add(&path, line.seconds);
    }
    sort(&mut root);
    let height = root.height() as f64 * ROW;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {h}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"{WIDTH}\" height=\"{h}\" fill=\"#fdfcf8\"/>\n",
        h = height + 8.0
    );
    let total = root.seconds;
    frame(&mut svg, &root, 0.0, WIDTH / total.max(f64::MIN_POSITIVE), height - ROW + 4.0, total, 0);
    svg.push_str("</svg>\n");
    svg
}

/// A name's levels: each ends with a number, as in down_blocks_0, attentions_1, attn2_to_q.
fn levels(name: &str) -> Vec<String> {
    let (mut levels, mut level) = (Vec::new(), String::new());
    for word in name.split(['.', '_']) {
        if !level.is_empty() {
            level.push('_');
        }
        level.push_str(word);
        let number = !word.is_empty() && word.chars().all(|c| c.is_ascii_digit());
        if number && levels.len() + 1 < LEVELS {
            levels.push(std::mem::take(&mut level));
        }
    }
    if !level.is_empty() {
        levels.push(level);
    }
    levels
}

fn sort(frame: &mut Frame) {
    frame.children.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    frame.children.iter_mut().for_each(sort);
}

fn frame(svg: &mut String, f: &Frame, x: f64, scale: f64, y: f64, total: f64, hue: usize) {
    let width = f.seconds * scale;
    if width < 0.5 {
        return;
    }
    let (r, g) = (205 + hue * 37 % 50, 110 + hue * 53 % 110);
    let share = 100.0 * f.seconds / total.max(f64::MIN_POSITIVE);
    let name = f.name.replace('&', "&amp;").replace('<', "&lt;");
    let shown: String = name.chars().take((width / 6.5) as usize).collect();
    let _ = writeln!(
        svg,
        "<g><title>{name}: {:.1} ms, {share:.1} %</title><rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\" \
         rx=\"2\" fill=\"rgb({r},{g},60)\"/><text x=\"{:.1}\" y=\"{:.1}\">{shown}</text></g>",
        f.seconds * 1e3,
        (width - 0.6).max(0.4),
        ROW - 1.0,
        x + 3.0,
        y + 12.5,
    );
    let mut at = x;
    for (i, child) in f.children.iter().enumerate() {
        frame(svg, child, at, scale, y - ROW, total, hue * 3 + i + 1);
        at += child.seconds * scale;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_are_times_and_kernels_stand_below() {
        let line = |name: &str, kernel, seconds| Line {
            name: name.into(),
            kernel,
            detail: String::new(),
            seconds,
            gflop: 0.0,
        };
        let svg = draw(&[line("a.0.x", "product", 3.0), line("a.1.x", "product", 1.0), line("b<c", "copy", 4.0)]);
        assert!(svg.contains("all: 8000.0 ms, 100.0 %"), "{svg}");
        assert!(svg.contains("product: 4000.0 ms, 50.0 %"), "{svg}");
        assert!(svg.contains("b&lt;c"), "{svg}");
        assert_eq!(levels("down_blocks_0_attentions_1_attn1_to_q"), ["down_blocks_0", "attentions_1", "attn1_to_q"]);
        assert_eq!(svg.matches("<g>").count(), svg.matches("</g>").count());
    }
}
