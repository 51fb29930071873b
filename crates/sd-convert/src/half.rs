//! What half precision does to a component: it is run at a small size, with every result rounded as declared.
//!
//! A device that computes in half precision has no numbers beyond 65504, and a network that leaves them draws black
//! pictures. Whether one does hardly depends on the size of the picture, so a small one tells.

use crate::{
    Checkpoint, ConvertError, Converted, LatentSize, Options, Precision, Role, Shapes,
    convert::convert_with,
    exceptional::Mapped,
    has_sizes,
    recipe::facts,
    shapes::join_shapes,
    verify::{Input, random_inputs},
};
use host_tensor::{HostTensor, Stop};
use mil::Function;
use mil_engine::reference::{Cause, NonFinite, Options as RunOptions, Reference, Rounding};
use sd_spec::{Draw, Stage};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// Latents of the check: enough for every level of a network to have a pixel.
pub const CHECK_SIZE: LatentSize = LatentSize { height: 8, width: 8 };

/// What happens when a component leaves half precision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnOverflow {
    /// Nobody looks.
    Ignore,
    /// It is told, and the component is converted in half precision all the same.
    Tell,
    /// It is told, and the component is converted in full precision.
    UseFloat32,
}

/// A conversion with its check.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Found {
    /// The component.
    pub converted: Converted,
    /// The precision that it is in.
    pub precision: Precision,
    /// What the check found, where there was one.
    pub check: Option<HalfCheck>,
    /// Whether nobody had to look, because autoencoders of the family are known to leave half precision.
    pub is_known_to_leave_half: bool,
}

/// What a check in half precision found.
#[derive(Debug, Clone, PartialEq)]
pub struct HalfCheck {
    /// The first operation whose results half precision cannot hold.
    pub overflow: Option<NonFinite>,
    /// How long it took.
    pub elapsed: Duration,
}

/// Converts one component, for one shape or several; in half precision, an autoencoder's halves and upscalers are checked before.
///
/// Where `shapes` says nothing, `options` counts; several become functions of one model.
/// Memory does not grow with the model: the check reads one weight after the other.
///
/// # Errors
/// As [`convert()`](crate::convert()) and [`convert_shapes`](crate::convert_shapes), and when the check cannot run.
pub fn convert_checked(
    ckpt: &Checkpoint,
    role: Role,
    options: &Options,
    shapes: &Shapes,
    on_overflow: OnOverflow,
) -> Result<Found, ConvertError> {
    let mapped = Mapped::new(ckpt.weights(role)?);
    let is_looked_at = options.precision_of(role) == Precision::Float16
        && on_overflow != OnOverflow::Ignore
        && matches!(role.spec().stage, Stage::Encode | Stage::Decode | Stage::Upscale);
    let is_known_to_leave_half =
        is_looked_at && ckpt.family().spec().autoencoder_leaves_half && facts(ckpt, role)?.leaves_half;
    let is_checked = is_looked_at && !is_known_to_leave_half;
    let check = is_checked.then(|| check(ckpt, role, options, &mapped)).transpose()?;
    let overflows = is_known_to_leave_half || check.as_ref().is_some_and(|check| check.overflow.is_some());
    let mut options = options.clone();
    if overflows && on_overflow == OnOverflow::UseFloat32 {
        options.precision = Some(Precision::Float32);
    }
    let precision = options.precision_of(role);
    let converted = match shapes.all()[..] {
        [only] => convert_with(ckpt, role, &only.chosen_in(&options), &mapped)?,
        _ => join_shapes(ckpt, role, &options, shapes, &mapped)?,
    };
    Ok(Found { converted, precision, check, is_known_to_leave_half })
}

fn check(ckpt: &Checkpoint, role: Role, options: &Options, mapped: &Mapped) -> Result<HalfCheck, ConvertError> {
    let begin = Instant::now();
    let small = convert_with(ckpt, role, &at_check_size(role, options), mapped)?;
    let fail = |source| ConvertError::Run { role, source };
    let valid = small.valid()?;
    let run = Reference::compile(valid, RunOptions::default().with_rounding(Rounding::Declared)).map_err(fail)?;
    let input = |f: &mil_engine::reference::Feature| Input {
        name: f.name.clone(),
        dtype: f.ty.dtype,
        shape: f.ty.static_shape().unwrap_or_default(),
    };
    let inputs: Vec<Input> = run.inputs().iter().map(input).collect();
    let drawn = typical_inputs(Some((ckpt, role)), &inputs, small.program.main(), 0)?;
    let (_, found) = run.run_watched(&drawn, &Stop::never()).map_err(fail)?;
    // What is not finite for another reason is so in full precision too.
    let overflow = found.filter(|found| found.cause == Cause::Rounding);
    Ok(HalfCheck { overflow, elapsed: begin.elapsed() })
}

/// Options for the same model at the size of the check.
#[must_use]
pub fn at_check_size(role: Role, options: &Options) -> Options {
    let latent_size = if has_sizes(role) { Some(CHECK_SIZE) } else { options.latent_size };
    Options { latent_size, ..options.clone() }
}

/// Inputs of the scale that a pipeline gives them: as [`random_inputs`], but latents for a decoder divided by the
/// checkpoint's scaling factor (or that of Stable Diffusion 1.x, without a checkpoint) and shifted by its shift factor, and pictures for an encoder
/// in [−1, 1], the left half noisy and the right half smooth.
///
/// # Errors
/// As [`random_inputs`], and when the autoencoder's configuration cannot be read.
pub fn typical_inputs(
    of: Option<(&Checkpoint, Role)>,
    inputs: &[Input],
    function: Option<&Function>,
    seed: u64,
) -> Result<BTreeMap<String, HostTensor>, ConvertError> {
    /// Stable Diffusion 1.x and 2.x.
    const USUAL_SCALING_FACTOR: f64 = 0.18215;
    let mut drawn = random_inputs(inputs, function, seed)?;
    for input in inputs {
        match sd_spec::input(&input.name).map(|spec| spec.draw) {
            Some(Draw::Latents) => {
                let own = of.map(|(ckpt, role)| facts(ckpt, role)).transpose()?.unwrap_or_default();
                let factor = own.scaling_factor.unwrap_or(USUAL_SCALING_FACTOR);
                let shift = own.shift_factor.unwrap_or(0.0);
                let undo = |values: &mut [f32], _: &[usize]| {
                    values.iter_mut().for_each(|v| *v = (f64::from(*v) / factor + shift) as f32);
                };
                change(&mut drawn, &input.name, undo);
            }
            Some(Draw::Picture) => change(&mut drawn, &input.name, picture),
            _ => {}
        }
    }
    Ok(drawn)
}

fn change(drawn: &mut BTreeMap<String, HostTensor>, name: &str, f: impl FnOnce(&mut [f32], &[usize])) {
    if let Some(tensor) = drawn.get_mut(name) {
        let mut values = tensor.to_f32_vec();
        f(&mut values, tensor.shape());
        *tensor = HostTensor::from_f32(tensor.shape(), values).cast(tensor.dtype());
    }
}

/// Noise, and on its right waves that are as long as the picture, all from −1 to 1.
fn picture(values: &mut [f32], shape: &[usize]) {
    let &[.., height, width] = shape else { return };
    let at = |n: usize, size: usize| std::f32::consts::TAU * n as f32 / size as f32;
    for (i, value) in values.iter_mut().enumerate() {
        let (channel, row, column) = (i / width / height, i / width % height, i % width);
        *value = if column < width / 2 {
            value.clamp(-1.0, 1.0)
        } else {
            (at(row, height) + channel as f32).sin() * (at(column, width) - channel as f32).cos()
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use host_tensor::DType;

    fn drawn(name: &str, shape: [usize; 4], of: Option<(&Checkpoint, Role)>) -> Vec<f32> {
        let inputs = [Input { name: name.to_owned(), dtype: DType::F32, shape: shape.to_vec() }];
        typical_inputs(of, &inputs, None, 5).unwrap()[name].to_f32_vec()
    }

    fn deviation(values: &[f32]) -> f32 {
        (values.iter().map(|v| v * v).sum::<f32>() / values.len() as f32).sqrt()
    }

    #[test]
    fn latents_for_a_decoder_have_the_scale_that_its_configuration_gives_them() {
        let usual = deviation(&drawn("z", [1, 4, 32, 32], None));
        assert!((usual * 0.18215 - 1.0).abs() < 0.05, "{usual}");
        let ckpt = Checkpoint::open(testkit::demo()).unwrap();
        let factor = facts(&ckpt, Role::VaeDecoder).unwrap().scaling_factor.unwrap() as f32;
        let own = deviation(&drawn("z", [1, 4, 32, 32], Some((&ckpt, Role::VaeDecoder))));
        assert!((own * factor - 1.0).abs() < 0.05, "{own} {factor}");
    }

    #[test]
    fn pictures_for_an_encoder_are_noisy_and_smooth_and_never_beyond_one() {
        let values = drawn("x", [1, 3, 32, 64], None);
        assert!(values.iter().all(|v| v.abs() <= 1.0));
        let steps = |from: usize| -> f32 {
            let rows =
                values.chunks(64).map(|row| row[from..from + 31].windows(2).map(|w| (w[0] - w[1]).abs()).sum::<f32>());
            rows.sum::<f32>() / (96.0 * 30.0)
        };
        assert!(steps(0) > 0.5 && steps(32) < 0.1, "{} {}", steps(0), steps(32));
    }

    #[test]
    fn other_inputs_are_those_of_any_comparison() {
        let inputs = [Input { name: "sample".to_owned(), dtype: DType::F16, shape: vec![2, 4, 8, 8] }];
        let typical = typical_inputs(None, &inputs, None, 9).unwrap();
        assert_eq!(typical, random_inputs(&inputs, None, 9).unwrap());
    }

    #[test]
    fn only_an_autoencoder_in_half_precision_is_checked() {
        let ckpt = Checkpoint::open(testkit::demo()).unwrap();
        let checked = |role, precision, on_overflow| {
            let options = Options { precision: Some(precision), ..Options::default() };
            let shapes = Shapes::new(vec![CHECK_SIZE], Vec::new()).unwrap();
            let found = convert_checked(&ckpt, role, &options, &shapes, on_overflow).unwrap();
            assert_eq!(found.precision, precision, "nothing in the demo leaves half precision");
            assert!(found.converted.exceptional.is_empty());
            found.check.is_some()
        };
        use OnOverflow::{Ignore, Tell, UseFloat32};
        assert!(checked(Role::VaeDecoder, Precision::Float16, UseFloat32));
        assert!(checked(Role::VaeEncoder, Precision::Float16, Tell));
        assert!(!checked(Role::VaeDecoder, Precision::Float16, Ignore));
        assert!(!checked(Role::VaeDecoder, Precision::Float32, UseFloat32));
        assert!(!checked(Role::TextEncoder, Precision::Float16, UseFloat32));
    }
}
