//! What fits, and what to choose: decided from what was found, and from recorded measurements.

use serde::Serialize;

use super::self_test::SelfTest;
use crate::machine::{Machine, Memory};
use crate::units::{bytes, seconds};

// benches/record/engine.jsonl, 25 November 2026, commit 18b43a0fdc8e: `peak_mb`, `peak_6bit_mb`, `image20_s`,
// `f32_peak_gflops`.
const UNET_F16_BYTES: u64 = 1_888_000_000;
const UNET_6BIT_BYTES: u64 = 815_000_000;
const PICTURE_SECONDS: f64 = 131.4;
const PICTURE_PEAK_GFLOPS: f64 = 216.1;
/// All five packages of Stable Diffusion 1.5 in float16 (benches/record/convert.jsonl).
const PACKAGES_BYTES: u64 = 2_700_000_000;
/// How much faster bf16 must be to be worth its rounding.
const BF16_GAIN: f64 = 1.2;

/// Whether something fits into memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FitVerdict {
    /// Into what is available now.
    Fits,
    /// Into the memory that the machine has, but not into what is available now.
    WhenOthersEnd,
    /// Not at all.
    TooLarge,
}

impl FitVerdict {
    /// The same in words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Fits => "fits",
            Self::WhenOthersEnd => "fits when other programs end",
            Self::TooLarge => "does not fit",
        }
    }
}

/// Whether a model fits.
#[derive(Debug, Serialize)]
pub struct Fit {
    /// The model.
    pub what: &'static str,
    /// Memory that it needs.
    pub needs_bytes: u64,
    /// Whether it fits.
    pub verdict: FitVerdict,
}

/// An option with its value, and the reason.
#[derive(Debug, Serialize)]
pub struct Advice {
    /// The option, with its value.
    pub option: String,
    /// Why.
    pub why: String,
}

/// Which models run in this memory.
pub(super) fn fits(memory: &Memory) -> Vec<Fit> {
    let models = [
        ("Stable Diffusion 1.5 at 512x512, 16-bit weights", UNET_F16_BYTES),
        ("Stable Diffusion 1.5 at 512x512, 6-bit weights", UNET_6BIT_BYTES),
    ];
    let fit = |(what, needs_bytes)| Fit { what, needs_bytes, verdict: verdict(memory, needs_bytes) };
    models.map(fit).into()
}

fn verdict(memory: &Memory, needs_bytes: u64) -> FitVerdict {
    if needs_bytes <= memory.available_bytes {
        FitVerdict::Fits
    } else if needs_bytes <= memory.total_bytes {
        FitVerdict::WhenOthersEnd
    } else {
        FitVerdict::TooLarge
    }
}

/// What to choose on this machine.
pub(super) fn choose(machine: &Machine, test: Option<&SelfTest>) -> Vec<Advice> {
    let mut advice = vec![compute(machine.processor.multiplies_bf16, test), bits(&machine.memory)];
    advice.extend(conversion(cfg!(target_os = "macos"), machine.architecture));
    if let Some(free) = machine.disk.free_bytes.filter(|&free| free < PACKAGES_BYTES) {
        let needed = bytes(PACKAGES_BYTES);
        let why =
            format!("the packages of Stable Diffusion 1.5 take {needed} in float16, and here are {} free", bytes(free));
        advice.push(Advice { option: "-o on another disk".into(), why });
    }
    if let Some(test) = test.filter(|test| test.right) {
        let estimate = PICTURE_SECONDS * PICTURE_PEAK_GFLOPS / test.peak_gflops;
        let estimate = seconds(std::time::Duration::from_secs_f64(estimate));
        let why =
            format!("takes about {estimate} with Stable Diffusion 1.5, guessed from the peak; smelt bench measures");
        advice.push(Advice { option: "--steps 20".into(), why });
    }
    advice
}

/// Precision of products.
fn compute(multiplies_bf16: bool, test: Option<&SelfTest>) -> Advice {
    let gain = test.and_then(|test| Some(test.bf16_gflops? / test.f32_gflops));
    let (value, why) = match (multiplies_bf16, gain) {
        (false, _) => ("f32", "the instructions in use have no products of bf16, which are slower without".to_owned()),
        (true, Some(gain)) if gain >= BF16_GAIN => {
            ("bf16", format!("its products are {gain:.1} times as fast; f32, the default, keeps every digit"))
        }
        (true, Some(gain)) => ("f32", format!("products in bf16 gain little here ({gain:.1} times as fast)")),
        (true, None) => ("f32", "bf16 may be faster: doctor without --quick measures it".to_owned()),
    };
    Advice { option: format!("--compute {value}"), why }
}

/// Bits of weights, for running here.
fn bits(memory: &Memory) -> Advice {
    let (option, why) = match (verdict(memory, UNET_F16_BYTES), verdict(memory, UNET_6BIT_BYTES)) {
        (FitVerdict::Fits, _) => {
            ("no --quantize-nbits", "16-bit weights fit; 6 bits only make packages smaller, not faster here")
        }
        (_, FitVerdict::Fits) => ("--quantize-nbits 6", "16-bit weights do not fit into what is available now"),
        (_, FitVerdict::WhenOthersEnd) => {
            ("--quantize-nbits 6", "and end other programs: even so there is too little memory now")
        }
        (_, FitVerdict::TooLarge) => {
            ("--quantize-nbits 4", "and smaller pictures (--latent-size 32x32): memory is short even for 6 bits")
        }
    };
    Advice { option: option.into(), why: why.into() }
}

/// How to convert: for the devices that will run the packages, which may be others than this one.
fn conversion(is_mac: bool, architecture: &str) -> [Advice; 2] {
    let attention = match (is_mac, architecture) {
        (true, "x86_64") => ("original", "this Mac has no Neural Engine; for iPhones and Apple silicon split-einsum"),
        _ => ("split-einsum", "for the Neural Engine; original for GPUs of Macs; Smelt's own engine runs either"),
    };
    let target =
        ("macOS13", "runs on every later system too; macOS15 for several sizes in one package and grouped palettes");
    [("--attention", attention), ("--target", target)]
        .map(|(option, (value, why))| Advice { option: format!("{option} {value}"), why: why.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test(f32_gflops: f64, bf16_gflops: Option<f64>) -> SelfTest {
        SelfTest {
            product: String::new(),
            right: true,
            psnr_db: None,
            seconds: 1.0,
            f32_gflops,
            peak_gflops: 2.0 * f32_gflops,
            bf16_gflops,
        }
    }

    #[test]
    fn bf16_is_for_processors_on_which_it_was_measured_to_be_faster() {
        let check = |multiplies, test: Option<SelfTest>, wanted: &str| {
            assert_eq!(compute(multiplies, test.as_ref()).option, wanted);
        };
        check(true, Some(test(100.0, Some(180.0))), "--compute bf16");
        check(true, Some(test(100.0, Some(110.0))), "--compute f32");
        check(true, None, "--compute f32");
        check(false, Some(test(100.0, None)), "--compute f32");
    }

    #[test]
    fn bits_follow_from_memory() {
        let check = |total_gb: f64, available_gb: f64, verdicts: [FitVerdict; 2], option: &str| {
            let size = |gb: f64| (gb * 1e9) as u64;
            let memory = Memory { total_bytes: size(total_gb), available_bytes: size(available_gb) };
            let found: Vec<FitVerdict> = fits(&memory).iter().map(|fit| fit.verdict).collect();
            assert_eq!((&found[..], bits(&memory).option.as_str()), (&verdicts[..], option));
        };
        check(16.0, 8.0, [FitVerdict::Fits, FitVerdict::Fits], "no --quantize-nbits");
        check(4.0, 1.0, [FitVerdict::WhenOthersEnd, FitVerdict::Fits], "--quantize-nbits 6");
        check(1.5, 0.5, [FitVerdict::TooLarge, FitVerdict::WhenOthersEnd], "--quantize-nbits 6");
        check(0.5, 0.4, [FitVerdict::TooLarge, FitVerdict::TooLarge], "--quantize-nbits 4");
    }

    #[test]
    fn attention_is_original_only_on_macs_without_a_neural_engine() {
        for (is_mac, architecture, wanted) in
            [(true, "x86_64", "original"), (true, "aarch64", "split-einsum"), (false, "x86_64", "split-einsum")]
        {
            assert_eq!(conversion(is_mac, architecture)[0].option, format!("--attention {wanted}"));
        }
    }
}
