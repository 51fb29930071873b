//! What a file of new words is, in words.

use smelt::inspect::EmbeddingFile;

use super::hashes;
use crate::report::{Report, Table, count};

pub(super) fn tell(file: &EmbeddingFile, report: &Report) {
    report.line(&file.path);
    let mut table = Table::new(2, "<<");
    let base = file.base.unwrap_or("a model that the widths of its vectors do not tell");
    table.row(["a textual inversion for".to_owned(), base.to_owned()]);
    for word in &file.words {
        table.row(["word".to_owned(), word.word.clone()]);
        for encoder in &word.encoders {
            let of = encoder.component.map_or_else(String::new, |name| format!(", for {name}"));
            let vectors = count(word.n_vectors, "vector");
            table.row([String::new(), format!("{vectors} of width {}, {}{of}", encoder.width, encoder.dtype)]);
        }
    }
    report.text(table);
    hashes::tell(&file.hashes, report);
}
