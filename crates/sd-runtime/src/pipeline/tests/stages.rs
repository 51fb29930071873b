//! Facts about how long models live, how a run is stopped, and what an encoder may give.

use std::sync::{Arc, Mutex};

use super::*;
use crate::engine::{Engine, EngineError, LoadWith, Signature, Tensors};
use crate::part::Part;

/// What is loaded, and the most that was at once.
#[derive(Default)]
struct Census {
    alive: Vec<Role>,
    most: usize,
    n_loaded: usize,
}

/// A fake that is counted while it lives.
struct Counted {
    inner: Fake,
    role: Role,
    census: Arc<Mutex<Census>>,
}

impl Engine for Counted {
    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn run(&mut self, inputs: &Tensors, stop: &Stop) -> Result<Tensors, EngineError> {
        self.inner.run(inputs, stop)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let alive = &mut self.census.lock().unwrap().alive;
        let at = alive.iter().position(|&role| role == self.role).unwrap();
        alive.remove(at);
    }
}

/// The roles of a pipeline.
const ROLES: [Role; 5] = [Role::TextEncoder, Role::UNet, Role::VaeDecoder, Role::VaeEncoder, Role::SafetyChecker];

/// A pipeline of all roles whose models are counted.
fn counted(residency: Residency) -> (DiffusionPipeline, Arc<Mutex<Census>>) {
    let census = Arc::new(Mutex::new(Census::default()));
    let shared = census.clone();
    let load = move |Part { role, .. }: Part| -> Result<Box<dyn Engine>, EngineError> {
        let inner = match role {
            Role::TextEncoder => fake::text_encoder(),
            Role::UNet => fake::unet(2, DType::F32),
            Role::VaeDecoder => fake::vae_decoder(),
            Role::VaeEncoder => fake::vae_encoder(),
            Role::SafetyChecker => fake::safety_checker(-1e3),
            other => return Err(format!("no pipeline asks for a {other}").into()),
        };
        let mut census = shared.lock().unwrap();
        census.alive.push(role);
        census.n_loaded += 1;
        census.most = census.most.max(census.alive.len());
        Ok(Box::new(Counted { inner, role, census: shared.clone() }))
    };
    let loader = Box::new(LoadWith::new(ROLES, load));
    (DiffusionPipeline::with_loader(loader, residency, fake::config()).unwrap(), census)
}

#[test]
fn models_that_live_for_their_stage_draw_the_same_pictures_one_model_at_a_time() {
    let options = GenerateOptions { image_count: 3, negative_prompt: "blue".into(), ..from_sketch(0.5) };
    let draw = |residency| {
        let (mut pipeline, census) = counted(residency);
        let mut seen = Vec::new();
        let mut see = |at: Progress<'_>| {
            seen.push((at.image_idx, at.step, at.latents.to_vec()));
            go(at)
        };
        let run = pipeline.generate(&options, &Stop::never(), &mut see).unwrap();
        let images = run.images.into_iter().map(|i| (i.image, i.noise, i.latents, i.decoded, i.safety));
        let facts = (format!("{:?}", images.collect::<Vec<_>>()), run.warnings, seen);
        (facts, census, pipeline)
    };
    let (kept, of_kept, _pipeline) = draw(Residency::Kept);
    let (staged, of_staged, _other) = draw(Residency::PerStage);
    assert!(kept == staged, "the two runs differ");
    let (of_kept, of_staged) = (of_kept.lock().unwrap(), of_staged.lock().unwrap());
    assert_eq!((of_kept.most, of_kept.n_loaded), (5, 5));
    // Once for its signature, once for its stage.
    assert_eq!((of_staged.most, of_staged.n_loaded, of_staged.alive.len()), (1, 10, 0));
}

#[test]
fn a_loader_that_fails_is_an_error_of_its_role() {
    let load = |Part { role, .. }: Part| -> Result<Box<dyn Engine>, EngineError> {
        match role {
            Role::UNet => Err("no such file".into()),
            _ => Ok(Box::new(fake::text_encoder())),
        }
    };
    for residency in [Residency::Kept, Residency::PerStage] {
        let loader = Box::new(LoadWith::new([Role::TextEncoder, Role::UNet], load));
        let error = DiffusionPipeline::with_loader(loader, residency, fake::config()).map(drop).unwrap_err();
        assert_eq!(error.to_string(), "unet: no such file");
    }
}

#[test]
fn a_flag_that_is_set_while_an_engine_runs_ends_the_run_as_stopped() {
    let stop = Stop::new();
    let flag = stop.clone();
    let unet = fake::unet(2, DType::F32);
    let n_calls = Arc::new(Mutex::new(0));
    let counter = n_calls.clone();
    let unet = Fake::new(unet.signature.inputs.clone(), unet.signature.outputs.clone(), move |_| {
        *counter.lock().unwrap() += 1;
        flag.set();
        Err("interrupted".into())
    });
    let error = pipeline(unet).generate(&options(), &stop, &mut go).unwrap_err();
    assert!(matches!(error, RuntimeError::Stopped { step: 0, count: 5 }), "{error}");
    // A flag that is set already lets no model run.
    let error = pipeline(fake::unet(2, DType::F32)).generate(&options(), &stop, &mut go).unwrap_err();
    assert!(matches!(error, RuntimeError::Stopped { step: 0, count: 5 }), "{error}");
    assert_eq!(*n_calls.lock().unwrap(), 1);
}

#[test]
fn an_encoder_may_give_latents_in_place_of_their_moments() {
    let [c, h, w] = LATENT;
    let drawn = |moments: bool, declared: bool| {
        let inputs = fake::vae_encoder().signature.inputs;
        let channels = if moments { 2 * c } else { c };
        let shape = if declared { vec![1, channels, h, w].into() } else { Shape::Unknown };
        // Means of 0.5, and variances so small that nothing is left of what is drawn.
        let encoder = Fake::new(inputs, vec![Feature::new("latent", DType::F32, shape)], move |_| {
            let n = c * h * w;
            let values = (0..channels * h * w).map(|i| if i < n { 0.5 } else { -1e9 }).collect();
            Ok(Tensors::from([("latent".to_owned(), HostTensor::from_f32([1, channels, h, w], values))]))
        });
        let models = fake::with(Role::VaeEncoder, encoder, fake::unet(2, DType::F32));
        let mut pipeline = DiffusionPipeline::new(models, fake::config()).unwrap();
        let mut source: Box<dyn RandomSource> = Box::new(NumpyRandom::new(4));
        let run = pipeline.generate_from(&mut source, &from_sketch(0.3), &Stop::never(), &mut go).unwrap();
        // The stream goes on from the same place.
        (run.images[0].latents.to_f32_vec(), source.normals(1))
    };
    let latents = drawn(false, true);
    assert_eq!(latents, drawn(false, false));
    let moments = drawn(true, true);
    testkit::assert_all_close("latents", &moments.0, &latents.0, 1e-4, 1e-4);
    assert_eq!(latents.1, moments.1);
}
