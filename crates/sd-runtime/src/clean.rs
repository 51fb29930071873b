//! A denoiser's output and the clean sample that it means, at one call of a walk.
//!
//! Every scheduler's sample is some part of the clean sample and some noise; how much of each, the [`Course`] tells by what it
//! makes of a clean sample and of noise, so no scheduler needs to say it again.
//! EDM's models are not here: what their outputs mean depends on EDM's preconditioning.

use crate::scheduler::{Course, PredictionType};

/// What a sample is made of at one call of the model.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clean {
    /// Share of the clean sample.
    signal: f64,
    /// Share of the noise.
    noise: f64,
    prediction: PredictionType,
}

impl Clean {
    /// At a call of a walk, for a model that predicts so.
    pub(crate) fn at(course: &dyn Course, call: usize, prediction: PredictionType) -> Self {
        let (mut signal, mut noise) = ([0.0], [1.0]);
        course.add_noise(call, &[1.0], &mut signal);
        course.add_noise(call, &[0.0], &mut noise);
        Self { signal: f64::from(signal[0]), noise: f64::from(noise[0]), prediction }
    }

    /// Noise by clean sample: what k-diffusion and EDM call sigma.
    pub(crate) fn sigma(&self) -> f64 {
        self.noise / self.signal
    }

    /// The clean sample that an output means; `sample` is that of the walk, before it is scaled for the model.
    pub(crate) fn of_output(&self, output: &[f32], sample: &[f32]) -> Vec<f32> {
        let (keep, gain) = self.factors();
        sample.iter().zip(output).map(|(&x, &out)| (keep * f64::from(x) + gain * f64::from(out)) as f32).collect()
    }

    /// The output that means a clean sample: the inverse of [`of_output`](Self::of_output).
    pub(crate) fn to_output(self, clean: &[f32], sample: &[f32]) -> Vec<f32> {
        let (keep, gain) = self.factors();
        let output = |(&x, &clean): (&f32, &f32)| ((f64::from(clean) - keep * f64::from(x)) / gain) as f32;
        sample.iter().zip(clean).map(output).collect()
    }

    /// The clean sample is `keep · sample + gain · output`.
    fn factors(&self) -> (f64, f64) {
        let Self { signal, noise, prediction } = *self;
        // Of a model that was trained on samples of variance 1.
        let length = signal.hypot(noise);
        match prediction {
            PredictionType::Epsilon => (1.0 / signal, -noise / signal),
            PredictionType::Sample => (0.0, 1.0),
            PredictionType::VPrediction => (signal / (length * length), -noise / length),
            PredictionType::Flow => (1.0, -noise),
        }
    }
}

/// What a step's output says of the clean sample, computed for whoever asks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Predicted<'a> {
    /// Absent where outputs do not say it.
    pub(crate) at: Option<Clean>,
    pub(crate) output: &'a [f32],
    /// The sample before the step.
    pub(crate) sample: &'a [f32],
}

impl Predicted<'_> {
    /// The clean sample that the output means, if it says any.
    pub(crate) fn clean(&self) -> Option<Vec<f32>> {
        self.at.map(|at| at.of_output(self.output, self.sample))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::NumpyRandom;
    use crate::scheduler::{SchedulerConfig, SchedulerKind};

    /// Walks a model that knows the clean sample, and finds it in each output.
    #[track_caller]
    fn check(kind: SchedulerKind, prediction: PredictionType) {
        let mut config = SchedulerConfig::stable_diffusion();
        config.prediction_type = prediction;
        let walk = config.build(Some(kind), 7).unwrap();
        for call in 0..walk.timesteps().len() {
            let (clean, noise) = ([0.5f32, -0.25, 2.0], [0.1f32, -1.5, 0.7]);
            let mut sample = noise;
            walk.add_noise(call, &clean, &mut sample);
            let at = Clean::at(walk.course(), call, prediction);
            let length = at.signal.hypot(at.noise);
            let output = |(&clean, &noise): (&f32, &f32)| match prediction {
                PredictionType::Epsilon => noise,
                PredictionType::Sample => clean,
                PredictionType::VPrediction => {
                    ((at.signal * f64::from(noise) - at.noise * f64::from(clean)) / length) as f32
                }
                PredictionType::Flow => noise - clean,
            };
            let output: Vec<f32> = clean.iter().zip(&noise).map(output).collect();
            let found = at.of_output(&output, &sample);
            // What little is left of a clean sample in a noisy one is found less exactly.
            let tolerance = 1e-5 * (1.0 + at.sigma());
            let near = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| f64::from((a - b).abs()) < tolerance);
            assert!(near(&found, &clean), "{kind:?} call {call}: {found:?}");
            assert!(near(&at.to_output(&found, &sample), &output), "{kind:?} call {call}");
        }
    }

    #[test]
    fn every_way_to_count_noise_gives_the_clean_sample() {
        use PredictionType::{Epsilon, Sample, VPrediction};
        use SchedulerKind::{Ddim, DpmSolverMultistep, EulerDiscrete, HeunDiscrete, Pndm};
        for kind in [Pndm, Ddim, DpmSolverMultistep, EulerDiscrete, HeunDiscrete] {
            for prediction in [Epsilon, VPrediction] {
                check(kind, prediction);
            }
        }
        for kind in [Ddim, EulerDiscrete] {
            check(kind, Sample);
        }
    }

    #[test]
    fn flow_matching_counts_from_noise_to_clean() {
        let config = SchedulerConfig::from_json(r#"{"_class_name": "FlowMatchEulerDiscreteScheduler"}"#).unwrap();
        let walk = config.build(None, 4).unwrap();
        let (clean, mut sample) = ([0.5f32, -2.0], [1.5f32, 0.25]);
        let velocity = [1.0f32, 2.25];
        walk.add_noise(1, &clean, &mut sample);
        let at = Clean::at(walk.course(), 1, PredictionType::Flow);
        let found = at.of_output(&velocity, &sample);
        assert!(found.iter().zip(&clean).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?}");
    }

    #[test]
    fn a_foretold_step_with_the_right_clean_sample_is_the_step() {
        let config = SchedulerConfig::stable_diffusion();
        let mut walks = [(); 2].map(|()| config.build(Some(SchedulerKind::DpmSolverMultistep), 5).unwrap());
        let mut source = NumpyRandom::new(1);
        let (mut sample, noise) = ([0.3f32, -1.0, 0.8], [0.2f32, -0.9, 1.1]);
        let mut other = sample;
        let at = Clean::at(walks[0].course(), 0, PredictionType::Epsilon);
        let again = at.to_output(&at.of_output(&noise, &sample), &sample);
        walks[0].step(0, &noise, &mut sample, &mut source).unwrap();
        walks[1].step(0, &again, &mut other, &mut source).unwrap();
        assert!(sample.iter().zip(&other).all(|(a, b)| (a - b).abs() < 1e-5), "{sample:?} {other:?}");
    }
}
