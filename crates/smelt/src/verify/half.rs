//! A function as a device with half precision computes it: every result rounded to its declared type.
//!
//! The plain engine does that, so a large function is looked at by what its checkpoint gives at a small size; where
//! there is none, it is said that nobody looked.

use host_tensor::DType;
use mil::Function;
use sd_convert::half::{at_check_size, typical_inputs};
use sd_convert::verify::{Comparison, Input, compare, reference_options};
use sd_convert::{AttentionLayout, Checkpoint, Precision, Role, convert, has_sizes};
use sd_engines::{MilEngine, NonFinite, Options, Rounding};
use sd_runtime::Tensors;

use super::against::{Against, Asked, role_of};
use super::functions::Side;
use crate::engine::cpu_default;
use crate::error::{Context, Result};
use crate::package::inputs_of;

/// Floating-point operations up to which a function is run as it is: some seconds on two cores.
pub(super) const MOST_FLOPS: f64 = 2e11;

/// What a look at half precision came to.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Look {
    /// What was run, or why nothing was.
    pub at: At,
    /// The first operation that made values which are not finite.
    pub found: Option<NonFinite>,
    /// How near the outputs came to those in f32.
    pub comparisons: Vec<Comparison>,
}

/// What was run.
#[derive(Debug, Clone, PartialEq)]
pub enum At {
    /// The function itself.
    Package,
    /// The checkpoint's component, converted at the size of checks, for this function is too large.
    Checkpoint {
        /// Floating-point operations of the function itself.
        flops: f64,
    },
    /// Nothing, because of this.
    Nothing(String),
}

/// A function, and the comparison that was made of it before.
pub(super) struct Compared<'a> {
    pub(super) function: &'a str,
    pub(super) inputs: &'a [Input],
    /// What the function must agree with, in f32.
    pub(super) reference: &'a MilEngine,
    pub(super) drawn: &'a Tensors,
    pub(super) expected: &'a Tensors,
}

/// Looks at a function; `None` when nothing in it is computed in half precision.
pub(super) fn look(
    asked: &Asked,
    against: &Against,
    ours: &Side<'_>,
    compared: &Compared<'_>,
    most_flops: f64,
) -> Result<Option<Look>> {
    let function = compared.function;
    if !ours.programs(function).into_iter().any(computes_in_half) {
        return Ok(None);
    }
    let cannot = || format!("cannot run {}", asked.package.display());
    let planned = ours
        .engine(function, cpu_default(asked.how.engine.isa.as_deref()).with_context(cannot)?.into())
        .with_context(cannot)?;
    let flops: f64 = planned.plans().iter().map(|(_, plan)| plan.flops() + plan.steady_flops()).sum();
    drop(planned);
    let of = match against {
        Against::Checkpoint(checkpoint) => Some((&**checkpoint, role_of(asked, checkpoint, compared.inputs)?)),
        Against::Package(_) => None,
    };
    if flops <= most_flops {
        let engine = ours.engine(function, rounded().into()).with_context(cannot)?;
        let drawn = typical_inputs(of, compared.inputs, ours.first_function(function), asked.how.seed)?;
        let expected = match drawn == *compared.drawn {
            true => compared.expected.clone(),
            false => compared.reference.run_once(&drawn)?,
        };
        return run(At::Package, &engine, &drawn, &expected).map(Some);
    }
    match of {
        Some((checkpoint, role)) if has_sizes(role) => {
            small(asked, &ours.programs(function), (checkpoint, role), compared.inputs, flops).map(Some)
        }
        _ => {
            let why = format!(
                "one run of it is {:.0} GFLOP, and only a checkpoint tells the same at a small size: \
                 --against CHECKPOINT, or --rounding declared, which takes its time",
                flops / 1e9
            );
            Ok(Some(Look { at: At::Nothing(why), found: None, comparisons: Vec::new() }))
        }
    }
}

/// What the checkpoint's component does at the size of checks, in half precision beside full.
fn small(
    asked: &Asked,
    functions: &[&Function],
    (checkpoint, role): (&Checkpoint, Role),
    inputs: &[Input],
    flops: f64,
) -> Result<Look> {
    let full = at_check_size(role, &reference_options(checkpoint, role, inputs)?);
    let half =
        sd_convert::Options { precision: Some(Precision::Float16), attention: attention_of(functions), ..full.clone() };
    let half = convert(checkpoint, role, &half)?;
    let engine = MilEngine::from_program(&half.program, rounded())?;
    let drawn = typical_inputs(Some((checkpoint, role)), &inputs_of(&engine), half.program.main(), asked.how.seed)?;
    let full = convert(checkpoint, role, &full)?;
    let expected =
        MilEngine::from_program(&full.program, asked.how.engine.executor(Rounding::Boundary)?)?.run_once(&drawn)?;
    run(At::Checkpoint { flops }, &engine, &drawn, &expected)
}

fn run(at: At, engine: &MilEngine, drawn: &Tensors, expected: &Tensors) -> Result<Look> {
    let (outputs, found) = engine.run_watched(drawn).context("cannot run it with results rounded as declared")?;
    Ok(Look { at, found, comparisons: compare(expected, &outputs)? })
}

fn rounded() -> Options {
    Options::default().with_rounding(Rounding::Declared)
}

/// True when an operation that is more than a cast gives f16.
fn computes_in_half(function: &Function) -> bool {
    let mut computes = false;
    function.body.for_each_op(&mut |op| {
        let is_half = |v: &mil::ValueId| function.ty(*v).as_tensor().is_some_and(|t| t.dtype == DType::F16);
        computes |= op.kind != "cast" && !op.is_constexpr() && op.outputs.iter().any(is_half);
    });
    computes
}

/// The layout that a function's attention has: one head after another is spelt with `einsum`.
fn attention_of(functions: &[&Function]) -> AttentionLayout {
    let mut has_einsum = false;
    for function in functions {
        function.body.for_each_op(&mut |op| has_einsum |= op.kind == "einsum");
    }
    if has_einsum { AttentionLayout::SplitEinsum } else { AttentionLayout::Original }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::open_package;
    use crate::verify::against::Verification;
    use sd_convert::verify::random_inputs;
    use std::path::{Path, PathBuf};

    fn emoji() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../sd-demo/sd-emoji")
    }

    /// What a look at the demo's decoder finds when no operation may be spent on the package itself.
    fn look_without_work(against: impl FnOnce(&Path) -> Against) -> Look {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("decoder.mlpackage");
        let checkpoint = Checkpoint::open(emoji()).unwrap();
        let options = sd_convert::Options {
            latent_size: Some(sd_convert::LatentSize { height: 10, width: 12 }),
            ..sd_convert::Options::default()
        };
        let decoder = convert(&checkpoint, Role::VaeDecoder, &options).unwrap();
        decoder.write(&path, mlpackage::Existing::Refuse, &mut |_| ()).unwrap();
        let package = open_package(&path).unwrap();
        let asked = Asked { package: "x".into(), against: Path::new("y").into(), how: Verification::default() };
        let ours = Side::of(package.model());
        let engine = ours.engine("main", rounded().into()).unwrap();
        let inputs = inputs_of(&engine);
        let drawn = random_inputs(&inputs, None, 0).unwrap();
        let expected = engine.run_once(&drawn).unwrap();
        let (function, inputs) = ("main", &inputs[..]);
        let compared = Compared { function, inputs, reference: &engine, drawn: &drawn, expected: &expected };
        look(&asked, &against(&path), &ours, &compared, 0.0).unwrap().unwrap()
    }

    #[test]
    fn a_large_package_is_looked_at_by_what_its_checkpoint_gives_at_a_small_size() {
        let look = look_without_work(|_| Against::Checkpoint(Box::new(Checkpoint::open(emoji()).unwrap())));
        assert!(matches!(look.at, At::Checkpoint { flops } if flops > 1e8));
        assert!(look.found.is_none());
        let [image] = &look.comparisons[..] else { panic!("one output") };
        assert_eq!(image.shape, [1, 3, 64, 64]);
        assert!(image.psnr_db > 40.0 && image.psnr_db < 90.0, "{}", image.psnr_db);
    }

    #[test]
    fn a_large_package_without_a_checkpoint_is_not_looked_at_and_why_is_said() {
        let look = look_without_work(|path| Against::Package(Box::new(open_package(path).unwrap())));
        assert!(matches!(look.at, At::Nothing(why) if why.contains("GFLOP") && why.contains("--rounding declared")));
        assert!(look.comparisons.is_empty());
    }
}
