//! What people call files by, in words.

use smelt::inspect::HashFacts;

use crate::report::{Report, Table, bytes};

/// Lists files with their hashes; one whose hashes nobody asked for is named with its length alone.
pub(super) fn tell(files: &[HashFacts], report: &Report) {
    if files.is_empty() {
        return;
    }
    let mut table = Table::new(2, "<<<");
    for facts in files {
        let title = format!("{} {}, {}", facts.part.name(), facts.file, bytes(facts.bytes));
        let Some(sha256) = &facts.sha256 else {
            table.row([title, String::new(), String::new()]);
            continue;
        };
        table.row([title, "SHA-256".to_owned(), sha256.clone()]);
        // People call by these what is one file, and not a network's part of a folder.
        let is_whole = !facts.file.contains('/');
        let short = [
            ("AutoV1", "Automatic1111's Model hash until 2023", &facts.auto_v1),
            ("AutoV2", "Automatic1111's Model hash", &facts.auto_v2),
            ("AutoV3", "Automatic1111's hash of a LoRA", &facts.auto_v3),
        ];
        for (name, what, hash) in short.into_iter().filter(|_| is_whole) {
            if let Some(hash) = hash {
                table.row([String::new(), name.to_owned(), format!("{hash}  {what}")]);
            }
        }
    }
    report.text(table);
}
