//! Which recorded tensor is which parameter.

use std::collections::HashMap;
use std::sync::Arc;

use burn::backend::capture::{CaptureBackend, TensorId};
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Bool, Int, Tensor};

/// Paths of a module's parameters by the ids that the capture gave them.
pub(crate) type ParameterPaths = HashMap<TensorId, Arc<str>>;

/// Reads the ids off a module on the capture device; must run inside the capture scope, because it
/// initialises the parameters that `forward` has not touched.
pub(crate) fn parameter_paths<M: Module>(module: &M) -> ParameterPaths {
    let mut visitor = PathVisitor::default();
    module.visit(&mut visitor);
    visitor.paths
}

#[derive(Default)]
struct PathVisitor {
    paths: ParameterPaths,
    path: Vec<String>,
}

impl PathVisitor {
    fn add(&mut self, id: TensorId) {
        self.paths.insert(id, self.path.join(".").into());
    }
}

impl ModuleVisitor for PathVisitor {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Ok(primitive) = param.val().try_into_primitive::<CaptureBackend>() {
            self.add(primitive.id());
        }
    }

    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
        if let Ok(primitive) = param.val().try_into_primitive::<CaptureBackend>() {
            self.add(primitive.id());
        }
    }

    fn visit_bool<const D: usize>(&mut self, param: &Param<Tensor<D, Bool>>) {
        if let Ok(primitive) = param.val().try_into_primitive::<CaptureBackend>() {
            self.add(primitive.id());
        }
    }

    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }
}
