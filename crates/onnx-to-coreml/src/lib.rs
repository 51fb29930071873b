//! ONNX files to Core ML packages, through Burn code: an example to be copied.
//!
//! 1. `build.rs` has `burn-onnx` write Burn code for each file in `models`, and its weights into a file beside it.
//! 2. [`burn_mil::Lowering`] runs that code on a device that records it, and looks weights up by their path in the module.
//! 3. MIL's passes tidy what was recorded, and choose half precision; validation says what Core ML would refuse.
//! 4. [`mlpackage::write`] writes the package, for macOS 13, iOS 16 and later.
//!
//! Your own model is one more line in `build.rs`, one in `generated`, and one in [`MODELS`].
//! What `burn-onnx` does not know it refuses while this builds; what Core ML does not have, `burn-mil` refuses by name.

mod generated;
mod weights;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use burn_mil::{Lowering, Outputs};
use mil::pass;
use mil::{DType, Function, Opset, Program};
use mlpackage::{Description, Existing};

use weights::Weights;

/// How many bits weights and arithmetic have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// 16, which Apple's Neural Engine wants.
    Half,
    /// 32.
    Single,
}

/// A model of the folder `models`.
#[derive(Debug, Clone, Copy)]
pub struct Model {
    /// Its name, and that of its files.
    pub name: &'static str,
    lower: fn(&Weights) -> Result<Function>,
}

/// Every model of the folder `models`.
pub const MODELS: [Model; 2] =
    [Model { name: "classifier", lower: classifier }, Model { name: "vae_decoder", lower: vae_decoder }];

/// Pictures of 32×32 to the probabilities of ten classes.
fn classifier(weights: &Weights) -> Result<Function> {
    use generated::classifier::Model;
    let lowering = Lowering::new("main", Opset::CoreML6).input("image", DType::F32, &[1, 3, 32, 32]);
    let forward = |model: &Model, inputs: &burn_mil::Inputs| {
        Outputs::new().float("probabilities", model.forward(inputs.float("image")?))
    };
    Ok(lowering.lower(Model::new, |path| weights.get(path), forward)?)
}

/// Latents of 8×8 to pictures of 32×32.
fn vae_decoder(weights: &Weights) -> Result<Function> {
    use generated::vae_decoder::Model;
    let lowering = Lowering::new("main", Opset::CoreML6).input("z", DType::F32, &[1, 4, 8, 8]);
    let forward =
        |model: &Model, inputs: &burn_mil::Inputs| Outputs::new().float("image", model.forward(inputs.float("z")?));
    Ok(lowering.lower(Model::new, |path| weights.get(path), forward)?)
}

impl Model {
    /// The model as a program of Core ML.
    ///
    /// # Errors
    /// When its weights cannot be read, or an operation has no counterpart.
    pub fn program(&self, precision: Precision) -> Result<Program> {
        let weights = Weights::read(&generated::weights(self.name))?;
        let mut function = (self.lower)(&weights).with_context(|| format!("cannot lower {}", self.name))?;
        pass::run(&mut function, pass::TIDY)?;
        if precision == Precision::Half {
            pass::to_f16(&mut function)?;
            pass::run(&mut function, pass::TIDY)?;
        }
        Ok(Program::single(function))
    }

    /// Writes the model as a package into a folder, and returns its path.
    ///
    /// # Errors
    /// As [`Model::program`]; when Core ML would refuse the program; when the package cannot be written.
    pub fn write(&self, folder: &Path, precision: Precision) -> Result<PathBuf> {
        let program = self.program(precision)?;
        let valid = mil::validate(&program)?;
        let path = folder.join(self.name).with_extension("mlpackage");
        mlpackage::write(&path, valid, &Description::of(&program), Existing::Replace, &mut |_| {})?;
        Ok(path)
    }
}
