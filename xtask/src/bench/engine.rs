//! How fast, and how well, the CPU engine runs the models of Stable Diffusion 1.5, measured against the machine's peak and, on request,
//! against PyTorch and OpenVINO.
//!
//! Machines are shared and their clocks wander, so nothing is measured alone: `smelt bench` measures the peak before and
//! after each run, and a peer runs right after ours, turn by turn, from the same checkpoint, at the same sizes. Each
//! model has a process of its own, and no two peers are in memory at a time.

mod accuracy;
mod models;
mod ours;
mod peer;
mod shapes;

use anyhow::{Context, Result};

use self::{
    models::{Model, TEXT, UNET, VAE},
    ours::Ours,
    peer::{PEERS, Peer},
};
use super::{ground, record::Metrics};
use crate::smelt::{self, Profile};

/// What `--only` chooses from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Part {
    /// Single matrix products, convolutions and attentions of the UNet's shapes.
    Shapes,
    /// The UNet's step, with weights in f16 and of 6 bits.
    Unet,
    /// The decoder of pictures.
    Vae,
    /// The text encoder.
    Text,
    /// A picture of 20 steps.
    Picture,
    /// The UNet's step for 768x768 beside that for 512x512.
    Sizes,
    /// The UNet's step beside the reference engine's, in each precision.
    Accuracy,
}

/// Measures `n_turns` turns of each part, or of one.
pub(super) fn run(n_turns: usize, with_peers: bool, only: Option<Part>) -> Result<Metrics> {
    let scratch = ground::scratch()?;
    let binary = smelt::build(Profile::Release, |_| {})?.binary;
    let ours = Ours::new(binary, &scratch)?;
    let is_wanted = |part| only.is_none_or(|only| only == part);
    let mut metrics = Metrics::default();
    for (part, model) in [(Part::Unet, &UNET), (Part::Vae, &VAE), (Part::Text, &TEXT)] {
        if !is_wanted(part) {
            continue;
        }
        if !with_peers {
            alternate(&ours, model, None, n_turns, &mut metrics)?;
        }
        for name in PEERS.into_iter().filter(|_| with_peers) {
            let peer = Peer::start(&scratch, &ours.checkpoint, name, model)?;
            alternate(&ours, model, Some(peer), n_turns, &mut metrics)?;
        }
    }
    if is_wanted(Part::Shapes) {
        for _ in 0..n_turns {
            shapes::measure(&ours, &mut metrics)?;
        }
    }
    if is_wanted(Part::Picture) {
        // A picture is 21 steps and as many chances to even out: fewer are enough.
        for _ in 0..n_turns.div_ceil(3) {
            picture(&ours, &mut metrics)?;
        }
    }
    if is_wanted(Part::Sizes) {
        models::sizes(&ours, n_turns, &mut metrics)?;
    }
    if is_wanted(Part::Accuracy) {
        // Results do not change from run to run.
        accuracy::measure(&ours, &mut metrics)?;
    }
    metrics.note("note", ours::NOTE.to_owned());
    if with_peers {
        metrics.note("peer_note", peer::note());
    }
    Ok(metrics)
}

/// Turns of one model: ours, and the peer's right after it.
fn alternate(ours: &Ours, model: &Model, mut peer: Option<Peer>, n_turns: usize, metrics: &mut Metrics) -> Result<()> {
    for _ in 0..n_turns {
        let our_s = models::measure(ours, model, metrics)?;
        if let Some(peer) = &mut peer {
            peer.measure(model, our_s, metrics)?;
        }
    }
    if let Some(peer) = peer {
        peer.add_memory(model, metrics);
    }
    Ok(())
}

/// From packages on the disk to a PNG, all in one process.
fn picture(ours: &Ours, metrics: &mut Metrics) -> Result<()> {
    let seconds = ours.draw(20)?.seconds;
    metrics.add("image20_s", "s", seconds);
    let median = |name| metrics.median(name).context("not measured");
    if let (Ok(step_s), Ok(decode_s)) = (median("unet_f32_s"), median("vae_f32_s")) {
        let allowed_s = 21.5 * step_s + decode_s + 3.0;
        metrics.add("image20_ratio", "image20_s / (21.5 unet_f32_s + vae_f32_s + 3 s)", seconds / allowed_s);
    }
    Ok(())
}
