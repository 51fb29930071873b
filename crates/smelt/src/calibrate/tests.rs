//! Calibration data of real drawings.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

use host_tensor::HostTensor;
use safe_files::Outputs;
use sd_runtime::{Engine, EngineError, Feature, Part, Signature, Tensors};
use serde_json::Value;

use super::*;
use crate::load::Onlooker;
use crate::tensor_file;
use crate::watch::Unwatched;

fn output(path: &Path) -> OutputFile {
    Outputs::new().file("-o", path).unwrap()
}

/// Two prompts in three steps by a scheduler that evaluates once a step.
fn small() -> Calibration {
    let scheduler = Some("ddim".parse().unwrap());
    let request = Request { steps: 3, guidance: 4.0, seed: 7, scheduler, ..Request::default() };
    Calibration { request, ..Calibration::new(vec!["red heart".into(), "rocket".into()]) }
}

fn calibrate(model: &Path, calibration: &Calibration, to: &Path) -> Result<CalibrationReport> {
    let options = PipelineOptions::default();
    crate::open(model.to_owned())?.calibrate(calibration, &options, &output(to), &Stop::never(), &mut Unwatched)
}

/// What the file says of itself.
fn about(path: &Path) -> Value {
    let bytes = std::fs::read(path).unwrap();
    let (_, metadata) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    serde_json::from_str(&metadata.metadata().as_ref().unwrap()[file::KEY]).unwrap()
}

#[test]
fn what_is_written_is_read_back_for_packages_of_either_batch() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.safetensors");
    calibrate(&testkit::demo(), &Calibration { samples: Some(4), ..small() }, &path).unwrap();
    let data = CalibrationData::read(&path).unwrap();
    let about = data.about.as_ref().unwrap();
    assert_eq!((about.denoiser.as_str(), about.width, data.n_samples()), ("unet", 128, 4));
    assert_eq!(about.prompts, ["red heart", "rocket"]);
    let signature = |batch: usize| {
        let shape = |t: &HostTensor| [&[batch], &t.shape()[1..]].concat();
        let features = data.inputs.iter().map(|(name, t)| Feature::new(name, host_tensor::DType::F16, shape(t)));
        Signature { inputs: features.collect(), outputs: Vec::new() }
    };
    for batch in [1, 2] {
        assert_eq!(data.batches(&signature(batch)).unwrap().count(), 4 / batch);
    }
}

/// Names and shapes of the inputs that are recorded of a model, two samples of one step.
#[track_caller]
fn check_inputs(model: &Path, scheduler: Option<&str>, want: &[(&str, &[usize])]) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.safetensors");
    let mut calibration = Calibration { samples: Some(2), ..small() };
    calibration.request.scheduler = scheduler.map(|name| name.parse().unwrap());
    let report = calibrate(model, &calibration, &path).unwrap_or_else(|error| panic!("{}", error.chain()));
    let tensors = tensor_file::read(&path).unwrap();
    let got: Vec<(&str, &[usize])> = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor.shape())).collect();
    assert_eq!(got, want);
    let told: Vec<(&str, &[usize])> = report.inputs.iter().map(|i| (i.name.as_str(), i.shape.as_slice())).collect();
    assert_eq!(told, want);
    assert!(tensors.values().all(|tensor| tensor.dtype() == host_tensor::DType::F32));
    assert_eq!(report.bytes, std::fs::metadata(&path).unwrap().len());
    assert!(tensors.values().all(|tensor| tensor.to_f32_vec().iter().all(|value| value.is_finite())));
}

#[test]
fn inputs_have_the_denoisers_names_and_one_samples_shapes() {
    check_inputs(
        &testkit::demo(),
        Some("ddim"),
        &[("encoder_hidden_states", &[2, 128, 1, 77]), ("sample", &[2, 4, 16, 16]), ("timestep", &[2])],
    );
    let Some(golden) = testkit::golden() else { return };
    check_inputs(
        &golden.join("checkpoints/tiny-sdxl"),
        None,
        &[
            ("encoder_hidden_states", &[2, 160, 1, 77]),
            ("sample", &[2, 4, 16, 16]),
            ("text_embeds", &[2, 96]),
            ("time_ids", &[2, 6]),
            ("timestep", &[2]),
        ],
    );
    let whole = tempfile::tempdir().unwrap();
    copy(&golden.join("checkpoints/tiny-sd3"), whole.path());
    // Its tokenizers of CLIP are those of another.
    let others = golden.join("checkpoints/tiny-sd15/tokenizer");
    ["tokenizer", "tokenizer_2"].into_iter().for_each(|folder| copy(&others, &whole.path().join(folder)));
    check_inputs(
        whole.path(),
        None,
        &[
            ("latent_image_embeddings", &[2, 16, 16, 16]),
            ("pooled_text_embeddings", &[2, 24, 1, 1]),
            ("timestep", &[2]),
            ("token_level_text_embeddings", &[2, 64, 1, 333]),
        ],
    );
}

/// Files of a folder that are not there yet, and what is below it.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(std::result::Result::unwrap) {
        let target = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &target),
            false if target.exists() => {}
            false => drop(std::fs::copy(entry.path(), target).unwrap()),
        }
    }
}

#[test]
fn the_same_calibration_gives_the_same_bytes_and_says_what_made_them() {
    let dir = tempfile::tempdir().unwrap();
    let [a, b] = ["a", "b"].map(|name| dir.path().join(name));
    let calibration = Calibration { count: 2, samples: Some(7), ..small() };
    let report = calibrate(&testkit::demo(), &calibration, &a).unwrap();
    calibrate(&testkit::demo(), &calibration, &b).unwrap();
    assert_eq!(std::fs::read(&a).unwrap(), std::fs::read(&b).unwrap());
    assert_eq!((report.prompts, report.pictures, report.evaluations, report.samples), (2, 4, 3, 8));
    let about = about(&a);
    assert_eq!((&about["model"], &about["scheduler"]), (&report.model.into(), &"ddim".into()));
    assert_eq!(about["prompts"], serde_json::json!(["red heart", "rocket"]));
    let request = &about["request"];
    assert_eq!((&request["seed"], &request["steps"], &request["guidance"]), (&7.into(), &3.into(), &4.0.into()));
    assert_eq!((about["width"].as_u64(), about["denoiser"].as_str()), (Some(128), Some("unet")));
    let samples: Vec<(u64, u64, u64, &str)> = about["samples"].as_array().unwrap().iter().map(of).collect();
    let want = [(0, 7, 0), (0, 8, 0), (1, 9, 1), (1, 10, 2)];
    let want: Vec<_> = want.iter().flat_map(|&(p, s, e)| [(p, s, e, "negative"), (p, s, e, "prompt")]).collect();
    assert_eq!(samples, want);
}

fn of(sample: &Value) -> (u64, u64, u64, &str) {
    let number = |key: &str| sample[key].as_u64().unwrap();
    (number("prompt"), number("seed"), number("evaluation"), sample["text"].as_str().unwrap())
}

#[test]
fn without_guidance_a_step_is_one_sample() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.safetensors");
    let mut calibration = small();
    calibration.request.guidance = 1.0;
    assert_eq!(calibrate(&testkit::demo(), &calibration, &path).unwrap().samples, 6);
    let about = about(&path);
    assert!(about["samples"].as_array().unwrap().iter().all(|sample| sample["text"] == "prompt"), "{about}");
}

/// Denoisers that stay within reach, and what they gave.
#[derive(Clone, Default)]
struct Replay(Arc<Mutex<Replayed>>);

#[derive(Default)]
struct Replayed {
    engines: Vec<Arc<Mutex<Box<dyn Engine>>>>,
    outputs: Vec<Tensors>,
}

struct Shared {
    signature: Signature,
    engine: Arc<Mutex<Box<dyn Engine>>>,
    replay: Replay,
}

impl Onlooker for Replay {
    fn accepts(&self, _: Part) -> Result<(), EngineError> {
        Ok(())
    }

    fn put_before(&self, engine: Box<dyn Engine>) -> Box<dyn Engine> {
        let signature = engine.signature().clone();
        let engine = Arc::new(Mutex::new(engine));
        self.0.lock().unwrap().engines.push(engine.clone());
        Box::new(Shared { signature, engine, replay: self.clone() })
    }
}

impl Engine for Shared {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn run(&mut self, inputs: &Tensors, stop: &Stop) -> Result<Tensors, EngineError> {
        let outputs = self.engine.lock().unwrap().run(inputs, stop)?;
        self.replay.0.lock().unwrap().outputs.push(outputs.clone());
        Ok(outputs)
    }
}

/// Samples from `idx` on, as many as the denoiser takes.
fn batch(tensors: &BTreeMap<String, HostTensor>, idx: usize, signature: &Signature) -> Tensors {
    let one = |(name, tensor): (&String, &HostTensor)| {
        let feature = signature.input(name).unwrap();
        let shape = feature.shape.dims().unwrap();
        let n = tensor.bytes().len() / tensor.shape()[0];
        let bytes = tensor.bytes().slice(idx * n..(idx + shape[0]) * n);
        let own = HostTensor::new(tensor.dtype(), shape, bytes).unwrap();
        (name.clone(), own.cast(feature.dtype))
    };
    tensors.iter().map(one).collect()
}

#[test]
fn the_denoiser_gives_for_what_is_recorded_what_the_drawing_got() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.safetensors");
    let (calibration, options, replay) = (small(), PipelineOptions::default(), Replay::default());
    let loaded = load(&options, &crate::open(testkit::demo()).unwrap(), Beginning::Noise).unwrap();
    let loaded = loaded.watched_by(Arc::new(replay.clone()));
    let mut drawing = Drawing::of(loaded, &calibration, &options).unwrap();
    let samples = drawing.draw(&Stop::never(), &mut Unwatched).unwrap();
    file::write(&output(&path), &drawing.about(&calibration, &samples), &samples, &mut Unwatched).unwrap();
    let tensors = tensor_file::read(&path).unwrap();
    let replayed = replay.0.lock().unwrap();
    let [engine] = &replayed.engines[..] else { panic!("{} denoisers", replayed.engines.len()) };
    let mut engine = engine.lock().unwrap();
    assert_eq!((replayed.outputs.len(), samples.len()), (6, 12));
    for (idx, want) in replayed.outputs.iter().enumerate() {
        let inputs = batch(&tensors, 2 * idx, &engine.signature().clone());
        let got = engine.run(&inputs, &Stop::never()).unwrap();
        assert_eq!(got["noise_pred"].bytes(), want["noise_pred"].bytes(), "call {idx}");
    }
}

#[test]
fn what_cannot_be_recorded_is_refused_before_any_work_and_nothing_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.safetensors");
    let of = |change: fn(&mut Calibration)| {
        let mut calibration = small();
        change(&mut calibration);
        calibrate(&testkit::demo(), &calibration, &path).unwrap_err().chain()
    };
    for (error, fact) in [
        (of(|c| c.prompts.clear()), "there is no prompt"),
        (of(|c| c.count = 0), "at least 1 picture"),
        (of(|c| c.samples = Some(0)), "1 sample"),
        (of(|c| c.samples = Some(13)), "2 pictures with 3 evaluations of the denoiser give 12"),
        (of(|c| c.request.forecast = Some(crate::Forecasting::Line)), "forecasts"),
        (of(|c| c.request.seed = u64::from(u32::MAX)), "seed"),
        (of(|c| c.prompts.push("<lora:x:1> cat".into())), "x"),
    ] {
        assert!(error.contains(fact), "{error}");
    }
    let mut stops = |event: Event<'_>| match event {
        Event::Progress(at) if at.done == 2 => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let model = crate::open(testkit::demo()).unwrap();
    let stopped = model.calibrate(&small(), &PipelineOptions::default(), &output(&path), &Stop::never(), &mut stops);
    assert!(matches!(stopped, Err(Error::Stopped)), "{stopped:?}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    std::fs::write(&path, "mine").unwrap();
    assert!(matches!(calibrate(&testkit::demo(), &small(), &path), Err(Error::Exists(_))));
    assert_eq!(std::fs::read(&path).unwrap(), b"mine");
    let forced = Calibration { existing: Existing::Replace, samples: Some(2), ..small() };
    assert_eq!(calibrate(&testkit::demo(), &forced, &path).unwrap().samples, 2);
}

#[test]
fn a_prompt_of_several_windows_is_cut_to_the_one_that_all_have_and_that_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.safetensors");
    let long = vec!["rocket"; 90].join(" ");
    let calibration = Calibration { prompts: vec!["red heart".into(), long], ..small() };
    let report = calibrate(&testkit::demo(), &calibration, &path).unwrap();
    assert_eq!(report.inputs[0].shape[1..], [128, 1, 77]);
    assert!(report.warnings.iter().any(|words| words.contains("texts of one length")), "{:?}", report.warnings);
}
