//! A compression as a picture: each weight is a column as wide as its share of the parameters and as high as its bits,
//! so that areas are bytes; its colour says how close it still is to what it was.

use std::fmt::Write;

use super::summary::{Summary, Weight, escaped};
use crate::units::bytes;

const WIDTH: f64 = 1200.0;
const HEIGHT: f64 = 640.0;
/// The plot: left, right, top, bottom.
const PLOT: [f64; 4] = [64.0, 1168.0, 168.0, 430.0];
/// The strip of ratios below: top, bottom.
const STRIP: [f64; 2] = [478.0, 578.0];
/// Ratios at the ends of the colour scale, in dB.
const DB: [f64; 2] = [0.0, 50.0];

/// Colours from poor to faithful, evenly over [`DB`].
const SCALE: [(u8, u8, u8); 5] = [(178, 24, 72), (226, 99, 62), (240, 190, 76), (92, 176, 122), (42, 110, 160)];

const STYLE: &str = "\
text{font-family:system-ui,-apple-system,'Segoe UI',Roboto,sans-serif;fill:#1c2530}\
.card{fill:#fbfbf9}.soft{fill:#5d6875}.before{fill:#e3e5e6}.kept{fill:#b9c0c6}.line{stroke:#d4d8db;stroke-width:1}\
.head{font-size:25px;font-weight:650}.number{font-size:34px;font-weight:650}.small{font-size:13px}.tiny{font-size:11px}\
@media(prefers-color-scheme:dark){text{fill:#eceff1}.card{fill:#171c22}.soft{fill:#9aa6b2}.before{fill:#2c343d}\
.kept{fill:#5b6670}.line{stroke:#39424c}}";

/// A column's place.
struct Column<'a> {
    weight: &'a Weight,
    left: f64,
    right: f64,
}

/// The picture as SVG.
pub(super) fn draw(summary: &Summary) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\
         <style>{STYLE}</style><rect class=\"card\" width=\"{WIDTH}\" height=\"{HEIGHT}\" rx=\"14\"/>",
        escaped(&summary.title)
    );
    let columns = columns(&summary.weights);
    let top_bits = summary.weights.iter().map(bits_before).fold(16.0, f64::max);
    headline(&mut svg, summary);
    axes(&mut svg, top_bits);
    for column in &columns {
        draw_column(&mut svg, column, top_bits);
    }
    blocks(&mut svg, &columns);
    legend(&mut svg);
    svg.push_str("</svg>\n");
    svg
}

/// Bits per element that a weight had.
fn bits_before(weight: &Weight) -> f64 {
    weight.bytes_before as f64 * 8.0 / weight.len().max(1) as f64
}

fn columns(weights: &[Weight]) -> Vec<Column<'_>> {
    let total: f64 = weights.iter().map(|w| w.len() as f64).sum::<f64>().max(1.0);
    let [left, right, ..] = PLOT;
    let mut at = left;
    let place = |weight| {
        let from = at;
        at += (right - left) * Weight::len(weight) as f64 / total;
        Column { weight, left: from, right: at }
    };
    weights.iter().map(place).collect()
}

fn text(svg: &mut String, class: &str, x: f64, y: f64, anchor: &str, content: &str) {
    let content = escaped(content);
    push(
        svg,
        format_args!("<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{content}</text>"),
    );
}

fn push(svg: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = svg.write_fmt(text);
}

fn headline(svg: &mut String, s: &Summary) {
    text(svg, "head", 40.0, 52.0, "start", &s.title);
    let saved = 100.0 * (1.0 - s.bytes_after as f64 / s.bytes_before.max(1) as f64);
    let numbers = [
        (format!("{} → {}", bytes(s.bytes_before), bytes(s.bytes_after)), format!("{saved:.0} % smaller")),
        (format!("{:.2} bits", s.average_bits), "a weight on average".into()),
        (s.snr_db.map_or_else(|| "–".into(), |db| format!("{db:.1} dB")), "signal over what was lost".into()),
        (s.n_compressed.to_string(), format!("weights compressed, {} left", s.n_kept)),
    ];
    for ((number, what), x) in numbers.iter().zip([40.0, 470.0, 690.0, 930.0]) {
        text(svg, "number", x, 104.0, "start", number);
        text(svg, "soft small", x, 128.0, "start", what);
    }
}

fn axes(svg: &mut String, top_bits: f64) {
    let [left, right, top, bottom] = PLOT;
    let step = if top_bits > 16.0 { 8.0 } else { 4.0 };
    let mut bits = 0.0;
    while bits <= top_bits {
        let y = bottom - (bottom - top) * bits / top_bits;
        push(svg, format_args!("<line class=\"line\" x1=\"{left}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>"));
        text(svg, "soft tiny", left - 8.0, y + 4.0, "end", &format!("{bits}"));
        bits += step;
    }
    text(svg, "soft tiny", left, top - 10.0, "start", "bits a weight · width: share of the parameters · area: bytes");
    for db in [0.0, 20.0, 40.0] {
        let y = strip_y(db);
        push(svg, format_args!("<line class=\"line\" x1=\"{left}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>"));
        text(svg, "soft tiny", left - 8.0, y + 4.0, "end", &format!("{db}"));
    }
    text(svg, "soft tiny", left, STRIP[0] - 8.0, "start", "signal-to-noise ratio of each weight, dB");
}

fn strip_y(db: f64) -> f64 {
    let part = ((db - DB[0]) / (DB[1] - DB[0])).clamp(0.0, 1.0);
    STRIP[1] - (STRIP[1] - STRIP[0]) * part
}

fn draw_column(svg: &mut String, c: &Column<'_>, top_bits: f64) {
    let [.., top, bottom] = PLOT;
    let w = c.weight;
    // A hair between columns that are wide enough for it.
    let gap = if c.right - c.left > 3.0 { 0.6 } else { 0.0 };
    let width = (c.right - c.left - gap).max(0.05);
    let height = |bits: f64| (bottom - top) * bits.min(top_bits) / top_bits;
    let mut bar = |class: &str, bits: f64| {
        let h = height(bits);
        push(
            svg,
            format_args!(
                "<rect {class} x=\"{:.2}\" y=\"{:.2}\" width=\"{width:.2}\" height=\"{h:.2}\"/>",
                c.left,
                bottom - h
            ),
        );
    };
    bar("class=\"before\"", bits_before(w));
    match (w.snr_db, &w.kept) {
        (_, Some(_)) => bar("class=\"kept\"", w.bits),
        (Some(db), None) => bar(&format!("fill=\"{}\"", colour(db)), w.bits),
        (None, None) => bar(&format!("fill=\"{}\"", colour(DB[1])), w.bits),
    }
    let snr = w.snr_db.map_or_else(String::new, |db| format!(", {db:.1} dB"));
    let title = format!("{} {:?}: {}, {:.2} bits, {}{snr}", w.name, w.shape, w.encoding, w.bits, bytes(w.bytes));
    if let Some(db) = w.snr_db {
        let (x, y) = ((c.left + c.right) / 2.0, strip_y(db));
        let fill = colour(db);
        push(svg, format_args!("<circle cx=\"{x:.2}\" cy=\"{y:.2}\" r=\"2.6\" fill=\"{fill}\"/>"));
    }
    // Something to point at, over the full height.
    push(
        svg,
        format_args!(
            "<rect x=\"{:.2}\" y=\"{top}\" width=\"{width:.2}\" height=\"{:.1}\" fill-opacity=\"0\"><title>{}</title></rect>",
            c.left,
            STRIP[1] - top,
            escaped(&title)
        ),
    );
}

/// Names of the network's blocks below the columns.
fn blocks(svg: &mut String, columns: &[Column<'_>]) {
    let [.., bottom] = PLOT;
    let mut from = 0;
    let mut free = 0.0;
    while from < columns.len() {
        let name = block(&columns[from].weight.name);
        let n = columns[from..].iter().take_while(|c| block(&c.weight.name) == name).count();
        let (left, right) = (columns[from].left, columns[from + n - 1].right);
        let x = (left + right) / 2.0;
        let half = name.len() as f64 * 3.1;
        if from > 0 && right - left > 8.0 {
            push(
                svg,
                format_args!(
                    "<line class=\"line\" x1=\"{left:.1}\" x2=\"{left:.1}\" y1=\"{bottom}\" y2=\"{:.1}\"/>",
                    bottom + 22.0
                ),
            );
        }
        if right - left > 2.0 * half && x - half > free {
            text(svg, "soft tiny", x, bottom + 17.0, "middle", &name);
            free = x + half + 4.0;
        }
        from += n;
    }
}

/// `down_blocks_0_…` is `down 0`; other names are told by their first word.
fn block(name: &str) -> String {
    let mut parts = name.split(['_', '.']).filter(|p| !matches!(*p, "unet" | "text" | "model" | "encoder"));
    let first = parts.next().unwrap_or_default();
    let number = parts.find(|p| !matches!(*p, "blocks" | "block" | "layers")).filter(|p| p.parse::<u16>().is_ok());
    match number {
        Some(number) => format!("{first} {number}"),
        None => first.to_owned(),
    }
}

fn legend(svg: &mut String) {
    let (x, y, width) = (64.0, 604.0, 220.0);
    svg.push_str("<defs><linearGradient id=\"snr\">");
    for (i, (r, g, b)) in SCALE.iter().enumerate() {
        let at = 100.0 * i as f64 / (SCALE.len() - 1) as f64;
        push(svg, format_args!("<stop offset=\"{at:.0}%\" stop-color=\"rgb({r},{g},{b})\"/>"));
    }
    svg.push_str("</linearGradient></defs>");
    push(svg, format_args!("<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"10\" rx=\"5\" fill=\"url(#snr)\"/>"));
    text(svg, "soft tiny", x + width + 10.0, y + 9.0, "start", &format!("{} to {} dB", DB[0], DB[1]));
    for (class, what, at) in [("before", "before", 420.0), ("kept", "left as it was", 500.0)] {
        push(svg, format_args!("<rect class=\"{class}\" x=\"{at}\" y=\"{y}\" width=\"14\" height=\"10\" rx=\"2\"/>"));
        text(svg, "soft tiny", at + 20.0, y + 9.0, "start", what);
    }
    text(svg, "soft tiny", PLOT[1], y + 9.0, "end", "smelt compress");
}

/// The colour of a ratio.
fn colour(db: f64) -> String {
    let part = ((db - DB[0]) / (DB[1] - DB[0])).clamp(0.0, 1.0) * (SCALE.len() - 1) as f64;
    let (i, rest) = ((part as usize).min(SCALE.len() - 2), part - (part as usize).min(SCALE.len() - 2) as f64);
    let (a, b) = (SCALE[i], SCALE[i + 1]);
    let mix = |a: u8, b: u8| (f64::from(a) + (f64::from(b) - f64::from(a)) * rest).round() as u8;
    format!("rgb({},{},{})", mix(a.0, b.0), mix(a.1, b.1), mix(a.2, b.2))
}
