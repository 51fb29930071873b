//! Every model says in its file what it is, what it takes and what it gives.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use sd_convert::{Checkpoint, LatentSize, Options, Role, convert};

/// Descriptions of every model of a checkpoint; returns how many there are.
#[track_caller]
fn check(checkpoint: &Checkpoint) -> usize {
    let latent_size = checkpoint.is_alone().then_some(LatentSize { height: 16, width: 16 });
    let options = Options { latent_size, ..Options::default() };
    let roles: Vec<Role> = Role::ALL.into_iter().filter(|&role| checkpoint.has(role)).collect();
    for &role in &roles {
        let what = format!("{} {role}", checkpoint.name());
        let converted = convert(checkpoint, role, &options).unwrap();
        let metadata = &converted.description.metadata;
        assert_eq!(metadata.short_description, role.spec().summary, "{what}");
        assert_eq!(metadata.version, checkpoint.name(), "{what}");
        assert!(metadata.author.contains(&checkpoint.name()) && !metadata.license.is_empty(), "{what}");
        for interface in &converted.description.functions {
            for feature in interface.inputs.iter().chain(&interface.outputs) {
                assert!(!feature.description.is_empty(), "{what}: {} is not described", feature.name);
            }
        }
    }
    roles.len()
}

#[test]
fn every_model_of_every_family_describes_itself_and_all_its_features() {
    assert!(check(&Checkpoint::open(testkit::demo()).unwrap()) > 0);
    let Some(golden) = testkit::golden() else { return };
    for name in [
        "tiny-sd15",
        "tiny-sd21",
        "tiny-sdxl",
        "tiny-sdxl-refiner",
        "mini-sdxl-controlnet",
        "tiny-controlnet",
        "tiny-lcm",
        "tiny-sd15-inpaint",
        "tiny-sd3",
        "tiny-sd35-large",
        "tiny-sd35-medium",
    ] {
        assert!(check(&Checkpoint::open(golden.join("checkpoints").join(name)).unwrap()) > 0, "{name}");
    }
}
