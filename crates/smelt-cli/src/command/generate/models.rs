//! The models of a pipeline and what stands beside them, from packages or from a checkpoint.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use mlpackage::{FeatureType, Package};
use sd_convert::place::Wanted;
use sd_convert::{AttentionLayout, Checkpoint, LatentSize, Precision, Role, convert, hub, size_function};
use sd_engines::{Executor, MilEngine, Options, Weights};
use sd_runtime::pipeline::{Models, PipelineConfig, TextToImage};
use sd_runtime::scheduler::SchedulerKind;
use sd_runtime::{Engine, LoadWith, Loader, Residency, RuntimeError};

use super::burn;
use crate::cli::{GenerateArgs, size_in_words};
use crate::command::convert::tensor_warnings;
use crate::command::open_package;
use crate::engine_args::{EngineArgs, EngineName};
use smelt::bundle::Companions;
use smelt::fit;
use smelt::model_dir::ModelDir;

/// Models that are loaded, or that will be.
enum Source {
    Kept(Models),
    PerStage(Box<dyn Loader>),
}

/// What the user should know of models, as far as they are loaded.
type Found = Arc<Mutex<Vec<String>>>;

/// A pipeline's parts.
pub(super) struct Loaded {
    source: Source,
    found: Found,
    pub(super) config: PipelineConfig,
    /// Name of the model, for the picture's settings.
    pub(super) name: String,
    /// What the user should know.
    pub(super) warnings: Vec<String>,
}

impl Source {
    /// Loads the models of these roles, with --low-memory only when their stage begins.
    fn new<F>(args: &GenerateArgs, roles: Vec<Role>, mut load: F) -> Result<Self>
    where
        F: FnMut(Role) -> Result<Box<dyn Engine>> + Send + 'static,
    {
        if args.low_memory {
            return Ok(Self::PerStage(Box::new(LoadWith::new(roles, move |role| Ok(load(role)?)))));
        }
        let models = roles.into_iter().map(|role| Ok((role, load(role)?)));
        Ok(Self::Kept(models.collect::<Result<_>>()?))
    }
}

impl Loaded {
    /// The pipeline, and what was found since.
    pub(super) fn pipeline(self) -> Result<(TextToImage, Vec<String>), RuntimeError> {
        let pipeline = match self.source {
            Source::Kept(models) => TextToImage::new(models, self.config),
            Source::PerStage(loader) => TextToImage::with_loader(loader, Residency::PerStage, self.config),
        };
        Ok((pipeline?, take(&self.found)))
    }
}

/// Takes what was found until now.
fn take(found: &Found) -> Vec<String> {
    std::mem::take(&mut *found.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Loads packages or a checkpoint.
pub(super) fn load(args: &GenerateArgs, dir: &Path) -> Result<Loaded> {
    args.engine.check()?;
    let dir = &hub::resolve(dir)?;
    let has_packages = dir.is_dir() && !smelt::model_dir::packages(dir)?.is_empty();
    let with_burn = burn::is_chosen(args, dir, has_packages)?;
    if !has_packages {
        return from_checkpoint(args, dir, with_burn);
    }
    refuse_ineffective(args, dir)?;
    let size = match args.size.is_given() {
        true => {
            let (scale, own) = match args.size.is_in_pixels() {
                true => native_size(&ModelDir::find(dir, None)?)?,
                false => (1, None),
            };
            args.size.latent(scale, own)?
        }
        false => None,
    };
    from_packages(args, dir, &ModelDir::find(dir, size)?, size)
}

/// Refuses options of a conversion, which packages have behind them.
fn refuse_ineffective(args: &GenerateArgs, dir: &Path) -> Result<()> {
    let given = [
        ("--attention", args.attention.is_some()),
        ("--precision", args.precision.is_some()),
        ("--variant", args.variant.is_some()),
    ];
    match given.into_iter().find(|(_, is_given)| *is_given) {
        Some((option, _)) => bail!(
            "{option} is for a checkpoint that is converted in memory, and {} holds packages; leave it out, or convert \
             the checkpoint anew with it",
            dir.display()
        ),
        None => Ok(()),
    }
}

/// Picture pixels per latent pixel, and the latents' size that the packages draw by default.
fn native_size(packages: &ModelDir) -> Result<(usize, Option<LatentSize>)> {
    let shape = |package: &Package, name: &str| -> Option<Vec<usize>> {
        let interface = package.model().description.main()?;
        let feature = interface.inputs.iter().chain(&interface.outputs).find(|f| f.name == name)?;
        match &feature.ty {
            FeatureType::MultiArray(array) if array.shape.len() == 4 => Some(array.shape.clone()),
            _ => None,
        }
    };
    let decoder = open_package(&packages.vae_decoder)?;
    let (z, image) = (shape(&decoder, "z"), shape(&decoder, "image"));
    // The description of an output may leave its shape open; every Stable Diffusion has 8.
    let scale = z.zip(image).map_or(8, |(z, image)| image[2] / z[2].max(1)).max(1);
    let unet = packages.unet.first().map(|unet| open_package(unet)).transpose()?;
    let sample = unet.and_then(|unet| shape(&unet, "sample"));
    Ok((scale, sample.map(|s| LatentSize { height: s[2], width: s[3] })))
}

/// Puts the scheduler that was asked for in place of the file's own, and refuses what cannot be built.
fn settle_scheduler(args: &GenerateArgs, config: &mut PipelineConfig) -> Result<()> {
    if let Some(kind) = args.scheduler {
        config.scheduler = config.scheduler.asked_for(kind)?;
    }
    let Err(error) = config.scheduler.build(None, args.steps) else { return Ok(()) };
    let could = |kind| config.scheduler.build(Some(kind), args.steps).is_ok();
    let error = anyhow::Error::from(error);
    Err(match args.scheduler.is_none() && SchedulerKind::ALL.into_iter().any(could) {
        true => error.context("the model's own scheduler cannot be used; name another with --scheduler"),
        false => error,
    })
}

/// With the plain engine the UNet, which runs many times, keeps its weights decoded.
fn executor(engine: EngineArgs, role: Role) -> Result<Executor> {
    Ok(match engine.engine {
        EngineName::Cpu => engine.cpu()?.into(),
        // Burn executes no programs and has its own way in `make`.
        EngineName::Reference | EngineName::Burn => {
            Options::default().with_weights(if role == Role::UNet { Weights::Kept } else { Weights::PerRun }).into()
        }
    })
}

fn from_packages(args: &GenerateArgs, dir: &Path, packages: &ModelDir, size: Option<LatentSize>) -> Result<Loaded> {
    let mut beside = Companions::read(dir, args.tokenizer.as_deref())?;
    settle_scheduler(args, &mut beside.config)?;
    let safety_checker = packages.safety_checker.as_deref().filter(|_| !args.no_safety_check);
    if args.image.is_some() && packages.vae_encoder.is_none() {
        bail!(
            "{} holds no …_vae_encoder.mlpackage, which --image needs; convert the checkpoint with --component vae-encoder into it",
            dir.display()
        )
    }
    let mut roles = vec![Role::UNet, Role::TextEncoder, Role::VaeDecoder];
    roles.extend(args.image.is_some().then_some(Role::VaeEncoder));
    roles.extend(safety_checker.map(|_| Role::SafetyChecker));
    let (engine, dir_of, parts) = (args.engine, dir.to_owned(), packages.clone());
    let load = move |role: Role| -> Result<Box<dyn Engine>> {
        let open = |path: &Path| open(path, executor(engine, role), size);
        let model = match (role, &parts.unet[..]) {
            (Role::UNet, [whole]) => open(whole)?,
            (Role::UNet, chunks) => {
                let named = |path: &PathBuf| Ok((path.display().to_string(), open(path)?));
                MilEngine::chain(chunks.iter().map(named).collect::<Result<Vec<_>>>()?)?
            }
            _ => open(parts.path(role).with_context(|| format!("there is no package of the {role}"))?)?,
        };
        if let Some(size) = size.filter(|_| role == Role::UNet) {
            check_size(&dir_of, &model, size, || native_size(&parts).map_or(8, |(scale, _)| scale))?;
        }
        Ok(Box::new(model))
    };
    let source = Source::new(args, roles, load)?;
    let mut warnings = beside.warnings;
    warnings.extend(beside.config.warnings().map(ToString::to_string));
    let name = beside.model_version.or_else(|| hub::name_of(dir)).unwrap_or_else(|| directory_name(dir));
    Ok(Loaded { source, found: Found::default(), config: beside.config, name, warnings })
}

/// Prepares a package for a size, if it has a function of it.
fn open(path: &Path, executor: Result<Executor>, size: Option<LatentSize>) -> Result<MilEngine> {
    let package = open_package(path)?;
    let cannot = || format!("cannot run {}", path.display());
    let (model, executor) = (package.model(), executor.with_context(cannot)?);
    let engine = match size.map(size_function).filter(|name| model.description.function(name).is_some()) {
        Some(function) => MilEngine::from_function(model, &function, executor),
        None => MilEngine::from_model(model, executor),
    };
    engine.with_context(cannot)
}

/// Refuses a size that the UNet has not.
fn check_size(dir: &Path, unet: &MilEngine, size: LatentSize, scale: impl FnOnce() -> usize) -> Result<()> {
    let shape = unet.signature().input("sample").and_then(|f| f.shape.dims());
    match shape {
        Some(&[_, _, height, width]) if size != (LatentSize { height, width }) => {
            let (scale, own) = (scale(), LatentSize { height, width });
            let pixels = |size: LatentSize| format!("{}x{}", size.width * scale, size.height * scale);
            bail!(
                "{} has no UNet for pictures {}, but for {} (latents {own}, height first); convert takes several sizes: \
                 --size {},{}",
                dir.display(),
                size_in_words(size, scale),
                size_in_words(own, scale),
                pixels(own),
                pixels(size)
            )
        }
        _ => Ok(()),
    }
}

fn from_checkpoint(args: &GenerateArgs, dir: &Path, with_burn: bool) -> Result<Loaded> {
    let checkpoint = Checkpoint::open_for(dir, Wanted::Model)?.with_variant(args.variant.clone());
    checkpoint.check_family()?;
    let mut config = match &args.tokenizer {
        Some(tokenizer) => PipelineConfig::with_tokenizer_from(tokenizer, checkpoint.root())?,
        None => PipelineConfig::from_dir(checkpoint.root()).map_err(|error| match error {
            RuntimeError::Tokenizer(_) => anyhow::Error::from(error)
                .context("the checkpoint's tokenizer cannot be used; give the folder of another with --tokenizer"),
            other => other.into(),
        })?,
    };
    settle_scheduler(args, &mut config)?;
    if let Some(what) = fit::other_unet(checkpoint.root())? {
        bail!("{}: the UNet {what}", dir.display());
    }
    let options = sd_convert::Options {
        attention: args.attention.unwrap_or(AttentionLayout::SplitEinsum),
        precision: args.precision.unwrap_or(Precision::Float16),
        latent_size: {
            let (own, scale) = sd_convert::native_size(&checkpoint)?;
            args.size.latent(scale, own)?
        },
        ..sd_convert::Options::default()
    };
    let mut warnings = checkpoint.warnings();
    warnings.extend(config.warnings().map(ToString::to_string));
    warnings.extend(fit::ids_beyond(checkpoint.root(), &config.tokenizer)?);
    let mut check = |role: Role| -> Result<()> {
        let known = sd_convert::check(&checkpoint, role, &options)?;
        known.into_iter().for_each(|w| {
            if !warnings.contains(&w) {
                warnings.push(w)
            }
        });
        Ok(())
    };
    let mut roles = vec![Role::TextEncoder, Role::UNet, Role::VaeDecoder];
    roles.extend(args.image.is_some().then_some(Role::VaeEncoder));
    roles.extend((checkpoint.has(Role::SafetyChecker) && !args.no_safety_check).then_some(Role::SafetyChecker));
    roles.iter().try_for_each(|&role| check(role))?;
    let (name, found) = (checkpoint.name(), Found::default());
    let (engine, device, precision, late) = (args.engine, args.device, args.precision, found.clone());
    let load = move |role: Role| -> Result<Box<dyn Engine>> {
        if with_burn {
            return burn::engine(engine, device, &checkpoint, role, &options);
        }
        let converted = convert(&checkpoint, role, &options)?;
        let mut late = late.lock().unwrap_or_else(PoisonError::into_inner);
        for warning in tensor_warnings(role, &converted.exceptional, precision) {
            // A model may be loaded more than once.
            if !late.contains(&warning) {
                late.push(warning);
            }
        }
        let cannot = || format!("cannot run the {role}");
        let executor = executor(engine, role).with_context(cannot)?;
        Ok(Box::new(MilEngine::from_program(&converted.program, executor).with_context(cannot)?))
    };
    let source = Source::new(args, roles, load)?;
    warnings.extend(take(&found));
    Ok(Loaded { source, found, config, name, warnings })
}

fn directory_name(dir: &Path) -> String {
    let absolute = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    absolute.file_name().map_or_else(|| "model".to_owned(), |name| name.to_string_lossy().into_owned())
}
