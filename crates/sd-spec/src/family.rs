//! Families: checkpoints that one pipeline draws with.

use crate::role::Role;

/// A family of checkpoints.
///
/// Stable Diffusion 1.x and 2.x are one: they have the same roles and differ in their configurations only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Family {
    /// Stable Diffusion 1.x and 2.x.
    Sd,
}

/// What is the same for every checkpoint of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FamilySpec {
    /// Which family.
    pub family: Family,
    /// What people call it.
    pub name: &'static str,
    /// Roles without which nothing is drawn.
    pub required: &'static [Role],
    /// Roles that a pipeline has where they are there and wanted.
    pub optional: &'static [Role],
    /// Folders of tokenizers, in the order of the text encoders that they belong to.
    pub tokenizers: &'static [&'static str],
    /// The folder of the scheduler.
    pub scheduler: &'static str,
    /// The folder of the safety checker's preprocessing.
    pub feature_extractor: &'static str,
}

impl Family {
    /// Every family.
    pub const ALL: [Self; 1] = [Self::Sd];

    /// What is the same for every checkpoint of it.
    #[must_use]
    pub const fn spec(self) -> &'static FamilySpec {
        match self {
            Self::Sd => &FamilySpec {
                family: Self::Sd,
                name: "Stable Diffusion 1.x or 2.x",
                required: &[Role::TextEncoder, Role::UNet, Role::VaeDecoder],
                optional: &[Role::VaeEncoder, Role::SafetyChecker],
                tokenizers: &["tokenizer"],
                scheduler: "scheduler",
                feature_extractor: "feature_extractor",
            },
        }
    }
}
