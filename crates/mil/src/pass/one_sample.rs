//! One sample in the place of a batch: what each of several samples becomes, for a caller who has only one.
//!
//! ```text
//! (%x: [2, 4])                                         (%x: [1, 4])
//! %y = reshape(x=%x, shape=[2, 2, 2])           ==>    %y = reshape(x=%x, shape=[1, 2, 2])
//! ```
//!
//! It is a specialisation, not an improvement: the function means something else afterwards, and no list of passes has it.
//! Samples must stay apart, outermost, from the inputs to the outputs; whatever mixes them or moves their axis is an error.

use super::error::{Failure, PassError, atomically};
use crate::{
    constant::Literal,
    ir::{Arg, Function, Op, ValueId},
    ops::{self, OpError, View},
    types::{Dim, Type},
};
use host_tensor::DType;

/// How an operation treats the samples of its operands.
enum Treatment {
    /// Each by itself, whatever its parameters are.
    Apart,
    /// Each by itself unless this parameter names their axis.
    NotAlong(&'static str),
    /// As a parameter says that lists sizes, or places, of every axis.
    Listed,
    /// As the first axis of each operand and of the result, which an equation names.
    Equation,
    /// Each by itself where they do not stand in the matrices themselves.
    Matrices,
}

/// Operations that keep samples apart; all elementwise ones do too.
const KNOWN: &[(&str, Treatment)] = &[
    ("conv", Treatment::Apart),
    ("conv_transpose", Treatment::Apart),
    ("linear", Treatment::Apart),
    ("batch_norm", Treatment::Apart),
    ("instance_norm", Treatment::Apart),
    ("l2_norm", Treatment::Apart),
    ("avg_pool", Treatment::Apart),
    ("max_pool", Treatment::Apart),
    ("upsample_nearest_neighbor", Treatment::Apart),
    ("upsample_bilinear", Treatment::Apart),
    ("pixel_shuffle", Treatment::Apart),
    ("scaled_dot_product_attention", Treatment::Apart),
    ("softmax", Treatment::NotAlong("axis")),
    ("concat", Treatment::NotAlong("axis")),
    ("split", Treatment::NotAlong("axis")),
    ("stack", Treatment::NotAlong("axis")),
    ("layer_norm", Treatment::NotAlong("axes")),
    ("reduce_mean", Treatment::NotAlong("axes")),
    ("reduce_sum", Treatment::NotAlong("axes")),
    ("reduce_max", Treatment::NotAlong("axes")),
    ("reduce_sum_square", Treatment::NotAlong("axes")),
    ("expand_dims", Treatment::NotAlong("axes")),
    ("squeeze", Treatment::NotAlong("axes")),
    ("reshape", Treatment::Listed),
    ("tile", Treatment::Listed),
    ("transpose", Treatment::Listed),
    ("slice_by_index", Treatment::Listed),
    ("pad", Treatment::Listed),
    ("einsum", Treatment::Equation),
    ("matmul", Treatment::Matrices),
];

/// Families all of whose operations are elementwise, but for those that [`KNOWN`] has.
const ELEMENTWISE: [&str; 3] = ["activation", "elementwise_unary", "elementwise_binary"];

/// Turns a function of so many samples, the outermost axis of each input that has that size there, into one of one sample.
/// Returns how many values lost samples.
///
/// # Errors
/// For a function whose samples cannot be told apart; it is then what it was.
pub fn one_sample(function: &mut Function, n_samples: usize) -> Result<usize, PassError> {
    atomically("one_sample", function, |function| {
        let mut batch = Batch { n: n_samples, has_samples: vec![false; function.values().len()], count: 0 };
        for input in function.inputs.clone() {
            batch.shrink(function, input)?;
        }
        if batch.count == 0 {
            return Err(OpError::new(format!("no input has {n_samples} samples")).into());
        }
        for i in 0..function.body.ops.len() {
            let mut op = function.body.ops[i].clone();
            batch.visit(function, &mut op).map_err(|error| Failure { op: Some(op.name.clone()), error })?;
            function.body.ops[i] = op;
        }
        Ok(batch.count)
    })
}

/// Which values hold a sample where they held several.
struct Batch {
    n: usize,
    has_samples: Vec<bool>,
    count: usize,
}

impl Batch {
    /// Takes all samples but one from an input, if it has several.
    fn shrink(&mut self, function: &mut Function, input: ValueId) -> Result<(), OpError> {
        let Type::Tensor(mut ty) = function.ty(input).clone() else { return Ok(()) };
        match ty.shape.first_mut() {
            Some(first) if *first == Dim::Size(self.n) => *first = Dim::Size(1),
            _ => return Ok(()),
        }
        function.set_ty(input, Type::Tensor(ty));
        self.mark(input);
        Ok(())
    }

    fn mark(&mut self, value: ValueId) {
        if let Some(has) = self.has_samples.get_mut(value.index()) {
            *has = true;
            self.count += 1;
        }
    }

    fn has(&self, value: ValueId) -> bool {
        self.has_samples.get(value.index()).copied().unwrap_or(false)
    }

    fn visit(&mut self, function: &mut Function, op: &mut Op) -> Result<(), OpError> {
        if !op.operands().any(|operand| self.has(operand)) {
            return Ok(());
        }
        let fail = |what: String| Err(OpError::new(what));
        if !op.blocks.is_empty() {
            return fail(format!("{} has blocks, whose samples are not followed", op.kind));
        }
        match treatment(&op.kind) {
            None => return fail(format!("nothing is known of what {} makes of samples", op.kind)),
            Some(Treatment::Apart) => {}
            Some(Treatment::NotAlong(param)) => self.check_axes(function, op, param)?,
            Some(Treatment::Listed) => self.adapt_list(function, op)?,
            Some(Treatment::Equation) => self.check_equation(function, op)?,
            Some(Treatment::Matrices) => self.check_matrices(function, op)?,
        }
        self.check_others(function, op)?;
        let before: Vec<Type> = op.outputs.iter().map(|&output| function.ty(output).clone()).collect();
        let view = View::of(function, op);
        let after = ops::infer(&op.kind, &view, function.opset)?;
        for ((&output, before), after) in op.outputs.iter().zip(&before).zip(after) {
            self.check_result(before, &after)?;
            function.set_ty(output, after);
            self.mark(output);
        }
        Ok(())
    }

    /// A result must have lost the same share of its outermost axis, and nothing else.
    fn check_result(&self, before: &Type, after: &Type) -> Result<(), OpError> {
        let shape = |ty: &Type| ty.as_tensor().and_then(|tensor| tensor.static_shape());
        let fits = match (shape(before).as_deref(), shape(after).as_deref()) {
            (Some([b, before @ ..]), Some([a, after @ ..])) => *b == a * self.n && before == after,
            _ => false,
        };
        if fits { Ok(()) } else { Err(OpError::new(format!("{before} became {after}, which is not one sample of it"))) }
    }

    /// An operand without samples must serve all of them alike.
    fn check_others(&self, function: &Function, op: &Op) -> Result<(), OpError> {
        let each_by_itself = matches!(treatment(&op.kind), Some(Treatment::Apart)) && is_elementwise(&op.kind);
        let rank_of = |v: ValueId| function.ty(v).as_tensor().map_or(0, |ty| ty.rank());
        let most = op.operands().filter(|&v| self.has(v)).map(rank_of).max().unwrap_or(0);
        for operand in op.operands() {
            let Some(ty) = function.ty(operand).as_tensor() else { continue };
            let first = ty.shape.first().copied();
            if each_by_itself && self.has(operand) && ty.rank() < most {
                return Err(OpError::new(format!("samples of {} are not outermost", function.name_of(operand))));
            }
            if each_by_itself && !self.has(operand) && ty.rank() == most && first != Some(Dim::Size(1)) {
                return Err(OpError::new(format!("{} differs from sample to sample", function.name_of(operand))));
            }
        }
        Ok(())
    }

    /// Samples may not lie along an axis that the operation works on.
    fn check_axes(&self, function: &Function, op: &Op, param: &str) -> Result<(), OpError> {
        let is_concat = matches!(&*op.kind, "concat" | "stack");
        let x = op.input_values(if is_concat { "values" } else { "x" });
        if is_concat && x.iter().any(|&value| !self.has(value)) {
            return Err(OpError::new("values with samples are joined to others"));
        }
        let rank = x.first().and_then(|&x| function.ty(x).as_tensor()).map_or(0, |ty| ty.rank());
        let view = View::of(function, op);
        let axes = match param {
            "axis" => vec![view.known_int("axis")?],
            param => view.known_axes(param, rank)?,
        };
        // An axis that is added counts among those that there are then.
        let rank = if op.kind == "expand_dims" { rank + axes.len() } else { rank + usize::from(op.kind == "stack") };
        match axes.iter().any(|&axis| axis == 0 || axis == -(rank as i64)) {
            true => Err(OpError::new(format!("{param} {axes:?} is the axis of samples"))),
            false => Ok(()),
        }
    }

    /// Puts one sample where a parameter says how many there are.
    fn adapt_list(&self, function: &mut Function, op: &mut Op) -> Result<(), OpError> {
        let x = op.input("x").filter(|&x| self.has(x)).ok_or_else(|| OpError::new("samples are a parameter"))?;
        let view = View::of(function, op);
        let moves = |what: &str| Err(OpError::new(format!("{what} moves or repeats samples")));
        let first = |param: &str| view.known_ints(param).map(|list| list.first().copied().unwrap_or(0));
        let fewer = match &*op.kind {
            "reshape" => Some("shape").filter(|_| first("shape").is_ok_and(|n| n > 0)),
            "slice_by_index" => return self.adapt_slice(function, op, x),
            "tile" if first("reps")? != 1 => return moves("tile"),
            "transpose" if first("perm")? != 0 => return moves("transpose"),
            "pad" => {
                let pad = view.known_ints("pad")?;
                let rank = function.ty(x).as_tensor().map_or(0, |ty| ty.rank());
                let of_samples = if pad.len() == 2 * rank { &pad[..2] } else { &[] };
                return if of_samples.iter().all(|&n| n == 0) { Ok(()) } else { moves("pad") };
            }
            _ => None,
        };
        let Some(param) = fewer else { return Ok(()) };
        let mut list = view.known_ints(param)?;
        let n = self.n as i64;
        if list[0] % n != 0 {
            return Err(OpError::new(format!("{param} {list:?} does not keep {n} samples outermost")));
        }
        list[0] /= n;
        bind_ints(function, op, param, &list)
    }

    /// A slice must take all samples.
    fn adapt_slice(&self, function: &mut Function, op: &mut Op, x: ValueId) -> Result<(), OpError> {
        let view = View::of(function, op);
        let rank = function.ty(x).as_tensor().map_or(0, |ty| ty.rank());
        let flag = |param: &str| view.known_flags(param, rank).map(|flags| flags.first().copied().unwrap_or(false));
        let (begin, mut end) = (view.known_ints("begin")?, view.known_ints("end")?);
        let stride = view.known_ints_of_len("stride", rank)?;
        let from_first = flag("begin_mask")? || begin[0] == 0;
        let to_last = flag("end_mask")? || end[0] == self.n as i64;
        if !from_first || !to_last || stride[0] != 1 || flag("squeeze_mask")? {
            return Err(OpError::new("a slice takes some of the samples"));
        }
        if flag("end_mask")? {
            return Ok(());
        }
        end[0] = 1;
        bind_ints(function, op, "end", &end)
    }

    /// The first letters of operands with samples and of the result must be the same, and of no other operand's.
    fn check_equation(&self, function: &Function, op: &Op) -> Result<(), OpError> {
        let equation = View::of(function, op).known_text("equation")?;
        let wrong = || OpError::new(format!("equation {equation:?} does not keep samples outermost"));
        let (left, right) = equation.split_once("->").ok_or_else(wrong)?;
        let letter = right.trim().chars().next().ok_or_else(wrong)?;
        for (term, &value) in left.split(',').map(str::trim).zip(op.input_values("values")) {
            let fits = if self.has(value) { term.find(letter) == Some(0) } else { !term.contains(letter) };
            if !fits {
                return Err(wrong());
            }
        }
        Ok(())
    }

    fn check_matrices(&self, function: &Function, op: &Op) -> Result<(), OpError> {
        let rank = |param: &str| op.input(param).and_then(|v| function.ty(v).as_tensor()).map_or(0, |ty| ty.rank());
        let is_there = |param: &str| op.input(param).is_some_and(|v| self.has(v));
        let most = rank("x").max(rank("y"));
        let of_rows = |param: &str| is_there(param) && (rank(param) < most || rank(param) < 3);
        // Rows of a matrix on the left are multiplied one by one.
        let is_left = is_there("x") && !is_there("y") && rank("x") == 2 && rank("y") == 2;
        let keeps_rows = is_left && !View::of(function, op).known_bool("transpose_x")?;
        if of_rows("y") || (of_rows("x") && !keeps_rows) {
            return Err(OpError::new("samples are rows of a matrix that is not multiplied row by row"));
        }
        Ok(())
    }
}

/// Whether an operation treats every element by itself.
pub(super) fn is_elementwise(kind: &str) -> bool {
    let is_listed = KNOWN.iter().any(|(known, _)| *known == kind);
    let mut families = ops::families().filter(|(family, _)| ELEMENTWISE.contains(family));
    !is_listed && families.any(|(_, specs)| specs.iter().any(|spec| spec.kind == kind))
}

fn treatment(kind: &str) -> Option<&'static Treatment> {
    let known = KNOWN.iter().find(|(known, _)| *known == kind).map(|(_, treatment)| treatment);
    known.or_else(|| is_elementwise(kind).then_some(&Treatment::Apart))
}

/// Binds a parameter to other integers of its own element type; the constant that others may share stays.
pub(super) fn bind_ints(
    function: &mut Function,
    op: &mut Op,
    param: &'static str,
    list: &[i64],
) -> Result<(), OpError> {
    let is_i32 = |v: ValueId| function.ty(v).as_tensor().is_some_and(|ty| ty.dtype == DType::I32);
    if !op.input(param).is_some_and(is_i32) {
        return Err(OpError::new(format!("{param} is not a list of 32-bit integers")));
    }
    let narrow = |&i: &i64| i32::try_from(i).map_err(|_| OpError::new(format!("{param} {list:?} is too large")));
    let list = list.iter().map(narrow).collect::<Result<Vec<i32>, _>>()?;
    let constant = function.add_constant(&format!("{}_{param}", op.name), Literal::ints(&list));
    op.inputs.insert(param.into(), Arg::One(constant));
    Ok(())
}
