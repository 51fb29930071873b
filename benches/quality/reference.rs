//! Apple's mixed-bit analysis (`mixed_bit_compression_pre_analysis.py`), made again: for each width layers get palettes one
//! after another, the least sensitive first, and each layer has the smallest width at which the model with all layers up to
//! it is still above a threshold, or 16 bits.
//!
//! What differs is the ground: real runs at all noise levels in the place of one step of eight prompts, and all weights that
//! are compressed here, where Apple's leaves those of up to 100 000 elements, which would be most of this model's.

use std::ops::ControlFlow;

use mil::Program;
use mil_compress::{Config, Memory, Name, Plan, Scheme, compress};
use mlpackage::{Body, Package};
use sd_engines::{Executor, MilEngine};
use sd_runtime::{Engine, Tensors};
use smelt::{AnalysedWeight, Analysis, CalibrationData};

use crate::{Result, ground::Ground};

/// Widths that it knows.
pub(crate) const WIDTHS: [&str; 5] = ["1", "2", "4", "6", "8"];
/// Samples: eight pairs of a negative prompt and a prompt, as it has.
const SAMPLES: usize = 16;
/// What keeps its ratio finite.
const EPSILON: [f64; 2] = [1e-5, 1e-10];

/// What was measured.
pub(crate) struct Reference {
    weights: Vec<AnalysedWeight>,
    /// For each width, by weight: the ratio in dB when it and all that come before it have that width.
    kept: Vec<Vec<f64>>,
}

/// A width for each weight.
pub(crate) struct Chosen {
    pub(crate) config: Config,
    /// Bytes of all weights.
    pub(crate) bytes: u64,
}

impl Reference {
    /// Compresses each weight alone at each width, then all of them one after another.
    pub(crate) fn measure(ground: &Ground) -> Result<Self> {
        let weights = Analysis::read(&ground.analysis)?.weights;
        let package = Package::open(&ground.unet)?;
        let Body::Program(whole) = &package.model().body else { return Err("the UNet is a pipeline".into()) };
        let trial = Trial::new(ground, whole)?;
        let mut sums = vec![0.0; weights.len()];
        for (weight, sum) in weights.iter().zip(&mut sums) {
            for width in WIDTHS {
                let ratios = trial.ratios(&changed(whole, weight, width)?)?;
                *sum += ratios.iter().map(|db| (db * 10.0).round() / 10.0).sum::<f64>();
            }
        }
        let mut order: Vec<usize> = (0..weights.len()).collect();
        order.sort_by(|&a, &b| sums[b].total_cmp(&sums[a]));
        let mut kept = Vec::new();
        for width in WIDTHS {
            let (mut program, mut of_width) = (whole.clone(), vec![0.0; weights.len()]);
            for &weight in &order {
                program = changed(&program, &weights[weight], width)?;
                let ratios = trial.ratios(&program)?;
                of_width[weight] = ratios.iter().sum::<f64>() / ratios.len() as f64;
            }
            kept.push(of_width);
        }
        Ok(Self { weights, kept })
    }

    /// The assignment with the most bits of those that have no more than this mean.
    ///
    /// It tries seven thresholds; here all are tried at which an assignment changes.
    pub(crate) fn below(&self, mean: f64) -> Result<Chosen> {
        let n_elements: usize = self.weights.iter().map(|w| w.shape.iter().product::<usize>()).sum();
        let budget = (mean * n_elements as f64 / 8.0) as u64;
        let thresholds = self.kept.iter().flatten().map(|&db| self.above(db));
        let fitting = thresholds.filter(|chosen| self.bytes(chosen) <= budget);
        let best = fitting.max_by_key(|chosen| self.bytes(chosen)).ok_or("every threshold takes more bits")?;
        let names = self.weights.iter().zip(&best).map(|(weight, width)| {
            let bits = width.map(|width| WIDTHS[width].parse::<u8>()).transpose()?;
            Ok((Name::Pattern(weight.name.clone()), bits.map_or(Scheme::Keep, Scheme::palettes)))
        });
        let config = Config { names: names.collect::<Result<_>>()?, ..Config::default() };
        Ok(Chosen { config, bytes: self.bytes(&best) })
    }

    /// For each weight the smallest width that stays above a threshold.
    fn above(&self, threshold: f64) -> Vec<Option<usize>> {
        let width = |weight: usize| (0..WIDTHS.len()).find(|&width| self.kept[width][weight] > threshold);
        (0..self.weights.len()).map(width).collect()
    }

    fn bytes(&self, chosen: &[Option<usize>]) -> u64 {
        let of = |(weight, width): (&AnalysedWeight, &Option<usize>)| {
            let stored = width.and_then(|width| weight.choices.iter().find(|choice| choice.scheme == WIDTHS[width]));
            stored.map_or(weight.bytes, |choice| choice.bytes)
        };
        self.weights.iter().zip(chosen).map(of).sum()
    }
}

/// A program with one more weight compressed.
fn changed(program: &Program, weight: &AnalysedWeight, width: &str) -> Result<Program> {
    let scheme = Scheme::palettes(width.parse()?);
    let config = Config { names: vec![(Name::Pattern(weight.name.clone()), scheme)], ..Config::default() };
    let plan = Plan::new(program, &config)?;
    let go_on = &mut |_| ControlFlow::Continue(());
    Ok(compress(program, &plan, &mut Memory::default(), false, go_on)?.0)
}

/// Runs to compare.
struct Trial {
    batches: Vec<Tensors>,
    /// Outputs of the whole program.
    clean: Vec<Vec<f32>>,
}

impl Trial {
    fn new(ground: &Ground, whole: &Program) -> Result<Self> {
        let engine = MilEngine::from_program(whole, Executor::default())?;
        let data = CalibrationData::read(&ground.samples)?.evenly(SAMPLES);
        let batches = data.batches(engine.signature())?.map(|batch| Ok(batch?.inputs)).collect::<Result<Vec<_>>>()?;
        let clean = batches.iter().map(|inputs| outputs(&engine, inputs)).collect::<Result<_>>()?;
        Ok(Self { batches, clean })
    }

    /// Its ratio of each batch in dB.
    fn ratios(&self, program: &Program) -> Result<Vec<f64>> {
        let engine = MilEngine::from_program(program, Executor::default())?;
        let ratio = |(inputs, clean): (&Tensors, &Vec<f32>)| {
            let ours = outputs(&engine, inputs)?;
            let squares: f64 = clean.iter().zip(&ours).map(|(a, b)| f64::from(a - b).powi(2)).sum();
            let peak = ours.iter().fold(0f64, |most, v| most.max(f64::from(v.abs())));
            let rms = (squares / ours.len() as f64).sqrt();
            Ok(20.0 * ((peak + EPSILON[0]) / (rms + EPSILON[1])).log10())
        };
        self.batches.iter().zip(&self.clean).map(ratio).collect()
    }
}

fn outputs(engine: &MilEngine, inputs: &Tensors) -> Result<Vec<f32>> {
    Ok(engine.run_once(inputs)?.values().flat_map(|tensor| tensor.to_f32_vec()).collect())
}
