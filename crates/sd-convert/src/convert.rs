//! A conversion: recipe, lowering, passes in order, description.
//!
//! The result is a model in memory whose weights are still views of the mapped checkpoint; `mlpackage`
//! streams them to disk, an engine runs them as they are.

use crate::{
    Checkpoint, ConvertError, Exceptional, Options, Precision,
    exceptional::Mapped,
    recipe::{self, Failure, Recipe, declared_dtype, inner_dtype},
};
use mil::{
    Const, DType, Function, Program, Valid,
    pass::{
        self, AttentionPrecision, HalfPrecision, PassError, channels_first, declare_input, declare_output,
        expand_attention, keep_inputs, tidy, to_f16_with,
    },
    validate,
};
use mlpackage::{Description, Existing, Progress, Written};
use sd_spec::{Layout, Role, Stage};
use std::path::Path;

/// A converted component.
#[derive(Debug, Clone)]
pub struct Converted {
    /// Which one.
    pub role: Role,
    /// The program; valid.
    pub program: Program,
    /// Its interface in words, and metadata.
    pub description: Description,
    /// Tensors of the checkpoint that are in it and hold what its precision cannot.
    pub exceptional: Vec<Exceptional>,
}

impl Converted {
    /// The proof that the program is valid.
    ///
    /// # Errors
    /// None after [`convert`]; when the program was changed since, its faults.
    pub fn valid(&self) -> Result<Valid<'_>, ConvertError> {
        validate(&self.program).map_err(|faults| ConvertError::Invalid { role: self.role, faults })
    }

    /// Writes the package, whole or not at all; weights stream from the checkpoint.
    ///
    /// # Errors
    /// When a package is there and `existing` refuses, or the disk does.
    pub fn write(
        &self,
        path: &Path,
        existing: Existing,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Written, ConvertError> {
        Ok(mlpackage::write(path, self.valid()?, &self.description, existing, progress)?)
    }
}

/// Converts one component; nothing is written, and no weight is copied.
///
/// # Errors
/// When the checkpoint lacks the component, its configuration or tensors are not what the network needs, or
/// an option does not fit.
pub fn convert(ckpt: &Checkpoint, role: Role, options: &Options) -> Result<Converted, ConvertError> {
    convert_with(ckpt, role, options, &Mapped::new(ckpt.weights(role)?))
}

/// Converts one component with its weights, which were mapped before: what they are views of is then the same.
///
/// # Errors
/// As [`convert`].
pub(crate) fn convert_with(
    ckpt: &Checkpoint,
    role: Role,
    options: &Options,
    mapped: &Mapped,
) -> Result<Converted, ConvertError> {
    let recipe = Recipe::new(ckpt, role, options)?;
    let mut function = recipe::lower(&recipe, &mapped.weights, options.target.for_role(role).opset()).map_err(
        |failure| match failure {
            Failure::Model(source) => ConvertError::Model { path: ckpt.folder(role), source },
            Failure::Lower(source) => ConvertError::Lower { role, source },
        },
    )?;
    mapped.read(&function);
    optimise(&mut function, &recipe, options, mapped).map_err(|source| ConvertError::Pass { role, source })?;
    let program = Program::single(function);
    let description = describe(&program, &recipe, ckpt, options);
    let converted =
        Converted { role, program, description, exceptional: mapped.exceptional(options.precision_of(role)) };
    converted.valid()?;
    Ok(converted)
}

/// Every pass that a component goes through, in order.
fn optimise(f: &mut Function, recipe: &Recipe, options: &Options, mapped: &Mapped) -> Result<(), PassError> {
    for (index, output) in recipe.outputs.iter().enumerate() {
        declare_output(f, index, &output.name, DType::F32)?;
    }
    tidy(f)?;
    // Apple's converter lays out the denoiser's attention only; the other networks are small.
    if recipe.spec().layout == Layout::ChannelsFirst {
        channels_first(f, options.attention)?;
    }
    expand_attention(f)?;
    tidy(f)?;
    let precision = options.precision_of(recipe.role);
    for feature in &recipe.inputs {
        let declared = declared_dtype(feature.spec, precision);
        if declared != inner_dtype(feature.spec) {
            declare_input(f, &feature.name, declared)?;
        }
    }
    if precision == Precision::Float16 {
        let attention = match recipe.facts.upcasts_attention {
            true => AttentionPrecision::Full,
            false => AttentionPrecision::Half,
        };
        let beyond_half = |constant: &Const| mapped.is_beyond_half(constant);
        to_f16_with(f, HalfPrecision { attention, beyond_half: Some(&beyond_half) })?;
    }
    pass::run(f, pass::TIDY)?;
    // Nothing attends to the text in small ControlNets, and it is an input of theirs all the same.
    keep_inputs(f)?;
    Ok(())
}

/// Features with their words, and the metadata that Apple's converter writes.
fn describe(program: &Program, recipe: &Recipe, ckpt: &Checkpoint, options: &Options) -> Description {
    let mut description = Description::of(program);
    for interface in &mut description.functions {
        for feature in interface.inputs.iter_mut().chain(&mut interface.outputs) {
            let own = recipe.facts.words.iter().find(|(name, _)| *name == feature.name).map(|(_, words)| *words);
            let of_role = || recipe.spec().features().find(|spec| spec.is_named(&feature.name)).map(|spec| spec.words);
            if let Some(words) = own.or_else(of_role) {
                feature.description = words.to_owned();
            }
        }
    }
    let version = options.model_version.clone().unwrap_or_else(|| ckpt.name());
    let metadata = &mut description.metadata;
    metadata.short_description = recipe.spec().summary.to_owned();
    metadata.author = format!("See the model card of {version}");
    metadata.license = match recipe.spec().stage {
        Stage::Upscale => "See the model card".to_owned(),
        _ => "See the model card; most Stable Diffusion checkpoints are under an OpenRAIL licence".to_owned(),
    };
    metadata.version = version;
    metadata.user_defined.insert("smelt.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
    let loras: Vec<String> = ckpt.applied().iter().map(ToString::to_string).collect();
    if !loras.is_empty() {
        metadata.user_defined.insert("smelt.loras".to_owned(), loras.join(", "));
    }
    if recipe.spec().stage == Stage::Denoise {
        // Apple's Swift package looks for this key to tell converted denoisers apart.
        metadata.user_defined.insert("com.github.apple.ml-stable-diffusion.version".to_owned(), "1.1.0".to_owned());
    }
    description
}
