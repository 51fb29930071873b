//! Random operands for every specified operation: what inference accepts must run without a panic, yield what
//! inference said, and be the same on the fast engine.

use super::{Options, Reference};
use crate::{
    EngineError, OpFault,
    cpu::{self, Cpu},
};
use host_tensor::{DType, HostTensor, Stop};
use mil::{
    Arg, Function, Inputs, Literal, Op, Opset, Program, Type, ValueId,
    ops::{Accepts, OpSpec, Param, Rank, View},
    text::{PrintOptions, print},
};
use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
};
use testkit::Rng;

/// Tries per version of an operation, and how many that run are enough.
const TRIES: usize = 3000;
const ENOUGH: usize = 40;

/// Operations that hold blocks or touch states have tests of their own.
const STRUCTURAL: [&str; 4] = ["cond", "while_loop", "read_state", "write_state"];

/// What operations read that take any string.
const FREE_TEXTS: [&str; 8] = ["nchw,nwhu->nchu", "chw,whu->chu", "fp16", "fp32", "int32", "bool", "int8", "uint16"];

/// Names of dimensions by the parameter.
type Shapes = &'static [(&'static str, &'static [&'static str])];

/// Shapes of operations whose operands fit each other too seldom by chance: dimensions of one name have one size, and
/// the number before a name multiplies it.
const FITTING: [(&str, Shapes); 1] = [(
    "lstm",
    &[
        ("x", &["steps", "samples", "features"]),
        ("initial_h", &["samples", "states"]),
        ("initial_c", &["samples", "states"]),
        ("weight_ih", &["4 hidden", "features"]),
        ("weight_hh", &["4 hidden", "hidden"]),
        ("bias", &["4 hidden"]),
        ("peephole", &["3 hidden"]),
        ("weight_ih_back", &["4 hidden", "features"]),
        ("weight_hh_back", &["4 hidden", "hidden"]),
        ("bias_back", &["4 hidden"]),
        ("peephole_back", &["3 hidden"]),
    ],
)];

/// One function of one operation, and the values of its inputs.
struct Draw<'r> {
    kind: &'static str,
    rng: &'r mut Rng,
    function: Function,
    inputs: BTreeMap<String, HostTensor>,
    /// The shape that most tensors of this draw resemble.
    base: Vec<usize>,
    /// Element types by letter.
    letters: BTreeMap<char, DType>,
    /// Sizes by the names of dimensions.
    sizes: BTreeMap<&'static str, usize>,
}

impl Draw<'_> {
    /// The shape that fits those of the other operands, where it is known and unless chance has it.
    fn fitting(&mut self, param: &str) -> Option<Vec<usize>> {
        let (_, shapes) = FITTING.iter().find(|(kind, _)| *kind == self.kind)?;
        let (_, dims) = shapes.iter().find(|(name, _)| *name == param)?;
        if self.rng.below(40) == 0 {
            return None;
        }
        let size = |dim: &&'static str| {
            let (times, name) = dim.split_once(' ').unwrap_or(("1", dim));
            // States are those of one direction or of both.
            let n = match name {
                "states" => self.size("hidden") * (1 + self.rng.below(2)),
                _ => self.size(name),
            };
            n * times.parse::<usize>().expect("a number")
        };
        Some(dims.iter().map(size).collect())
    }

    fn size(&mut self, name: &'static str) -> usize {
        let drawn = 1 + self.rng.below(4);
        *self.sizes.entry(name).or_insert(drawn)
    }

    fn shape(&mut self, rank: Rank) -> Vec<usize> {
        let base = self.base.clone();
        let rng = &mut *self.rng;
        match rank {
            Rank::Scalar => Vec::new(),
            Rank::Vector => {
                let lengths = [base.len(), base.len(), 2 * base.len(), base.len().saturating_sub(2), 1, 2, 3, 4];
                let dims = base.get(1).copied().unwrap_or(1);
                vec![if rng.below(4) == 0 { dims } else { *rng.pick(&lengths) }]
            }
            Rank::Any => match rng.below(8) {
                0 => (0..rng.below(6)).map(|_| rng.below(5)).collect(),
                1 => base.iter().map(|&d| if rng.below(2) == 0 { 1 } else { d }).collect(),
                2 => base[rng.below(base.len() + 1)..].to_vec(),
                3 => base.iter().map(|&d| 1 + rng.below(d.max(1) + 1)).collect(),
                // A lookup table for one-bit indices of the base shape.
                4 if rng.below(2) == 0 => [vec![1; base.len()], vec![2, 1]].concat(),
                _ => base,
            },
        }
    }

    fn tensor(&mut self, dtype: DType, shape: Vec<usize>) -> HostTensor {
        let n: usize = shape.iter().product();
        if dtype.is_float() {
            let scale = if self.rng.below(20) == 0 { 1e30 } else { 2.0 };
            let values = (0..n).map(|_| self.rng.normal() * scale).collect();
            return HostTensor::from_f32(shape, values).cast(dtype);
        }
        let extreme = self.rng.below(30) == 0;
        let value = |rng: &mut Rng| match extreme {
            true => *rng.pick(&[i32::MIN, i32::MAX, -1, 1 << 20]),
            false => rng.below(6) as i32 - 2,
        };
        let positive = self.rng.below(2) == 0;
        let values =
            (0..n).map(|_| if positive { value(self.rng).saturating_abs() } else { value(self.rng) }).collect();
        HostTensor::from_i32(shape, values).cast(dtype)
    }

    /// A constant, or an input of the function where the parameter need not be one.
    fn place(&mut self, param: &Param, tensor: HostTensor) -> ValueId {
        if param.constant || self.rng.below(2) == 0 {
            return self.function.add_constant(param.name, tensor.into());
        }
        let id = self.function.add_value(param.name, Type::tensor(tensor.dtype(), tensor.shape()));
        self.function.inputs.push(id);
        self.inputs.insert(self.function.name_of(id).to_string(), tensor);
        id
    }

    fn operand(&mut self, param: &Param) -> Option<Arg> {
        let text = |s: &str| Literal::string(s);
        let literal = match param.accepts {
            Accepts::Tensor(letter, domain) => {
                let drawn = *self.rng.pick(domain);
                let dtype = if letter == '_' { drawn } else { *self.letters.entry(letter).or_insert(drawn) };
                let shape = self.fitting(param.name).unwrap_or_else(|| self.shape(param.rank));
                let tensor = self.tensor(dtype, shape);
                return Some(Arg::One(self.place(param, tensor)));
            }
            Accepts::Tuple => {
                let dtype = *self.rng.pick(&[DType::F16, DType::F32, DType::I32, DType::Bool]);
                let n = 1 + self.rng.below(3);
                let shared = self.shape(Rank::Any);
                let ids = (0..n).map(|_| {
                    let shape = if self.rng.below(4) == 0 { self.shape(Rank::Any) } else { shared.clone() };
                    let tensor = self.tensor(dtype, shape);
                    self.place(param, tensor)
                });
                return Some(Arg::Many(ids.collect()));
            }
            Accepts::Text(choices) => text(choices[self.rng.below(choices.len())]),
            Accepts::FreeText => text(FREE_TEXTS[self.rng.below(FREE_TEXTS.len())]),
            Accepts::Any => {
                let shape = self.shape(param.rank);
                let tensor = self.tensor(DType::F16, shape);
                return Some(Arg::One(self.place(param, tensor)));
            }
            _ => return None,
        };
        Some(Arg::One(self.function.add_constant(param.name, literal)))
    }
}

/// What became of one draw.
enum Outcome {
    /// Inference refused it.
    Refused,
    /// It ran.
    Ran,
    /// The engine refused what inference could not know.
    Faulted,
    /// It panicked, or yielded something else than inferred: the reason and the program.
    Wrong(String),
}

fn attempt(spec: &'static OpSpec, rng: &mut Rng) -> Outcome {
    let opset = spec.since.max(Opset::CoreML6);
    let rank = rng.below(6);
    let base = (0..rank).map(|_| if rng.below(12) == 0 { 0 } else { 1 + rng.below(4) }).collect();
    let function = Function::new("main", opset);
    let (letters, sizes) = (BTreeMap::new(), BTreeMap::new());
    let mut draw = Draw { kind: spec.kind, rng, function, inputs: BTreeMap::new(), base, letters, sizes };
    let mut inputs = Inputs::new();
    for param in spec.params {
        if param.optional && draw.rng.below(2) == 0 {
            continue;
        }
        let Some(arg) = draw.operand(param) else { return Outcome::Refused };
        inputs.insert(param.name.into(), arg);
    }
    let Draw { mut function, inputs: given, .. } = draw;
    let Ok(types) = spec.result_types(&View::new(&function, &inputs)) else { return Outcome::Refused };
    let outputs: Vec<ValueId> = types.into_iter().map(|ty| function.add_value("y", ty)).collect();
    function.body.outputs.clone_from(&outputs);
    let (kind, name) = (spec.kind.into(), "op".into());
    function.body.ops.push(Op { kind, name, inputs, outputs, blocks: Vec::new(), origin: None });
    run(function, &given)
}

fn run(function: Function, given: &BTreeMap<String, HostTensor>) -> Outcome {
    let engine = Reference::new(&function, Options::default().with_max_elements(1 << 16)).expect("it compiles");
    let wrong = |why: String| {
        let text = print(
            &Program::single(function.clone()),
            &PrintOptions { blob_threshold: usize::MAX, ..Default::default() },
        );
        Outcome::Wrong(format!("{why}\n{}{given:?}", text.text))
    };
    match catch_unwind(AssertUnwindSafe(|| engine.run(given, &Stop::never()))) {
        Ok(Ok(_)) if !finite(&function, given) => Outcome::Ran,
        Ok(Ok(want)) => match fast(&function, given) {
            Ok(got) if near(&want, &got) => Outcome::Ran,
            Ok(got) => wrong(format!("the fast engine yields {got:?}, expected {want:?}")),
            Err(why) => wrong(format!("the fast engine: {why}")),
        },
        Ok(Err(EngineError::Op { fault, .. })) if is_expected(&function, &fault) => Outcome::Faulted,
        Ok(Err(other)) => wrong(other.to_string()),
        Err(_) => wrong("it panicked".into()),
    }
}

/// Whether all operands are finite: what becomes of infinities and of what is none, the engines may decide as they like.
fn finite(function: &Function, given: &BTreeMap<String, HostTensor>) -> bool {
    let all = |t: &HostTensor| !t.dtype().is_float() || t.to_f32_vec().iter().all(|v| v.is_finite());
    let constants = function.values().iter().filter_map(|v| v.literal.as_ref()?.as_const());
    given.values().all(all) && constants.map(mil::Const::read).all(|t| all(&t))
}

/// The same on the fast engine.
fn fast(function: &Function, given: &BTreeMap<String, HostTensor>) -> Result<BTreeMap<String, HostTensor>, String> {
    let run = || {
        let options = cpu::Options::default().with_threads(2);
        let engine = Cpu::compile_alone(function, options).map_err(|e| e.to_string())?;
        engine.run(given, &Stop::never()).map_err(|e| e.to_string())
    };
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| Err("it panicked".into()))
}

/// Equal but for the last digits; what is infinity minus or times something in one may be infinite in the other.
fn near(want: &BTreeMap<String, HostTensor>, got: &BTreeMap<String, HostTensor>) -> bool {
    let same = |(name, want): (&String, &HostTensor)| {
        let Some(got) = got.get(name).filter(|g| g.shape() == want.shape() && g.dtype() == want.dtype()) else {
            return false;
        };
        let (a, b) = (want.to_f32_vec(), got.to_f32_vec());
        let largest = a.iter().filter(|v| v.is_finite()).fold(1f32, |m, v| m.max(v.abs()));
        let step = if want.dtype() == DType::F16 { 1e-3 } else { 1e-5 };
        a.iter().zip(&b).all(|(a, b)| a == b || (a - b).abs() <= step * largest || (a.is_nan() && !b.is_finite()))
    };
    want.iter().all(same)
}

/// Whether inference could not have known of the fault.
///
/// coremltools types some slices whose bounds lie outside of `x` as if they did not; the engine slices as
/// Python does, and reports the difference.
fn is_expected(function: &Function, fault: &OpFault) -> bool {
    let is_slice = function.body.ops[0].kind.starts_with("slice_");
    is_slice || !matches!(fault, OpFault::Result { .. })
}

#[test]
fn what_inference_accepts_runs_and_yields_what_inference_said() {
    let mut runs: BTreeMap<&str, usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (i, spec) in mil::ops::all().iter().enumerate().filter(|(_, s)| !STRUCTURAL.contains(&s.kind)) {
        let mut rng = Rng::new(i as u64);
        let n_runs = runs.entry(spec.kind).or_default();
        let enough = *n_runs + ENOUGH;
        for _ in 0..TRIES {
            match attempt(spec, &mut rng) {
                Outcome::Ran => *n_runs += 1,
                Outcome::Refused | Outcome::Faulted => {}
                Outcome::Wrong(why) => {
                    wrong.push(why);
                    break;
                }
            }
            if *n_runs == enough {
                break;
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    let never: Vec<_> = runs.iter().filter(|(_, n)| **n == 0).map(|(kind, _)| kind).collect();
    assert!(never.is_empty(), "no draw of these was acceptable, so nothing is known of them: {never:?}");
}
