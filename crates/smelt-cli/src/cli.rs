//! The command line's grammar: what may be typed, and what it is called in the help.
//!
//! Nothing is read or decided here; names are turned into the types of the crates that do the work.

mod analyse;
mod calibrate;
mod control;
mod embedding;
mod examples;
mod generate;
mod goal;
mod hires;
mod like;
mod lora;
mod own;
mod preview;
mod quantize;
mod recipe;
mod report;
mod seed;
mod serve;
mod size;
mod skip_layers;
mod source;
mod start;
mod text;
mod tokens;
mod upscale;
mod vary;
mod xl;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use smelt::{
    AttentionLayout, Batch, BundleForm, DEVICES, Device, ENGINES, EngineKind, Existing, Precision, Role, Rounding,
    Source, Target,
};

use crate::engine_args::{EngineArgs, memory, named};
pub(crate) use analyse::{AnalyseArgs, Measure};
pub(crate) use calibrate::CalibrateArgs;
pub(crate) use examples::with_example;
pub(crate) use generate::GenerateArgs;
pub(crate) use goal::{GoalArgs, goal};
pub(crate) use own::{CompareArgs, CompletionsArgs, DoctorArgs, ManArgs, MetadataArgs};
pub(crate) use preview::PreviewArgs;
pub(crate) use quantize::QuantizeArgs;
pub(crate) use recipe::{RecipeArgs, RecipeForm};
pub(crate) use report::ReportArgs;
pub(crate) use seed::Seed;
pub(crate) use serve::{AppArgs, ServeArgs, ServedArgs};
pub(crate) use size::SizeArgs;
pub(crate) use source::{DownloadArgs, SourceArgs, source};
pub(crate) use start::StartArgs;
pub(crate) use tokens::TokensArgs;
pub(crate) use upscale::UpscaleArgs;
pub(crate) use vary::VaryArgs;

/// Turns Stable Diffusion checkpoints into Core ML packages, and runs them on any machine.
#[derive(Debug, Parser)]
#[command(name = "smelt", version, propagate_version = true, max_term_width = 110, after_help = examples::SMELT)]
pub(crate) struct Cli {
    /// Print one JSON object to standard output instead of text; generate prints one a line, as things happen.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// Reads the command line; a negative number is a value wherever a value is expected, never an unknown option.
    pub(crate) fn read(args: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let takes_numbers =
            |arg: clap::Arg| match arg.get_action().takes_values() && arg.get_num_args() != Some(0.into()) {
                true => arg.allow_negative_numbers(true),
                false => arg,
            };
        let command = Self::command().mut_subcommands(|sub| sub.mut_args(takes_numbers));
        Self::from_arg_matches(&command.try_get_matches_from(args)?)
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Convert a diffusers checkpoint to Core ML packages.
    Convert(Box<ConvertArgs>),
    /// Fetch a model from the Hugging Face Hub.
    Download(DownloadArgs),
    /// Draw a picture from a prompt.
    Generate(Box<GenerateArgs>),
    /// Run one package on tensors from a file.
    Run(RunArgs),
    /// Show what a package or a checkpoint holds.
    Inspect(InspectArgs),
    /// Compress the weights of a package, or of all packages in a directory.
    Compress(CompressArgs),
    /// Draw from prompts, and record what the denoiser is given: data to calibrate a compression with.
    Calibrate(Box<CalibrateArgs>),
    /// Measure what each way to store each weight costs at a model's outputs, for recipes of mixed bits.
    Analyse(Box<AnalyseArgs>),
    /// Give a package weights and activations of 8 bits, for systems that compute with integers.
    Quantize(QuantizeArgs),
    /// Make recipes of an analysis: which weight is stored how, for a size, a mean of bits or a quality.
    Recipe(RecipeArgs),
    /// Compile packages: make what Core ML loads, as Apple's compiler does on a Mac.
    Compile(CompileArgs),
    /// Cut a package into parts that run one after another.
    Chunk(ChunkArgs),
    /// Measure how fast packages run here, and how close that is to what the machine can do.
    Bench(BenchArgs),
    /// Compare a package with its checkpoint, or with another package, on random inputs.
    Verify(VerifyArgs),
    /// Compare two directories of packages, before and after a compression, on one page.
    Report(Box<ReportArgs>),
    /// Compare pictures, and put them side by side.
    Compare(CompareArgs),
    /// Tell what made pictures: the settings that tools write into them.
    Metadata(MetadataArgs),
    /// Count the tokens of a prompt, and show how it is read.
    Tokens(TokensArgs),
    /// Make pictures larger with an upscaler.
    Upscale(UpscaleArgs),
    /// Serve pictures to clients of AUTOMATIC1111 and OpenAI, to programs of your own, and a page to the browser.
    Serve(Box<ServeArgs>),
    /// Open the page in the browser, with the model in the box.
    App(Box<AppArgs>),
    /// Tell what this machine has, and what to choose for it.
    Doctor(DoctorArgs),
    /// Print a completion script for a shell.
    Completions(CompletionsArgs),
    /// Print the manual page, or write one for each command.
    Man(ManArgs),
}

/// `smelt convert`.
#[derive(Debug, Args)]
#[command(after_help = examples::CONVERT)]
pub(crate) struct ConvertArgs {
    /// The checkpoint: its directory in diffusers layout (the one with model_index.json), or one file (.safetensors, .ckpt) of
    /// Stable Diffusion 1.x, 2.x, XL, its refiner, 3 or 3.5; or a ControlNet, in either form; or a VAE in one file; or an
    /// upscaler (ESRGAN, Real-ESRGAN: .pth, .safetensors); or a file with the projection of a multilingual text path.
    #[arg(value_parser = source())]
    pub(crate) checkpoint: Source,
    /// Directory to write the packages to; made if it is not there.
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: PathBuf,
    /// Components to convert, separated by commas; default: all that the checkpoint has.
    #[arg(long = "component", value_name = "NAME,…", value_delimiter = ',', value_parser = role)]
    pub(crate) components: Vec<Role>,
    /// Layout of the UNet's attention: split-einsum for the Neural Engine, as by default, split-einsum-v2 for large
    /// pictures, original for GPU and CPU.
    #[arg(long, value_name = "LAYOUT", value_parser = attention)]
    pub(crate) attention: Option<AttentionLayout>,
    /// Several sizes, separated by commas, share their weights: in one package for macOS15, in one for each before.
    #[command(flatten)]
    pub(crate) sizes: SizeArgs,
    /// Number of text tokens that the UNet attends to; default: the text encoder's.
    #[arg(long, value_name = "N")]
    pub(crate) text_length: Option<usize>,
    #[command(flatten)]
    pub(crate) opening: SourceArgs,
    /// How many samples the UNet takes at a time: 2, prompt and negative prompt at once, as by default, 1, or 1,2 for
    /// both, which share their weights as several sizes do.
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    pub(crate) unet_batches: Vec<Batch>,
    /// The same as --unet-batches 1.
    #[arg(long)]
    pub(crate) unet_batch_one: bool,
    /// Convert the UNet as one that takes what ControlNets add, in the place of the plain one.
    #[arg(long)]
    pub(crate) unet_support_controlnet: bool,
    /// A ControlNet (its folder, the one with config.json, or its file) to convert too, for the checkpoint's sizes; repeatable.
    #[arg(long = "controlnet", value_name = "DIR", value_parser = source())]
    pub(crate) controlnets: Vec<Source>,
    /// A checkpoint of XL's refiner, whose UNet is converted too, for the checkpoint's sizes.
    #[arg(long, value_name = "DIR", value_parser = source())]
    pub(crate) refiner: Option<Source>,
    /// Oldest system to run on: macOS13, macOS14, macOS15, iOS16, iOS17 or iOS18.
    #[arg(long, value_name = "SYSTEM", default_value = "macOS13")]
    pub(crate) target: Target,
    /// Precision of weights and arithmetic: float16 or float32; default: float16, and float32 for a VAE's decoder or
    /// encoder whose results float16 cannot hold.
    #[arg(long, value_parser = precision)]
    pub(crate) precision: Option<Precision>,
    /// Name of the model in metadata and file names; default: the checkpoint directory's name.
    #[arg(long, value_name = "NAME")]
    pub(crate) model_version: Option<String>,
    /// Write the UNet in parts too, 2 or as many as told; they are what it is, compressed or not.
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "2", value_parser = clap::value_parser!(u16).range(2..))]
    pub(crate) chunk_unet: Option<u16>,
    /// Palettize CLIP text encoders, UNet and ControlNets to this many bits by k-means: 1, 2, 3 (macOS15), 4, 6 or 8.
    #[arg(long, value_name = "N")]
    pub(crate) quantize_nbits: Option<u8>,
    /// Make DIR/Resources, complete for Apple's Swift package, Mochi Diffusion and the Diffusers app, and nothing beside it: of
    /// compiled models, as by default, or of packages, with the command that compiles them on a Mac.
    #[arg(long, value_name = "FORM", num_args = 0..=1, require_equals = true, default_missing_value = "compiled", value_parser = bundle_form)]
    pub(crate) bundle: Option<BundleForm>,
    /// Write the bundle as an archive too, as repositories of the Hub have them: DIR/NAME_ATTENTION_compiled.zip.
    #[arg(long, requires = "bundle")]
    pub(crate) zip: bool,
    /// A setting that suits the model, for generate to take unless told otherwise: steps, guidance, scheduler or
    /// negative_prompt; repeatable. Default: what the checkpoint's own smelt.json says.
    #[arg(long = "recommend", value_name = "KEY=VALUE", value_parser = setting)]
    pub(crate) recommended: Vec<(String, String)>,
    /// Replace packages that are there already.
    #[arg(long)]
    pub(crate) force: bool,
}

/// `smelt chunk`.
#[derive(Debug, Args)]
#[command(after_help = examples::CHUNK)]
pub(crate) struct ChunkArgs {
    /// The package.
    pub(crate) package: PathBuf,
    /// Number of parts.
    #[arg(short, long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) n: u16,
    /// Into as few parts as there can be of which none takes more than this, model and weights together: 1.5GB, 900M.
    #[arg(long, value_name = "SIZE", value_parser = memory, conflicts_with = "n")]
    pub(crate) max_bytes: Option<u64>,
    /// Directory to write NAME_chunk1.mlpackage, NAME_chunk2.mlpackage and so on to.
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: PathBuf,
    /// Write one pipeline package NAME_chunked_pipeline.mlpackage instead, whose parts run as one model.
    #[arg(long)]
    pub(crate) pipeline: bool,
    /// Run the whole and the parts on random inputs, and compare them bit for bit before anything is written.
    #[arg(long)]
    pub(crate) check: bool,
    /// Replace packages that are there already.
    #[arg(long)]
    pub(crate) force: bool,
}

/// `smelt compress`.
#[derive(Debug, Args)]
#[command(after_help = examples::COMPRESS)]
pub(crate) struct CompressArgs {
    /// The package, or a directory of packages, of which text encoders, UNets and ControlNets are compressed. Compiled
    /// models (.mlmodelc) become packages, and without a method nothing else.
    pub(crate) package: PathBuf,
    /// The package to write, or the directory.
    #[arg(short, long, value_name = "PATH")]
    pub(crate) output: PathBuf,
    #[command(flatten)]
    pub(crate) method: MethodArgs,
    #[command(flatten)]
    pub(crate) goal: GoalArgs,
    /// Only weights that match, or are read by operations whose name or type does (* and ? stand for anything); repeatable.
    #[arg(long, value_name = "PATTERN", allow_hyphen_values = true)]
    pub(crate) only: Vec<String>,
    /// Leave weights that match; repeatable.
    #[arg(long, value_name = "PATTERN", allow_hyphen_values = true)]
    pub(crate) skip: Vec<String>,
    /// Leave weights of at most this many elements.
    #[arg(long, value_name = "N")]
    pub(crate) min_elements: Option<usize>,
    /// Bits or methods per layer: a configuration in JSON, or a recipe of Apple's mixed-bit palettization.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Which recipe of the file.
    #[arg(long, value_name = "NAME", requires = "config")]
    pub(crate) recipe: Option<String>,
    /// Choose codes so that errors cancel in what the denoiser is given when it draws: a file that smelt calibrate wrote.
    #[arg(long, value_name = "FILE")]
    pub(crate) calibration: Option<PathBuf>,
    /// Samples of it to run the denoiser with, spread evenly over them; default: all, or 16 for large models.
    #[arg(long, value_name = "N", requires = "calibration")]
    pub(crate) samples: Option<usize>,
    /// Decode weights that are compressed already, and compress them anew.
    #[arg(long)]
    pub(crate) recompress: bool,
    /// Newest system that the package may need (macOS15 or iOS18 for what older ones lack); default: what it needs now.
    #[arg(long, value_name = "SYSTEM")]
    pub(crate) target: Option<Target>,
    /// Write a report with the loss of every weight: .html, .svg or .json; - is standard output, as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// Replace what is there already.
    #[arg(long)]
    pub(crate) force: bool,
}

/// `smelt compile`.
#[derive(Debug, Args)]
#[command(after_help = examples::COMPILE)]
pub(crate) struct CompileArgs {
    /// The package, or a folder of packages, whose other files are copied.
    pub(crate) package: PathBuf,
    /// Folder to write NAME.mlmodelc to; made if it is not there.
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: PathBuf,
    /// Replace what is there already.
    #[arg(long)]
    pub(crate) force: bool,
}

/// How weights are compressed.
#[derive(Debug, Args)]
pub(crate) struct MethodArgs {
    /// How values are found; default: kmeans with --bits, linear-symmetric with --dtype.
    #[arg(long, value_name = "MODE")]
    pub(crate) mode: Option<Mode>,
    /// Width of a palette's indices: 1, 2, 3 (macOS15), 4, 6 or 8.
    #[arg(long, value_name = "N")]
    pub(crate) bits: Option<u8>,
    /// Integers of linear quantization: int8, uint8, int4 or uint4 (macOS15).
    #[arg(long, value_name = "TYPE")]
    pub(crate) dtype: Option<Integer>,
    /// What shares a palette or a scale; default: the tensor for palettes, each output channel for integers.
    #[arg(long, value_name = "WHAT")]
    pub(crate) granularity: Option<Granularity>,
    /// Channels that share a palette, with --granularity channels.
    #[arg(long, value_name = "N")]
    pub(crate) group_size: Option<usize>,
    /// Axis of these channels; default: that of the output channels.
    #[arg(long, value_name = "N")]
    pub(crate) axis: Option<usize>,
    /// Input channels that share a scale, with --granularity block.
    #[arg(long, value_name = "N")]
    pub(crate) block_size: Option<usize>,
    /// Length of a palette's entries: vectors of so many channels.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) cluster_dim: usize,
    /// Divide each output channel by its largest magnitude before it is palettized.
    #[arg(long)]
    pub(crate) per_channel_scale: bool,
    /// Set this share of each weight to zero, 0 to 1: the smallest magnitudes.
    #[arg(long, value_name = "X", conflicts_with_all = ["threshold", "n_of_m"])]
    pub(crate) sparsity: Option<f32>,
    /// With --sparsity: zero whole blocks of so many output channels.
    #[arg(long, value_name = "N", requires = "sparsity")]
    pub(crate) prune_block: Option<usize>,
    /// Set magnitudes up to this to zero, in weights that become at least half sparse by it.
    #[arg(long, value_name = "X", conflicts_with = "n_of_m")]
    pub(crate) threshold: Option<f32>,
    /// Set the N smallest of each M input channels to zero.
    #[arg(long, value_name = "N:M", value_parser = n_of_m)]
    pub(crate) n_of_m: Option<(usize, usize)>,
}

/// Ways to find the values that weights may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// The palette with the least squared error.
    Kmeans,
    /// A palette of even steps.
    Uniform,
    /// The distinct values themselves, where they are few.
    Unique,
    /// Integers with a scale and a zero point.
    Linear,
    /// Integers with a scale, zero in the middle.
    LinearSymmetric,
    /// Half precision, for weights in single precision.
    Half,
}

/// Integers of linear quantization.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Integer {
    /// 8 bits, signed.
    Int8,
    /// 8 bits, unsigned.
    Uint8,
    /// 4 bits, signed.
    Int4,
    /// 4 bits, unsigned.
    Uint4,
}

/// What shares a palette or a scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Granularity {
    /// All of a tensor.
    Tensor,
    /// Each output channel (integers).
    Channel,
    /// Groups of channels (palettes).
    Channels,
    /// Blocks of input channels of each output channel (integers).
    Block,
}

fn n_of_m(text: &str) -> Result<(usize, usize), String> {
    let pair = text.split_once(':').and_then(|(n, m)| Some((n.trim().parse().ok()?, m.trim().parse().ok()?)));
    pair.ok_or_else(|| format!("{text:?} is not N:M, such as 2:4"))
}

/// `smelt run`.
#[derive(Debug, Args)]
#[command(after_help = examples::RUN)]
pub(crate) struct RunArgs {
    /// The package.
    pub(crate) package: PathBuf,
    /// Input tensors under the model's feature names, with or without a leading "in."; tensors "out.…" are not read.
    #[arg(long, value_name = "FILE")]
    pub(crate) inputs: PathBuf,
    /// The safetensors file to write the outputs to; - is standard output.
    #[arg(long, value_name = "FILE")]
    pub(crate) outputs: PathBuf,
    /// Function to run; default: the package's own choice.
    #[arg(long, value_name = "NAME")]
    pub(crate) function: Option<String>,
    /// Keep results between operations in f32, or round each to the type that the program declares.
    #[arg(long, default_value = "f32")]
    pub(crate) rounding: RoundingName,
    /// Memory that half a VAE may take beside its weights: where all at once would take more, it is run by rows.
    #[arg(long, value_name = "SIZE", value_parser = memory)]
    pub(crate) vae_memory: Option<u64>,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
}

/// `smelt inspect`.
#[derive(Debug, Args)]
#[command(after_help = examples::INSPECT)]
pub(crate) struct InspectArgs {
    /// The package, or a folder of packages; a checkpoint, in a folder or one file; a LoRA or a textual inversion.
    #[arg(value_name = "SOURCE", value_parser = source())]
    pub(crate) package: Source,
    #[command(flatten)]
    pub(crate) opening: SourceArgs,
    /// Compare a LoRA with this checkpoint: how much of it fits, and what does not.
    #[arg(long, value_name = "CHECKPOINT", value_parser = source(), conflicts_with_all = ["mil", "plan", "weights"])]
    pub(crate) against: Option<Source>,
    /// Say what people call the files by that weights came from: SHA-256, and the short hashes of Automatic1111 and Civitai. A
    /// file is read once for that, and what came of it is kept; of packages in their smelt.json.
    #[arg(long, conflicts_with_all = ["mil", "plan", "weights"])]
    pub(crate) hashes: bool,
    /// Where the files are that packages were made of: the checkpoint, its VAE, a LoRA; repeatable.
    #[arg(long = "source", value_name = "SOURCE", value_parser = source(), requires = "hashes")]
    pub(crate) sources: Vec<Source>,
    /// Print the program in MIL's text form instead.
    #[arg(long, conflicts_with = "json")]
    pub(crate) mil: bool,
    /// Print the fast engine's plan instead: steps, kernels, bytes, operations; or with --engine coreml what runs where.
    #[arg(long, conflicts_with_all = ["mil", "weights"])]
    pub(crate) plan: bool,
    /// Whose plan: cpu, the fast engine's, or coreml.
    #[arg(long, value_name = "NAME", default_value = "cpu", value_parser = named(ENGINES), requires = "plan")]
    pub(crate) engine: EngineKind,
    /// What Core ML may use; default: all.
    #[arg(long, value_name = "NAME", value_parser = named(DEVICES), requires = "plan")]
    pub(crate) device: Option<Device>,
    /// List every weight: how it is stored, bits, bytes, share of the whole.
    #[arg(long, conflicts_with = "mil")]
    pub(crate) weights: bool,
    /// Order of the weights.
    #[arg(long, value_name = "ORDER", default_value = "program", requires = "weights")]
    pub(crate) sort: SortName,
}

/// `smelt bench`.
#[derive(Debug, Args)]
#[command(after_help = examples::BENCH)]
pub(crate) struct BenchArgs {
    /// The package, or a directory of packages; with --table a model as generate takes it, by default the one in the box.
    #[arg(required_unless_present = "table")]
    pub(crate) package: Option<PathBuf>,
    /// Draw pictures of 20 steps instead, and print a row with the columns of the tables of Apple's ml-stable-diffusion, as
    /// Markdown.
    #[arg(long, conflicts_with_all = ["profile", "plan", "svg"])]
    pub(crate) table: bool,
    /// With --table: layout of the attention of a checkpoint, which is converted in memory.
    #[arg(long, value_name = "LAYOUT", value_parser = attention, requires = "table")]
    pub(crate) attention: Option<AttentionLayout>,
    /// Measured runs, after one to warm up.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) runs: u16,
    /// Show which steps the time goes to.
    #[arg(long)]
    pub(crate) profile: bool,
    /// Tell what Core ML runs where; for --engine coreml.
    #[arg(long)]
    pub(crate) plan: bool,
    /// Draw the profile as a flame graph; - is standard output.
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
    /// Seed of the random inputs.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
}

/// Orders of weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SortName {
    /// As the program reads them.
    Program,
    /// The largest first.
    Size,
}

/// `smelt verify`.
#[derive(Debug, Args)]
#[command(after_help = examples::VERIFY)]
pub(crate) struct VerifyArgs {
    /// The package to judge.
    pub(crate) package: PathBuf,
    /// What it must agree with: a checkpoint, converted in memory at float32, or another package.
    #[arg(long, value_name = "PATH", value_parser = source())]
    pub(crate) against: Source,
    /// Which component of the checkpoint it is; default: told by the package's name or inputs.
    #[arg(long = "component", value_name = "NAME", value_parser = role)]
    pub(crate) role: Option<Role>,
    #[command(flatten)]
    pub(crate) opening: SourceArgs,
    /// Seed of the random inputs.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// Least peak signal-to-noise ratio of every output.
    #[arg(long, value_name = "DB", default_value_t = 35.0)]
    pub(crate) min_psnr: f64,
    /// Keep results between operations in f32, or round each to the type that the program declares; default: the
    /// comparison in f32, and a look at a package in half precision as a device rounds.
    #[arg(long)]
    pub(crate) rounding: Option<RoundingName>,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
}

/// When results are rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RoundingName {
    /// Only inputs, constants and outputs have their declared precision.
    F32,
    /// Every result has, as on hardware that computes in half precision.
    Declared,
}

impl From<RoundingName> for Rounding {
    fn from(name: RoundingName) -> Self {
        match name {
            RoundingName::F32 => Self::Boundary,
            RoundingName::Declared => Self::Declared,
        }
    }
}

/// What happens to what is there already, by `--force`.
pub(crate) const fn existing(force: bool) -> Existing {
    if force { Existing::Replace } else { Existing::Refuse }
}

fn setting(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').map(|(key, value)| (key.trim().replace('-', "_"), value.trim().to_owned()));
    pair.ok_or_else(|| format!("{text:?} is not KEY=VALUE, such as steps=4"))
}

fn role(name: &str) -> Result<Role, String> {
    let known = || Role::ALL.map(Role::name).join(", ");
    Role::ALL.into_iter().find(|c| c.name() == name).ok_or_else(|| format!("components are {}", known()))
}

fn bundle_form(name: &str) -> Result<BundleForm, String> {
    match name {
        "compiled" => Ok(BundleForm::Compiled),
        "packages" => Ok(BundleForm::Packages),
        _ => Err("forms are compiled, packages".into()),
    }
}

fn attention(name: &str) -> Result<AttentionLayout, String> {
    match name {
        "original" => Ok(AttentionLayout::Original),
        "split-einsum" => Ok(AttentionLayout::SplitEinsum),
        "split-einsum-v2" => Ok(AttentionLayout::SplitEinsumV2),
        _ => Err("layouts are original, split-einsum, split-einsum-v2".into()),
    }
}

fn precision(name: &str) -> Result<Precision, String> {
    match name {
        "float16" => Ok(Precision::Float16),
        "float32" => Ok(Precision::Float32),
        _ => Err("precisions are float16, float32".into()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use smelt::SchedulerKind;

    use super::*;

    #[test]
    fn the_grammar_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn components_are_a_list() {
        let cli = Cli::try_parse_from(["smelt", "convert", "x", "-o", "y", "--component", "unet,vae-decoder"]).unwrap();
        let Command::Convert(args) = cli.command else { panic!("not convert") };
        assert_eq!(args.components, [Role::UNet, Role::VaeDecoder]);
        let error = Cli::try_parse_from(["smelt", "convert", "x", "-o", "y", "--component", "vae"]).unwrap_err();
        assert!(error.to_string().contains(&Role::ALL.map(Role::name).join(", ")), "{error}");
    }

    #[test]
    fn schedulers_have_their_names_and_aliases() {
        let parse = |name: &str| {
            let cli = Cli::try_parse_from(["smelt", "generate", "x", "--scheduler", name]).unwrap();
            let Command::Generate(args) = cli.command else { panic!("not generate") };
            args.scheduler
        };
        for kind in SchedulerKind::ALL {
            assert_eq!(parse(kind.name()).map(smelt::Sampler::kind), Some(kind));
            assert_eq!(parse(kind.class_name()), Some(kind.into()));
        }
        assert_eq!(parse("dpmpp"), parse("dpmpp-2m"));
        assert_eq!(parse("DPM++ 2M Karras"), parse("dpmpp-2m-karras"));
        let error = Cli::try_parse_from(["smelt", "generate", "x", "--scheduler", "magic"]).unwrap_err();
        assert!(error.to_string().contains("pndm, dpmpp-2m, ddim, euler"), "{error}");
    }
}
