//! Stable Diffusion on any machine: what the command line and every other client of Smelt share.
//!
//! [`open`] finds a model, [`Opened`] converts, compresses and loads it, and a [`Pipeline`] draws.
//!
//! ```no_run
//! use smelt::{Compression, Conversion, PipelineOptions, Request, Unwatched};
//!
//! # fn main() -> Result<(), smelt::Error> {
//! smelt::open("stable-diffusion-v1-5")?.convert("packages", &Conversion::default(), &mut Unwatched)?;
//! smelt::open("packages")?.compress("small", &Compression::palettes(6), &mut Unwatched)?;
//! let mut pipeline = smelt::open("small")?.pipeline(&PipelineOptions::default())?;
//! let drawing = pipeline.draw(&Request::new("a lighthouse in a storm"), &mut Unwatched)?;
//! drawing.pictures[0].save("lighthouse.png")?;
//! # Ok(())
//! # }
//! ```
//!
//! - What is asked for is data: [`Request`], [`Conversion`], [`Compression`], [`Quantization`], [`Calibration`], [`Chunking`],
//!   [`Verification`], [`Execution`], and an [`EngineSpec`] for what executes models. Options without effect are refused.
//! - What came of it is data too, with the fields that `--json` has: [`ConversionReport`] and its like.
//! - Whoever looks on gives a [`Watch`], which hears of progress and warnings, and may stop the work.
//! - Every refusal comes before any work, and files appear whole or not at all.
//!
//! `examples` has a short program for each way to draw:
//!
//! | example | what it draws |
//! |---|---|
//! | `draw` | the whole way: converts, compresses, draws |
//! | `text_to_image` | a picture from words |
//! | `image_to_image` | on from a picture |
//! | `inpaint`, `outpaint` | what a mask leaves open; more beside a picture |
//! | `edit` | a picture, changed as an instruction says (InstructPix2Pix) |
//! | `controlnet` | what the edges of a picture guide |
//! | `xl_with_refiner` | with Stable Diffusion XL, whose refiner takes the last steps |
//! | `sd3` | with Stable Diffusion 3 or 3.5 |
//! | `few_steps` | in four steps, with LCM or its LoRA |
//! | `small_decoder` | decoded by a TAESD |
//!
//! What it deliberately does not do: read arguments, print, or know of a terminal.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails by panicking"))]

mod analyse;
mod analysis;
mod archive;
pub mod bench;
mod bundle;
mod bundle_form;
mod calibrate;
mod chunk;
mod compile;
mod compress;
mod convert;
mod core_ml;
pub mod demo;
pub mod doctor;
mod embeddings;
mod engine;
mod error;
mod file;
mod fit;
mod half_precision;
pub mod hashes;
mod hires;
mod hub;
pub mod inspect;
mod like;
mod load;
mod loras;
mod machine;
pub mod metadata;
mod model_dir;
mod named;
mod networks;
mod open;
mod owner;
mod package;
mod picture;
mod pipeline;
mod preview;
pub mod prompt;
mod quantize;
mod recipe;
mod recommended;
mod report;
mod request;
mod request_file;
mod run;
mod settings;
pub mod sheet;
mod side_by_side;
mod size;
mod source_file;
mod start;
mod step;
pub mod tensor_file;
mod units;
mod upscale;
mod vary;
mod verify;
pub mod watch;
mod weights_report;
mod wildcards;

pub use analyse::{Analysing, AnalysisReport, MergedAnalysis, merge as merge_analyses};
pub use analysis::{AnalysedWeight, Analysis, AnalysisInputs, Choice, InputSource, Shard};
pub use bundle_form::BundleForm;
pub use calibrate::{
    Calibration, CalibrationAbout, CalibrationBatch, CalibrationBatches, CalibrationData, CalibrationInput,
    CalibrationReport, PromptSet,
};
pub use chunk::{ChunkForm, Chunking, Cut};
pub use compile::{CompileReport, CompiledModel, Compiling, compiled_here};
pub use compress::{CalibratedBy, Compression, CompressionPlan, SAMPLES_OF_LARGE};
pub use convert::{Conversion, ConversionPlan};
pub use core_ml::{DeviceFacts, OperationFacts, PlanFacts};
pub use embeddings::{EmbeddingAsked, Embeddings, Word};
pub use engine::{
    DEVICES, Device, ENGINES, EngineKind, EngineSpec, LOW_VAE_MEMORY, Names, USUAL_VAE_MEMORY, WEIGHT_FORMS,
};
pub use error::Error;
pub use file::{read_picture, read_picture_with_alpha};
pub use half_precision::Overflow;
pub use hires::{Enlarge, Hires, HiresSize, PictureFilter};
pub use host_tensor::{DType, HostTensor, Stop};
pub use hub::{Download, Downloaded, DownloadedFile, cached_models};
pub use like::{Like, LikeGiven};
pub use load::PipelineOptions;
pub use loras::{LoraAsked, Loras, Strength as LoraStrength};
pub use mlpackage::Package;
pub use model_dir::{files, holds_compiled, packages};
pub use open::{Averages, Opened, Opening, Prediction, Source, open, open_checkpoint};
pub use package::{LARGE, open_package};
pub use picture::Picture;
pub use pipeline::Pipeline;
pub use quantize::{Quantization, QuantizationPlan, QuantizationReport, QuantizedLayer};
pub use recipe::{Choosing, Goal, Recipe, RecipeRequest, Recipes};
pub use recommended::Recommended;
pub use report::{
    ArchiveReport, BundleReport, CalibrationUse, ChoiceReport, ChunkReport, CompressedPackage, CompressionReport,
    ConversionReport, ConvertedPackage, Part,
};
pub use request::{Control, Drawing, REFINER_START, Request};
pub use request_file::RequestFile;
pub use run::{Execution, Prepared, TensorSummary};
pub use safe_files::Existing;
pub use sd_convert::half::CHECK_SIZE;
pub use sd_convert::{AttentionLayout, Batch, LatentSize, Precision, Role, Target};
pub use sd_engines::{Precision as ComputePrecision, Rounding, WeightForm};
pub use sd_runtime::Tensors;
pub use sd_runtime::pipeline::{
    Blocks, Conditions, ControlPicture, Corner, Embedded, Forecasting, GuidanceInterval, LatentFilter, Preprocess,
    Seeds, SkipLayers, Variation,
};
pub use sd_runtime::prompt::Emphasis;
pub use sd_runtime::rng::RandomKind;
pub use sd_runtime::scheduler::{Sampler, SchedulerKind, Spread};
pub use side_by_side::{ComparedComponent, ComparedPicture, SideBySide, SideBySideReport};
pub use size::{LatentArg, PictureSize, Sizes};
pub use start::{Start, StartMask};
pub use step::Step;
pub use units::{bytes, count, decibels, parse_bytes, seconds};
pub use upscale::{Enlargement, Original, Upscaled, Upscaler, UpscalerOptions};
pub use vary::{Axis, AxisValue, SeedList, Variations, Varied};
pub use verify::{At, HalfOutput, Look, NotFinite, Verdict, Verification, VerifiedHalf, VerifiedOutput, VerifyReport};
pub use watch::{Event, Progress, Unit, Unwatched, Watch};
pub use weights_report::{Format as ReportFormat, Summary as WeightSummary, Weight as WeightReport};
pub use wildcards::{Wildcards, prompt_lines};

/// Pictures.
pub mod image {
    pub use sd_runtime::image::{
        Border, Canny, Difference, Filter, Fit, GreyImage, Mask, PictureFormat, PngText, Region, RgbImage, Similarity,
        Size,
    };
}

/// Streams of random numbers, for whoever brings one along.
pub mod random {
    pub use sd_runtime::rng::{DrawOrder, NumpyRandom, NvidiaRandom, RandomKind, RandomSource, TorchRandom};
}

/// Which weights are compressed, and how.
pub mod compression {
    pub use mil_compress::{
        Blocks, Config, Named, PaletteGroups, PaletteMode, Palettize, Prune, Quantize, RangeRule, Scheme, UnknownScheme,
    };
    pub use sd_convert::quantize::Goal;
}

/// Name and version, as pictures' settings have them.
pub const SOFTWARE: &str = concat!("smelt ", env!("CARGO_PKG_VERSION"));
