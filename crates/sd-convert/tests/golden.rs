//! Every component of the golden checkpoints, converted and run on the reference engine, against PyTorch,
//! and beside Apple's package of the same component where there is one.

#![allow(clippy::print_stdout, reason = "a table of what was measured belongs to the test")]

use host_tensor::{HostTensor, Stop};
use mil_engine::reference::{Options as EngineOptions, Reference, Rounding};
use mlpackage::Package;
use sd_convert::{
    AttentionLayout, Batch, Checkpoint, LatentSize, OnOverflow, Options, Precision, Role, Shapes, convert,
    convert_checked, package_name,
};
use sd_spec::Family;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};
use testkit::{load_safetensors, psnr};

type Tensors = BTreeMap<String, HostTensor>;

/// Least PSNR against PyTorch of programs in f32, in dB.
const FLOAT32_DB: f64 = 80.0;
/// Least PSNR of programs in f16, their arithmetic in f32.
const FLOAT16_DB: f64 = 65.0;
/// What re-association may cost against Apple's package: both round the same weights.
const LEEWAY_DB: f64 = 0.3;

/// One component at one size, with PyTorch's inputs and outputs.
struct Case {
    checkpoint: &'static str,
    role: Role,
    reference: &'static str,
    options: Options,
}

fn case(checkpoint: &'static str, role: Role, reference: &'static str) -> Case {
    Case { checkpoint, role, reference, options: Options::default() }
}

impl Case {
    fn sized(mut self, height: usize, width: usize) -> Self {
        self.options.latent_size = Some(LatentSize { height, width });
        self
    }

    fn layout(mut self, attention: AttentionLayout) -> Self {
        self.options.attention = attention;
        self
    }

    /// Apple's package of this component, size and layout.
    fn apple(&self, golden: &Path) -> Option<PathBuf> {
        let plain = self.options.latent_size.is_none() && self.options.unet_batch == Batch::Two;
        let variant = match self.options.attention {
            AttentionLayout::Original => "original",
            AttentionLayout::SplitEinsum => "split_einsum",
            AttentionLayout::SplitEinsumV2 => return None,
        };
        let folder = golden.join("packages").join(self.checkpoint).join(variant);
        let path = folder.join(package_name(self.checkpoint, self.role));
        (plain && path.is_dir()).then_some(path)
    }
}

/// PyTorch's tensors of a case whose names begin with `prefix`.
fn reference(golden: &Path, case: &Case, prefix: &str) -> Tensors {
    let file = golden.join("refs").join(case.checkpoint).join(format!("{}.safetensors", case.reference));
    let tensors = load_safetensors(&file);
    tensors.into_iter().filter_map(|(k, t)| Some((k.strip_prefix(prefix)?.to_owned(), t))).collect()
}

/// Runs a program on PyTorch's inputs and returns the worst output's PSNR.
#[track_caller]
fn worst_psnr(golden: &Path, case: &Case, program: &mil::Program, rounding: Rounding) -> f64 {
    let valid = mil::validate(program).unwrap_or_else(|faults| panic!("{}: {faults}", case.reference));
    let engine = Reference::compile(valid, EngineOptions::default().with_rounding(rounding)).expect("compiles");
    let mut inputs = reference(golden, case, "in.");
    // What the embedding that goes in was made of.
    inputs.remove("guidance_scale");
    let outputs = engine.run(&inputs, &Stop::never()).expect("runs");
    let expected = reference(golden, case, "out.");
    let mut worst = f64::INFINITY;
    for (name, got) in &outputs {
        let want = expected.get(name).unwrap_or_else(|| panic!("PyTorch has no output {name}"));
        assert_eq!(got.shape(), want.shape(), "{name}");
        worst = worst.min(psnr(&want.to_f32_vec(), &got.to_f32_vec()));
    }
    worst
}

#[track_caller]
fn check(case: &Case) {
    let Some(golden) = testkit::golden() else { return };
    let ckpt = Checkpoint::open(golden.join("checkpoints").join(case.checkpoint)).expect("a checkpoint");
    check_checkpoint(&golden, case, &ckpt);
}

#[track_caller]
fn check_checkpoint(golden: &Path, case: &Case, ckpt: &Checkpoint) {
    let program = |precision| {
        let options = Options { precision: Some(precision), ..case.options.clone() };
        convert(ckpt, case.role, &options).expect("converts").program
    };
    let (full, half) = (program(Precision::Float32), program(Precision::Float16));
    let float32 = worst_psnr(golden, case, &full, Rounding::Boundary);
    let float16 = worst_psnr(golden, case, &half, Rounding::Boundary);
    let rounded = worst_psnr(golden, case, &half, Rounding::Declared);
    let label = format!("{} {} {:?}", case.checkpoint, case.reference, case.options.attention);
    println!("{label:<56} f32 {float32:6.1}  f16 {float16:6.1}  rounded {rounded:6.1} dB");
    assert!(float32 >= FLOAT32_DB, "{label} in f32: {float32:.1} dB");
    assert!(float16 >= FLOAT16_DB, "{label} in f16: {float16:.1} dB");
    let Some(path) = case.apple(golden) else { return };
    if ckpt.family().spec().autoencoder_leaves_half && matches!(case.role, Role::VaeDecoder | Role::VaeEncoder) {
        // Apple's is in full precision, and so is what is converted by default.
        let found = convert_checked(ckpt, case.role, &Options::default(), &Shapes::default(), OnOverflow::UseFloat32)
            .expect("converts");
        assert_eq!((found.precision, found.is_known_to_leave_half), (Precision::Float32, true), "{label}");
        let theirs = Package::open(path).expect("Apple's package");
        let apple = worst_psnr(golden, case, theirs.model().program().expect("a program"), Rounding::Declared);
        println!("{:<56} {:10}  rounded {apple:6.1} dB", "    Apple's", "");
        assert!(worst_psnr(golden, case, &found.converted.program, Rounding::Declared) >= apple, "{label}");
        return;
    }
    let package = Package::open(path).expect("Apple's package");
    let theirs = package.model().program().expect("a program");
    let apple16 = worst_psnr(golden, case, theirs, Rounding::Boundary);
    let apple_rounded = worst_psnr(golden, case, theirs, Rounding::Declared);
    println!("{:<56} {:10}  f16 {apple16:6.1}  rounded {apple_rounded:6.1} dB", "    Apple's", "");
    assert!(float16 >= apple16 - LEEWAY_DB, "{label}: {float16:.2} dB, Apple's {apple16:.2}");
}

#[test]
fn text_encoders_match_pytorch() {
    for checkpoint in ["tiny-sd15", "tiny-sd21"] {
        check(&case(checkpoint, Role::TextEncoder, "text_encoder"));
        check(&case(checkpoint, Role::TextEncoder, "text_encoder_empty"));
    }
}

#[test]
fn text_encoders_of_xl_match_pytorch() {
    for checkpoint in ["tiny-sdxl", "mini-sdxl"] {
        check(&case(checkpoint, Role::TextEncoder, "text_encoder"));
        check(&case(checkpoint, Role::TextEncoder, "text_encoder_empty"));
        check(&case(checkpoint, Role::TextEncoder2, "text_encoder_2"));
        check(&case(checkpoint, Role::TextEncoder2, "text_encoder_2_empty"));
    }
    check(&case("tiny-sdxl-refiner", Role::TextEncoder2, "text_encoder_2"));
    check(&case("tiny-sdxl-refiner", Role::TextEncoder2, "text_encoder_2_empty"));
}

#[test]
fn text_encoders_of_sd3_match_pytorch() {
    for (role, reference) in [
        (Role::TextEncoder, "text_encoder"),
        (Role::TextEncoder, "text_encoder_empty"),
        (Role::TextEncoder2, "text_encoder_2"),
        (Role::TextEncoder2, "text_encoder_2_empty"),
    ] {
        check(&case("tiny-sd3", role, reference));
    }
}

#[test]
fn third_text_encoders_match_pytorch_at_every_length() {
    for reference in ["text_encoder_3", "text_encoder_3_empty"] {
        check(&case("tiny-sd3", Role::TextEncoder3, reference));
    }
    for reference in ["text_encoder_3_256", "text_encoder_3_empty_256"] {
        let mut long = case("tiny-sd3", Role::TextEncoder3, reference);
        long.options.text_length = Some(256);
        check(&long);
    }
}

#[test]
fn a_third_text_encoder_masks_padding_where_it_is_asked_to() {
    let mut masked = case("tiny-sd3", Role::TextEncoder3, "text_encoder_3_masked");
    masked.options.text_length = Some(128);
    masked.options.on_request = vec!["attention_mask"];
    check(&masked);
    let Some(golden) = testkit::golden() else { return };
    let ckpt = Checkpoint::open(golden.join("checkpoints/tiny-sd3")).unwrap();
    // Not by itself, for diffusers does not mask; and no other encoder has a mask.
    let plain = convert(&ckpt, Role::TextEncoder3, &Options::default()).unwrap();
    let inputs = &plain.description.functions[0].inputs;
    assert_eq!(inputs.iter().map(|input| &*input.name).collect::<Vec<_>>(), ["input_ids"]);
    let error = convert(&ckpt, Role::TextEncoder2, &masked.options).unwrap_err().to_string();
    assert!(error.contains("no text-encoder-2 has attention_mask on request"), "{error}");
}

const LAYOUTS: [AttentionLayout; 3] =
    [AttentionLayout::Original, AttentionLayout::SplitEinsum, AttentionLayout::SplitEinsumV2];

#[test]
fn unets_of_xl_match_pytorch_in_every_attention_layout() {
    for layout in LAYOUTS {
        check(&case("tiny-sdxl", Role::UNet, "unet").layout(layout));
        check(&case("tiny-sdxl-refiner", Role::Refiner, "unet").layout(layout));
        check(&case("mini-sdxl", Role::UNet, "unet").layout(layout));
    }
    check(&case("mini-sdxl", Role::UNet, "unet_t1"));
    check(&case("mini-sdxl", Role::UNet, "unet_8x12").sized(8, 12));
    let mut batch_one = case("mini-sdxl", Role::UNet, "unet_batch_one");
    batch_one.options.unet_batch = Batch::One;
    check(&batch_one);
}

#[test]
fn unets_that_take_more_match_pytorch() {
    for layout in LAYOUTS {
        check(&case("tiny-sd15-inpaint", Role::UNet, "unet").layout(layout));
        check(&case("tiny-lcm", Role::UNet, "unet").layout(layout));
    }
    check(&case("tiny-sd15-inpaint", Role::UNet, "unet_t1"));
    check(&case("tiny-lcm", Role::UNet, "unet_w0"));
}

#[test]
fn guided_unets_match_pytorch() {
    for layout in LAYOUTS {
        check(&case("tiny-sd15", Role::ControlledUNet, "control-unet").layout(layout));
        check(&case("mini-sdxl", Role::ControlledUNet, "control-unet").layout(layout));
    }
}

/// A folder like that of a checkpoint, with what its `assemble.json` takes from others beside it.
fn assembled(golden: &Path, checkpoint: &str) -> std::io::Result<tempfile::TempDir> {
    let dir = tempfile::tempdir()?;
    let checkpoints = golden.join("checkpoints");
    let recipes: serde_json::Value = serde_json::from_slice(&std::fs::read(checkpoints.join("assemble.json"))?)?;
    copy_into(&checkpoints.join(checkpoint), dir.path())?;
    for (to, from) in recipes[checkpoint].as_object().into_iter().flatten() {
        copy_into(&checkpoints.join(from.as_str().unwrap_or_default()), &dir.path().join(to))?;
    }
    Ok(dir)
}

fn copy_into(from: &Path, to: &Path) -> std::io::Result<()> {
    if from.is_file() {
        std::fs::create_dir_all(to.parent().unwrap_or(to))?;
        return std::fs::copy(from, to).map(drop);
    }
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        copy_into(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

#[test]
fn transformers_match_pytorch_in_every_attention_layout() {
    let Some(golden) = testkit::golden() else { return };
    for checkpoint in ["tiny-sd3", "tiny-sd35-large", "tiny-sd35-medium"] {
        let dir = assembled(&golden, checkpoint).unwrap();
        let ckpt = Checkpoint::open(dir.path()).unwrap();
        assert_eq!(ckpt.family(), Family::Sd3);
        for layout in LAYOUTS {
            check_checkpoint(&golden, &case(checkpoint, Role::Mmdit, "mmdit").layout(layout), &ckpt);
        }
        check_checkpoint(&golden, &case(checkpoint, Role::Mmdit, "mmdit_t1"), &ckpt);
        let mut wide = case(checkpoint, Role::Mmdit, "mmdit_wide").sized(10, 20);
        wide.options.text_length = Some(256);
        check_checkpoint(&golden, &wide, &ckpt);
    }
}

#[test]
fn latents_that_the_table_of_positions_does_not_cover_are_refused() {
    let Some(golden) = testkit::golden() else { return };
    let ckpt = Checkpoint::open(golden.join("checkpoints/tiny-sd3")).unwrap();
    for (height, width) in [(15, 16), (16, 50)] {
        let options = Options { latent_size: Some(LatentSize { height, width }), ..Options::default() };
        let error = convert(&ckpt, Role::Mmdit, &options).unwrap_err().to_string();
        let expected = format!("latents of {height}x{width} do not fit the mmdit: its sides are multiples of 2");
        assert!(error.contains(&expected) && error.contains("48 at most"), "{error}");
    }
}

#[test]
fn control_nets_match_pytorch() {
    let Some(golden) = testkit::golden() else { return };
    let cases = [
        ("tiny-controlnet", "tiny-sd15"),
        ("tiny-sd15-controlnet-b", "tiny-sd15-controlnet-b"),
        ("mini-sdxl-controlnet", "mini-sdxl"),
    ];
    for layout in LAYOUTS {
        for (folder, references) in cases {
            let case = case(references, Role::ControlNet, "controlnet").sized(16, 16).layout(layout);
            check_checkpoint(&golden, &case, &Checkpoint::open(golden.join("checkpoints").join(folder)).unwrap());
        }
    }
}

/// How much of two ControlNets' outputs is added, in the order of the folders.
const STRENGTHS: [(&str, &str, f32); 2] =
    [("tiny-controlnet", "tiny-sd15", 0.7), ("tiny-sd15-controlnet-b", "tiny-sd15-controlnet-b", 0.45)];

#[test]
fn two_control_nets_guide_one_unet_as_in_pytorch() {
    let Some(golden) = testkit::golden() else { return };
    let both = case("tiny-sd15-controlnet-b", Role::ControlledUNet, "multi-control-unet");
    let mut expected = reference(&golden, &both, "in.");
    expected.retain(|name, _| name.starts_with("additional_residual_"));
    let mut sums: BTreeMap<String, Vec<f32>> = BTreeMap::new();
    for (folder, references, strength) in STRENGTHS {
        let ckpt = Checkpoint::open(golden.join("checkpoints").join(folder)).unwrap();
        let case = case(references, Role::ControlNet, "controlnet").sized(16, 16);
        let full = Options { precision: Some(Precision::Float32), ..case.options.clone() };
        let net = convert(&ckpt, Role::ControlNet, &full).unwrap();
        let engine = Reference::compile(net.valid().unwrap(), EngineOptions::default()).unwrap();
        for (name, residual) in engine.run(&reference(&golden, &case, "in."), &Stop::never()).unwrap() {
            let sum = sums.entry(name).or_insert_with(|| vec![0.0; residual.len()]);
            sum.iter_mut().zip(residual.to_f32_vec()).for_each(|(sum, value)| *sum += strength * value);
        }
    }
    assert!(sums.keys().eq(expected.keys()), "{:?}", sums.keys());
    for (name, sum) in &sums {
        let db = psnr(&expected[name].to_f32_vec(), sum);
        assert!(db >= FLOAT32_DB, "{name}: {db:.1} dB");
    }
    check_checkpoint(&golden, &both, &Checkpoint::open(golden.join("checkpoints/tiny-sd15")).unwrap());
}

#[test]
fn autoencoders_of_xl_match_pytorch() {
    for checkpoint in ["tiny-sdxl", "tiny-sdxl-refiner", "mini-sdxl"] {
        check(&case(checkpoint, Role::VaeDecoder, "vae_decoder"));
        check(&case(checkpoint, Role::VaeEncoder, "vae_encoder"));
    }
}

#[test]
fn an_autoencoder_of_xl_that_is_safe_in_half_precision_stays_in_it() {
    let Some(golden) = testkit::golden() else { return };
    let dir = tempfile::tempdir().unwrap();
    let copy = |folder: &str, change: &dyn Fn(String) -> String| {
        let (from, to) = (golden.join("checkpoints/mini-sdxl").join(folder), dir.path().join(folder));
        std::fs::create_dir(&to).unwrap();
        for file in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
            match file.file_name() == "config.json" {
                true => {
                    let json = std::fs::read_to_string(file.path()).unwrap();
                    std::fs::write(to.join("config.json"), change(json)).unwrap();
                }
                false => drop(std::fs::copy(file.path(), to.join(file.file_name())).unwrap()),
            }
        }
    };
    copy("unet", &|json| json);
    copy("vae", &|json| json.replace("\"force_upcast\": true", "\"force_upcast\": false"));
    let ckpt = Checkpoint::open(dir.path()).unwrap();
    for role in [Role::VaeDecoder, Role::VaeEncoder] {
        let found =
            convert_checked(&ckpt, role, &Options::default(), &Shapes::default(), OnOverflow::UseFloat32).unwrap();
        assert_eq!((found.precision, found.is_known_to_leave_half), (Precision::Float16, false), "{role}");
        assert!(found.check.is_some(), "the {role} is looked at all the same");
    }
}

#[test]
fn autoencoders_of_sd3_match_pytorch() {
    check(&case("tiny-sd3", Role::VaeDecoder, "vae_decoder"));
    check(&case("tiny-sd3", Role::VaeEncoder, "vae_encoder"));
    let Some(golden) = testkit::golden() else { return };
    let ckpt = Checkpoint::open(golden.join("checkpoints/tiny-sd3")).unwrap();
    // The file says force_upcast, which only XL's pipelines heed: it is looked at.
    let found =
        convert_checked(&ckpt, Role::VaeDecoder, &Options::default(), &Shapes::default(), OnOverflow::UseFloat32)
            .unwrap();
    assert!(!found.is_known_to_leave_half && found.check.is_some());
}

#[test]
fn every_autoencoder_has_its_own_scale() {
    let Some(golden) = testkit::golden() else { return };
    for (checkpoint, scale, shift) in [
        ("tiny-sd15", 0.18215, 0.0),
        ("mini-sdxl", 0.13025, 0.0),
        ("tiny-sdxl-refiner", 0.13025, 0.0),
        ("tiny-sd3", 1.5305, 0.0609),
    ] {
        let ckpt = Checkpoint::open(golden.join("checkpoints").join(checkpoint)).unwrap();
        let facts = ckpt.network(Role::VaeDecoder).unwrap().facts();
        assert_eq!((facts.scaling_factor, facts.shift_factor), (Some(scale), Some(shift)), "{checkpoint}");
    }
}

#[test]
fn unets_match_pytorch() {
    for checkpoint in ["tiny-sd15", "tiny-sd21"] {
        check(&case(checkpoint, Role::UNet, "unet"));
    }
    check(&case("tiny-sd15", Role::UNet, "unet").layout(AttentionLayout::Original));
    check(&case("tiny-sd15", Role::UNet, "unet_t1"));
    let mut batch_one = case("tiny-sd15", Role::UNet, "unet_batch_one");
    batch_one.options.unet_batch = Batch::One;
    check(&batch_one);
}

#[test]
fn unets_of_other_sizes_match_pytorch_in_every_attention_layout() {
    for layout in [AttentionLayout::Original, AttentionLayout::SplitEinsum, AttentionLayout::SplitEinsumV2] {
        check(&case("tiny-sd15", Role::UNet, "unet_32x24").sized(32, 24).layout(layout));
        check(&case("tiny-sd15", Role::UNet, "unet_32x32").sized(32, 32).layout(layout));
    }
}

#[test]
fn autoencoders_match_pytorch() {
    for checkpoint in ["tiny-sd15", "tiny-sd21"] {
        check(&case(checkpoint, Role::VaeDecoder, "vae_decoder"));
        check(&case(checkpoint, Role::VaeEncoder, "vae_encoder"));
    }
    check(&case("tiny-sd15", Role::VaeDecoder, "vae_decoder_32x24").sized(32, 24));
    check(&case("tiny-sd15", Role::VaeEncoder, "vae_encoder_32x24").sized(32, 24));
}

#[test]
fn small_autoencoders_match_pytorch() {
    // The checkpoint is one network alone: a copy of it stands where a pipeline has its autoencoder.
    let Some(golden) = testkit::golden() else { return };
    for (role, reference) in [(Role::VaeDecoder, "vae_decoder"), (Role::VaeEncoder, "vae_encoder")] {
        let dir = tempfile::tempdir().unwrap();
        let vae = dir.path().join("vae");
        std::fs::create_dir(&vae).unwrap();
        for file in std::fs::read_dir(golden.join("checkpoints/tiny-taesd")).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), vae.join(file.file_name())).unwrap();
        }
        let case = case("tiny-taesd", role, reference).sized(16, 16);
        check_checkpoint(&golden, &case, &Checkpoint::open(dir.path()).unwrap());
    }
}

#[test]
fn safety_checkers_match_pytorch() {
    let cases =
        ["safety_checker", "safety_checker_flagged", "safety_checker_borderline", "safety_checker_borderline_adj"];
    for reference in cases {
        check(&case("tiny-sd15", Role::SafetyChecker, reference));
    }
}
