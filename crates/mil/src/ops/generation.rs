//! Making tensors, finding and ordering elements, and passing values through.

use super::{
    Accepts, Default, OpError, OpSpec, Param, View,
    dims::{self, axis, one},
    domain::{INT32, IOS15, IOS16, IOS17, NUMBER, PLAIN},
};
use crate::types::{Dim, TensorType, Type};
use host_tensor::DType::{self, F16, F32, I8, I16, I32, U8, U16};

const X: Param = Param::tensor("x", 'T', NUMBER);
const LAST_AXIS: Param = Param::int("axis").or(Default::Int(-1));
const ASCENDING: Param = Param::flag("ascending").or(Default::Bool(false));

/// A constant scalar of any plain type; fp32 when left out.
const fn filler(letter: char) -> Param {
    Param::tensor("value", letter, PLAIN).scalar().constant().or(Default::Float(0.0))
}

/// A constant scalar; int32 when left out.
const fn mark(name: &'static str, default: i64) -> Param {
    Param::tensor(name, 'T', PLAIN).scalar().constant().or(Default::Int(default))
}

const ONE_HOT: &[Param] = &[
    Param::tensor("indices", '_', INT32),
    Param::tensor("one_hot_vector_size", '_', INT32).scalar(),
    LAST_AXIS,
    mark("on_value", 1),
    mark("off_value", 0),
];
const RANGE: &[Param] = &[
    Param::tensor("end", 'T', NUMBER).scalar(),
    Param::tensor("start", 'T', NUMBER).scalar(),
    Param::tensor("step", 'T', NUMBER).scalar(),
];
const K: Param = Param::int("k").or(Default::Int(1));
const SORT: Param = Param::flag("sort").or(Default::Bool(true));
const RETURN_INDICES: Param = Param::flag("return_indices").or(Default::Bool(true));
const TOPK17: &[Param] = &[
    Param::tensor("x", 'T', &[F16, F32, I8, I16, I32, U8, U16]),
    Param::tensor("k", 'K', &[I8, I16, I32]).scalar().constant().or(Default::Int(1)),
    LAST_AXIS,
    ASCENDING,
    SORT,
    RETURN_INDICES,
    Param::text("output_indices_dtype", &["int32", "uint16", "int16", "uint8", "int8"]).or(Default::Text("int32")),
];

pub(super) const SPECS: &[OpSpec] = &[
    OpSpec::new("identity", IOS15, &[Param::other("x", Accepts::Any)], identity),
    OpSpec::new("fill", IOS15, &[Param::tensor("shape", '_', INT32).vector(), filler('T')], fill),
    OpSpec::new("fill_like", IOS16, &[Param::tensor("ref_tensor", 'T', PLAIN), filler('U')], fill_like),
    OpSpec::new("range_1d", IOS15, RANGE, range_1d),
    OpSpec::new("one_hot", IOS15, ONE_HOT, one_hot),
    // [number of non-zero elements, rank of x]: their positions.
    OpSpec::new("non_zero", IOS15, &[Param::tensor("x", 'T', PLAIN)], non_zero),
    OpSpec::new("argsort", IOS15, &[X, LAST_AXIS, ASCENDING], argsort),
    OpSpec::new("topk", IOS15, &[X, K, LAST_AXIS, ASCENDING], topk15),
    OpSpec::new("topk", IOS16, &[X, K, LAST_AXIS, ASCENDING, SORT, RETURN_INDICES], topk16),
    OpSpec::new("topk", IOS17, TOPK17, topk17),
];

fn identity(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    match o.ty("x") {
        Some(ty) => Ok(vec![ty.clone()]),
        None => fail!("x must be one value"),
    }
}

fn filler_type(o: &View<'_>) -> DType {
    o.optional_tensor("value").map_or(F32, |t| t.dtype)
}

fn fill(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    let shape_ty = o.tensor("shape")?;
    let shape = match (o.ints("shape"), shape_ty.shape[0]) {
        (Some(shape), _) => shape.iter().map(|&d| dims::size(d, "shape")).collect::<Result<_, _>>()?,
        // Ranks are small; a long vector here is hostile.
        (None, Dim::Size(n)) if n <= 16 => vec![Dim::Unknown; n],
        _ => fail!("the length of shape {shape_ty} does not make a rank"),
    };
    one(filler_type(o), shape)
}

fn fill_like(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    one(filler_type(o), o.tensor("ref_tensor")?.shape.clone())
}

/// ⌈(end - start) / step⌉ elements.
fn range_1d(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    let dtype = o.tensor("start")?.dtype;
    let [Ok(start), Ok(end), Ok(step)] = ["start", "end", "step"].map(|p| o.known_number(p)) else {
        return one(dtype, vec![Dim::Unknown]);
    };
    let n = ((end - start) / step).ceil().max(0.0);
    ensure!(step != 0.0 && n < 9.0e15, "the range from {start} to {end} by {step} has no length");
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above")]
    one(dtype, vec![Dim::Size(n as usize)])
}

fn one_hot(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    let indices = o.tensor("indices")?;
    let at = axis(o.known_int("axis")?, indices.rank() + 1)?;
    let depth = match o.int("one_hot_vector_size") {
        Some(n) => dims::size(n, "one_hot_vector_size")?,
        None => Dim::Unknown,
    };
    let marks = [o.optional_tensor("on_value"), o.optional_tensor("off_value")];
    let [on, off] = marks.map(|t| t.map_or(I32, |t| t.dtype));
    ensure!(on == off, "on_value is {on}, but off_value is {off}: they must be equal");
    let mut shape = indices.shape.clone();
    shape.insert(at, depth);
    one(on, shape)
}

fn non_zero(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    one(I32, vec![Dim::Unknown, Dim::Size(o.tensor("x")?.rank())])
}

fn argsort(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    let x = o.tensor("x")?;
    axis(o.known_int("axis")?, x.rank())?;
    one(I32, x.shape.clone())
}

fn topk15(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    top(o, Some(I32))
}

fn topk16(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    top(o, o.known_bool("return_indices")?.then_some(I32))
}

fn topk17(o: &View<'_>) -> Result<Vec<Type>, OpError> {
    let with_indices = o.known_bool("return_indices")?;
    ensure!(with_indices || !o.has("output_indices_dtype"), "output_indices_dtype goes with return_indices only");
    let dtype = DType::from_name(o.known_text("output_indices_dtype")?).unwrap_or(I32);
    top(o, with_indices.then_some(dtype))
}

/// The k greatest along an axis, and their indices when these have a type.
fn top(o: &View<'_>, indices: Option<DType>) -> Result<Vec<Type>, OpError> {
    let (x, k) = (o.tensor("x")?, o.known_int("k")?);
    let along = axis(o.known_int("axis")?, x.rank())?;
    let mut shape = x.shape.clone();
    shape[along] = dims::size(k, "k")?;
    let fits = x.shape[along].size().zip(shape[along].size()).is_none_or(|(n, k)| k <= n);
    ensure!(fits, "k {k} is more than the {} along axis {along}", x.shape[along]);
    let typed = |dtype| Type::Tensor(TensorType { dtype, shape: shape.clone() });
    Ok([Some(x.dtype), indices].into_iter().flatten().map(typed).collect())
}
