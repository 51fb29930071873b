//! What is run, as data: sources, and the options of each command.

use super::{families, pairs::Factors};

/// A command of `smelt` that makes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Convert,
    Compress,
    Chunk,
    Run,
    Generate,
}

impl Verb {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Convert => "convert",
            Self::Compress => "compress",
            Self::Chunk => "chunk",
            Self::Run => "run",
            Self::Generate => "generate",
        }
    }
}

/// A command on a source: a checkpoint, a folder of Apple's packages, or what a base made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Case {
    pub(super) verb: Verb,
    pub(super) source: &'static str,
    pub(super) options: String,
}

impl Case {
    /// What it is called in tables and records.
    pub(super) fn name(&self) -> String {
        format!("{} {} {}", self.verb.name(), self.source, self.options).trim_end().to_owned()
    }
}

/// Something that cases begin with.
pub(super) struct Base {
    pub(super) name: &'static str,
    pub(super) verb: Verb,
    pub(super) source: &'static str,
    pub(super) options: &'static str,
}

const fn base(name: &'static str, verb: Verb, source: &'static str, options: &'static str) -> Base {
    Base { name, verb, source, options }
}

/// Made when the first case needs them.
pub(super) const BASES: &[Base] = &[
    base("text-13", Verb::Convert, "demo", "--component text-encoder"),
    base("unet-13", Verb::Convert, "demo", "--component unet"),
    base("unet-15", Verb::Convert, "demo", "--component unet --target macOS15"),
    base("unet-f32", Verb::Convert, "demo", "--component unet --precision float32 --attention original"),
    base("unet-sizes", Verb::Convert, "demo", "--component unet --target macOS15 --latent-size 16x16,24x16"),
    base("vae-13", Verb::Convert, "demo", "--component vae-decoder --precision float16"),
    base("all-13", Verb::Convert, "demo", ""),
    base("all-sd15", Verb::Convert, "tiny-sd15", "--target iOS17"),
    base("palettes-13", Verb::Compress, "unet-13", "--bits 6"),
    base("palettes-15", Verb::Compress, "unet-15", "--bits 4 --group-size 16"),
    base("integers-15", Verb::Compress, "unet-15", "--dtype int4 --block-size 32"),
    base("sparse-13", Verb::Compress, "unet-13", "--sparsity 0.5"),
    base("all-palettes", Verb::Compress, "all-13", "--bits 6"),
    base("pipeline-13", Verb::Chunk, "unet-13", "-n 2 --pipeline"),
    base("unet-xl", Verb::Convert, "tiny-sdxl", "--component unet"),
    base("text-xl", Verb::Convert, "tiny-sdxl", "--component text-encoder-2"),
    base("vae-xl", Verb::Convert, "tiny-sdxl", "--component vae-decoder"),
    base("refiner-xl", Verb::Convert, "tiny-sdxl-refiner", "--component refiner"),
    base("guided-sd15", Verb::Convert, "tiny-sd15", "--component control-unet"),
    base("guide-sd15", Verb::Convert, "tiny-controlnet", "--latent-size 16x16"),
    base("mmdit-3", Verb::Convert, "tiny-sd3", "--component mmdit"),
    base("mmdit-35", Verb::Convert, "tiny-sd35-medium", "--component mmdit"),
    base("t5-3", Verb::Convert, "tiny-sd3", "--component text-encoder-3"),
    base("inpaint-sd15", Verb::Convert, "tiny-sd15-inpaint", "--component unet"),
    base("lcm-sd15", Verb::Convert, "tiny-lcm", "--component unet"),
    base("picture", Verb::Generate, "demo", "--steps 4 --seed 3"),
];

const CONVERT: Factors = Factors {
    values: &[
        &["demo", "tiny-sd15", "tiny-sd21"],
        &[
            "",
            "--quantize-nbits 1",
            "--quantize-nbits 2",
            "--quantize-nbits 3",
            "--quantize-nbits 4",
            "--quantize-nbits 6",
            "--quantize-nbits 8",
        ],
        &["--target macOS13", "--target macOS14", "--target macOS15"],
        &["", "--attention original", "--attention split-einsum-v2"],
        &["", "--precision float16", "--precision float32"],
        &["", "--latent-size 24x16", "--latent-size 16x16,24x16"],
        &["", "--chunk-unet", "--chunk-unet 3"],
        &["", "--unet-batch-one", "--unet-batches 1,2"],
        &["", "--model-version name"],
    ],
    apart: &[("--quantize-nbits 3", "--target macOS13"), ("--quantize-nbits 3", "--target macOS14")],
};

/// Of one package in the form of iOS 16.
const COMPRESS_OLD: Factors = Factors {
    values: &[
        &["unet-13", "unet-f32", "apple-original"],
        &[
            "--bits 1",
            "--bits 2",
            "--bits 4",
            "--bits 6",
            "--bits 8",
            "--bits 4 --mode uniform",
            "--dtype int8",
            "--dtype uint8 --mode linear",
            "--dtype int8 --granularity tensor",
            "--sparsity 0.5",
            "--sparsity 0.6 --prune-block 4",
            "--threshold 0.02 --skip *conv_out*",
            "--n-of-m 2:4",
        ],
        &["", "--skip *conv_in*", "--only conv", "--min-elements 20000"],
        &["", "--report {out}/report.json"],
    ],
    apart: &[],
};

/// Of one package in the form of iOS 18.
const COMPRESS_NEW: Factors = Factors {
    values: &[
        &["unet-15", "unet-sizes", "unet-13"],
        &[
            "--bits 3",
            "--bits 4 --group-size 16",
            "--bits 4 --group-size 4 --axis 1 --only conv",
            "--bits 4 --cluster-dim 2",
            "--bits 6 --per-channel-scale",
            "--dtype int4 --block-size 32",
            "--dtype uint4 --mode linear",
            "--sparsity 0.5 --bits 4",
            "--sparsity 0.5 --dtype int8",
        ],
        &["--target macOS15", "--target iOS18"],
    ],
    apart: &[],
};

const CHUNK: Factors = Factors {
    values: &[
        &["unet-13", "unet-sizes", "unet-f32", "palettes-13", "palettes-15", "text-13", "vae-13", "apple-q6"],
        &["", "-n 3", "-n 2 --pipeline"],
        &["", "--check"],
    ],
    apart: &[("unet-sizes", "-n 2 --pipeline")],
};

const RUN: Factors = Factors {
    values: &[
        &[
            "unet-13",
            "unet-15",
            "unet-f32",
            "palettes-13",
            "palettes-15",
            "integers-15",
            "sparse-13",
            "pipeline-13",
            "text-13",
            "vae-13",
            "apple-macos14",
            "apple-q6",
            "apple-ios18_q4",
        ],
        &["", "--compute bf16", "--compute bf16x3", "--weights expanded", "--threads 1", "--engine reference"],
        &["", "--rounding declared"],
    ],
    apart: &[
        ("--rounding declared", "--compute bf16"),
        ("--rounding declared", "--compute bf16x3"),
        ("--rounding declared", "--weights expanded"),
    ],
};

const GENERATE: Factors = Factors {
    values: &[
        &["demo", "box", "tiny-sd15", "tiny-sd21", "all-13", "all-palettes", "all-sd15"],
        &["", "--scheduler pndm", "--scheduler dpmpp-2m", "--scheduler ddim", "--scheduler euler"],
        &["", "--random torch", "--random nvidia"],
        &["", "--guidance 1", "--guidance 7"],
        &["", "--compute bf16", "--weights expanded", "--threads 1", "--engine reference"],
        &["", "--count 2 --latents {out}/latents.safetensors"],
        &["", "--negative-prompt green", "--no-safety-check"],
        &["", "--image {picture} --strength 0.6"],
        &["", "--attention original", "--attention split-einsum-v2"],
        &["", "--precision float32"],
        &["--steps 4", "--steps 5 --seed 7"],
    ],
    apart: &[
        // Refused: without guidance nothing heeds it.
        ("--guidance 1", "--negative-prompt green"),
        ("all-13", "--attention original"),
        ("all-13", "--attention split-einsum-v2"),
        ("all-13", "--precision float32"),
        ("all-palettes", "--attention original"),
        ("all-palettes", "--attention split-einsum-v2"),
        ("all-palettes", "--precision float32"),
        ("all-sd15", "--attention original"),
        ("all-sd15", "--attention split-einsum-v2"),
        ("all-sd15", "--precision float32"),
    ],
};

/// What the factors do not say: other names of a choice, parts of a checkpoint, options that stand alone.
const SINGLE: &[(Verb, &str, &str)] = &[
    (Verb::Convert, "demo", "--target iOS16"),
    (Verb::Convert, "demo", "--target iOS17"),
    (Verb::Convert, "demo", "--target iOS18 --precision float32"),
    (Verb::Convert, "demo", "--size 256x192 --component unet,vae-decoder"),
    (Verb::Convert, "demo", "--text-length 40 --component unet"),
    (Verb::Convert, "tiny-sd15", "--component safety-checker"),
    (Verb::Convert, "tiny-sd15", "--latent-size 32x32 --attention split-einsum-v2 --component unet"),
    (Verb::Convert, "tiny-sdxl", "--refiner {golden}/tiny-sdxl-refiner --quantize-nbits 6"),
    (Verb::Convert, "tiny-sdxl", "--attention original --precision float32"),
    (Verb::Convert, "tiny-sdxl", "--latent-size 24x16,16x16 --target macOS15 --component unet,text-encoder-2"),
    (Verb::Convert, "mini-sdxl", "--controlnet {golden}/mini-sdxl-controlnet --unet-support-controlnet"),
    (Verb::Convert, "mini-sdxl", "--component unet --attention split-einsum-v2 --unet-batch-one --chunk-unet"),
    (Verb::Convert, "tiny-sdxl-refiner", "--attention original"),
    (Verb::Convert, "tiny-sd15", "--controlnet {golden}/tiny-controlnet --controlnet {golden}/tiny-sd15-controlnet-b"),
    (Verb::Convert, "tiny-controlnet", "--latent-size 24x16,16x16 --attention original"),
    (Verb::Run, "unet-xl", ""),
    (Verb::Run, "unet-xl", "--engine reference"),
    (Verb::Run, "text-xl", ""),
    (Verb::Run, "vae-xl", ""),
    (Verb::Run, "refiner-xl", ""),
    (Verb::Run, "guided-sd15", ""),
    (Verb::Run, "guide-sd15", ""),
    (Verb::Run, "inpaint-sd15", ""),
    (Verb::Convert, "tiny-sd3", ""),
    (Verb::Convert, "tiny-sd3", "--component mmdit,text-encoder-3 --text-length 256 --attention original"),
    (Verb::Convert, "tiny-sd35-large", "--component mmdit --attention split-einsum-v2 --precision float32"),
    (Verb::Run, "mmdit-3", ""),
    (Verb::Run, "mmdit-35", ""),
    (Verb::Run, "t5-3", ""),
    (Verb::Run, "lcm-sd15", ""),
    (Verb::Chunk, "unet-xl", "--check"),
    (Verb::Compress, "unet-xl", "--bits 6"),
    (Verb::Compress, "palettes-13", "--bits 4 --recompress"),
    (Verb::Compress, "palettes-13", "--mode unique --recompress"),
    (Verb::Compress, "unet-f32", "--mode half"),
    (Verb::Compress, "all-13", "--bits 4"),
    (Verb::Compress, "all-sd15", "--bits 6"),
    (Verb::Generate, "demo", "--steps 4 --latent-size 24x16"),
    (Verb::Generate, "all-sd15", "--steps 3 --count 2"),
];

/// A few that touch every command, for a run of a minute.
const QUICK: &[(Verb, &str, &str)] = &[
    (Verb::Convert, "demo", ""),
    (Verb::Convert, "demo", "--component unet --target macOS15 --quantize-nbits 4 --chunk-unet"),
    (Verb::Compress, "unet-13", "--bits 6"),
    (Verb::Chunk, "unet-13", "--check"),
    (Verb::Run, "palettes-13", ""),
    (Verb::Run, "unet-xl", ""),
    (Verb::Run, "guide-sd15", ""),
    (Verb::Generate, "all-13", "--steps 4"),
    (Verb::Generate, "family-xl", "--steps 2"),
    (Verb::Generate, "family-3", "--steps 2"),
];

/// Every case, in the order in which they run.
pub(super) fn cases() -> Vec<Case> {
    let tables = [
        (Verb::Convert, CONVERT),
        (Verb::Compress, COMPRESS_OLD),
        (Verb::Compress, COMPRESS_NEW),
        (Verb::Chunk, CHUNK),
        (Verb::Run, RUN),
        (Verb::Generate, GENERATE),
    ];
    let mut cases = singles(SINGLE);
    cases.extend(families::cases());
    for (verb, factors) in tables {
        cases.extend(factors.rows().into_iter().map(|row| {
            let options: Vec<&str> = row[1..].iter().copied().filter(|option| !option.is_empty()).collect();
            Case { verb, source: row[0], options: options.join(" ") }
        }));
    }
    cases
}

/// The cases of a quick run.
pub(super) fn quick() -> Vec<Case> {
    singles(QUICK)
}

fn singles(list: &[(Verb, &'static str, &str)]) -> Vec<Case> {
    list.iter().map(|&(verb, source, options)| Case { verb, source, options: options.to_owned() }).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_case_stands_twice() {
        for cases in [cases(), quick()] {
            let names: BTreeSet<String> = cases.iter().map(Case::name).collect();
            assert_eq!(names.len(), cases.len());
        }
    }

    #[test]
    fn a_base_is_made_of_what_stands_before_it() {
        for family in families::FAMILIES {
            let names = [family.name, family.packages];
            assert!(BASES.iter().all(|base| !names.contains(&base.name)), "{names:?}");
        }
        for (idx, base) in BASES.iter().enumerate() {
            let later = BASES[idx..].iter().any(|other| other.name == base.source);
            assert!(!later, "{} is made of {}", base.name, base.source);
        }
    }
}
