//! Real checkpoints have a tensor for every parameter and a parameter for every tensor.

mod common;

use burn::tensor::Device;
use sd_models::{CheckpointTensor, NetworkConfig, Role};

/// Calls `check` for every component of every checkpoint; returns how often.
fn for_each(check: impl Fn(&NetworkConfig, Vec<CheckpointTensor>)) -> usize {
    let mut n = 0;
    for checkpoint in common::checkpoints() {
        for role in Role::ALL {
            if let Some(config) = common::config(&checkpoint, role) {
                let network = NetworkConfig::read(role, &config).expect("a configuration that is supported");
                check(&network, common::contents(&checkpoint, role));
                n += 1;
            }
        }
    }
    n
}

#[test]
fn real_checkpoints_leave_nothing_missing_and_nothing_unused() {
    let n = for_each(|network, tensors| {
        let report = network.load_report(&Device::capture(), tensors);
        assert!(report.is_complete(), "{report}");
        assert_eq!(report.applied.len(), network.parameters(&Device::capture()).len());
        let halves = matches!(network.roles()[0], Role::VaeDecoder | Role::VaeEncoder);
        assert_eq!(report.ignored.is_empty(), !halves, "{report}");
    });
    assert!(n >= 4, "the demo model alone has four components");
}

#[test]
fn keys_of_old_diffusers_and_new_transformers_are_found_too() {
    for_each(|network, tensors| {
        let renamed = tensors.into_iter().map(|tensor| CheckpointTensor {
            key: match network.roles()[0] {
                Role::TextEncoder => match tensor.key.strip_prefix("text_model.") {
                    Some(rest) => rest.to_owned(),
                    None if tensor.key.starts_with("text_projection.") => tensor.key,
                    None => format!("text_model.{}", tensor.key),
                },
                _ => tensor
                    .key
                    .replace("mid_block.attentions.0.to_q.", "mid_block.attentions.0.query.")
                    .replace("mid_block.attentions.0.to_out.0.", "mid_block.attentions.0.proj_attn."),
            },
            ..tensor
        });
        if network.roles()[0] != Role::UNet {
            let report = network.load_report(&Device::capture(), renamed);
            assert!(report.is_complete(), "{report}");
        }
    });
}

#[test]
fn a_renamed_tensor_is_both_missing_and_unused() {
    for_each(|network, mut tensors| {
        tensors[0].key.push('X');
        let report = network.load_report(&Device::capture(), tensors);
        let halves = matches!(network.roles()[0], Role::VaeDecoder | Role::VaeEncoder);
        if !halves {
            assert_eq!((report.missing.len(), report.unused.len()), (1, 1), "{report}");
            let error = report.into_bindings().expect_err("incomplete").to_string();
            assert!(error.contains("1 missing: ") && error.contains("1 unused: "), "{error}");
        }
    });
}

#[test]
fn a_tensor_of_another_shape_or_of_integers_is_refused_by_name() {
    for_each(|network, mut tensors| {
        let parameters = network.parameters(&Device::capture());
        let wanted = |tensor: &CheckpointTensor| parameters.iter().any(|p| p.key.ends_with(&tensor.key));
        let at = tensors.iter().position(wanted).expect("a tensor that the network wants");
        let key = tensors[at].key.clone();
        tensors[at].shape.push(2);
        let report = network.load_report(&Device::capture(), tensors.clone());
        assert!(report.to_string().contains(&format!("1 of another shape: {key} is")), "{report}");
        tensors[at].shape.pop();
        tensors[at].dtype = host_tensor::DType::I32;
        let report = network.load_report(&Device::capture(), tensors);
        assert!(report.to_string().contains(&format!("{key} is int32")), "{report}");
    });
}
