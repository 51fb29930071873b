//! Recipes in the form of Apple's mixed-bit palettization, by names of layers.
//!
//! That form has, of each layer, the ratios of eight prompts, and divides their sum by eight; here the ratio over all samples
//! stands eight times. Of layers that are palettized one after another it has what was measured; here it is what the losses
//! add up to.

use mil_compress::{Named, Scheme};
use sd_convert::LayerNames;
use serde_json::{Map, Value, json};

use super::front::{Recipe, Recipes};
use super::psnr_db;
use crate::analysis::AnalysedWeight;
use crate::error::{Result, refuse};

/// Widths that the form has, and what leaves a layer.
const WIDTHS: [u8; 5] = [1, 2, 4, 6, 8];
const LEFT: u8 = 16;
/// Prompts whose ratios the form has.
const N_PROMPTS: usize = 8;
/// Roots before names of layers.
const ROOTS: [&str; 2] = ["unet", "model"];

impl Recipes {
    /// The recipes in the form of Apple's analysis, which `smelt compress --config` and Apple's own tools read.
    ///
    /// # Errors
    /// For schemes other than palettes of 1, 2, 4, 6 or 8 bits for a tensor, and for weights whose layer cannot be told.
    pub fn to_apple_json(&self) -> Result<Value> {
        let layers = self.layers()?;
        let (mut recipes, mut baselines) = (Map::new(), self.baselines());
        for recipe in &self.recipes {
            let name = format!("recipe_{}_bit_mixedpalette", recipe.name);
            recipes.insert(name.clone(), Value::Object(bits(recipe, &layers)?));
            baselines.insert(name, rounded(recipe.psnr_db.unwrap_or(self.identical())).into());
        }
        let (mut single, mut cumulative) = (Map::new(), Map::new());
        for width in WIDTHS {
            if let Some(losses) = self.losses(width) {
                single.insert(width.to_string(), self.single(width, &layers, &losses));
                cumulative.insert(width.to_string(), self.cumulative(width, &layers, &losses));
            }
        }
        Ok(json!({
            "model_version": self.analysis.model,
            "single_layer": single,
            "cumulative": cumulative,
            "baselines": baselines,
            "recipes": recipes,
        }))
    }

    /// The layer of each weight.
    fn layers(&self) -> Result<Vec<String>> {
        let (names, roots) = (LayerNames::of_unets(), ROOTS.map(str::to_owned));
        let layer = |weight: &AnalysedWeight| match names.layer(&weight.name, &roots) {
            Some(layer) => Ok(layer),
            None => refuse!(
                "the layer of {} cannot be told from its name, as the form of Apple's recipes needs it; the usual form has \
                 weights by their own names",
                weight.name
            ),
        };
        self.analysis.weights.iter().map(layer).collect()
    }

    /// What palettes of so many bits lose of each weight; none where some have not been looked at.
    fn losses(&self, width: u8) -> Option<Vec<f64>> {
        let name = width.to_string();
        let of = |weight: &AnalysedWeight| Some(weight.choices.iter().find(|choice| choice.scheme == name)?.loss);
        self.analysis.weights.iter().map(of).collect()
    }

    fn single(&self, width: u8, layers: &[String], losses: &[f64]) -> Value {
        let mut map = Map::new();
        map.insert("metadata".into(), metadata(width, false));
        map.extend(layers.iter().zip(losses).map(|(layer, &loss)| (layer.clone(), self.ratios(loss))));
        Value::Object(map)
    }

    /// The layers that lose least first, each together with those before it.
    fn cumulative(&self, width: u8, layers: &[String], losses: &[f64]) -> Value {
        let mut order: Vec<usize> = (0..layers.len()).collect();
        order.sort_by(|&a, &b| losses[a].total_cmp(&losses[b]));
        let size = |&i: &usize| self.analysis.weights[i].shape.iter().product::<usize>();
        let (candidates, sizes) = (order.iter().map(|&i| &layers[i]), order.iter().map(size));
        let mut about = metadata(width, true);
        about["candidates"] = candidates.cloned().collect::<Vec<_>>().into();
        about["sizes"] = sizes.collect::<Vec<_>>().into();
        let mut map = Map::new();
        map.insert("metadata".into(), about);
        let mut sum = 0.0;
        for &i in &order {
            sum += losses[i];
            map.insert(layers[i].clone(), self.ratios(sum));
        }
        Value::Object(map)
    }

    fn baselines(&self) -> Map<String, Value> {
        let mut baselines = Map::new();
        baselines.insert("original".into(), rounded(self.identical()).into());
        let integers = self.uniform.iter().find(|uniform| uniform.scheme.to_string() == "int8");
        baselines.extend(integers.map(|uniform| ("linear_8bit".to_owned(), rounded(uniform.psnr_db).into())));
        baselines
    }

    fn ratios(&self, loss: f64) -> Value {
        let db = psnr_db(self.analysis.peak, loss);
        vec![rounded(if db.is_finite() { db } else { self.identical() }); N_PROMPTS].into()
    }

    /// The ratio that the form has where nothing is lost (apple/ml-stable-diffusion, `compute_psnr`).
    fn identical(&self) -> f64 {
        20.0 * ((self.analysis.peak + 1e-5) / 1e-10).log10()
    }
}

fn metadata(width: u8, cumulative: bool) -> Value {
    json!({"nbits": width, "out_ngroups": 1, "in_ngroups": 1, "cumulative": cumulative})
}

/// Bits by layer.
fn bits(recipe: &Recipe, layers: &[String]) -> Result<Map<String, Value>> {
    let mut map = Map::new();
    for (layer, scheme) in layers.iter().zip(&recipe.schemes) {
        let is_plain =
            scheme.bits().is_some_and(|bits| WIDTHS.contains(&bits) && Scheme::palettes(bits) == scheme.scheme());
        let bits = match scheme.bits() {
            Some(bits) if is_plain => bits,
            None if *scheme == Named::KEEP => LEFT,
            _ => refuse!(
                "{layer} has the scheme {scheme}, and the form of Apple's recipes has palettes of 1, 2, 4, 6 and 8 bits for a \
                 tensor alone: --schemes 1,2,4,6,8"
            ),
        };
        if map.insert(layer.clone(), bits.into()).is_some() {
            refuse!("two weights are of the layer {layer}; the usual form has weights by their own names");
        }
    }
    Ok(map)
}

/// To a tenth, as the form has it.
fn rounded(db: f64) -> f64 {
    (db * 10.0).round() / 10.0
}
