//! One operation's operands as its kernel sees them.

use super::{
    constants::Constants,
    value::{Data, Element, Tensor},
};
use crate::OpFault;
use host_tensor::{DType, HostTensor, Stop, element_count};
use mil::{
    Literal, Value, ValueId,
    ops::{Default, OpSpec},
};

/// What a kernel returns: as many tensors as the operation has results.
pub(super) type Results = Result<Vec<Tensor>, OpFault>;

/// An operand: a tensor that was computed, or a constant that is read when it is asked for.
pub(super) struct Slot<'a> {
    value: &'a Value,
    id: ValueId,
    tensor: Option<Tensor>,
    shape: Option<Vec<usize>>,
}

impl<'a> Slot<'a> {
    /// A computed tensor.
    pub(super) fn computed(value: &'a Value, id: ValueId, tensor: Tensor) -> Self {
        let shape = Some(tensor.shape().to_vec());
        Self { value, id, tensor: Some(tensor), shape }
    }

    /// A constant.
    pub(super) const fn constant(value: &'a Value, id: ValueId) -> Self {
        Self { value, id, tensor: None, shape: None }
    }

    fn describe(&self) -> String {
        match (&self.shape, self.value.ty.as_tensor()) {
            (Some(shape), Some(ty)) => format!("{}{shape:?}", ty.dtype),
            _ => self.value.ty.to_string(),
        }
    }
}

/// One operation being executed.
pub(super) struct Call<'a> {
    /// Says what omitted parameters mean.
    pub(super) spec: Option<&'static OpSpec>,
    pub(super) slots: Vec<(&'a str, Vec<Slot<'a>>)>,
    pub(super) constants: &'a Constants,
    pub(super) limit: usize,
    /// Long kernels ask it between their parts, and leave out the rest: nobody reads their results then.
    pub(super) stop: &'a Stop,
}

impl<'a> Call<'a> {
    /// Operands with their shapes, for messages.
    pub(super) fn describe(&self) -> String {
        let mut parts = Vec::new();
        for (param, slots) in &self.slots {
            let all: Vec<String> = slots.iter().map(Slot::describe).collect();
            parts.push(format!("{param}={}", all.join(", ")));
        }
        parts.join(", ")
    }

    /// True when `param` is bound.
    pub(super) fn has(&self, param: &str) -> bool {
        self.slots.iter().any(|(p, _)| *p == param)
    }

    /// True when `param` is bound to a constant of the program.
    pub(super) fn is_constant(&self, param: &str) -> bool {
        self.slots(param).first().is_some_and(|slot| slot.value.literal.is_some())
    }

    fn slots(&self, param: &str) -> &[Slot<'a>] {
        self.slots.iter().find(|(p, _)| *p == param).map_or(&[], |(_, s)| s)
    }

    fn slot(&self, param: &str) -> Result<&Slot<'a>, OpFault> {
        self.slots(param).first().ok_or_else(|| OpFault::Missing { param: param.into() })
    }

    fn read(&self, param: &str, slot: &Slot<'a>) -> Result<Tensor, OpFault> {
        match (&slot.tensor, &slot.value.literal) {
            (Some(t), _) => Ok(t.clone()),
            (None, Some(Literal::Tensor(c))) => self.constants.read(slot.id, c, self.limit),
            _ => Err(OpFault::Kind { param: param.into(), expected: "a tensor", actual: slot.value.ty.to_string() }),
        }
    }

    /// The tensor bound to `param`; its data is shared.
    pub(super) fn tensor(&self, param: &str) -> Result<Tensor, OpFault> {
        self.read(param, self.slot(param)?)
    }

    /// The tensor bound to an optional `param`.
    pub(super) fn optional(&self, param: &str) -> Result<Option<Tensor>, OpFault> {
        self.has(param).then(|| self.tensor(param)).transpose()
    }

    /// The tensor bound to `param`, no longer held by this call, so that a kernel may overwrite it.
    pub(super) fn take(&mut self, param: &str) -> Result<Tensor, OpFault> {
        let found = self.slots.iter_mut().find(|(p, _)| *p == param).and_then(|(_, s)| s.first_mut());
        match found.and_then(|slot| slot.tensor.take()) {
            Some(tensor) => Ok(tensor),
            None => self.tensor(param),
        }
    }

    /// All tensors bound to `param`.
    pub(super) fn tensors(&self, param: &str) -> Result<Vec<Tensor>, OpFault> {
        self.slots(param).iter().map(|slot| self.read(param, slot)).collect()
    }

    /// The stored bytes of `param`, for operations that decode them.
    pub(super) fn raw(&self, param: &str) -> Result<HostTensor, OpFault> {
        let slot = self.slot(param)?;
        match (&slot.tensor, &slot.value.literal, slot.value.ty.as_tensor()) {
            (None, Some(Literal::Tensor(c)), _) => Ok(c.read()),
            (Some(t), _, Some(ty)) => Ok(t.to_host(ty.dtype)),
            _ => Err(OpFault::Kind { param: param.into(), expected: "a tensor", actual: slot.value.ty.to_string() }),
        }
    }

    /// The element type of `param`.
    pub(super) fn dtype(&self, param: &str) -> Result<DType, OpFault> {
        let slot = self.slot(param)?;
        let ty = slot.value.ty.as_tensor();
        ty.map(|t| t.dtype).ok_or_else(|| OpFault::Kind {
            param: param.into(),
            expected: "a tensor",
            actual: slot.value.ty.to_string(),
        })
    }

    /// What leaving out `param` means; an error where it must be given.
    fn default(&self, param: &str) -> Result<Default, OpFault> {
        let default = self.spec.and_then(|spec| spec.default_of(param));
        default.ok_or_else(|| OpFault::Missing { param: param.into() })
    }

    /// A default of the kind that `of` takes out.
    fn default_as<T>(&self, param: &str, of: impl FnOnce(Default) -> Option<T>) -> Result<T, OpFault> {
        of(self.default(param)?).ok_or_else(|| OpFault::Missing { param: param.into() })
    }

    /// The integers of a parameter, if it is bound.
    fn bound_ints(&self, param: &str) -> Result<Option<Vec<i64>>, OpFault> {
        let Some(t) = self.optional(param)? else { return Ok(None) };
        match t.data() {
            Data::Int(v) => Ok(Some(v.to_vec())),
            Data::Bool(_) | Data::Float(_) => {
                Err(OpFault::Kind { param: param.into(), expected: "integers", actual: t.kind().into() })
            }
        }
    }

    /// The integers of a parameter without a default.
    pub(super) fn ints(&self, param: &str) -> Result<Vec<i64>, OpFault> {
        self.bound_ints(param)?.ok_or_else(|| OpFault::Missing { param: param.into() })
    }

    /// The integers of a parameter, or as many as its default makes of `n`.
    pub(super) fn ints_for(&self, param: &str, n: usize) -> Result<Vec<i64>, OpFault> {
        match self.bound_ints(param)? {
            Some(values) => Ok(values),
            None => self.default_as(param, |default| default.ints(n)),
        }
    }

    /// The integer of a parameter, or its default.
    pub(super) fn int(&self, param: &str) -> Result<i64, OpFault> {
        match self.bound_ints(param)? {
            Some(values) => single(param, &values),
            None => self.default_as(param, Default::int),
        }
    }

    /// Non-negative integers of a parameter without a default.
    pub(super) fn sizes(&self, param: &str) -> Result<Vec<usize>, OpFault> {
        sizes(param, &self.ints(param)?)
    }

    /// Non-negative integers of a parameter, or as many as its default makes of `n`.
    pub(super) fn sizes_for(&self, param: &str, n: usize) -> Result<Vec<usize>, OpFault> {
        sizes(param, &self.ints_for(param, n)?)
    }

    /// Non-negative integers of a parameter, if it is bound.
    pub(super) fn optional_sizes(&self, param: &str) -> Result<Option<Vec<usize>>, OpFault> {
        self.bound_ints(param)?.map(|values| sizes(param, &values)).transpose()
    }

    /// A number of either kind, or the default.
    pub(super) fn float(&self, param: &str) -> Result<f32, OpFault> {
        let Some(t) = self.optional(param)? else {
            return self.default_as(param, Default::number).map(|number| number as f32);
        };
        match t.data() {
            Data::Float(v) => single(param, v),
            Data::Int(v) => single(param, v).map(|i| i as f32),
            Data::Bool(v) => single(param, v).map(|b| f32::from(u8::from(b))),
        }
    }

    /// The single element of a parameter, or its default, of the kind that other operands have.
    pub(super) fn element<T: Element>(&self, param: &str) -> Result<T, OpFault> {
        if let Some(t) = self.optional(param)? {
            return single(param, t.view()?);
        }
        let number = self.float(param)?;
        let all = [
            Tensor::new([1], vec![number]),
            Tensor::new([1], vec![number as i64]),
            Tensor::new([1], vec![number != 0.0]),
        ];
        let found = all.iter().find_map(|t| t.view::<T>().ok().and_then(|v| v.first().copied()));
        found.ok_or_else(|| OpFault::value(param, number, "it must be a number or a boolean"))
    }

    /// The tensor of a parameter, or a vector of as many numbers as its default makes of `n`.
    pub(super) fn floats_for(&self, param: &str, n: usize) -> Result<Tensor, OpFault> {
        if let Some(t) = self.optional(param)? {
            return Ok(t);
        }
        let values: Vec<f32> = self.default_as(param, |d| d.ints(n))?.into_iter().map(|i| i as f32).collect();
        Ok(Tensor::new([n], values))
    }

    /// A boolean, or the default.
    pub(super) fn flag(&self, param: &str) -> Result<bool, OpFault> {
        if let Some(t) = self.optional(param)? {
            return single(param, t.bools()?);
        }
        match self.default(param)? {
            Default::Not(other) => self.flag(other).map(|flag| !flag),
            _ => self.default_as(param, Default::bool),
        }
    }

    /// Booleans, or as many as the default makes of `n`.
    pub(super) fn flags_for(&self, param: &str, n: usize) -> Result<Vec<bool>, OpFault> {
        match self.optional(param)? {
            Some(t) => t.bools().map(<[bool]>::to_vec),
            None => Ok(self.ints_for(param, n)?.into_iter().map(|i| i != 0).collect()),
        }
    }

    /// A string, or the default.
    pub(super) fn text(&self, param: &str) -> Result<&'a str, OpFault> {
        let Some(slot) = self.slots(param).first() else { return self.default_as(param, Default::text) };
        slot.value.literal.as_ref().and_then(Literal::as_str).ok_or_else(|| OpFault::Kind {
            param: param.into(),
            expected: "a string",
            actual: slot.value.ty.to_string(),
        })
    }

    /// An axis of a tensor of this rank, or the default; negative ones count from the end.
    pub(super) fn axis(&self, param: &str, rank: usize) -> Result<usize, OpFault> {
        axis(param, self.int(param)?, rank)
    }

    /// Distinct axes of a tensor of this rank, in the given order, or those of the default.
    pub(super) fn axes(&self, param: &str, rank: usize) -> Result<Vec<usize>, OpFault> {
        let given = self.ints_for(param, rank)?;
        let axes = given.iter().map(|&a| axis(param, a, rank)).collect::<Result<Vec<_>, _>>()?;
        let mut seen = vec![false; rank];
        if axes.iter().any(|&a| std::mem::replace(&mut seen[a], true)) {
            return Err(OpFault::value(param, &given, "an axis may stand there once"));
        }
        Ok(axes)
    }

    /// The number of elements of a tensor that is to be made.
    pub(super) fn count(&self, shape: &[usize]) -> Result<usize, OpFault> {
        element_count(shape)
            .filter(|&n| n <= self.limit)
            .ok_or_else(|| OpFault::TooLarge { shape: shape.to_vec(), limit: self.limit })
    }
}

fn sizes(param: &str, values: &[i64]) -> Result<Vec<usize>, OpFault> {
    let sizes: Option<Vec<usize>> = values.iter().map(|&i| usize::try_from(i).ok()).collect();
    sizes.ok_or_else(|| OpFault::value(param, values, "it must not be negative"))
}

fn single<T: Copy>(param: &str, values: &[T]) -> Result<T, OpFault> {
    match values {
        [v] => Ok(*v),
        _ => Err(OpFault::value(param, values.len(), "it must have one element")),
    }
}

/// An axis of a tensor of this rank; negative ones count from the end.
pub(crate) fn axis(param: &str, axis: i64, rank: usize) -> Result<usize, OpFault> {
    let absolute = if axis < 0 { axis.saturating_add(rank as i64) } else { axis };
    usize::try_from(absolute).ok().filter(|&a| a < rank).ok_or_else(|| OpFault::Axis {
        param: param.into(),
        axis,
        rank,
    })
}

/// An index into a dimension of `size`; negative ones count from the end.
///
/// What a negative index means differs between Core ML versions; those that are in range from the end are
/// taken so, as numpy takes them, and all others are faults.
pub(crate) fn index(index: i64, size: usize) -> Result<usize, OpFault> {
    let absolute = if index < 0 { index.saturating_add(size as i64) } else { index };
    usize::try_from(absolute).ok().filter(|&i| i < size).ok_or(OpFault::Index { index, size })
}

/// A single result.
pub(super) fn one(tensor: Tensor) -> Results {
    Ok(vec![tensor])
}
