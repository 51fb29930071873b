//! Sees what lies in values of a program while it runs.

use super::{OnProgress, Sample, run_each, tell};
use crate::ConvertError;
use host_tensor::Stop;
use mil::{Function, Opset, Program, ValueId, pass::eliminate_dead_code};
use mil_compress::{Magnitudes, Operand};
use std::collections::{BTreeMap, BTreeSet};

/// How large the elements of values are, by name, over all samples.
///
/// Values become outputs of a copy of the function, as many at a time as take `most_bytes` in single precision: what the
/// function itself returns is not computed then, unless it is needed.
///
/// # Errors
/// [`ConvertError::Execute`] when the program cannot be run, [`ConvertError::Option`] when it has several functions, or a
/// value holds what is not finite, and [`mil_compress::CompressError::Stopped`].
pub fn observe(
    program: &Program,
    values: &BTreeSet<Operand>,
    samples: &[Sample],
    most_bytes: usize,
    (stop, on): (&Stop, OnProgress<'_>),
) -> Result<BTreeMap<String, Magnitudes>, ConvertError> {
    let function = only(program)?;
    let mut seen: BTreeMap<String, Magnitudes> = BTreeMap::new();
    let (inputs, inner): (Vec<&Operand>, Vec<&Operand>) =
        values.iter().partition(|value| function.by_name(&value.value).is_some_and(|id| function.inputs.contains(&id)));
    for (value, sample) in inputs.iter().flat_map(|value| samples.iter().map(move |sample| (value, sample))) {
        if let Some(tensor) = sample.inputs.get(&value.value) {
            seen.entry(value.value.clone()).or_default().observe(tensor);
        }
    }
    let groups = groups(in_order(function, &inner), most_bytes);
    let total = groups.len() * samples.len();
    for (at, group) in groups.iter().enumerate() {
        let watched = returning(function, group)?;
        run_each(&watched, samples, stop, &mut |idx, outputs| {
            for (name, tensor) in outputs {
                seen.entry(name).or_default().observe(&tensor);
            }
            tell(on, at * samples.len() + idx + 1, total)
        })?;
    }
    match seen.iter().find(|(_, magnitudes)| magnitudes.n_exceptional() > 0) {
        None => Ok(seen),
        Some((name, magnitudes)) => Err(ConvertError::Option(format!(
            "{} of {} elements of {name} are infinite or not numbers on the samples; no range holds them",
            magnitudes.n_exceptional(),
            magnitudes.len()
        ))),
    }
}

/// The function of a program that has no other.
pub(super) fn only(program: &Program) -> Result<&Function, ConvertError> {
    let mut functions = program.functions.values();
    match (functions.next(), functions.next()) {
        (Some(only), None) => Ok(only),
        _ => Err(ConvertError::Option(format!(
            "the program has {} functions; activations are quantized for one size and number of samples, so convert for that",
            program.functions.len()
        ))),
    }
}

/// Values with their sizes, in the order in which they are computed, so that groups of them end early.
fn in_order(function: &Function, values: &[&Operand]) -> Vec<(ValueId, usize)> {
    let wanted: BTreeMap<ValueId, usize> = values
        .iter()
        .filter_map(|value| Some((function.by_name(&value.value)?, value.n_elements.unwrap_or(0).saturating_mul(4))))
        .collect();
    let made = function.body.ops.iter().flat_map(|op| op.outputs.iter());
    made.filter_map(|id| Some((*id, *wanted.get(id)?))).collect()
}

/// As many values as fit, again and again; one that is larger than everything is alone.
fn groups(values: Vec<(ValueId, usize)>, most_bytes: usize) -> Vec<Vec<ValueId>> {
    let mut groups: Vec<Vec<ValueId>> = Vec::new();
    let mut n_bytes = usize::MAX;
    for (value, size) in values {
        n_bytes = n_bytes.saturating_add(size);
        match groups.last_mut().filter(|_| n_bytes <= most_bytes) {
            Some(group) => group.push(value),
            None => {
                groups.push(vec![value]);
                n_bytes = size;
            }
        }
    }
    groups
}

/// The function as one that returns these values, and computes nothing else.
fn returning(function: &Function, values: &[ValueId]) -> Result<Program, ConvertError> {
    let mut function = function.clone();
    // Half precision may be returned from iOS 16 on.
    function.opset = function.opset.max(Opset::CoreML7);
    function.body.outputs = values.to_vec();
    eliminate_dead_code(&mut function).map_err(|error| ConvertError::Option(error.to_string()))?;
    Ok(Program::single(function))
}

#[cfg(test)]
mod tests {
    use super::*;
    use host_tensor::{DType, HostTensor};
    use mil::text::{NoBlobs, parse};
    use mil_compress::quantizable;
    use std::ops::ControlFlow;

    const TEXT: &str = "program(1) { func main<ios16>(tensor<fp16, [1, 4]> x) {
        tensor<fp16, [4, 4]> w = const()[val = tensor<fp16, [4, 4]>([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])];
        tensor<fp16, [1, 4]> a = linear(x = x, weight = w);
        tensor<fp16, [1, 4]> b = mul(x = a, y = fp16(2));
        tensor<fp16, [1, 4]> c = linear(x = b, weight = w);
        tensor<fp16, [1, 4]> d = exp(x = c);
        tensor<fp16, [1, 4]> y = linear(x = d, weight = w);
    } -> (y); }";

    fn sample(values: [f32; 4]) -> Sample {
        let x = HostTensor::from_f32([1, 4], values.to_vec()).cast(DType::F16);
        Sample { inputs: BTreeMap::from([("x".to_owned(), x)]), n_rows: 1 }
    }

    fn seen(samples: &[Sample], most_bytes: usize) -> (Result<BTreeMap<String, f32>, String>, usize) {
        let program = parse(TEXT, &NoBlobs).unwrap();
        let values = quantizable(&program).into_iter().flat_map(|op| op.activations).collect();
        let mut n_runs = 0;
        let mut on = |_, total| {
            n_runs = total;
            ControlFlow::Continue(())
        };
        let seen = observe(&program, &values, samples, most_bytes, (&Stop::never(), &mut on));
        let max = seen.map(|seen| seen.into_iter().map(|(name, seen)| (name, seen.max())).collect());
        (max.map_err(|error| error.to_string()), n_runs)
    }

    #[test]
    fn inputs_and_inner_values_are_seen_over_all_samples_in_as_many_passes_as_memory_asks_for() {
        let samples = [sample([1.0, 0.0, -3.0, 0.0]), sample([0.0, 2.0, 0.0, 0.0])];
        let want = BTreeMap::from([("x", 3.0), ("b", 6.0), ("d", 54.59375)]);
        let want: BTreeMap<String, f32> = want.into_iter().map(|(name, max)| (name.to_owned(), max)).collect();
        for (most_bytes, n_runs) in [(1 << 20, 2), (16, 4), (0, 4)] {
            assert_eq!(seen(&samples, most_bytes), (Ok(want.clone()), n_runs), "{most_bytes}");
        }
    }

    #[test]
    fn what_is_not_finite_has_no_range() {
        let error = seen(&[sample([20.0, 0.0, 0.0, 0.0])], 1 << 20).0.unwrap_err();
        assert_eq!(error, "1 of 4 elements of d are infinite or not numbers on the samples; no range holds them");
    }
}
