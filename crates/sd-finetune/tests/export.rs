//! What was learned, on its way into a package: nothing of it is lost.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::ops::ControlFlow;

use burn_core::tensor::Device;
use mil_compress::{Config, Memory, PaletteGroups, PaletteMode, Palettize, Plan, Scheme, compress};
use sd_checkpoint::Checkpoint;
use sd_convert::{Options, convert};
use sd_finetune::{Recipe, Tuner};
use sd_models::{NetworkConfig, Role};

/// The model in the box, with the palettes that training begins with, written and converted as any checkpoint is.
#[test]
fn palettes_of_a_package_are_the_learned_ones() {
    let checkpoint = Checkpoint::open(testkit::demo()).unwrap();
    let json = checkpoint.file("unet/config.json").unwrap().unwrap();
    let config = NetworkConfig::read(Role::UNet, &json).unwrap();
    let weights = checkpoint.weights(Role::UNet).unwrap();
    for (group_size, most_bits) in [(None, 2.1), (Some(1), 2.6)] {
        let recipe = Recipe { group_size, ..Recipe::default() };
        let tuner = Tuner::new(&config, &weights, recipe, &Device::flex()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let tuned = folder.path().join("tuned");
        tuner.export(&checkpoint, Role::UNet, &tuned).unwrap();
        let again = tuner.export(&checkpoint, Role::UNet, &tuned).unwrap_err().to_string();
        assert!(again.contains("tuned"), "{again}");
        let tuned = Checkpoint::open(tuned).unwrap();
        assert_eq!(tuned.roles(), checkpoint.roles());
        let converted = convert(&tuned, Role::UNet, &Options::default()).unwrap();
        let groups = match group_size {
            None => PaletteGroups::PerTensor,
            Some(group_size) => PaletteGroups::PerGroupedChannel { group_size, axis: None },
        };
        let unique = Palettize { mode: PaletteMode::Unique, groups, cluster_dim: 1, per_channel_scale: false };
        let config = Config { raise_opset: true, ..Config::new(Scheme::Palettize(unique)) };
        let plan = Plan::new(&converted.program, &config).unwrap();
        let go_on = &mut |_: mil_compress::Progress| ControlFlow::Continue(());
        let (_, outcome) = compress(&converted.program, &plan, &mut Memory::default(), true, go_on).unwrap();
        assert!(outcome.compressed.len() > 100 && outcome.compressed.len() == plan.len());
        for weight in &outcome.compressed {
            assert_eq!(weight.loss.unwrap().squared_error, 0.0, "{}", weight.name);
            assert!(weight.encoding.contains("palette"), "{}", weight.encoding);
        }
        let bytes: u64 = outcome.compressed.iter().map(|weight| weight.bytes_after).sum();
        let n: usize = outcome.compressed.iter().map(|weight| weight.shape.iter().product::<usize>()).sum();
        let bits = bytes as f64 * 8.0 / n as f64;
        assert!((2.0..most_bits).contains(&bits), "{bits} bits a weight");
    }
}
