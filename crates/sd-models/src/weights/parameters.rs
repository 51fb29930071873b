//! Reads the parameters off a module: path, shape, key in the checkpoint, relation of the bytes.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Bool, Int, Tensor};

/// How the bytes of a parameter relate to those of its tensor in the checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ByteRelation {
    /// The same bytes, row major, in the same shape up to trailing ones.
    Identical,
    /// The checkpoint has the matrix transposed: parameter `[i, o]` is tensor `[o, i]`.
    Transposed,
}

/// One parameter of a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Field names from the module's root, joined by dots, as Burn's visitors see them.
    pub path: String,
    /// The key under which a checkpoint holds it.
    pub key: String,
    /// The parameter's shape in the module.
    pub shape: Vec<usize>,
    /// How the checkpoint's bytes become the parameter's.
    pub relation: ByteRelation,
}

impl Parameter {
    /// The shape that the checkpoint's tensor has, trailing ones aside.
    #[must_use]
    pub fn stored_shape(&self) -> Vec<usize> {
        let mut shape = self.shape.clone();
        if self.relation == ByteRelation::Transposed {
            shape.reverse();
        }
        shape
    }

    /// Whether a tensor of this shape holds the parameter.
    #[must_use]
    pub fn accepts(&self, shape: &[usize]) -> bool {
        without_trailing_ones(shape, self.shape.len()) == self.stored_shape()
    }
}

/// `shape` without the trailing ones beyond `rank` entries.
fn without_trailing_ones(shape: &[usize], rank: usize) -> &[usize] {
    match shape.split_at_checked(rank) {
        Some((head, tail)) if tail.iter().all(|n| *n == 1) => head,
        _ => shape,
    }
}

/// Every parameter of `module` in the order of its fields; initialises none of them.
pub fn parameters<M: Module>(module: &M) -> Vec<Parameter> {
    let mut visitor = ParameterVisitor::default();
    module.visit(&mut visitor);
    visitor.parameters
}

#[derive(Default)]
struct ParameterVisitor {
    parameters: Vec<Parameter>,
    /// Field names from the root to here.
    path: Vec<String>,
    /// The type that holds each of those fields, as Burn's derive names it.
    holders: Vec<String>,
}

impl ParameterVisitor {
    fn push(&mut self, shape: Vec<usize>) {
        let path = self.path.join(".");
        let field = self.path.last().map_or("", String::as_str);
        let holder = self.holders.last().map_or("", String::as_str);
        let key = match (holder, field) {
            ("Struct:GroupNorm" | "Struct:LayerNorm" | "Struct:RmsNorm", "gamma") => self.sibling("weight"),
            ("Struct:GroupNorm" | "Struct:LayerNorm", "beta") => self.sibling("bias"),
            _ => path.clone(),
        };
        let relation = match (holder, field) {
            ("Struct:Linear", "weight") => ByteRelation::Transposed,
            _ => ByteRelation::Identical,
        };
        self.parameters.push(Parameter { path, key, shape, relation });
    }

    /// The current path with another last field.
    fn sibling(&self, field: &str) -> String {
        let parents = &self.path[..self.path.len().saturating_sub(1)];
        let names = parents.iter().map(String::as_str).chain([field]);
        names.collect::<Vec<_>>().join(".")
    }
}

impl ModuleVisitor for ParameterVisitor {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.push(param.lazy_shape().to_vec());
    }

    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
        self.push(param.lazy_shape().to_vec());
    }

    fn visit_bool<const D: usize>(&mut self, param: &Param<Tensor<D, Bool>>) {
        self.push(param.lazy_shape().to_vec());
    }

    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.push(name.to_owned());
        self.holders.push(container_type.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
        self.holders.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn linear_weight() -> Parameter {
        Parameter {
            path: "proj_in.weight".into(),
            key: "proj_in.weight".into(),
            shape: vec![3, 5],
            relation: ByteRelation::Transposed,
        }
    }

    #[test]
    fn linear_weight_is_found_transposed_and_as_pointwise_convolution() {
        assert!(linear_weight().accepts(&[5, 3]));
        assert!(linear_weight().accepts(&[5, 3, 1, 1]));
        assert!(!linear_weight().accepts(&[3, 5]));
        assert!(!linear_weight().accepts(&[5, 3, 3, 3]));
        assert!(!linear_weight().accepts(&[15]));
    }
}
