//! The front as a picture: quality against bits, the recipes on it, and one scheme for all weights for comparison.

use std::fmt::Write;

use super::front::{Recipe, Recipes};
use crate::units::bytes;
use crate::weights_report::escaped;

const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 620.0;
/// The plot: left, right, top, bottom.
const PLOT: [f64; 4] = [76.0, 964.0, 104.0, 536.0];

const STYLE: &str = "\
text{font-family:system-ui,-apple-system,'Segoe UI',Roboto,sans-serif;fill:#1c2530}\
.card{fill:#fbfbf9}.soft{fill:#5d6875}.line{stroke:#d4d8db;stroke-width:1}\
.front{fill:none;stroke:#2a6ea0;stroke-width:2.5;stroke-linejoin:round}.recipe{fill:#2a6ea0;stroke:#fbfbf9;stroke-width:2}\
.uniform{fill:none;stroke:#c2502e;stroke-width:2.2}.name{fill:#c2502e}\
.head{font-size:24px;font-weight:650}.small{font-size:14px}.tiny{font-size:12px}\
@media(prefers-color-scheme:dark){text{fill:#eceff1}.card{fill:#171c22}.soft{fill:#9aa6b2}.line{stroke:#39424c}\
.front{stroke:#6db3e8}.recipe{fill:#6db3e8;stroke:#171c22}.uniform{stroke:#f08a66}.name{fill:#f08a66}}";

/// A range of values, and where it is drawn.
struct Scale {
    values: [f64; 2],
    places: [f64; 2],
    step: f64,
}

impl Scale {
    /// A range that holds all of these, to whole steps.
    fn of(values: impl Iterator<Item = f64>, places: [f64; 2]) -> Self {
        let (least, most) =
            values.filter(|v| v.is_finite()).fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)));
        let (least, most) = if least <= most { (least, most) } else { (0.0, 1.0) };
        let rough = (most - least).max(1e-3) / 8.0;
        let unit = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|n| n * unit).into_iter().find(|step| *step >= rough).unwrap_or(unit);
        let [low, high] = [(least / step).floor() * step, (most / step).ceil() * step];
        Self { values: [low, if high > low { high } else { low + step }], places, step }
    }

    fn place(&self, value: f64) -> f64 {
        let part = ((value - self.values[0]) / (self.values[1] - self.values[0])).clamp(0.0, 1.0);
        self.places[0] + (self.places[1] - self.places[0]) * part
    }

    fn ticks(&self) -> impl Iterator<Item = f64> + '_ {
        let n = ((self.values[1] - self.values[0]) / self.step).round() as usize;
        (0..=n).map(|i| self.values[0] + i as f64 * self.step)
    }
}

impl Recipes {
    /// The front as SVG.
    #[must_use]
    pub fn to_svg(&self) -> String {
        let [left, right, top, bottom] = PLOT;
        let recipes = || self.recipes.iter().filter_map(|recipe| Some((recipe, recipe.psnr_db?)));
        let bits = recipes().map(|(r, _)| r.mean_bits).chain(self.uniform.iter().map(|u| u.mean_bits));
        let across = Scale::of(bits, [left, right]);
        let shown = |bits: f64| (across.values[0]..=across.values[1]).contains(&bits);
        let front: Vec<(f64, f64)> =
            self.curve.iter().copied().filter(|&(bits, db)| shown(bits) && db.is_finite()).collect();
        let ratios = recipes().map(|(_, db)| db).chain(self.uniform.iter().map(|u| u.psnr_db));
        let up = Scale::of(ratios.chain(front.iter().map(|&(_, db)| db)), [bottom, top]);
        let mut svg = Svg::new(&self.analysis.model);
        svg.axes(&across, &up);
        svg.front(&front, &across, &up);
        for uniform in self.uniform.iter().filter(|u| u.psnr_db.is_finite()) {
            let (x, y) = (across.place(uniform.mean_bits), up.place(uniform.psnr_db));
            svg.cross(x, y);
            svg.text("name tiny", x + 10.0, y + 16.0, "start", &uniform.scheme.to_string());
        }
        for (recipe, db) in recipes() {
            svg.recipe(recipe, db, (across.place(recipe.mean_bits), up.place(db)));
        }
        svg.finish()
    }
}

/// A picture that is being drawn.
struct Svg(String);

impl Svg {
    fn new(model: &str) -> Self {
        let mut svg = Self(format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{0}\">\
             <style>{STYLE}</style><rect class=\"card\" width=\"{WIDTH}\" height=\"{HEIGHT}\" rx=\"14\"/>",
            escaped(model)
        ));
        svg.text("head", 36.0, 48.0, "start", model);
        svg.text(
            "soft small",
            36.0,
            76.0,
            "start",
            "peak signal-to-noise ratio of the output, dB, as the losses of the weights add up",
        );
        svg
    }

    fn push(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = self.0.write_fmt(text);
    }

    fn text(&mut self, class: &str, x: f64, y: f64, anchor: &str, content: &str) {
        let content = escaped(content);
        self.push(format_args!(
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{content}</text>"
        ));
    }

    fn axes(&mut self, across: &Scale, up: &Scale) {
        let [left, right, top, bottom] = PLOT;
        for db in up.ticks() {
            let y = up.place(db);
            self.push(format_args!("<line class=\"line\" x1=\"{left}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>"));
            self.text("soft tiny", left - 10.0, y + 4.0, "end", &number(db));
        }
        for bits in across.ticks() {
            let x = across.place(bits);
            self.push(format_args!("<line class=\"line\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top}\" y2=\"{bottom}\"/>"));
            self.text("soft tiny", x, bottom + 20.0, "middle", &number(bits));
        }
        self.text("soft small", right, bottom + 44.0, "end", "bits a weight");
        let y = bottom + 40.0;
        self.push(format_args!("<circle class=\"recipe\" cx=\"{:.1}\" cy=\"{y:.1}\" r=\"6\"/>", left + 6.0));
        self.text("soft small", left + 20.0, y + 5.0, "start", "recipes");
        self.cross(left + 106.0, y);
        self.text("soft small", left + 120.0, y + 5.0, "start", "one scheme for all weights");
        self.push(format_args!("<path class=\"front\" d=\"M{:.1} {y:.1}h28\"/>", left + 326.0));
        self.text("soft small", left + 362.0, y + 5.0, "start", "best for its size");
    }

    fn front(&mut self, points: &[(f64, f64)], across: &Scale, up: &Scale) {
        // A point for each pixel is enough.
        let mut path = String::new();
        let mut last = f64::NEG_INFINITY;
        for &(bits, db) in points {
            let (x, y) = (across.place(bits), up.place(db));
            if x - last >= 1.0 {
                let _ = write!(path, "{}{x:.1} {y:.1}", if path.is_empty() { "M" } else { "L" });
                last = x;
            }
        }
        self.push(format_args!("<path class=\"front\" d=\"{path}\"/>"));
    }

    fn cross(&mut self, x: f64, y: f64) {
        self.push(format_args!("<path class=\"uniform\" d=\"M{:.1} {:.1}l10 10m0 -10l-10 10\"/>", x - 5.0, y - 5.0));
    }

    fn recipe(&mut self, recipe: &Recipe, db: f64, (x, y): (f64, f64)) {
        let title = format!("{}: {:.2} bits, {}, {db:.1} dB", recipe.name, recipe.mean_bits, bytes(recipe.bytes));
        self.push(format_args!(
            "<circle class=\"recipe\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"6.5\"><title>{}</title></circle>",
            escaped(&title)
        ));
        self.text("tiny", x - 10.0, y - 10.0, "end", &recipe.name);
    }

    fn finish(mut self) -> String {
        self.text("soft tiny", PLOT[1], HEIGHT - 14.0, "end", "smelt recipe");
        self.0.push_str("</svg>\n");
        self.0
    }
}

/// A tick's number, without what rounding left of it.
fn number(value: f64) -> String {
    let rounded = (value * 1000.0).round() / 1000.0;
    format!("{}", if rounded == 0.0 { 0.0 } else { rounded })
}
