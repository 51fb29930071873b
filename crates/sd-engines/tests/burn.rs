//! Burn against the MIL engine: the same interface, the same numbers, the same picture.
//!
//! `cargo test -p sd-engines --features burn`

#![cfg(all(feature = "burn", feature = "mil"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "what was measured belongs to the test")]

use std::num::NonZeroUsize;
use std::ops::ControlFlow;

use host_tensor::{HostTensor, element_count};
use sd_convert::verify::Input;
use sd_convert::{Checkpoint, Interface, LatentSize, Options, Precision, Role, convert};
use sd_engines::{BurnEngine, BurnOptions, CpuOptions, MilEngine};
use sd_runtime::pipeline::{DiffusionPipeline, GenerateOptions, GeneratedImage, Models, PipelineConfig};
use sd_runtime::{Engine, Feature, Part, Signature, Stop, Tensors};
use testkit::{Rng, assert_psnr, demo, golden, psnr};

/// Least PSNR between the two engines, in dB: both compute in f32, in another order.
const NETWORK_DB: f64 = 60.0;
/// The same for a picture after several steps, each of which amplifies what differs.
const PICTURE_DB: f64 = 50.0;

/// Networks that stand alone say no size.
fn options(checkpoint: &Checkpoint, precision: Precision) -> Options {
    let latent_size = checkpoint.is_alone().then_some(LatentSize { height: 16, width: 16 });
    Options { precision: Some(precision), latent_size, ..Options::default() }
}

fn burn_with(checkpoint: &Checkpoint, role: Role, precision: Precision, how: BurnOptions) -> BurnEngine {
    let interface = Interface::new(checkpoint, role, &options(checkpoint, precision)).unwrap();
    BurnEngine::new(&interface.network, signature(&interface), &checkpoint.weights(role).unwrap(), how).unwrap()
}

fn signature(interface: &Interface) -> Signature {
    let features =
        |features: &[Input]| features.iter().map(|f| Feature::new(f.name.as_str(), f.dtype, f.shape.clone())).collect();
    Signature { inputs: features(&interface.inputs), outputs: features(&interface.outputs) }
}

fn burn(checkpoint: &Checkpoint, role: Role) -> BurnEngine {
    burn_with(checkpoint, role, Precision::Float32, BurnOptions::default())
}

fn mil(checkpoint: &Checkpoint, role: Role, precision: Precision) -> MilEngine {
    let converted = convert(checkpoint, role, &options(checkpoint, precision)).unwrap();
    MilEngine::from_program(&converted.program, CpuOptions::default()).unwrap()
}

/// Values such as the pipeline gives: ids, a step of the schedule, else a normal distribution.
fn draw(engine: &dyn Engine) -> Tensors {
    let mut rng = Rng::new(7);
    let mut values = |name: &str, n: usize| -> Vec<f32> {
        match name {
            "input_ids" => (0..n).map(|i| (i * 37 % 90) as f32).collect(),
            "timestep" => vec![421.0; n],
            "time_ids" => (0..n).map(|i| (i * 40 % 128) as f32).collect(),
            "adjustment" => vec![0.0; n],
            _ => rng.normals(n),
        }
    };
    let inputs = engine.signature().inputs.iter();
    let tensor = |f: &Feature, values| HostTensor::from_f32(f.shape.dims().unwrap(), values).cast(f.dtype);
    inputs
        .map(|f| (f.name.clone(), tensor(f, values(&f.name, element_count(f.shape.dims().unwrap()).unwrap()))))
        .collect()
}

#[track_caller]
fn agree(checkpoint: &Checkpoint, role: Role) {
    let (mut burn, mut mil) = (burn(checkpoint, role), mil(checkpoint, role, Precision::Float32));
    let inputs = draw(&mil);
    let (expected, got) = (mil.run(&inputs, &Stop::never()).unwrap(), burn.run(&inputs, &Stop::never()).unwrap());
    assert_eq!(expected.len(), got.len());
    for (name, expected) in &expected {
        let db = assert_psnr(name, expected, &got[name], NETWORK_DB);
        println!("{} {role} {name}: {db:.1} dB", checkpoint.name());
    }
}

/// Components of a checkpoint that can be converted.
fn components(checkpoint: &Checkpoint) -> impl Iterator<Item = Role> {
    Role::ALL.into_iter().filter(|&role| checkpoint.has(role))
}

#[test]
fn every_component_of_the_demo_gives_what_its_program_gives() {
    let checkpoint = Checkpoint::open(demo()).unwrap();
    components(&checkpoint).for_each(|role| agree(&checkpoint, role));
}

#[test]
fn every_component_of_the_golden_checkpoints_gives_what_its_program_gives() {
    let Some(golden) = golden() else { return };
    for name in [
        "tiny-sd15",
        "tiny-sd21",
        "tiny-sdxl",
        "tiny-sdxl-refiner",
        "mini-sdxl",
        "mini-sdxl-controlnet",
        "tiny-controlnet",
        "tiny-lcm",
        "tiny-sd15-inpaint",
        "tiny-sd3",
        "tiny-sd35-large",
        "tiny-sd35-medium",
    ] {
        let checkpoint = Checkpoint::open(golden.join("checkpoints").join(name)).unwrap();
        components(&checkpoint).for_each(|role| agree(&checkpoint, role));
    }
}

#[test]
fn the_signature_is_that_of_the_converted_model() {
    let mut checkpoints = vec![Checkpoint::open(demo()).unwrap()];
    checkpoints.extend(golden().map(|golden| Checkpoint::open(golden.join("checkpoints/tiny-sd15")).unwrap()));
    for checkpoint in &checkpoints {
        for role in components(checkpoint) {
            for precision in [Precision::Float16, Precision::Float32] {
                let burn = burn_with(checkpoint, role, precision, BurnOptions::default());
                assert_eq!(burn.signature(), mil(checkpoint, role, precision).signature(), "{role}");
            }
        }
    }
}

/// The demo's picture, drawn by engines that `make` makes.
fn picture<E: Engine + 'static>(make: impl Fn(Role) -> E) -> GeneratedImage {
    let boxed = |role: Role| -> (Part, Box<dyn Engine>) { (role.into(), Box::new(make(role))) };
    let models = Models::from([Role::TextEncoder, Role::UNet, Role::VaeDecoder].map(boxed));
    let mut pipeline = DiffusionPipeline::new(models, PipelineConfig::from_dir(&demo()).unwrap()).unwrap();
    let options = GenerateOptions { steps: 4, seed: 8, guidance_scale: 4.0, ..GenerateOptions::new("a red heart") };
    pipeline.generate(&options, &Stop::never(), &mut |_| ControlFlow::Continue(())).unwrap().images.remove(0)
}

#[test]
fn both_engines_draw_the_same_picture() {
    let checkpoint = Checkpoint::open(demo()).unwrap();
    let expected = picture(|role| mil(&checkpoint, role, Precision::Float32));
    let got = picture(|role| burn(&checkpoint, role));
    let db = assert_psnr("decoded", &expected.decoded, &got.decoded, PICTURE_DB);
    let bytes = |image: &GeneratedImage| image.image.pixels().iter().map(|&byte| f32::from(byte)).collect::<Vec<_>>();
    let byte_db = psnr(&bytes(&expected), &bytes(&got));
    println!("picture: {db:.1} dB, its bytes {byte_db:.1} dB");
    assert!(byte_db >= PICTURE_DB, "{byte_db:.1} dB");
}

#[test]
fn the_number_of_threads_does_not_change_what_is_drawn() {
    let checkpoint = Checkpoint::open(demo()).unwrap();
    let on = |n| {
        let options = BurnOptions { threads: NonZeroUsize::new(n), ..BurnOptions::default() };
        burn_with(&checkpoint, Role::UNet, Precision::Float32, options)
    };
    let (one, three) = (on(1), on(3));
    let inputs = draw(&one);
    let (one, three) = (one.run_once(&inputs).unwrap(), three.run_once(&inputs).unwrap());
    assert_psnr("noise_pred", &one["noise_pred"], &three["noise_pred"], 100.0);
}

#[test]
fn inputs_that_burn_would_panic_at_are_refused_by_name() {
    let checkpoint = Checkpoint::open(demo()).unwrap();
    let encoder = burn(&checkpoint, Role::TextEncoder);
    let ids = draw(&encoder);
    let fault = |inputs: &Tensors| encoder.run_once(inputs).expect_err("refused").to_string();
    assert_eq!(fault(&Tensors::new()), "input input_ids is missing");
    let other = HostTensor::from_f32([1, 3], vec![1.0; 3]);
    let short = fault(&Tensors::from([("input_ids".to_owned(), other.clone())]));
    assert_eq!(short, format!("input input_ids has shape [1, 3], expected {:?}", ids["input_ids"].shape()));
    let mut more = ids.clone();
    more.insert("z".to_owned(), other);
    assert_eq!(fault(&more), "there is no input z; the inputs are input_ids");
    for id in [-1, 1 << 30] {
        let shape = ids["input_ids"].shape();
        let wrong = HostTensor::from_i32(shape, vec![id; element_count(shape).unwrap()]);
        let wrong = fault(&Tensors::from([("input_ids".to_owned(), wrong)]));
        assert!(wrong.starts_with(&format!("input input_ids holds the id {id}, ")), "{wrong}");
    }
}

#[test]
fn a_checkpoint_that_lacks_a_tensor_is_refused_by_its_key() {
    let checkpoint = Checkpoint::open(demo()).unwrap();
    let interface = Interface::new(&checkpoint, Role::UNet, &Options::default()).unwrap();
    let weights = checkpoint.weights(Role::UNet).unwrap();
    let mut without = weights.clone();
    without.remove("conv_out.bias");
    let signature = signature(&interface);
    let fault = BurnEngine::new(&interface.network, signature.clone(), &without, BurnOptions::default());
    let fault = fault.expect_err("refused");
    assert!(fault.to_string().contains("1 missing: conv_out.bias"), "{fault}");
    // A signature that is not the network's is found when it is run.
    let engine = |signature| BurnEngine::new(&interface.network, signature, &weights, BurnOptions::default()).unwrap();
    let fault = engine(Signature::default()).run_once(&Tensors::new()).expect_err("refused");
    assert_eq!(fault.to_string(), "input sample is missing");
    let flat = Signature { inputs: vec![Feature { shape: [2].into(), ..signature.inputs[0].clone() }], ..signature };
    let given = Tensors::from([("sample".to_owned(), HostTensor::from_f32([2], vec![0.0; 2]))]);
    let fault = engine(flat).run_once(&given).expect_err("refused");
    assert_eq!(fault.to_string(), "input sample has shape [2], expected 4 dimensions");
}
