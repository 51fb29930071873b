//! The networks of a checkpoint, executed by Burn instead of converted.

use sd_convert::{Checkpoint, Options, Role};
use sd_runtime::Engine;

use super::options::PipelineOptions;
use crate::engine::{EngineKind, EngineSpec};
use crate::error::{Result, refuse};
use crate::open::Opened;

/// Whether Burn was asked for; what cannot go with it is refused before anything is read.
pub(super) fn is_chosen(options: &PipelineOptions, opened: &Opened) -> Result<bool> {
    match options.engine.kind {
        EngineKind::Burn if cfg!(not(feature = "burn")) => refuse!(
            "the burn engine is not in this build, because Burn's backends take minutes to compile; \
             build with it: cargo run --release --features burn -- generate …"
        ),
        EngineKind::Burn if opened.is_packages() => refuse!(
            "{} holds packages, which are MIL programs; the burn engine executes the networks of a checkpoint: \
             give the checkpoint directory with -m, or leave --engine burn out",
            opened.root().display()
        ),
        EngineKind::Burn if options.attention.is_some() => {
            refuse!(
                "--attention is a layout of MIL programs, and the burn engine executes the networks themselves; leave it out"
            )
        }
        EngineKind::Burn => Ok(true),
        _ => Ok(false),
    }
}

/// A component on the chosen device.
#[cfg(feature = "burn")]
pub(super) fn engine(
    engine: &EngineSpec,
    checkpoint: &Checkpoint,
    role: Role,
    options: &Options,
) -> Result<Box<dyn Engine>> {
    use sd_convert::Interface;
    use sd_engines::{BurnEngine, BurnOptions};
    use sd_runtime::{Feature, Signature};

    use crate::engine::Device;
    use crate::error::Context;

    let Interface { network, inputs, outputs } = Interface::new(checkpoint, role, options)?;
    let features = |features: Vec<sd_convert::verify::Input>| {
        features.into_iter().map(|f| Feature::new(f.name, f.dtype, f.shape)).collect()
    };
    let signature = Signature { inputs: features(inputs), outputs: features(outputs) };
    let weights = checkpoint.weights(role)?;
    let device = match engine.device {
        Some(Device::Burn(device)) => device,
        _ => sd_engines::BurnDevice::default(),
    };
    let burn = BurnOptions { device, threads: engine.n_threads() };
    let engine = BurnEngine::new(&network, signature, &weights, burn);
    Ok(Box::new(engine.with_context(|| format!("cannot run {}", checkpoint.folder(role).display()))?))
}

/// Never called: [`is_chosen`] has refused.
#[cfg(not(feature = "burn"))]
pub(super) fn engine(_: &EngineSpec, _: &Checkpoint, role: Role, _: &Options) -> Result<Box<dyn Engine>> {
    refuse!("{role}: the burn engine is not in this build")
}
