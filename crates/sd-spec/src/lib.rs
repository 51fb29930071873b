//! What Stable Diffusion checkpoints say and what their networks do, as data.
//!
//! A [`Role`] is what a network does in a pipeline, with the features that its model takes and gives; a [`Family`] is the
//! roles that draw together; [`keys`] answers every key of every configuration: it is followed, it has no effect and why, or
//! values of it are refused.
//! Readers stay with whoever builds something from the values; here stands what is true of all of them, once.
//!
//! ```
//! use sd_spec::{Axis, Dims, Role};
//! let unet = Role::UNet.spec();
//! let dims = Dims::new()
//!     .with(Axis::Batch, 2)
//!     .with(Axis::SampleChannels, 4)
//!     .with(Axis::LatentHeight, 64)
//!     .with(Axis::LatentWidth, 96);
//! assert_eq!(dims.shape(&unet.inputs[0]), Ok(vec![2, 4, 64, 96]));
//! assert_eq!(Role::of_inputs(["z"]), [Role::VaeDecoder]);
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails by panicking"))]

pub mod bundle;
pub mod clip_tokenizer;
pub mod family;
pub mod feature;
pub mod keys;
pub mod model;
pub mod role;
mod roles;

pub use family::{Family, FamilySpec};
pub use feature::{Axis, Dims, Draw, FeatureSpec, Kind, Misfit, Presence, TextState};
pub use model::{Feature, ModelShape};
pub use role::{Bundled, Compression, Layout, PackageName, Role, RoleSpec, Stage};
pub use roles::{input, steady_inputs};
