//! The models of a pipeline and what stands beside them, from packages or from a checkpoint.

use std::path::Path;

use anyhow::{Context, Result, bail};
use sd_convert::{Checkpoint, Component, LatentSize, convert, size_function};
use sd_engines::{Executor, MilEngine, Options, Weights};
use sd_runtime::Engine;
use sd_runtime::pipeline::{Models, PipelineConfig};
use sd_runtime::tokenizer::ClipTokenizer;

use super::burn;
use crate::bundle::Companions;
use crate::cli::GenerateArgs;
use crate::command::open_package;
use crate::engine_args::EngineName;
use crate::model_dir::ModelDir;

/// A pipeline's parts.
pub(super) struct Loaded {
    pub(super) models: Models,
    pub(super) config: PipelineConfig,
    /// Name of the model, for the picture's settings.
    pub(super) name: String,
    /// What the user should know.
    pub(super) warnings: Vec<String>,
}

/// Loads packages or a checkpoint.
pub(super) fn load(args: &GenerateArgs, dir: &Path) -> Result<Loaded> {
    args.engine.check()?;
    crate::model_dir::check(dir)?;
    let has_packages = !crate::model_dir::packages(dir)?.is_empty();
    let with_burn = burn::is_chosen(args, dir, has_packages)?;
    match ModelDir::find(dir, args.latent_size)? {
        Some(packages) => from_packages(args, dir, &packages),
        None => from_checkpoint(args, dir, with_burn),
    }
}

/// With the plain engine the UNet, which runs many times, keeps its weights decoded.
fn executor(args: &GenerateArgs, is_unet: bool) -> Executor {
    match args.engine.engine {
        EngineName::Cpu => args.engine.cpu().into(),
        // Burn executes no programs and has its own way in `make`.
        EngineName::Reference | EngineName::Burn => {
            Options::default().with_weights(if is_unet { Weights::Kept } else { Weights::PerRun }).into()
        }
    }
}

fn from_packages(args: &GenerateArgs, dir: &Path, packages: &ModelDir) -> Result<Loaded> {
    let beside = Companions::read(dir, args.tokenizer.as_deref())?;
    let open = |path: &Path, is_unet| -> Result<MilEngine> {
        let package = open_package(path)?;
        let (model, executor) = (package.model(), executor(args, is_unet));
        let engine = match args.latent_size.map(size_function).filter(|name| model.description.function(name).is_some())
        {
            Some(function) => MilEngine::from_function(model, &function, executor),
            None => MilEngine::from_model(model, executor),
        };
        engine.with_context(|| format!("cannot run {}", path.display()))
    };
    let unet = match &packages.unet[..] {
        [whole] => open(whole, true)?,
        chunks => {
            let named = |path: &std::path::PathBuf| Ok((path.display().to_string(), open(path, true)?));
            MilEngine::chain(chunks.iter().map(named).collect::<Result<Vec<_>>>()?)?
        }
    };
    if let Some(size) = args.latent_size {
        check_size(dir, &unet, size)?;
    }
    let safety_checker = packages.safety_checker.as_deref().filter(|_| !args.no_safety_check);
    let vae_encoder = match (&args.image, &packages.vae_encoder) {
        (None, _) => None,
        (Some(_), Some(path)) => Some(path.as_path()),
        (Some(_), None) => bail!(
            "{} holds no …_vae_encoder.mlpackage, which --image needs; convert the checkpoint with --component vae-encoder into it",
            dir.display()
        ),
    };
    let models = Models {
        text_encoder: Some(boxed(open(&packages.text_encoder, false)?)),
        unet: Some(boxed(unet)),
        vae_decoder: Some(boxed(open(&packages.vae_decoder, false)?)),
        vae_encoder: vae_encoder.map(|path| open(path, false)).transpose()?.map(boxed),
        safety_checker: safety_checker.map(|path| open(path, false)).transpose()?.map(boxed),
    };
    let name = beside.model_version.unwrap_or_else(|| directory_name(dir));
    Ok(Loaded { models, config: beside.config, name, warnings: beside.warnings })
}

/// Refuses a size that the UNet has not.
fn check_size(dir: &Path, unet: &MilEngine, size: LatentSize) -> Result<()> {
    let shape = unet.signature().input("sample").map_or(&[][..], |f| &f.shape);
    match *shape {
        [_, _, height, width] if size != (LatentSize { height, width }) => bail!(
            "{} has no UNet for latents of {size}, but for {height}x{width}; convert takes several sizes: --latent-size {height}x{width},{size}",
            dir.display()
        ),
        _ => Ok(()),
    }
}

fn from_checkpoint(args: &GenerateArgs, dir: &Path, with_burn: bool) -> Result<Loaded> {
    let checkpoint = Checkpoint::open(dir).with_context(|| crate::model_dir::no_model(dir))?;
    let mut config = PipelineConfig::from_dir(checkpoint.root())?;
    if let Some(tokenizer) = &args.tokenizer {
        config.tokenizer = ClipTokenizer::from_dir(tokenizer)?;
    }
    let options = sd_convert::Options {
        attention: args.attention,
        precision: args.precision,
        latent_size: args.latent_size,
        ..sd_convert::Options::default()
    };
    let make = |component: Component| -> Result<Option<Box<dyn Engine>>> {
        if with_burn {
            return Ok(Some(burn::engine(args, &checkpoint, component, &options)?));
        }
        let converted = convert(&checkpoint, component, &options)?;
        let engine = MilEngine::from_program(&converted.program, executor(args, component == Component::UNet));
        Ok(Some(boxed(engine.with_context(|| format!("cannot run the {component}"))?)))
    };
    let with_safety = checkpoint.has(Component::SafetyChecker) && !args.no_safety_check;
    let models = Models {
        text_encoder: make(Component::TextEncoder)?,
        unet: make(Component::UNet)?,
        vae_decoder: make(Component::VaeDecoder)?,
        vae_encoder: if args.image.is_some() { make(Component::VaeEncoder)? } else { None },
        safety_checker: if with_safety { make(Component::SafetyChecker)? } else { None },
    };
    Ok(Loaded { models, config, name: checkpoint.name(), warnings: Vec::new() })
}

fn boxed(engine: MilEngine) -> Box<dyn Engine> {
    Box::new(engine)
}

fn directory_name(dir: &Path) -> String {
    let absolute = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    absolute.file_name().map_or_else(|| "model".to_owned(), |name| name.to_string_lossy().into_owned())
}
