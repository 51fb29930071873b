//! The grammar of `smelt generate`.

use std::ffi::OsStr;
use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser, StringValueParser, TypedValueParser};
use clap::{Arg, Args};
use smelt::{
    AttentionLayout, Emphasis, Forecasting, GuidanceInterval, Precision, RandomKind, Sampler, SchedulerKind, Seeds,
    Source,
};

use super::control::ControlArgs;
use super::hires::HiresArgs;
use super::like::LikeArgs;
use super::skip_layers::SkipLayerArgs;
use super::text::prompt;
use super::tokens::emphasis;
use super::xl::XlArgs;
use super::{PreviewArgs, Seed, SizeArgs, SourceArgs, StartArgs, VaryArgs, attention, examples, precision, source};
use crate::engine_args::{EngineArgs, memory};
use crate::view::ViewArgs;

/// `smelt generate`.
#[derive(Debug, Args)]
#[command(after_help = examples::GENERATE)]
pub(crate) struct GenerateArgs {
    /// What the picture shows; - reads it from standard input. May be left out where --settings, --like or --prompts says it.
    #[arg(allow_hyphen_values = true, value_parser = prompt, required_unless_present_any = ["settings", "like", "prompts"])]
    pub(crate) prompt: Option<String>,
    /// Directory of packages, or a checkpoint, which is then converted in memory; default: the small model in the box,
    /// which draws emoji from their names.
    #[arg(short, long, value_name = "SOURCE", value_parser = source())]
    pub(crate) model: Option<Source>,
    /// The picture to write, whose name says how: PNG, JPEG (of quality 95, colours at full resolution) or WebP (without
    /// loss), each with its settings; with --count, -1, -2, … come before the extension. - is standard output, as PNG.
    /// Default: a new PNG here, named by the prompt.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// What the picture does not show. For Stable Diffusion XL an empty text is not the same as none.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) negative_prompt: Option<String>,
    /// How prompts are read; default: original.
    #[arg(long, value_name = "HOW", value_parser = emphasis())]
    pub(crate) emphasis: Option<Emphasis>,
    /// Settings from a file: JSON with prompt, negative_prompt, seed, steps, guidance, scheduler and so on. They stand before
    /// what the model recommends, and options before them.
    #[arg(long, value_name = "FILE")]
    pub(crate) settings: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) like: LikeArgs,
    #[command(flatten)]
    pub(crate) start: StartArgs,
    #[command(flatten)]
    pub(crate) control: ControlArgs,
    /// Seed of the random source, of 32 bits for numpy and of 64 for the others; random (or -1) for another one each time.
    /// Several draw a picture each: 1..5, 1-5 or 1,4,9. Default: 0.
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) seed: Option<Seed>,
    /// Packages have the sizes that they were converted for; a checkpoint has any.
    #[command(flatten)]
    pub(crate) size: SizeArgs,
    /// Denoising steps; default: what the model recommends, or 20.
    #[arg(long, value_name = "N", conflicts_with_all = ["timesteps", "sigmas"])]
    pub(crate) steps: Option<usize>,
    /// The time steps to take, falling, in the place of --steps.
    #[arg(long, value_name = "T,…", value_delimiter = ',', conflicts_with = "sigmas")]
    pub(crate) timesteps: Option<Vec<f64>>,
    /// The noise levels to take, falling, in the place of --steps.
    #[arg(long, value_name = "X,…", value_delimiter = ',')]
    pub(crate) sigmas: Option<Vec<f64>>,
    /// How much noise DDIM and its like add on the way, 0 to 1.
    #[arg(long, value_name = "X")]
    pub(crate) eta: Option<f64>,
    /// Steps that a latent consistency model was distilled from; default: 50.
    #[arg(long, value_name = "N")]
    pub(crate) original_steps: Option<usize>,
    /// Classifier-free guidance: how strongly the prompt counts; off at 1 and below, where each step takes half the time.
    /// Default: what the model recommends, or 7.5, with the model in the box 4.
    #[arg(long, value_name = "X", allow_hyphen_values = true)]
    pub(crate) guidance: Option<f32>,
    /// How much of the guided prediction is brought to the spread of the prompt's own, 0 to 1: for models that predict v
    /// with zero terminal SNR. Default: 0.
    #[arg(long, value_name = "X")]
    pub(crate) guidance_rescale: Option<f32>,
    /// Where guidance is on, as shares of the steps (0.2:0.8) or noise levels (sigma=0.28:5.42); other steps take half the
    /// time. Default: throughout.
    #[arg(long, value_name = "FROM:TO")]
    pub(crate) guidance_interval: Option<GuidanceInterval>,
    #[command(flatten)]
    pub(crate) skip_layers: SkipLayerArgs,
    /// Foretell some steps from those before instead of computing them: line or spectrum.
    #[arg(long, value_name = "RULE")]
    pub(crate) forecast: Option<Forecasting>,
    /// Less than half the time for nearly the same picture: --forecast line --guidance-interval 0.2:1.
    #[arg(long)]
    pub(crate) fast: bool,
    /// Tokens that T5 reads of a prompt, for a checkpoint of Stable Diffusion 3; default: 256.
    #[arg(long, value_name = "N")]
    pub(crate) text_length: Option<usize>,
    /// Layers of CLIP's that the prompts do without, from the last; AUTOMATIC1111's "Clip skip 2" is 1 here. Needs a
    /// checkpoint.
    #[arg(long, value_name = "N")]
    pub(crate) clip_skip: Option<usize>,
    /// The same for the negative prompt alone, which diffusers leaves at 0; default: as --clip-skip.
    #[arg(long, value_name = "N")]
    pub(crate) negative_clip_skip: Option<usize>,
    /// Scheduler; default: what the model recommends, or the checkpoint's own. AUTOMATIC1111's names are
    /// understood too, and a choice of noise levels behind a name: dpmpp-2m-karras.
    #[arg(long, value_name = "NAME", value_parser = Schedulers)]
    pub(crate) scheduler: Option<Sampler>,
    /// Random source whose noise to draw; default: numpy.
    #[arg(long, value_name = "NAME", value_parser = random())]
    pub(crate) random: Option<RandomKind>,
    /// Begin with the noise of a file as --latents writes it, in the place of the random source's.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["variation_seed", "variation_strength"])]
    pub(crate) noise: Option<PathBuf>,
    /// Mix in noise of another seed, as AUTOMATIC1111 does.
    #[arg(long, value_name = "N", requires = "variation_strength")]
    pub(crate) variation_seed: Option<u64>,
    /// How much of that noise, 0 to 1.
    #[arg(long, value_name = "X", requires = "variation_seed")]
    pub(crate) variation_strength: Option<f64>,
    /// Number of pictures; default: 1.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) count: Option<u16>,
    /// Where several pictures have their random numbers from; default: stream.
    #[arg(long, value_name = "HOW", value_parser = seeds())]
    pub(crate) seeds: Option<Seeds>,
    /// Write the noise that each picture began with and its final latents too, as a safetensors file: `noise` and
    /// `latents`, with several pictures `1.noise` and so on.
    #[arg(long, value_name = "FILE")]
    pub(crate) latents: Option<PathBuf>,
    /// Leave out the safety checker.
    #[arg(long)]
    pub(crate) no_safety_check: bool,
    /// Load each model only for its stage (text, denoising, decoding), so that memory is that of the largest; the picture is
    /// the same, and loading takes longer. Large pictures are decoded as with --vae-memory 1.3G.
    #[arg(long)]
    pub(crate) low_memory: bool,
    /// Decode with this TAESD, a small autoencoder, in the place of the model's own: a folder in diffusers layout, one file,
    /// its author's taesd_decoder, or a package that was converted with --vae TAESD. Quicker and coarser.
    #[arg(long, value_name = "SOURCE", value_parser = source())]
    pub(crate) taesd: Option<Source>,
    /// Memory that decoding and encoding pictures may take beside the weights; larger pictures are done by rows, which
    /// may take longer, with differences below one grey level. Default: 4G.
    #[arg(long, value_name = "SIZE", value_parser = memory)]
    pub(crate) vae_memory: Option<u64>,
    /// Directory of the tokenizer's files, where the model directory has none.
    #[arg(long, value_name = "DIR")]
    pub(crate) tokenizer: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) opening: SourceArgs,
    /// Attention layout of a checkpoint that is converted in memory; default: split-einsum.
    #[arg(long, value_name = "LAYOUT", value_parser = attention)]
    pub(crate) attention: Option<AttentionLayout>,
    /// Precision of a checkpoint that is converted in memory: float16, as by default, or float32.
    #[arg(long, value_name = "PRECISION", value_parser = precision)]
    pub(crate) precision: Option<Precision>,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
    #[command(flatten)]
    pub(crate) hires: HiresArgs,
    #[command(flatten)]
    pub(crate) vary: VaryArgs,
    #[command(flatten)]
    pub(crate) preview: PreviewArgs,
    #[command(flatten)]
    pub(crate) view: ViewArgs,
    #[command(flatten)]
    pub(crate) xl: XlArgs,
}

/// Schedulers by the names that the library gives them, and by all others that it understands.
#[derive(Clone)]
pub(super) struct Schedulers;

impl TypedValueParser for Schedulers {
    type Value = Sampler;

    fn parse_ref(&self, command: &clap::Command, arg: Option<&Arg>, value: &OsStr) -> Result<Sampler, clap::Error> {
        StringValueParser::new().try_map(|name| name.parse::<Sampler>()).parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let value = |kind: SchedulerKind| PossibleValue::new(kind.name()).help(kind.summary());
        Some(Box::new(SchedulerKind::ALL.into_iter().map(value)))
    }
}

/// Choices of seeds by the names that the library gives them.
fn seeds() -> impl TypedValueParser<Value = Seeds> {
    let value = |seeds: Seeds| PossibleValue::new(seeds.name()).help(seeds.summary());
    PossibleValuesParser::new(Seeds::ALL.map(value)).try_map(|name| name.parse())
}

/// Random sources by the names that the library gives them.
fn random() -> impl TypedValueParser<Value = RandomKind> {
    let value =
        |kind: RandomKind| PossibleValue::new(kind.name()).aliases(kind.aliases().iter().copied()).help(kind.summary());
    PossibleValuesParser::new(RandomKind::ALL.map(value)).try_map(|name| name.parse())
}
