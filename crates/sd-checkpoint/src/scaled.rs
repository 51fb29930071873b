//! Weights in eight bits that are stored apart from what they are multiplied with, as ComfyUI keeps them.
//!
//! ```text
//! x.weight (F8_E4M3 or F8_E5M2), x.scale_weight or x.weight_scale (one number, or one for each row)  ==>  x.weight (F32)
//! ```
//!
//! Scales of what goes into a layer are for processors that multiply in eight bits, and are left out. Weights that are
//! packed otherwise are refused by the name of what packed them.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use host_tensor::{DType, element_count};
use mil::Compute;
use serde_json::Value;

use crate::{CheckpointError, Weight, Weights};

/// What the key of a scale ends with: ComfyUI's first form, and the one that it shares with compressed-tensors.
const SCALES: [&str; 2] = [".scale_weight", ".weight_scale"];
/// Beside a weight, and not needed for it.
const BESIDE: [&str; 3] = [".scale_input", ".input_scale", ".comfy_quant"];
/// A tensor that says that there are scales.
const MARK: &str = "scaled_fp8";
/// ComfyUI's description of a weight's form, a text of JSON.
const FORM: &str = ".comfy_quant";
/// Forms that are eight-bit floats with one scale.
const FORMS: [&str; 2] = ["float8_e4m3fn", "float8_e5m2"];

/// Rows that may have a scale each.
const MAX_ROWS: usize = 1 << 20;

/// Parts of keys that weights of other forms have, and who packs them.
const PACKED: [(&str, &str); 10] = [
    (".weight_scale_2", "in NVFP4, four-bit floats"),
    (".quant_state.bitsandbytes__nf4", "in NF4 by bitsandbytes"),
    (".quant_state.bitsandbytes__fp4", "in FP4 by bitsandbytes"),
    (".weight.absmax", "by bitsandbytes"),
    (".weight.SCB", "in eight-bit integers by bitsandbytes"),
    (".SCB", "in eight-bit integers by bitsandbytes"),
    (".qweight", "in four-bit integers by GPTQ, AWQ or Nunchaku"),
    (".weight_packed", "by compressed-tensors"),
    (".weight_zero_point", "in integers by compressed-tensors"),
    (".weight._data", "by optimum-quanto"),
];

/// The weights in a component's folder, multiplied with their scales.
///
/// # Errors
/// As [`Weights::open`] and [`apply`].
pub(crate) fn open(folder: &Path, variant: Option<&str>) -> Result<Weights, CheckpointError> {
    let mut weights = Weights::open(folder, variant)?;
    apply(&mut weights).map_err(|what| CheckpointError::Unsupported { path: folder.to_owned(), what })?;
    Ok(weights)
}

/// Multiplies scales into weights.
///
/// # Errors
/// For weights that are packed in another way, by the key that says so, and for scales that fit no weight.
pub(crate) fn apply(weights: &mut Weights) -> Result<(), String> {
    let keys: Vec<String> = weights.iter().map(|(key, _)| key.to_owned()).collect();
    for key in &keys {
        if let Some((_, how)) = PACKED.iter().find(|(part, _)| key.contains(part)) {
            return Err(format!("its weights are quantized {how} ({key}), which is not read; give the model in fp16"));
        }
    }
    for key in keys.iter().filter(|key| key.ends_with(FORM)) {
        check_form(key, weights.get(key))?;
    }
    for key in &keys {
        if let Some(module) = SCALES.iter().find_map(|end| key.strip_suffix(end)) {
            let Some(scale) = weights.remove(key) else { continue };
            multiply(weights, &format!("{module}.weight"), key, &scale)?;
        }
    }
    for key in keys {
        let module = BESIDE.iter().find_map(|end| key.strip_suffix(end));
        let is_beside = module.is_some_and(|module| weights.get(&format!("{module}.weight")).is_some());
        if is_beside || key == MARK || key.ends_with(&format!(".{MARK}")) {
            weights.remove(&key);
        }
    }
    Ok(())
}

/// Refuses forms that are no eight-bit floats.
fn check_form(key: &str, weight: Option<&Weight>) -> Result<(), String> {
    /// Bytes of a description.
    const MAX_BYTES: u64 = 4096;
    let bytes = weight.filter(|weight| weight.n_bytes() <= MAX_BYTES).map(|weight| weight.constant().read());
    let form = bytes.and_then(|bytes| serde_json::from_slice::<Value>(bytes.bytes()).ok());
    match form.as_ref().and_then(|form| form["format"].as_str()) {
        Some(form) if FORMS.contains(&form) => Ok(()),
        Some(form) => Err(format!("{key} says that its weight is quantized as {form}, which is not read")),
        None => Err(format!("{key} should say how its weight is quantized, and does not")),
    }
}

fn multiply(weights: &mut Weights, of: &str, key: &str, scale: &Weight) -> Result<(), String> {
    let weight = weights.get(of).ok_or_else(|| format!("{key} scales {of}, which is not there"))?;
    if !weight.dtype().is_float() || !scale.dtype().is_float() {
        let (scale, weight) = (scale.dtype(), weight.dtype());
        return Err(format!("{key} is {scale} and scales {of}, which is {weight}: only floats are read so"));
    }
    let (shape, of_scale) = (weight.shape(), scale.shape());
    let n_rows = shape.first().copied().unwrap_or(1);
    let n = element_count(&of_scale).unwrap_or(usize::MAX);
    let is_by_row = of_scale.first() == Some(&n_rows) && n == n_rows;
    if n != 1 && !(is_by_row && n <= MAX_ROWS) {
        return Err(format!(
            "{key} of shape {of_scale:?} scales {of} of shape {shape:?}: only one scale, or one for each row, is read"
        ));
    }
    let scales = scale.constant().read().to_f32_vec();
    if let Some(bad) = scales.iter().find(|scale| !scale.is_finite()) {
        return Err(format!("{key} holds {bad}, which is no scale"));
    }
    if scales.iter().any(|&scale| scale != 1.0) {
        let scaled = Scaled { source: weight.clone(), shape, scales };
        weights.insert(of, Weight::computed(Arc::new(scaled)).map_err(|e| format!("{of}: {e}"))?);
    }
    Ok(())
}

/// A weight multiplied by one number, or by one for each row; in f32.
#[derive(Debug)]
struct Scaled {
    source: Weight,
    shape: Vec<usize>,
    scales: Vec<f32>,
}

impl Compute for Scaled {
    fn dtype(&self) -> DType {
        DType::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn fill_rows(&self, rows: Range<usize>, out: &mut [u8]) {
        let values = self.source.values(rows.clone());
        let width = values.len().checked_div(rows.len()).unwrap_or(0).max(1);
        for ((at, value), out) in values.into_iter().enumerate().zip(out.as_chunks_mut().0) {
            let scale = self.scales[if self.scales.len() == 1 { 0 } else { rows.start + at / width }];
            *out = (value * scale).to_le_bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use host_tensor::HostTensor;

    use super::*;
    use crate::element::{Element, SmallFloat};

    /// 1, 2, 0, 2^-9, -1, 448.
    fn small() -> Weight {
        let bytes = Bytes::from_static(&[0x38, 0x40, 0, 1, 0xb8, 0x7e]);
        Element::Small(SmallFloat::E4M3FN).weight(vec![3, 2], bytes).unwrap()
    }

    fn of(more: &[(&str, HostTensor)]) -> Weights {
        let mut weights = Weights::default();
        weights.insert("a.weight", small());
        weights.insert("a.bias", HostTensor::from_f32([3], vec![9.0; 3]));
        for (key, tensor) in more {
            weights.insert(*key, tensor.clone());
        }
        weights
    }

    fn text(json: &str) -> HostTensor {
        HostTensor::new(DType::U8, [json.len()], Bytes::copy_from_slice(json.as_bytes())).unwrap()
    }

    #[test]
    fn scales_are_multiplied_in_and_what_is_beside_is_gone() {
        let number = |value: f32| HostTensor::from_f32([], vec![value]);
        let rows = |shape: &[usize]| HostTensor::from_f32(shape.to_vec(), vec![1.0, 4.0, 0.5]);
        let (halved, by_row) =
            ([0.5, 1.0, 0.0, 2f32.powi(-10), -0.5, 224.0], [1.0, 2.0, 0.0, 2f32.powi(-7), -0.5, 224.0]);
        for (more, expected) in [
            (vec![("a.scale_weight", number(0.5)), ("a.scale_input", number(3.0)), ("scaled_fp8", text(""))], halved),
            (vec![("a.weight_scale", HostTensor::from_f32([1], vec![0.5])), ("a.input_scale", number(3.0))], halved),
            (vec![("a.weight_scale", number(0.5)), ("a.comfy_quant", text(r#"{"format": "float8_e4m3fn"}"#))], halved),
            (vec![("a.scale_weight", rows(&[3])), ("model.diffusion_model.scaled_fp8", text(""))], by_row),
            (vec![("a.scale_weight", rows(&[3, 1]))], by_row),
        ] {
            let mut weights = of(&more);
            apply(&mut weights).unwrap();
            assert_eq!(weights.iter().map(|(key, _)| key).collect::<Vec<_>>(), ["a.bias", "a.weight"], "{more:?}");
            let weight = weights.get("a.weight").unwrap();
            assert_eq!((weight.dtype(), weight.shape()), (DType::F32, vec![3, 2]));
            assert_eq!(weight.constant().read().to_f32_vec(), expected, "{more:?}");
            let last = weight.values(2..3);
            assert_eq!(last, expected[4..], "rows are scaled by their own place");
        }
        // A scale of 1 changes nothing, and the weight stays as narrow as it was.
        let mut weights = of(&[("a.scale_weight", number(1.0))]);
        apply(&mut weights).unwrap();
        assert_eq!(weights.get("a.weight").unwrap().dtype(), DType::F16);
    }

    #[test]
    fn other_forms_are_refused_for_what_they_are() {
        let number = HostTensor::from_f32([], vec![2.0]);
        for (key, tensor, expected) in [
            ("a.weight_scale_2", number.clone(), "NVFP4"),
            ("a.weight.quant_state.bitsandbytes__nf4", text("x"), "NF4 by bitsandbytes (a.weight.quant_state"),
            ("a.SCB", number.clone(), "integers by bitsandbytes"),
            ("a.qweight", number.clone(), "GPTQ, AWQ or Nunchaku"),
            (
                "a.comfy_quant",
                text(r#"{"format": "mxfp8"}"#),
                "a.comfy_quant says that its weight is quantized as mxfp8",
            ),
            ("a.comfy_quant", text("?"), "should say how"),
            ("b.scale_weight", number.clone(), "b.scale_weight scales b.weight, which is not there"),
            ("a.scale_weight", HostTensor::from_f32([2], vec![1.0; 2]), "[2] scales a.weight of shape [3, 2]"),
            ("a.scale_weight", HostTensor::from_f32([0], vec![]), "[0] scales a.weight"),
            ("a.scale_weight", HostTensor::from_f32([], vec![f32::NAN]), "a.scale_weight holds NaN"),
            ("a.scale_weight", text("x"), "a.scale_weight is uint8"),
        ] {
            let error = apply(&mut of(&[(key, tensor)])).unwrap_err();
            assert!(error.contains(expected), "{key}: {error}");
        }
        let mut integers = of(&[("a.weight_scale", number)]);
        integers.insert("a.weight", HostTensor::new(DType::I8, [3, 2], Bytes::from_static(&[0; 6])).unwrap());
        assert!(apply(&mut integers).unwrap_err().contains("a.weight, which is int8"));
    }
}
