//! From a recipe to a program: the network is recorded on the features of its role.

use super::{Recipe, inner_dtype};
use burn::tensor::{Int, Tensor};
use burn_mil::{Inputs, LowerError, Lowering, Outputs};
use mil::{Function, Opset};
use sd_models::{Features, ModelError, Network, WithNetwork, weights::Binding};
use std::{cell::RefCell, collections::HashMap};

use sd_checkpoint::Weights;

/// Why a network has no program.
pub(crate) enum Failure {
    /// The checkpoint's tensors are not the network's.
    Model(ModelError),
    /// The network could not be lowered.
    Lower(LowerError),
}

/// Records the recipe's network and lowers it, with the weights as views.
pub(crate) fn lower(recipe: &Recipe, weights: &Weights, opset: Opset) -> Result<Function, Failure> {
    recipe.network.with(Lower { recipe, weights, opset })
}

struct Lower<'a> {
    recipe: &'a Recipe,
    weights: &'a Weights,
    opset: Opset,
}

impl WithNetwork for Lower<'_> {
    type Output = Result<Function, Failure>;

    fn run<N: Network>(self, config: &N::Config) -> Self::Output {
        let Self { recipe, weights, opset } = self;
        let lowering = recipe
            .inputs
            .iter()
            .fold(Lowering::new("main", opset), |l, f| l.input(&f.name, inner_dtype(f.spec), &f.shape));
        let bound: RefCell<Result<HashMap<String, Binding>, ModelError>> = RefCell::new(Ok(HashMap::new()));
        let lowered = lowering.lower(
            |device| {
                let module = N::init(config, device);
                *bound.borrow_mut() = bind(&module, weights);
                module
            },
            |path| weights.parameter(bound.borrow().as_ref().ok()?.get(path)?),
            |module, inputs| {
                let mut features = Recorded { recipe, inputs, outputs: Outputs::new() };
                module.call(&mut features)?;
                Ok(features.outputs)
            },
        );
        // A tensor that is missing is better said by the load report than by whoever trips over it first.
        bound.into_inner().map_err(Failure::Model)?;
        lowered.map_err(Failure::Lower)
    }
}

/// Features of a recording.
struct Recorded<'a> {
    recipe: &'a Recipe,
    inputs: &'a Inputs<'a>,
    outputs: Outputs,
}

impl Features for Recorded<'_> {
    type Error = LowerError;

    fn has(&self, name: &str) -> bool {
        self.recipe.inputs.iter().chain(&self.recipe.outputs).any(|feature| feature.name == name)
    }

    fn real<const D: usize>(&mut self, name: &str) -> Result<Tensor<D>, LowerError> {
        self.inputs.float(name)
    }

    /// Which ids come is not known while recording.
    fn ids<const D: usize>(&mut self, name: &str, _limit: usize) -> Result<Tensor<D, Int>, LowerError> {
        self.inputs.int(name)
    }

    fn give<const D: usize>(&mut self, name: &str, tensor: Tensor<D>) -> Result<(), LowerError> {
        self.outputs = std::mem::take(&mut self.outputs).float(name, tensor)?;
        Ok(())
    }
}

/// The network's parameters by path; anything missing, unused or of another shape in the checkpoint is an error.
fn bind(module: &impl Network, weights: &Weights) -> Result<HashMap<String, Binding>, ModelError> {
    let bindings = module.load_report(weights.contents()).into_bindings()?;
    Ok(bindings.into_iter().map(|b| (b.path.clone(), b)).collect())
}
