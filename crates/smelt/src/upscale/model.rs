//! Where an upscaler's network is, and what runs it.

use std::path::{Path, PathBuf};

use mlpackage::{FeatureType, Interface, Package};
use sd_checkpoint::place::Wanted;
use sd_checkpoint::{Checkpoint, Source, hub};
use sd_convert::{Facts, LatentSize, Options, Precision, convert};
use sd_engines::{MilEngine, Rounding};
use sd_runtime::image::Size;
use sd_runtime::upscale::Upscaler as Runner;
use sd_spec::Role;

use super::options::UpscalerOptions;
use crate::core_ml;
use crate::engine::EngineKind;
use crate::error::{Context, Result, refuse};
use crate::model_dir;
use crate::open::Opening;
use crate::package::{is_named_as_package, open_package, stem};

/// Sides that are rounded up to it cost nothing, for kernels take as many pixels at a time.
const ROUNDING: usize = 8;

/// An upscaler's network.
pub(super) enum Model {
    Checkpoint(Box<OfCheckpoint>),
    Package(Box<OfPackage>),
}

/// A file of a network, for parts of any size.
pub(super) struct OfCheckpoint {
    checkpoint: Checkpoint,
    name: String,
    factor: usize,
    /// What sides of parts are multiples of.
    multiple: usize,
}

/// A package, for parts of one size or of several.
pub(super) struct OfPackage {
    package: Package,
    name: String,
    /// The function that is run; none for the default one.
    function: Option<String>,
}

impl Model {
    pub(super) fn open(source: &Source, options: &UpscalerOptions) -> Result<Self> {
        if options.engine.kind != EngineKind::CoreMl {
            options.engine.executor(Rounding::Boundary)?;
        }
        options.engine.check_system()?;
        let opening = Opening { offline: options.offline, ..Opening::default() };
        let path = hub::resolve(&opening.locate(source)?)?;
        match package_at(&path)? {
            Some(package) => Ok(Self::Package(Box::new(OfPackage::open(&package, options)?))),
            None => Ok(Self::Checkpoint(Box::new(OfCheckpoint::open(source, options)?))),
        }
    }

    pub(super) fn name(&self) -> &str {
        match self {
            Self::Checkpoint(own) => &own.name,
            Self::Package(own) => &own.name,
        }
    }

    /// How many times as large pictures become; none where only what runs says it.
    pub(super) const fn factor(&self) -> Option<usize> {
        match self {
            Self::Checkpoint(own) => Some(own.factor),
            Self::Package(_) => None,
        }
    }

    /// The size of the parts that suit a picture; none where there is no choice.
    pub(super) fn tile(&self, picture: Size, options: &UpscalerOptions) -> Option<Size> {
        let Self::Checkpoint(own) = self else { return None };
        let (longest, overlap) = (options.longest(), options.overlap_of(options.longest()));
        let side = |side| tile_side(side, longest, overlap, own.multiple);
        Some(Size { width: side(picture.width), height: side(picture.height) })
    }

    /// What runs parts, of a size where there is a choice.
    pub(super) fn load(&self, tile: Option<Size>, options: &UpscalerOptions) -> Result<Runner> {
        let runner = match self {
            Self::Checkpoint(own) => {
                let executor = options.engine.executor(Rounding::Boundary)?;
                let latent_size = tile.map(|tile| LatentSize { height: tile.height, width: tile.width });
                let precision = Some(options.precision.unwrap_or(Precision::Float32));
                let how = Options { latent_size, precision, ..Options::default() };
                let converted = convert(&own.checkpoint, Role::Upscaler, &how)?;
                let engine = MilEngine::from_program(&converted.program, executor)?;
                Runner::new(Box::new(engine))?.with_multiple(own.multiple)?
            }
            Self::Package(own) if options.engine.kind == EngineKind::CoreMl => {
                let engine = core_ml::open(&own.package, own.function.as_deref(), &options.engine)?;
                Runner::new(Box::new(engine))?
            }
            Self::Package(own) => {
                let executor = options.engine.executor(Rounding::Boundary)?;
                let model = own.package.model();
                let engine = match &own.function {
                    Some(function) => MilEngine::from_function(model, function, executor),
                    None => MilEngine::from_model(model, executor),
                };
                Runner::new(Box::new(engine.with_context(|| format!("cannot run {}", own.name))?))?
            }
        };
        let overlap = |tile: usize| options.overlap_of(tile.max(options.tile.unwrap_or_default()));
        let Size { width, height } = runner.tile();
        Ok(match (self, options.overlap) {
            // Parts that were made to fit a picture have the context of the longest.
            (Self::Checkpoint(_), _) => runner.with_overlap(overlap(options.longest())),
            (Self::Package(_), Some(asked)) => runner.with_overlap(asked),
            (Self::Package(_), None) => runner.with_overlap(overlap(width.min(height))),
        })
    }
}

/// A side of parts that are as many as they must be, and no longer than that: a picture of one part has that of the picture.
fn tile_side(side: usize, longest: usize, overlap: usize, multiple: usize) -> usize {
    let side = side.div_ceil(multiple) * multiple;
    if side <= longest {
        return side;
    }
    let n = side.saturating_sub(2 * overlap).div_ceil((longest - 2 * overlap).max(1));
    let unit = if longest.is_multiple_of(ROUNDING) { ROUNDING.max(multiple) } else { multiple };
    let fitting = (side + 2 * overlap * n.saturating_sub(1)).div_ceil(n.max(1));
    (fitting.max(2 * overlap + multiple).div_ceil(unit) * unit).min(longest)
}

/// The package that a path stands for: itself, or the only one of an upscaler in a folder of packages.
fn package_at(path: &Path) -> Result<Option<PathBuf>> {
    let is_package = path.join(mlpackage::MANIFEST_FILE).is_file() || is_named_as_package(path);
    if is_package || path.extension().is_some_and(|e| e == "mlmodel") {
        return Ok(Some(path.to_owned()));
    }
    let packages = if path.is_dir() { model_dir::packages(path)? } else { Vec::new() };
    if packages.is_empty() {
        return Ok(None);
    }
    let name = |path: &PathBuf| path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let mut found: Vec<PathBuf> =
        packages.into_iter().filter(|path| model_dir::role_of(&name(path)) == Some(Role::Upscaler)).collect();
    match (found.pop(), &found[..]) {
        (None, _) => refuse!(
            "{} holds packages, and none of an upscaler, whose name begins with Upscaler_; convert one: smelt convert \
             RealESRGAN_x4plus.pth -o {0}",
            path.display()
        ),
        (one, []) => Ok(one),
        (one, others) => {
            let names: Vec<String> = others.iter().chain(&one).map(name).collect();
            refuse!("{} holds packages of several upscalers; give one of them: {}", path.display(), names.join(", "))
        }
    }
}

impl OfCheckpoint {
    fn open(source: &Source, options: &UpscalerOptions) -> Result<Self> {
        let opening = Opening { offline: options.offline, ..Opening::default() };
        let checkpoint = opening.checkpoint(source, Wanted::Upscaler)?;
        if !checkpoint.has(Role::Upscaler) {
            let is = checkpoint
                .single_file()
                .map_or_else(|| checkpoint.family().spec().name.to_owned(), |file| file.words());
            refuse!("{source} is no upscaler: it is {is}; {}", sd_checkpoint::UPSCALERS_READ);
        }
        let Facts { upscaling, sides, dims, .. } = checkpoint.network(Role::Upscaler)?.facts();
        let channels = dims.get(sd_spec::Axis::PictureChannels).unwrap_or_default();
        if channels != 3 {
            refuse!(
                "{source} is an upscaler of pictures of {channels} channels, and only those of colour, which have 3, are read"
            );
        }
        let (multiple, most) = sides.map_or((1, usize::MAX), |sides| (sides.multiple, sides.max));
        options.check(options.longest(), multiple, most)?;
        let name = checkpoint.name();
        Ok(Self { checkpoint, name, factor: upscaling.unwrap_or(1), multiple })
    }
}

impl OfPackage {
    fn open(path: &Path, options: &UpscalerOptions) -> Result<Self> {
        let package = open_package(path)?;
        let name = stem(path);
        if let Some(precision) = options.precision {
            let asked = if precision == Precision::Float16 { "float16" } else { "float32" };
            refuse!(
                "--precision {asked} is for a network that is converted in memory, and {} is a package; leave it out, or \
                 convert the network anew with it",
                path.display()
            );
        }
        let functions = &package.model().description.functions;
        let sized: Vec<(&Interface, Size)> =
            functions.iter().filter_map(|function| Some((function, tile_of(function)?))).collect();
        let default = package.model().description.main().and_then(tile_of);
        let Some(tile) = default.filter(|_| sized.len() == functions.len()) else {
            refuse!(
                "{} is no upscaler: one takes picture [1, 3, H, W] and gives upscaled, as smelt convert makes them; {}",
                path.display(),
                sd_checkpoint::UPSCALERS_READ
            )
        };
        let asked = options.tile.map(|side| Size { width: side, height: side }).filter(|asked| *asked != tile);
        let chosen = asked.and_then(|asked| sized.iter().find(|(_, own)| *own == asked));
        if let (Some(asked), None) = (asked, chosen) {
            let there: Vec<String> = sized.iter().map(|(_, size)| size.to_string()).collect();
            refuse!(
                "--tile {}: {} takes parts of {}; leave it out, or convert the network with --size {asked}",
                asked.width,
                path.display(),
                there.join(", ")
            );
        }
        let (function, tile) = chosen.map_or((None, tile), |(function, tile)| (Some(function.name.clone()), *tile));
        UpscalerOptions { tile: None, ..options.clone() }.check(tile.width.min(tile.height), 1, usize::MAX)?;
        Ok(Self { package, name, function })
    }
}

/// The size of the parts that a function of an upscaler takes.
fn tile_of(function: &Interface) -> Option<Size> {
    let spec = Role::Upscaler.spec();
    let is_given = function.outputs.iter().any(|feature| spec.outputs[0].is_named(&feature.name));
    let taken = function.inputs.iter().find(|feature| spec.inputs[0].is_named(&feature.name)).filter(|_| is_given)?;
    match &taken.ty {
        FeatureType::MultiArray(array) => match array.shape[..] {
            [_, _, height, width] => Some(Size { width, height }),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_fit_the_picture() {
        for (side, longest, overlap, multiple, tile) in [
            (100, 256, 32, 1, 100),
            (101, 256, 32, 2, 102),
            (1, 256, 32, 4, 4),
            (256, 256, 32, 1, 256),
            (257, 256, 32, 1, 168),
            (300, 256, 32, 1, 184),
            (448, 256, 32, 2, 256),
            (449, 256, 32, 1, 200),
            (100, 42, 8, 2, 38),
            (1000, 16, 0, 1, 16),
        ] {
            assert_eq!(tile_side(side, longest, overlap, multiple), tile, "{side} in {longest}");
        }
    }
}
