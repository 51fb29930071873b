//! The models of a pipeline and what stands beside them, from packages or from a checkpoint.

mod burn;
mod control;
mod memory;
mod net;
mod onlooker;
mod options;
mod others;
mod preview;
mod refiner;
mod taesd;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use sd_checkpoint::{Applied, Checkpoint, ClipSkip, WithoutBlocks, hub};
use sd_convert::{AttentionLayout, Batch, Beginning, LatentSize, functions_of_size};
use sd_engines::{Chain, Executor, MilEngine, Options, Specialise, Weights};
use sd_runtime::pipeline::{Blocks, DiffusionPipeline, Models, PipelineConfig};
use sd_runtime::prompt::ATTENTION_MASK;
use sd_runtime::{Engine, Form, LoadWith, Loader, Part, Residency, RuntimeError};
use sd_spec::{Axis, Family, FamilySpec, FeatureSpec, Role, Stage};

use crate::bundle::Companions;
use crate::convert::check_guides;
use crate::core_ml;
use crate::engine::{EngineKind, EngineSpec};
use crate::error::{Context, Error, Result, refuse};
use crate::fit;
use crate::loras::named;
use crate::model_dir::ModelDir;
use crate::open::{Model, Opened};
use crate::package::open_package;
use crate::settings::Settings;
use crate::size::words;
use control::ControlNets;
use memory::InMemory;
pub(crate) use onlooker::Onlooker;
pub use options::PipelineOptions;
use others::Others;
pub(crate) use preview::load as load_preview;
pub(crate) use refiner::{load as load_refiner, open as open_refiner};
use taesd::Latents;

/// Tokens of T5's that a checkpoint of Stable Diffusion 3 draws with (diffusers 0.42, `max_sequence_length`).
const T5_TOKENS: usize = 256;

/// Models that are loaded, or that will be.
enum Source {
    /// Some loaded, and others that are once a request needs them.
    Kept(Models, Box<dyn Loader>),
    PerStage(Box<dyn Loader>),
}

/// What the user should know of models, as far as they are loaded.
type Found = Arc<Mutex<Vec<String>>>;

/// A pipeline's parts.
pub(crate) struct Loaded {
    source: Source,
    found: Found,
    pub(crate) config: PipelineConfig,
    /// Name of the model, for the picture's settings.
    pub(crate) name: String,
    /// Names of its ControlNets.
    pub(crate) controlnets: Vec<String>,
    /// Name of what decodes in the place of the model's own decoder.
    pub(crate) taesd: Option<String>,
    /// LoRAs that are in the weights.
    pub(crate) loras: Vec<Applied>,
    /// What the user should know.
    pub(crate) warnings: Vec<String>,
}

impl Source {
    /// Loads the models of these parts, with --low-memory only when their stage begins; those for one sample at a time once a
    /// request needs them.
    fn new<F>(options: &PipelineOptions, parts: Vec<Part>, mut load: F) -> Result<Self>
    where
        F: FnMut(Part) -> Result<Box<dyn Engine>> + Send + 'static,
    {
        // What takes text can be made for several windows of it.
        let takes_text = |part: &Part| part.role.is_denoiser() || part.role == Role::ControlNet;
        let longer: Vec<Part> = parts.iter().copied().filter(takes_text).collect();
        if options.low_memory {
            let loader = LoadWith::new(parts, move |part| Ok(load(part)?)).lengthening(longer);
            return Ok(Self::PerStage(Box::new(loader)));
        }
        let (late, now): (Vec<Part>, Vec<Part>) = parts.into_iter().partition(|part| part.is_late());
        let models = now.into_iter().map(|part| Ok((part, load(part)?))).collect::<Result<_>>()?;
        Ok(Self::Kept(models, Box::new(LoadWith::new(late, move |part| Ok(load(part)?)).lengthening(longer))))
    }
}

impl Loaded {
    /// The pipeline, and what was found since.
    pub(crate) fn pipeline(self) -> Result<(DiffusionPipeline, Vec<String>), RuntimeError> {
        let pipeline = match self.source {
            Source::Kept(models, others) => DiffusionPipeline::growing(models, others, self.config),
            Source::PerStage(loader) => DiffusionPipeline::with_loader(loader, Residency::PerStage, self.config),
        };
        Ok((pipeline?, take(&self.found)))
    }
}

/// Takes what was found until now.
fn take(found: &Found) -> Vec<String> {
    std::mem::take(&mut *found.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Loads packages or a checkpoint.
pub(crate) fn load(options: &PipelineOptions, opened: &Opened, beginning: Beginning) -> Result<Loaded> {
    options.engine.check()?;
    let options = &options.settled();
    let with_burn = burn::is_chosen(options, opened)?;
    core_ml::check_draws(&options.engine, opened)?;
    let dir = match opened.model() {
        Model::Checkpoint(checkpoint) => {
            let others = Others::find(options, opened, None)?;
            return from_checkpoint(options, (checkpoint, beginning), others, with_burn);
        }
        Model::Packages(dir) => dir,
    };
    refuse_ineffective(options, dir)?;
    let size = match options.sizes.is_given() {
        true => {
            let (scale, own) = match options.sizes.is_in_pixels() {
                true => opened.native_size()?,
                false => (1, None),
            };
            options.sizes.latent(scale, own)?
        }
        false => None,
    };
    let packages = ModelDir::find(dir, size)?;
    from_packages(options, dir, &packages, Others::find(options, opened, size)?, size)
}

/// Refuses options of a conversion, which packages have behind them.
fn refuse_ineffective(options: &PipelineOptions, dir: &Path) -> Result<()> {
    let given = [
        ("--attention", options.attention.is_some()),
        ("--precision", options.precision.is_some()),
        ("--clip-skip", options.clip_skips.iter().any(|n| *n > 0)),
        ("--skip-layers", !options.skip_layers.is_empty()),
        ("--text-length", options.text_length.is_some()),
    ];
    match given.into_iter().find(|(_, is_given)| *is_given) {
        Some((option, _)) => refuse!(
            "{option} is for a checkpoint that is converted in memory, and {} holds packages; leave it out, or convert \
             the checkpoint anew with it",
            dir.display()
        ),
        None => Ok(()),
    }
}

/// The parts that a family needs to draw, and those that are there and wanted; the denoiser is one for ControlNets where it
/// `is_controlled`.
fn wanted(
    options: &PipelineOptions,
    family: Family,
    nets: &ControlNets,
    is_controlled: bool,
    has: impl Fn(Role) -> bool,
) -> Vec<Part> {
    let FamilySpec { required, optional, .. } = family.spec();
    let is_wanted = |role: &Role| match role.spec().stage {
        // Without an encoder a picture to begin with is refused by whoever is to load it.
        Stage::Encode => options.with_picture,
        Stage::Check => options.safety_check && has(*role),
        Stage::Text | Stage::Denoise | Stage::Decode => has(*role),
        Stage::Upscale => false,
    };
    let own = |role: &Role| if is_controlled && role.is_denoiser() { Role::ControlledUNet } else { *role };
    let whole = required.iter().chain(optional.iter().filter(|role| is_wanted(role))).map(own);
    let skips = || options.clip_skips.iter().copied().filter(|n| *n > 0);
    let encoders = || whole.clone().filter(|role| matches!(role, Role::TextEncoder | Role::TextEncoder2));
    let skipped = encoders().flat_map(|role| skips().map(move |n| Part::clip_skipped(role, n)));
    let masked = encoders().flat_map(|role| std::iter::once(0).chain(skips()).map(move |n| Part::masked(role, n)));
    let denoisers = || whole.clone().filter(|role| role.is_denoiser());
    let singles = denoisers().map(Part::single);
    let blocks = options.skip_layers.iter();
    let without = blocks.flat_map(|blocks| denoisers().map(|role| Part::without_blocks(role, *blocks)));
    whole
        .clone()
        .map(Part::from)
        .chain(skipped)
        .chain(masked)
        .chain(singles)
        .chain(without)
        .chain(nets.parts())
        .collect()
}

/// Puts the scheduler that was asked for in place of the file's own, and refuses what cannot be built.
fn settle_scheduler(options: &PipelineOptions, config: &mut PipelineConfig) -> Result<()> {
    if let Some(sampler) = options.scheduler {
        config.scheduler = config.scheduler.asked_as(sampler)?;
    }
    let Err(error) = config.scheduler.build(None, options.steps) else { return Ok(()) };
    let could = |kind| config.scheduler.build(Some(kind), options.steps).is_ok();
    let error = Error::from(error);
    Err(match options.scheduler.is_none() && config.scheduler.kinds().any(could) {
        true => error.context("the model's own scheduler cannot be used; name another with --scheduler"),
        false => error,
    })
}

/// With the plain engine what runs at each step keeps its weights decoded.
fn executor(engine: &EngineSpec, role: Role) -> Result<Executor> {
    Ok(match engine.kind {
        EngineKind::Cpu if matches!(role.spec().stage, Stage::Encode | Stage::Decode) => engine.by_rows()?,
        EngineKind::Cpu => engine.cpu()?.into(),
        // Burn executes no programs, and Core ML packages only: both have ways of their own.
        EngineKind::Reference | EngineKind::Burn | EngineKind::CoreMl => {
            let runs_often = role.spec().stage == Stage::Denoise;
            Options::default().with_weights(if runs_often { Weights::Kept } else { Weights::PerRun }).into()
        }
    })
}

fn from_packages(
    options: &PipelineOptions,
    dir: &Path,
    packages: &ModelDir,
    others: Others,
    size: Option<LatentSize>,
) -> Result<Loaded> {
    let is_controlled = denoiser_is_controlled(dir, packages, &others.nets)?;
    let family = (packages.family(), packages.is_of_its_own());
    let mut beside = Companions::read(dir, family, options.tokenizer.as_deref())?;
    settle_scheduler(options, &mut beside.config)?;
    let decoder = others.settle_decoder(&mut beside.config, || {
        let decoded = packages.decoded()?;
        let (channels, scale) = (decoded.map(|own| own.channels), decoded.map_or(8, |own| own.scale));
        Ok(Latents { family: packages.family(), channels, scale })
    })?;
    if options.with_picture && packages.packages(Role::VaeEncoder).is_empty() {
        refuse!(
            "{} holds no …_vae_encoder.mlpackage, which --image needs; convert the checkpoint with --component vae-encoder into it",
            dir.display()
        )
    }
    let has = |role| !packages.packages(role).is_empty();
    let mut parts = wanted(options, packages.family(), &others.nets, is_controlled, has);
    parts.sort_by_key(|part| !part.role.is_denoiser());
    parts.retain(|part| options.engine.kind != EngineKind::CoreMl || core_ml_has(*part));
    let (engine, dir_of, by_role) = (options.engine.clone(), dir.to_owned(), packages.clone());
    let (controlnets, taesd, found) = (others.nets.names(), others.taesd(), Found::default());
    let memory = InMemory { engine: engine.clone(), precision: None, with_burn: false, found: found.clone() };
    let beside_them = sd_convert::Options {
        latent_size: if others.is_empty() { None } else { size.or(packages.native_size()?.1) },
        ..sd_convert::Options::default()
    };
    let load = move |part: Part| -> Result<Box<dyn Engine>> {
        let role = part.role;
        if let Some(theirs) = others.load(part, &memory, &beside_them) {
            return theirs;
        }
        let open = |path: &Path| open(path, &engine, size, part);
        let model = match by_role.packages(role) {
            [] => refuse!("there is no package of the {role}"),
            [whole] => open(whole)?,
            chunks => chain(chunks, open)?,
        };
        if let Some(size) = size.filter(|_| role.is_denoiser()) {
            check_size(&dir_of, model.as_ref(), size, || by_role.native_size().map_or(8, |(scale, _)| scale))?;
        }
        Ok(model)
    };
    let source = Source::new(options, parts, load)?;
    let mut warnings = beside.warnings;
    warnings.extend(decoder);
    warnings.extend(take(&found));
    warnings.extend(beside.config.warnings().map(ToString::to_string));
    let name = beside.model_version.or_else(|| hub::name_of(dir)).unwrap_or_else(|| directory_name(dir));
    let loras = Settings::read(dir)?.map(|settings| settings.loras).unwrap_or_default();
    Ok(Loaded { source, found, config: beside.config, name, controlnets, taesd, loras, warnings })
}

/// The chunks of a model as one.
fn chain(chunks: &[PathBuf], open: impl Fn(&Path) -> Result<Box<dyn Engine>>) -> Result<Box<dyn Engine>> {
    let named = |path: &PathBuf| Ok((path.display().to_string(), open(path)?));
    let chunks = chunks.iter().map(named).collect::<Result<Vec<_>>>()?;
    Ok(Box::new(Chain::new(chunks).map_err(sd_engines::EngineError::from)?))
}

/// Whether Core ML, which runs packages as they are, can have a part.
fn core_ml_has(part: Part) -> bool {
    changes(part).is_empty()
}

/// Whether a directory's denoiser is the one for ControlNets: where there are some, and where it holds no other.
fn denoiser_is_controlled(dir: &Path, packages: &ModelDir, nets: &ControlNets) -> Result<bool> {
    nets.check_family(packages.family())?;
    let has_controlled = !packages.packages(Role::ControlledUNet).is_empty();
    if !nets.is_empty() && !has_controlled {
        refuse!(
            "{0} holds no …_control-unet.mlpackage, which --controlnet needs: its UNet takes nothing of ControlNets; convert \
             the checkpoint into it too: smelt convert CHECKPOINT -o {0} --component {1}",
            dir.display(),
            Role::ControlledUNet
        );
    }
    Ok(has_controlled && (!nets.is_empty() || packages.packages(Role::UNet).is_empty()))
}

/// Prepares a package for a size, if it has a function of it; else its default, which takes prompt and negative prompt at
/// once where it has functions for both batches, or that cut to one sample.
fn open(path: &Path, engine: &EngineSpec, size: Option<LatentSize>, part: Part) -> Result<Box<dyn Engine>> {
    let package = open_package(path)?;
    let cannot = || format!("cannot run {}", path.display());
    let model = package.model();
    let names = size.map(functions_of_size).into_iter().flatten();
    let function = names.into_iter().find(|name| model.description.function(name).is_some());
    let changes = changes(part);
    if engine.kind == EngineKind::CoreMl {
        if !changes.is_empty() {
            refuse!(
                "{}: Core ML runs packages as they are, and this has no {part}; --engine cpu makes one",
                path.display()
            );
        }
        return Ok(Box::new(core_ml::open(&package, function.as_deref(), engine)?));
    }
    let executor = executor(engine, part.role).with_context(cannot)?;
    let engine = match (&changes[..], function) {
        ([], Some(function)) => MilEngine::from_function(model, &function, executor),
        ([], None) => MilEngine::from_model(model, executor),
        (changes, function) => MilEngine::specialised(model, function.as_deref(), changes, executor),
    };
    Ok(Box::new(engine.with_context(cannot)?))
}

/// What a package becomes for a part.
fn changes(part: Part) -> Vec<Specialise> {
    let mut changes = Vec::new();
    if matches!(part.form, Form::Single | Form::SingleNumbered(_)) {
        // Whether the package has a function for one or not, what there is for two says what one becomes.
        changes.push(Specialise::OneSample { of: Batch::Two.n() });
    }
    if matches!(part.form, Form::Masked(_)) {
        changes.push(Specialise::Masked { input: ATTENTION_MASK });
    }
    let of_tokens = |feature: &&FeatureSpec| feature.axes.contains(&Axis::Tokens);
    if let Some(text) = part.role.spec().inputs.iter().find(of_tokens).filter(|_| part.n_windows > 1) {
        let axis = text.axes.iter().position(|axis| *axis == Axis::Tokens).unwrap_or_default();
        changes.push(Specialise::Longer { input: text.name, axis, times: part.n_windows });
    }
    changes
}

/// Refuses a size that the UNet has not.
fn check_size(dir: &Path, unet: &dyn Engine, size: LatentSize, scale: impl FnOnce() -> usize) -> Result<()> {
    let shape = unet.signature().input("sample").and_then(|f| f.shape.dims());
    match shape {
        Some(&[_, _, height, width]) if size != (LatentSize { height, width }) => {
            let (scale, own) = (scale(), LatentSize { height, width });
            let pixels = |size: LatentSize| format!("{}x{}", size.width * scale, size.height * scale);
            refuse!(
                "{} has no UNet for pictures {}, but for {} (latents {own}, height first); convert takes several sizes: \
                 --size {},{}",
                dir.display(),
                words(size, scale),
                words(own, scale),
                pixels(own),
                pixels(size)
            )
        }
        _ => Ok(()),
    }
}

/// What stands beside the networks of a checkpoint.
fn config_of(asked: &PipelineOptions, checkpoint: &Checkpoint) -> Result<PipelineConfig> {
    if let Some(tokenizer) = asked.tokenizer.as_ref().filter(|_| !checkpoint.words().is_empty()) {
        refuse!(
            "--embedding adds words to the checkpoint's own tokenizer, and --tokenizer {} takes its place; leave one of \
             them out",
            tokenizer.display()
        );
    }
    let config = PipelineConfig::of_family(checkpoint.family(), checkpoint, asked.tokenizer.as_deref());
    config.map_err(|error| match error {
        RuntimeError::Tokenizer(_) if asked.tokenizer.is_none() => Error::from(error)
            .context("the checkpoint's tokenizer cannot be used; give the folder of another with --tokenizer"),
        other => other.into(),
    })
}

/// Refuses checkpoints that nothing is drawn with, and options that this one has no use for.
fn check_drawn(asked: &PipelineOptions, checkpoint: &Checkpoint) -> Result<()> {
    if let Some(words) = checkpoint.upscaler() {
        refuse!("{} is {words}; give a whole checkpoint, and this to smelt upscale", checkpoint.root().display());
    }
    if checkpoint.is_alone() {
        refuse!("{} is one network alone; give a whole checkpoint", checkpoint.root().display());
    }
    checkpoint.check_family()?;
    if asked.text_length.is_some() && checkpoint.family() != Family::Sd3 {
        refuse!(
            "--text-length is of T5, which only Stable Diffusion 3 reads prompts with, and {} is {}; leave it out",
            checkpoint.root().display(),
            checkpoint.family().spec().name
        );
    }
    if !asked.skip_layers.is_empty() && checkpoint.family() != Family::Sd3 {
        refuse!(
            "--skip-layers is for the transformers of Stable Diffusion 3 and 3.5, and {} is {}; leave it out",
            checkpoint.root().display(),
            checkpoint.family().spec().name
        );
    }
    asked.skip_layers.iter().try_for_each(|blocks| without_blocks(checkpoint, *blocks).map(drop))
}

/// Looks at a network before it is converted; what the user should know joins what is known.
fn look_at(checkpoint: &Checkpoint, role: Role, options: &sd_convert::Options, known: &mut Vec<String>) -> Result<()> {
    for warning in sd_convert::check(checkpoint, role, options)? {
        if !known.contains(&warning) {
            known.push(warning);
        }
    }
    Ok(())
}

fn from_checkpoint(
    asked: &PipelineOptions,
    (checkpoint, beginning): (&Checkpoint, Beginning),
    others: Others,
    with_burn: bool,
) -> Result<Loaded> {
    check_drawn(asked, checkpoint)?;
    let checkpoint = checkpoint.clone();
    let nets = &others.nets;
    nets.check_family(checkpoint.family())?;
    nets.checkpoints().try_for_each(|net| check_guides(&checkpoint, net))?;
    let mut config = config_of(asked, &checkpoint)?;
    settle_scheduler(asked, &mut config)?;
    if let Some(what) = fit::other_unet(&checkpoint)? {
        refuse!("{}: the UNet {what}", checkpoint.root().display());
    }
    let (own, scale) = sd_convert::native_size(&checkpoint)?;
    let options = sd_convert::Options {
        attention: asked.attention.unwrap_or(AttentionLayout::SplitEinsum),
        precision: asked.precision,
        // As many of T5's tokens as diffusers gives where nobody says how many.
        text_length: asked.text_length.or((checkpoint.family() == Family::Sd3).then_some(T5_TOKENS)),
        latent_size: asked.sizes.latent(scale, own)?,
        beginning,
        ..sd_convert::Options::default()
    };
    let mut warnings = checkpoint.warnings();
    warnings.extend(others.settle_decoder(&mut config, || {
        let channels = checkpoint.network(checkpoint.denoiser())?.facts().dims.get(Axis::NoiseChannels);
        Ok(Latents { family: checkpoint.family(), channels, scale })
    })?);
    warnings.extend(config.warnings().map(ToString::to_string));
    warnings.extend(fit::ids_beyond(&checkpoint, checkpoint.family(), &config.tokenizers)?);
    // A ControlNet has no size of its own, nor a TAESD.
    let beside = sd_convert::Options { latent_size: options.latent_size.or(own), ..options.clone() };
    let parts = wanted(asked, checkpoint.family(), nets, !nets.is_empty(), |role| checkpoint.has(role));
    let mut own = parts.iter().filter(|part| part.form == Form::Whole && !others.play(**part));
    own.try_for_each(|part| look_at(&checkpoint, part.role, &options, &mut warnings))?;
    others.checkpoints().try_for_each(|(other, role)| look_at(other, role, &beside, &mut warnings))?;
    let loras = checkpoint.applied();
    let (name, controlnets) = (named(&checkpoint.name(), &loras), nets.names());
    let (taesd, found) = (others.taesd(), Found::default());
    let memory = InMemory { engine: asked.engine.clone(), precision: asked.precision, with_burn, found: found.clone() };
    let load = move |part: Part| -> Result<Box<dyn Engine>> {
        let theirs = others.load(part, &memory, &beside);
        theirs.unwrap_or_else(|| own_part(&memory, &checkpoint, part, &options))
    };
    let source = Source::new(asked, parts, load)?;
    warnings.extend(take(&found));
    Ok(Loaded { source, found, config, name, controlnets, taesd, loras, warnings })
}

/// Loads a part that is a checkpoint's own.
fn own_part(
    memory: &InMemory,
    checkpoint: &Checkpoint,
    part: Part,
    options: &sd_convert::Options,
) -> Result<Box<dyn Engine>> {
    let Part { role, form, n_windows } = part;
    let single = sd_convert::Options { unet_batch: Batch::One, ..options.clone() };
    let without_layers = |n| ClipSkip::of(checkpoint.clone(), n);
    match form {
        Form::ClipSkipped(n) => memory.load(&without_layers(n)?, role, options),
        Form::Masked(0) => memory.load_changed(checkpoint, role, options, &changes(part)),
        Form::Masked(n) => memory.load_changed(&without_layers(n)?, role, options, &changes(part)),
        Form::Single => memory.load(checkpoint, role, &longer(&single, checkpoint, n_windows)?),
        Form::WithoutBlocks(blocks) => memory.load(&without_blocks(checkpoint, blocks)?, role, &single),
        _ => memory.load(checkpoint, role, &longer(options, checkpoint, n_windows)?),
    }
}

/// The same conversion for so many windows of text.
fn longer(options: &sd_convert::Options, checkpoint: &Checkpoint, n_windows: usize) -> Result<sd_convert::Options> {
    if n_windows == 1 {
        return Ok(options.clone());
    }
    let window = sd_convert::text_length(checkpoint)?;
    Ok(sd_convert::Options { text_length: Some(n_windows * window), ..options.clone() })
}

/// The checkpoint whose transformer does without these blocks.
fn without_blocks(checkpoint: &Checkpoint, blocks: Blocks) -> Result<Checkpoint> {
    WithoutBlocks::of(checkpoint.clone(), &Vec::from(blocks)).context("--skip-layers")
}

fn directory_name(dir: &Path) -> String {
    let absolute = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    absolute.file_name().map_or_else(|| "model".to_owned(), |name| name.to_string_lossy().into_owned())
}
