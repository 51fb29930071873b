//! A matrix product on the fast engine, compared with the plain one and timed.

use std::time::Instant;

use mil::{DType, FunctionBuilder, HostTensor, Literal, Opset, Program, Type};
use sd_convert::verify::psnr;
use sd_engines::{MilEngine, Options, Precision};
use sd_runtime::Tensors;
use serde::Serialize;

use crate::bench::{median, peak};
use crate::engine::cpu_default;
use crate::error::{Context, Result};

/// Rows, outputs and inputs: a linear layer in the middle of a UNet.
const ROWS: usize = 512;
const OUTPUTS: usize = 1280;
const INPUTS: usize = 1280;
/// Measured runs, after one to warm up.
const N_RUNS: usize = 5;
/// What f32 reaches everywhere; wrong kernels are far below.
const MIN_PSNR_DB: f64 = 80.0;

/// What a matrix product on the fast engine came to.
#[derive(Debug, Serialize)]
pub struct SelfTest {
    /// Rows, outputs and inputs.
    pub product: String,
    /// Whether the result is that of the plain engine.
    pub right: bool,
    /// Null when the results are identical.
    pub psnr_db: Option<f64>,
    /// Median of the runs.
    pub seconds: f64,
    /// Of the fast engine in f32.
    pub f32_gflops: f64,
    /// What nothing but arithmetic limits, all threads together.
    pub peak_gflops: f64,
    /// The same product in bf16; null where the processor has no instructions for it.
    pub bf16_gflops: Option<f64>,
}

/// Computes, compares and measures.
pub(super) fn run(isa: Option<&str>) -> Result<SelfTest> {
    let program = product()?;
    let inputs = Tensors::from([("x".to_owned(), values(&[ROWS, INPUTS], 1))]);
    let options = cpu_default(isa)?;
    let fast = MilEngine::from_program(&program, options.clone())?;
    let plain = MilEngine::from_program(&program, Options::default())?;
    let y = |engine: &MilEngine| -> Result<Vec<f32>> {
        Ok(engine.run_once(&inputs)?.get("y").context("there is no result")?.to_f32_vec())
    };
    let psnr_db = psnr(&y(&plain)?, &y(&fast)?);
    let before = peak(&fast.plans());
    let seconds = time(&fast, &inputs)?;
    let peak_gflops = (before + peak(&fast.plans())) / 2.0;
    let has_bf16 = fast.plans().first().is_some_and(|(_, plan)| plan.isa.multiplies_bf16());
    let bf16_gflops = if has_bf16 {
        let engine = MilEngine::from_program(&program, options.with_precision(Precision::Bf16))?;
        Some(gflops(time(&engine, &inputs)?))
    } else {
        None
    };
    Ok(SelfTest {
        product: format!("{ROWS}x{OUTPUTS}x{INPUTS}"),
        right: psnr_db >= MIN_PSNR_DB,
        psnr_db: Some(psnr_db).filter(|db| db.is_finite()),
        seconds,
        f32_gflops: gflops(seconds),
        peak_gflops,
        bf16_gflops,
    })
}

fn gflops(seconds: f64) -> f64 {
    2.0 * (ROWS * OUTPUTS * INPUTS) as f64 / seconds / 1e9
}

fn time(engine: &MilEngine, inputs: &Tensors) -> Result<f64> {
    engine.run_once(inputs)?;
    let mut times = Vec::new();
    for _ in 0..N_RUNS {
        let begin = Instant::now();
        engine.run_once(inputs)?;
        times.push(begin.elapsed().as_secs_f64());
    }
    Ok(median(times))
}

/// `y = x · wᵀ` with a constant `w`.
fn product() -> Result<Program> {
    let mut b = FunctionBuilder::new("main", Opset::CoreML6);
    let x = b.input("x", Type::tensor(DType::F32, &[ROWS, INPUTS]));
    let mut e = b.emitter();
    let w = e.constant("w", Literal::from(values(&[OUTPUTS, INPUTS], 2)));
    let y = e.op("linear", "y", [("x", x.into()), ("weight", w.into())])?;
    let ops = e.into_ops();
    Ok(b.finish_program(ops, &[y]))
}

/// Values in [−1, 1) that are the same on every machine.
fn values(shape: &[usize], seed: u32) -> HostTensor {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    let n = shape.iter().product();
    HostTensor::from_f32(shape, std::iter::repeat_with(next).take(n).collect::<Vec<_>>())
}
