//! The demo checkpoint, the whole way: to packages, and from them to a picture.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use common::{command, fail, json, names, read_picture, run, succeed, text};
use sd_runtime::image::{Difference, Filter, Fit, Region, RgbImage, Size, read_png_text};
use sd_runtime::pipeline::PictureSettings;
use testkit::demo;

/// The demo, converted once for all tests of this file: where, and what the command said.
static CONVERTED: LazyLock<(PathBuf, serde_json::Value)> = LazyLock::new(|| {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("demo-packages");
    if dir.exists() {
        std::fs::remove_dir_all(&dir).unwrap();
    }
    let summary = json(["convert", &text(demo()), "-o", &text(&dir)]);
    (dir, summary)
});

fn models() -> PathBuf {
    CONVERTED.0.clone()
}

fn generate(model: &Path, output: &Path) -> serde_json::Value {
    generate_with(model, output, &["--steps", "2"])
}

fn generate_with(model: &Path, output: &Path, more: &[&str]) -> serde_json::Value {
    let (model, output) = (text(model), text(output));
    json(["generate", "a red heart", "-m", &model, "-o", &output, "--seed", "3"].iter().chain(more))
}

fn settings(path: &Path) -> PictureSettings {
    let file = BufReader::new(std::fs::File::open(path).unwrap());
    PictureSettings::from_png_texts(&read_png_text(file).unwrap()).unwrap()
}

#[test]
fn a_conversion_leaves_a_directory_that_draws_on_its_own() {
    let summary = &CONVERTED.1;
    assert_eq!(
        names(&models()),
        [
            "Stable_Diffusion_version_sd-emoji_text_encoder.mlpackage",
            "Stable_Diffusion_version_sd-emoji_unet.mlpackage",
            "Stable_Diffusion_version_sd-emoji_vae_decoder.mlpackage",
            "Stable_Diffusion_version_sd-emoji_vae_encoder.mlpackage",
            "merges.txt",
            "scheduler_config.json",
            "smelt.json",
            "special_tokens_map.json",
            "tokenizer.json",
            "tokenizer_config.json",
            "vocab.json",
        ]
    );
    assert_eq!(summary["skipped"], serde_json::json!(["safety-checker"]));
    let packages = summary["packages"].as_array().unwrap();
    assert_eq!(packages.len(), 4);
    assert!(packages.iter().all(|p| p["bytes"].as_u64() > Some(1000) && p["n_operations"].as_u64() > Some(10)));
}

#[test]
fn packages_and_checkpoint_draw_the_same_picture() {
    let dir = tempfile::tempdir().unwrap();
    let (ours, direct) = (dir.path().join("packages.png"), dir.path().join("checkpoint.png"));
    let summary = generate(&models(), &ours);
    assert_eq!(summary["pictures"][0]["width"], 128);
    assert!(summary["seconds_per_step"].as_f64() > Some(0.0));
    generate(&demo(), &direct);
    assert!(std::fs::read(&ours).unwrap() == std::fs::read(&direct).unwrap(), "the pictures differ");
    let settings = settings(&ours);
    assert_eq!((settings.prompt.as_str(), settings.seed, settings.steps), ("a red heart", 3, 2));
    assert_eq!(settings.start, None);
    assert_eq!((settings.model.as_str(), settings.scheduler.as_str()), ("sd-emoji", "pndm"));
}

#[test]
fn low_memory_draws_the_same_pictures_from_packages_and_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let draw = |model: &Path, name: &str, more: &[&str]| {
        let output = dir.path().join(format!("{name}.png"));
        let options = ["--steps", "2", "--count", "2", "--guidance", "4"];
        generate_with(model, &output, &[&options[..], more].concat());
        [1, 2].map(|n| std::fs::read(dir.path().join(format!("{name}-{n}.png"))).unwrap())
    };
    for (name, model) in [("packages", models()), ("checkpoint", demo())] {
        let kept = draw(&model, name, &[]);
        assert!(kept == draw(&model, &format!("{name}-low"), &["--low-memory"]), "the pictures of the {name} differ");
    }
}

#[test]
fn without_a_model_the_one_in_the_box_draws_into_a_new_file() {
    let (cache, work) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let draw = |prompt: &str| {
        let mut command = command(["generate", prompt, "--steps", "1", "--seed", "3"]);
        let output = command.env("SMELT_CACHE", cache.path()).current_dir(work.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    draw("A red heart!");
    draw("A red heart!");
    assert_eq!(names(work.path()), ["a-red-heart-2.png", "a-red-heart.png"]);
    let settings = settings(&work.path().join("a-red-heart.png"));
    assert_eq!((settings.model.as_str(), settings.guidance_scale), ("sd-emoji", 4.0));
    // The same as from the directory in the repository.
    let direct = work.path().join("direct.png");
    let args = ["generate", "A red heart!", "-m", &text(demo()), "-o", &text(&direct)].map(str::to_owned);
    succeed(args.iter().map(String::as_str).chain(["--steps", "1", "--seed", "3", "--guidance", "4"]));
    let read = |name: &str| std::fs::read(work.path().join(name)).unwrap();
    assert!(read("a-red-heart-2.png") == read("direct.png"), "the pictures differ");

    let output = command(["generate", "x"]).env("SMELT_CACHE", work.path().join("direct.png")).output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && message.contains("SMELT_CACHE"), "{message}");
}

#[test]
fn several_pictures_get_numbers_and_differ() {
    let dir = tempfile::tempdir().unwrap();
    let latents = text(dir.path().join("x.safetensors"));
    let more = ["--count", "2", "--latents", &latents, "--scheduler", "dpmpp-2m", "--guidance", "1", "--steps", "1"];
    let (model, output) = (text(models()), text(dir.path().join("x.png")));
    let summary = json(["generate", "rocket", "-m", &model, "-o", &output].iter().chain(&more));
    assert_eq!(names(dir.path()), ["x-1.png", "x-2.png", "x.safetensors"]);
    let tensors = testkit::load_safetensors(&latents);
    assert_eq!(tensors.keys().collect::<Vec<_>>(), ["1.latents", "1.noise", "2.latents", "2.noise"]);
    let noise = tensors["2.noise"].to_f32_vec();
    let power = noise.iter().map(|x| x * x).sum::<f32>() / noise.len() as f32;
    assert!((power - 1.0).abs() < 0.2, "{power}");
    assert_eq!(summary["scheduler"], "dpmpp-2m");
    assert_eq!(settings(&dir.path().join("x-2.png")).image_idx, 1);
    let read = |name: &str| std::fs::read(dir.path().join(name)).unwrap();
    assert_ne!(read("x-1.png"), read("x-2.png"));
}

#[test]
fn a_sketch_keeps_what_its_strength_leaves() {
    let dir = tempfile::tempdir().unwrap();
    let sketch = dir.path().join("sketch.png");
    // A blue square on white, twice as wide as high: its sides are cut off.
    let inside = |i: usize| (40..88).contains(&(i % 128)) && (8..56).contains(&(i / 128));
    let pixels = (0..128 * 64).flat_map(|i| if inside(i) { [40, 80, 230] } else { [255; 3] }).collect();
    let drawn = RgbImage::new(128, 64, pixels).unwrap();
    drawn.write_png(std::fs::File::create(&sketch).unwrap(), &[]).unwrap();
    let drawn = drawn.fit(Size { width: 128, height: 128 }, Fit::Crop, Filter::Lanczos);
    let distance = |path: &Path| Difference::between(&drawn, &read_picture(path)).unwrap().mean;
    let outputs = ["0.15", "0.5", "1"].map(|strength| {
        let output = dir.path().join(format!("{strength}.png"));
        generate_with(&models(), &output, &["--steps", "8", "--image", &text(&sketch), "--strength", strength]);
        output
    });
    let [little, half, all] = [0, 1, 2].map(|i| distance(&outputs[i]));
    assert!(little < 30.0 && 2.0 * little < half && 2.0 * little < all, "{little} {half} {all}");
    let start = settings(&outputs[0]).start.unwrap();
    assert_eq!((start.file.as_str(), start.strength), ("sketch.png", 0.15));
    let direct = dir.path().join("direct.png");
    generate_with(&demo(), &direct, &["--steps", "8", "--image", &text(&sketch)]);
    assert!(std::fs::read(&outputs[1]).unwrap() == std::fs::read(&direct).unwrap(), "the checkpoint draws another");

    let args = |model: PathBuf, image: PathBuf| {
        ["generate", "x", "-m", &text(model), "-o", &text(dir.path().join("x.png")), "--image", &text(image)]
            .map(str::to_owned)
    };
    let message = fail(args(models(), dir.path().join("absent.png")));
    assert!(message.contains("--image") && message.contains("absent.png"), "{message}");
    let message = fail(args(models(), models().join("vocab.json")));
    assert!(message.contains("PNG, JPEG and WebP"), "{message}");
    let without = dir.path().join("without");
    for role in ["text-encoder", "unet", "vae-decoder"] {
        succeed(["convert", &text(demo()), "-o", &text(&without), "--component", role]);
    }
    let message = fail(args(without, sketch.clone()));
    assert!(message.contains("vae_encoder.mlpackage") && message.contains("--component vae-encoder"), "{message}");
}

/// Writes a picture whose pixels are made by column and row.
fn write(path: &Path, size: Size, pixel: impl Fn(usize, usize) -> [u8; 3]) -> RgbImage {
    let pixels = (0..size.n_pixels()).flat_map(|i| pixel(i % size.width, i / size.width)).collect();
    let image = RgbImage::new(size.width, size.height, pixels).unwrap();
    image.write_png(std::fs::File::create(path).unwrap(), &[]).unwrap();
    image
}

/// The columns and rows in which a picture is not the one that it began with.
fn changed(before: &RgbImage, path: &Path) -> Vec<(usize, usize)> {
    let after = read_picture(path);
    assert_eq!(after.size(), before.size());
    let pairs = before.pixels().chunks(3).zip(after.pixels().chunks(3)).enumerate();
    pairs.filter(|(_, (a, b))| a != b).map(|(i, _)| (i % before.width(), i / before.width())).collect()
}

#[test]
fn a_mask_says_what_is_repainted() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let size = Size { width: 128, height: 128 };
    let image = write(&path("i.png"), size, |x, y| [2 * x as u8, 2 * y as u8, 90]);
    let inside = |(x, y): (usize, usize)| (32..80).contains(&x) && (40..72).contains(&y);
    write(&path("m.png"), size, |x, y| if inside((x, y)) { [255; 3] } else { [0; 3] });
    let (picture, mask) = (text(path("i.png")), text(path("m.png")));
    let draw = |name: &str, more: &[&str]| {
        let fixed = ["--steps", "4", "--image", &picture, "--mask", &mask];
        generate_with(&models(), &path(name), &[&fixed[..], more].concat());
        changed(&image, &path(name))
    };
    let whole = draw("whole.png", &[]);
    assert!(!whole.is_empty() && whole.iter().all(|&at| inside(at)), "{}", whole.len());
    let part = draw("part.png", &["--only-masked=16"]);
    assert!(!part.is_empty() && part.iter().all(|&at| inside(at)), "{}", part.len());
    let rest = draw("rest.png", &["--mask-invert", "--strength", "0.7"]);
    assert!(!rest.is_empty() && !rest.iter().any(|&at| inside(at)), "{}", rest.len());
    let soft = draw("soft.png", &["--only-masked", "--mask-blur", "3"]);
    let near = |(x, y): (usize, usize)| (16..96).contains(&x) && (24..88).contains(&y);
    assert!(soft.iter().any(|&at| !inside(at)) && soft.iter().all(|&at| near(at)));
    let start = settings(&path("soft.png")).start.unwrap();
    assert_eq!((start.mask.as_deref(), start.only_masked, start.mask_blur), (Some("m.png"), Some(32), Some(3.0)));
    assert_eq!((start.strength, settings(&path("rest.png")).start.unwrap().mask_inverted), (1.0, true));
}

#[test]
fn a_border_is_drawn_around_a_picture() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let image = write(&path("i.png"), Size { width: 61, height: 64 }, |x, y| [4 * x as u8, 3 * y as u8, 90]);
    let draw = |name: &str, more: &[&str]| {
        let picture = text(path("i.png"));
        let fixed = ["--steps", "2", "--image", &picture, "--outpaint", "30,0,0,16"];
        generate_with(&demo(), &path(name), &[&fixed[..], more].concat());
        read_picture(path(name))
    };
    // The border is widened to what latents make: 61 + 35 = 96.
    let wide = draw("wide.png", &[]);
    assert_eq!(wide.size(), Size { width: 96, height: 80 });
    let own = Region { left: 35, top: 0, right: 96, bottom: 64 };
    assert_eq!(wide.crop(own), image);
    assert_eq!(settings(&path("wide.png")).start.unwrap().border.as_deref(), Some("35,0,0,16"));
    let part = draw("part.png", &["--only-masked=8"]);
    assert_eq!(part.size(), Size { width: 91, height: 80 });
    assert_eq!(part.crop(Region { left: 30, top: 0, right: 91, bottom: 64 }), image);
}

#[test]
fn every_package_agrees_with_its_checkpoint() {
    for submodule in ["text_encoder", "vae_decoder", "vae_encoder", "unet"] {
        let package = models().join(format!("Stable_Diffusion_version_sd-emoji_{submodule}.mlpackage"));
        let summary = json(["verify", &text(package), "--against", &text(demo()), "--min-psnr", "55"]);
        assert_eq!(summary["passed"], true, "{submodule}: {summary}");
    }
}

#[test]
fn existing_packages_are_refused_before_any_work_and_replaced_when_forced() {
    let dir = tempfile::tempdir().unwrap();
    let output = text(dir.path());
    let only = ["convert", &text(demo()), "-o", &output, "--component", "vae-encoder"];
    succeed(only);
    let before = names(dir.path());
    let message = fail(["convert", &text(demo()), "-o", &output]);
    assert!(message.contains("_vae_encoder.mlpackage") && message.contains("--force"), "{message}");
    assert_eq!(names(dir.path()), before, "nothing was begun");
    // Another component joins: the files beside the packages are the same.
    succeed(["convert", &text(demo()), "-o", &output, "--component", "text-encoder"]);
    succeed(only.iter().chain(&["--force"]));
}

#[test]
fn converting_twice_gives_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    succeed(["convert", &text(demo()), "-o", &text(dir.path())]);
    let mut n_files = 0;
    let mut compare = |relative: &Path| {
        let (first, second) = (models().join(relative), dir.path().join(relative));
        assert!(std::fs::read(first).unwrap() == std::fs::read(second).unwrap(), "{}", relative.display());
        n_files += 1;
    };
    for_each_file(dir.path(), Path::new(""), &mut compare);
    assert_eq!(n_files, 4 * 3 + 7);
}

fn for_each_file(root: &Path, below: &Path, f: &mut impl FnMut(&Path)) {
    for name in names(&root.join(below)) {
        let relative = below.join(name);
        if root.join(&relative).is_dir() {
            for_each_file(root, &relative, f);
        } else {
            f(&relative);
        }
    }
}

#[test]
fn what_cannot_be_done_is_said_before_any_work() {
    let dir = tempfile::tempdir().unwrap();
    let output = text(dir.path().join("out"));
    let absent = fail(["convert", &text(demo()), "-o", &output, "--component", "safety-checker"]);
    assert!(absent.contains("has no safety-checker"), "{absent}");
    let no_checkpoint = fail(["convert", &text(dir.path()), "-o", &output]);
    assert!(no_checkpoint.contains("model_index.json"), "{no_checkpoint}");
    assert!(names(dir.path()).is_empty());

    let picture = text(dir.path().join("missing/x.png"));
    let message = fail(["generate", "x", "-m", &text(demo()), "-o", &picture]);
    assert!(message.contains("there is no directory"), "{message}");
    let picture = text(dir.path().join("x.png"));
    let message = fail(["generate", "x", "-m", &text(dir.path()), "-o", &picture]);
    assert!(message.contains("is an empty folder; give a folder of packages"), "{message}");
    let message = fail(["generate", "x", "-m", &text(demo()), "-o", &picture, "--steps", "0"]);
    assert!(message.contains("0 steps asked for"), "{message}");
    assert!(names(dir.path()).is_empty());
    for args in [&["--count", "0"][..], &["--scheduler", "magic"], &["--precision", "float8"]] {
        let fixed = ["generate", "x", "-m", "m", "-o", "x.png"];
        assert_eq!(run(fixed.iter().chain(args)).code, Some(2), "{args:?}");
    }
}

#[test]
fn what_an_engine_would_not_heed_is_refused_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let (package, out) = (text(dir.path().join("x.mlpackage")), text(dir.path().join("out")));
    let run = ["run", &package, "--inputs", "in", "--outputs", &out];
    let generate = ["generate", "x", "-m", &package, "-o", &out];
    let verify = ["verify", &package, "--against", &package];
    let reference = ["--engine", "reference"];
    for command in [&run[..], &generate, &verify] {
        let message = fail([command, &reference, &["--compute", "bf16"]].concat());
        assert!(message.contains("--compute bf16 is for --engine cpu only"), "{message}");
        let message = fail([command, &reference, &["--threads", "1"]].concat());
        assert!(message.contains("RAYON_NUM_THREADS=N"), "{message}");
        // In f32 the reference engine computes anyway: the next fault is that there is no package.
        let message = fail([command, &reference, &["--compute", "f32"]].concat());
        assert!(!message.contains("--compute"), "{message}");
    }
    let message = fail([&run[..], &["--rounding", "declared", "--compute", "bf16x3"]].concat());
    assert!(message.contains("leave --rounding out, or them"), "{message}");
    let message = fail([&run[..], &reference, &["--weights", "expanded"]].concat());
    assert!(message.contains("--weights expanded is for --engine cpu only"), "{message}");
    let message = fail([&["bench", &package][..], &reference].concat());
    assert!(message.contains("smelt run --engine reference says how long"), "{message}");
}

#[test]
fn a_plan_tells_what_it_does_once_for_a_text() {
    let plan = |role: &str| {
        let package = models().join(format!("Stable_Diffusion_version_sd-emoji_{role}.mlpackage"));
        succeed(["inspect", "--plan", &text(package)])
    };
    let unet = plan("unet");
    let once: Vec<&str> = unet.lines().filter(|line| line.contains(" once product ")).collect();
    assert!(unet.contains("steps are steady") && once.len() >= 2, "{unet}");
    assert!(once.iter().all(|line| line.contains("attn2")), "{once:?}");
    assert!(!plan("vae_decoder").contains("steady"));
}
