//! The small files of a checkpoint, the whole way: what they say decides the picture, and what cannot be followed is said.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::{Path, PathBuf};

use common::{fail, run, succeed, text};
use sd_runtime::image::RgbImage;
use serde_json::{Value, json};
use testkit::demo;

/// A copy of a checkpoint.
fn copy(from: &Path, to: &Path) -> PathBuf {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, target).unwrap();
        }
    }
    to.to_owned()
}

fn edit(path: &Path, change: impl FnOnce(&mut Value)) {
    let text = std::fs::read_to_string(path).unwrap_or_else(|_| "{}".to_owned());
    let mut json = serde_json::from_str(&text).unwrap();
    change(&mut json);
    std::fs::write(path, json.to_string()).unwrap();
}

/// The picture's bytes.
fn draw(model: &Path, prompt: &str, more: &[&str]) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let picture = text(dir.path().join("x.png"));
    let steps = if more.contains(&"--steps") { &[][..] } else { &["--steps", "1"] };
    succeed(["generate", prompt, "-m", &text(model), "-o", &picture].iter().chain(steps).chain(more));
    // The settings in the file name the model.
    image_of(&std::fs::read(&picture).unwrap())
}

fn image_of(png: &[u8]) -> Vec<u8> {
    let image = sd_runtime::image::RgbImage::read(std::io::Cursor::new(png)).unwrap();
    image.pixels().to_vec()
}

/// Files of a tokenizer as transformers before 4.34 wrote them.
fn make_legacy(tokenizer: &Path, config_pad: &str, map_pad: &str) {
    let token = |content: &str| json!({"content": content, "lstrip": false, "normalized": true, "rstrip": false, "single_word": false});
    let typed = |content: &str| {
        let mut token = token(content);
        token["__type"] = "AddedToken".into();
        token
    };
    let (start, end) = ("<|startoftext|>", "<|endoftext|>");
    let config = json!({
        "add_prefix_space": false, "bos_token": typed(start), "do_lower_case": true, "eos_token": typed(end),
        "errors": "replace", "model_max_length": 77, "pad_token": config_pad, "tokenizer_class": "CLIPTokenizer",
        "special_tokens_map_file": "./special_tokens_map.json", "unk_token": typed(end),
    });
    let map =
        json!({"bos_token": token(start), "eos_token": token(end), "pad_token": map_pad, "unk_token": token(end)});
    std::fs::write(tokenizer.join("tokenizer_config.json"), config.to_string()).unwrap();
    std::fs::write(tokenizer.join("special_tokens_map.json"), map.to_string()).unwrap();
}

#[test]
fn official_files_of_sd2_draw_as_if_both_said_the_same() {
    let Some(golden) = testkit::golden() else { return };
    let dir = tempfile::tempdir().unwrap();
    let model = copy(&golden.join("checkpoints/tiny-sd21"), &dir.path().join("model"));
    let picture = |config_pad, map_pad| {
        make_legacy(&model.join("tokenizer"), config_pad, map_pad);
        draw(&model, "a cat!", &[])
    };
    let (official, bang, end) =
        (picture("<|endoftext|>", "!"), picture("!", "!"), picture("<|endoftext|>", "<|endoftext|>"));
    assert!(official == bang, "the pictures differ");
    assert!(official != end, "padding changes nothing here");
}

#[test]
fn a_scheduler_asked_for_by_name_stands_in_for_one_that_is_not_implemented() {
    let dir = tempfile::tempdir().unwrap();
    let model = copy(&demo(), &dir.path().join("model"));
    let file = model.join("scheduler/scheduler_config.json");
    edit(&file, |json| {
        json["_class_name"] = "DPMSolverMultistepScheduler".into();
        json["use_karras_sigmas"] = true.into();
    });
    let picture = |more: &[&str]| draw(&model, "a cat", &[&["--steps", "3"], more].concat());
    let plain = picture(&["--scheduler", "dpmpp-2m"]);
    edit(&file, |json| json["algorithm_type"] = "sde-dpmsolver++".into());
    assert!(picture(&["--scheduler", "dpmpp-2m"]) == plain, "the algorithm that was asked for was not taken");
    assert!(picture(&[]) != plain, "the file's own algorithm was not taken");
    assert!(picture(&["--scheduler", "DPM++ 2M SDE"]) == picture(&[]), "the names are of two algorithms");
    let args = ["generate", "a cat", "-m", &text(&model), "-o", &text(dir.path().join("x.png")), "--steps", "1"];
    for (class, facts) in [
        (json!("ScoreSdeVeScheduler"), ["ScoreSdeVeScheduler", "no scheduler here draws with them"]),
        (json!("CosineDPMSolverMultistepScheduler"), ["by name", "dpmpp-2m is the nearest"]),
        (Value::Null, ["no _class_name", "--scheduler"]),
    ] {
        edit(&file, |json| json["_class_name"] = class);
        let message = fail(args);
        assert!(facts.iter().all(|fact| message.contains(fact)), "{message}");
    }
}

#[test]
fn an_inpainting_model_repaints_and_says_what_it_needs() {
    let Some(golden) = testkit::golden() else { return };
    let dir = tempfile::tempdir().unwrap();
    let model = copy(&golden.join("checkpoints/tiny-sd15"), &dir.path().join("model"));
    std::fs::remove_dir_all(model.join("unet")).unwrap();
    copy(&golden.join("checkpoints/tiny-sd15-inpaint/unet"), &model.join("unet"));
    let model = text(model);
    let (packages, picture) = (text(dir.path().join("packages")), text(dir.path().join("x.png")));
    let converted = run(["convert", &model, "-o", &packages]);
    assert_eq!(converted.code, Some(0), "{}", converted.stderr);
    assert!(!converted.stderr.contains("generate will refuse"), "{}", converted.stderr);
    let image = text(dir.path().join("i.png"));
    let pixels = RgbImage::new(120, 128, vec![200; 3 * 120 * 128]).unwrap();
    pixels.write_png(std::fs::File::create(&image).unwrap(), &[]).unwrap();
    for from in [&model, &packages] {
        let args = ["generate", "x", "-m", from, "-o", &picture, "--steps", "1"];
        let message = fail(args);
        assert!(message.contains("is an inpainting model") && message.contains("--mask"), "{message}");
        let message = fail(args.iter().chain(&["--image", &image]));
        assert!(message.contains("give a picture and a mask"), "{message}");
        succeed(args.iter().chain(&["--image", &image, "--outpaint", "8,0,0,0"]));
        std::fs::remove_file(&picture).unwrap();
    }
}
