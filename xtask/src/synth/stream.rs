//! Writes a safetensors file of random tensors, drawn in parallel and streamed: memory is one buffer.

use std::{fs::File, io::Write, path::Path, sync::LazyLock};

use anyhow::{Context, Result};
use half::{bf16, f16, slice::HalfFloatSliceExt};
use rayon::prelude::*;
use serde_json::{Map, json};

use super::tensors::TensorSpec;

/// Type of the weights in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Dtype {
    F32,
    F16,
    #[value(name = "bf16")]
    BF16,
}

impl Dtype {
    /// As `config.json` spells it.
    pub(super) fn torch_name(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::F16 => "float16",
            Self::BF16 => "bfloat16",
        }
    }

    fn safetensors_name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::BF16 => "BF16",
        }
    }

    fn n_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::BF16 => 2,
        }
    }
}

/// Elements drawn from one random sequence. Part of what a seed means: changing it changes every checkpoint.
const BLOCK: usize = 1 << 18;
/// Blocks in memory at once.
const BLOCKS_PER_WRITE: usize = 32;

/// A run of elements of one tensor.
struct Block<'a> {
    tensor: &'a TensorSpec,
    index: u64,
    n_elements: usize,
}

/// Writes `tensors`, sorted by name as the safetensors library does; returns the number of elements.
///
/// `salt` keeps equal names in different files apart.
pub(super) fn write_safetensors(
    path: &Path,
    mut tensors: Vec<TensorSpec>,
    salt: &str,
    seed: u64,
    dtype: Dtype,
) -> Result<u64> {
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    let context = || format!("cannot write {}", path.display());
    let mut file = File::create(path).with_context(context)?;
    file.write_all(&header(&tensors, dtype)?).with_context(context)?;
    let blocks: Vec<Block<'_>> = tensors.iter().flat_map(blocks_of).collect();
    let mut buffer = vec![0u8; BLOCKS_PER_WRITE * BLOCK * dtype.n_bytes()];
    for group in blocks.chunks(BLOCKS_PER_WRITE) {
        let mut rest = buffer.as_mut_slice();
        let mut jobs = Vec::with_capacity(group.len());
        for block in group {
            let (out, tail) = rest.split_at_mut(block.n_elements * dtype.n_bytes());
            jobs.push((block, out));
            rest = tail;
        }
        let n_free = rest.len();
        jobs.into_par_iter().for_each(|(block, out)| block.draw(salt, seed, dtype, out));
        file.write_all(&buffer[..buffer.len() - n_free]).with_context(context)?;
    }
    Ok(tensors.iter().map(|tensor| tensor.n_elements() as u64).sum())
}

/// The length of the JSON, and the JSON padded to eight bytes.
fn header(tensors: &[TensorSpec], dtype: Dtype) -> Result<Vec<u8>> {
    let mut entries = Map::new();
    entries.insert("__metadata__".to_owned(), json!({"format": "pt"}));
    let mut start = 0;
    for tensor in tensors {
        let end = start + tensor.n_elements() * dtype.n_bytes();
        let entry = json!({"dtype": dtype.safetensors_name(), "shape": tensor.shape, "data_offsets": [start, end]});
        entries.insert(tensor.name.clone(), entry);
        start = end;
    }
    let mut text = serde_json::to_vec(&entries)?;
    text.resize(text.len().next_multiple_of(8), b' ');
    let mut header = (text.len() as u64).to_le_bytes().to_vec();
    header.append(&mut text);
    Ok(header)
}

fn blocks_of(tensor: &TensorSpec) -> impl Iterator<Item = Block<'_>> {
    let n_elements = tensor.n_elements();
    (0..n_elements).step_by(BLOCK).enumerate().map(move |(index, start)| Block {
        tensor,
        index: index as u64,
        n_elements: BLOCK.min(n_elements - start),
    })
}

impl Block<'_> {
    /// Fills `out` with this block's elements, little endian.
    fn draw(&self, salt: &str, seed: u64, dtype: Dtype, out: &mut [u8]) {
        const STRIP: usize = 1024;
        let mut words = Words(self.stream_seed(salt, seed));
        let (mut values, mut narrow) = ([0f32; STRIP], [0u16; STRIP]);
        for out in out.chunks_mut(STRIP * dtype.n_bytes()) {
            words.fill_normal(&mut values, self.tensor.mean, self.tensor.std);
            let n = out.len() / dtype.n_bytes();
            match dtype {
                Dtype::F32 => copy_le(out, values[..n].iter().map(|value| value.to_le_bytes())),
                Dtype::F16 => {
                    let halves: &mut [f16] = half::slice::HalfBitsSliceExt::reinterpret_cast_mut(&mut narrow[..]);
                    halves.convert_from_f32_slice(&values);
                    copy_le(out, narrow[..n].iter().map(|bits| bits.to_le_bytes()));
                }
                Dtype::BF16 => copy_le(out, values[..n].iter().map(|&value| bf16::from_f32(value).to_le_bytes())),
            }
        }
    }

    /// FNV-1a over seed, file, tensor and block: a sequence of its own for every block.
    fn stream_seed(&self, salt: &str, seed: u64) -> u64 {
        let (seed, index) = (seed.to_le_bytes(), self.index.to_le_bytes());
        let parts = [&seed[..], salt.as_bytes(), b"/", self.tensor.name.as_bytes(), &index[..]];
        let hash = |hash: u64, &byte: &u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        parts.concat().iter().fold(0xCBF2_9CE4_8422_2325, hash)
    }
}

fn copy_le<const N: usize>(out: &mut [u8], values: impl Iterator<Item = [u8; N]>) {
    for (out, value) in out.chunks_exact_mut(N).zip(values) {
        out.copy_from_slice(&value);
    }
}

/// splitmix64: one multiply-xor chain per 64 bits, four draws each.
struct Words(u64);

impl Words {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn fill_normal(&mut self, values: &mut [f32], mean: f32, std: f32) {
        let table: &[f32; 1 << 16] = &NORMAL;
        for four in values.chunks_exact_mut(4) {
            let word = self.next();
            for (i, value) in four.iter_mut().enumerate() {
                *value = mean + std * table[usize::from((word >> (16 * i)) as u16)];
            }
        }
    }
}

/// The standard normal quantiles at 65 536 equally probable points: a draw is a look-up. The ends lie at ±4.3.
static NORMAL: LazyLock<Box<[f32; 1 << 16]>> = LazyLock::new(|| {
    let mut table = Box::new([0.0; 1 << 16]);
    for (i, value) in table.iter_mut().enumerate() {
        *value = quantile((i as f64 + 0.5) / 65536.0) as f32;
    }
    table
});

/// Inverse of the standard normal distribution function, to 1e-9 (P. J. Acklam's rational approximation).
fn quantile(p: f64) -> f64 {
    const A: [f64; 6] = [
        -3.969683028665376e1,
        2.209460984245205e2,
        -2.759285104469687e2,
        1.38357751867269e2,
        -3.066479806614716e1,
        2.506628277459239,
    ];
    const B: [f64; 5] =
        [-5.447609879822406e1, 1.615858368580409e2, -1.556989798598866e2, 6.680131188771972e1, -1.328068155288572e1];
    const C: [f64; 6] = [
        -7.784894002430293e-3,
        -3.223964580411365e-1,
        -2.400758277161838,
        -2.549732539343734,
        4.374664141464968,
        2.938163982698783,
    ];
    const D: [f64; 4] = [7.784695709041462e-3, 3.224671290700398e-1, 2.445134137142996, 3.754408661907416];
    let horner = |coefficients: &[f64], x: f64| coefficients.iter().fold(0.0, |sum, c| sum * x + c);
    let tail = |p: f64| {
        let q = (-2.0 * p.ln()).sqrt();
        horner(&C, q) / (horner(&D, q) * q + 1.0)
    };
    if p < 0.02425 {
        tail(p)
    } else if p > 1.0 - 0.02425 {
        -tail(1.0 - p)
    } else {
        let q = p - 0.5;
        let r = q * q;
        horner(&A, r) * q / (horner(&B, r) * r + 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_normal_tables() {
        for (p, x) in [(0.5, 0.0), (0.975, 1.959_963_985), (0.001, -3.090_232_306), (0.999_99, 4.264_890_794)] {
            assert!((quantile(p) - x).abs() < 1e-7, "{p}: {}", quantile(p));
        }
    }

    #[test]
    fn a_tensor_of_several_blocks_does_not_repeat_itself() {
        let tensor = TensorSpec { name: "w".into(), shape: vec![3, BLOCK], mean: 0.0, std: 1.0 };
        let blocks: Vec<_> = blocks_of(&tensor).collect();
        assert_eq!(blocks.iter().map(|block| block.n_elements).sum::<usize>(), 3 * BLOCK);
        let draw = |block: &Block<'_>| {
            let mut out = vec![0; 64];
            block.draw("unet", 0, Dtype::F32, &mut out);
            out
        };
        assert!(draw(&blocks[0]) != draw(&blocks[1]) && draw(&blocks[1]) != draw(&blocks[2]));
    }
}
