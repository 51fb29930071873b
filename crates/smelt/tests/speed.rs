//! What is not computed, and what a model recommends, as another program sees it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use smelt::image::Difference;
use smelt::{AttentionLayout, Conversion, PipelineOptions, Recommended, Request, RequestFile, Role, Unwatched};

fn convert(to: &Path, attention: AttentionLayout, recommended: Recommended) {
    let conversion = Conversion {
        roles: vec![Role::TextEncoder, Role::UNet, Role::VaeDecoder],
        attention: Some(attention),
        recommended,
        ..Conversion::default()
    };
    smelt::open(testkit::demo()).unwrap().convert(to, &conversion, &mut Unwatched).unwrap();
}

fn draw(model: &Path, request: &Request) -> smelt::Drawing {
    let options = PipelineOptions { steps: request.steps, ..PipelineOptions::default() };
    smelt::open(model.to_owned()).unwrap().pipeline(&options).unwrap().draw(request, &mut Unwatched).unwrap()
}

#[test]
fn packages_for_two_samples_draw_without_guidance_one_at_a_time() {
    let unguided = Request { steps: 3, guidance: 1.0, seed: 5, ..Request::new("rocket") };
    let limited = Request { guidance: 4.0, guidance_interval: Some("0.3:0.7".parse().unwrap()), ..unguided.clone() };
    for attention in [AttentionLayout::SplitEinsum, AttentionLayout::SplitEinsumV2, AttentionLayout::Original] {
        let dir = tempfile::tempdir().unwrap();
        let packages = dir.path().join("packages");
        convert(&packages, attention, Recommended::default());
        for request in [&unguided, &limited] {
            let (of_packages, of_checkpoint) = (draw(&packages, request), draw(&testkit::demo(), request));
            assert!(of_packages.warnings.is_empty(), "{attention:?}: {:?}", of_packages.warnings);
            let [a, b] = [&of_packages, &of_checkpoint].map(|drawing| &drawing.pictures[0].image);
            let apart = Difference::between(a, b).unwrap();
            assert!(apart.psnr_db > 45.0, "{attention:?}: {apart:?}");
        }
    }
}

#[test]
fn a_fast_run_says_so_in_its_settings_and_stays_near() {
    let full = Request { steps: 20, guidance: 4.0, seed: 3, ..Request::new("rocket") };
    let mut fast = Request { scheduler: Some("dpmpp-2m".parse().unwrap()), ..full.clone() };
    let full = Request { scheduler: fast.scheduler, ..full };
    fast.make_fast();
    let [whole, fast] = [&full, &fast].map(|request| draw(&testkit::demo(), request).pictures.remove(0));
    assert_eq!(fast.settings.forecast.as_deref(), Some("line"));
    assert_eq!(fast.settings.guidance_interval.as_deref(), Some("0.2:1"));
    let apart = Difference::between(&whole.image, &fast.image).unwrap();
    assert!(apart.psnr_db > 15.0 && apart.psnr_db.is_finite(), "{apart:?}");
}

#[test]
fn packages_carry_what_suits_their_model() {
    let dir = tempfile::tempdir().unwrap();
    let mut recommended = Recommended::default();
    recommended.set("steps", "2").unwrap();
    recommended.set("scheduler", "lcm").unwrap();
    let packages = dir.path().join("packages");
    convert(&packages, AttentionLayout::SplitEinsum, recommended.clone());
    let opened = smelt::open(packages.clone()).unwrap();
    assert_eq!(opened.recommended().unwrap(), Some(recommended));
    assert_eq!(smelt::open(testkit::demo()).unwrap().recommended().unwrap(), None);
    let settings = dir.path().join("settings.json");
    std::fs::write(&settings, r#"{"prompt": "rocket", "guidance": 1}"#).unwrap();
    let mut request = Request::default();
    opened.recommended().unwrap().unwrap().apply(&mut request);
    RequestFile::read(&settings).unwrap().apply(&mut request).unwrap();
    let picture = draw(&packages, &request).pictures.remove(0);
    assert_eq!((picture.settings.steps, picture.settings.scheduler.as_str()), (2, "lcm"));
    assert_eq!((picture.settings.guidance_scale, picture.settings.prompt.as_str()), (1.0, "rocket"));
}
