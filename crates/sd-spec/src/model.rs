//! One model's features: which of its role's it has, under which names and of which shapes.

use crate::feature::{Axis, Dims, FeatureSpec, Presence, TextState};
use crate::role::RoleSpec;

/// Everything that a role's features depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelShape {
    /// Numbers by axis.
    pub dims: Dims,
    /// What of its text encoders the family's denoiser attends to.
    pub text_state: TextState,
    /// Channels, rows and columns of each residual.
    pub residuals: Vec<[usize; 3]>,
    /// Names of the features that it is asked to have, of those that are there on request.
    pub on_request: Vec<&'static str>,
}

/// An input or output of one model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feature {
    /// Its name, with its number where it has one.
    pub name: String,
    /// What is the same for every model of the role.
    pub spec: &'static FeatureSpec,
    /// Its shape.
    pub shape: Vec<usize>,
}

/// A feature whose shape nothing says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unknown {
    /// Which feature.
    pub feature: &'static str,
    /// The axis without a number.
    pub axis: Axis,
}

impl RoleSpec {
    /// What a model of this shape takes, in order.
    ///
    /// # Errors
    /// [`Unknown`] for the first feature that it must have and whose shape nothing says.
    pub fn inputs_of(&self, model: &ModelShape) -> Result<Vec<Feature>, Unknown> {
        features(self.inputs, model)
    }

    /// What a model of this shape gives, in order.
    ///
    /// # Errors
    /// As [`RoleSpec::inputs_of`].
    pub fn outputs_of(&self, model: &ModelShape) -> Result<Vec<Feature>, Unknown> {
        features(self.outputs, model)
    }
}

fn features(specs: &'static [FeatureSpec], model: &ModelShape) -> Result<Vec<Feature>, Unknown> {
    let mut found = Vec::new();
    for spec in specs {
        let named = |name: String, dims: &Dims| match dims.shape(spec) {
            Ok(shape) => Ok(Feature { name, spec, shape }),
            Err(axis) => Err(Unknown { feature: spec.name, axis }),
        };
        let plain = || named(spec.name.to_owned(), &model.dims);
        match spec.presence {
            Presence::Always => found.push(plain()?),
            Presence::WhereKnown => found.extend(plain().ok()),
            Presence::OnRequest => found.extend(model.on_request.contains(&spec.name).then(plain).transpose()?),
            Presence::OfText(state) => found.extend((state == model.text_state).then(plain).transpose()?),
            Presence::Numbered => {
                for (number, &[channels, height, width]) in model.residuals.iter().enumerate() {
                    let dims = model.dims.clone().with(Axis::ResidualChannels, channels);
                    let dims = dims.with(Axis::ResidualHeight, height).with(Axis::ResidualWidth, width);
                    found.push(named(format!("{}{number}", spec.name), &dims)?);
                }
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Role;

    fn names(role: Role, model: &ModelShape) -> Vec<String> {
        role.spec().inputs_of(model).unwrap().into_iter().map(|feature| feature.name).collect()
    }

    #[test]
    fn a_model_has_what_its_axes_its_family_and_its_residuals_say() {
        let dims =
            [Axis::Batch, Axis::SampleChannels, Axis::LatentHeight, Axis::LatentWidth, Axis::TextWidth, Axis::Tokens];
        let dims = dims.into_iter().fold(Dims::new(), |dims, axis| dims.with(axis, 2));
        let residuals = vec![[3, 4, 5], [6, 7, 8]];
        let mut model = ModelShape { dims, text_state: TextState::Last, residuals, on_request: Vec::new() };
        assert_eq!(names(Role::UNet, &model), ["sample", "timestep", "encoder_hidden_states"]);
        let controlled = Role::ControlledUNet.spec().inputs_of(&model).unwrap();
        let last = controlled.last().unwrap();
        assert_eq!((&*last.name, &last.shape[..]), ("additional_residual_1", &[2, 6, 7, 8][..]));
        model.dims = model.dims.with(Axis::GuidanceWidth, 32);
        assert_eq!(names(Role::UNet, &model), ["sample", "timestep", "encoder_hidden_states", "timestep_cond"]);
        model.dims = Dims::new()
            .with(Axis::Tokens, 77)
            .with(Axis::TextWidth, 8)
            .with(Axis::PooledWidth, 8)
            .with(Axis::ProjectedWidth, 6);
        let states = [(TextState::Last, "last_hidden_state"), (TextState::Penultimate, "hidden_embeds")];
        for (state, name) in states {
            model.text_state = state;
            assert_eq!(Role::TextEncoder.spec().outputs_of(&model).unwrap()[0].name, name);
        }
        assert_eq!(names(Role::TextEncoder3, &model), ["input_ids"]);
        model.on_request = vec!["attention_mask"];
        assert_eq!(names(Role::TextEncoder3, &model), ["input_ids", "attention_mask"]);
        assert_eq!(names(Role::TextEncoder, &model), ["input_ids"]);
        let unknown = Role::UNet.spec().inputs_of(&model);
        assert_eq!(unknown, Err(Unknown { feature: "sample", axis: Axis::Batch }));
    }
}
