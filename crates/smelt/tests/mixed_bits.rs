//! What a recipe of measured losses gains on the model in the box: over one width for all weights, and over the assignment
//! of Apple's analysis, whose algorithm is made again here.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use mil::{HostTensor, Program, validate};
use mil_compress::assign::{Choice, Group, within_bytes};
use mil_compress::{Config, Memory, Name, Plan, Scheme, compress};
use safe_files::{OutputFile, Outputs};
use sd_convert::{Checkpoint, Options, Role, convert};
use sd_engines::MilEngine;
use sd_runtime::{Engine, Tensors};
use smelt::compression::Named;
use smelt::{
    Analysing, Analysis, Calibration, CalibrationData, Compression, Conversion, PipelineOptions, Request, Stop,
    Unwatched,
};

/// Widths that Apple's analysis knows.
const WIDTHS: [&str; 5] = ["1", "2", "4", "6", "8"];
const WORDS: [&str; 4] = ["red heart", "penguin", "pizza", "rocket"];

fn request(words: &str, seed: u64) -> Request {
    let scheduler = Some("dpmpp-2m".parse().unwrap());
    Request { steps: 10, guidance: 4.0, seed, scheduler, ..Request::new(words) }
}

fn output(path: &Path) -> OutputFile {
    Outputs::new().file("-o", path).unwrap()
}

/// The model in the box as packages, its UNet, what that is given in real runs, and what each width of each weight loses.
struct Ground {
    dir: tempfile::TempDir,
    program: Program,
    unet: PathBuf,
    calibration: PathBuf,
    analysis: Analysis,
}

impl Ground {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let whole = dir.path().join("whole");
        let roles = vec![Role::TextEncoder, Role::UNet, Role::VaeDecoder];
        let conversion = Conversion { roles, ..Conversion::default() };
        smelt::open(testkit::demo()).unwrap().convert(&whole, &conversion, &mut Unwatched).unwrap();
        let unet = smelt::packages(&whole).unwrap().into_iter().find(|p| p.to_string_lossy().contains("unet")).unwrap();
        let calibration = dir.path().join("samples.safetensors");
        let words = ["octopus", "castle", "strawberry"].map(str::to_owned).to_vec();
        let asked = Calibration { samples: Some(8), request: request("", 50), ..Calibration::new(words) };
        let options = PipelineOptions::default();
        let opened = smelt::open(testkit::demo()).unwrap();
        opened.calibrate(&asked, &options, &output(&calibration), &Stop::never(), &mut Unwatched).unwrap();
        let checkpoint = Checkpoint::open(testkit::demo()).unwrap();
        let program = convert(&checkpoint, Role::UNet, &Options::default()).unwrap().program;
        let analysis = dir.path().join("analysis.json");
        let analysing = Analysing {
            schemes: WIDTHS.map(|width| width.parse().unwrap()).to_vec(),
            calibration: Some(calibration.clone()),
            samples: Some(4),
            ..Analysing::default()
        };
        analysing.run(&unet.clone().into(), &output(&analysis), &Stop::never(), &mut Unwatched).unwrap();
        Self { program, unet, calibration, analysis: Analysis::read(&analysis).unwrap(), dir }
    }

    /// The choices of every weight, with what leaves it last.
    fn groups(&self) -> Vec<Group> {
        let group = |weight: &smelt::AnalysedWeight| {
            let ways = weight.choices.iter().map(|choice| Choice { bytes: choice.bytes, loss: choice.loss });
            Group { choices: ways.chain([Choice { bytes: weight.bytes, loss: 0.0 }]).collect() }
        };
        self.analysis.weights.iter().map(group).collect()
    }

    /// Bytes of all weights, where each is stored in one of the ways of its group.
    fn bytes(&self, chosen: &[usize]) -> u64 {
        self.groups().iter().zip(chosen).map(|(group, &i)| group.choices[i].bytes).sum()
    }

    /// The position of a width among a weight's choices; 16 bits are behind the last.
    fn position(&self, weight: usize, width: &str) -> usize {
        let choices = &self.analysis.weights[weight].choices;
        choices.iter().position(|choice| choice.scheme == width).unwrap_or(choices.len())
    }

    fn config(&self, chosen: &[usize]) -> Config {
        let scheme = |(weight, &i): (&smelt::AnalysedWeight, &usize)| {
            let named = weight.choices.get(i).map(|choice| choice.scheme.parse::<Named>().unwrap().scheme());
            (Name::Pattern(weight.name.clone()), named.unwrap_or(Scheme::Keep))
        };
        Config { names: self.analysis.weights.iter().zip(chosen).map(scheme).collect(), ..Config::default() }
    }

    /// Mean ratio of pictures to those of the whole model, in dB.
    fn pictures(&self, name: &str, chosen: &[usize]) -> f64 {
        let folder = self.dir.path().join(name);
        let roles = vec![Role::TextEncoder, Role::VaeDecoder];
        let conversion = Conversion { roles, ..Conversion::default() };
        smelt::open(testkit::demo()).unwrap().convert(&folder, &conversion, &mut Unwatched).unwrap();
        let to = folder.join(self.unet.file_name().unwrap());
        Compression::new(self.config(chosen)).plan(&self.unet, &to).unwrap().run(&mut Unwatched).unwrap();
        let draw = |model: &Path| {
            let mut pipeline = smelt::open(model.to_owned()).unwrap().pipeline(&PipelineOptions::default()).unwrap();
            let all = WORDS.iter().zip(0..).map(|(words, seed)| {
                pipeline.draw(&request(words, seed), &mut Unwatched).unwrap().pictures.remove(0).image
            });
            all.collect::<Vec<_>>()
        };
        let (whole, ours) = (draw(self.unet.parent().unwrap()), draw(&folder));
        let db = |(a, b)| smelt::image::Difference::between(a, b).unwrap().psnr_db;
        whole.iter().zip(&ours).map(db).sum::<f64>() / WORDS.len() as f64
    }
}

/// Apple's mixed-bit pre-analysis: per width, layers are compressed one after another, the least sensitive first, and each
/// gets the smallest width at which the model with all layers up to it is still above a threshold.
struct Apple<'g> {
    ground: &'g Ground,
    /// For each width, layers by the sum of what they keep at all widths, falling.
    order: Vec<usize>,
    batches: Vec<Tensors>,
    clean: Vec<Vec<f32>>,
    known: RefCell<HashMap<(usize, usize), f64>>,
}

impl<'g> Apple<'g> {
    fn new(ground: &'g Ground) -> Self {
        let db = |loss: f64| 10.0 * (ground.analysis.peak.powi(2) / loss.max(1e-20)).log10();
        let kept: Vec<f64> = ground
            .analysis
            .weights
            .iter()
            .map(|w| w.choices.iter().map(|choice| (db(choice.loss) * 10.0).round() / 10.0).sum())
            .collect();
        let mut order: Vec<usize> = (0..kept.len()).collect();
        order.sort_by(|&a, &b| kept[b].total_cmp(&kept[a]));
        let data = CalibrationData::read(&ground.calibration).unwrap().evenly(4);
        let engine = MilEngine::from_program(&ground.program, sd_engines::Executor::default()).unwrap();
        let batches: Vec<Tensors> = data.batches(engine.signature()).unwrap().map(|b| b.unwrap().inputs).collect();
        let clean = batches.iter().map(|inputs| run(&engine, inputs)).collect();
        Self { ground, order, batches, clean, known: RefCell::default() }
    }

    /// What is kept when the first `n` layers have this width, in dB (the reference's formula of the ratio).
    fn kept(&self, width: usize, n: usize) -> f64 {
        if let Some(&known) = self.known.borrow().get(&(width, n)) {
            return known;
        }
        let mut chosen: Vec<usize> = self.ground.analysis.weights.iter().map(|w| w.choices.len()).collect();
        self.order[..n].iter().for_each(|&layer| chosen[layer] = self.ground.position(layer, WIDTHS[width]));
        let plan = Plan::new(&self.ground.program, &self.ground.config(&chosen)).unwrap();
        let go_on = &mut |_| ControlFlow::Continue(());
        let (program, _) = compress(&self.ground.program, &plan, &mut Memory::default(), false, go_on).unwrap();
        validate(&program).unwrap();
        let engine = MilEngine::from_program(&program, sd_engines::Executor::default()).unwrap();
        let one = |(inputs, clean): (&Tensors, &Vec<f32>)| {
            let ours = run(&engine, inputs);
            let squares: f64 = clean.iter().zip(&ours).map(|(a, b)| f64::from(a - b).powi(2)).sum();
            let peak = ours.iter().fold(0f64, |most, v| most.max(f64::from(v.abs())));
            20.0 * ((peak + 1e-5) / ((squares / ours.len() as f64).sqrt() + 1e-10)).log10()
        };
        let kept = self.batches.iter().zip(&self.clean).map(one).sum::<f64>() / self.batches.len() as f64;
        self.known.borrow_mut().insert((width, n), kept);
        kept
    }

    /// How many layers of this width stay above a threshold; what is kept falls as they become more.
    fn reach(&self, width: usize, threshold: f64) -> usize {
        let (mut least, mut most) = (0, self.order.len());
        while least < most {
            let middle = (least + most).div_ceil(2);
            if self.kept(width, middle) > threshold { least = middle } else { most = middle - 1 }
        }
        least
    }

    fn assignment(&self, threshold: f64) -> Vec<usize> {
        let mut chosen: Vec<usize> = self.ground.analysis.weights.iter().map(|w| w.choices.len()).collect();
        for width in (0..WIDTHS.len()).rev() {
            for &layer in &self.order[..self.reach(width, threshold)] {
                chosen[layer] = self.ground.position(layer, WIDTHS[width]);
            }
        }
        chosen
    }

    /// The assignment of the highest threshold that takes no more than so many bytes.
    fn within(&self, budget: u64) -> Vec<usize> {
        let (mut low, mut high) = (0.0, 120.0);
        for _ in 0..12 {
            let middle = f64::midpoint(low, high);
            if self.ground.bytes(&self.assignment(middle)) > budget { high = middle } else { low = middle }
        }
        self.assignment(low)
    }
}

fn run(engine: &MilEngine, inputs: &BTreeMap<String, HostTensor>) -> Vec<f32> {
    engine.run_once(inputs).unwrap().values().flat_map(HostTensor::to_f32_vec).collect()
}

#[test]
fn measured_losses_choose_better_than_one_width_and_than_thresholds() {
    let ground = Ground::new();
    let groups = ground.groups();
    let uniform = |width: &str| (0..groups.len()).map(|i| ground.position(i, width)).collect::<Vec<usize>>();
    let best = |budget: u64| within_bytes(&groups, budget).unwrap().chosen;
    let (four, two) = (uniform("4"), uniform("2"));
    let n_elements: usize = ground.analysis.weights.iter().map(|w| w.shape.iter().product::<usize>()).sum();
    let apple = Apple::new(&ground).within(n_elements as u64 / 2);
    let apple_bits = ground.bytes(&apple) as f64 * 8.0 / n_elements as f64;
    assert!((3.3..=4.0).contains(&apple_bits), "{apple_bits}");
    let [at_four, at_apple, at_two] =
        [best(n_elements as u64 / 2), best(ground.bytes(&apple)), best(n_elements as u64 * 5 / 16)];
    let db = |name: &str, chosen: &[usize]| ground.pictures(name, chosen);
    let found = [
        ("four", db("four", &four), db("mixed four", &at_four), 4.0),
        ("apple", db("apple", &apple), db("mixed apple", &at_apple), 1.5),
        ("two", db("two", &two), db("mixed two and a half", &at_two), 6.0),
    ];
    for (name, theirs, ours, gain) in found {
        assert!(ours >= theirs + gain, "{name}: {ours:.2} dB and {theirs:.2} dB; all: {found:?}, {apple_bits:.3} bits");
    }
}
