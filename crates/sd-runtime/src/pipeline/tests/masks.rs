//! Facts about pictures of which only a part is repainted, and about models that see a picture beside the latents.

use super::*;
use crate::image::{Fit, GreyImage, Size};

const N: usize = LATENT[0] * LATENT[1] * LATENT[2];

fn with_encoder(unet: Fake) -> DiffusionPipeline {
    DiffusionPipeline::new(fake::with(Role::VaeEncoder, fake::vae_encoder(), unet), fake::config()).unwrap()
}

/// White in the four columns on the right.
fn mask() -> GreyImage {
    let size = sketch().size();
    let pixels = (0..size.n_pixels()).map(|i| if i % size.width < 6 { 0 } else { 255 }).collect();
    GreyImage::new(size, pixels).unwrap()
}

/// The mask of the latents: each takes the pixel at its upper left.
fn latent_mask() -> Vec<f32> {
    [0.0, 0.0, 0.0, 1.0, 1.0].repeat(LATENT[1])
}

fn masked(strength: f64) -> GenerateOptions {
    let repaint = Some(Repaint { mask: mask(), only_masked: None });
    let start = StartingImage { repaint, ..StartingImage::new(sketch(), strength) };
    GenerateOptions { start: Some(start), steps: 6, ..options() }
}

/// Latents that the fake encoder makes of planes, drawn with that noise.
fn encoded(planes: &[f32], drawn: &[f32]) -> Vec<f32> {
    let [_, h, w] = LATENT;
    let half = |x: f32| host_tensor::f16_from_f64(f64::from(x)).to_f32();
    let at = |i: usize| half(planes[((i / (h * w) % 3) * 2 * h + i / w % h * 2) * 2 * w + i % w * 2]);
    (0..N).map(|i| (at(i) + (-0.5 * at(i)).exp() * drawn[i] - 0.25) * 16.0).collect()
}

#[test]
fn what_is_not_masked_stays() {
    for strength in [0.5, 1.0] {
        let options = GenerateOptions { image_count: 2, ..masked(strength) };
        let run = with_encoder(fake::unet(2, DType::F32)).generate(&options, &Stop::never(), &mut go).unwrap();
        let mut source = NumpyRandom::new(options.seed as u32);
        source.normals_f16(2 * N);
        let clean = encoded(&sketch().to_planes(), &source.normals_f16(N));
        for image in &run.images {
            let latents = image.latents.to_f32_vec();
            for (i, (got, want)) in latents.iter().zip(&clean).enumerate() {
                let is_kept = latent_mask()[i % 15] == 0.0;
                assert_eq!((got - want).abs() < 1e-4, is_kept, "{i}: {got} {want}");
            }
            let (drawn, own) = (image.image.pixels(), sketch());
            for (i, (drawn, own)) in drawn.chunks(3).zip(own.pixels().chunks(3)).enumerate() {
                assert!(drawn == own || i % 10 >= 6, "pixel {i}");
            }
        }
        assert_ne!(run.images[0].latents.to_f32_vec(), run.images[1].latents.to_f32_vec());
    }
}

#[test]
fn full_strength_begins_with_noise_alone() {
    let first = |strength| {
        let unet = fake::unet(2, DType::F32);
        let calls = unet.calls.clone();
        with_encoder(unet).generate(&masked(strength), &Stop::never(), &mut go).unwrap();
        calls.lock().unwrap()[0]["sample"].to_f32_vec()[..N].to_vec()
    };
    let noise = NumpyRandom::new(93).normals_f16(N);
    assert_eq!(first(1.0), noise);
    assert_ne!(first(0.9), noise);
}

#[test]
fn an_inpainting_model_sees_the_mask_and_the_rest_of_the_picture() {
    let unet = fake::wide_unet(2, 9);
    let calls = unet.calls.clone();
    let mut pipeline = with_encoder(unet);
    assert_eq!(pipeline.takes(), Takes::Masked);
    assert_eq!(pipeline.latent_shape(), [1, 4, 3, 5]);
    pipeline.generate(&masked(1.0), &Stop::never(), &mut go).unwrap();
    let mut source = NumpyRandom::new(93);
    source.normals_f16(N);
    let planes = mask().to_mask().masked_planes(&sketch()).unwrap();
    let want = [latent_mask(), encoded(&planes, &source.normals_f16(N))].concat();
    for call in calls.lock().unwrap().iter() {
        let sample = call["sample"].to_f32_vec();
        for row in sample.chunks(9 * 15) {
            testkit::assert_all_close("beside", &want, &row[N..], 1e-5, 1e-5);
        }
    }
}

#[test]
fn draws_are_in_the_order_of_the_tool() {
    // PyTorch: the encoder's for the picture, the start noise, the encoder's for what is not masked.
    let options = GenerateOptions { random: RandomKind::Torch, ..masked(0.5) };
    let run = with_encoder(fake::wide_unet(2, 9)).generate(&options, &Stop::never(), &mut go).unwrap();
    let mut source = RandomKind::Torch.source(93).unwrap();
    source.normals_f32(N);
    assert_eq!(run.images[0].noise.to_f32_vec(), source.normals_f32(N));
    // At full strength an inpainting model does without the first.
    let options = GenerateOptions { random: RandomKind::Torch, ..masked(1.0) };
    let run = with_encoder(fake::wide_unet(2, 9)).generate(&options, &Stop::never(), &mut go).unwrap();
    let mut source = RandomKind::Torch.source(93).unwrap();
    assert_eq!(run.images[0].noise.to_f32_vec(), source.normals_f32(N));
}

#[test]
fn an_edited_picture_guides_beside_the_prompt() {
    let start = StartingImage { image_guidance: Some(1.25), ..StartingImage::new(sketch(), 1.0) };
    let options = GenerateOptions { start: Some(start), ..options() };
    let [_, h, w] = LATENT;
    let planes = sketch().to_planes();
    let half = |x: f32| host_tensor::f16_from_f64(f64::from(x)).to_f32();
    let pixel = |i: usize| half(planes[((i / (h * w) % 3) * 2 * h + i / w % h * 2) * 2 * w + i % w * 2]);
    let picture: Vec<f32> = (0..N).map(pixel).collect();
    let further = |i: usize| picture.iter().skip(i % (h * w)).step_by(h * w).sum::<f32>();
    let mut scheduler = fake::config().scheduler.build(None, options.steps).unwrap();
    let mut source = NumpyRandom::new(93);
    let mut latents = source.normals_f16(N);
    let (u, c) = (text_of(""), text_of("a red heart"));
    for (step, t) in scheduler.timesteps().to_vec().into_iter().enumerate() {
        let guided = |(i, &x): (usize, &f32)| {
            let (none, image, text) =
                (fake::noise(x, t, u), fake::noise(x, t, u) + further(i), fake::noise(x, t, c) + further(i));
            none + 3.0 * (text - image) + 1.25 * (image - none)
        };
        let noise: Vec<f32> = latents.iter().enumerate().map(guided).collect();
        scheduler.step(step, &noise, &mut latents, &mut source).unwrap();
    }
    for batch in [1, 2] {
        let unet = fake::wide_unet(batch, 8);
        let calls = unet.calls.clone();
        let run = with_encoder(unet).generate(&options, &Stop::never(), &mut go).unwrap();
        testkit::assert_all_close("latents", &latents, &run.images[0].latents.to_f32_vec(), 1e-5, 1e-5);
        assert_eq!(calls.lock().unwrap().len(), scheduler.timesteps().len() * if batch == 1 { 3 } else { 2 });
    }
}

#[test]
fn a_part_is_drawn_at_full_size_and_laid_back() {
    let size = Size { width: 40, height: 30 };
    let picture = RgbImage::new(40, 30, (0..3600).map(|i| (i * 7 % 256) as u8).collect()).unwrap();
    let inside = |i: usize| (20..30).contains(&(i % 40)) && (10..16).contains(&(i / 40));
    let mask = GreyImage::new(size, (0..1200).map(|i| if inside(i) { 255 } else { 0 }).collect()).unwrap();
    let repaint = Some(Repaint { mask, only_masked: Some(2) });
    let start = StartingImage { repaint, ..StartingImage::new(picture.clone(), 1.0) };
    let options = GenerateOptions { start: Some(start), ..options() };
    let run = with_encoder(fake::unet(2, DType::F32)).generate(&options, &Stop::never(), &mut go).unwrap();
    assert!(run.warnings.is_empty(), "{:?}", run.warnings);
    let image = &run.images[0];
    assert_eq!((image.image.size(), image.decoded.shape()), (size, &[1, 3, 6, 10][..]));
    let changed = image.image.pixels().chunks(3).zip(picture.pixels().chunks(3)).map(|(a, b)| a != b);
    assert!(changed.enumerate().all(|(i, changed)| !changed || inside(i)));
    assert_ne!(image.image, picture);
}

#[test]
fn a_picture_of_another_size_is_made_to_fit_and_that_is_said() {
    let picture = RgbImage::new(7, 9, vec![99; 189]).unwrap();
    for (fit, fact) in [(Fit::Stretch, "stretched"), (Fit::Crop, "cut off"), (Fit::Fill, "edges were continued")] {
        let start = StartingImage { fit, ..StartingImage::new(picture.clone(), 0.5) };
        let options = GenerateOptions { start: Some(start), ..options() };
        let run = pipeline_with_encoder().generate(&options, &Stop::never(), &mut go).unwrap();
        let said = run.warnings[0].to_string();
        assert!(said.contains("7x9") && said.contains("10x6") && said.contains(fact), "{said}");
    }
}

#[test]
fn what_does_not_go_together_is_refused_with_what_does() {
    let plain = StartingImage::new(sketch(), 1.0);
    let repaint = |mask: GreyImage, only_masked| Some(Repaint { mask, only_masked });
    let black = || GreyImage::new(sketch().size(), vec![0; 60]).unwrap();
    let with = |start: StartingImage| GenerateOptions { start: Some(start), ..options() };
    for (channels, options, fact) in [
        (9, options(), "an inpainting model, which repaints what is masked: give a picture and a mask"),
        (9, with(plain.clone()), "give a picture and a mask"),
        (8, options(), "an InstructPix2Pix model, which edits a picture"),
        (8, with(StartingImage { strength: 0.5, ..plain.clone() }), "strength 0.5 would change nothing"),
        (8, with(StartingImage { repaint: repaint(mask(), None), ..plain.clone() }), "without a mask"),
        (8, with(StartingImage { image_guidance: Some(0.5), ..plain.clone() }), "image guidance 0.5 is not at least 1"),
        (
            8,
            GenerateOptions {
                guidance_scale: 1.0,
                ..with(StartingImage { image_guidance: Some(2.0), ..plain.clone() })
            },
            "counts together with guidance only",
        ),
        (4, with(StartingImage { image_guidance: Some(2.0), ..plain.clone() }), "is for InstructPix2Pix models"),
        (4, with(StartingImage { repaint: repaint(black(), None), ..plain.clone() }), "the mask is dark everywhere"),
        (4, with(StartingImage { repaint: repaint(black(), Some(3)), ..plain.clone() }), "the mask is dark everywhere"),
    ] {
        let unet = fake::wide_unet(2, channels);
        let calls = unet.calls.clone();
        let error = with_encoder(unet).generate(&options, &Stop::never(), &mut go).unwrap_err().to_string();
        assert!(error.contains(fact), "{fact}: {error}");
        assert_eq!(calls.lock().unwrap().len(), 0);
    }
}
