//! Arithmetic, comparison and functions of one element.

use burn::backend::ir::{
    BinaryOpIr, BoolOperationIr, ClampOpIr, FloatOperationIr, IntOperationIr, MatmulOpIr, NumericOperationIr,
    PadModeIr, PadOpIr, ScalarIr, ScalarOpIr, TensorIr, UnaryOpIr,
};
use mil::{DType, ValueId};

use super::{Failure, Lowerer, dims};
use crate::types::as_f64;

impl Lowerer<'_, '_> {
    pub(super) fn numeric(&mut self, op: &NumericOperationIr) -> Result<(), Failure> {
        use NumericOperationIr as Op;
        match op {
            Op::Add(op) => self.binary("add", op),
            Op::AddScalar(op) => self.with_scalar("add", op),
            Op::Sub(op) => self.binary("sub", op),
            Op::SubScalar(op) => self.with_scalar("sub", op),
            Op::Mul(op) => self.binary("mul", op),
            Op::MulScalar(op) => self.with_scalar("mul", op),
            Op::Div(op) => {
                self.require_float_division(&op.lhs)?;
                self.binary("real_div", op)
            }
            Op::DivScalar(op) => {
                self.require_float_division(&op.lhs)?;
                self.with_scalar("real_div", op)
            }
            Op::Rem(op) => self.binary("mod", op),
            Op::RemScalar(op) => self.with_scalar("mod", op),
            Op::Powi(op) => self.binary("pow", op),
            Op::PowiScalar(op) => self.power(op),
            Op::Greater(op) => self.compare("greater", &op.lhs, &op.rhs, &op.out),
            Op::GreaterElem(op) => self.compare_scalar("greater", &op.lhs, op.rhs, &op.out),
            Op::GreaterEqual(op) => self.compare("greater_equal", &op.lhs, &op.rhs, &op.out),
            Op::GreaterEqualElem(op) => self.compare_scalar("greater_equal", &op.lhs, op.rhs, &op.out),
            Op::Lower(op) => self.compare("less", &op.lhs, &op.rhs, &op.out),
            Op::LowerElem(op) => self.compare_scalar("less", &op.lhs, op.rhs, &op.out),
            Op::LowerEqual(op) => self.compare("less_equal", &op.lhs, &op.rhs, &op.out),
            Op::LowerEqualElem(op) => self.compare_scalar("less_equal", &op.lhs, op.rhs, &op.out),
            Op::Abs(op) => self.unary("abs", op),
            Op::Sign(op) => self.unary("sign", op),
            Op::Neg(op) => {
                let x = self.value(&op.input)?;
                let value = self.scaled(x, ScalarIr::Int(-1), &op.input)?;
                self.bind(&op.out, value)
            }
            Op::Full(op) => self.fill(&op.out, op.value),
            Op::Clamp(op) => self.clamp(op),
            Op::ClampMin(op) => self.with_scalar("maximum", op),
            Op::ClampMax(op) => self.with_scalar("minimum", op),
            Op::Pad(op) => self.pad(op),
            Op::IntRandom(_) => Err(Failure::Unsupported("random numbers as an input")),
            reduction => self.reduction(reduction),
        }
    }

    pub(super) fn float(&mut self, op: &FloatOperationIr) -> Result<(), Failure> {
        use FloatOperationIr as Op;
        match op {
            Op::Exp(op) => self.unary("exp", op),
            Op::Log(op) => self.unary("log", op),
            Op::Log1p(op) => {
                let x = self.value(&op.input)?;
                let one = self.scalar(ScalarIr::Int(1), &op.input)?;
                let shifted = self.emit("add", [("x", x.into()), ("y", one)])?;
                let value = self.emit("log", [("x", shifted.into())])?;
                self.bind(&op.out, value)
            }
            Op::Erf(op) => self.unary("erf", op),
            Op::Sqrt(op) => self.unary("sqrt", op),
            Op::Cos(op) => self.unary("cos", op),
            Op::Cosh(op) => self.hyperbolic("add", op),
            Op::Sin(op) => self.unary("sin", op),
            Op::Sinh(op) => self.hyperbolic("sub", op),
            Op::Tan(op) => self.tangent(op),
            Op::Tanh(op) => self.unary("tanh", op),
            Op::Round(op) => self.unary("round", op),
            Op::Floor(op) => self.unary("floor", op),
            Op::Ceil(op) => self.unary("ceil", op),
            Op::Trunc(op) => self.truncate(op),
            Op::Recip(op) => self.reciprocal(op),
            Op::Powf(op) => self.binary("pow", op),
            Op::PowfScalar(op) => self.power(op),
            Op::Hypot(op) => self.hypot(op),
            Op::IsNan(op) => self.compare("not_equal", &op.input, &op.input, &op.out),
            Op::IsInf(op) => self.is_infinite(op),
            Op::IntoInt(op) => self.cast(&op.input, &op.out),
            Op::Matmul(op) => self.matmul(op),
            Op::Random(_) => Err(Failure::Unsupported("random numbers as an input")),
            Op::ArcCosh(_) | Op::ArcSinh(_) | Op::ArcTanh(_) => {
                Err(Failure::Unsupported("its definition with log and sqrt"))
            }
            Op::ArcCos(_) | Op::ArcSin(_) | Op::ArcTan(_) | Op::ArcTan2(_) => {
                Err(Failure::Unsupported("sin, cos, tan; their inverses are not in MIL's table here"))
            }
            Op::Cross(_) => Err(Failure::Unsupported("products of slices")),
            Op::Quantize(_) | Op::Dequantize(_) => Err(Failure::Unsupported("float weights; compress the program")),
            Op::GridSample2d(_) => Err(Failure::Unsupported("interpolation to a fixed size")),
        }
    }

    pub(super) fn int(&mut self, op: &IntOperationIr) -> Result<(), Failure> {
        match op {
            IntOperationIr::IntoFloat(op) => self.cast(&op.input, &op.out),
            IntOperationIr::Matmul(op) => self.matmul(op),
            _ => Err(Failure::Unsupported("integer arithmetic, or logic on booleans; MIL has no bitwise operations")),
        }
    }

    pub(super) fn bool(&mut self, op: &BoolOperationIr) -> Result<(), Failure> {
        match op {
            BoolOperationIr::IntoFloat(op) | BoolOperationIr::IntoInt(op) => self.cast(&op.input, &op.out),
            BoolOperationIr::Not(op) => self.unary("logical_not", op),
            BoolOperationIr::And(op) => self.binary("logical_and", op),
            BoolOperationIr::Or(op) => self.binary("logical_or", op),
            BoolOperationIr::Xor(op) => self.binary("logical_xor", op),
        }
    }

    pub(super) fn unary(&mut self, kind: &'static str, op: &UnaryOpIr) -> Result<(), Failure> {
        let x = self.value(&op.input)?;
        let value = self.emit(kind, [("x", x.into())])?;
        self.bind(&op.out, value)
    }

    fn binary(&mut self, kind: &'static str, op: &BinaryOpIr) -> Result<(), Failure> {
        let (x, y) = (self.value(&op.lhs)?, self.value(&op.rhs)?);
        let value = self.emit(kind, [("x", x.into()), ("y", y.into())])?;
        self.bind(&op.out, value)
    }

    fn with_scalar(&mut self, kind: &'static str, op: &ScalarOpIr) -> Result<(), Failure> {
        let x = self.value(&op.lhs)?;
        let y = self.scalar(op.rhs, &op.lhs)?;
        let value = self.emit(kind, [("x", x.into()), ("y", y)])?;
        self.bind(&op.out, value)
    }

    /// `x · factor`.
    pub(super) fn scaled(&mut self, x: ValueId, factor: ScalarIr, like: &TensorIr) -> Result<ValueId, Failure> {
        let y = self.scalar(factor, like)?;
        self.emit("mul", [("x", x.into()), ("y", y)])
    }

    /// Burn divides integers towards zero, which no MIL operation does.
    fn require_float_division(&self, tensor: &TensorIr) -> Result<(), Failure> {
        match self.dtype(tensor)?.is_float() {
            true => Ok(()),
            false => Err(Failure::Unsupported("a division of floats, truncated")),
        }
    }

    /// Squares and roots have operations of their own.
    fn power(&mut self, op: &ScalarOpIr) -> Result<(), Failure> {
        let like = UnaryOpIr { input: op.lhs.clone(), out: op.out.clone() };
        let exponent = as_f64(op.rhs);
        if exponent == 2.0 {
            self.unary("square", &like)
        } else if exponent == 0.5 {
            self.unary("sqrt", &like)
        } else {
            self.with_scalar("pow", op)
        }
    }

    fn clamp(&mut self, op: &ClampOpIr) -> Result<(), Failure> {
        let x = self.value(&op.tensor)?;
        let (low, high) = (self.scalar(op.min, &op.tensor)?, self.scalar(op.max, &op.tensor)?);
        let value = if self.dtype(&op.tensor)?.is_float() {
            self.emit("clip", [("x", x.into()), ("alpha", low), ("beta", high)])?
        } else {
            let above = self.emit("maximum", [("x", x.into()), ("y", low)])?;
            self.emit("minimum", [("x", above.into()), ("y", high)])?
        };
        self.bind(&op.out, value)
    }

    fn pad(&mut self, op: &PadOpIr) -> Result<(), Failure> {
        let amounts: Vec<usize> = op.padding.iter().flat_map(|&(before, after)| [before, after]).collect();
        let x = self.value(&op.input)?;
        let mut args = vec![("x", x.into()), ("pad", dims(&amounts)?)];
        match op.mode {
            PadModeIr::Constant(value) => {
                args.extend([("mode", "constant".into()), ("constant_val", self.scalar(value, &op.input)?)]);
            }
            PadModeIr::Reflect => args.push(("mode", "reflect".into())),
            PadModeIr::Edge => args.push(("mode", "replicate".into())),
        }
        let values = self.emit_many("pad", args)?;
        self.bind(&op.out, values[0])
    }

    fn truncate(&mut self, op: &UnaryOpIr) -> Result<(), Failure> {
        let x = self.value(&op.input)?;
        let sign = self.emit("sign", [("x", x.into())])?;
        let size = self.emit("abs", [("x", x.into())])?;
        let whole = self.emit("floor", [("x", size.into())])?;
        let value = self.emit("mul", [("x", sign.into()), ("y", whole.into())])?;
        self.bind(&op.out, value)
    }

    /// `(exp(x) ± exp(−x)) / 2`.
    fn hyperbolic(&mut self, sign: &'static str, op: &UnaryOpIr) -> Result<(), Failure> {
        let x = self.value(&op.input)?;
        let negated = self.scaled(x, ScalarIr::Int(-1), &op.input)?;
        let rising = self.emit("exp", [("x", x.into())])?;
        let falling = self.emit("exp", [("x", negated.into())])?;
        let both = self.emit(sign, [("x", rising.into()), ("y", falling.into())])?;
        let value = self.scaled(both, ScalarIr::Float(0.5), &op.input)?;
        self.bind(&op.out, value)
    }

    fn tangent(&mut self, op: &UnaryOpIr) -> Result<(), Failure> {
        let x = self.value(&op.input)?;
        let sine = self.emit("sin", [("x", x.into())])?;
        let cosine = self.emit("cos", [("x", x.into())])?;
        let value = self.emit("real_div", [("x", sine.into()), ("y", cosine.into())])?;
        self.bind(&op.out, value)
    }

    /// Not `inverse`, which adds an epsilon to the divisor.
    fn reciprocal(&mut self, op: &UnaryOpIr) -> Result<(), Failure> {
        let x = self.value(&op.input)?;
        let one = self.scalar(ScalarIr::Int(1), &op.input)?;
        let value = self.emit("real_div", [("x", one), ("y", x.into())])?;
        self.bind(&op.out, value)
    }

    fn hypot(&mut self, op: &BinaryOpIr) -> Result<(), Failure> {
        let (x, y) = (self.value(&op.lhs)?, self.value(&op.rhs)?);
        let x = self.emit("square", [("x", x.into())])?;
        let y = self.emit("square", [("x", y.into())])?;
        let sum = self.emit("add", [("x", x.into()), ("y", y.into())])?;
        let value = self.emit("sqrt", [("x", sum.into())])?;
        self.bind(&op.out, value)
    }

    fn is_infinite(&mut self, op: &UnaryOpIr) -> Result<(), Failure> {
        let x = self.value(&op.input)?;
        let size = self.emit("abs", [("x", x.into())])?;
        let infinity = self.scalar(ScalarIr::Float(f64::INFINITY), &op.input)?;
        let value = self.emit("equal", [("x", size.into()), ("y", infinity)])?;
        self.bind(&op.out, value)
    }

    fn matmul(&mut self, op: &MatmulOpIr) -> Result<(), Failure> {
        let (x, y) = (self.value(&op.lhs)?, self.value(&op.rhs)?);
        let args = [("x", x.into()), ("y", y.into()), ("transpose_x", false.into()), ("transpose_y", false.into())];
        let value = self.emit("matmul", args)?;
        self.bind(&op.out, value)
    }

    /// A boolean reduction, as the extreme of zeros and ones.
    pub(super) fn reduce_bool(
        &mut self,
        kind: &'static str,
        input: &TensorIr,
        along: Option<usize>,
        out: &TensorIr,
    ) -> Result<(), Failure> {
        let x = self.value(input)?;
        let x = match self.dtype(input)? {
            DType::Bool => self.cast_to(x, DType::I32)?,
            _ => {
                let zero = self.scalar(ScalarIr::Int(0), input)?;
                let nonzero = self.emit("not_equal", [("x", x.into()), ("y", zero)])?;
                self.cast_to(nonzero, DType::I32)?
            }
        };
        let axes: Vec<usize> = along.map_or_else(|| (0..input.shape.num_dims()).collect(), |axis| vec![axis]);
        let extreme = self.emit(kind, [("x", x.into()), ("axes", dims(&axes)?), ("keep_dims", true.into())])?;
        let value = self.cast_to(extreme, DType::Bool)?;
        self.bind_reshaped(out, value)
    }
}
