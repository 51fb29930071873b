//! Single operations of the shapes that a UNet step of batch 2 has, each as a program of its own.
//!
//! They are packages that the same binary runs as it runs models, and not calls into the engine from here: the build of
//! this tool is not the one that users get. The step of the plan that does the work is what counts; bringing inputs into
//! the engine's layout, which a model does once at its borders, does not.

use anyhow::{Context, Result};
use mil::{Bound, Const, DType, FunctionBuilder, HostTensor, OpError, Opset, Program, Type, ValueId, validate};
use mlpackage::{Description, Existing, write};

use super::ours::{Ours, Report};
use crate::bench::record::Metrics;

/// Runs of which one turn takes the median.
const N_RUNS: usize = 9;
const BATCH: usize = 2;

/// An operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// A linear layer, as a UNet for the Neural Engine has it: a 1x1 convolution of `rows` positions.
    Gemm { rows: usize, outputs: usize, inputs: usize },
    /// A convolution of two square images of `side` pixels.
    Conv3x3 { inputs: usize, outputs: usize, side: usize },
    /// One head, for both samples.
    Attention { queries: usize, keys: usize, elements: usize },
}

#[rustfmt::skip]
const SHAPES: [Shape; 27] = [
    gemm(8192, 320, 320), gemm(8192, 2560, 320), gemm(8192, 320, 1280),
    gemm(2048, 640, 640), gemm(2048, 5120, 640), gemm(2048, 640, 2560),
    gemm(512, 1280, 1280), gemm(512, 10240, 1280), gemm(512, 1280, 5120),
    gemm(128, 1280, 1280), gemm(154, 1280, 768),
    conv3x3(320, 320, 64), conv3x3(640, 320, 64), conv3x3(960, 320, 64),
    conv3x3(640, 640, 32), conv3x3(1280, 640, 32), conv3x3(1920, 640, 32),
    conv3x3(1280, 1280, 16), conv3x3(2560, 1280, 16),
    conv3x3(1280, 1280, 8), conv3x3(2560, 1280, 8),
    attention(4096, 4096, 40), attention(4096, 77, 40), attention(1024, 1024, 80),
    attention(1024, 77, 80), attention(256, 256, 160), attention(64, 64, 160),
];

const fn gemm(rows: usize, outputs: usize, inputs: usize) -> Shape {
    Shape::Gemm { rows, outputs, inputs }
}

const fn conv3x3(inputs: usize, outputs: usize, side: usize) -> Shape {
    Shape::Conv3x3 { inputs, outputs, side }
}

const fn attention(queries: usize, keys: usize, elements: usize) -> Shape {
    Shape::Attention { queries, keys, elements }
}

/// Measures all of them once, one after another in one process.
pub(super) fn measure(ours: &Ours, metrics: &mut Metrics) -> Result<()> {
    let dir = ours.empty("shapes")?;
    for shape in SHAPES {
        let program = shape.program()?;
        let path = dir.join(shape.name()).with_extension("mlpackage");
        write(path, validate(&program)?, &Description::of(&program), Existing::Refuse, &mut |_| {})?;
    }
    let (_, reports) = ours.bench(&dir, N_RUNS)?;
    for shape in SHAPES {
        let name = shape.name();
        let mut models = reports.models.iter();
        let report = models.find(|report| report.package.file_stem().is_some_and(|stem| stem == name.as_str()));
        let share = share(report.with_context(|| format!("no report of {name}"))?)?;
        metrics.add(format!("{name}_share"), "of the f32 peak", share);
    }
    Ok(())
}

/// Share of the peak that the step with the most work reaches.
fn share(report: &Report) -> Result<f64> {
    let step = report.profile.iter().max_by(|a, b| a.gflop.total_cmp(&b.gflop)).context("a plan without steps")?;
    Ok(step.gflop / step.seconds / report.peak_gflops)
}

impl Shape {
    /// As in names of metrics.
    fn name(self) -> String {
        match self {
            Self::Gemm { rows, outputs, inputs } => format!("gemm_{rows}x{outputs}x{inputs}"),
            Self::Conv3x3 { inputs, outputs, side } => format!("conv3x3_{inputs}_{outputs}_{side}"),
            Self::Attention { queries, keys, elements } => format!("attention_{queries}_{keys}_{elements}"),
        }
    }

    fn program(self) -> Result<Program, OpError> {
        match self {
            Self::Gemm { rows, outputs, inputs } => convolution([1, inputs, 1, rows], [outputs, inputs, 1, 1]),
            Self::Conv3x3 { inputs, outputs, side } => {
                convolution([BATCH, inputs, side, side], [outputs, inputs, 3, 3])
            }
            Self::Attention { queries, keys, elements } => heads(queries, keys, elements),
        }
    }
}

/// A convolution that keeps the size of the image.
fn convolution(x: [usize; 4], weight: [usize; 4]) -> Result<Program, OpError> {
    let mut builder = FunctionBuilder::new("main", Opset::CoreML6);
    let x = builder.input("x", Type::tensor(DType::F16, &x));
    let mut emitter = builder.emitter();
    let side = i32::from(weight[2] == 3);
    let args = [
        ("x", x.into()),
        ("weight", random(&weight).into()),
        ("bias", random(&weight[..1]).into()),
        ("strides", vec![1, 1].into()),
        ("pad_type", "custom".into()),
        ("pad", vec![side; 4].into()),
        ("dilations", vec![1, 1].into()),
        ("groups", 1.into()),
    ];
    let y = emitter.op("conv", "y", args)?;
    let ops = emitter.into_ops();
    Ok(builder.finish_program(ops, &[y]))
}

/// Attention of one head in the layout for the Neural Engine.
fn heads(n_queries: usize, n_keys: usize, n_elements: usize) -> Result<Program, OpError> {
    let mut builder = FunctionBuilder::new("main", Opset::CoreML6);
    let mut input = |name: &str, shape: [usize; 4]| builder.input(name, Type::tensor(DType::F16, &shape));
    let q = input("q", [BATCH, n_elements, 1, n_queries]);
    let k = input("k", [BATCH, n_keys, 1, n_elements]);
    let v = input("v", [BATCH, n_elements, 1, n_keys]);
    let mut emitter = builder.emitter();
    let einsum = |a: ValueId, b: ValueId, equation: &'static str| -> [(&'static str, Bound); 2] {
        [("values", vec![a, b].into()), ("equation", equation.into())]
    };
    let scale = Const::new(HostTensor::from_f16([], &[1.0 / (n_elements as f32).sqrt()]));
    let scores = emitter.op("einsum", "scores", einsum(k, q, "bkhc,bchq->bkhq"))?;
    let scaled = emitter.op("mul", "scaled", [("x", scores.into()), ("y", scale.into())])?;
    let weights = emitter.op("softmax", "weights", [("x", scaled.into()), ("axis", 1.into())])?;
    let y = emitter.op("einsum", "y", einsum(v, weights, "bchk,bkhq->bchq"))?;
    let ops = emitter.into_ops();
    Ok(builder.finish_program(ops, &[y]))
}

/// The same numbers each time, in half precision and of the size that keeps sums small.
fn random(shape: &[usize]) -> Const {
    let n_elements = shape.iter().product::<usize>();
    let n_inputs = n_elements / shape[0];
    let scale = 1.0 / (n_inputs as f32).sqrt();
    let mut state = 1u32;
    let values = std::iter::repeat_with(|| {
        // Numerical Recipes' generator; its upper bits will do.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((state >> 8) as f32 / (1 << 23) as f32 - 1.0) * scale
    });
    Const::new(HostTensor::from_f16(shape, &values.take(n_elements).collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_is_a_valid_program_of_a_name_of_its_own() {
        let mut names: Vec<String> = SHAPES.into_iter().map(Shape::name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), SHAPES.len());
        for shape in [gemm(8, 3, 5), conv3x3(2, 3, 4), attention(8, 5, 2)] {
            let program = shape.program().expect("a program");
            validate(&program).expect("a valid program");
        }
    }

    #[test]
    fn the_share_is_that_of_the_step_that_does_the_work() {
        let report = r#"{"package": "a", "load_s": 0, "median_s": 1, "gflop": 9, "peak_gflops": 10, "share_of_peak": 0,
            "weight_bytes": 0, "profile": [{"kernel": "import", "seconds": 3, "gflop": 0},
            {"kernel": "winograd", "seconds": 0.5, "gflop": 9}]}"#;
        let report: Report = serde_json::from_str(report).expect("a report");
        assert!((share(&report).expect("a step") - 1.8).abs() < 1e-9);
    }
}
