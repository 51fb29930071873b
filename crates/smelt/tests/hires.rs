//! A second, larger pass, with the model in the box.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use smelt::image::RgbImage;
use smelt::{Hires, PictureSize, Pipeline, PipelineOptions, Request, Seeds, Sizes, Start, Unwatched};

fn pipeline() -> Pipeline {
    let size: PictureSize = "64x48".parse().unwrap();
    let sizes = Sizes { size: vec![size], ..Sizes::default() };
    smelt::open(testkit::demo()).unwrap().pipeline(&PipelineOptions { sizes, ..PipelineOptions::default() }).unwrap()
}

fn request(hires: Option<Hires>) -> Request {
    Request { seed: 7, steps: 4, guidance: 4.0, hires, ..Request::new("a red heart") }
}

fn twice(by: &str) -> Hires {
    Hires { by: by.parse().unwrap(), strength: 0.5, ..Hires::new("2".parse().unwrap()) }
}

#[test]
fn pictures_are_larger_and_their_settings_say_how() {
    let mut pipeline = pipeline();
    let mut draw = |hires| pipeline.draw(&request(hires), &mut Unwatched).unwrap().pictures.remove(0);
    let plain = draw(None);
    let ways = ["latent", "latent-nearest-exact", "lanczos"].map(|by| draw(Some(twice(by))));
    for (picture, by) in ways.iter().zip(["latent", "latent-nearest-exact", "lanczos"]) {
        assert_eq!((picture.image.width(), picture.image.height()), (128, 96), "{by}");
        assert_eq!(picture.latents.shape(), [1, 4, 12, 16]);
        // What it began with is the first pass's, so that --noise takes it.
        assert_eq!(picture.noise, plain.noise);
        let said = &picture.settings;
        assert_eq!((said.width, said.height), (64, 48));
        let hires = said.hires.as_ref().unwrap();
        assert_eq!((hires.width, hires.height, hires.by.as_str(), hires.strength, hires.steps), (128, 96, by, 0.5, 4));
    }
    assert!(ways[0].image != ways[1].image && ways[1].image != ways[2].image);
    let text = ways[2].settings.to_png_texts().remove(0).text;
    assert!(text.contains("Size: 64x48") && text.contains("Hires resize: 128x96"), "{text}");
    assert!(text.contains("Hires upscaler: Lanczos") && text.contains("Denoising strength: 0.5"), "{text}");
    // The first pass is as it was, and a pipeline draws two passes as often as it is asked to.
    assert_eq!(draw(None).image, plain.image);
    assert_eq!(draw(Some(twice("latent"))).image, ways[0].image);
}

#[test]
fn each_picture_of_several_is_its_own_and_other_proportions_are_cut() {
    let mut pipeline = pipeline();
    let mut draw = |request: &Request| pipeline.draw(request, &mut Unwatched).unwrap().pictures;
    for by in ["latent-bicubic", "lanczos"] {
        let hires = Hires { size: "88x72".parse().unwrap(), steps: Some(3), ..twice(by) };
        let one = Request { scheduler: Some("euler-a".parse().unwrap()), ..request(Some(hires)) };
        let several = draw(&Request { count: 2, seeds: Seeds::Each, ..one.clone() });
        for (seed, picture) in (7..).zip(&several) {
            assert_eq!((picture.image.width(), picture.image.height()), (88, 72));
            assert_eq!(draw(&Request { seed, ..one.clone() })[0].image, picture.image, "{by} {seed}");
        }
    }
}

#[test]
fn the_second_pass_may_be_far_larger_than_the_model_was_made_for() {
    let warnings = |pixels: &str, hires: Option<Hires>| {
        let sizes = Sizes { size: vec![pixels.parse().unwrap()], ..Sizes::default() };
        let options = PipelineOptions { sizes, ..PipelineOptions::default() };
        let mut pipeline = smelt::open(testkit::demo()).unwrap().pipeline(&options).unwrap();
        let request = Request { steps: 2, ..request(hires) };
        let drawn = pipeline.draw(&request, &mut Unwatched).unwrap();
        let about_size = |warning: &&String| warning.contains("draws badly");
        pipeline.warnings().iter().chain(&drawn.warnings).filter(about_size).count()
    };
    assert_eq!(warnings("128x128", Some(twice("latent"))), 0);
    // What composes at such a size is warned of.
    assert_eq!(warnings("256x256", None), 1);
}

#[test]
fn what_a_second_pass_does_not_go_with_is_refused_before_the_first() {
    let mut pipeline = pipeline();
    let hires = twice("latent");
    let start = Some(Start::new(RgbImage::new(2, 2, vec![0; 12]).unwrap(), "a.png"));
    for (request, fact) in [
        (Request { start, ..request(Some(hires)) }, "--hires does not go with --image"),
        (Request { denoising_end: Some(0.5), ..request(Some(hires)) }, "an early end"),
        (request(Some(Hires { size: "64x48".parse().unwrap(), ..hires })), "draws larger ones"),
        (request(Some(Hires { size: "100x96".parse().unwrap(), ..hires })), "not a multiple of 8"),
        (request(Some(Hires { strength: 0.0, ..hires })), "strength 0 is not above 0"),
        (Request { sigmas: Some(vec![9.0, 3.0]), ..request(Some(Hires { steps: Some(3), ..hires })) }, "--hires-steps"),
    ] {
        let mut n_steps = 0;
        let mut watch = |event: smelt::Event<'_>| {
            n_steps += usize::from(matches!(event, smelt::Event::Progress(_)));
            std::ops::ControlFlow::Continue(())
        };
        let error = pipeline.draw(&request, &mut watch).unwrap_err().chain();
        assert!(error.contains(fact), "{error}");
        assert_eq!(n_steps, 0, "{error}");
    }
}
