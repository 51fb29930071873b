//! Activation functions that Burn records whole.

use burn::backend::ir::{ActivationOperationIr, BinaryOpIr, DimOpIr, HardSigmoidOpIr, ScalarIr, UnaryOpIr};
use mil::ValueId;

use super::{Failure, Lowerer, axis, dims};

impl Lowerer<'_, '_> {
    pub(super) fn activation(&mut self, op: &ActivationOperationIr) -> Result<(), Failure> {
        use ActivationOperationIr as Op;
        match op {
            Op::Relu(op) => self.unary("relu", op),
            Op::LeakyRelu(op) => {
                let x = self.value(&op.lhs)?;
                let alpha = self.scalar(op.rhs, &op.lhs)?;
                let value = self.emit("leaky_relu", [("x", x.into()), ("alpha", alpha)])?;
                self.bind(&op.out, value)
            }
            Op::PRelu(op) => self.prelu(op),
            Op::Gelu(op) => {
                let x = self.value(&op.input)?;
                let value = self.emit("gelu", [("x", x.into()), ("mode", "EXACT".into())])?;
                self.bind(&op.out, value)
            }
            Op::Sigmoid(op) => self.unary("sigmoid", op),
            Op::HardSigmoid(op) => self.hard_sigmoid(op),
            Op::LogSigmoid(op) => self.log_sigmoid(op),
            Op::Softmax(op) => {
                let x = self.value(&op.input)?;
                let value = self.softmax(x, op.axis)?;
                self.bind(&op.out, value)
            }
            Op::LogSoftmax(op) => self.log_softmax(op),
            Op::Softmin(op) => {
                let x = self.value(&op.input)?;
                let negated = self.scaled(x, ScalarIr::Int(-1), &op.input)?;
                let value = self.softmax(negated, op.axis)?;
                self.bind(&op.out, value)
            }
            Op::ReluBackward(_) | Op::GeluBackward(_) | Op::SigmoidBackward(_) | Op::LogSigmoidBackward(_) => {
                Err(Failure::Unsupported("the forward pass; programs do not train"))
            }
        }
    }

    fn softmax(&mut self, x: ValueId, along: usize) -> Result<ValueId, Failure> {
        self.emit("softmax", [("x", x.into()), ("axis", axis(along)?.into())])
    }

    /// `max(x, 0) + alpha · min(x, 0)`: Burn has shaped alpha to broadcast already.
    fn prelu(&mut self, op: &BinaryOpIr) -> Result<(), Failure> {
        let (x, alpha) = (self.value(&op.lhs)?, self.value(&op.rhs)?);
        let zero = self.scalar(ScalarIr::Int(0), &op.lhs)?;
        let above = self.emit("relu", [("x", x.into())])?;
        let below = self.emit("minimum", [("x", x.into()), ("y", zero)])?;
        let below = self.emit("mul", [("x", below.into()), ("y", alpha.into())])?;
        let value = self.emit("add", [("x", above.into()), ("y", below.into())])?;
        self.bind(&op.out, value)
    }

    /// `clip(alpha · x + beta, 0, 1)`.
    fn hard_sigmoid(&mut self, op: &HardSigmoidOpIr) -> Result<(), Failure> {
        let x = self.value(&op.tensor)?;
        let scaled = self.scaled(x, op.alpha, &op.tensor)?;
        let beta = self.scalar(op.beta, &op.tensor)?;
        let shifted = self.emit("add", [("x", scaled.into()), ("y", beta)])?;
        let (zero, one) = (self.scalar(ScalarIr::Int(0), &op.tensor)?, self.scalar(ScalarIr::Int(1), &op.tensor)?);
        let value = self.emit("clip", [("x", shifted.into()), ("alpha", zero), ("beta", one)])?;
        self.bind(&op.out, value)
    }

    /// `min(x, 0) − log(1 + exp(−|x|))`, which does not overflow.
    fn log_sigmoid(&mut self, op: &UnaryOpIr) -> Result<(), Failure> {
        let x = self.value(&op.input)?;
        let (zero, one) = (self.scalar(ScalarIr::Int(0), &op.input)?, self.scalar(ScalarIr::Int(1), &op.input)?);
        let below = self.emit("minimum", [("x", x.into()), ("y", zero)])?;
        let size = self.emit("abs", [("x", x.into())])?;
        let negated = self.scaled(size, ScalarIr::Int(-1), &op.input)?;
        let small = self.emit("exp", [("x", negated.into())])?;
        let sum = self.emit("add", [("x", small.into()), ("y", one)])?;
        let log = self.emit("log", [("x", sum.into())])?;
        let value = self.emit("sub", [("x", below.into()), ("y", log.into())])?;
        self.bind(&op.out, value)
    }

    /// `s − log(Σ exp(s))` with `s = x − max(x)`, which does not overflow.
    fn log_softmax(&mut self, op: &DimOpIr) -> Result<(), Failure> {
        let x = self.value(&op.input)?;
        let along = |value: ValueId| -> Result<_, Failure> {
            Ok([("x", value.into()), ("axes", dims(&[op.axis])?), ("keep_dims", true.into())])
        };
        let largest = self.emit("reduce_max", along(x)?)?;
        let shifted = self.emit("sub", [("x", x.into()), ("y", largest.into())])?;
        let powers = self.emit("exp", [("x", shifted.into())])?;
        let sum = self.emit("reduce_sum", along(powers)?)?;
        let log = self.emit("log", [("x", sum.into())])?;
        let value = self.emit("sub", [("x", shifted.into()), ("y", log.into())])?;
        self.bind(&op.out, value)
    }
}
