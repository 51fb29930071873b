//! From what was typed to what the compressor takes.

use anyhow::{Context, Result, bail};
use smelt::compression::{Blocks, Config, PaletteGroups, PaletteMode, Palettize, Prune, Quantize, Scheme};
use smelt::{Choosing, DType, Target};

use crate::cli::{CompressArgs, GoalArgs, Granularity, Integer, MethodArgs, Mode, goal};

/// Cap on a configuration; recipes of Apple's have some hundred kilobytes.
const MAX_CONFIG_BYTES: u64 = 64 << 20;

/// The whole configuration.
pub(super) fn config(args: &CompressArgs) -> Result<Config> {
    let mut config = match &args.config {
        Some(path) => {
            let text = safe_files::read_text(path, MAX_CONFIG_BYTES)?;
            Config::from_json(&text, args.recipe.as_deref())
                .with_context(|| format!("{} is not usable", path.display()))?
        }
        None => Config::default(),
    };
    match scheme(&args.method)? {
        Some(scheme) => config.global = scheme,
        None if args.config.is_none() && choosing(&args.goal)?.is_none() && !smelt::holds_compiled(&args.package) => {
            bail!(
                "say how: --bits N for palettes, --dtype int8 for integers, --sparsity X for pruning, --config FILE, or a \
                 goal: --mean-bits, --fit, --psnr"
            )
        }
        None => {}
    }
    config.only.clone_from(&args.only);
    config.skip.clone_from(&args.skip);
    if let Some(n) = args.min_elements {
        config.min_elements = n;
    }
    config.recompress = args.recompress;
    config.raise_opset = args.target == Some(Target::MacOs15);
    Ok(config)
}

/// What the schemes are chosen for, if a goal was given.
pub(super) fn choosing(args: &GoalArgs) -> Result<Option<Choosing>> {
    let goal = match goal(args.mean_bits, args.fit, args.psnr) {
        Some(goal) => goal,
        None if args.analysis.is_some() => bail!("--analysis is for a goal: --mean-bits, --fit or --psnr"),
        None if !args.schemes.is_empty() => bail!("--schemes are for a goal: --mean-bits, --fit or --psnr"),
        None => return Ok(None),
    };
    Ok(Some(Choosing { goal, schemes: args.schemes.clone(), analysis: args.analysis.clone() }))
}

/// The scheme for all weights; `None` when nothing was said.
fn scheme(args: &MethodArgs) -> Result<Option<Scheme>> {
    let prune = prune(args)?;
    let mode = match (args.mode, args.bits, args.dtype) {
        (Some(mode), ..) => Some(mode),
        (None, Some(_), None) => Some(Mode::Kmeans),
        (None, None, Some(_)) => Some(Mode::LinearSymmetric),
        (None, Some(_), Some(_)) => bail!("--bits is for palettes and --dtype for integers: give one of them"),
        (None, None, None) => None,
    };
    let Some(mode) = mode else {
        check_unused(args, "a mode", true, true)?;
        return Ok(prune.map(Scheme::Prune));
    };
    let scheme = match mode {
        Mode::Kmeans | Mode::Uniform | Mode::Unique => Scheme::Palettize(palettize(args, mode)?),
        Mode::Linear | Mode::LinearSymmetric => Scheme::Quantize(quantize(args, mode == Mode::LinearSymmetric)?),
        Mode::Half => {
            check_unused(args, "--mode half", true, true)?;
            Scheme::Half
        }
    };
    Ok(Some(match (prune, scheme) {
        (None, scheme) => scheme,
        (Some(prune), Scheme::Palettize(how)) => Scheme::PrunePalettize(prune, how),
        (Some(prune), Scheme::Quantize(how)) => Scheme::PruneQuantize(prune, how),
        (Some(_), _) => bail!("pruning goes with palettes, with integers, or alone"),
    }))
}

/// Options that would have no effect are mistakes.
fn check_unused(args: &MethodArgs, what: &str, palette: bool, integers: bool) -> Result<()> {
    let palette_options = [
        ("--bits", args.bits.is_some()),
        ("--group-size", args.group_size.is_some()),
        ("--axis", args.axis.is_some()),
        ("--cluster-dim", args.cluster_dim != 1),
        ("--per-channel-scale", args.per_channel_scale),
    ];
    let integer_options = [("--dtype", args.dtype.is_some()), ("--block-size", args.block_size.is_some())];
    let mut chosen = palette_options.iter().filter(|_| palette).chain(integer_options.iter().filter(|_| integers));
    if let Some((option, _)) = chosen.find(|(_, given)| *given) {
        if what == "a mode" {
            bail!("{option} needs a mode: --mode kmeans, uniform, unique, linear or linear-symmetric");
        }
        bail!("{option} has no meaning with {what}");
    }
    Ok(())
}

fn palettize(args: &MethodArgs, mode: Mode) -> Result<Palettize> {
    check_unused(args, "palettes", false, true)?;
    let bits = || args.bits.context("--bits is missing: 1, 2, 3, 4, 6 or 8");
    let mode = match mode {
        Mode::Uniform => PaletteMode::Uniform { bits: bits()? },
        Mode::Unique if args.bits.is_some() => bail!("--mode unique takes as many bits as it needs: leave --bits out"),
        Mode::Unique => PaletteMode::Unique,
        _ => PaletteMode::KMeans { bits: bits()? },
    };
    let groups = match (args.granularity, args.group_size) {
        (None | Some(Granularity::Tensor), None) if args.axis.is_none() => PaletteGroups::PerTensor,
        (None | Some(Granularity::Channels), Some(group_size)) => {
            PaletteGroups::PerGroupedChannel { group_size, axis: args.axis }
        }
        (Some(Granularity::Channel), None) => PaletteGroups::PerGroupedChannel { group_size: 1, axis: args.axis },
        (Some(Granularity::Channels), None) => bail!("--granularity channels needs --group-size N"),
        (Some(Granularity::Block), _) => bail!("blocks are for integers; palettes go with tensor, channel or channels"),
        _ => bail!("--group-size and --axis go with --granularity channels"),
    };
    Ok(Palettize { mode, groups, cluster_dim: args.cluster_dim, per_channel_scale: args.per_channel_scale })
}

fn quantize(args: &MethodArgs, symmetric: bool) -> Result<Quantize> {
    check_unused(args, "integers", true, false)?;
    let dtype = match args.dtype.unwrap_or(Integer::Int8) {
        Integer::Int8 => DType::I8,
        Integer::Uint8 => DType::U8,
        Integer::Int4 => DType::I4,
        Integer::Uint4 => DType::U4,
    };
    let blocks = match (args.granularity, args.block_size) {
        (None | Some(Granularity::Channel), None) => Blocks::PerChannel,
        (Some(Granularity::Tensor), None) => Blocks::PerTensor,
        (None | Some(Granularity::Block), Some(size)) => Blocks::PerBlock { size },
        (Some(Granularity::Block), None) => Blocks::PerBlock { size: 32 },
        (Some(Granularity::Channels), _) => {
            bail!("groups of channels are for palettes; integers go with tensor, channel or block")
        }
        _ => bail!("--block-size goes with --granularity block"),
    };
    Ok(Quantize { dtype, symmetric, blocks })
}

fn prune(args: &MethodArgs) -> Result<Option<Prune>> {
    Ok(match (args.sparsity, args.prune_block, args.threshold, args.n_of_m) {
        (Some(sparsity), Some(size), ..) => Some(Prune::Block { sparsity, size, axis: 0 }),
        (Some(sparsity), None, ..) => Some(Prune::Magnitude { sparsity }),
        (_, _, Some(threshold), _) => Some(Prune::Threshold { threshold, minimum_sparsity: 0.5 }),
        (_, _, _, Some((n, m))) => Some(Prune::NOfM { n, m, axis: 1 }),
        _ => None,
    })
}
