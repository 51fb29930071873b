//! How near the CPU engine comes to the reference engine on a UNet's step of 512x512, in each precision of its products.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::ours::Ours;
use crate::{bench::record::Metrics, synth};

/// Precisions by the names of `--compute`, and the metric of each.
const PRECISIONS: [(&str, &str); 3] = [("f32", "psnr_f32"), ("bf16", "psnr_bf16"), ("bf16x3", "psnr_bf16x3")];

/// Latents and text of both samples are normal numbers, as far as they go in f16; the time step is an early one.
#[rustfmt::skip]
const INPUTS: [(&str, &[usize], f32, f32); 3] = [
    ("sample", &[2, 4, 64, 64], 0.0, 1.0),
    ("timestep", &[2], 901.0, 0.0),
    ("encoder_hidden_states", &[2, 768, 1, 77], 0.0, 1.0),
];

/// Runs the reference engine once, and the CPU engine in each precision, on the same inputs.
pub(super) fn measure(ours: &Ours, metrics: &mut Metrics) -> Result<()> {
    let dir = ours.empty("accuracy")?;
    let inputs = dir.join("inputs.safetensors");
    synth::write_normal(&inputs, &INPUTS, 0)?;
    let run = |name: &str, how: [&str; 2]| -> Result<Vec<f32>> {
        let outputs: PathBuf = dir.join(name).with_extension("safetensors");
        ours.run(&inputs, &outputs, how)?;
        read(&outputs, "noise_pred").with_context(|| format!("smelt run wrote something else to {}", outputs.display()))
    };
    let expected = run("reference", ["--engine", "reference"])?;
    for (precision, metric) in PRECISIONS {
        let db = psnr(&expected, &run(precision, ["--compute", precision])?);
        metrics.add(metric, "dB to the reference engine", db);
    }
    Ok(())
}

/// A tensor of f32 from a safetensors file.
fn read(path: &Path, name: &str) -> Result<Vec<f32>> {
    let bytes = fs::read(path)?;
    let (length, rest) = bytes.split_first_chunk::<8>().context("no header")?;
    let length = usize::try_from(u64::from_le_bytes(*length))?;
    let header: Value = serde_json::from_slice(rest.get(..length).context("a cut header")?)?;
    let tensor = &header[name];
    ensure!(tensor["dtype"] == "F32", "{name} is {}", tensor["dtype"]);
    let [begin, end]: [usize; 2] = serde_json::from_value(tensor["data_offsets"].clone())?;
    let data = rest.get(length + begin..length + end).context("cut data")?;
    Ok(data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
}

/// 20·log10(max|expected| / rms error).
fn psnr(expected: &[f32], got: &[f32]) -> f64 {
    let squares = expected.iter().zip(got).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum::<f64>();
    let largest = expected.iter().fold(0.0, |largest: f64, x| largest.max(f64::from(x.abs())));
    20.0 * (largest / (squares / expected.len() as f64).sqrt()).log10()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_is_that_of_testkit() {
        let (a, b) = ([1.0, -3.0, 2.0, 0.5], [1.1, -3.0, 1.9, 0.5]);
        assert!((psnr(&a, &b) - testkit::psnr(&a, &b)).abs() < 1e-9);
        // rms error 0.0707…, by 3.
        assert!((psnr(&a, &b) - 32.55).abs() < 0.01);
    }

    #[test]
    fn only_a_whole_tensor_of_floats_is_read() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("x.safetensors");
        let header = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[4,12]},"b":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}}"#;
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.extend([0.0f32, 1.5, -2.0].iter().flat_map(|x| x.to_le_bytes()));
        fs::write(&path, &bytes).expect("written");
        assert_eq!(read(&path, "a").expect("a tensor"), [1.5, -2.0]);
        assert!(read(&path, "b").is_err() && read(&path, "c").is_err());
        fs::write(&path, &bytes[..bytes.len() - 1]).expect("written");
        assert!(read(&path, "a").is_err());
    }
}
