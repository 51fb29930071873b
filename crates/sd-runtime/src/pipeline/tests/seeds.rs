//! Pictures with seeds of their own: each is the one that its seed draws alone.

use super::*;

/// Latents and noise of the pictures of a run.
fn drawn(pipeline: &mut DiffusionPipeline, options: &GenerateOptions) -> Vec<(Vec<f32>, Vec<f32>)> {
    let run = pipeline.generate(options, &Stop::never(), &mut go).unwrap();
    run.images.iter().map(|image| (image.latents.to_f32_vec(), image.noise.to_f32_vec())).collect()
}

/// Draws three pictures at once, and each alone.
#[track_caller]
fn check(options: &GenerateOptions) {
    let together = GenerateOptions { image_count: 3, seeds: Seeds::Each, ..options.clone() };
    let mut pipeline = pipeline_with_encoder();
    let pictures = drawn(&mut pipeline, &together);
    assert_eq!(pictures.len(), 3);
    assert_ne!(pictures[1], pictures[2]);
    for (idx, picture) in pictures.iter().enumerate() {
        let OwnSeed { seed, variation, image_idx } = together.own_seed(idx);
        assert_eq!(image_idx, 0);
        let alone = GenerateOptions { seed, variation, ..options.clone() };
        assert_eq!(drawn(&mut pipeline, &alone), std::slice::from_ref(picture), "picture {idx}");
    }
}

#[test]
fn each_picture_is_the_one_that_its_own_seed_draws_alone() {
    for random in [RandomKind::Numpy, RandomKind::Torch, RandomKind::Nvidia] {
        for kind in [SchedulerKind::Pndm, SchedulerKind::EulerAncestralDiscrete, SchedulerKind::DpmSolverSde] {
            let plain = GenerateOptions { random, scheduler: Some(kind.into()), ..options() };
            check(&plain);
            // The encoder draws too, in the order of the source's tool.
            check(&GenerateOptions { start: from_sketch(0.6).start, steps: 10, ..plain.clone() });
            for strength in [0.0, 0.4] {
                check(&GenerateOptions { variation: Some(Variation { seed: 5, strength }), ..plain.clone() });
            }
        }
    }
}

#[test]
fn masks_are_repainted_for_each_picture_alone() {
    let mut start = StartingImage::new(sketch(), 1.0);
    let [_, h, w] = LATENT;
    let light = (0..4 * h * w).map(|i| if i % 3 == 0 { 255 } else { 0 }).collect();
    let size = crate::image::Size { width: 2 * w, height: 2 * h };
    let mask = crate::image::GreyImage::new(size, light).unwrap();
    start.repaint = Some(Repaint { mask, only_masked: None });
    check(&GenerateOptions { start: Some(start), steps: 6, ..options() });
}

#[test]
fn a_stream_that_is_given_is_no_seed_of_each() {
    let each = GenerateOptions { image_count: 2, seeds: Seeds::Each, ..options() };
    let mut source: Box<dyn RandomSource> = Box::new(NumpyRandom::new(93));
    let mut drawing = pipeline(fake::unet(2, DType::F32));
    let error = drawing.generate_from(&mut source, &each, &Stop::never(), &mut go).unwrap_err().to_string();
    assert!(error.contains("seeds are to be each"), "{error}");
    let last = GenerateOptions { seed: u64::from(u32::MAX), ..each };
    let error = drawing.generate(&last, &Stop::never(), &mut go).unwrap_err().to_string();
    assert!(error.contains("seed 4294967296 is too large"), "{error}");
}
