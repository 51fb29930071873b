//! Our programs have no more operations than Apple's converter writes for the same component and layout.
//!
//! `docs/numerics.md` explains each operation type where the two differ.

#![allow(clippy::print_stdout, reason = "a table of what was measured belongs to the test")]

use sd_convert::{
    AttentionLayout, Checkpoint, Interface, LatentSize, NetworkConfig, Options, Precision, Role, convert,
};
use std::collections::BTreeMap;
use testkit::Summary;

type Histogram = BTreeMap<String, usize>;

/// Operations by type, with constants as the writer emits them: once, before their first reader.
fn ours(golden: &std::path::Path, checkpoint: &str, role: Role, options: &Options) -> Histogram {
    let ckpt = Checkpoint::open(golden.join("checkpoints").join(checkpoint)).expect("a checkpoint");
    let converted = convert(&ckpt, role, options).expect("converts");
    let function = converted.program.main().expect("one function");
    let mut histogram = Histogram::new();
    function.body.for_each_op(&mut |op| *histogram.entry(op.kind.to_string()).or_default() += 1);
    let constants = function.constants_in_order().iter().map(Vec::len).sum();
    histogram.insert("const".to_owned(), constants);
    histogram
}

fn total(histogram: &Histogram) -> usize {
    histogram.values().sum()
}

/// Casts around scores that the configuration wants in f32, which Apple's converter leaves in f16.
fn upcasts(golden: &std::path::Path, checkpoint: &str, role: Role, options: &Options, ours: &Histogram) -> usize {
    let ckpt = Checkpoint::open(golden.join("checkpoints").join(checkpoint)).expect("a checkpoint");
    let interface = Interface::new(&ckpt, role, options).expect("a configuration");
    let NetworkConfig::UNet(config) = &interface.network else { return 0 };
    if !config.way_down.upcast_attention {
        return 0;
    }
    // One for the timesteps and two for their embedding are there in any case.
    let upcasts = ours["cast"] - 3;
    assert!(upcasts > 0 && upcasts <= 3 * ours["softmax"], "queries, keys and weights: {upcasts}");
    upcasts
}

#[track_caller]
fn check(checkpoint: &str, role: Role, summary: &str, options: &Options) {
    check_against(checkpoint, role, &format!("{checkpoint}.{summary}"), options);
}

/// The same, for a package that Apple's converter made with another checkpoint.
#[track_caller]
fn check_against(checkpoint: &str, role: Role, summary: &str, options: &Options) {
    let Some(golden) = testkit::golden() else { return };
    let apple = Summary::read(&golden, summary);
    let theirs: Histogram = apple.op_counts();
    let ours = ours(&golden, checkpoint, role, options);
    let kinds: std::collections::BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    let count = |h: &Histogram, k: &String| h.get(k).copied().unwrap_or(0);
    println!("{summary}: {} operations, Apple's {}", total(&ours), total(&theirs));
    for kind in kinds.into_iter().filter(|k| count(&ours, k) != count(&theirs, k)) {
        println!("    {kind:<28} {:>5} {:>5}", count(&ours, kind), count(&theirs, kind));
    }
    let calculating = |h: &Histogram| total(h) - h.get("const").copied().unwrap_or(0);
    let upcasts = upcasts(&golden, checkpoint, role, options, &ours);
    assert!(total(&ours) <= total(&theirs), "{summary}: more operations than Apple's");
    assert!(
        calculating(&ours) - upcasts <= calculating(&theirs),
        "{summary}: more operations besides constants than Apple's"
    );
}

#[test]
fn no_component_of_xl_has_more_operations_than_apples() {
    let options = Options::default();
    let full = Options { precision: Some(Precision::Float32), ..Options::default() };
    for (role, summary, options) in [
        (Role::TextEncoder, "split_einsum.text_encoder", &options),
        (Role::TextEncoder2, "split_einsum.text_encoder_2", &options),
        (Role::UNet, "split_einsum.unet", &options),
        (Role::VaeDecoder, "split_einsum.vae_decoder", &full),
        (Role::VaeEncoder, "split_einsum.vae_encoder", &full),
    ] {
        check("tiny-sdxl", role, summary, options);
    }
    check_against("tiny-sdxl-refiner", Role::Refiner, "tiny-sdxl.split_einsum.refiner", &options);
}

#[test]
fn neither_control_nets_nor_guided_unets_have_more_operations_than_apples() {
    let size = LatentSize { height: 16, width: 16 };
    for (attention, variant) in
        [(AttentionLayout::SplitEinsum, "controlnet"), (AttentionLayout::Original, "controlnet_original")]
    {
        let options = Options { attention, latent_size: Some(size), ..Options::default() };
        check("tiny-sd15", Role::ControlledUNet, &format!("{variant}.control-unet"), &options);
        let summary = format!("tiny-sd15.{variant}.ControlNet_tiny-controlnet");
        check_against("tiny-controlnet", Role::ControlNet, &summary, &options);
    }
}

#[test]
fn no_component_has_more_operations_than_apples() {
    let options = Options::default();
    for (role, summary) in [
        (Role::TextEncoder, "split_einsum.text_encoder"),
        (Role::UNet, "split_einsum.unet"),
        (Role::VaeDecoder, "split_einsum.vae_decoder"),
        (Role::VaeEncoder, "split_einsum.vae_encoder"),
        (Role::SafetyChecker, "split_einsum.safety_checker"),
    ] {
        check("tiny-sd15", role, summary, &options);
        if role != Role::SafetyChecker {
            check("tiny-sd21", role, summary, &options);
        }
    }
}

#[test]
fn a_transformer_moves_no_tokens_between_its_layers() {
    let Some(golden) = testkit::golden() else { return };
    for (checkpoint, n_attentions) in [("tiny-sd3", 3), ("tiny-sd35-large", 2), ("tiny-sd35-medium", 6)] {
        let options = Options { attention: AttentionLayout::Original, text_length: Some(77), ..Options::default() };
        let ours = ours(&golden, checkpoint, Role::Mmdit, &options);
        println!("{checkpoint}: {ours:?}");
        assert_eq!(ours["softmax"], n_attentions);
        // Patches are put side by side in two steps, from tokens in rows.
        assert_eq!(ours["transpose"], 3, "{ours:?}");
        for kind in ["linear", "square", "pow", "tanh", "fill", "slice_by_index", "reduce_mean"] {
            assert!(!ours.contains_key(kind), "{kind}: {ours:?}");
        }
    }
}

#[test]
fn no_attention_layout_has_more_operations_than_apples() {
    let original = Options { attention: AttentionLayout::Original, ..Options::default() };
    check("tiny-sd15", Role::UNet, "original.unet", &original);
    check("tiny-sd21", Role::UNet, "original.unet", &original);
    let sliced = Options {
        attention: AttentionLayout::SplitEinsumV2,
        latent_size: Some(LatentSize { height: 32, width: 32 }),
        ..Options::default()
    };
    check("tiny-sd15", Role::UNet, "split_einsum_v2_latent32.unet", &sliced);
}
