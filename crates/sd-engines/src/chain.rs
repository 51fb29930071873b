//! Several models as one, whatever executes them: Core ML pipelines, and models that were cut into chunks.
//!
//! A feature flows to every later model that reads its name. What no later model reads is an output of the whole.

use std::collections::BTreeSet;
use std::fmt;

use host_tensor::Stop;
use sd_runtime::{Engine, Feature, Signature, Tensors};

/// Why models are no chain, or a chain does not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// There is no model at all.
    #[error("the pipeline holds no model")]
    NoStage,
    /// A stage reads what neither the caller nor an earlier stage gives in that form.
    #[error("{stage} reads {feature} as {wanted}, but an earlier model gives it as {given}")]
    StageInput {
        /// The stage that reads.
        stage: String,
        /// The feature.
        feature: String,
        /// What the stage declares.
        wanted: String,
        /// What is there.
        given: String,
    },
    /// An input was given that no stage reads.
    #[error("there is no input {name}; the function takes {expected:?}")]
    UnexpectedInput {
        /// Its name.
        name: String,
        /// Names of all inputs.
        expected: Vec<String>,
    },
    /// A stage failed, or was stopped.
    #[error("{stage}: {source}")]
    Stage {
        /// The stage's name.
        stage: String,
        /// The engine's own error.
        source: sd_runtime::EngineError,
    },
}

/// Models that run one after another as one.
///
/// ```
/// use sd_engines::Chain;
/// use sd_runtime::Engine;
///
/// // The chunks of a model, by whatever engine loaded each of them.
/// fn whole(chunks: Vec<(String, Box<dyn Engine>)>) -> Result<Box<dyn Engine>, sd_runtime::EngineError> {
///     Ok(Box::new(Chain::new(chunks)?))
/// }
/// assert_eq!(whole(Vec::new()).err().unwrap().to_string(), "the pipeline holds no model");
/// ```
pub struct Chain<E> {
    stages: Vec<(String, E)>,
    signature: Signature,
}

impl<E> fmt::Debug for Chain<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.stages.iter().map(|(name, _)| &**name).collect();
        f.debug_struct("Chain").field("stages", &names).field("signature", &self.signature).finish()
    }
}

impl<E: Engine> Chain<E> {
    /// Joins models, with their names for messages, in the order in which they run.
    ///
    /// # Errors
    /// When there is none, or a later one reads a feature otherwise than an earlier one gives it.
    pub fn new(models: impl IntoIterator<Item = (String, E)>) -> Result<Self, ChainError> {
        let stages: Vec<(String, E)> = models.into_iter().collect();
        let signature = join(stages.iter().map(|(name, engine)| (&**name, engine.signature())))?;
        Ok(Self { stages, signature })
    }
}

impl<E: Engine> Engine for Chain<E> {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn run(&mut self, inputs: &Tensors, stop: &Stop) -> Result<Tensors, sd_runtime::EngineError> {
        let mut flow = Flow::new(&self.signature, inputs)?;
        for (name, engine) in &mut self.stages {
            let own = flow.inputs_of(engine.signature());
            flow.goes_on(name, engine.run(&own, stop))?;
        }
        Ok(flow.outputs())
    }
}

/// What a chain takes from its caller, and what it gives: outputs that no later stage reads.
///
/// # Errors
/// As [`Chain::new`].
pub(crate) fn join<'a>(stages: impl IntoIterator<Item = (&'a str, &'a Signature)>) -> Result<Signature, ChainError> {
    let mut inputs: Vec<Feature> = Vec::new();
    let mut given: Vec<Feature> = Vec::new();
    let mut read = BTreeSet::new();
    let mut stages = stages.into_iter().peekable();
    if stages.peek().is_none() {
        return Err(ChainError::NoStage);
    }
    for (name, signature) in stages {
        for wanted in &signature.inputs {
            let earlier = given.iter().rev().chain(&inputs).find(|f| f.name == wanted.name);
            match earlier {
                Some(earlier) => check_flow(name, wanted, earlier)?,
                None => inputs.push(wanted.clone()),
            }
            read.insert(wanted.name.clone());
        }
        for output in &signature.outputs {
            given.retain(|f| f.name != output.name);
            read.remove(&output.name);
            given.push(output.clone());
        }
    }
    given.retain(|f| !read.contains(&f.name));
    Ok(Signature { inputs, outputs: given })
}

/// Shapes must agree where both are declared; element types are converted.
fn check_flow(stage: &str, wanted: &Feature, given: &Feature) -> Result<(), ChainError> {
    let known = wanted.shape.dims().zip(given.shape.dims());
    if known.is_none_or(|(wanted, given)| wanted == given) {
        return Ok(());
    }
    let show = |f: &Feature| format!("{} {}", f.dtype, f.shape);
    Err(ChainError::StageInput {
        stage: stage.to_owned(),
        feature: wanted.name.clone(),
        wanted: show(wanted),
        given: show(given),
    })
}

/// Features on their way through the stages of one run.
#[derive(Debug)]
pub(crate) struct Flow<'a> {
    whole: &'a Signature,
    given: &'a Tensors,
    /// What stages have made.
    made: Tensors,
}

impl<'a> Flow<'a> {
    /// The inputs of a run.
    ///
    /// # Errors
    /// When one is given that no stage reads.
    pub(crate) fn new(whole: &'a Signature, given: &'a Tensors) -> Result<Self, ChainError> {
        match given.keys().find(|name| whole.input(name).is_none()) {
            None => Ok(Self { whole, given, made: Tensors::new() }),
            Some(name) => {
                let expected = whole.inputs.iter().map(|f| f.name.clone()).collect();
                Err(ChainError::UnexpectedInput { name: name.clone(), expected })
            }
        }
    }

    /// What a stage reads of what there is, the latest of each name; bytes are shared.
    pub(crate) fn inputs_of(&self, stage: &Signature) -> Tensors {
        let find = |name: &String| self.made.get(name).or_else(|| self.given.get(name)).cloned();
        stage.inputs.iter().filter_map(|f| Some((f.name.clone(), find(&f.name)?))).collect()
    }

    /// Takes what a stage gives.
    ///
    /// # Errors
    /// The stage's.
    pub(crate) fn goes_on<E: Into<sd_runtime::EngineError>>(
        &mut self,
        stage: &str,
        ran: Result<Tensors, E>,
    ) -> Result<(), ChainError> {
        let made = ran.map_err(|error| ChainError::Stage { stage: stage.to_owned(), source: error.into() })?;
        self.made.extend(made);
        Ok(())
    }

    /// What the chain gives when all stages have run.
    pub(crate) fn outputs(mut self) -> Tensors {
        self.made.retain(|name, _| self.whole.output(name).is_some());
        self.made
    }
}

#[cfg(test)]
mod tests {
    use host_tensor::{DType, HostTensor};

    use super::*;

    /// Adds a number to the sum of what it reads.
    struct Adds {
        signature: Signature,
        number: f32,
    }

    impl Engine for Adds {
        fn signature(&self) -> &Signature {
            &self.signature
        }

        fn run(&mut self, inputs: &Tensors, stop: &Stop) -> Result<Tensors, sd_runtime::EngineError> {
            if stop.is_set() {
                return Err("stopped".into());
            }
            let missing = self.signature.inputs.iter().find(|f| !inputs.contains_key(&f.name));
            if let Some(feature) = missing {
                return Err(format!("input {} is missing", feature.name).into());
            }
            let sum = inputs.values().map(|t| t.to_f32_vec()[0]).sum::<f32>() + self.number;
            let tensor = HostTensor::from_f32([1], vec![sum]);
            Ok(self.signature.outputs.iter().map(|f| (f.name.clone(), tensor.clone())).collect())
        }
    }

    fn adds(number: f32, reads: &[&str], gives: &str) -> Box<dyn Engine> {
        let feature = |name: &str| Feature::new(name, DType::F32, [1]);
        let inputs = reads.iter().map(|name| feature(name)).collect();
        Box::new(Adds { signature: Signature { inputs, outputs: vec![feature(gives)] }, number })
    }

    fn chain<const N: usize>(engines: [Box<dyn Engine>; N]) -> Result<Chain<Box<dyn Engine>>, ChainError> {
        Chain::new(["a", "b", "c"].map(str::to_owned).into_iter().zip(engines))
    }

    fn one(name: &str, value: f32) -> Tensors {
        Tensors::from([(name.to_owned(), HostTensor::from_f32([1], vec![value]))])
    }

    fn names(features: &[Feature]) -> Vec<&str> {
        features.iter().map(|f| &*f.name).collect()
    }

    #[test]
    fn features_flow_by_name_past_stages_that_do_not_read_them() {
        // "skip" is read by two later stages, and is no output.
        let engines = [adds(1.0, &["x"], "skip"), adds(10.0, &["skip"], "h"), adds(100.0, &["h", "skip"], "y")];
        let mut chain = chain(engines).unwrap();
        assert_eq!((names(&chain.signature().inputs), names(&chain.signature().outputs)), (vec!["x"], vec!["y"]));
        let outputs = chain.run(&one("x", 0.5), &Stop::never()).unwrap();
        assert_eq!(outputs.keys().collect::<Vec<_>>(), ["y"]);
        assert_eq!(outputs["y"].to_f32_vec(), [1.5 + 11.5 + 100.0]);
    }

    #[test]
    fn a_name_that_is_given_again_stands_for_the_later_feature() {
        let mut chain = chain([adds(1.0, &["x"], "x"), adds(10.0, &["x"], "y"), adds(5.0, &["y"], "x")]).unwrap();
        assert_eq!((names(&chain.signature().inputs), names(&chain.signature().outputs)), (vec!["x"], vec!["x"]));
        assert_eq!(chain.run(&one("x", 0.0), &Stop::never()).unwrap()["x"].to_f32_vec(), [16.0]);
    }

    #[test]
    fn stages_that_do_not_fit_are_refused_before_anything_runs() {
        let wide = Signature { inputs: vec![Feature::new("h", DType::F32, [3])], outputs: Vec::new() };
        let wide: Box<dyn Engine> = Box::new(Adds { signature: wide, number: 0.0 });
        let error = chain([adds(1.0, &["x"], "h"), wide]).unwrap_err();
        assert_eq!(error.to_string(), "b reads h as fp32 [3], but an earlier model gives it as fp32 [1]");
        assert!(matches!(chain([]), Err(ChainError::NoStage)));
    }

    #[test]
    fn errors_name_the_input_or_the_stage() {
        let mut chain = chain([adds(1.0, &["x"], "h"), adds(1.0, &["h", "t"], "y")]).unwrap();
        let mut fails = |inputs: &Tensors, stop: &Stop| chain.run(inputs, stop).unwrap_err().to_string();
        let unknown = fails(&one("z", 0.0), &Stop::never());
        assert_eq!(unknown, r#"there is no input z; the function takes ["x", "t"]"#);
        assert_eq!(fails(&one("x", 0.0), &Stop::never()), "b: input t is missing");
        let stop = Stop::new();
        stop.set();
        assert_eq!(fails(&one("x", 0.0), &stop), "a: stopped");
    }
}
