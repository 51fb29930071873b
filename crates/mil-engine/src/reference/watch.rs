//! Watching a run: the first operation that makes values which are not finite, and why.
//!
//! What is infinite on purpose does not count: masks that are −∞ or nearly so, and whatever they are added to or
//! chosen by. Nor does what only passes on what is not finite already.

use super::{
    kernels::Effect,
    plan::Step,
    value::{Data, Tensor},
};
use crate::OpSite;
use mil::{DType, Function, Literal, ValueId};
use std::fmt;

/// Numbers of this magnitude and more stand for infinity where they are constants: the largest f16.
const EXTREME: f32 = 65_504.0;

/// Operations that act on each element alone or move elements, so that what a constant makes infinite is meant so.
const MASKING: [&str; 23] = [
    "add",
    "cast",
    "clip",
    "concat",
    "expand_dims",
    "fill",
    "fill_like",
    "identity",
    "maximum",
    "minimum",
    "mul",
    "pad",
    "real_div",
    "reshape",
    "select",
    "slice_by_index",
    "slice_by_size",
    "split",
    "squeeze",
    "stack",
    "sub",
    "tile",
    "transpose",
];

/// Why values are not finite.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// They were finite until they were rounded to the declared type, which has no such numbers.
    Rounding,
    /// The operation made them out of finite operands, although it computes in f32.
    Arithmetic,
    /// A constant operand holds values that are not finite.
    Constant {
        /// The constant's name.
        name: String,
    },
}

/// The first operation of a run with results that are not finite although its computed operands are.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct NonFinite {
    /// The operation.
    pub site: OpSite,
    /// The declared element type of the result.
    pub dtype: DType,
    /// How many of the result's values are not finite.
    pub n_values: usize,
    /// How many values the result has.
    pub n_elements: usize,
    /// The largest finite magnitude in the result before it was rounded; `None` when nothing was finite.
    pub largest: Option<f32>,
    /// Why.
    pub cause: Cause,
}

/// In words, with the operation's name, kind and position.
impl fmt::Display for NonFinite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { site, n_values, n_elements, dtype, .. } = self;
        write!(f, "{} {} (op #{}) ", site.kind, site.name, site.index)?;
        match (&self.cause, self.largest) {
            (Cause::Rounding, Some(largest)) => write!(
                f,
                "gives values up to {largest:.3e}, beyond {}: {n_values} of {n_elements} become infinite",
                dtype.name()
            ),
            (Cause::Rounding, None) | (Cause::Arithmetic, _) => {
                write!(f, "gives {n_values} of {n_elements} values that are not finite, out of finite ones")
            }
            (Cause::Constant { name }, _) => write!(
                f,
                "gives {n_values} of {n_elements} values that are not finite, for the constant {name} holds such values"
            ),
        }
    }
}

/// What values of a result there are.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Census {
    nans: usize,
    above: usize,
    below: usize,
    /// Largest finite magnitude; negative when nothing is finite.
    largest: f32,
}

impl Census {
    pub(super) fn of(tensor: &Tensor) -> Self {
        let Data::Float(values) = tensor.data() else { return Self::default() };
        let mut census = Self { largest: -1.0, ..Self::default() };
        // The common case first, in a loop without branches.
        census.largest = values.iter().fold(-1.0, |m: f32, v| if v.abs() < f32::INFINITY { m.max(v.abs()) } else { m });
        if values.iter().all(|v| v.is_finite()) {
            return census;
        }
        for v in values.iter() {
            census.nans += usize::from(v.is_nan());
            census.above += usize::from(*v == f32::INFINITY);
            census.below += usize::from(*v == f32::NEG_INFINITY);
        }
        census
    }

    const fn n_values(self, masked: bool) -> usize {
        self.nans + self.above + if masked { 0 } else { self.below }
    }
}

/// What has been learned during a run.
#[derive(Debug)]
pub(super) struct Watch {
    /// By value: holds what is not finite.
    unclean: Vec<bool>,
    /// By value: some of it may be −∞ on purpose.
    masked: Vec<bool>,
    first: Option<NonFinite>,
}

impl Watch {
    /// For a function with so many values.
    pub(super) fn new(n_values: usize) -> Self {
        Self { unclean: vec![false; n_values], masked: vec![false; n_values], first: None }
    }

    /// Notes what a value holds.
    pub(super) fn note(&mut self, id: ValueId, tensor: &Tensor) {
        let is_finite = match tensor.data() {
            Data::Float(values) => values.iter().all(|v| v.is_finite()),
            Data::Int(_) | Data::Bool(_) => true,
        };
        self.unclean[id.index()] = !is_finite;
    }

    /// The first operation that was found.
    pub(super) fn into_first(self) -> Option<NonFinite> {
        self.first
    }

    /// Judges one result of a step by what it held before it was rounded, and after.
    pub(super) fn judge(
        &mut self,
        function: &Function,
        (step, effect): (&Step, Effect),
        (id, before): (ValueId, Census),
        after: &Tensor,
        site: impl FnOnce() -> OpSite,
    ) {
        let masked = self.is_masked(function, step, effect);
        self.masked[id.index()] = masked;
        if self.first.is_some() {
            return;
        }
        let n_before = before.n_values(masked);
        let n_after = Census::of(after).n_values(masked);
        let cause = if n_after > n_before {
            Cause::Rounding
        } else if n_before == 0 {
            return;
        } else {
            match self.cause(function, step, effect) {
                Some(cause) => cause,
                None => return,
            }
        };
        let dtype = function.ty(id).as_tensor().map_or(DType::F32, |ty| ty.dtype);
        self.first = Some(NonFinite {
            site: site(),
            dtype,
            n_values: n_after,
            n_elements: after.len(),
            largest: (before.largest >= 0.0).then_some(before.largest),
            cause,
        });
    }

    /// Who is to blame for values that were not finite before any rounding; `None` when they were passed on, or meant.
    fn cause(&self, function: &Function, step: &Step, effect: Effect) -> Option<Cause> {
        if step.op.operands().any(|id| self.unclean[id.index()]) {
            return None;
        }
        for id in step.op.operands() {
            let Some(values) = floats(function, id) else { continue };
            let is_meant = is_masking(step, effect) && !matches!(&*step.op.kind, "mul" | "real_div");
            if values.iter().any(|v| v.is_nan()) || (!is_meant && values.iter().any(|v| v.is_infinite())) {
                return Some(Cause::Constant { name: function.name_of(id).to_owned() });
            }
            if values.iter().any(|v| v.is_infinite()) {
                return None;
            }
        }
        Some(Cause::Arithmetic)
    }

    /// True when a step puts an extreme constant into its result, or passes such a one on.
    fn is_masked(&self, function: &Function, step: &Step, effect: Effect) -> bool {
        let is_extreme = |id: ValueId| {
            let masked = self.masked[id.index()];
            masked || floats(function, id).is_some_and(|values| values.iter().any(|v| v.abs() >= EXTREME))
        };
        is_masking(step, effect) && step.op.operands().any(is_extreme)
    }
}

fn is_masking(step: &Step, effect: Effect) -> bool {
    effect != Effect::Decodes && MASKING.contains(&&*step.op.kind)
}

/// The values of a constant of floats.
fn floats(function: &Function, id: ValueId) -> Option<Vec<f32>> {
    let Literal::Tensor(constant) = function.literal(id)? else { return None };
    constant.dtype().is_float().then(|| constant.read().to_f32_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::{Options, Reference, Rounding};
    use host_tensor::{HostTensor, Stop};
    use mil::text::{NoBlobs, parse};
    use std::collections::BTreeMap;

    /// The first operation that is found when `body` makes `y` of `x: tensor<fp16, [2]>`, in words.
    #[track_caller]
    fn watched(rounding: Rounding, body: &str, x: [f32; 2]) -> Option<NonFinite> {
        let text = format!("program(1.3) {{ func main<ios16>(tensor<fp16, [2]> x) {{ {body} }} -> (y); }}");
        let program = parse(&text, &NoBlobs).unwrap_or_else(|e| panic!("{e}"));
        let valid = mil::validate(&program).unwrap_or_else(|faults| panic!("{faults}"));
        let engine = Reference::compile(valid, Options::default().with_rounding(rounding)).unwrap();
        let inputs = BTreeMap::from([("x".to_owned(), HostTensor::from_f16([2], &x))]);
        let (outputs, found) = engine.run_watched(&inputs, &Stop::never()).unwrap();
        assert_eq!(outputs, engine.run(&inputs, &Stop::never()).unwrap(), "watching changes nothing");
        found
    }

    #[track_caller]
    fn check(body: &str, x: [f32; 2], expected: &str) {
        let found = watched(Rounding::Declared, body, x);
        assert_eq!(found.map_or_else(|| "nothing".to_owned(), |found| found.to_string()), expected, "{body}");
    }

    const TWO: &str = r#"tensor<fp16, [2]> a = square(x = x)[name = string("first")];
                         tensor<fp16, [2]> y = add(x = a, y = a)[name = string("second")];"#;

    #[test]
    fn the_first_operation_beyond_half_is_named_with_what_it_would_have_given() {
        check(TWO, [1.0, 3.0], "nothing");
        let first = "square first (op #0) gives values up to 9.000e4, beyond fp16: 1 of 2 become infinite";
        check(TWO, [1.0, 300.0], first);
        let second = "add second (op #1) gives values up to 8.000e4, beyond fp16: 2 of 2 become infinite";
        check(TWO, [200.0, -200.0], second);
        let found = watched(Rounding::Declared, TWO, [1.0, 300.0]).unwrap();
        assert_eq!((found.cause, found.largest, found.dtype), (Cause::Rounding, Some(90_000.0), DType::F16));
    }

    #[test]
    fn nothing_is_beyond_half_where_results_stay_in_f32() {
        assert_eq!(watched(Rounding::Boundary, TWO, [1.0, 300.0]), None);
    }

    #[test]
    fn a_cast_to_half_is_named_like_any_operation() {
        let body = r#"tensor<fp32, [2]> a = cast(dtype = string("fp32"), x = x)[name = string("wide")];
                      tensor<fp32, [2]> b = square(x = a)[name = string("square")];
                      tensor<fp16, [2]> y = cast(dtype = string("fp16"), x = b)[name = string("narrow")];"#;
        check(
            body,
            [1.0, 300.0],
            "cast narrow (op #2) gives values up to 9.000e4, beyond fp16: 1 of 2 become infinite",
        );
    }

    #[test]
    fn an_operation_that_is_not_finite_in_f32_either_is_named() {
        let body = r#"tensor<fp16, [2]> y = real_div(x = x, y = x)[name = string("ratio")];"#;
        check(body, [1.0, 0.0], "real_div ratio (op #0) gives 1 of 2 values that are not finite, out of finite ones");
    }

    #[test]
    fn what_is_not_finite_from_the_start_is_nobodys_fault() {
        check(TWO, [f32::NAN, f32::INFINITY], "nothing");
        let body = r#"tensor<fp16, [2]> y = sub(x = x, y = x)[name = string("difference")];"#;
        check(body, [f32::INFINITY, 1.0], "nothing");
    }

    #[test]
    fn masks_do_not_count() {
        for mask in ["-inf", "-65504", "-60000, -inf", "-65504, 0"] {
            let mask = mask.split(", ").cycle().take(2).collect::<Vec<_>>().join(", ");
            let body = format!(
                r#"tensor<fp16, [2]> a = add(x = x, y = tensor<fp16, [2]>([{mask}]));
                   tensor<fp16, [2]> b = reshape(x = a, shape = tensor<int32, [1]>([2]));
                   tensor<fp16, [2]> c = sub(x = b, y = fp16(100));
                   tensor<fp16, [2]> y = softmax(x = c, axis = int32(0));"#
            );
            check(&body, [-300.0, 2.0], "nothing");
        }
        let chosen = r#"tensor<bool, [2]> p = greater(x = x, y = fp16(0));
                        tensor<fp16, [2]> y = select(cond = p, a = x, b = fp16(-inf));"#;
        check(chosen, [-300.0, 2.0], "nothing");
        let least = r#"tensor<fp16, [2]> y = minimum(x = x, y = tensor<fp16, [2]>([inf, inf]));"#;
        check(least, [-300.0, 2.0], "nothing");
    }

    #[test]
    fn what_overflows_upwards_beside_a_mask_counts() {
        let body = r#"tensor<fp16, [2]> a = mul(x = x, y = fp16(1000))[name = string("scores")];
                      tensor<fp16, [2]> y = add(x = a, y = tensor<fp16, [2]>([-65504, 0]))[name = string("masked")];"#;
        check(body, [1.0, 70.0], "mul scores (op #0) gives values up to 7.000e4, beyond fp16: 1 of 2 become infinite");
        let body = r#"tensor<fp16, [2]> y = add(x = x, y = tensor<fp16, [2]>([-65504, 60000]))[name = string("m")];"#;
        check(body, [-50.0, 9000.0], "add m (op #0) gives values up to 6.900e4, beyond fp16: 1 of 2 become infinite");
    }

    #[test]
    fn a_constant_that_is_not_finite_is_named() {
        let product = |value: &str| {
            format!(
                r#"tensor<fp16, [1, 2]> r = reshape(x = x, shape = tensor<int32, [2]>([1, 2]));
                   tensor<fp16, [1, 1]> y = linear(x = r, weight = tensor<fp16, [1, 2]>([[{value}, 1]]))[name = string("l")];"#
            )
        };
        for value in ["nan", "inf"] {
            let said =
                "linear l (op #1) gives 1 of 1 values that are not finite, for the constant l_weight holds such values";
            check(&product(value), [1.0, 2.0], said);
        }
        let sum = r#"tensor<fp16, [2]> y = add(x = x, y = fp16(nan))[name = string("s")];"#;
        let said = "add s (op #0) gives 2 of 2 values that are not finite, for the constant s_y holds such values";
        check(sum, [1.0, 2.0], said);
    }

    #[test]
    fn operations_of_nested_blocks_are_watched() {
        let body = r#"tensor<fp16, [2]> a = relu(x = x);
            tensor<bool, []> p = greater(x = fp16(1), y = fp16(0));
            tensor<fp16, [2]> y = cond(pred = p) () {
                tensor<fp16, [2]> t = square(x = a)[name = string("inner")];
            } -> (t) () {
                tensor<fp16, [2]> e = relu(x = a);
            } -> (e);"#;
        check(
            body,
            [1.0, 300.0],
            "square inner (op #3) gives values up to 9.000e4, beyond fp16: 1 of 2 become infinite",
        );
    }
}
