//! What a verification found, as data.

use std::path::Path;

use mil::Opset;
use mlpackage::Package;
use sd_convert::half::CHECK_SIZE;
use sd_convert::verify::{Comparison, Input, reference_options};
use sd_convert::{Checkpoint, Interface, Options, Role, has_sizes};
use sd_engines::{Cause, NonFinite};
use serde::Serialize;

use super::against::{Against, Asked, role_of};
use super::functions::Pairing;
use super::half::{At, Look};
use crate::half_precision::{Overflow, cure};

/// What a verification found.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct VerifyReport {
    /// The package.
    pub package: String,
    /// What it was compared with.
    pub against: String,
    /// Seed of the random inputs.
    pub seed: u64,
    /// Least ratio of every output.
    pub min_psnr_db: f64,
    /// Whether it is good enough.
    pub passed: bool,
    /// Every output of every function.
    pub outputs: Vec<VerifiedOutput>,
    /// A look at each function in half precision, where it computes in it and no rounding was asked for.
    pub half_precision: Vec<VerifiedHalf>,
    /// The first operation that made values which are not finite in the rounding that was asked for, of each function.
    pub not_finite: Vec<NotFinite>,
    /// What to type against an overflow.
    pub cure: Option<String>,
    /// Functions that the other model does not have.
    pub only_in_package: Vec<String>,
    /// Functions that the package does not have.
    pub only_in_against: Vec<String>,
    /// The same, function by function, with what `--json` leaves out.
    #[serde(skip)]
    pub verdicts: Vec<Verdict>,
}

/// How near an output came.
#[derive(Debug, Clone, Serialize)]
pub struct VerifiedOutput {
    /// The function.
    pub function: String,
    /// The output.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Null when the tensors are identical, or cannot be compared because of values that are not finite.
    pub psnr_db: Option<f64>,
    /// Whether every bit is the same.
    pub identical: bool,
    /// Whether it is good enough.
    pub passed: bool,
}

/// A look at a function in half precision.
#[derive(Debug, Clone, Serialize)]
pub struct VerifiedHalf {
    /// The function.
    pub function: String,
    /// `package`, or `checkpoint` where its component was run at a small size; null when nobody looked.
    pub of: Option<&'static str>,
    /// Size of the latents, where it is not the package's own.
    pub latent_size: Option<String>,
    /// Why nobody looked.
    pub why_not: Option<String>,
    /// The first operation that leaves half precision.
    pub overflow: Option<Overflow>,
    /// Every output of the function.
    pub outputs: Vec<HalfOutput>,
}

/// How near an output came in half precision.
#[derive(Debug, Clone, Serialize)]
pub struct HalfOutput {
    /// The output.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Null when the tensors are identical, or cannot be compared.
    pub psnr_db: Option<f64>,
    /// Whether every bit is the same.
    pub identical: bool,
}

/// The first operation of a function whose results are not finite.
#[derive(Debug, Clone, Serialize)]
pub struct NotFinite {
    /// The function.
    pub function: String,
    /// The operation.
    #[serde(flatten)]
    pub first: Overflow,
}

/// What was found about one function.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Verdict {
    /// The function.
    pub function: String,
    /// How near each output came.
    pub comparisons: Vec<Comparison>,
    /// The look at half precision, where one was taken.
    pub look: Option<Look>,
    /// What the run in the rounding that was asked for made that is not finite.
    pub found: Option<NonFinite>,
    /// What it takes.
    pub inputs: Vec<Input>,
}

impl Look {
    /// Whether something left half precision that full precision would hold.
    #[must_use]
    pub fn is_overflow(&self) -> bool {
        self.found.as_ref().is_some_and(|f| !matches!(f.cause, Cause::Constant { .. }))
    }
}

impl VerifyReport {
    pub(super) fn new(
        asked: &Asked,
        package: &Package,
        against: &Against,
        pairing: Pairing,
        verdicts: Vec<Verdict>,
    ) -> Self {
        let outputs: Vec<VerifiedOutput> = verdicts.iter().flat_map(|v| outputs_of(v, asked.how.min_psnr)).collect();
        let agrees = outputs.iter().all(|o| o.passed) && pairing.is_complete();
        let overflows = verdicts.iter().filter_map(|v| v.look.as_ref()).any(|look| look.found.is_some());
        Self {
            package: asked.package.display().to_string(),
            against: asked.against.to_string(),
            seed: asked.how.seed,
            min_psnr_db: asked.how.min_psnr,
            passed: agrees && !overflows,
            outputs,
            half_precision: verdicts.iter().filter_map(half_of).collect(),
            not_finite: verdicts.iter().filter_map(not_finite_of).collect(),
            cure: overflows.then(|| cure_of(asked, package, against, &verdicts)).flatten(),
            only_in_package: pairing.only_here,
            only_in_against: pairing.only_there,
            verdicts,
        }
    }

    /// Whether every output comes near enough, and each model has the functions of the other.
    #[must_use]
    pub fn agrees(&self) -> bool {
        self.outputs.iter().all(|o| o.passed) && self.only_in_package.is_empty() && self.only_in_against.is_empty()
    }

    /// Whether values that are not finite came up when results were rounded as a device rounds.
    #[must_use]
    pub fn overflows(&self) -> bool {
        self.verdicts.iter().filter_map(|v| v.look.as_ref()).any(|look| look.found.is_some())
    }
}

/// The command that converts the component in full precision; what is not known of it is left to be filled in.
fn cure_of(asked: &Asked, package: &Package, against: &Against, verdicts: &[Verdict]) -> Option<String> {
    let verdict = verdicts.iter().find(|v| v.look.as_ref().is_some_and(Look::is_overflow))?;
    let role = match against {
        Against::Checkpoint(checkpoint) => role_of(asked, checkpoint, &verdict.inputs).ok()?,
        Against::Package(_) => *Role::of_inputs(verdict.inputs.iter().map(|f| f.name.as_str())).first()?,
    };
    let output = asked.package.parent().unwrap_or(Path::new("."));
    let mut more = Vec::new();
    let opset = package.model().program().and_then(|p| p.functions.values().map(|f| f.opset).max());
    match opset {
        Some(Opset::CoreML7) => more.extend(["--target".to_owned(), "macOS14".to_owned()]),
        Some(opset) if opset >= Opset::CoreML8 => more.extend(["--target".to_owned(), "macOS15".to_owned()]),
        _ => {}
    }
    let Against::Checkpoint(checkpoint) = against else {
        return Some(cure(&Path::new("CHECKPOINT").into(), output, role, &more));
    };
    let version = &package.model().description.metadata.version;
    if !version.is_empty() && *version != checkpoint.name() {
        more.extend(["--model-version".to_owned(), version.clone()]);
    }
    if has_sizes(role) && !is_of_default_size(checkpoint, role, verdicts) {
        let options = verdicts.iter().filter_map(|v| reference_options(checkpoint, role, &v.inputs).ok());
        let sizes: Vec<String> = options.filter_map(|o| Some(o.latent_size?.to_string())).collect();
        more.extend(["--latent-size".to_owned(), sizes.join(",")]);
    }
    more.extend(asked.how.opening.typed());
    Some(cure(&asked.against, output, role, &more))
}

/// True when a conversion without a size makes what these functions take.
fn is_of_default_size(checkpoint: &Checkpoint, role: Role, verdicts: &[Verdict]) -> bool {
    let [only] = verdicts else { return false };
    Interface::new(checkpoint, role, &Options::default()).is_ok_and(|interface| {
        interface.inputs.iter().all(|f| {
            // The first dimension is the batch, which is no size.
            only.inputs.iter().any(|o| o.name == f.name && o.shape.get(1..) == f.shape.get(1..))
        })
    })
}

fn outputs_of(verdict: &Verdict, min_psnr: f64) -> impl Iterator<Item = VerifiedOutput> {
    verdict.comparisons.iter().map(move |c| VerifiedOutput {
        function: verdict.function.clone(),
        name: c.output.clone(),
        shape: c.shape.clone(),
        psnr_db: Some(c.psnr_db).filter(|db| db.is_finite()),
        identical: c.psnr_db == f64::INFINITY,
        passed: c.psnr_db >= min_psnr,
    })
}

fn half_of(verdict: &Verdict) -> Option<VerifiedHalf> {
    let look = verdict.look.as_ref()?;
    let (of, latent_size, why_not) = match &look.at {
        At::Package => (Some("package"), None, None),
        At::Checkpoint { .. } => (Some("checkpoint"), Some(CHECK_SIZE.to_string()), None),
        At::Nothing(why) => (None, None, Some(why.clone())),
    };
    let output = |c: &Comparison| HalfOutput {
        name: c.output.clone(),
        shape: c.shape.clone(),
        psnr_db: Some(c.psnr_db).filter(|db| db.is_finite()),
        identical: c.psnr_db == f64::INFINITY,
    };
    Some(VerifiedHalf {
        function: verdict.function.clone(),
        of,
        latent_size,
        why_not,
        overflow: look.found.as_ref().map(Overflow::from),
        outputs: look.comparisons.iter().map(output).collect(),
    })
}

fn not_finite_of(verdict: &Verdict) -> Option<NotFinite> {
    let first = Overflow::from(verdict.found.as_ref()?);
    Some(NotFinite { function: verdict.function.clone(), first })
}
