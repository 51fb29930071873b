//! Conversion of weights: what every f16 conversion and every f32 reference run does once per element.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use host_tensor::{DType, convert_bytes, unpack_bits};

/// Elements of a 1280×1280 projection, the most common large weight of SD 1.5.
const N: usize = 1280 * 1280;

fn dtype_conversion(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("convert");
    let wide: Vec<u8> = (0..N).flat_map(|i| (i as f32 / N as f32 - 0.5).to_le_bytes()).collect();
    for (from, to) in [(DType::F32, DType::F16), (DType::F16, DType::F32), (DType::BF16, DType::F16)] {
        let source = convert_bytes(DType::F32, from, &wide, N);
        group.throughput(Throughput::Bytes(source.len() as u64));
        group.bench_function(format!("{}_to_{}", from.name(), to.name()), |bencher| {
            bencher.iter(|| convert_bytes(from, to, black_box(&source), N));
        });
    }
    group.finish();
}

fn palette_indices(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("unpack");
    for n_bits in [1, 4, 6] {
        let packed: Vec<u8> = (0..(N * n_bits).div_ceil(8)).map(|i| (i * 37) as u8).collect();
        group.throughput(Throughput::Elements(N as u64));
        group.bench_function(format!("{n_bits}_bit"), |bencher| {
            bencher.iter(|| unpack_bits(black_box(&packed), n_bits, N));
        });
    }
    group.finish();
}

criterion_group!(benches, dtype_conversion, palette_indices);
criterion_main!(benches);
