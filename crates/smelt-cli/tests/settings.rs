//! Settings of a picture: what is usual, what a model recommends, what a file says, what was typed.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{fail, run, succeed, text};

#[test]
fn a_model_recommends_a_file_says_and_options_decide() {
    let dir = tempfile::tempdir().unwrap();
    let (models, picture) = (text(dir.path().join("models")), text(dir.path().join("a.png")));
    let components = ["--component", "text-encoder,unet,vae-decoder"];
    let recommend = ["--recommend", "steps=3", "--recommend", "guidance=1", "--recommend", "scheduler=euler"];
    let demo = text(testkit::demo());
    succeed(["convert", &demo, "-o", &models].into_iter().chain(components).chain(recommend));
    let settings = text(dir.path().join("settings.json"));
    std::fs::write(&settings, r#"{"prompt": "rocket", "steps": 2, "seed": 7}"#).unwrap();
    let drawn = |more: &[&str]| {
        let fixed = ["generate", "-m", &models, "-o", &picture, "--settings", &settings];
        succeed(fixed.into_iter().chain(more.iter().copied()));
        let file = std::io::BufReader::new(std::fs::File::open(&picture).unwrap());
        let texts = sd_runtime::image::read_png_text(file).unwrap();
        sd_runtime::pipeline::PictureSettings::from_png_texts(&texts).unwrap()
    };
    let own = drawn(&[]);
    assert_eq!((own.prompt.as_str(), own.steps, own.seed), ("rocket", 2, 7));
    assert_eq!((own.guidance_scale, own.scheduler.as_str(), own.forecast), (1.0, "euler", None));
    let typed = drawn(&["red heart", "--steps", "5", "--guidance", "4", "--fast", "--seed", "1"]);
    assert_eq!((typed.prompt.as_str(), typed.steps, typed.seed), ("red heart", 5, 1));
    assert_eq!((typed.forecast.as_deref(), typed.guidance_interval.as_deref()), (Some("line"), Some("0.2:1")));
    let without = run(["generate", "-m", &models, "-o", &picture]);
    assert_eq!(without.code, Some(2), "{}", without.stderr);
    assert!(without.stderr.contains("PROMPT"), "{}", without.stderr);
    let message = fail(["convert", &demo, "-o", &models, "--force", "--recommend", "step=3"]);
    assert!(message.contains("nothing is called step"), "{message}");
}
