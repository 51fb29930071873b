//! What `build.rs` wrote.

use std::path::{Path, PathBuf};

/// Includes the code of a model.
macro_rules! model {
    ($name:ident) => {
        #[allow(warnings, clippy::all, clippy::pedantic, reason = "generated")]
        pub(crate) mod $name {
            include!(concat!(env!("OUT_DIR"), "/models/", stringify!($name), ".rs"));
        }
    };
}

model!(classifier);
model!(vae_decoder);

/// The file with a model's weights.
pub(crate) fn weights(name: &str) -> PathBuf {
    Path::new(env!("OUT_DIR")).join("models").join(name).with_extension("bpk")
}
