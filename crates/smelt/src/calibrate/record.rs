//! Notes what a denoiser is given, sample by sample; the denoiser knows nothing of it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use host_tensor::{DType, HostTensor};
use sd_runtime::{Engine, EngineError, Part, Signature, Stop, Tensors};

use crate::load::Onlooker;

/// The input that every denoiser has one value of for each sample.
const TIMESTEP: &str = "timestep";
/// The input of denoisers that guidance was distilled into.
const DISTILLED: &str = "timestep_cond";

/// One sample: what the denoiser is given of it.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    pub(super) picture: usize,
    /// Which of the picture's evaluations.
    pub(super) evaluation: usize,
    /// Which of the evaluation's samples.
    pub(super) row: usize,
    /// Without the axis of samples; what is real is f32.
    pub(super) inputs: Tensors,
}

/// What is noted of all denoisers of a pipeline; clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Recorder(Arc<Mutex<Notes>>);

#[derive(Debug, Default)]
struct Notes {
    samples: Vec<Sample>,
    picture: usize,
    /// Evaluations of the picture that are noted.
    wanted: BTreeSet<usize>,
    /// The one that runs, or will next.
    evaluation: usize,
    /// Samples of it that were there.
    n_seen: usize,
    /// Samples of each that mean something; a batch may be filled with others.
    n_rows: usize,
    is_distilled: bool,
}

impl Recorder {
    /// A picture begins, of which these evaluations are noted, each with so many samples.
    pub(super) fn begin(&self, picture: usize, wanted: &[usize], n_rows: usize) {
        let mut notes = self.notes();
        (notes.picture, notes.n_rows) = (picture, n_rows);
        notes.wanted = wanted.iter().copied().collect();
        (notes.evaluation, notes.n_seen) = (0, 0);
    }

    /// So many evaluations of the picture are done.
    pub(super) fn done(&self, n_evaluations: usize) {
        let mut notes = self.notes();
        (notes.evaluation, notes.n_seen) = (n_evaluations, 0);
    }

    /// Whether a denoiser was seen that guidance was distilled into.
    pub(super) fn is_distilled(&self) -> bool {
        self.notes().is_distilled
    }

    /// All samples, in the order in which they came.
    pub(super) fn take(&self) -> Vec<Sample> {
        std::mem::take(&mut self.notes().samples)
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Notes {
    /// Takes note of a call, which may be one of several of an evaluation.
    fn note(&mut self, inputs: &Tensors) -> Result<(), EngineError> {
        if !self.wanted.contains(&self.evaluation) {
            return Ok(());
        }
        let n_samples = inputs.get(TIMESTEP).and_then(|tensor| tensor.shape().first()).copied().unwrap_or(1);
        for idx in 0..n_samples.min(self.n_rows - self.n_seen) {
            let one =
                |(name, tensor): (&String, &HostTensor)| Ok((name.clone(), sample_of(name, tensor, idx, n_samples)?));
            let inputs = inputs.iter().map(one).collect::<Result<Tensors, EngineError>>()?;
            let Self { picture, evaluation, n_seen: row, .. } = *self;
            self.samples.push(Sample { picture, evaluation, row, inputs });
            self.n_seen += 1;
        }
        Ok(())
    }
}

/// Sample `idx` of `n`, without their axis.
fn sample_of(name: &str, tensor: &HostTensor, idx: usize, n: usize) -> Result<HostTensor, EngineError> {
    let (dtype, shape) = (tensor.dtype(), tensor.shape());
    let Some((_, own)) = shape.split_first().filter(|(first, _)| **first == n) else {
        return Err(
            format!("input {name} has shape {shape:?}, which does not begin with the number of samples, {n}").into()
        );
    };
    let n_bytes = tensor.bytes().len() / n;
    let bytes = tensor.bytes().slice(idx * n_bytes..(idx + 1) * n_bytes);
    let sample = HostTensor::new(dtype, own, bytes)?;
    Ok(if matches!(dtype, DType::F16 | DType::BF16 | DType::F64) { sample.cast(DType::F32) } else { sample })
}

impl Onlooker for Recorder {
    fn accepts(&self, part: Part) -> Result<(), EngineError> {
        match part.n_windows {
            1 => Ok(()),
            _ => Err("calibration data has texts of one length".into()),
        }
    }

    fn put_before(&self, engine: Box<dyn Engine>) -> Box<dyn Engine> {
        self.notes().is_distilled |= engine.signature().input(DISTILLED).is_some();
        Box::new(Recorded { engine, recorder: self.clone() })
    }
}

/// A denoiser whose inputs are noted.
struct Recorded {
    engine: Box<dyn Engine>,
    recorder: Recorder,
}

impl Engine for Recorded {
    fn signature(&self) -> &Signature {
        self.engine.signature()
    }

    fn run(&mut self, inputs: &Tensors, stop: &Stop) -> Result<Tensors, EngineError> {
        self.recorder.notes().note(inputs)?;
        self.engine.run(inputs, stop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(n: usize, first: f32) -> Tensors {
        let of = |i: usize| first + i as f32;
        Tensors::from([
            (TIMESTEP.to_owned(), HostTensor::from_f16([n], &vec![7.0; n])),
            ("x".to_owned(), HostTensor::from_f32([n, 2], (0..n).flat_map(|i| [of(i), of(i)]).collect())),
        ])
    }

    fn noted(recorder: &Recorder) -> Vec<(usize, usize, Vec<f32>)> {
        let samples = recorder.take();
        assert!(samples.iter().all(|s| s.inputs[TIMESTEP].shape().is_empty() && s.inputs["x"].shape() == [2]));
        assert!(samples.iter().all(|s| s.inputs.values().all(|tensor| tensor.dtype() == DType::F32)));
        samples.into_iter().map(|s| (s.evaluation, s.row, s.inputs["x"].to_f32_vec())).collect()
    }

    #[test]
    fn both_members_of_a_pair_are_samples_in_one_call_or_in_two() {
        let recorder = Recorder::default();
        let want = [(1, 0, vec![1.0, 1.0]), (1, 1, vec![2.0, 2.0])];
        for calls in [vec![call(2, 1.0)], vec![call(1, 1.0), call(1, 2.0)]] {
            recorder.begin(0, &[1], 2);
            for done in 1..=3 {
                calls.iter().for_each(|inputs| recorder.notes().note(inputs).unwrap());
                recorder.done(done);
            }
            assert_eq!(noted(&recorder), want);
        }
    }

    #[test]
    fn what_only_fills_a_batch_is_no_sample() {
        let recorder = Recorder::default();
        recorder.begin(0, &[0], 1);
        recorder.notes().note(&call(2, 5.0)).unwrap();
        assert_eq!(noted(&recorder), [(0, 0, vec![5.0, 5.0])]);
    }

    #[test]
    fn an_input_without_samples_is_named() {
        let recorder = Recorder::default();
        recorder.begin(0, &[0], 2);
        let mut inputs = call(2, 1.0);
        inputs.insert("y".to_owned(), HostTensor::from_f32([3], vec![0.0; 3]));
        let error = recorder.notes().note(&inputs).unwrap_err().to_string();
        assert_eq!(error, "input y has shape [3], which does not begin with the number of samples, 2");
    }
}
