//! In which types a model computes and stores its weights, as `metadata.json` says it.

use std::collections::BTreeSet;

use mil::{Const, DType, Function, Literal, Op, Program, Type, ops};

/// Types that programs compute in: those that operations read and give, but for what is cast, and but for truth values
/// and text.
pub(super) fn computed<'p>(functions: impl IntoIterator<Item = &'p Function>) -> Option<String> {
    let mut found = BTreeSet::new();
    for function in functions {
        function.body.for_each_op(&mut |op| {
            let reads = op.kind != "cast" && !is_constexpr(op);
            let operands = op.operands().filter(|_| reads).chain(op.outputs.iter().copied());
            found.extend(operands.filter_map(|id| match function.ty(id) {
                Type::Tensor(t) | Type::State(t) if t.dtype != DType::Bool => Some(name(t.dtype)),
                _ => None,
            }));
        });
    }
    joined(found.into_iter().map(str::to_owned).collect())
}

/// Types that lie in weight files; palettes by the number of bits of an index.
///
/// Up to iOS 17 indices are packed into bytes, and the number follows from the palette's length.
pub(super) fn stored<'p>(programs: impl IntoIterator<Item = &'p Program>) -> Option<String> {
    let mut found = BTreeSet::new();
    for function in programs.into_iter().flat_map(|program| program.functions.values()) {
        let mut indices = BTreeSet::new();
        function.body.for_each_op(&mut |op| {
            if let Some(palette) = palette(function, op) {
                indices.extend(op.input("indices"));
                found.insert(palette);
            }
        });
        for group in function.constants_in_order() {
            for id in group.into_iter().filter(|id| !indices.contains(id)) {
                let constant = function.literal(id).and_then(Literal::as_const);
                found.extend(constant.filter(|c| c.location.is_some()).map(|c| name(c.dtype()).to_owned()));
            }
        }
    }
    joined(found)
}

fn is_constexpr(op: &Op) -> bool {
    ops::stage(&op.kind) == ops::Stage::Load
}

/// What an operation that looks up palettes stores.
fn palette(function: &Function, op: &Op) -> Option<String> {
    if op.kind != "constexpr_lut_to_dense" {
        return None;
    }
    let constant = |param| op.input(param).and_then(|id| function.literal(id)).and_then(Literal::as_const);
    let indices: &Const = constant("indices")?;
    let n_bits = match indices.dtype() {
        DType::U8 => {
            let shape = constant("lut")?.shape();
            // Before iOS 18 a palette is a list; since, the last axis but one.
            let n = *shape.iter().rev().nth(usize::from(shape.len() > 1))?;
            n.next_power_of_two().trailing_zeros()
        }
        dtype => u32::try_from(dtype.bits()).ok()?,
    };
    Some(format!("Palettized ({n_bits} bits)"))
}

fn joined(found: BTreeSet<String>) -> Option<String> {
    let all: Vec<String> = found.into_iter().collect();
    match &all[..] {
        [] => None,
        [only] => Some(only.clone()),
        _ => Some(format!("Mixed ({})", all.join(", "))),
    }
}

/// What Core ML calls an element type.
pub(super) const fn name(dtype: DType) -> &'static str {
    match dtype {
        DType::Bool => "Bool",
        DType::F16 => "Float16",
        DType::BF16 => "BFloat16",
        DType::F32 => "Float32",
        DType::F64 => "Double",
        DType::I4 => "Int4",
        DType::I8 => "Int8",
        DType::I16 => "Int16",
        DType::I32 => "Int32",
        DType::I64 => "Int64",
        DType::U1 => "UInt1",
        DType::U2 => "UInt2",
        DType::U3 => "UInt3",
        DType::U4 => "UInt4",
        DType::U6 => "UInt6",
        DType::U8 => "UInt8",
        DType::U16 => "UInt16",
        DType::U32 => "UInt32",
        DType::U64 => "UInt64",
    }
}
