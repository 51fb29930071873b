//! What can be known of a conversion before anything is built or written.

use burn::tensor::Device;
use sd_models::{LoadReport, NetworkConfig};
use sd_spec::Role;

use crate::{Checkpoint, ConvertError, Options, recipe::Recipe};
use sd_checkpoint::Variant;

/// Refuses a component that cannot be converted, and returns what the user should know about it.
///
/// Configuration, options, names and shapes of all tensors are looked at; weights are not read.
///
/// # Errors
/// As [`convert`](crate::convert()), but for faults of lowering.
pub fn check(ckpt: &Checkpoint, role: Role, options: &Options) -> Result<Vec<String>, ConvertError> {
    let folder = ckpt.folder(role);
    let in_config = |source| ConvertError::Model { path: ckpt.config_place(role), source };
    let recipe = Recipe::new(ckpt, role, options)?;
    let mut warnings = Vec::new();
    let unknown = NetworkConfig::unknown_keys(role, &ckpt.config(role)?).map_err(in_config)?;
    if !unknown.is_empty() {
        let keys = unknown.join(", ");
        let config = ckpt.config_place(role);
        warnings.push(format!(
            "{} has keys that are not known here, and what they ask for is not done: {keys}",
            config.display()
        ));
    }
    warnings.extend(recipe.warnings.iter().cloned());
    match ckpt.variant(role)? {
        Variant::Plain | Variant::Named(_) => {}
        Variant::Only(variant) => {
            warnings.push(format!("{} has only weights of the variant {variant}, which are taken", folder.display()));
        }
        Variant::PlainInstead => {
            warnings.push(format!("{} has no weights of that variant; its plain ones are taken", folder.display()));
        }
    }
    let weights = ckpt.weights(role)?;
    let report = recipe.network.load_report(&Device::capture(), weights.contents());
    for reason in distinct(report.ignored.iter().filter(|i| !i.is_usual()).map(|i| i.reason)) {
        let keys: Vec<&str> = report.ignored.iter().filter(|i| i.reason == reason).map(|i| &*i.key).collect();
        let n = keys.len();
        let tensors = if n == 1 { "1 tensor is".to_owned() } else { format!("{n} tensors are") };
        warnings.push(format!("{role}: {tensors} left aside, {} first: {reason}", keys[0]));
    }
    let named = |mut report: Box<LoadReport>| -> Result<ConvertError, ConvertError> {
        // A model in one file has names of its own.
        let LoadReport { missing, mismatched, not_float, .. } = &mut *report;
        let shapes = mismatched.iter_mut().map(|mismatch| &mut mismatch.key);
        for key in missing.iter_mut().chain(shapes).chain(not_float.iter_mut().map(|(key, _)| key)) {
            *key = ckpt.stored_key(role, key)?;
        }
        Ok(ConvertError::Model { path: folder, source: report.into() })
    };
    match report.into_bindings() {
        Ok(_) => Ok(warnings),
        Err(report) => Err(named(report)?),
    }
}

/// Each item once, in order.
fn distinct<'a>(items: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = Vec::new();
    for item in items {
        if !seen.contains(&item) {
            seen.push(item);
        }
    }
    seen
}
