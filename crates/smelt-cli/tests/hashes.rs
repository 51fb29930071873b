//! What people call the files of a model by, and what packages say of themselves, by the command.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use common::made::{self, Made};
use common::{Ran, command, succeed, text};
use safetensors::Dtype;
use serde_json::Value;
use testkit::{demo, sha256};

/// A folder with its own caches.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn inspect(&self, args: &[&str]) -> Ran {
        let mut command = command(["inspect"].iter().chain(args).map(OsStr::new));
        let (cache, hub) = (self.path("cache"), self.path("hub"));
        command.env("SMELT_CACHE", cache).env("HF_HUB_CACHE", hub).output().unwrap().into()
    }

    #[track_caller]
    fn json(&self, args: &[&str]) -> Value {
        let ran = self.inspect(&[args, &["--json"]].concat());
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        serde_json::from_str(&ran.stdout).unwrap()
    }

    #[track_caller]
    fn fail(&self, args: &[&str], part: &str) {
        let ran = self.inspect(args);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{}", ran.stderr);
        assert!(ran.stderr.contains(part), "{}", ran.stderr);
    }
}

fn hash_of(path: &Path) -> String {
    sha256(&fs::read(path).unwrap())
}

#[test]
fn packages_say_what_they_are_made_of_and_learn_its_hashes() {
    let place = Place::new();
    let (source, output) = (Made::demo(place.path("sd")), place.path("out"));
    let embedding = place.path("learned.safetensors");
    let config: Value = serde_json::from_slice(&fs::read(demo().join("text_encoder/config.json")).unwrap()).unwrap();
    let width = config["hidden_size"].as_u64().unwrap() as usize;
    let vectors = (Dtype::F32, vec![2, width], vec![0; 2 * width * 4]);
    made::write(&embedding, &BTreeMap::from([("<Toy>".to_owned(), vectors)]));
    let (sd, out, word) = (text(&source.root), text(&output), text(&embedding));
    let convert = |component: &str| {
        succeed(["convert", &sd, "-o", &out, "--component", component, "--embedding", &word, "--model-version", "m"])
    };
    convert("text-encoder");
    let facts = place.json(&[&out]);
    assert_eq!((&facts["model"], &facts["words"][0]["word"]), (&"m".into(), &"<Toy>".into()));
    assert_eq!(facts["packages"], serde_json::json!(["Stable_Diffusion_version_m_text_encoder.mlpackage"]));
    let sources = facts["sources"].as_array().unwrap();
    assert!(sources.len() == 4 && sources.iter().all(|source| source["sha256"].is_null()), "{facts}");
    let facts = place.json(&[&out, "--hashes", "--source", &sd, "--source", &word]);
    let of = |file: &str| {
        let found = facts["sources"].as_array().unwrap().iter().find(|source| source["file"] == file);
        found.unwrap_or_else(|| panic!("{file}: {facts}"))["sha256"].clone()
    };
    assert_eq!(of(made::UNET), hash_of(&source.root.join(made::UNET)));
    assert_eq!(of("learned.safetensors"), hash_of(&embedding));
    let said = place.inspect(&[&out]).stdout;
    assert!(said.contains("<Toy>, 2 vectors") && said.contains(&hash_of(&embedding)), "{said}");
    assert!(said.contains(&format!("AutoV2   {}", &hash_of(&embedding)[..10])), "{said}");
    // They are no reason to refuse a further component.
    convert("vae-decoder");
}

#[test]
fn files_are_called_by_their_hashes() {
    let place = Place::new();
    let lora = place.path("style.safetensors");
    let tensor = |shape: [usize; 2]| (Dtype::F16, shape.to_vec(), vec![0; 8]);
    let key = |part: &str| format!("lora_unet_down_blocks_0_attentions_0_proj_in.{part}.weight");
    let tensors = [(key("lora_down"), tensor([1, 4])), (key("lora_up"), tensor([4, 1]))];
    made::write(&lora, &BTreeMap::from(tensors));
    let facts = place.json(&[&text(&lora), "--hashes"]);
    let own = &facts["hashes"][0];
    let (whole, body) = (hash_of(&lora), sha256(&[0; 16]));
    assert_eq!((&own["sha256"], &own["part"]), (&whole.clone().into(), &"lora".into()));
    assert_eq!((&own["auto_v2"], &own["auto_v3"]), (&whole[..10].into(), &body[..12].into()));
    let facts = place.json(&[&text(demo()), "--hashes"]);
    let hashes = facts["hashes"].as_array().unwrap();
    assert_eq!(hashes.len(), 3);
    for own in hashes {
        assert_eq!(own["sha256"], hash_of(&demo().join(own["file"].as_str().unwrap())), "{own}");
    }
    assert_eq!(place.json(&[&text(demo())])["hashes"], Value::Null);
    let package = place.path("x_unet.mlpackage");
    fs::create_dir(&package).unwrap();
    place.fail(&[&text(&lora), "--hashes", "--source", &text(demo())], "leave it out");
    place.fail(&[&text(place.dir.path()), "--hashes"], "no smelt.json that says");
    place.fail(&[&text(place.dir.path()), "--weights"], "which holds no program");
}

#[cfg(unix)]
#[test]
fn packages_of_a_model_of_the_hub_find_its_files_there() {
    let place = Place::new();
    let commit = "39593d5650112b4cc580433f6b0435385882d819";
    let repository = place.path("hub/models--someone--emoji-model");
    for (name, bytes) in common::files(&demo()) {
        let blob = repository.join("blobs").join(sha256(&bytes));
        made::put(&blob, &bytes);
        let link = repository.join("snapshots").join(commit).join(&name);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(&blob, link).unwrap();
    }
    made::put(&repository.join("refs/main"), commit);
    let out = text(place.path("out"));
    succeed(["convert", &text(&repository), "-o", &out, "--component", "text-encoder"]);
    // Large files are called by their hash: other bytes of the same length show that they are not read.
    let unet = repository.join("snapshots").join(commit).join(made::UNET);
    let (expected, length) = (hash_of(&unet), fs::metadata(&unet).unwrap().len());
    fs::write(unet.canonicalize().unwrap(), vec![0; length as usize]).unwrap();
    let facts = place.json(&[&out, "--hashes"]);
    let found = facts["sources"].as_array().unwrap().iter().find(|source| source["file"] == made::UNET).unwrap();
    assert_eq!(found["sha256"], expected);
}
