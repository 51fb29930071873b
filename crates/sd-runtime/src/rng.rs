//! Random sources that give the same noise as the tools people compare pictures with.
//!
//! A [`RandomSource`] is a stream: every call draws one tensor, and the next call continues.
//! The order and number of calls matter (PyTorch's generator draws a tensor of 15 values otherwise than one of 16), so callers draw whole tensors, never single values.
//! Nothing here is meant for cryptography.

mod generator;
mod kind;
mod lane;
mod mt19937;
mod numpy;
mod nvidia;
mod pcg64;
mod torch;
mod ziggurat;

pub use generator::NumpyGenerator;
pub use kind::RandomKind;
pub(crate) use lane::Lane;
pub use numpy::NumpyRandom;
pub use nvidia::NvidiaRandom;
pub use torch::{TorchRandom, TorchType};

use host_tensor::f16_from_f64;

/// In which order a tool draws what a picture needs, where it begins with another picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DrawOrder {
    /// Apple's pipelines: the noise of all pictures, then the encoder's for the picture to begin with.
    NoiseFirst,
    /// diffusers: the encoder's, then the noise of all pictures.
    EncoderFirst,
}

/// A stream of standard normal draws.
pub trait RandomSource {
    /// Draws the next tensor of `n` standard normal values, row major.
    fn normals(&mut self, n: usize) -> Vec<f64>;

    /// The next tensor, rounded to f32.
    fn normals_f32(&mut self, n: usize) -> Vec<f32> {
        self.normals(n).into_iter().map(|x| x as f32).collect()
    }

    /// The next tensor, rounded once to f16 and widened to f32.
    ///
    /// Stable Diffusion's Core ML pipelines start from latents of this precision.
    fn normals_f16(&mut self, n: usize) -> Vec<f32> {
        self.normals(n).into_iter().map(|x| f16_from_f64(x).to_f32()).collect()
    }

    /// The next tensor as start of a picture, in the precision of the tool that this source stands for: f32 unless it says otherwise.
    fn latents(&mut self, n: usize) -> Vec<f32> {
        self.normals_f32(n)
    }

    /// The order of the tool that this source stands for.
    fn order(&self) -> DrawOrder {
        DrawOrder::EncoderFirst
    }

    /// A copy that stands where this one stands.
    fn boxed_clone(&self) -> Box<dyn RandomSource>;
}
