//! A network that is trained: its gradients, what a few steps gain, and that a stopped training goes on.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use burn_core::tensor::Device;
use safe_files::{OutputFile, Outputs};
use sd_finetune::{FinetuneError, Recipe, Samples, Tuner, build};

fn tuner(recipe: Recipe) -> Tuner {
    let config = common::config();
    Tuner::new(&config, &common::weights(&config), recipe, &Device::flex()).unwrap()
}

fn file(path: &Path) -> OutputFile {
    Outputs::new().file("--state", path).unwrap()
}

/// Takes steps until so many are done.
fn run(tuner: &mut Tuner, until: usize, state: Option<&OutputFile>) -> Result<(), FinetuneError> {
    tuner.run(&common::data(24), state, |at| match at.n_done >= until {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    })
}

#[test]
fn gradients_of_the_network_are_the_limits_of_differences() {
    let config = common::config();
    let network = build(&config, &Device::flex());
    let weights = common::weights(&config);
    let report = config.load_report(&Device::flex(), weights.contents()).into_bindings().unwrap();
    let value = |path: &str| {
        let binding = report.iter().find(|binding| binding.path == path).unwrap();
        Arc::new(weights.parameter(binding).unwrap().read().to_f32_vec())
    };
    let mut values: Vec<_> = network.parameters().iter().map(|parameter| value(&parameter.path)).collect();
    let inputs = common::samples(2);
    let zeros = |outputs: Samples| -> Samples {
        let zero = |tensor: host_tensor::HostTensor| {
            host_tensor::HostTensor::from_f32(tensor.shape(), vec![0.0; tensor.len()])
        };
        outputs.into_iter().map(|(name, tensor)| (name, zero(tensor))).collect()
    };
    let targets = zeros(network.outputs(&values, &inputs).unwrap());
    let guidance = Some(3.0);
    let (_, gradients) = network.gradients(&values, &inputs, &targets, guidance).unwrap();
    let step = 2e-3;
    for parameter in (0..values.len()).step_by(7) {
        // The number that the loss depends on most, of each seventh parameter.
        let most = |a: &usize, b: &usize| gradients[parameter][*a].abs().total_cmp(&gradients[parameter][*b].abs());
        let place = (0..values[parameter].len()).max_by(most).unwrap();
        let begin = values[parameter].clone();
        let mut at = |by: f32| {
            Arc::make_mut(&mut values[parameter])[place] = begin[place] + by;
            network.gradients(&values, &inputs, &targets, guidance).unwrap().0
        };
        let expected = (at(step) - at(-step)) / (2.0 * f64::from(step));
        values[parameter] = begin;
        let found = f64::from(gradients[parameter][place]);
        assert!((found - expected).abs() < 0.02 * expected.abs() + 1e-4, "{parameter}: {found}, not {expected}");
    }
}

#[test]
fn a_few_steps_bring_the_network_nearer_to_itself() {
    for group_size in [None, Some(1)] {
        let mut tuner = tuner(common::recipe(group_size));
        let data = common::data(24);
        let (before, power) = tuner.judge(&data, 24).unwrap();
        tuner.run(&data, None, |_| ControlFlow::Continue(())).unwrap();
        let (after, _) = tuner.judge(&data, 24).unwrap();
        let gained = 10.0 * (before / after).log10();
        assert!(gained > 3.0, "{group_size:?}: {before} of {power} became {after}, {gained} dB less");
    }
}

#[test]
fn a_stopped_training_goes_on_to_the_same_weights() {
    let folder = tempfile::tempdir().unwrap();
    let state = file(&folder.path().join("state.safetensors"));
    let recipe = Recipe { soft_steps: 4, hard_steps: 3, n_iterations: 1, ..common::recipe(Some(4)) };
    let mut whole = tuner(recipe.clone());
    run(&mut whole, usize::MAX, None).unwrap();
    let mut pieces = tuner(recipe.clone());
    // In the middle of either part, and between them.
    for until in [2, 4, 6] {
        assert!(matches!(run(&mut pieces, until, Some(&state)), Err(FinetuneError::Stopped)));
        pieces = tuner(recipe.clone());
        pieces.resume(state.path()).unwrap();
        assert_eq!(pieces.n_done(), until);
    }
    run(&mut pieces, usize::MAX, Some(&state)).unwrap();
    assert!(pieces.safetensors().unwrap() == whole.safetensors().unwrap());
    let mut longer = tuner(Recipe { soft_steps: 5, ..recipe.clone() });
    assert!(longer.resume(state.path()).is_err(), "another recipe");
    longer.begin_with(state.path()).unwrap();
    assert_eq!(longer.n_done(), 0);
    let judge = |tuner: &Tuner| tuner.judge(&common::data(24), 24).unwrap().0;
    assert!(judge(&longer) < judge(&tuner(recipe.clone())), "it begins with what was trained");
    let mut other = tuner(Recipe { n_bits: 3, ..recipe });
    let refusal = other.begin_with(state.path()).unwrap_err().to_string();
    assert!(refusal.contains("another training"), "{refusal}");
}

#[test]
fn each_palette_has_as_many_values_as_its_bits_allow() {
    for (n_bits, group_size) in [(2, None), (1, Some(4)), (3, Some(1))] {
        let recipe = Recipe { n_bits, soft_steps: 2, hard_steps: 1, ..common::recipe(group_size) };
        let mut tuner = tuner(recipe.clone());
        run(&mut tuner, usize::MAX, None).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        std::fs::write(&path, tuner.safetensors().unwrap()).unwrap();
        let mut n_palettized = 0;
        for (key, tensor) in testkit::load_safetensors(&path) {
            if tensor.shape().len() < 2 || tensor.len() <= recipe.min_elements {
                continue;
            }
            n_palettized += 1;
            let values = tensor.to_f32_vec();
            let group_len = group_size.map_or(values.len(), |size| {
                let size = (1..=size).rev().find(|size| tensor.shape()[0] % size == 0).unwrap();
                values.len() / tensor.shape()[0] * size
            });
            for group in values.chunks(group_len) {
                let distinct: BTreeSet<u32> = group.iter().map(|value| value.to_bits()).collect();
                assert!(distinct.len() <= 1 << n_bits, "{key}: {} values", distinct.len());
            }
        }
        assert!(n_palettized > 20, "{n_palettized}");
    }
}

#[test]
fn what_cannot_be_trained_is_refused() {
    let config = common::config();
    let weights = common::weights(&config);
    let check = |recipe: Recipe, words: &str| {
        let refusal = Tuner::new(&config, &weights, recipe, &Device::flex()).unwrap_err().to_string();
        assert!(refusal.contains(words), "{refusal}");
    };
    let usual = common::recipe(None);
    check(Recipe { n_bits: 6, ..usual.clone() }, "6 bits");
    check(Recipe { batch: 0, ..usual.clone() }, "no samples");
    check(Recipe { temperatures: (0.1, 0.2), ..usual.clone() }, "from 0.1 to 0.2");
    check(Recipe { group_size: Some(0), ..usual.clone() }, "no channels");
    check(Recipe { guidance: Some(4.0), batch: 5, ..usual.clone() }, "an even number");
    let mut unpaired = tuner(Recipe { guidance: Some(4.0), ..usual });
    let refusal = unpaired.run(&common::data(6), None, |_| ControlFlow::Continue(())).unwrap_err().to_string();
    assert!(refusal.contains("pairs"), "{refusal}");
    let mut tuner = tuner(common::recipe(None));
    let mut samples = common::samples(8);
    samples.remove("timestep");
    let refusal = tuner.step(&samples, &Samples::new()).unwrap_err().to_string();
    assert!(refusal.contains("timestep"), "{refusal}");
}
