//! Numbers as a user meets them: half precision, weights that are none, shapes, functions, operations that are missing.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::{fail, json, run, succeed, text};
use host_tensor::{DType, HostTensor};
use mil::text::{NoBlobs, parse};
use mlpackage::{Description, Existing, FeatureType, ShapeFlexibility, SizeRange};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors, serialize_to_file};
use sd_convert::verify::psnr;
use sd_convert::{AttentionLayout, Checkpoint, Options, Precision, Role, Target};
use sd_engines::{CpuOptions, MilEngine, Rounding};
use testkit::demo;

/// The demo checkpoint with the tensors of one component changed; they are f32.
fn changed(dir: &Path, name: &str, role: &str, change: impl Fn(&str, &mut Vec<f32>)) -> PathBuf {
    let root = dir.join(name);
    copy(&demo(), &root);
    let file = root.join(role).join("diffusion_pytorch_model.safetensors");
    let bytes = std::fs::read(&file).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let wide = |(key, view): (String, TensorView<'_>)| {
        let tensor = HostTensor::new(DType::F16, view.shape(), view.data().to_vec().into()).unwrap();
        let mut values = tensor.to_f32_vec();
        change(&key, &mut values);
        (key, HostTensor::from_f32(tensor.shape(), values))
    };
    let tensors: BTreeMap<String, HostTensor> = tensors.tensors().into_iter().map(wide).collect();
    let views = tensors.iter().map(|(k, t)| (k, TensorView::new(Dtype::F32, t.shape().to_vec(), t.bytes()).unwrap()));
    serialize_to_file(views, None, &file).unwrap();
    root
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), &target).unwrap();
        }
    }
}

/// A decoder whose first convolution gives numbers beyond half precision.
fn loud_decoder(dir: &Path) -> PathBuf {
    changed(dir, "loud", "vae", |key, values| {
        if key.starts_with("decoder.conv_in.") {
            values.iter_mut().for_each(|v| *v *= 30_000.0);
        }
    })
}

fn package(dir: &Path, model: &str, part: &str) -> String {
    text(dir.join(format!("Stable_Diffusion_version_{model}_{part}.mlpackage")))
}

#[test]
fn a_decoder_that_leaves_half_precision_is_converted_in_float32_and_the_encoder_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = text(loud_decoder(dir.path()));
    let out = dir.path().join("out");
    let args = ["convert", &checkpoint, "-o", &text(&out), "--component", "vae-decoder,vae-encoder", "--json"];
    let ran = run(args);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let warning =
        "warning: the vae-decoder leaves half precision, so it is converted in float32: conv decoder.conv_in (op #";
    assert!(ran.stderr.starts_with(warning), "{}", ran.stderr);
    assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
    let said: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let [decoder, encoder] = &said["packages"].as_array().unwrap()[..] else { panic!("{said}") };
    assert_eq!((&decoder["precision"], &encoder["precision"]), (&"float32".into(), &"float16".into()));
    assert_eq!(decoder["overflow"]["operation"], "decoder.conv_in");
    assert!(decoder["overflow"]["largest"].as_f64().unwrap() > 65_504.0);
    assert_eq!(encoder["overflow"], serde_json::Value::Null);
    assert!(decoder["check_s"].as_f64().unwrap() > 0.0);
    // What is in float32 has no half precision to be looked at.
    let said = json(["verify", &package(&out, "loud", "vae_decoder"), "--against", &checkpoint]);
    assert_eq!(said["half_precision"].as_array().unwrap().len(), 0);
}

#[test]
fn half_precision_that_was_asked_for_is_kept_with_a_warning_and_verify_fails_with_the_cure() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = text(loud_decoder(dir.path()));
    let out = dir.path().join("out");
    let target = text(&out);
    let cure = format!("smelt convert {checkpoint} -o {target} --component vae-decoder --precision float32 --force");
    let ran = run(["convert", &checkpoint, "-o", &target, "--component", "vae-decoder", "--precision", "float16"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains("conv decoder.conv_in (op #") && ran.stderr.contains(&cure), "{}", ran.stderr);

    let decoder = package(&out, "loud", "vae_decoder");
    let ran = run(["verify", &decoder, "--against", &checkpoint]);
    assert_eq!(ran.code, Some(1), "{}", ran.stdout);
    let verdict = format!("{decoder} agrees with {checkpoint} at 35 dB, but overflows half precision on a device");
    assert!(ran.stdout.contains(&verdict), "{}", ran.stdout);
    assert!(ran.stdout.contains("conv decoder_conv_in (op #") && ran.stdout.contains(&cure), "{}", ran.stdout);

    // Package against package: the checkpoint is for the user to fill in.
    let ran = run(["verify", &decoder, "--against", &decoder, "--json"]);
    assert_eq!(ran.code, Some(1), "{}", ran.stdout);
    let said: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(said["half_precision"][0]["overflow"]["operation"], "decoder_conv_in");
    assert!(said["cure"].as_str().unwrap().starts_with("smelt convert CHECKPOINT -o "), "{said}");
    assert_eq!(said["outputs"][0]["identical"], true);

    // A rounding that was asked for is the only one, and names the operation too.
    let declared = run(["verify", &decoder, "--against", &checkpoint, "--rounding", "declared"]);
    assert_eq!(declared.code, Some(1));
    assert!(declared.stdout.contains("the first operation that is not finite: conv decoder_conv_in"));
    assert!(!declared.stdout.contains("as a device rounds"), "{}", declared.stdout);
    let full = succeed(["verify", &decoder, "--against", &checkpoint, "--rounding", "f32"]);
    assert!(!full.contains("rounds"), "{full}");
    succeed(["convert", &checkpoint, "-o", &target, "--component", "vae-decoder", "--precision", "float32", "--force"]);
    succeed(["verify", &decoder, "--against", &checkpoint]);
}

#[test]
fn a_healthy_autoencoder_stays_in_half_precision_and_the_same_bytes_for_every_size() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = text(demo());
    let [plain, asked] = ["plain", "asked"].map(|name| dir.path().join(name));
    let common = ["--component", "vae-decoder,vae-encoder", "--latent-size", "8x8,16x24"];
    let ran = run([&["convert", &checkpoint, "-o", &text(&plain)][..], &common].concat());
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    assert_eq!(ran.stdout.matches("to check half precision").count(), 2, "once for each role: {}", ran.stdout);
    succeed([&["convert", &checkpoint, "-o", &text(&asked), "--precision", "float16"][..], &common].concat());
    for part in ["vae_decoder", "vae_encoder", "vae_decoder_16x24", "vae_encoder_16x24"] {
        for file in ["model.mlmodel", "weights/weight.bin"] {
            let of = |dir: &Path| Path::new(&package(dir, "sd-emoji", part)).join("Data/com.apple.CoreML").join(file);
            assert_eq!(std::fs::read(of(&plain)).unwrap(), std::fs::read(of(&asked)).unwrap(), "{part} {file}");
        }
        let verdict = succeed(["verify", &package(&plain, "sd-emoji", part), "--against", &checkpoint]);
        assert!(verdict.contains("rounded as a device rounds") && verdict.contains("nothing overflows"), "{verdict}");
    }
}

#[test]
fn weights_that_are_no_numbers_or_beyond_half_are_named_by_tensor() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = text(changed(dir.path(), "odd", "unet", |key, values| match key {
        "conv_in.weight" => values[3] = f32::NAN,
        "conv_in.bias" => values[1] = f32::NEG_INFINITY,
        "conv_out.weight" => values[..2].fill(65_520.0),
        "conv_out.bias" => values[0] = -65_519.0,
        _ => {}
    }));
    let convert = |precision: &[&str]| {
        let out = text(dir.path().join("out"));
        let args = ["convert", &checkpoint, "-o", &out, "--component", "unet", "--force"];
        let ran = run([&args[..], precision].concat());
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        ran.stderr
    };
    let said = convert(&[]);
    let broken =
        "the unet's weights hold values that are not finite, in 2 tensors: conv_in.bias (fp32): 1 infinite of ";
    assert!(said.contains(broken) && said.contains("; conv_in.weight (fp32): 1 NaN of "), "{said}");
    let large = "beyond half precision (65504), in 1 tensor: conv_out.weight (fp32): 2 beyond half precision of ";
    assert!(said.contains(large) && said.contains("--component unet --precision float32"), "{said}");
    assert!(!said.contains("conv_out.bias"), "{said}");
    let said = convert(&["--precision", "float32"]);
    assert!(said.contains(broken) && !said.contains("beyond half precision"), "{said}");
}

#[test]
fn every_function_is_compared_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = text(demo());
    let convert = |name: &str, sizes: &str| {
        let out = dir.path().join(name);
        let args = ["--component", "vae-decoder", "--target", "macOS15", "--latent-size", sizes];
        succeed([&["convert", &checkpoint, "-o", &text(&out)][..], &args].concat());
        package(&out, "sd-emoji", "vae_decoder")
    };
    let (both, other) = (convert("both", "8x8,8x16"), convert("other", "8x16,16x16"));
    let said = json(["verify", &both, "--against", &checkpoint]);
    let functions = |said: &serde_json::Value| -> Vec<(String, String)> {
        let outputs = said["outputs"].as_array().unwrap().iter();
        outputs.map(|o| (o["function"].as_str().unwrap().to_owned(), o["shape"].to_string())).collect()
    };
    let pair = |function: &str, shape: &str| (function.to_owned(), shape.to_owned());
    assert_eq!(functions(&said), [pair("size_8x8", "[1,3,64,64]"), pair("size_8x16", "[1,3,64,128]")]);
    assert_eq!(said["half_precision"].as_array().unwrap().len(), 2);

    let ran = run(["verify", &both, "--against", &other]);
    assert_eq!(ran.code, Some(1), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains(&format!("{both} has a function size_8x8, and {other} has none")), "{}", ran.stdout);
    assert!(ran.stdout.contains(&format!("{other} has a function size_16x16, and {both} has none")), "{}", ran.stdout);
    let ran = run(["verify", &both, "--against", &other, "--json"]);
    let said: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(functions(&said), [pair("size_8x16", "[1,3,64,128]")]);
    assert_eq!((&said["only_in_package"][0], &said["only_in_against"][0]), (&"size_8x8".into(), &"size_16x16".into()));
    assert_eq!(said["passed"], false);
    succeed(["verify", &both, "--against", &both]);
}

/// Writes a program as a package, after `change` of its description.
fn write(path: &Path, program: &str, change: impl FnOnce(&mut Description)) -> String {
    let program = parse(program, &NoBlobs).unwrap_or_else(|e| panic!("{e}"));
    let mut description = Description::of(&program);
    change(&mut description);
    let valid = mil::validate(&program).unwrap_or_else(|faults| panic!("{faults}"));
    mlpackage::write(path, valid, &description, Existing::Refuse, &mut |_| ()).unwrap();
    text(path)
}

#[test]
fn a_package_takes_the_shapes_that_its_description_admits_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let open =
        "program(1.3) { func main<ios16>(tensor<fp32, [1, ?]> x) { tensor<fp32, [1, ?]> y = relu(x = x); } -> (y); }";
    let flexible = |name: &str, flexibility: ShapeFlexibility| {
        write(&dir.path().join(name), open, |description| {
            let x = description.main_mut().unwrap().feature_mut("x").unwrap();
            let FeatureType::MultiArray(array) = &mut x.ty else { panic!("x is an array") };
            (array.shape, array.flexibility) = (vec![1, 4], flexibility);
        })
    };
    let range = |lower, upper| SizeRange { lower, upper };
    let listed = flexible("listed.mlpackage", ShapeFlexibility::Enumerated(vec![vec![1, 4], vec![1, 8]]));
    let ranged = flexible("ranged.mlpackage", ShapeFlexibility::Ranges(vec![range(1, Some(1)), range(2, Some(6))]));
    let feed = |n: usize| {
        let path = dir.path().join(format!("{n}.safetensors"));
        let bytes = vec![0u8; 4 * n];
        serialize_to_file([("x", TensorView::new(Dtype::F32, vec![1, n], &bytes).unwrap())], None, &path).unwrap();
        text(path)
    };
    let out = text(dir.path().join("out.safetensors"));
    let args = |package: &str, n: usize| ["run", package, "--inputs", &feed(n), "--outputs", &out].map(str::to_owned);
    for (package, fits, not) in [(&listed, [4, 8], [5, 6]), (&ranged, [2, 6], [1, 7])] {
        fits.iter().for_each(|&n| drop(succeed(args(package, n))));
        for n in not {
            let said = fail(args(package, n));
            assert!(said.contains(&format!("x has shape [1, {n}], the package takes [1, ")), "{said}");
        }
    }
    assert!(fail(args(&listed, 6)).contains("takes [1, 4] or [1, 8]"));
    assert!(fail(args(&ranged, 1)).contains("takes [1, 2 to 6]"));
}

#[test]
fn an_operation_that_smelt_lacks_is_told_from_a_program_that_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let program =
        "program(1.3) { func main<ios16>(tensor<fp32, [4]> x) { tensor<fp32, [4]> y = relu(x = x); } -> (y); }";
    let path = dir.path().join("p.mlpackage");
    let package = write(&path, program, |_| ());
    // Nothing here writes a program that is not valid: an operation of Core ML's with a name as long stands in.
    let rename = |to: &[u8; 4]| {
        let model = path.join("Data/com.apple.CoreML/model.mlmodel");
        let mut bytes = std::fs::read(&model).unwrap();
        let at = bytes.windows(4).position(|w| w == b"relu" || w == b"cosh").unwrap();
        bytes[at..at + 4].copy_from_slice(to);
        std::fs::write(&model, bytes).unwrap();
    };
    rename(b"cosh");
    let inputs = dir.path().join("in.safetensors");
    serialize_to_file([("x", TensorView::new(Dtype::F32, vec![4], &[0; 16]).unwrap())], None, &inputs).unwrap();
    let (inputs, out) = (text(inputs), text(dir.path().join("out")));
    let commands: [&[&str]; 6] = [
        &["run", &package, "--inputs", &inputs, "--outputs", &out],
        &["verify", &package, "--against", &package],
        &["bench", &package],
        &["chunk", &package, "-o", &out],
        &["compress", &package, "-o", &format!("{out}.mlpackage"), "--bits", "4"],
        &["inspect", "--plan", &package],
    ];
    for command in commands {
        let said = fail(command);
        assert!(said.contains("valid as far as Smelt knows, but cosh (op #0 y) is not implemented"), "{said}");
        assert!(said.contains(&package) && !said.contains("not valid") && !said.contains("fault"), "{said}");
    }
    assert!(succeed(["inspect", &package]).contains("cosh"));
    rename(b"relx");
    let said = fail(["bench", &package]);
    assert!(said.contains("the program is not valid; 1 fault: main: op #0 y: relx is no known operation"), "{said}");
}

/// A UNet whose scores of attention leave half precision, with the key in its configuration that is there for them.
fn loud_attention(dir: &Path, upcast: bool) -> Checkpoint {
    let root = changed(dir, if upcast { "upcast" } else { "plain" }, "unet", |key, values| {
        if key.contains("attn1.to_q.weight") || key.contains("attn1.to_k.weight") {
            values.iter_mut().for_each(|v| *v *= 300.0);
        }
    });
    let config = root.join("unet/config.json");
    let mut json: serde_json::Value = serde_json::from_slice(&std::fs::read(&config).unwrap()).unwrap();
    json["upcast_attention"] = upcast.into();
    std::fs::write(&config, json.to_string()).unwrap();
    Checkpoint::open(root).unwrap()
}

#[test]
fn upcast_attention_keeps_half_precision_finite_and_the_fast_engine_still_fuses_it() {
    let dir = tempfile::tempdir().unwrap();
    let [upcast, plain] = [true, false].map(|upcast| loud_attention(dir.path(), upcast));
    for (attention, target) in [
        (AttentionLayout::Original, Target::MacOs15),
        (AttentionLayout::SplitEinsum, Target::MacOs13),
        (AttentionLayout::SplitEinsumV2, Target::MacOs14),
    ] {
        let options = Options { attention, target, ..Options::default() };
        let converted = |ckpt, precision| {
            let options = Options { precision: Some(precision), ..options.clone() };
            sd_convert::convert(ckpt, Role::UNet, &options).unwrap().program
        };
        let half = converted(&upcast, Precision::Float16);
        let rounded = sd_engines::Options::default().with_rounding(Rounding::Declared);
        let reference = MilEngine::from_program(&half, rounded).unwrap();
        let inputs = inputs_of(&reference);
        let (outputs, found) = reference.run_watched(&inputs).unwrap();
        assert_eq!(found, None, "{attention:?} {target:?}");
        assert!(outputs["noise_pred"].to_f32_vec().iter().all(|v| v.is_finite()));
        let without = MilEngine::from_program(&converted(&plain, Precision::Float16), rounded).unwrap();
        let (_, found) = without.run_watched(&inputs).unwrap();
        assert!(found.is_some_and(|f| matches!(f.site.kind.as_str(), "matmul" | "einsum")), "{attention:?}");

        let fast = MilEngine::from_program(&half, CpuOptions::default()).unwrap();
        let expected = MilEngine::from_program(&half, sd_engines::Options::default()).unwrap();
        let [fast_out, expected] = [&fast, &expected].map(|e| e.run_once(&inputs).unwrap()["noise_pred"].to_f32_vec());
        assert!(psnr(&expected, &fast_out) > 80.0, "{attention:?}: {}", psnr(&expected, &fast_out));
        let n_attentions = |engine: &MilEngine| {
            let steps = engine.plans().remove(0).1.steps;
            steps.iter().filter(|s| s.kernel == "attention").count()
        };
        let unfused = MilEngine::from_program(&converted(&plain, Precision::Float16), CpuOptions::default()).unwrap();
        assert_eq!(n_attentions(&fast), n_attentions(&unfused), "{attention:?}");
        assert!(n_attentions(&fast) > 0);
        let [with, without] = [&upcast, &plain].map(|ckpt| converted(ckpt, Precision::Float32));
        assert_eq!(with, without, "in float32 the key changes nothing");
    }
}

fn inputs_of(engine: &MilEngine) -> BTreeMap<String, HostTensor> {
    use sd_runtime::Engine;
    let inputs = engine.signature().inputs.iter();
    let inputs: Vec<_> = inputs
        .map(|f| sd_convert::verify::Input {
            name: f.name.clone(),
            dtype: f.dtype,
            shape: f.shape.dims().unwrap().to_vec(),
        })
        .collect();
    sd_convert::verify::random_inputs(&inputs, None, 3).unwrap()
}
