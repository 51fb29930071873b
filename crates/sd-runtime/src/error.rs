//! The one error type of this crate.
//!
//! Every variant carries the facts that a user needs to act on it.
//! Failures inside an [`Engine`](crate::Engine) keep their own type as a boxed source.

use crate::engine::EngineError;

/// What can go wrong between a prompt and a picture.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RuntimeError {
    /// A file of the checkpoint that could not be read, or is not what its name says.
    #[error(transparent)]
    File(#[from] safe_files::ReadError),
    /// JSON that does not parse, or parses to something else than the configuration asked for.
    #[error("{what}: {source}")]
    Json {
        /// Which document: a path or a role.
        what: String,
        /// The parser's reason, with line and column.
        source: serde_json::Error,
    },
    /// A value of a configuration that is not implemented.
    #[error(
        "{document}: {} {} is not implemented, only {}",
        refusal.key, refusal.value, all_of(refusal.supported)
    )]
    Refused {
        /// Which document: a file's name or a role.
        document: String,
        /// The key and its value.
        refusal: Box<sd_spec::keys::Refusal>,
    },
    /// A scheduler configuration that contradicts itself or is out of range.
    #[error("scheduler configuration: {0}")]
    SchedulerConfig(String),
    /// A scheduler, or an option of one, that is not implemented.
    #[error("{scheduler} does not support {option}; {next}")]
    SchedulerUnsupported {
        /// The scheduler's diffusers class name.
        scheduler: &'static str,
        /// The option and its value, and the values that are supported.
        option: String,
        /// Why it matters, or what to do.
        next: String,
    },
    /// A scheduler class that is not implemented at all.
    #[error("scheduler {class} is not implemented; {advice}")]
    UnknownScheduler {
        /// The class, or the name that was given.
        class: String,
        /// What to take in its place.
        advice: String,
    },
    /// A configuration that names no scheduler class.
    #[error(
        "scheduler_config.json has no _class_name, so nothing says which scheduler to take; choose {names} by name"
    )]
    NoScheduler {
        /// Those to choose from.
        names: String,
    },
    /// A number of steps that the noise schedule cannot be divided into.
    #[error("{steps} steps asked for; between 1 and {max} are possible")]
    StepCount {
        /// The number asked for.
        steps: usize,
        /// The number of training time steps.
        max: usize,
    },
    /// A time step beyond the training schedule.
    #[error("time step {timestep} of {steps} steps lies outside the {train} training steps (steps_offset {offset})")]
    TimestepRange {
        /// The time step.
        timestep: i64,
        /// The number of inference steps.
        steps: usize,
        /// The number of training time steps.
        train: usize,
        /// The offset that the configuration adds.
        offset: i64,
    },
    /// Steps must be taken once each, in order: multistep solvers remember earlier outputs.
    #[error("scheduler step {got} taken where step {expected} of {count} was due")]
    StepOrder {
        /// The index that was due.
        expected: usize,
        /// The index that was given.
        got: usize,
        /// How many steps there are.
        count: usize,
    },
    /// The model's output and the sample differ in length.
    #[error("model output has {output} elements, the sample {sample}")]
    StepLength {
        /// Elements of the model output.
        output: usize,
        /// Elements of the sample.
        sample: usize,
    },
    /// Tokenizer files that are missing, malformed or not CLIP's.
    #[error("tokenizer: {0}")]
    Tokenizer(String),
    /// A model could not be loaded or run.
    #[error("{model}: {source}")]
    Engine {
        /// The model's role: `text_encoder`, `unet`, `vae_decoder`, `safety_checker`.
        model: &'static str,
        /// The engine's or the loader's own error.
        #[source]
        source: EngineError,
    },
    /// A model's signature does not fit the pipeline.
    #[error("{model}: {reason}")]
    Signature {
        /// The model's role.
        model: &'static str,
        /// What was expected and what is there.
        reason: String,
    },
    /// A prompt with something that its language has no meaning for.
    #[error("the prompt cannot be read: {0}")]
    Prompt(String),
    /// An option of the request that cannot be honoured.
    #[error("{0}")]
    Options(String),
    /// The progress callback asked to stop, or the run's flag was set.
    #[error("stopped after step {step} of {count}")]
    Stopped {
        /// Steps finished.
        step: usize,
        /// Steps planned.
        count: usize,
    },
    /// Pixels whose number does not fit the picture's size.
    #[error("a picture of {width}x{height} needs {expected} bytes of RGB, not {got}")]
    ImageSize {
        /// Pixels per row.
        width: usize,
        /// Rows.
        height: usize,
        /// Bytes needed.
        expected: usize,
        /// Bytes given.
        got: usize,
    },
    /// A picture could not be read.
    #[error("cannot read the picture: {0}; PNG, JPEG and WebP are understood")]
    ImageRead(#[from] image::ImageError),
    /// A picture could not be written.
    #[error("cannot write the picture: {0}")]
    ImageWrite(#[source] image::ImageError),
    /// Two pictures of different sizes, where pixels were to be compared.
    #[error("pictures of {}x{} and {}x{} cannot be compared pixel by pixel", a.0, a.1, b.0, b.1)]
    ImageSizes {
        /// Width and height of one.
        a: (usize, usize),
        /// Width and height of the other.
        b: (usize, usize),
    },
    /// A PNG could not be written.
    #[error("cannot write PNG: {0}")]
    PngWrite(#[from] png::EncodingError),
    /// A PNG could not be read.
    #[error("cannot read PNG: {0}")]
    PngRead(#[from] png::DecodingError),
}

/// This crate's results.
pub type Result<T, E = RuntimeError> = std::result::Result<T, E>;

/// A list in words: `a`, `a and b`, `a, b and c`.
fn all_of(items: &[&str]) -> String {
    match items {
        [first @ .., last] if !first.is_empty() => format!("{} and {last}", first.join(", ")),
        items => items.concat(),
    }
}
