//! Facts about pictures that are handed out while others are still to be drawn.

use super::*;
use crate::engine::{Engine, EngineError, LoadWith, Residency};
use crate::part::Part;
use crate::request::GeneratedImage;

/// Writes down what it hears, and ends the run at a step of a picture.
#[derive(Default)]
struct Witness {
    heard: Vec<String>,
    images: Vec<GeneratedImage>,
    ends_at: Option<(usize, usize)>,
    /// Set in the place of an answer.
    stop: Option<Stop>,
}

impl Observer for Witness {
    fn step(&mut self, at: Progress<'_>) -> ControlFlow<()> {
        self.heard.push(format!("{}.{}", at.image_idx, at.step));
        match (self.ends_at == Some((at.image_idx, at.step)), &self.stop) {
            (true, Some(stop)) => stop.set(),
            (true, None) => return ControlFlow::Break(()),
            (false, _) => {}
        }
        ControlFlow::Continue(())
    }

    fn image(&mut self, image_idx: usize, image: GeneratedImage) -> ControlFlow<()> {
        self.heard.push(format!("picture {image_idx}"));
        self.images.push(image);
        ControlFlow::Continue(())
    }
}

/// The fakes, all of them checked, living as long as is told.
fn living(residency: Residency) -> DiffusionPipeline {
    let roles = [Role::TextEncoder, Role::UNet, Role::VaeDecoder, Role::SafetyChecker];
    let load = |Part { role, .. }: Part| -> Result<Box<dyn Engine>, EngineError> {
        Ok(Box::new(match role {
            Role::TextEncoder => fake::text_encoder(),
            Role::UNet => fake::unet(2, DType::F32),
            Role::VaeDecoder => fake::vae_decoder(),
            _ => fake::safety_checker(1e3),
        }))
    };
    DiffusionPipeline::with_loader(Box::new(LoadWith::new(roles, load)), residency, fake::config()).unwrap()
}

fn three() -> GenerateOptions {
    GenerateOptions { image_count: 3, steps: 2, scheduler: Some(SchedulerKind::Ddim.into()), ..options() }
}

fn each(residency: Residency, witness: &mut Witness) -> Result<Vec<Warning>> {
    let stop = witness.stop.clone().unwrap_or_else(Stop::never);
    living(residency).generate_each(&mut Streams::of(&three()).unwrap(), &three(), &stop, witness)
}

#[test]
fn a_picture_is_finished_before_the_next_is_begun_unless_stages_are_whole() {
    let (mut kept, mut staged) = (Witness::default(), Witness::default());
    assert_eq!(each(Residency::Kept, &mut kept).unwrap(), []);
    assert_eq!(kept.heard, ["0.1", "0.2", "picture 0", "1.1", "1.2", "picture 1", "2.1", "2.2", "picture 2"]);
    each(Residency::PerStage, &mut staged).unwrap();
    assert_eq!(staged.heard, ["0.1", "0.2", "1.1", "1.2", "2.1", "2.2", "picture 0", "picture 1", "picture 2"]);
    let whole = living(Residency::Kept).generate(&three(), &Stop::never(), &mut go).unwrap().images;
    let [whole, kept, staged] = [&whole, &kept.images, &staged.images].map(|images| format!("{images:?}"));
    assert!(whole == kept && whole == staged, "the pictures differ");
}

#[test]
fn whoever_ends_a_run_has_the_pictures_whose_steps_are_done() {
    for (residency, heard) in [
        (Residency::Kept, &["0.1", "0.2", "picture 0", "1.1", "1.2", "picture 1", "2.1"][..]),
        (Residency::PerStage, &["0.1", "0.2", "1.1", "1.2", "2.1", "picture 0", "picture 1"][..]),
    ] {
        let mut witness = Witness { ends_at: Some((2, 1)), ..Witness::default() };
        let error = each(residency, &mut witness).unwrap_err();
        assert!(matches!(error, RuntimeError::Stopped { step: 1, count: 2 }), "{error}");
        assert_eq!(witness.heard, heard);
        assert!(witness.images.iter().all(|image| image.safety.is_some()), "an unchecked picture is handed out");
    }
}

#[test]
fn a_flag_ends_a_run_at_once() {
    for (residency, n_pictures) in [(Residency::Kept, 2), (Residency::PerStage, 0)] {
        let mut witness = Witness { ends_at: Some((2, 1)), stop: Some(Stop::new()), ..Witness::default() };
        let error = each(residency, &mut witness).unwrap_err();
        assert!(matches!(error, RuntimeError::Stopped { .. }), "{error}");
        assert_eq!(witness.images.len(), n_pictures);
    }
}
