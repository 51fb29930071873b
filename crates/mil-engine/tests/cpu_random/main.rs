//! Random small programs on the fast engine and on the plain one: odd shapes and channel counts, broadcast arithmetic,
//! every layout, and what planning looks for, with near misses. On each instruction set of the machine, and with any
//! number of threads to the bit.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../common/mod.rs"]
mod common;
mod grow;
mod steady;

use common::text;
use grow::grow;
use host_tensor::{HostTensor, Stop};
use mil::validate;
use mil_engine::{
    Isa,
    cpu::{Cpu, Options},
    reference::{self, Reference},
};
use std::collections::{BTreeMap, BTreeSet};
use testkit::Rng;

const N_PROGRAMS: u64 = 1000;

#[test]
fn random_programs_run_as_on_the_reference_engine() {
    let (mut n_programs, mut kernels) = (0, BTreeSet::new());
    for seed in 0..N_PROGRAMS {
        let mut rng = Rng::new(seed);
        let Some((program, shape)) = grow(&mut rng, &["x"]) else { continue };
        let values = rng.normals(shape.iter().product());
        let inputs = BTreeMap::from([("x".to_owned(), HostTensor::from_f32(shape, values))]);
        let valid = validate(&program).unwrap();
        let Ok(want) = Reference::compile(valid, reference::Options::default()).unwrap().run(&inputs, &Stop::never())
        else {
            continue;
        };
        n_programs += 1;
        let mut alone = None;
        for isa in Isa::available() {
            for threads in [1, 3] {
                let options = Options::default().with_isa(isa).with_threads(threads);
                let engine =
                    Cpu::compile(valid, options).unwrap_or_else(|e| panic!("seed {seed}: {e}\n{}", text(&program)));
                kernels.extend(engine.summary().steps.into_iter().map(|s| s.kernel));
                let got = engine
                    .run(&inputs, &Stop::never())
                    .unwrap_or_else(|e| panic!("seed {seed}: {e}\n{}", text(&program)));
                for (name, want) in &want {
                    let (a, b) = (want.to_f32_vec(), got[name].to_f32_vec());
                    let largest = a.iter().filter(|v| v.is_finite()).fold(1f32, |m, v| m.max(v.abs()));
                    let near =
                        |(a, b): (&f32, &f32)| a == b || (a - b).abs() <= 1e-4 * largest || (a.is_nan() && b.is_nan());
                    assert!(
                        want.shape() == got[name].shape() && a.iter().zip(&b).all(near),
                        "seed {seed}, {isa}: {name} differs\n{}\n{}\n{a:?}\n{b:?}",
                        text(&program),
                        engine.summary(),
                    );
                }
                let bits: Vec<Vec<u8>> = got.values().map(|t| t.bytes().to_vec()).collect();
                if threads == 1 {
                    alone = Some(bits);
                } else {
                    assert!(
                        alone.take() == Some(bits),
                        "seed {seed}, {isa}: threads change the bits\n{}",
                        text(&program)
                    );
                }
            }
        }
    }
    assert!(n_programs > N_PROGRAMS / 2, "only {n_programs} programs");
    let expected = [
        "attention",
        "convolution",
        "copy",
        "group_norm",
        "layer_norm",
        "map",
        "product",
        "reference",
        "upsample",
        "winograd",
    ];
    let missing: Vec<_> = expected.iter().filter(|k| !kernels.contains(**k)).collect();
    assert!(missing.is_empty(), "no program used {missing:?}; {kernels:?}");
}
