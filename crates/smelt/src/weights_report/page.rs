//! A compression as a page: the picture, and below it a table that can be sorted. It needs nothing from outside.

use super::picture;
use super::summary::{Summary, escaped};
use crate::units::bytes;

const STYLE: &str = "\
body{font:15px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif;margin:2rem auto;max-width:1240px;padding:0 1rem;\
color:#1c2530;background:#f1f1ee}svg{width:100%;height:auto;display:block}\
table{border-collapse:collapse;width:100%;margin-top:1.5rem;font-size:13px}\
th,td{padding:.3rem .6rem;text-align:left;border-bottom:1px solid #d4d8db}\
th{cursor:pointer;position:sticky;top:0;background:#f1f1ee}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}\
td.why{color:#5d6875}\
@media(prefers-color-scheme:dark){body{color:#eceff1;background:#0f1318}th{background:#0f1318}th,td{border-color:#39424c}\
td.why{color:#9aa6b2}}";

/// Sorts by the column whose head was clicked: by number where cells have one.
const SCRIPT: &str = "\
document.querySelectorAll('th').forEach((th,i)=>th.onclick=()=>{const b=th.closest('table').tBodies[0];\
const v=r=>{const c=r.cells[i];return 'v' in c.dataset?+c.dataset.v:c.textContent};\
const d=th.dataset.d=th.dataset.d==='1'?'-1':'1';\
[...b.rows].sort((x,y)=>{const p=v(x),q=v(y);return (p>q?1:p<q?-1:0)*d}).forEach(r=>b.append(r))})";

/// The page as HTML.
pub(super) fn write(summary: &Summary) -> String {
    let title = escaped(&summary.title);
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title><style>{STYLE}</style></head>\
         <body>{}<table><thead><tr><th>weight</th><th>shape</th><th>read by</th><th>stored as</th><th class=\"n\">bits</th>\
         <th class=\"n\">before</th><th class=\"n\">after</th><th class=\"n\">dB</th><th>remark</th></tr></thead><tbody>",
        picture::draw(summary)
    );
    for w in &summary.weights {
        let number = |value: f64, text: String| format!("<td class=\"n\" data-v=\"{value}\">{text}</td>");
        let shape: Vec<String> = w.shape.iter().map(ToString::to_string).collect();
        page.push_str(&format!(
            "<tr><td>{}</td><td data-v=\"{}\">{}</td><td>{}</td><td>{}</td>{}{}{}{}<td class=\"why\">{}</td></tr>",
            escaped(&w.name),
            w.len(),
            shape.join(" × "),
            escaped(&w.readers.join(", ")),
            escaped(&w.encoding),
            number(w.bits, format!("{:.2}", w.bits)),
            number(w.bytes_before as f64, bytes(w.bytes_before)),
            number(w.bytes as f64, bytes(w.bytes)),
            w.snr_db.map_or_else(|| number(999.0, "–".into()), |db| number(db, format!("{db:.1}"))),
            escaped(w.kept.as_deref().unwrap_or_default()),
        ));
    }
    page.push_str(&format!("</tbody></table><script>{SCRIPT}</script></body></html>\n"));
    page
}
