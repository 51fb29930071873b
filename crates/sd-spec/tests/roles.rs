//! Roles, features and families agree with one another and lack nothing.

use std::collections::{BTreeMap, BTreeSet};

use sd_spec::{Axis, Draw, Family, FeatureSpec, Presence, Role, Stage};

#[test]
fn every_role_is_its_own_and_complete() {
    for role in Role::ALL {
        let spec = role.spec();
        assert_eq!(spec.role, role, "the specification of {role} is another role's");
        assert_eq!(role.name().parse(), Ok(role));
        for words in [spec.name, spec.folder, spec.package.apple, spec.package.swift, spec.summary] {
            assert!(!words.is_empty(), "{role} lacks a name or its summary");
        }
        assert!(!spec.classes.is_empty(), "{role} is played by no class");
        assert!(!spec.inputs.is_empty() && !spec.outputs.is_empty(), "{role} takes or gives nothing");
        for feature in spec.features() {
            assert!(!feature.words.is_empty(), "{role}: {} has no description", feature.name);
            assert!(!feature.axes.is_empty(), "{role}: {} has no axes", feature.name);
        }
        assert!(spec.inputs.iter().all(|f| f.draw != Draw::Output), "{role}: an input cannot be drawn");
        assert!(spec.outputs.iter().all(|f| f.draw == Draw::Output), "{role}: an output would be drawn");
        let names: Vec<String> = spec
            .inputs
            .iter()
            .map(|f| match f.presence {
                Presence::Numbered => format!("{}0", f.name),
                _ => f.name.to_owned(),
            })
            .collect();
        let roles = Role::of_inputs(names.iter().map(String::as_str));
        assert!(roles.contains(&role), "{role} is not known by its inputs, only {roles:?}");
    }
}

#[test]
fn names_belong_to_one_role_each() {
    let unique = |what: &str, names: Vec<&str>| {
        let set: BTreeSet<_> = names.iter().collect();
        assert_eq!(set.len(), names.len(), "two roles share a {what}: {names:?}");
    };
    unique("name", Role::ALL.map(Role::name).to_vec());
    let both = |role: Role| BTreeSet::from(role.spec().package.both());
    unique("package name", Role::ALL.into_iter().flat_map(both).collect());
}

#[test]
fn one_name_of_an_input_means_one_thing() {
    let mut seen: BTreeMap<&str, &FeatureSpec> = BTreeMap::new();
    for feature in Role::ALL.into_iter().flat_map(|role| role.spec().inputs) {
        let first = seen.entry(feature.name).or_insert(feature);
        assert_eq!((first.kind, first.draw), (feature.kind, feature.draw), "{} has two meanings", feature.name);
    }
}

#[test]
fn every_role_of_a_pipeline_belongs_to_a_family_and_no_family_has_one_twice() {
    let mut homeless: BTreeSet<Role> = Role::ALL.into();
    homeless.retain(|role| role.spec().stage != Stage::Upscale);
    for family in Family::ALL {
        let spec = family.spec();
        assert_eq!(spec.family, family);
        let roles: Vec<Role> = spec.required.iter().chain(spec.optional).chain(spec.on_request).copied().collect();
        let unique: BTreeSet<Role> = roles.iter().copied().collect();
        assert_eq!(unique.len(), roles.len(), "{} has a role twice", spec.name);
        homeless.retain(|role| !unique.contains(role));
    }
    assert!(homeless.is_empty(), "no family has {homeless:?}");
}

#[test]
fn sizes_matter_where_an_axis_says_so() {
    let sized: Vec<Role> = Role::ALL.into_iter().filter(|role| role.spec().is_sized()).collect();
    let unsized_: Vec<Role> = Role::ALL.into_iter().filter(|role| !sized.contains(role)).collect();
    assert_eq!(unsized_, [Role::TextEncoder, Role::TextEncoder2, Role::TextEncoder3, Role::MultilingualProjection]);
}

#[test]
fn a_conversion_palettizes_what_apples_does_and_a_directory_is_compressed_with_all_that_is_large() {
    let roles = |takes: fn(Role) -> bool| -> Vec<&str> {
        Role::ALL.into_iter().filter(|&role| takes(role)).map(Role::name).collect()
    };
    // ml-stable-diffusion 1.1.1, torch2coreml.py: quantize_weights is called for these.
    let apples = ["text-encoder", "text-encoder-2", "unet", "control-unet", "refiner", "controlnet"];
    assert_eq!(roles(|role| role.spec().compression.in_conversion), apples);
    let more = ["text-encoder-3", "mmdit"];
    let only_in_directories = |role: Role| {
        let compression = role.spec().compression;
        compression.in_directory && !compression.in_conversion
    };
    assert_eq!(roles(only_in_directories), more);
    assert_eq!(roles(|role| role.spec().compression.in_directory).len(), apples.len() + more.len());
}

#[test]
fn numbers_of_sizes_and_denoising_agree_with_features_and_stages() {
    for spec in Role::ALL.map(Role::spec) {
        let takes_sizes = spec.features().any(|feature| feature.axes.contains(&Axis::SizeNumbers));
        assert_eq!(spec.n_size_numbers > 0, takes_sizes, "{}", spec.role);
        assert!(!spec.is_denoiser || spec.stage == Stage::Denoise, "{}", spec.role);
    }
    let denoisers: Vec<Role> = Role::ALL.into_iter().filter(|role| role.is_denoiser()).collect();
    assert_eq!(denoisers, [Role::UNet, Role::ControlledUNet, Role::Refiner, Role::Mmdit]);
    let of = |name: &'static str| Role::of_inputs(["input_ids", name]);
    assert_eq!(of("attention_mask"), [Role::TextEncoder3]);
}
