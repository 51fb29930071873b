//! Texts of every tool, each with what is expected of it: files in `texts`, own writing in the tools' grammars.
//!
//! A file has texts, each behind a line `=== carrier keyword`, and behind `=== expected` the settings as JSON. With
//! `UPDATE_CORPUS=1` the expected part is written anew, to be read by whoever changes the reader.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use sd_metadata::{Carrier, Text, parse_parameters, recognise};

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/texts");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    files.sort();
    files
}

/// Texts and the expected settings.
fn split(file: &str) -> (Vec<Text>, Option<&str>) {
    let mut texts = Vec::new();
    for part in file.split("=== ").skip(1) {
        let (head, body) = part.split_once('\n').unwrap();
        if head == "expected" {
            return (texts, file.split_once("=== expected\n").map(|(_, expected)| expected.trim()));
        }
        let (carrier, keyword) = head.split_once(' ').unwrap();
        let carrier = match carrier {
            "png" => Carrier::Png,
            "exif" => Carrier::Exif,
            "xmp" => Carrier::Xmp,
            "iptc" => Carrier::Iptc,
            _ => Carrier::Comment,
        };
        texts.push(Text::new(carrier, keyword, body.strip_suffix('\n').unwrap_or(body)));
    }
    (texts, None)
}

#[test]
fn every_text_gives_what_is_expected_of_it() {
    let mut wrong = Vec::new();
    for path in files() {
        let file = std::fs::read_to_string(&path).unwrap();
        let (texts, expected) = split(&file);
        let found = serde_json::to_string_pretty(&recognise(&texts)).unwrap();
        if expected == Some(found.as_str()) {
            continue;
        }
        if std::env::var_os("UPDATE_CORPUS").is_some() {
            let texts = file.split("=== expected\n").next().unwrap();
            std::fs::write(&path, format!("{texts}=== expected\n{found}\n")).unwrap();
        } else {
            wrong.push(format!("{}:\n{found}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn there_are_texts_of_every_tool_and_hostile_ones() {
    let names: Vec<String> =
        files().iter().map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect();
    assert!(names.len() >= 40, "{}", names.len());
    for tool in ["a1111", "forge", "comfy", "sdcpp", "draw-things", "mochi", "invoke", "smelt", "hostile"] {
        assert!(names.iter().any(|name| name.starts_with(tool)), "{tool}");
    }
}

#[test]
fn what_was_written_is_read_and_written_as_it_was() {
    for path in files() {
        let (texts, _) = split(&std::fs::read_to_string(&path).unwrap());
        let Some(made) = recognise(&texts) else { continue };
        let first = made.to_parameters();
        let again = parse_parameters(&first);
        assert_eq!(again.to_parameters(), first, "{}", path.display());
        assert_eq!(again.seed, made.seed, "{}", path.display());
        assert_eq!(again.steps, made.steps, "{}", path.display());
        assert!(again.unknown.len() >= made.unknown.len(), "{}\n{first}\n{again:#?}", path.display());
    }
}
