//! What executes models, and with which options: as a value, and as one line of text.
//!
//! | text | engine |
//! |---|---|
//! | `cpu` | the fast one for this processor |
//! | `cpu:bf16,threads=4,weights=expanded` | the same, with operands in bf16, four threads, and weights decoded when they are loaded |
//! | `reference` | every operation by its definition |
//! | `burn:metal` | a checkpoint's networks by Burn, on a device of Burn's |
//! | `coreml:ne` | packages by Core ML, on CPU and Neural Engine |
//!
//! Which option which engine heeds stands in one table, `RULES`; an option that an engine would not heed is refused.

mod device;

use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;

pub use device::{DEVICES, Device};
use sd_engines::{CoreMlEngine, CpuOptions, Executor, Isa, Options, Precision, Rounding, UnknownIsa, WeightForm};

use crate::error::{Error, Result, refusal, refuse};
use crate::units::parse_bytes;

/// Engines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum EngineKind {
    /// Planned and fused, with kernels for the machine's instruction set.
    #[default]
    Cpu,
    /// Every operation by its definition.
    Reference,
    /// A checkpoint's networks by Burn itself, without MIL; in builds with the feature `burn`.
    Burn,
    /// Packages and compiled models by Core ML, on macOS and iOS. Type-checked there, never run.
    CoreMl,
}

/// Values with the names that people give them, and what the names stand for.
pub type Names<T> = &'static [(T, &'static str, &'static str)];

/// Engines.
pub const ENGINES: Names<EngineKind> = &[
    (EngineKind::Cpu, "cpu", "Planned and fused, with kernels for the machine's instruction set"),
    (EngineKind::Reference, "reference", "Every operation by its definition"),
    (
        EngineKind::Burn,
        "burn",
        "A checkpoint's networks by Burn itself, without MIL; for `generate`, in builds with the feature `burn`",
    ),
    (EngineKind::CoreMl, "coreml", "Packages by Core ML, on macOS and iOS; type-checked, never run"),
];

/// How the fast engine holds compressed weights.
pub const WEIGHT_FORMS: Names<WeightForm> = &[
    (WeightForm::Stored, "stored", "Decoded while they are multiplied"),
    (WeightForm::Expanded, "expanded", "Decoded once"),
];

fn name_of<T: Copy + PartialEq>(names: Names<T>, value: T) -> &'static str {
    names.iter().find(|(own, ..)| *own == value).map_or("", |(_, name, _)| name)
}

fn named<T: Copy>(names: Names<T>, text: &str) -> Option<T> {
    names.iter().find(|(_, name, _)| *name == text).map(|(value, ..)| *value)
}

/// What executes models.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineSpec {
    /// The engine.
    pub kind: EngineKind,
    /// Threads; default: one for each core. Results do not depend on it.
    pub threads: Option<NonZeroUsize>,
    /// What the fast engine rounds operands of products to; sums and everything else are in f32.
    pub compute: Precision,
    /// How the fast engine holds compressed weights; results are the same.
    pub weights: WeightForm,
    /// What Burn runs on, by default the CPU, or Core ML, by default whatever the machine has.
    pub device: Option<Device>,
    /// Have Core ML take longer to load models, so that they run quickly; on macOS 15 and iOS 18.
    pub fast_prediction: bool,
    /// The folder below which Core ML's compiled models are kept; default: the system's for what can be made again. No part
    /// of the text.
    pub cache: Option<PathBuf>,
    /// Bytes that a pipeline's autoencoder may take for what it computes, beside its weights: where everything at once would
    /// take more, pictures are decoded and encoded by rows (docs/numerics.md). Default: [`USUAL_VAE_MEMORY`], in a pipeline
    /// that saves memory [`LOW_VAE_MEMORY`].
    pub vae_memory: Option<u64>,
    /// Name of the fast engine's instruction set; default: the machine's best. The command line takes it from the
    /// environment variable `SMELT_ISA`.
    pub isa: Option<String>,
}

impl Default for EngineSpec {
    fn default() -> Self {
        Self {
            kind: EngineKind::Cpu,
            threads: None,
            compute: Precision::F32,
            weights: WeightForm::Stored,
            device: None,
            fast_prediction: false,
            cache: None,
            vae_memory: None,
            isa: None,
        }
    }
}

/// Bytes that decoding a picture may take: one of 1024×1024 is decoded as a whole.
pub const USUAL_VAE_MEMORY: u64 = 4_000_000_000;
/// The same in a pipeline that saves memory: enough for a picture of 2048×2048.
pub const LOW_VAE_MEMORY: u64 = 1_300_000_000;

/// The word for it in a line of text.
const FAST_PREDICTION: &str = "fast-prediction";

/// Which engines heed an option, and what is said to one that does not.
struct Rule {
    heeded_by: &'static [EngineKind],
    is_given: fn(&EngineSpec) -> bool,
    refusal: fn(&EngineSpec) -> String,
}

/// One row for each option, in the order in which they are refused.
const RULES: [Rule; 6] = [
    Rule {
        heeded_by: &[EngineKind::Cpu],
        is_given: |spec| spec.compute != Precision::F32,
        refusal: |spec| format!("--compute {} is for --engine cpu only; leave one of them out", spec.compute),
    },
    Rule {
        heeded_by: &[EngineKind::Cpu],
        is_given: |spec| spec.weights != WeightForm::Stored,
        refusal: |_| "--weights expanded is for --engine cpu only; leave one of them out".into(),
    },
    Rule {
        heeded_by: &[EngineKind::Cpu, EngineKind::Burn],
        is_given: |spec| spec.threads.is_some(),
        refusal: |_| {
            "--threads is for --engine cpu and burn; the reference engine takes the number of its threads from \
             the environment: RAYON_NUM_THREADS=N smelt …"
                .into()
        },
    },
    Rule {
        heeded_by: &[EngineKind::Cpu],
        is_given: |spec| spec.vae_memory.is_some(),
        refusal: |_| "--vae-memory is for --engine cpu only; leave one of them out".into(),
    },
    Rule {
        heeded_by: &[EngineKind::CoreMl],
        is_given: |spec| spec.fast_prediction,
        refusal: |_| "--fast-prediction is for --engine coreml only; leave one of them out".into(),
    },
    // Each device is of one engine.
    Rule {
        heeded_by: &[],
        is_given: |spec| spec.device.is_some_and(|device| device.engine() != spec.kind),
        refusal: device_refusal,
    },
];

/// Says whose a device is, and which the chosen engine has.
fn device_refusal(spec: &EngineSpec) -> String {
    let Some(device) = spec.device else { return String::new() };
    let own = device::names(spec.kind);
    let engine = name_of(ENGINES, spec.kind);
    let others = if own.is_empty() { String::new() } else { format!("; those of {engine} are {own}") };
    format!("--device {} is for --engine {}{others}", device.name(), name_of(ENGINES, device.engine()))
}

/// Threads that the machine runs at once.
fn available() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// The instruction set of this name, or else the machine's best.
pub(crate) fn isa(name: Option<&str>) -> Result<Isa, UnknownIsa> {
    name.map_or_else(|| Ok(Isa::best()), str::parse)
}

/// The fast engine's options when nothing else is asked for: it keeps what does not change between a picture's steps.
pub(crate) fn cpu_default(isa_name: Option<&str>) -> Result<CpuOptions> {
    let isa = isa(isa_name).map_err(|error| refusal!("SMELT_ISA: {error}"))?;
    Ok(CpuOptions::default().with_isa(isa).with_steady(sd_spec::steady_inputs()))
}

impl EngineSpec {
    /// Refuses what the chosen engine would not heed.
    ///
    /// # Errors
    /// [`Error::Refused`], with the option and the engines that heed it.
    pub fn check(&self) -> Result<()> {
        let is_unheeded = |rule: &&Rule| (rule.is_given)(self) && !rule.heeded_by.contains(&self.kind);
        match RULES.iter().find(is_unheeded) {
            Some(rule) => Err(Error::Refused((rule.refusal)(self).into())),
            None => Ok(()),
        }
    }

    /// Refuses what the chosen engine would not heed, and an engine that this system does not have.
    ///
    /// # Errors
    /// As [`EngineSpec::check`], and for Core ML elsewhere than on macOS and iOS.
    pub fn check_here(&self) -> Result<()> {
        self.check()?;
        self.check_system()
    }

    /// Refuses an engine that this system does not have.
    pub(crate) fn check_system(&self) -> Result<()> {
        match self.kind {
            EngineKind::CoreMl => CoreMlEngine::check_system().map_err(|why| refusal!("--engine coreml: {why}")),
            _ => Ok(()),
        }
    }

    /// What the user should know of what is used instead.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let (asked, there) = (self.threads?, available());
        (asked > there).then(|| format!("--threads {asked} is more than this machine runs at once; {there} are used"))
    }

    /// The fast engine's options.
    pub(crate) fn cpu(&self) -> Result<CpuOptions> {
        let options = cpu_default(self.isa.as_deref())?.with_precision(self.compute).with_weights(self.weights);
        Ok(match self.n_threads() {
            Some(n) => options.with_threads(n.get()),
            None => options,
        })
    }

    /// The fast engine for an autoencoder, by rows where it would take too much memory.
    pub(crate) fn by_rows(&self) -> Result<Executor> {
        let limit = usize::try_from(self.vae_memory.unwrap_or(USUAL_VAE_MEMORY)).unwrap_or(usize::MAX);
        Ok(Executor::Bands { options: self.cpu()?, limit })
    }

    /// The threads that were asked for, at most as many as the machine runs at once: more only wait for each other.
    pub(crate) fn n_threads(&self) -> Option<NonZeroUsize> {
        self.threads.map(|n| n.min(available()))
    }

    /// What executes a model whose results are rounded so; only the plain engine rounds between operations.
    ///
    /// # Errors
    /// [`Error::Refused`] for an engine that runs no packages, and for options that it would not heed.
    pub fn executor(&self, rounding: Rounding) -> Result<Executor> {
        self.check_runs_programs()?;
        self.check()?;
        if rounding != Rounding::Boundary && (self.compute != Precision::F32 || self.weights != WeightForm::Stored) {
            refuse!(
                "--compute and --weights are the cpu engine's, and only the reference engine rounds every result as \
                 declared; leave --rounding out, or them"
            );
        }
        Ok(match (self.kind, rounding) {
            (EngineKind::Cpu, Rounding::Boundary) if self.vae_memory.is_some() => self.by_rows()?,
            (EngineKind::Cpu, Rounding::Boundary) => self.cpu()?.into(),
            _ => Options::default().with_rounding(rounding).into(),
        })
    }

    /// Refuses engines that have no plan whose steps could be measured.
    pub(crate) fn check_has_plans(&self) -> Result<()> {
        self.check_runs_programs()?;
        match self.kind {
            EngineKind::Reference => refuse!(
                "the reference engine has no plan to measure, so bench is for --engine cpu; \
                 smelt run --engine reference says how long one run takes"
            ),
            _ => self.check(),
        }
    }

    /// Refuses the engine that runs checkpoints and no packages, and the one that is the system's own.
    fn check_runs_programs(&self) -> Result<()> {
        match self.kind {
            EngineKind::Cpu | EngineKind::Reference => Ok(()),
            EngineKind::Burn => refuse!(
                "the burn engine executes the networks of a checkpoint, and packages hold MIL programs; \
                 it is for smelt generate -m CHECKPOINT"
            ),
            EngineKind::CoreMl => {
                self.check_system()?;
                refuse!(
                    "the coreml engine runs packages, in generate, run, bench, upscale and inspect --plan; this needs \
                     --engine cpu or reference"
                )
            }
        }
    }
}

impl FromStr for EngineSpec {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (kind, options) = text.split_once(':').unwrap_or((text, ""));
        let names = || ENGINES.iter().map(|(_, name, _)| *name).collect::<Vec<_>>().join(", ");
        let kind =
            named(ENGINES, kind).ok_or_else(|| refusal!("there is no engine {kind:?}; engines are {}", names()))?;
        let mut spec = Self { kind, ..Self::default() };
        for option in options.split(',').filter(|option| !option.is_empty()) {
            let unknown =
                || refusal!("{option:?} is no option of an engine, such as bf16, threads=4, weights=expanded or metal");
            match option.split_once('=') {
                Some(("threads", n)) => spec.threads = Some(n.parse().map_err(|_| unknown())?),
                Some(("isa", name)) => spec.isa = Some(name.to_owned()),
                Some(("vae-memory", size)) => spec.vae_memory = Some(parse_bytes(size).ok_or_else(unknown)?),
                Some(("weights", form)) => spec.weights = named(WEIGHT_FORMS, form).ok_or_else(unknown)?,
                Some(_) => return Err(unknown()),
                None if option == FAST_PREDICTION => spec.fast_prediction = true,
                None => match (option.parse(), named(DEVICES, option)) {
                    (Ok(precision), _) => spec.compute = precision,
                    (_, Some(device)) => spec.device = Some(device),
                    _ => return Err(unknown()),
                },
            }
        }
        spec.check()?;
        Ok(spec)
    }
}

impl fmt::Display for EngineSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut options = Vec::new();
        if self.compute != Precision::F32 {
            options.push(self.compute.to_string());
        }
        options.extend(self.device.map(|device| device.name().to_owned()));
        options.extend(self.fast_prediction.then(|| FAST_PREDICTION.to_owned()));
        options.extend(self.threads.map(|n| format!("threads={n}")));
        if self.weights != WeightForm::Stored {
            options.push(format!("weights={}", name_of(WEIGHT_FORMS, self.weights)));
        }
        options.extend(self.vae_memory.map(|n| format!("vae-memory={n}")));
        options.extend(self.isa.as_ref().map(|name| format!("isa={name}")));
        f.write_str(name_of(ENGINES, self.kind))?;
        if options.is_empty() { Ok(()) } else { write!(f, ":{}", options.join(",")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_text_says_which_engine() {
        for text in [
            "cpu",
            "reference",
            "burn",
            "burn:metal",
            "burn:cuda,threads=2",
            "coreml",
            "coreml:ne",
            "coreml:gpu,fast-prediction",
            "cpu:bf16,threads=4,weights=expanded",
            "cpu:isa=portable",
            "cpu:vae-memory=1500000000",
        ] {
            assert_eq!(text.parse::<EngineSpec>().unwrap().to_string(), text);
        }
        assert_eq!("cpu:f32,weights=stored".parse::<EngineSpec>().unwrap(), EngineSpec::default());
    }

    #[test]
    fn what_an_engine_would_not_heed_is_refused_with_those_that_do() {
        for (text, words) in [
            ("gpu", "engines are cpu, reference, burn, coreml"),
            ("cpu:fast", "\"fast\" is no option"),
            ("cpu:threads=0", "\"threads=0\" is no option"),
            ("cpu:metal", "--device metal is for --engine burn"),
            ("cpu:ne", "--device ne is for --engine coreml"),
            ("burn:ne", "--device ne is for --engine coreml; those of burn are flex, cuda, "),
            ("coreml:metal", "--device metal is for --engine burn; those of coreml are all, cpu, gpu, ne"),
            ("coreml:threads=2", "--threads is for --engine cpu and burn"),
            ("cpu:fast-prediction", "--fast-prediction is for --engine coreml only"),
            ("burn:bf16", "--compute bf16 is for --engine cpu only"),
            ("reference:weights=expanded", "--weights expanded is for --engine cpu only"),
            ("reference:vae-memory=1G", "--vae-memory is for --engine cpu only"),
            ("cpu:vae-memory=much", "\"vae-memory=much\" is no option"),
            ("reference:threads=2", "RAYON_NUM_THREADS"),
        ] {
            let error = text.parse::<EngineSpec>().unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
