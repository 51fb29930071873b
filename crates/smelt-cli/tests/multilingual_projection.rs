//! The projection of a multilingual text path: one linear layer in a file of its own, as PyTorch writes it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::{fail, json, made, names, succeed, text};
use safetensors::Dtype;
use sd_checkpoint::Checkpoint;
use testkit::{Rng, assert_psnr, demo, load_safetensors};

const PACKAGE: &str = "MultilingualTextEncoderProjection.mlpackage";
const WIDTH: usize = 64;
const LENGTH: usize = 256;
const IN: usize = 512;
const LINEAR: &str = "__torch__.torch.nn.modules.linear\nLinear";

/// A linear layer's numbers: `[out, in]`, and what is added.
struct Layer {
    weight: Vec<f32>,
    bias: Option<Vec<f32>>,
}

impl Layer {
    fn new(seed: u64, has_bias: bool) -> Self {
        let mut random = Rng::new(seed);
        let weight = random.normals(WIDTH * IN).into_iter().map(|w| w / 16.0).collect();
        Self { weight, bias: has_bias.then(|| random.normals(WIDTH)) }
    }

    /// What PyTorch's layer gives, laid out as the model's output: `[1, WIDTH, 1, LENGTH]`.
    fn of(&self, x: &[f32]) -> host_tensor::HostTensor {
        let dot = |d: usize, s: usize| -> f64 {
            let pairs = self.weight[d * IN..][..IN].iter().zip(&x[s * IN..][..IN]);
            pairs.map(|(&w, &x)| f64::from(w) * f64::from(x)).sum()
        };
        let bias = |d: usize| self.bias.as_ref().map_or(0.0, |bias| f64::from(bias[d]));
        let places = (0..WIDTH).flat_map(|d| (0..LENGTH).map(move |s| (d, s)));
        let values = places.map(|(d, s)| (dot(d, s) + bias(d)) as f32).collect();
        host_tensor::HostTensor::from_f32([1, WIDTH, 1, LENGTH], values)
    }

    fn tensors(&self) -> Vec<(Vec<usize>, &[f32])> {
        let bias = self.bias.iter().map(|bias| (vec![WIDTH], &bias[..]));
        std::iter::once((vec![WIDTH, IN], &self.weight[..])).chain(bias).collect()
    }

    /// The state of the layer's object.
    fn state(&self) -> Vec<u8> {
        let bias = if self.bias.is_some() { tensor(1, "FloatStorage", &[WIDTH]) } else { b"N".to_vec() };
        let entries = [
            (name("weight"), tensor(0, "FloatStorage", &[WIDTH, IN])),
            (name("bias"), bias),
            (name("training"), b"\x89".to_vec()),
            (name("_is_full_backward_hook"), b"N".to_vec()),
        ];
        entries.into_iter().flat_map(|(key, value)| [key, value].concat()).collect()
    }

    /// The file that `torch.jit.save(torch.jit.script(layer), FILE)` writes.
    fn save(&self, path: &Path) {
        archive(path, &pickle(&object(LINEAR, &self.state())), &self.tensors());
    }
}

// What PyTorch 2.15 writes into data.pkl, opcode by opcode: torch/csrc/jit/serialization/pickler.cpp.

fn name(text: &str) -> Vec<u8> {
    [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat()
}

fn int(n: usize) -> Vec<u8> {
    [b"J", &(n as i32).to_le_bytes()[..]].concat()
}

fn object(class: &str, entries: &[u8]) -> Vec<u8> {
    [b"c", class.as_bytes(), b"\n)\x81}(", entries, b"ub"].concat()
}

fn pickle(value: &[u8]) -> Vec<u8> {
    [b"\x80\x02", value, b"q\x00."].concat()
}

fn tensor(key: usize, storage: &str, shape: &[usize]) -> Vec<u8> {
    let strides: Vec<usize> = (0..shape.len()).map(|axis| shape[axis + 1..].iter().product()).collect();
    strided(key, storage, shape, &strides)
}

fn strided(key: usize, storage: &str, shape: &[usize], strides: &[usize]) -> Vec<u8> {
    let tuple = |items: &[usize]| [b"(", &items.iter().flat_map(|&n| int(n)).collect::<Vec<u8>>()[..], b"t"].concat();
    let id = [
        &b"(("[..],
        &name("storage"),
        format!("ctorch\n{storage}\n").as_bytes(),
        &name(&key.to_string()),
        &name("cpu"),
        &int(shape.iter().product()),
        b"tQ",
    ]
    .concat();
    let rest = [&b"K\x00"[..], &tuple(shape), &tuple(strides), b"\x89ccollections\nOrderedDict\n)RtR"].concat();
    [&b"ctorch._utils\n_rebuild_tensor_v2\n"[..], &id, &rest].concat()
}

/// A zip archive whose code is compressed, as PyTorch does it; nobody reads it.
fn archive(path: &Path, pickle: &[u8], tensors: &[(Vec<usize>, &[f32])]) {
    let bytes = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    let mut files = vec![
        ("data.pkl".to_owned(), pickle.to_vec()),
        ("byteorder".to_owned(), b"little".to_vec()),
        ("code/__torch__/torch/nn/modules/linear.py".to_owned(), b"class Linear(Module):\n".to_vec()),
        ("constants.pkl".to_owned(), b"\x80\x02).".to_vec()),
    ];
    files.extend(tensors.iter().enumerate().map(|(i, (_, values))| (format!("data/{i}"), bytes(values))));
    zip(path, &files);
}

fn zip(path: &Path, files: &[(String, Vec<u8>)]) {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes) in files {
        let name = format!("projection/{name}");
        let (offset, n) = ((out.len() as u32).to_le_bytes(), (bytes.len() as u32).to_le_bytes());
        let n_name = (name.len() as u16).to_le_bytes();
        let method = if name.ends_with(".py") { [8, 0] } else { [0, 0] };
        // Version, flags, method, time, date, checksum; sizes, lengths of the name and of what stands behind it.
        let local = [&[0; 4], &method[..], &[0; 8], &n, &n, &n_name, &[4, 0]].concat();
        out.extend([b"PK\x03\x04", &local[..], name.as_bytes(), b"FB\x00\x00", bytes].concat());
        // Two versions; lengths, disk, attributes, place.
        let entry = [&[0; 6], &method[..], &[0; 8], &n, &n, &n_name, &[0; 12], &offset].concat();
        directory.extend([b"PK\x01\x02", &entry[..], name.as_bytes()].concat());
    }
    let (start, n) = (out.len() as u32, files.len() as u16);
    let end = [
        &b"PK\x05\x06\x00\x00\x00\x00"[..],
        &n.to_le_bytes(),
        &n.to_le_bytes(),
        &(directory.len() as u32).to_le_bytes(),
        &start.to_le_bytes(),
        &[0, 0],
    ];
    std::fs::write(path, [out, directory, end.concat()].concat()).unwrap();
}

fn convert(file: &Path, output: &Path, more: &[&str]) {
    let (file, output) = (text(file), text(output));
    json(["convert", &file, "-o", &output].iter().chain(more));
}

/// What a package makes of random embeddings, and what the layer gives.
#[track_caller]
fn agrees(layer: &Layer, output: &Path, min_db: f64) {
    let x = Rng::new(5).normals(LENGTH * IN);
    let (inputs, outputs) = (output.join("in.safetensors"), output.join("out.safetensors"));
    let bytes = x.iter().flat_map(|v| v.to_le_bytes()).collect();
    let tensors =
        BTreeMap::from([("nlcontextualembeddings_output".to_owned(), (Dtype::F32, vec![1, LENGTH, IN], bytes))]);
    made::write(&inputs, &tensors);
    succeed(["run", &text(output.join(PACKAGE)), "--inputs", &text(&inputs), "--outputs", &text(&outputs)]);
    assert_psnr("projection", &layer.of(&x), &load_safetensors(&outputs)["encoder_hidden_states"], min_db);
}

fn made_in(dir: &Path, layer: &Layer) -> PathBuf {
    let file = dir.join("projection.pt");
    layer.save(&file);
    file
}

/// Apple's own command fails at the end, for it saves without a path.
#[test]
fn the_package_is_saved_under_the_name_that_apples_runtime_loads() {
    let dir = tempfile::tempdir().unwrap();
    let file = made_in(dir.path(), &Layer::new(1, true));
    let output = dir.path().join("out");
    convert(&file, &output, &[]);
    assert_eq!(names(&output), [PACKAGE]);
    let facts = json(["inspect", &text(output.join(PACKAGE))]);
    let function = &facts["model"]["functions"][0];
    assert_eq!(function["opset"], "CoreML7", "macOS 14 is the first with NLContextualEmbedding");
    let feature = |list: &str| format!("{} {}", function[list][0]["name"], function[list][0]["type"]);
    assert_eq!(feature("inputs"), "\"nlcontextualembeddings_output\" \"fp32 [1, 256, 512]\"");
    assert!(feature("outputs").contains("encoder_hidden_states"), "{function}");
    let verified = json(["verify", &text(output.join(PACKAGE)), "--against", &text(&file)]);
    assert_eq!(verified["passed"], true, "{verified}");
}

#[test]
fn layers_with_and_without_bias_compute_what_pytorchs_do() {
    for (seed, has_bias) in [(2, true), (3, false)] {
        let (dir, layer) = (tempfile::tempdir().unwrap(), Layer::new(seed, has_bias));
        let file = made_in(dir.path(), &layer);
        convert(&file, dir.path(), &["--component", "multilingual-projection"]);
        agrees(&layer, dir.path(), 80.0);
        convert(&file, dir.path(), &["--force", "--target", "iOS18", "--precision", "float16"]);
        agrees(&layer, dir.path(), 60.0);
    }
}

#[test]
fn a_layer_in_a_safetensors_file_is_read_too() {
    let (dir, layer) = (tempfile::tempdir().unwrap(), Layer::new(4, true));
    let file = dir.path().join("projection.safetensors");
    let own = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    let mut tensors: BTreeMap<String, made::Owned> = BTreeMap::new();
    for (name, (shape, values)) in ["proj.weight", "proj.bias"].into_iter().zip(layer.tensors()) {
        tensors.insert(name.to_owned(), (Dtype::F32, shape, own(values)));
    }
    made::write(&file, &tensors);
    convert(&file, dir.path(), &[]);
    agrees(&layer, dir.path(), 80.0);
    let first = tensors["proj.weight"].clone();
    tensors.insert("second.weight".to_owned(), first);
    made::write(&file, &tensors);
    let message = fail(["convert", &text(&file), "-o", &text(dir.path().join("x"))]);
    assert!(message.contains("2 weights of linear layers (proj.weight, second.weight)"), "{message}");
}

#[test]
fn it_stands_beside_any_models_packages_and_changes_nothing_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("sd-emoji");
    succeed(["convert", &text(demo()), "-o", &text(&output)]);
    let before = names(&output);
    let settings = std::fs::read(output.join("smelt.json")).unwrap();
    convert(&made_in(dir.path(), &Layer::new(1, true)), &output, &[]);
    assert_eq!(names(&output).into_iter().filter(|name| name != PACKAGE).collect::<Vec<_>>(), before);
    assert!(settings == std::fs::read(output.join("smelt.json")).unwrap());
    let picture = text(dir.path().join("x.png"));
    succeed(["generate", "rocket", "-m", &text(&output), "-o", &picture, "--steps", "1"]);
    // A conversion of the model goes on there too.
    succeed(["convert", &text(demo()), "-o", &text(&output), "--force"]);
}

#[test]
fn other_modules_are_refused_by_what_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let layer = Layer::new(1, true);
    let file = dir.path().join("projection.pt");
    let refuse = |value: &[u8], words: &str| {
        archive(&file, &pickle(value), &layer.tensors());
        let message = Checkpoint::open(file.as_path()).unwrap_err().to_string();
        assert!(message.contains("projection.pt: ") && message.contains(words), "{message}");
    };
    let linear = object(LINEAR, &layer.state());
    let relu = object("__torch__.torch.nn.modules.activation\nReLU", b"");
    let sequential = |layers: &[&[u8]]| {
        let entries: Vec<u8> =
            layers.iter().enumerate().flat_map(|(i, layer)| [name(&i.to_string()), layer.to_vec()].concat()).collect();
        object("__torch__.torch.nn.modules.container\nSequential", &entries)
    };
    refuse(
        &object("__torch__\nProjection", &[name("proj"), linear.clone()].concat()),
        "a module of the class Projection; only a",
    );
    refuse(
        &sequential(&[&linear, &relu]),
        "2 layers one after another (torch.nn.modules.linear.Linear, torch.nn.modules.activation.ReLU)",
    );
    let weight = |value: &[u8]| object(LINEAR, &[&name("weight"), value].concat());
    refuse(&weight(b"N"), "it has no weight");
    refuse(&weight(b"cos\nsystem\n)R"), "its weight: it is made by os.system");
    refuse(&weight(&name("x")), "its weight: it is no tensor");
    refuse(&weight(&strided(0, "FloatStorage", &[WIDTH, IN], &[1, WIDTH])), "is not contiguous");
    refuse(&weight(&tensor(0, "ByteStorage", &[WIDTH, IN])), "numbers of uint8");
    refuse(&weight(&tensor(7, "FloatStorage", &[WIDTH, IN])), "data/7");
    refuse(&weight(&tensor(0, "FloatStorage", &[WIDTH * 9, IN])), "storage 0 should have 294912 elements");
    refuse(&weight(&tensor(0, "FloatStorage", &[IN, WIDTH])), "has shape [512, 64]; a projection");
    refuse(b"\x82", "opcode 0x82");
    // One layer in a Sequential is that layer.
    archive(&file, &pickle(&sequential(&[&linear])), &layer.tensors());
    Checkpoint::open(file.as_path()).unwrap();
    let folder = dir.path().join("out");
    let message = fail(["convert", &text(&file), "-o", &text(&folder), "--component", "unet"]);
    assert!(message.contains("projection.pt"), "{message}");
}

#[test]
fn damaged_archives_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    let file = made_in(dir.path(), &Layer::new(1, true));
    let whole = std::fs::read(&file).unwrap();
    let mut random = Rng::new(9);
    for _ in 0..300 {
        let cut = random.below(whole.len());
        std::fs::write(&file, &whole[..cut]).unwrap();
        assert!(Checkpoint::open(file.as_path()).is_err(), "cut at {cut}");
        // The pickle is at the beginning, and the table of contents at the end.
        let mut changed = whole.clone();
        let at = if cut.is_multiple_of(2) { random.below(800) } else { whole.len() - 1 - random.below(600) };
        changed[at] = changed[at].wrapping_add(1 + random.below(255) as u8);
        std::fs::write(&file, &changed).unwrap();
        // Whatever it is then, it is no panic.
        drop(Checkpoint::open(file.as_path()));
    }
}
