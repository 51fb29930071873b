//! Systems without Core ML: everything is refused by name.

use std::path::{Path, PathBuf};

use host_tensor::HostTensor;

use super::CoreMlError;
use super::options::CoreMlOptions;
use super::plan::PlannedOperation;
use super::runtime::{Buffer, Described, Runtime, Said};

/// No Core ML. Nothing below is reached, because [`Runtime::check`] comes first.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct System;

/// There is none.
#[derive(Debug)]
pub(super) enum Never {}

const ABSENT: &str = "Core ML is not here";

impl Runtime for System {
    type Model = Never;

    fn check(&self) -> Result<(), CoreMlError> {
        Err(CoreMlError::Absent)
    }

    fn system(&self) -> String {
        String::new()
    }

    fn compile(&self, _: &Path) -> Said<PathBuf> {
        Err(ABSENT.into())
    }

    fn load(&self, _: &Path, _: &CoreMlOptions) -> Said<Never> {
        Err(ABSENT.into())
    }

    fn describe(&self, model: &Never) -> Described {
        match *model {}
    }

    fn predict(
        &self,
        model: &mut Never,
        _: &[(&str, HostTensor)],
        _: &[&str],
        _: &mut dyn FnMut(&str, Buffer<'_>),
    ) -> Said<()> {
        match *model {}
    }

    fn plan(&self, _: &Path, _: &CoreMlOptions) -> Said<Vec<PlannedOperation>> {
        Err(ABSENT.into())
    }
}
