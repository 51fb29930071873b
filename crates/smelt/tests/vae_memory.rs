//! Decoding and encoding by rows, as another program sees it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use smelt::image::Difference;
use smelt::{EngineSpec, PipelineOptions, Request, Start, Unwatched};

#[test]
fn pictures_by_rows_are_those_of_the_whole_to_less_than_a_grey_level() {
    let draw = |request: &Request, vae_memory: Option<u64>| {
        let options = PipelineOptions {
            engine: EngineSpec { vae_memory, ..EngineSpec::default() },
            steps: request.steps,
            with_picture: request.start.is_some(),
            ..PipelineOptions::default()
        };
        let mut pipeline = smelt::open(testkit::demo()).unwrap().pipeline(&options).unwrap();
        pipeline.draw(request, &mut Unwatched).unwrap().pictures.remove(0)
    };
    let request = Request { steps: 2, guidance: 1.0, seed: 5, ..Request::new("rocket") };
    let from_sketch = Request { start: Some(Start::new(draw(&request, None).image, "sketch.png")), ..request.clone() };
    for request in [request, from_sketch] {
        let whole = draw(&request, None);
        // Enough for features in single precision, for those in half, and for next to nothing.
        for (limit, most) in [(24_000_000, 0.01), (6_000_000, 0.9), (1, 0.9)] {
            let by_rows = draw(&request, Some(limit));
            let (a, b) = (whole.decoded.to_f32_vec(), by_rows.decoded.to_f32_vec());
            let levels = a.iter().zip(&b).map(|(a, b)| (a - b).abs() * 127.5).fold(0.0, f32::max);
            assert!(levels < most, "{limit}: {levels} grey levels");
            let apart = Difference::between(&whole.image, &by_rows.image).unwrap();
            assert!(apart.psnr_db > 50.0, "{limit}: {apart:?}");
        }
    }
}
