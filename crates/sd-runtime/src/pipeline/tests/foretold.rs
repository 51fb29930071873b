//! Facts about what a step foretells of the picture.

use super::*;

/// What each step foretells, with the latents after it.
fn foretold(options: &GenerateOptions) -> Vec<(Option<Vec<f32>>, Vec<f32>)> {
    let mut heard = Vec::new();
    let mut hear = |at: Progress<'_>| {
        heard.push((at.clean(), at.latents.to_vec()));
        go(at)
    };
    pipeline(fake::unet(2, DType::F32)).generate(options, &Stop::never(), &mut hear).unwrap();
    heard
}

#[test]
fn the_last_step_foretells_what_is_drawn_and_earlier_ones_something_else() {
    for kind in [SchedulerKind::EulerDiscrete, SchedulerKind::DpmSolverMultistep] {
        let heard = foretold(&GenerateOptions { scheduler: Some(kind.into()), ..options() });
        let (clean, drawn) = &heard[3];
        testkit::assert_all_close("latents", clean.as_ref().unwrap(), drawn, 1e-4, 1e-3);
        assert_ne!(heard[0].0.as_ref(), Some(drawn), "{kind}");
    }
}
