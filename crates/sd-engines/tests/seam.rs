//! What every engine must do, for each that this build has (`docs/adding-an-engine.md`).

#![cfg(feature = "mil")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::ops::ControlFlow;

use host_tensor::HostTensor;
use sd_convert::{Checkpoint, Options, Precision, Role, convert};
use sd_engines::{CpuOptions, Executor, MilEngine};
use sd_runtime::pipeline::{DiffusionPipeline, GenerateOptions, Models, PipelineConfig};
use sd_runtime::{Engine, EngineError, LoadWith, Part, Residency, Stop, Tensors};
use testkit::demo;

const ROLES: [Role; 3] = [Role::TextEncoder, Role::UNet, Role::VaeDecoder];

/// An engine of this build: its name, and how it loads a role of a checkpoint.
type Case = (&'static str, fn(&Checkpoint, Role) -> Box<dyn Engine>);

fn engines() -> Vec<Case> {
    vec![
        ("cpu", |checkpoint, role| program(checkpoint, role, CpuOptions::default().with_threads(2).into())),
        ("reference", |checkpoint, role| program(checkpoint, role, sd_engines::Options::default().into())),
        #[cfg(feature = "burn")]
        ("burn", network),
        #[cfg(all(feature = "coreml", target_vendor = "apple"))]
        ("coreml", by_core_ml),
    ]
}

fn options() -> Options {
    Options { precision: Some(Precision::Float32), ..Options::default() }
}

fn program(checkpoint: &Checkpoint, role: Role, executor: Executor) -> Box<dyn Engine> {
    let converted = convert(checkpoint, role, &options()).unwrap();
    Box::new(MilEngine::from_program(&converted.program, executor).unwrap())
}

#[cfg(feature = "burn")]
fn network(checkpoint: &Checkpoint, role: Role) -> Box<dyn Engine> {
    use sd_convert::{Interface, verify::Input};
    use sd_engines::{BurnEngine, BurnOptions};
    use sd_runtime::{Feature, Signature};

    let Interface { network, inputs, outputs } = Interface::new(checkpoint, role, &options()).unwrap();
    let features =
        |features: Vec<Input>| features.into_iter().map(|f| Feature::new(f.name, f.dtype, f.shape)).collect();
    let signature = Signature { inputs: features(inputs), outputs: features(outputs) };
    let weights = checkpoint.weights(role).unwrap();
    Box::new(BurnEngine::new(&network, signature, &weights, BurnOptions::default()).unwrap())
}

/// The same program as a package, by Core ML on the CPU alone.
#[cfg(all(feature = "coreml", target_vendor = "apple"))]
fn by_core_ml(checkpoint: &Checkpoint, role: Role) -> Box<dyn Engine> {
    use sd_engines::{ComputeUnits, CoreMlEngine, CoreMlOptions};

    let cache = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let converted = convert(checkpoint, role, &options()).unwrap();
    let folder = tempfile::tempdir_in(&cache).unwrap();
    let package = folder.path().join("a.mlpackage");
    converted.write(&package, mlpackage::Existing::Refuse, &mut |_| {}).unwrap();
    let options = CoreMlOptions { units: ComputeUnits::CpuOnly, cache: Some(cache), ..CoreMlOptions::default() };
    Box::new(CoreMlEngine::open(&package, options).unwrap())
}

/// Zeros for every input.
fn zeros(engine: &dyn Engine) -> Tensors {
    let zero = |dims: &[usize]| HostTensor::from_f32(dims, vec![0.0; dims.iter().product()]);
    let inputs = engine.signature().inputs.iter();
    inputs.map(|f| (f.name.clone(), zero(f.shape.dims().unwrap()).cast(f.dtype))).collect()
}

/// The bytes of a picture, and of the latents that it was decoded from.
fn draw(pipeline: &mut DiffusionPipeline, seed: u32) -> (Vec<u8>, Vec<f32>) {
    let options =
        GenerateOptions { steps: 1, seed: seed.into(), guidance_scale: 4.0, ..GenerateOptions::new("a red heart") };
    let run = pipeline.generate(&options, &Stop::never(), &mut |_| ControlFlow::Continue(())).unwrap();
    (run.images[0].image.pixels().to_vec(), run.images[0].latents.to_f32_vec())
}

fn pipeline(case: Case) -> DiffusionPipeline {
    let checkpoint = Checkpoint::open(demo()).unwrap();
    let models = Models::from(ROLES.map(|role| (role.into(), (case.1)(&checkpoint, role))));
    DiffusionPipeline::new(models, PipelineConfig::from_dir(&demo()).unwrap()).unwrap()
}

#[test]
fn a_flag_that_is_set_stops_every_engine_and_one_that_is_not_stops_none() {
    let checkpoint = Checkpoint::open(demo()).unwrap();
    for (name, load) in engines() {
        let mut engine = load(&checkpoint, Role::VaeDecoder);
        let inputs = zeros(engine.as_ref());
        let stop = Stop::new();
        let outputs = engine.run(&inputs, &stop).unwrap();
        assert_eq!(outputs.keys().collect::<Vec<_>>(), ["image"], "{name}");
        stop.set();
        assert!(engine.run(&inputs, &stop).is_err(), "{name}");
        // It is none the worse for it.
        let again = engine.run(&inputs, &Stop::never()).unwrap();
        assert_eq!(outputs["image"].bytes(), again["image"].bytes(), "{name}");
    }
}

#[test]
fn engines_have_one_signature_with_all_shapes_known() {
    let checkpoint = Checkpoint::open(demo()).unwrap();
    for role in ROLES {
        let signatures = engines().into_iter().map(|(_, load)| load(&checkpoint, role).signature().clone());
        let signatures: Vec<_> = signatures.collect();
        assert!(signatures.windows(2).all(|pair| pair[0] == pair[1]), "{role}: {signatures:?}");
        let features = signatures[0].inputs.iter().chain(&signatures[0].outputs);
        assert!(features.into_iter().all(|f| f.shape.dims().is_some()), "{role}");
    }
}

#[test]
fn two_pipelines_draw_in_two_threads_what_each_draws_alone() {
    for case in engines() {
        let alone = [3, 4].map(|seed| draw(&mut pipeline(case), seed));
        assert_ne!(alone[0], alone[1]);
        let threads = [3, 4].map(|seed| {
            std::thread::spawn(move || {
                let mut pipeline = pipeline(case);
                // The second picture of a pipeline is not disturbed by the first.
                draw(&mut pipeline, seed + 1);
                draw(&mut pipeline, seed)
            })
        });
        let together = threads.map(|thread| thread.join().unwrap());
        assert!(together == alone, "{}: the pictures differ", case.0);
    }
}

#[test]
fn models_that_live_for_their_stage_draw_the_same_picture() {
    for case in engines() {
        let checkpoint = Checkpoint::open(demo()).unwrap();
        let load = move |part: Part| -> Result<Box<dyn Engine>, EngineError> { Ok((case.1)(&checkpoint, part.role)) };
        let config = PipelineConfig::from_dir(&demo()).unwrap();
        let loader = Box::new(LoadWith::new(ROLES, load));
        let mut staged = DiffusionPipeline::with_loader(loader, Residency::PerStage, config).unwrap();
        assert!(draw(&mut staged, 5) == draw(&mut pipeline(case), 5), "{}: the pictures differ", case.0);
    }
}
