//! Half precision: every operation computes in f16, except where f16 cannot hold the numbers.
//!
//! These operations stay in f32:
//! - `sin` and `cos` and what computes their angles: a timestep of 981 has an ulp of ½ in f16, so the
//!   angle would be off by up to a quarter of a radian. (Apple's converter computes them in f16, which
//!   limits its diffusion models to about 60 dB.)
//! - operations with a finite constant beyond ±65 504, unless it stands for infinity (1e38 and more in a constant of
//!   few elements);
//! - the sum of squares of a root-mean-square normalisation, which leaves f16 from 256 on, and the sums of the states that
//!   such normalisations read: networks that have them let their states grow;
//! - where the caller asks for it, the scores of attention and their softmax.
//!
//! ```text
//! %y = conv(x=%x, weight=W)                     %x_to_fp16 = cast(x=%x, dtype="fp16")
//! return %y                             ==>     %y_fp16 = conv(x=%x_to_fp16, weight=f16(W))
//!                                               %y = cast(x=%y_fp16, dtype="fp32")
//! ```

mod kept;
mod states;

use super::error::{Failure, PassError, atomically};
use crate::{
    builder::{Bound, Emitter},
    constant::{Const, Literal},
    ir::{Arg, Function, Op, ValueId},
    ops::{self, Accepts, OpError, View},
    types::Type,
};
use host_tensor::{DType, HostTensor};
use kept::kept_in_f32;
use std::{collections::HashMap, fmt};

/// Constants with fewer elements than this keep non-zero values from rounding to zero: an epsilon of 1e-12
/// becomes the smallest subnormal. Source: coremltools 9.0, `add_fp16_cast`.
const SMALL_CONSTANT: usize = 400;

/// In which precision attention's scores and their softmax are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AttentionPrecision {
    /// In f16, as everything else.
    #[default]
    Half,
    /// In f32: the operands of the product that makes the scores are cast, and the weights are cast back. For networks
    /// whose scores leave f16.
    Full,
}

/// Says whether a constant has a finite value beyond f16; `None` where it is not known.
pub type BeyondHalf<'a> = dyn Fn(&Const) -> Option<bool> + 'a;

/// Choices of a conversion to f16.
#[derive(Clone, Copy, Default)]
pub struct HalfPrecision<'a> {
    /// Precision of attention.
    pub attention: AttentionPrecision,
    /// What the caller knows of constants; the pass reads the others.
    pub beyond_half: Option<&'a BeyondHalf<'a>>,
}

impl fmt::Debug for HalfPrecision<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HalfPrecision").field("attention", &self.attention).finish_non_exhaustive()
    }
}

/// Converts the function's arithmetic to f16; inputs and outputs keep their declared types.
///
/// Returns the number of converted operations.
///
/// # Errors
/// When a converted operation is refused by its specification.
pub fn to_f16(function: &mut Function) -> Result<usize, PassError> {
    to_f16_with(function, HalfPrecision::default())
}

/// As [`to_f16`], with choices.
///
/// # Errors
/// As [`to_f16`].
pub fn to_f16_with(function: &mut Function, choices: HalfPrecision<'_>) -> Result<usize, PassError> {
    atomically("to_f16", function, |function| converted(function, choices))
}

fn converted(function: &mut Function, choices: HalfPrecision<'_>) -> Result<usize, Failure> {
    let kept = kept_in_f32(function, choices);
    let was_full = function.values().iter().map(|v| is_full(&v.ty)).collect();
    let old_ops = std::mem::take(&mut function.body.ops);
    let mut state = Converter {
        emitter: Emitter::new(function),
        was_full,
        half: HashMap::new(),
        full: HashMap::new(),
        converted: 0,
    };
    for (index, op) in old_ops.into_iter().enumerate() {
        state.emitter.set_origin(op.origin.clone());
        let name = op.name.clone();
        let done = if op.kind == "cast" {
            state.cast(op)
        } else if kept.contains(&index) || !op.blocks.is_empty() {
            state.keep(op)
        } else {
            state.convert(op)
        };
        done.map_err(|error| Failure { op: Some(name), error })?;
    }
    Ok(state.finish()?)
}

struct Converter<'f> {
    emitter: Emitter<'f>,
    /// By value: f32 before the pass. What was f16 already stays so.
    was_full: Vec<bool>,
    /// The f16 value that stands for an f32 value.
    half: HashMap<ValueId, ValueId>,
    /// The f32 cast of a value that has become f16.
    full: HashMap<ValueId, ValueId>,
    converted: usize,
}

impl Converter<'_> {
    fn dtype(&self, v: ValueId) -> Option<DType> {
        self.emitter.function().ty(v).as_tensor().map(|t| t.dtype)
    }

    fn half(&mut self, v: ValueId) -> Result<ValueId, OpError> {
        if self.dtype(v) != Some(DType::F32) {
            return Ok(v);
        }
        if let Some(&h) = self.half.get(&v) {
            return Ok(h);
        }
        let name = format!("{}_to_fp16", self.emitter.function().name_of(v));
        let literal = self.emitter.function().literal(v).cloned();
        let h = match literal {
            Some(Literal::Tensor(c)) => self.emitter.constant(&name, Literal::Tensor(half_constant(&c))),
            _ => self.emitter.op("cast", &name, [("x", v.into()), ("dtype", "fp16".into())])?,
        };
        self.half.insert(v, h);
        Ok(h)
    }

    fn full(&mut self, v: ValueId) -> Result<ValueId, OpError> {
        if !self.became_half(v) {
            return Ok(v);
        }
        if let Some(&f) = self.full.get(&v) {
            return Ok(f);
        }
        let name = format!("{}_to_fp32", self.emitter.function().name_of(v));
        let f = self.emitter.op("cast", &name, [("x", v.into()), ("dtype", "fp32".into())])?;
        self.full.insert(v, f);
        Ok(f)
    }

    /// A cast to f32 becomes one to f16, or vanishes when its operand is f16; others stay.
    fn cast(&mut self, mut op: Op) -> Result<(), OpError> {
        let Some(x) = op.input("x") else { return self.keep(op) };
        if self.dtype(op.output()) != Some(DType::F32) {
            self.emitter.keep(op);
            return Ok(());
        }
        if self.dtype(x) == Some(DType::F16) {
            self.half.insert(op.output(), x);
            self.emitter.keep(op);
            return Ok(());
        }
        let dtype = self.emitter.constant("dtype", Literal::string("fp16"));
        op.inputs.insert("dtype".into(), Arg::One(dtype));
        self.retype_and_keep(op)
    }

    fn keep(&mut self, mut op: Op) -> Result<(), OpError> {
        let mut error = None;
        op.for_each_use_mut(&mut |v| match self.full(*v) {
            Ok(f) => *v = f,
            Err(e) => error = Some(e),
        });
        self.emitter.keep(op);
        error.map_or(Ok(()), Err)
    }

    fn convert(&mut self, mut op: Op) -> Result<(), OpError> {
        let opset = self.emitter.function().opset;
        let spec = ops::lookup(&op.kind, opset)
            .ok_or_else(|| OpError::new(format!("{} is not an operation of {opset}", op.kind)))?;
        for (param, arg) in &mut op.inputs {
            let takes_half = spec.param(param).is_some_and(|p| match p.accepts {
                Accepts::Tensor(_, domain) => domain.contains(&DType::F16),
                Accepts::Tuple | Accepts::Any => true,
                _ => false,
            });
            if takes_half {
                for v in arg.values_mut() {
                    *v = self.half(*v)?;
                }
            }
        }
        self.converted += 1;
        self.retype_and_keep(op)
    }

    fn retype_and_keep(&mut self, op: Op) -> Result<(), OpError> {
        let f = self.emitter.function();
        let types = ops::infer(&op.kind, &View::new(f, &op.inputs), f.opset)?;
        for (&v, ty) in op.outputs.iter().zip(types) {
            self.emitter.function_mut().set_ty(v, ty);
        }
        self.emitter.keep(op);
        Ok(())
    }

    /// Casts results that have become f16 back to the f32 that the function declares.
    fn finish(mut self) -> Result<usize, OpError> {
        let outputs = self.emitter.function().body.outputs.clone();
        let mut declared = Vec::with_capacity(outputs.len());
        for v in outputs {
            if !self.became_half(v) {
                declared.push(v);
                continue;
            }
            let name = self.emitter.function().name_of(v).to_owned();
            let inner = self.emitter.function().fresh_name(&format!("{name}_fp16"));
            self.emitter.function_mut().rename(v, &inner);
            let bound: Bound = v.into();
            declared.push(self.emitter.op("cast", &name, [("x", bound), ("dtype", "fp32".into())])?);
        }
        let Self { emitter, converted, .. } = self;
        let (function, ops) = emitter.into_parts();
        function.body.outputs = declared;
        function.body.ops = ops;
        Ok(converted)
    }

    fn became_half(&self, v: ValueId) -> bool {
        self.dtype(v) == Some(DType::F16) && self.was_full.get(v.index()) == Some(&true)
    }
}

/// The constant in f16: weights as a lazy view; small ones without underflow to zero or overflow.
fn half_constant(c: &Const) -> Const {
    if c.len() >= SMALL_CONSTANT {
        return c.cast(DType::F16);
    }
    const TINY: f32 = 5.960_464_5e-8;
    let values = c.read().to_f32_vec();
    let near = |v: f32| match v {
        v if v != 0.0 && v.abs() < TINY => TINY.copysign(v),
        v if v.is_finite() && v.abs() > 65_504.0 => 65_504f32.copysign(v),
        v => v,
    };
    if values.iter().all(|&v| near(v) == v || v.is_nan()) {
        return c.cast(DType::F16);
    }
    Const::new(HostTensor::from_f16(c.shape(), &values.into_iter().map(near).collect::<Vec<_>>()))
}

fn is_full(ty: &Type) -> bool {
    matches!(ty, Type::Tensor(t) if t.dtype == DType::F32)
}
