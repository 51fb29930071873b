//! Inputs for `smelt run`: tensors of the shapes that a package declares, the same each time.

use std::path::Path;

use anyhow::{Context, Result, bail};
use mlpackage::{Feature, FeatureType, Model};
use safetensors::{Dtype, tensor::TensorView};
use testkit::Rng;

/// Writes a safetensors file with a tensor for each input of the model.
pub(super) fn write(model: &Model, path: &Path) -> Result<()> {
    let interface = model.description.main().context("the package declares no inputs")?;
    let drawn = interface.inputs.iter().map(draw).collect::<Result<Vec<_>>>()?;
    let mut views = Vec::new();
    for (name, shape, bytes) in &drawn {
        views.push((name, TensorView::new(Dtype::F32, shape.clone(), bytes)?));
    }
    safetensors::serialize_to_file(views, None, path).with_context(|| format!("cannot write {}", path.display()))
}

/// Name, shape and values; `smelt run` converts them to the input's type.
fn draw(feature: &Feature) -> Result<(String, Vec<usize>, Vec<u8>)> {
    let FeatureType::MultiArray(array) = &feature.ty else { bail!("input {} is no tensor", feature.name) };
    let mut rng = Rng::new(feature.name.bytes().fold(0, |seed: u64, byte| seed.wrapping_mul(31) + u64::from(byte)));
    let n_elements: usize = array.shape.iter().product();
    let mut value = || match feature.name.as_str() {
        // Every vocabulary has more tokens than this.
        "input_ids" => rng.below(1000) as f32,
        "timestep" => 500.0,
        _ => rng.below(2001) as f32 / 1000.0 - 1.0,
    };
    let bytes = (0..n_elements).flat_map(|_| value().to_le_bytes()).collect();
    Ok((feature.name.clone(), array.shape.clone(), bytes))
}
