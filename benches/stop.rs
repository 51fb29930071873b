//! How long a run goes on after it was asked to stop, at random moments: one JSON object on standard output.
//!
//! `cargo bench -p smelt-benches --bench stop -- PACKAGE MOMENTS`; `cargo xtask bench stop` does it for the models of
//! Stable Diffusion 1.5 and keeps the result.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use host_tensor::{HostTensor, Stop};
use mil_engine::{
    EngineError,
    cpu::{Cpu, Options},
    reference::Feature,
};
use mlpackage::{Body, Package};
use testkit::Rng;

type Error = Box<dyn std::error::Error>;

#[allow(clippy::print_stdout, reason = "the result is the output")]
fn main() -> Result<(), Error> {
    // Cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let [package, n_moments] = &arguments[..] else {
        // `cargo bench` without arguments runs every suite; this one has nothing to run on then.
        println!("stop: needs PACKAGE and MOMENTS; nothing measured");
        return Ok(());
    };
    let n_moments: usize = n_moments.parse()?;
    let package = Package::open(package)?;
    let Body::Program(program) = &package.model().body else { return Err("the package is a pipeline".into()) };
    let valid = mil::validate(program).map_err(|faults| faults.summary())?;
    let engine = Cpu::compile(valid, Options::default())?;
    let mut rng = Rng::new(1);
    let inputs: BTreeMap<_, _> =
        engine.inputs().iter().map(|f| input(f, &mut rng)).collect::<Option<_>>().ok_or("an input has no shape")?;
    engine.run(&inputs, &Stop::never())?;
    let start = Instant::now();
    engine.run(&inputs, &Stop::never())?;
    let whole = start.elapsed();
    let mut latencies_ms = Vec::with_capacity(n_moments);
    while latencies_ms.len() < n_moments {
        // A moment after the end of a run says nothing.
        if let Some(latency) = stopped_after(whole.mul_f32(rng.unit()), &engine, &inputs)? {
            latencies_ms.push(latency.as_secs_f64() * 1e3);
        }
    }
    println!("{}", serde_json::json!({ "run_ms": whole.as_secs_f64() * 1e3, "latencies_ms": latencies_ms }));
    Ok(())
}

/// Numbers from zero to one; as integers, the first word of every table.
fn input(feature: &Feature, rng: &mut Rng) -> Option<(String, HostTensor)> {
    let shape = feature.ty.static_shape()?;
    let values = (0..shape.iter().product()).map(|_| rng.unit()).collect();
    Some((feature.name.clone(), HostTensor::from_f32(shape, values).cast(feature.ty.dtype)))
}

/// Runs, and asks to stop after a while from another thread: how long the run went on, if it did not end before.
fn stopped_after(
    wait: Duration,
    engine: &Cpu,
    inputs: &BTreeMap<String, HostTensor>,
) -> Result<Option<Duration>, Error> {
    let stop = Stop::new();
    let (ran, ended, asked) = thread::scope(|scope| {
        let asking = scope.spawn(|| {
            thread::sleep(wait);
            let asked = Instant::now();
            stop.set();
            asked
        });
        let ran = engine.run(inputs, &stop);
        (ran, Instant::now(), asking.join())
    });
    let asked = asked.map_err(|_| "the thread that asks panicked")?;
    match ran {
        Ok(_) => Ok(None),
        Err(EngineError::Stopped) => Ok(Some(ended.saturating_duration_since(asked))),
        Err(error) => Err(error.into()),
    }
}
