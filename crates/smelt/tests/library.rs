//! The library as another program uses it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::ops::ControlFlow;

use smelt::image::RgbImage;
use smelt::{Conversion, Error, Event, PipelineOptions, Request, Role, Seeds, Stop, Unwatched, Variation};

#[path = "../examples/draw.rs"]
#[allow(dead_code, reason = "its `main` is for whoever runs the example")]
mod example;

fn request(seed: u64) -> Request {
    Request { seed, steps: 4, guidance: 4.0, ..Request::new("a red heart") }
}

#[test]
fn a_short_program_converts_compresses_and_draws() {
    let dir = tempfile::tempdir().unwrap();
    example::draw(&testkit::demo(), dir.path(), "a red heart").unwrap();
    let picture = std::fs::File::open(dir.path().join("picture.png")).unwrap();
    let picture = RgbImage::read(std::io::BufReader::new(picture)).unwrap();
    assert_eq!((picture.width(), picture.height()), (128, 128));
    let unet = |folder: &str| {
        let packages = smelt::packages(&dir.path().join(folder)).unwrap();
        let unet = packages.iter().find(|path| path.to_str().unwrap().ends_with("_unet.mlpackage")).unwrap();
        std::fs::metadata(unet.join("Data/com.apple.CoreML/weights/weight.bin")).unwrap().len()
    };
    assert!(unet("small") * 2 < unet("packages"), "{} of {}", unet("small"), unet("packages"));
}

#[test]
fn pipelines_of_one_process_draw_side_by_side_what_each_draws_alone() {
    let model = smelt::open(testkit::demo()).unwrap();
    let draw = |seed: u64| {
        let mut pipeline = model.pipeline(&PipelineOptions::default()).unwrap();
        pipeline.draw(&request(seed), &mut Unwatched).unwrap().pictures.remove(0).image
    };
    let alone = [draw(1), draw(2)];
    assert_ne!(alone[0], alone[1]);
    let together = std::thread::scope(|scope| {
        let (draw, threads) = (&draw, [1, 2]);
        threads.map(|seed| scope.spawn(move || draw(seed))).map(|thread| thread.join().unwrap())
    });
    assert_eq!(together, alone);
}

#[test]
fn a_drawing_is_stopped_from_another_thread_and_the_pipeline_draws_on() {
    let mut pipeline = smelt::open(testkit::demo()).unwrap().pipeline(&PipelineOptions::default()).unwrap();
    let whole = pipeline.draw(&request(1), &mut Unwatched).unwrap().pictures.remove(0).image;
    let stop = Stop::new();
    let stopped = std::thread::scope(|scope| {
        let asks = stop.clone();
        scope.spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(20));
            asks.set();
        });
        pipeline.draw_until(&Request { steps: 500, ..request(1) }, &stop, &mut Unwatched)
    });
    let error = stopped.unwrap_err().to_string();
    assert!(error.contains("stopped"), "{error}");
    assert_eq!(pipeline.draw(&request(1), &mut Unwatched).unwrap().pictures.remove(0).image, whole);
}

#[test]
fn a_watcher_hears_of_the_work_in_order_and_stops_it() {
    let model = smelt::open(testkit::demo()).unwrap();
    assert_eq!(model.roles().unwrap(), [Role::TextEncoder, Role::UNet, Role::VaeDecoder, Role::VaeEncoder]);
    let dir = tempfile::tempdir().unwrap();
    let conversion = Conversion { roles: vec![Role::VaeDecoder], ..Conversion::default() };
    let mut heard = Vec::new();
    let mut watch = |event: Event<'_>| {
        heard.push(match event {
            Event::Begin(what) => format!("begin {what}"),
            Event::WriteBegins => "write".into(),
            Event::WriteEnds => "written".into(),
            Event::Converted(package) => format!("{} is there", package.component),
            _ => return ControlFlow::Continue(()),
        });
        ControlFlow::Continue(())
    };
    model.convert(dir.path().join("a"), &conversion, &mut watch).unwrap();
    assert_eq!(heard[..4], ["begin vae-decoder", "write", "written", "vae-decoder is there"], "{heard:?}");
    assert_eq!(heard.iter().filter(|h| *h == "write").count(), heard.iter().filter(|h| *h == "written").count());

    let mut stop = |event: Event<'_>| match event {
        Event::Progress(_) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    model.convert(dir.path().join("b"), &conversion, &mut stop).unwrap_err();
    assert!(smelt::packages(&dir.path().join("b")).map_or(true, |found| found.is_empty()));
}

#[test]
fn refusals_come_before_any_work() {
    let model = smelt::open(testkit::demo()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let conversion = Conversion { quantize_nbits: Some(5), ..Conversion::default() };
    let error = model.plan_conversion(dir.path().join("x"), &conversion).unwrap_err();
    assert!(matches!(&error, Error::Refused(words) if words.contains("palettes have 1, 2, 3")), "{error}");
    assert!(!dir.path().join("x").exists());
    assert!(smelt::open(dir.path()).is_err());
}

#[test]
fn palettes_of_a_conversion_are_for_what_apples_converter_compresses_and_the_rest_is_named() {
    let Some(golden) = testkit::golden() else { return };
    let dir = tempfile::tempdir().unwrap();
    let (plain, small) = (dir.path().join("plain"), dir.path().join("small"));
    let roles = vec![Role::TextEncoder, Role::TextEncoder3, Role::Mmdit];
    let convert = |to: &std::path::Path, quantize_nbits| {
        let mut warnings = Vec::new();
        let mut watch = |event: Event<'_>| {
            if let Event::Warning(words) = event {
                warnings.push(words.to_owned());
            }
            ControlFlow::Continue(())
        };
        let conversion = Conversion { roles: roles.clone(), quantize_nbits, ..Conversion::default() };
        let model = smelt::open(golden.join("checkpoints/tiny-sd3")).unwrap();
        let report = model.convert(to, &conversion, &mut watch).unwrap();
        (report.packages.iter().map(|package| package.bytes).collect::<Vec<_>>(), warnings)
    };
    let (before, unasked) = convert(&plain, None);
    let (after, warnings) = convert(&small, Some(4));
    // Most of the tiny encoder is its table of embeddings, which stays as it is.
    assert!(after[0] < before[0], "the text encoder: {after:?} of {before:?}");
    assert_eq!(after[1..], before[1..], "the third text encoder and the transformer");
    let told = |warnings: &[String]| warnings.iter().any(|w| w.contains("leaves text-encoder-3, mmdit as they are"));
    assert!(told(&warnings) && !told(&unasked), "{warnings:?}");
    // A folder is compressed as a whole, and takes them too.
    let compressed = dir.path().join("compressed");
    let packages = smelt::open(&plain).unwrap();
    packages.compress(&compressed, &smelt::Compression::palettes(4), &mut Unwatched).unwrap();
    for package in smelt::packages(&plain).unwrap() {
        let weights = |folder: &std::path::Path| {
            let file = folder.join(package.file_name().unwrap()).join("Data/com.apple.CoreML/weights/weight.bin");
            std::fs::metadata(file).unwrap().len()
        };
        assert!(weights(&compressed) < weights(&plain), "{}", package.display());
    }
}

#[test]
fn the_settings_of_each_picture_draw_it_again_alone() {
    let mut pipeline = smelt::open(testkit::demo()).unwrap().pipeline(&PipelineOptions::default()).unwrap();
    let mut draw = |request: &Request| pipeline.draw(request, &mut Unwatched).unwrap().pictures;
    let ancestral = Request { scheduler: Some("euler-a".parse().unwrap()), ..request(6) };
    let several = Request { count: 2, seeds: Seeds::Each, ..ancestral.clone() };
    let varied = Variation { seed: 30, strength: 0.25 };
    for (several, seeds) in [
        (several.clone(), [(6, None), (7, None)]),
        (Request { variation: Some(varied), ..several }, [(6, Some(30)), (6, Some(31))]),
    ] {
        for (picture, (seed, other)) in draw(&several).iter().zip(seeds) {
            let said = &picture.settings;
            assert_eq!((said.seed, said.variation.map(|other| other.seed), said.image_idx), (seed, other, 0));
            let alone = Request { seed: said.seed, variation: said.variation, ..ancestral.clone() };
            let again = draw(&alone).remove(0);
            assert!(again.image == picture.image && again.settings == *said, "{seed} {other:?}");
        }
    }
}

#[test]
fn a_watcher_has_each_picture_before_the_next_is_begun_and_asks_for_previews() {
    let mut pipeline = smelt::open(testkit::demo()).unwrap().pipeline(&PipelineOptions::default()).unwrap();
    let several = Request { count: 3, scheduler: Some("euler".parse().unwrap()), ..request(6) };
    let whole = pipeline.draw(&several, &mut Unwatched).unwrap().pictures;
    let (mut heard, mut given) = (Vec::new(), Vec::new());
    let mut watch = |event: Event<'_>| {
        match event {
            Event::Step(step) => {
                let preview = step.preview().unwrap();
                assert_eq!((preview.width() * 8, preview.height() * 8), (step.size().width, step.size().height));
                heard.push(format!("{}.{}{}", step.picture, step.step, if step.is_last() { "!" } else { "" }));
                // Whoever stops keeps what is finished.
                if (step.picture, step.step) == (2, 1) {
                    return ControlFlow::Break(());
                }
            }
            Event::Picture { idx, n_pictures: 3, picture } => {
                heard.push(format!("picture {idx}"));
                given.push(picture.clone());
            }
            _ => {}
        }
        ControlFlow::Continue(())
    };
    let error = pipeline.draw(&several, &mut watch).unwrap_err().to_string();
    assert!(error.contains("stopped"), "{error}");
    let want = ["0.1", "0.2", "0.3", "0.4!", "picture 0", "1.1", "1.2", "1.3", "1.4!", "picture 1", "2.1"];
    assert_eq!(heard, want);
    assert!(given.iter().zip(&whole).all(|(a, b)| a.image == b.image && a.settings == b.settings));
}

#[test]
fn a_request_is_checked_without_a_model_run() {
    let pipeline = smelt::open(testkit::demo()).unwrap().pipeline(&PipelineOptions::default()).unwrap();
    pipeline.check(&request(1)).unwrap();
    let wrong = Request { scheduler: Some("flow-euler".parse().unwrap()), ..request(1) };
    assert!(pipeline.check(&wrong).unwrap_err().chain().contains("flow matching"));
}
