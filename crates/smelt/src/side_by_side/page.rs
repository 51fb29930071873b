//! The comparison as a page.

use std::fmt::Write;

use base64::{Engine, engine::general_purpose::STANDARD};
use mil_compress::StoredWeight;

use super::{ComparedComponent, ComparedPicture, SideBySideReport};
use crate::units::{bytes, decibels};
use crate::weights_report::escaped;

const STYLE: &str = "\
:root{--ink:#1c2530;--soft:#5d6875;--ground:#f1f1ee;--card:#fbfbf9;--line:#d4d8db}\
@media(prefers-color-scheme:dark){:root{--ink:#eceff1;--soft:#9aa6b2;--ground:#0f1318;--card:#171c22;--line:#39424c}}\
body{font:16px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif;margin:2rem auto;max-width:1100px;padding:0 1rem;\
color:var(--ink);background:var(--ground)}h1{font-size:1.6rem;margin:0 0 .2rem}h2{font-size:1.15rem;margin:2.2rem 0 .6rem}\
p{margin:.2rem 0}.soft{color:var(--soft);font-size:.9rem}\
.numbers{display:grid;grid-template-columns:repeat(auto-fit,minmax(200px,1fr));gap:1rem;margin:1.2rem 0}\
.numbers div{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:.9rem 1.1rem}\
.numbers b{display:block;font-size:1.5rem;font-weight:650}\
.pairs{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,340px),1fr));gap:1rem}\
figure{margin:0;background:var(--card);border:1px solid var(--line);border-radius:12px;padding:.7rem}\
.pair{display:grid;grid-template-columns:1fr 1fr;gap:.4rem}.pair img{width:100%;height:auto;border-radius:6px;display:block}\
figcaption{margin-top:.5rem;font-size:.9rem}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}\
th,td{padding:.35rem .6rem;text-align:right;border-bottom:1px solid var(--line)}th:first-child,td:first-child{text-align:left}\
.wide{overflow-x:auto}svg{width:100%;height:34px;display:block;border-radius:6px}\
.key span{display:inline-block;margin-right:1rem;font-size:.9rem}.key i{display:inline-block;width:.9rem;height:.9rem;\
border-radius:3px;margin-right:.35rem;vertical-align:-.1rem}";

/// Colours by bits: up to so many.
const COLOURS: [(f64, &str, &str); 7] = [
    (1.5, "#b21848", "1 bit"),
    (2.5, "#e2633e", "2 bits"),
    (3.5, "#f0be4c", "3 bits"),
    (5.0, "#5cb07a", "4 bits"),
    (7.0, "#2f9aa8", "6 bits"),
    (9.0, "#2a6ea0", "8 bits"),
    (f64::INFINITY, "#9aa3ab", "more"),
];

/// The page as HTML.
pub(super) fn write(report: &SideBySideReport) -> String {
    let mut page = String::new();
    put(
        &mut page,
        format_args!(
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>{after} beside {before}</title>\
             <style>{STYLE}</style></head><body><main><h1>{after}</h1><p class=\"soft\">beside {before}</p>",
            after = escaped(&report.after),
            before = escaped(&report.before),
        ),
    );
    numbers(&mut page, report);
    page.push_str("<h2>The same seeds</h2><p class=\"soft\">Left before, right after.</p><div class=\"pairs\">");
    report.pictures.iter().for_each(|picture| pair(&mut page, picture));
    page.push_str("</div>");
    table(&mut page, report);
    page.push_str(
        "<h2>Bits of each weight</h2><p class=\"soft\">Width: share of the component's weights, in the order of the \
         network. Point at one for its name.</p><p class=\"key\">",
    );
    for (_, colour, name) in COLOURS {
        put(&mut page, format_args!("<span><i style=\"background:{colour}\"></i>{name}</span>"));
    }
    page.push_str("</p>");
    report.components.iter().for_each(|component| strip(&mut page, component));
    page.push_str("</main></body></html>\n");
    page
}

fn put(page: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = page.write_fmt(text);
}

/// A ratio in words; there is none where nothing differs.
fn ratio(db: Option<f64>) -> String {
    decibels(db.unwrap_or(f64::INFINITY))
}

fn numbers(page: &mut String, report: &SideBySideReport) {
    let arrow = |[before, after]: [u64; 2]| format!("{} → {}", bytes(before), bytes(after));
    let rows = [
        (ratio(report.psnr_db), "pictures, after to before, on average (PSNR)"),
        (arrow(report.bytes), "on the disk"),
        (arrow(report.memory_bytes), "memory on a device, estimated"),
    ];
    page.push_str("<div class=\"numbers\">");
    for (number, what) in rows {
        put(page, format_args!("<div><b>{number}</b><span class=\"soft\">{what}</span></div>"));
    }
    page.push_str("</div>");
}

fn pair(page: &mut String, picture: &ComparedPicture) {
    let prompt = escaped(&picture.prompt);
    page.push_str("<figure><div class=\"pair\">");
    for (png, when) in picture.png.iter().zip(["before", "after"]) {
        let data = STANDARD.encode(png);
        put(page, format_args!("<img alt=\"{prompt}, {when}\" src=\"data:image/png;base64,{data}\">"));
    }
    let db = ratio(picture.psnr_db);
    put(
        page,
        format_args!(
            "</div><figcaption>{prompt}<br><span class=\"soft\">seed {}, {db}</span></figcaption></figure>",
            picture.seed
        ),
    );
}

fn table(page: &mut String, report: &SideBySideReport) {
    page.push_str(
        "<h2>Components</h2><div class=\"wide\"><table><thead><tr><th>component</th><th>outputs on random inputs</th>\
         <th>before</th><th>after</th><th>bits a weight</th><th>results</th></tr></thead><tbody>",
    );
    for c in &report.components {
        put(
            page,
            format_args!(
                "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{:.2} → {:.2}</td><td>{}</td></tr>",
                escaped(&c.role),
                ratio(c.psnr_db),
                bytes(c.bytes[0]),
                bytes(c.bytes[1]),
                c.bits[0],
                c.bits[1],
                bytes(c.result_bytes[1]),
            ),
        );
    }
    page.push_str("</tbody></table></div>");
    if !report.only_in_one.is_empty() {
        let only = escaped(&report.only_in_one.join(", "));
        put(page, format_args!("<p class=\"soft\">Only in one of the two: {only}.</p>"));
    }
    page.push_str(
        "<p class=\"soft\">Memory on a device: all components loaded, weights as they are stored, and the results of the \
         component that has most, in half precision. A system that unpacks weights needs more.</p>",
    );
}

/// The width of a strip, in its own units.
const WIDTH: f64 = 1000.0;

fn strip(page: &mut String, component: &ComparedComponent) {
    let total = component.weights.iter().map(StoredWeight::len).sum::<usize>().max(1) as f64;
    let role = escaped(&component.role);
    put(
        page,
        format_args!(
            "<p>{role} <span class=\"soft\">{:.2} bits a weight</span></p><svg viewBox=\"0 0 {WIDTH} 34\" \
             preserveAspectRatio=\"none\" role=\"img\" aria-label=\"bits of each weight of {role}\">",
            component.bits[1]
        ),
    );
    let mut left = 0.0;
    for weight in &component.weights {
        let width = weight.len() as f64 / total * WIDTH;
        let colour = COLOURS.iter().find(|(most, ..)| weight.bits() < *most).map_or("", |(_, colour, _)| colour);
        let (name, bits) = (escaped(&weight.name), weight.bits());
        put(
            page,
            format_args!(
                "<rect x=\"{left:.3}\" width=\"{width:.3}\" height=\"34\" fill=\"{colour}\">\
                 <title>{name}: {bits:.2} bits, {}</title></rect>",
                escaped(&weight.encoding)
            ),
        );
        left += width;
    }
    page.push_str("</svg>");
}
