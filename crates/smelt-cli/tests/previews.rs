//! Pictures that are shown while they are drawn.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{names, read_picture, succeed, text};
use testkit::demo;

/// Draws two pictures of six steps; returns the lines that it printed.
fn draw(dir: &std::path::Path, more: &[&str]) -> Vec<serde_json::Value> {
    let (model, output) = (text(demo()), text(dir.join("x.png")));
    let fixed = ["generate", "a red heart", "-m", &model, "-o", &output, "--count", "2", "--steps", "6"];
    let options = ["--scheduler", "euler", "--preview", "every:2", "--json"];
    let printed = succeed(fixed.iter().chain(&options).chain(more));
    printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_preview_is_there_while_pictures_are_drawn_and_gone_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("x-preview.png"), "somebody's own").unwrap();
    let lines = draw(dir.path(), &[]);
    assert_eq!(names(dir.path()), ["x-1.png", "x-2.png", "x-preview.png"]);
    assert_eq!(std::fs::read(dir.path().join("x-preview.png")).unwrap(), b"somebody's own");
    let of = |line: &serde_json::Value| (line["picture"].as_u64().unwrap(), line["step"].as_u64().unwrap());
    let previews: Vec<_> = lines.iter().filter(|line| line["event"] == "preview").collect();
    assert_eq!(previews.iter().map(|line| of(line)).collect::<Vec<_>>(), [(1, 2), (1, 4), (2, 2), (2, 4)]);
    assert_eq!(previews[0]["path"], text(dir.path().join("x-preview-2.png")));
}

#[test]
fn a_preview_whose_file_is_named_stays_and_resembles_the_picture() {
    let dir = tempfile::tempdir().unwrap();
    let (preview, low) = (text(dir.path().join("p.png")), dir.path().join("low"));
    draw(dir.path(), &["--preview-to", &preview]);
    assert_eq!(names(dir.path()), ["p.png", "x-1.png", "x-2.png"]);
    let (shown, drawn) = (read_picture(&preview), read_picture(dir.path().join("x-2.png")));
    assert_eq!(shown.size(), drawn.size());
    let apart = |a: &[u8], b: &[u8]| -> u64 { a.iter().zip(b).map(|(a, b)| u64::from(a.abs_diff(*b))).sum() };
    let n = drawn.pixels().len() as u64;
    let mean = (drawn.pixels().iter().map(|byte| u64::from(*byte)).sum::<u64>() / n) as u8;
    let grey = vec![mean; drawn.pixels().len()];
    let (by_preview, by_grey) = (apart(shown.pixels(), drawn.pixels()), apart(&grey, drawn.pixels()));
    assert!(by_preview * 3 < by_grey * 2, "{} and {}", by_preview / n, by_grey / n);
    // The same where models live for their stage alone.
    std::fs::create_dir(&low).unwrap();
    let other = text(low.join("p.png"));
    draw(&low, &["--preview-to", &other, "--low-memory"]);
    assert!(std::fs::read(preview).unwrap() == std::fs::read(other).unwrap(), "the previews differ");
}

#[test]
fn previews_in_the_terminal_take_each_others_place() {
    let dir = tempfile::tempdir().unwrap();
    let (model, output) = (text(demo()), text(dir.path().join("x.png")));
    let fixed = ["generate", "a red heart", "-m", &model, "-o", &output, "--count", "2", "--steps", "6"];
    let printed = succeed(fixed.iter().chain(&["--scheduler", "euler", "--preview", "2", "--show=blocks"]));
    assert_eq!(names(dir.path()), ["x-1.png", "x-2.png"]);
    // Two of each picture; 16 rows of pixels are 8 lines.
    assert_eq!(printed.matches("\x1b[8A").count(), 2, "{printed}");
}
