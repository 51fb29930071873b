//! Several pictures of one run: of lists of prompts and seeds, of choices in prompts, and grids.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::io::{BufReader, Write};
use std::path::Path;
use std::process::Stdio;

use common::{command, names, read_picture, text};
use sd_runtime::image::read_png_text;
use sd_runtime::pipeline::PictureSettings;
use testkit::demo;

/// Draws in a folder, one step each, with something in standard input; returns what `--json` said at last.
#[track_caller]
fn draw(dir: &Path, args: &[&str], input: &str) -> serde_json::Value {
    let model = text(demo());
    let fixed = ["generate", "-m", &model, "--json"];
    let steps: &[&str] = if args.iter().any(|arg| arg.starts_with("steps=")) { &[] } else { &["--steps", "1"] };
    let mut command = command(fixed.iter().chain(steps).chain(args));
    let mut child = command.current_dir(dir).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(String::from_utf8(output.stdout).unwrap().lines().last().unwrap()).unwrap()
}

fn settings(path: &Path) -> PictureSettings {
    let file = BufReader::new(std::fs::File::open(path).unwrap());
    PictureSettings::from_png_texts(&read_png_text(file).unwrap()).unwrap()
}

#[track_caller]
fn assert_same(dir: &Path, a: &str, b: &str) {
    let read = |name: &str| std::fs::read(dir.join(name)).unwrap();
    assert!(read(a) == read(b), "{a} and {b} differ");
}

#[test]
fn prompts_come_from_standard_input_and_from_files_with_one_a_line() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path();
    draw(dir, &["a red heart"], "");
    draw(dir, &["-"], " a red heart\n");
    assert_eq!(names(dir), ["a-red-heart-2.png", "a-red-heart.png"]);
    assert_same(dir, "a-red-heart.png", "a-red-heart-2.png");
    let lines = "# things\nrocket\n\n  a red heart \r\nrocket!\nCON\n";
    std::fs::write(dir.join("prompts.txt"), format!("\u{feff}{lines}")).unwrap();
    let said = draw(dir, &["--prompts", "prompts.txt"], "");
    let drawn: Vec<(&str, &str)> = said["pictures"]
        .as_array()
        .unwrap()
        .iter()
        .map(|picture| (picture["path"].as_str().unwrap(), picture["prompt"].as_str().unwrap()))
        .collect();
    let want = [
        ("rocket-1.png", "rocket"),
        ("a-red-heart-3.png", "a red heart"),
        ("rocket-2.png", "rocket!"),
        ("con-picture.png", "CON"),
    ];
    assert_eq!(drawn, want);
    assert_same(dir, "a-red-heart.png", "a-red-heart-3.png");
    draw(dir, &["--prompts", "-", "-o", "all.png"], lines);
    assert_same(dir, "all-1.png", "rocket-1.png");
    assert_same(dir, "all-4.png", "con-picture.png");
}

#[test]
fn each_of_several_seeds_draws_what_it_draws_alone() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path();
    draw(dir, &["rocket", "-o", "x.png", "--seed", "3..4,9", "--grid", "grid.png"], "");
    assert_eq!(names(dir), ["grid.png", "x-1.png", "x-2.png", "x-3.png"]);
    for (name, seed) in [("x-1.png", "3"), ("x-2.png", "4"), ("x-3.png", "9")] {
        draw(dir, &["rocket", "-o", "alone.png", "--seed", seed], "");
        assert_same(dir, name, "alone.png");
    }
}

#[test]
fn choices_in_prompts_are_drawn_by_each_pictures_seed() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path();
    std::fs::create_dir(dir.join("words")).unwrap();
    std::fs::write(dir.join("words/thing.txt"), "heart\nrocket\n{red|green} apple\n").unwrap();
    let wild = |more: &[&str]| draw(dir, &[&["a __thing__, {1|2|3}", "--wildcards", "words"], more].concat(), "");
    wild(&["-o", "x.png", "--count", "6", "--seed", "5"]);
    let all: Vec<PictureSettings> = (1..=6).map(|n| settings(&dir.join(format!("x-{n}.png")))).collect();
    assert_eq!(all.iter().map(|settings| settings.seed).collect::<Vec<_>>(), [5, 6, 7, 8, 9, 10]);
    assert!(all.iter().all(|said| !said.prompt.contains(['_', '{', '|'])), "{all:?}");
    assert!(all.iter().any(|said| said.prompt != all[0].prompt), "{all:?}");
    wild(&["-o", "alone.png", "--seed", "8"]);
    assert_same(dir, "alone.png", "x-4.png");
    // What was drawn is all that it takes to draw it again.
    draw(dir, &[&all[3].prompt, "-o", "plain.png", "--seed", "8"], "");
    assert_same(dir, "plain.png", "x-4.png");
    // Without the option braces are what they always were.
    draw(dir, &["{a|b}", "-o", "braces.png"], "");
    assert_eq!(settings(&dir.join("braces.png")).prompt, "{a|b}");
}

#[test]
fn a_grid_has_a_column_for_each_value_and_a_row_for_each_of_the_other_axis() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path();
    draw(dir, &["rocket", "-o", "x.png", "--x", "steps=1,2,3", "--y", "guidance=1,4"], "");
    let numbered = (1..=6).map(|n| format!("x-{n}.png"));
    assert_eq!(names(dir), numbered.chain(["x-grid.png".to_owned()]).collect::<Vec<_>>());
    let drawn = |n: usize| settings(&dir.join(format!("x-{n}.png")));
    let both = |n| (drawn(n).steps, drawn(n).guidance_scale);
    assert_eq!([1, 3, 4, 6].map(both), [(1, 1.0), (3, 1.0), (1, 4.0), (3, 4.0)]);
    let grid = read_picture(dir.join("x-grid.png"));
    assert!(grid.width() > 3 * 128 && grid.width() < 4 * 128, "{}", grid.width());
    assert!(grid.height() > 2 * 128 && grid.height() < 3 * 128, "{}", grid.height());
    // Without a name that too is new, and words take the place of others.
    draw(dir, &["a red heart", "--x", "prompt=red,blue"], "");
    draw(dir, &["a red heart", "--x", "prompt=red,blue"], "");
    let hearts: Vec<String> = names(dir).into_iter().filter(|name| name.contains("heart")).collect();
    let want = ["a-blue-heart-2.png", "a-blue-heart.png", "a-red-heart-2-grid.png", "a-red-heart-2.png"];
    assert_eq!(hearts[..4], want);
}
