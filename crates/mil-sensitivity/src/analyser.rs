//! A function, cut and ready to be analysed.

use crate::{
    SensitivityError,
    parts::{Part, even},
    work,
};
use mil::{Function, Program};
use mil_compress::{Config, Named, Plan, PlannedWeight, Scheme};
use mil_engine::cpu;

/// How a program is analysed.
#[derive(Debug, Clone)]
pub struct Options {
    /// Ways to store a weight that are looked at.
    pub schemes: Vec<Named>,
    /// Those of them that are measured at the outputs for every weight; the others are estimated.
    pub measured: Vec<Named>,
    /// Which weights are looked at: its schemes are not used, but what they leave is left.
    pub weights: Config,
    /// How parts are executed.
    pub engine: cpu::Options,
}

/// Parts of a run: what is kept between them, and each part's own memory, grow with their number, and what is computed in
/// vain shrinks.
const PARTS: usize = 24;

/// A function that is ready to be analysed.
///
/// ```
/// use host_tensor::{DType, HostTensor, Stop};
/// use mil::{Const, FunctionBuilder, Opset, Type};
/// use mil_compress::Config;
/// use mil_sensitivity::{Analyser, Options};
/// use std::collections::BTreeMap;
///
/// let mut b = FunctionBuilder::new("main", Opset::CoreML6);
/// let x = b.input("x", Type::tensor(DType::F32, &[1, 64]));
/// let mut e = b.emitter();
/// let weight = HostTensor::from_f32([32, 64], (0..2048u16).map(|i| f32::from(i % 61)).collect());
/// let weight = e.constant("weight", Const::new(weight).into());
/// let y = e.op("linear", "y", [("x", x.into()), ("weight", weight.into())])?;
/// let ops = e.into_ops();
/// let program = b.finish_program(ops, &[y]);
///
/// let options = Options {
///     schemes: vec!["2".parse()?, "4".parse()?],
///     measured: vec!["4".parse()?],
///     weights: Config { min_elements: 1000, ..Config::default() },
///     engine: mil_engine::cpu::Options::default(),
/// };
/// let analyser = Analyser::new(program.main().expect("it has one"), options)?;
/// let inputs = BTreeMap::from([("x".to_owned(), HostTensor::from_f32([1, 64], vec![0.5; 64]))]);
/// let mut session = analyser.begin(&inputs, 1, &Stop::never())?;
/// let measured = session.measure(0, &Stop::never())?;
/// let [two, four] = &measured[..] else { panic!("a result for each scheme") };
/// assert!(two.as_ref().expect("it fits").local > four.as_ref().expect("it fits").local);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Analyser {
    pub(crate) options: Options,
    pub(crate) parts: Vec<Part>,
    /// Names of the function's outputs.
    pub(crate) outputs: Vec<String>,
    pub(crate) weights: Vec<Weight>,
}

/// A weight that can be compressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Name in the program.
    pub name: String,
    /// Types of the operations that read it.
    pub readers: Vec<String>,
    /// Shape.
    pub shape: Vec<usize>,
    /// Bytes that it takes now.
    pub bytes: u64,
    /// Names of the values that it is in the program.
    pub(crate) values: Vec<String>,
}

impl Candidate {
    fn new(planned: PlannedWeight<'_>) -> Self {
        Self {
            name: planned.name.to_owned(),
            readers: planned.readers(),
            shape: planned.shape.to_vec(),
            bytes: planned.bytes,
            values: planned.values.to_vec(),
        }
    }
}

/// A weight to be looked at.
#[derive(Debug)]
pub(crate) struct Weight {
    pub(crate) planned: Candidate,
    /// The first part that reads it.
    pub(crate) part: usize,
    /// Work of measuring it with one scheme, in runs of the whole function.
    pub(crate) work: f64,
}

impl Analyser {
    /// Chooses the weights of a valid function, and cuts it into parts.
    ///
    /// # Errors
    /// For options that name no scheme, weights that cannot be chosen, functions with states, and operations that the
    /// engine does not have.
    pub fn new(function: &Function, options: Options) -> Result<Self, SensitivityError> {
        check(&options)?;
        let work = work::of(function);
        let functions = even(function, &work, PARTS)?;
        let parts = functions.into_iter().map(|f| Part::new(f, &options.engine)).collect::<Result<Vec<_>, _>>()?;
        let mut behind: Vec<f64> = parts.iter().map(|part| work::of(&part.function).iter().sum()).collect();
        let total: f64 = behind.iter().sum::<f64>().max(1.0);
        for i in (0..behind.len().saturating_sub(1)).rev() {
            behind[i] += behind[i + 1];
        }
        let mut weights = Vec::new();
        for planned in candidates(function, &options.weights)? {
            let Some(part) = parts.iter().position(|part| part.holds(&planned.values)) else { continue };
            weights.push(Weight { planned, part, work: behind[part] / total });
        }
        let outputs = function.body.outputs.iter().map(|&v| function.name_of(v).to_owned()).collect();
        Ok(Self { options, parts, outputs, weights })
    }

    /// The weights that can be compressed, in the order of the program.
    #[must_use]
    pub fn weights(&self) -> Vec<&Candidate> {
        self.weights.iter().map(|weight| &weight.planned).collect()
    }

    /// The instruction set, on which the last digits depend.
    #[must_use]
    pub fn isa(&self) -> &'static str {
        self.parts.first().map_or("", |part| part.isa().name())
    }

    /// Runs of the whole function that measuring a weight takes, about.
    #[must_use]
    pub fn work(&self, weight: usize) -> f64 {
        let n = self.options.measured.len() as f64;
        self.weights.get(weight).map_or(0.0, |weight| weight.work * n)
    }
}

fn check(options: &Options) -> Result<(), SensitivityError> {
    if options.schemes.is_empty() {
        return Err(SensitivityError::Options("there is no scheme to look at".to_owned()));
    }
    if let Some(keep) = options.schemes.iter().find(|named| named.scheme() == Scheme::Keep) {
        return Err(SensitivityError::Options(format!("{keep} changes nothing, so that there is nothing to measure")));
    }
    if options.measured.is_empty() {
        return Err(SensitivityError::Options("no scheme is to be measured; estimates need one at least".to_owned()));
    }
    match options.measured.iter().find(|named| !options.schemes.contains(named)) {
        Some(other) => Err(SensitivityError::Options(format!("{other} is to be measured, but not among the schemes"))),
        None => Ok(()),
    }
}

/// The weights that a compression of everything would take.
fn candidates(function: &Function, weights: &Config) -> Result<Vec<Candidate>, SensitivityError> {
    let config = Config { global: Scheme::palettes(8), raise_opset: true, ..weights.clone() };
    Ok(Plan::new(&Program::single(function.clone()), &config)?.weights().map(Candidate::new).collect())
}
