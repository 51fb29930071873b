//! Why a model cannot be made ready, or run.

/// What went wrong with a model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The package could not be read.
    #[error(transparent)]
    Package(#[from] mlpackage::Error),
    /// The program breaks rules of MIL, or has operations that are not implemented.
    #[error("{}", .0.summary())]
    Invalid(mil::Faults),
    /// The program cannot be prepared or run.
    #[error(transparent)]
    Run(#[from] mil_engine::EngineError),
    /// A stage of a pipeline cannot be made ready.
    #[error("{stage}: {source}")]
    Stage {
        /// The stage's name.
        stage: String,
        /// What is wrong with it.
        source: Box<EngineError>,
    },
    /// A function was asked for by name, of a pipeline, which has none.
    #[error("a pipeline of models has no function {0:?}")]
    PipelineFunction(String),
    /// A function was asked for that the model has not.
    #[error("the model has no function {0:?}")]
    NoFunction(String),
    /// Samples of a batch cannot be told apart in the program.
    #[error("the model cannot be cut to one sample: {0}")]
    OneSample(mil::pass::PassError),
    /// An input cannot be made longer in the program.
    #[error("the model cannot be made longer: {0}")]
    Longer(mil::pass::PassError),
    /// The causal mask of the program cannot be made an input.
    #[error("the model cannot be given a mask: {0}")]
    Masked(mil::pass::PassError),
    /// The models of a pipeline do not fit together, or one of them failed.
    #[error(transparent)]
    Chain(#[from] crate::ChainError),
}
