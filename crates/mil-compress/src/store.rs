//! Where compressed tensors go while the rest is still being compressed.

use host_tensor::HostTensor;
use std::convert::Infallible;

/// Takes tensors one after another, and gives them back when all are there.
///
/// A writer of files keeps none of them in memory.
pub trait Store {
    /// What can go wrong.
    type Error;

    /// Takes a tensor.
    ///
    /// # Errors
    /// When it cannot be kept.
    fn put(&mut self, tensor: HostTensor) -> Result<(), Self::Error>;

    /// All tensors, in the order in which they came; nothing is put afterwards.
    ///
    /// # Errors
    /// When they cannot be had back.
    fn take(&mut self) -> Result<Vec<HostTensor>, Self::Error>;
}

/// Keeps all tensors in memory.
#[derive(Debug, Default)]
pub struct Memory(Vec<HostTensor>);

impl Store for Memory {
    type Error = Infallible;

    fn put(&mut self, tensor: HostTensor) -> Result<(), Infallible> {
        self.0.push(tensor);
        Ok(())
    }

    fn take(&mut self) -> Result<Vec<HostTensor>, Infallible> {
        Ok(std::mem::take(&mut self.0))
    }
}
