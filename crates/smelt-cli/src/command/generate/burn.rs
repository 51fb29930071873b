//! The networks of a checkpoint, executed by Burn instead of converted.

use std::path::Path;

use anyhow::{Result, bail};
use sd_convert::{Checkpoint, Options, Role};
use sd_runtime::Engine;

use crate::cli::GenerateArgs;
use crate::engine_args::{DeviceName, EngineArgs, EngineName};

/// Whether Burn was asked for; what cannot go with it is refused before anything is read.
pub(super) fn is_chosen(args: &GenerateArgs, dir: &Path, has_packages: bool) -> Result<bool> {
    match (args.engine.engine, args.device) {
        (EngineName::Burn, _) if cfg!(not(feature = "burn")) => bail!(
            "the burn engine is not in this build, because Burn's backends take minutes to compile; \
             build with it: cargo run --release --features burn -- generate …"
        ),
        (EngineName::Burn, _) if has_packages => bail!(
            "{} holds packages, which are MIL programs; the burn engine executes the networks of a checkpoint: \
             give the checkpoint directory with -m, or leave --engine burn out",
            dir.display()
        ),
        (EngineName::Burn, _) if args.attention.is_some() => {
            bail!(
                "--attention is a layout of MIL programs, and the burn engine executes the networks themselves; leave it out"
            )
        }
        (EngineName::Burn, _) => Ok(true),
        (_, Some(_)) => bail!("--device is for --engine burn"),
        (_, None) => Ok(false),
    }
}

/// A component on the chosen device.
#[cfg(feature = "burn")]
pub(super) fn engine(
    engine: EngineArgs,
    device: Option<DeviceName>,
    checkpoint: &Checkpoint,
    role: Role,
    options: &Options,
) -> Result<Box<dyn Engine>> {
    use anyhow::Context;
    use sd_convert::Interface;
    use sd_engines::{BurnEngine, BurnOptions};
    use sd_runtime::{Feature, Signature};

    let Interface { network, inputs, outputs } = Interface::new(checkpoint, role, options)?;
    let features = |features: Vec<sd_convert::verify::Input>| {
        features.into_iter().map(|f| Feature::new(f.name, f.dtype, f.shape)).collect()
    };
    let signature = Signature { inputs: features(inputs), outputs: features(outputs) };
    let weights = checkpoint.weights(role)?;
    let burn = BurnOptions { device: device.unwrap_or_default().into(), threads: engine.n_threads() };
    let engine = BurnEngine::new(&network, signature, &weights, burn);
    Ok(Box::new(engine.with_context(|| format!("cannot run {}", checkpoint.folder(role).display()))?))
}

/// Never called: [`is_chosen`] has refused.
#[cfg(not(feature = "burn"))]
pub(super) fn engine(
    _: EngineArgs,
    _: Option<DeviceName>,
    _: &Checkpoint,
    role: Role,
    _: &Options,
) -> Result<Box<dyn Engine>> {
    bail!("{role}: the burn engine is not in this build")
}
