//! Files that somebody changed, by chance or on purpose: names, shapes and types of every kind of single file, and its bytes.
//! Whatever they are, nothing panics, and no memory is taken because a header says so.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use safetensors::SafeTensors;
use sd_checkpoint::Checkpoint;
use serde_json::{Map, Value, json};
use testkit::Rng;
use testkit::memory::{Counting, Peak, turn};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// More than this nobody needs to look at files of a few hundred tensors.
const MAX_BYTES: usize = 24 << 20;

/// Files that are tried; fewer on slow machines.
const MOST_FILES: usize = 3000;

/// A tensor as a header has it.
type Tensor = (&'static str, Vec<u64>);

/// What a header says.
#[derive(Debug, Clone)]
struct Header {
    tensors: BTreeMap<String, Tensor>,
    metadata: BTreeMap<String, String>,
}

const TYPES: [(&str, u64); 8] =
    [("F16", 2), ("F32", 4), ("BF16", 2), ("F64", 8), ("F8_E4M3", 1), ("I64", 8), ("U8", 1), ("BOOL", 1)];

impl Header {
    /// That of a file, with every tensor in half precision.
    fn of(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let shape = |name: &str| file.tensor(name).unwrap().shape().iter().map(|&n| n as u64).collect();
        let tensors = file.names().into_iter().map(|name| (name.to_owned(), ("F16", shape(name)))).collect();
        Self { tensors, metadata: BTreeMap::new() }
    }

    /// Writes a file whose numbers are a hole; sizes that no file has are lied about.
    fn write(&self, path: &Path) {
        const MAX_FILE: u64 = 1 << 33;
        let mut header = Map::new();
        let mut end = 0u64;
        for (name, (dtype, shape)) in &self.tensors {
            let width = TYPES.iter().find(|(known, _)| known == dtype).map_or(1, |(_, width)| *width);
            let n_bytes = shape.iter().try_fold(width, |n, &side| n.checked_mul(side));
            let n_bytes = n_bytes.filter(|&n| end.checked_add(n).is_some_and(|end| end <= MAX_FILE)).unwrap_or(0);
            header.insert(name.clone(), json!({"dtype": dtype, "shape": shape, "data_offsets": [end, end + n_bytes]}));
            end += n_bytes;
        }
        if !self.metadata.is_empty() {
            header.insert("__metadata__".to_owned(), json!(self.metadata));
        }
        let json = Value::from(header).to_string();
        let mut file = File::create(path).unwrap();
        file.write_all(&(json.len() as u64).to_le_bytes()).unwrap();
        file.write_all(json.as_bytes()).unwrap();
        file.set_len(8 + json.len() as u64 + end).unwrap();
    }

    /// Changes something, as a careless program or somebody who means harm would.
    fn change(&mut self, others: &[Self], rng: &mut Rng) {
        const SIDES: [u64; 12] = [0, 1, 2, 3, 5, 8, 64, 768, 1280, 1 << 16, 1 << 31, 1 << 40];
        const PREFIXES: [&str; 6] = [
            "model.diffusion_model.",
            "first_stage_model.",
            "text_model.",
            "control_model.",
            "module.",
            "model.model_ema.",
        ];
        const MARKS: [&str; 6] =
            ["v_pred", "ztsnr", "scaled_fp8", "global_step", "positional_embedding", "text_projection"];
        const ENDS: [&str; 4] = [".scale_weight", ".weight_scale", ".scale_input", ".comfy_quant"];
        let names: Vec<String> = self.tensors.keys().cloned().collect();
        let Some(name) = (!names.is_empty()).then(|| rng.pick(&names).clone()) else { return };
        let side = *rng.pick(&SIDES);
        match rng.below(12) {
            0 => drop(self.tensors.remove(&name)),
            1 => {
                let part = name.split_inclusive('.').next().unwrap_or_default().to_owned();
                self.tensors.retain(|key, _| !key.starts_with(&part) || rng.below(3) > 0);
            }
            2 => {
                let tensor = self.tensors[&name].clone();
                let renamed = match PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix)) {
                    Some(rest) => rest.to_owned(),
                    None => format!("{}{name}", rng.pick(&PREFIXES)),
                };
                drop(self.tensors.insert(renamed, tensor));
            }
            3 => {
                let number = rng.pick(&["0", "1", "9", "255", "18446744073709551616"]);
                let parts: Vec<&str> = name.split('.').collect();
                let at = rng.below(parts.len());
                let renamed: Vec<&str> =
                    parts.iter().enumerate().map(|(i, part)| if i == at { *number } else { *part }).collect();
                let tensor = self.tensors[&name].clone();
                self.tensors.insert(renamed.join("."), tensor);
            }
            4 | 5 => {
                let (_, shape) = self.tensors.get_mut(&name).unwrap();
                if !shape.is_empty() {
                    let at = rng.below(shape.len());
                    shape[at] = side;
                }
            }
            6 => self.tensors.get_mut(&name).unwrap().1.push(side.min(4)),
            7 => drop(self.tensors.get_mut(&name).unwrap().1.pop()),
            8 => self.tensors.get_mut(&name).unwrap().0 = rng.pick(&TYPES).0,
            9 => {
                let other = &rng.pick(others).tensors;
                let keys: Vec<&String> = other.keys().collect();
                let from = rng.below(keys.len());
                self.tensors.extend(keys[from..].iter().take(40).map(|key| ((*key).clone(), other[*key].clone())));
            }
            10 => {
                let end = rng.pick(&ENDS);
                let module = name.strip_suffix(".weight").unwrap_or(&name);
                let rows = self.tensors[&name].1.first().copied().unwrap_or(1);
                let shape = if rng.below(2) == 0 { vec![] } else { vec![rows] };
                self.tensors.insert(format!("{module}{end}"), ("F32", shape));
            }
            _ => {
                self.tensors.insert((*rng.pick(&MARKS)).to_owned(), ("F16", vec![side.min(1 << 16)]));
                let key = rng.pick(&["modelspec.architecture", "modelspec.prediction_type", "ss_v_parameterization"]);
                let value = rng.pick(&["stable-diffusion-v2-768-v", "v", "True", "flow", "\u{0}"]);
                self.metadata.insert((*key).to_owned(), (*value).to_owned());
            }
        }
    }
}

/// Does all that can be done with a file; what it says of itself is refused or read.
fn look(path: &Path) -> bool {
    const READ: u64 = 1 << 12;
    let Ok(checkpoint) = Checkpoint::open(path) else { return false };
    let _ = checkpoint.warnings();
    let mut is_read = false;
    for role in checkpoint.roles() {
        let (Ok(_), Ok(weights)) = (checkpoint.network(role), checkpoint.weights(role)) else { continue };
        is_read = true;
        if let Some((key, _)) = weights.iter().last() {
            let _ = checkpoint.stored_key(role, key).unwrap();
        }
        for (_, weight) in weights.iter() {
            if weight.n_bytes() <= READ {
                assert_eq!(weight.constant().read().shape(), weight.shape());
            }
        }
    }
    is_read
}

fn headers() -> Vec<Header> {
    let demo = testkit::demo();
    let mut files: Vec<_> = ["unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model", "text_encoder/model"]
        .map(|name| demo.join(format!("{name}.safetensors")))
        .into();
    if let Some(golden) = testkit::golden() {
        let names = ["sd15", "sdxl", "controlnet", "sd3_no_encoders"];
        files.extend(names.map(|name| golden.join(format!("single-file/{name}.safetensors"))));
    }
    files.iter().map(|path| Header::of(path)).collect()
}

#[test]
fn no_names_shapes_or_types_whatever_break_the_reader() {
    let _turn = turn();
    let headers = headers();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.safetensors");
    for header in &headers {
        header.write(&path);
        assert!(Checkpoint::open(&path).is_ok(), "{:?}", header.tensors.keys().next());
    }
    let mut rng = Rng::new(0x51_61);
    let peak = Peak::begin();
    let (mut n_read, mut n, begin) = (0, 0, Instant::now());
    while n < MOST_FILES && begin.elapsed() < Duration::from_secs(15) {
        let mut header = headers[n % headers.len()].clone();
        n += 1;
        for _ in 0..=rng.below(4) {
            header.change(&headers, &mut rng);
        }
        header.write(&path);
        n_read += usize::from(look(&path));
    }
    let peak = peak.bytes();
    assert!(peak < MAX_BYTES, "{peak} bytes were taken at once");
    assert!(
        n >= 100 && n_read > n / 20,
        "only {n_read} of {n} files were read, so the changes are too coarse to find anything"
    );
}

#[test]
fn no_bytes_whatever_break_the_reader() {
    let _turn = turn();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.safetensors");
    let corpus: Vec<Vec<u8>> = headers()
        .into_iter()
        .map(|mut header| {
            // Few tensors, so that changes meet what matters.
            let keep: Vec<String> = header.tensors.keys().take(12).cloned().collect();
            header.tensors.retain(|key, _| keep.contains(key));
            header.tensors.values_mut().for_each(|(_, shape)| shape.iter_mut().for_each(|side| *side = (*side).min(4)));
            header.write(&path);
            std::fs::read(&path).unwrap()
        })
        .collect();
    let corpus: Vec<&[u8]> = corpus.iter().map(Vec::as_slice).collect();
    let n_calls = testkit::fuzz::run_for(Duration::from_secs(2), &corpus, |bytes| {
        std::fs::write(&path, bytes).unwrap();
        let _ = look(&path);
    });
    assert!(n_calls > 200, "{n_calls}");
}
