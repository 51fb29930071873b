//! Commands around pictures and this machine: compare, grids, previews, doctor, completions, manual pages.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::io::BufReader;
use std::path::{Path, PathBuf};

use common::{command, fail, json, names, read_picture, run, succeed, text};
use sd_runtime::image::{PngText, RgbImage, read_png_text};
use testkit::demo;

/// Writes a picture of 40 by 30 pixels in which `n_marked` pixels have the value of the others plus 10.
fn picture(dir: &Path, name: &str, n_marked: usize) -> PathBuf {
    let pixels = (0..40 * 30).flat_map(|i| [if i < n_marked { 110 } else { 100 }; 3]).collect();
    write(dir, name, &RgbImage::new(40, 30, pixels).unwrap())
}

fn write(dir: &Path, name: &str, image: &RgbImage) -> PathBuf {
    let path = dir.join(name);
    image.write_png(std::fs::File::create(&path).unwrap(), &[]).unwrap();
    path
}

#[test]
fn pictures_are_compared_with_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let paths = [("a.png", 0), ("b.png", 300), ("c.png", 0)].map(|(name, n)| text(picture(dir.path(), name, n)));
    let summary = json(["compare"].iter().copied().chain(paths.iter().map(String::as_str)));
    assert_eq!(summary["pictures"][0]["difference"], serde_json::Value::Null);
    let b = &summary["pictures"][1]["difference"];
    // A quarter of the pixels is 10 off: the mean square is 25.
    assert!((b["psnr_db"].as_f64().unwrap() - 34.1514).abs() < 1e-3, "{b}");
    assert_eq!((&b["max"], &b["mean"], &b["share_of_pixels"]), (&10.into(), &2.5.into(), &0.25.into()));
    assert_eq!(summary["pictures"][2]["difference"]["identical"], true);
    let said = succeed(["compare", &paths[0], &paths[1]]);
    assert!(said.contains("34.2 dB") && said.contains("25.0 %"), "{said}");
}

#[test]
fn the_exit_code_tells_whether_pictures_are_near_enough() {
    let dir = tempfile::tempdir().unwrap();
    let paths = [("a.png", 0), ("b.png", 300)].map(|(name, n)| text(picture(dir.path(), name, n)));
    succeed(["compare", &paths[0], &paths[1], "--min-psnr", "34"]);
    let ran = run(["compare", &paths[0], &paths[1], "--min-psnr", "35"]);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(ran.stdout.contains("too low"), "{}", ran.stdout);
}

#[test]
fn what_cannot_be_compared_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let a = text(picture(dir.path(), "a.png", 0));
    let small = text(write(dir.path(), "small.png", &RgbImage::new(4, 5, vec![0; 60]).unwrap()));
    let message = fail(["compare", &a, &small]);
    assert!(message.contains("small.png is 4x5") && message.contains("a.png is 40x30"), "{message}");
    let message = fail(["compare", &a]);
    assert!(message.contains("nothing to compare it with"), "{message}");
    let message = fail(["compare", &a, &text(dir.path().join("none.png"))]);
    assert!(message.contains("cannot read") && message.contains("none.png"), "{message}");
    let message = fail(["compare", &a, &text(demo().join("model_index.json"))]);
    assert!(message.contains("model_index.json") && message.contains("PNG, JPEG and WebP"), "{message}");
    let grid = text(dir.path().join("grid.png"));
    let message = fail(["compare", &a, &small, "--grid", &grid, "--captions", "one"]);
    assert!(message.contains("1 caption for 2 pictures"), "{message}");
    let message = fail(["compare", &a, &small, "--grid", &a]);
    assert!(message.contains("would replace the picture"), "{message}");
    let message = fail(["compare", &a, &small, "--grid", &grid, "--min-psnr", "3"]);
    assert!(message.contains("only pictures of one size"), "{message}");
    assert_eq!(names(dir.path()), ["a.png", "small.png"]);
}

#[test]
fn a_grid_holds_the_pictures_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let paths = [("a.png", 0), ("b.png", 300), ("c.png", 7)].map(|(name, n)| text(picture(dir.path(), name, n)));
    let grid = dir.path().join("grid.png");
    let args = ["--grid", &text(&grid), "--columns", "3", "--psnr", "--captions", "none, some,few"].map(str::to_owned);
    let summary = json(["compare".to_owned()].iter().chain(&paths).chain(&args));
    assert_eq!(summary["grid"], text(&grid));
    let sheet = read_picture(&grid);
    let rows_of = |image: &RgbImage| image.pixels().chunks(image.width() * 3).map(<[u8]>::to_vec).collect::<Vec<_>>();
    let sheet_rows = rows_of(&sheet);
    for path in &paths {
        let wanted = rows_of(&read_picture(Path::new(path)));
        // Somewhere in the sheet, row below row.
        let is_at =
            |x: usize, y: usize| wanted.iter().enumerate().all(|(i, row)| sheet_rows[y + i][x * 3..].starts_with(row));
        let found = (0..sheet.height() - 30).any(|y| (0..sheet.width() - 40).any(|x| is_at(x, y)));
        assert!(found, "{path} is not in the sheet");
    }
    assert_eq!(sheet.pixels()[..3], [255; 3]);
    // Without --psnr the captions are one line, and the sheet lower.
    succeed(["compare", &paths[0], &paths[1], &paths[2], "--grid", &text(&grid), "--columns", "3"]);
    assert!(read_picture(&grid).height() < sheet.height());
}

#[test]
fn generate_puts_its_pictures_into_a_grid_too() {
    let dir = tempfile::tempdir().unwrap();
    let (output, grid) = (text(dir.path().join("x.png")), text(dir.path().join("sheet.png")));
    let fixed = ["generate", "rocket", "-m", &text(demo()), "-o", &output, "--steps", "1", "--count", "2"];
    let summary = json(fixed.iter().chain(&["--grid", &grid]));
    assert_eq!(summary["grid"], grid);
    assert_eq!(names(dir.path()), ["sheet.png", "x-1.png", "x-2.png"]);
    let sheet = read_picture(Path::new(&grid));
    assert!(sheet.width() > 2 * 128 && sheet.height() > 128, "{sheet:?}");
    let texts = read_png_text(BufReader::new(std::fs::File::open(&grid).unwrap())).unwrap();
    assert!(texts.iter().any(|t| t.keyword == "Description" && t.text == "rocket"), "{texts:?}");
    let message = fail(fixed.iter().chain(&["--grid", &text(dir.path().join("x-2.png"))]));
    assert!(message.contains("would replace the picture"), "{message}");
}

#[test]
fn pictures_are_shown_as_told_and_otherwise_only_on_a_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let paths = [("a.png", 0), ("b.png", 1200)].map(|(name, n)| text(picture(dir.path(), name, n)));
    let message = fail(["compare", &paths[0], "--show"]);
    assert!(message.contains("standard output is not one") && message.contains("--show=kitty"), "{message}");
    let blocks = succeed(["compare", &paths[0], "--show=blocks"]);
    assert_eq!(blocks.matches('▀').count(), 40 * 15);
    assert!(blocks.contains("\x1b[38;2;100;100;100m"), "{blocks:?}");
    // Half blocks one after another, sharp pictures as one sheet.
    assert_eq!(succeed(["compare", &paths[0], &paths[1], "--show=blocks"]).matches('▀').count(), 2 * 40 * 15);
    for (how, begin) in [("kitty", "\x1b_Ga=T"), ("iterm", "\x1b]1337;File="), ("sixel", "\x1bPq\"1;1;")] {
        let shown = succeed(["compare", &paths[0], &paths[1], &format!("--show={how}")]);
        assert_eq!(shown.matches(begin).count(), 1, "{how}");
    }
    let output = text(dir.path().join("x.png"));
    let drawn = ["generate", "rocket", "-m", &text(demo()), "-o", &output, "--steps", "1"];
    let shown = succeed(drawn.iter().chain(&["--show=blocks"]));
    // Narrowed to the 80 columns of an unknown terminal.
    assert_eq!(shown.matches('▀').count(), 80 * 40);
    std::fs::remove_file(&output).unwrap();
    fail(drawn.iter().chain(&["--show"]));
    assert!(!Path::new(&output).exists(), "nothing is drawn before it is known that it can be shown");
    assert_eq!(run(["compare", &paths[0], "--show=blocks", "--json"]).code, Some(2));
}

#[test]
fn doctor_tells_the_machine_and_computes_rightly() {
    let summary = json(["doctor"]);
    let processor = &summary["machine"]["processor"];
    assert!(processor["threads"].as_u64() >= Some(1), "{processor}");
    assert!(processor["instruction_sets"].as_array().unwrap().contains(&processor["chosen"]), "{processor}");
    assert!(summary["machine"]["memory"]["total_bytes"].as_u64() > Some(1 << 26));
    let test = &summary["self_test"];
    assert_eq!(test["right"], true, "{test}");
    assert!(test["f32_gflops"].as_f64() > Some(0.01), "{test}");
    let options: Vec<&str> =
        summary["advice"].as_array().unwrap().iter().map(|a| a["option"].as_str().unwrap()).collect();
    for option in ["--compute", "--attention", "--target", "--quantize-nbits"] {
        assert!(options.iter().any(|o| o.contains(option)), "{options:?}");
    }
    assert_eq!(summary["problems"], serde_json::json!([]));
}

#[test]
fn doctor_heeds_smelt_isa_and_names_what_is_wrong_with_it() {
    let with = |isa: &str| -> common::Ran {
        command(["doctor", "--quick", "--json"]).env("SMELT_ISA", isa).output().unwrap().into()
    };
    let portable: serde_json::Value = serde_json::from_str(&with("portable").stdout).unwrap();
    assert_eq!(portable["machine"]["processor"]["chosen"], "portable");
    assert_eq!(portable["self_test"], serde_json::Value::Null);
    let ran = with("mmx");
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    let wrong: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert!(wrong["problems"][0].as_str().unwrap().contains("SMELT_ISA=mmx"), "{wrong}");
}

#[test]
fn every_shell_gets_its_script() {
    for (shell, wanted) in [
        ("bash", "complete -F _smelt"),
        ("zsh", "#compdef smelt"),
        ("fish", "complete -c smelt"),
        ("powershell", "Register-ArgumentCompleter"),
        ("elvish", "edit:completion:arg-completer[smelt]"),
    ] {
        let script = succeed(["completions", shell]);
        assert!(script.contains(wanted) && script.contains("negative-prompt"), "{shell}");
    }
    assert_eq!(run(["completions", "dos"]).code, Some(2));
}

#[test]
fn what_made_pictures_is_told_for_people_and_for_machines() {
    let dir = tempfile::tempdir().unwrap();
    let plain = text(picture(dir.path(), "plain.png", 0));
    let fox = dir.path().join("fox.png");
    let parameters = "a fox\u{1b}[31m,\nred\nNegative prompt: dog\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 5, \
                      Size: 512x768, Mood: calm, Clip skip: two";
    let image = RgbImage::new(1, 1, vec![0; 3]).unwrap();
    image.write_png(std::fs::File::create(&fox).unwrap(), &[PngText::new("parameters", parameters)]).unwrap();
    let fox = text(fox);

    let said = succeed(["metadata", &fox, &plain]);
    assert_eq!(
        said.split("; looked for").next().unwrap(),
        format!(
            "{fox}: AUTOMATIC1111\n\
             \x20 prompt           a fox\\u{{1b}}[31m,\n\
             \x20                  red\n\
             \x20 negative prompt  dog\n\
             \x20 steps            20\n\
             \x20 sampler          Euler a\n\
             \x20 guidance         7\n\
             \x20 seed             5\n\
             \x20 size             512x768\n\
             \x20 not understood:\n\
             \x20   Mood: calm\n\
             \x20   Clip skip: two  (not a whole number from 0 to 18446744073709551615)\n\
             \n\
             {plain}: no settings: it carries no text"
        )
    );
    let summary = json(["metadata", &fox, &plain]);
    let (of_fox, of_plain) = (&summary["files"][0], &summary["files"][1]);
    assert_eq!((&of_fox["made"]["steps"], &of_fox["made"]["seed"]), (&20.into(), &5.into()));
    assert_eq!(of_fox["made"]["unknown"][0]["key"], "Mood");
    assert_eq!(of_fox["texts"][0]["text"], parameters);
    assert!(of_fox["parameters"].as_str().unwrap().contains("Steps: 20, Sampler: Euler a"));
    assert_eq!((&of_plain["made"], &of_plain["format"]), (&serde_json::Value::Null, &"png".into()));
    assert!(summary["looked_for"].as_array().unwrap().contains(&"invokeai_metadata".into()));
}

#[test]
fn what_is_drawn_here_says_how_it_was_made() {
    let dir = tempfile::tempdir().unwrap();
    let heart = text(dir.path().join("heart.png"));
    succeed(["generate", "a red heart", "--steps", "2", "--seed", "93", "--clip-skip", "1", "-o", &heart]);
    let made = &json(["metadata", &heart])["files"][0]["made"];
    assert_eq!((&made["tool"], &made["prompt"]), (&"smelt".into(), &"a red heart".into()));
    assert_eq!((&made["steps"], &made["seed"], &made["clip_skip"]), (&2.into(), &93.into(), &2.into()));
    assert_eq!(made["size"]["width"], 128);
}

#[test]
fn manual_pages_are_written_for_every_command() {
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("man/man1");
    let summary = json(["man", "-o", &text(&output)]);
    let pages = names(&output);
    assert_eq!(summary["files"].as_array().unwrap().len(), pages.len());
    for page in ["smelt.1", "smelt-generate.1", "smelt-compare.1", "smelt-doctor.1"] {
        assert!(pages.iter().any(|name| name == page), "{pages:?}");
    }
    assert!(succeed(["man"]).starts_with(".ie"), "roff");
}

#[test]
fn what_is_missing_is_answered_with_what_to_type() {
    let ran = run(["generate"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("for example: smelt generate \"a red heart\""), "{}", ran.stderr);
    let dir = tempfile::tempdir().unwrap();
    let output = text(dir.path().join("x.png"));
    let message = fail(["generate", "x", "-m", "no/such-model", "-o", &output]);
    assert!(
        message.contains(
            "no/such-model is not there, and neither is no; a model of the Hub is named hf:no/such-model; else"
        ) && message.contains("smelt convert"),
        "{message}"
    );
    let message = fail(["generate", "x", "-m", &text(dir.path()), "-o", &output]);
    assert!(message.contains("is an empty folder; give a folder of packages (made by smelt convert"), "{message}");
    let message = fail(["generate", "x", "-m", &text(demo()), "-o", &text(dir.path().join("new/x.png"))]);
    assert!(message.contains("mkdir -p"), "{message}");
    let message = fail(["generate", "x", "-m", &text(demo()), "-o", &text(dir.path().join("x.tiff"))]);
    assert!(message.contains("x.png would be"), "{message}");
}
