//! Models of the Hub wherever a model is named, from a server of this machine: fetched once, and opened as a folder is.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{Ran, command, files, names, succeed, text};
use testkit::hub::{Access, COMMIT, Fault, HubServer};

const MODEL: &str = "hf:someone/model";

/// The demo model on a server, beside what repositories have besides, and a folder for caches and outputs.
struct Made {
    server: HubServer,
    dir: tempfile::TempDir,
}

impl Made {
    fn new() -> Self {
        let mut model = files(&testkit::demo());
        model.insert("all.safetensors".into(), vec![1; 5000]);
        model.insert("unet/diffusion_pytorch_model.bin".into(), vec![2; 5000]);
        model.insert("unet/model.onnx".into(), vec![3; 5000]);
        Self { server: HubServer::new(model), dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn repository(&self) -> PathBuf {
        self.path("cache/models--someone--model")
    }

    fn command(&self, args: &[&str]) -> std::process::Command {
        let mut command = command(args);
        command.current_dir(self.dir.path()).env("HF_ENDPOINT", self.server.endpoint());
        command.env("HF_HUB_CACHE", self.path("cache")).env("HF_HOME", self.path("home"));
        for name in ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"] {
            command.env_remove(name);
        }
        command
    }

    fn run(&self, args: &[&str]) -> Ran {
        self.command(args).output().unwrap().into()
    }

    #[track_caller]
    fn succeed(&self, args: &[&str]) -> Ran {
        let ran = self.run(args);
        assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
        ran
    }

    #[track_caller]
    fn fail(&self, args: &[&str], parts: &[&str]) {
        let ran = self.run(args);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{}", ran.stderr);
        parts.iter().for_each(|part| assert!(ran.stderr.contains(part), "{}\n  has no {part:?}", ran.stderr));
    }
}

#[test]
fn an_output_that_cannot_be_written_is_refused_before_anything_is_fetched() {
    let made = Made::new();
    fs::write(made.path("taken"), "x").unwrap();
    made.fail(&["convert", MODEL, "-o", "taken"], &["taken"]);
    assert_eq!(made.server.requests().len(), 0);
    assert!(!made.path("cache").exists());
}

#[test]
fn configurations_of_the_hub_come_without_its_weights() {
    let made = Made::new();
    fs::copy(testkit::demo().join("unet/diffusion_pytorch_model.safetensors"), made.path("unet.safetensors")).unwrap();
    let convert = ["convert", "unet.safetensors", "--config", MODEL, "--model-version", "m"];
    made.fail(&[&convert[..], &["-o", "no", "--offline"]].concat(), &["smelt download hf:someone/model"]);
    made.succeed(&[&convert[..], &["-o", "of-hub"]].concat());
    let fetched = files(&made.repository().join("snapshots").join(COMMIT));
    assert!(fetched.contains_key("unet/config.json") && fetched.contains_key("model_index.json"));
    assert_eq!(fetched.keys().find(|name| name.ends_with(".safetensors") || name.ends_with(".bin")), None);
    let demo = text(testkit::demo());
    made.succeed(&["convert", "unet.safetensors", "--config", &demo, "--model-version", "m", "-o", "of-folder"]);
    assert!(files(&made.path("of-hub")) == files(&made.path("of-folder")), "other bytes");
}

#[test]
fn a_model_of_the_hub_converts_to_what_its_folder_does() {
    let made = Made::new();
    let version = ["--model-version", "m"];
    let ran = made.succeed(&[&["convert", MODEL, "-o", "of-hub"], &version[..]].concat());
    assert!(ran.stderr.contains("fetching hf:someone/model: "), "{}", ran.stderr);
    let folder = text(made.path("of-folder"));
    succeed(["convert", &text(testkit::demo()), "-o", &folder, version[0], version[1]]);
    assert!(files(&made.path("of-hub")) == files(Path::new(&folder)), "other bytes");
    let fetched = files(&made.repository().join("snapshots").join(COMMIT));
    let own = files(&testkit::demo());
    assert!(fetched.iter().all(|(name, bytes)| own.get(name) == Some(bytes)), "{:?}", fetched.keys());
    // Now it is there: nothing but the listing is asked for, and offline not even that.
    drop(made.server.requests());
    let unet = "of-hub/Stable_Diffusion_version_m_unet.mlpackage";
    let ran = made.succeed(&["verify", unet, "--against", MODEL]);
    assert!(!ran.stderr.contains("fetching"), "{}", ran.stderr);
    assert_eq!(made.server.requests().len(), 1);
    made.succeed(&["generate", "a red heart", "-m", MODEL, "--offline", "--steps", "1", "-o", "a.png"]);
    assert!(made.path("a.png").is_file());
    assert_eq!(made.server.requests(), []);
}

#[test]
fn verification_fetches_the_weights_that_it_compares() {
    let made = Made::new();
    let folder = text(made.path("packages"));
    succeed(["convert", &text(testkit::demo()), "-o", &folder, "--model-version", "m", "--component", "vae-decoder"]);
    let package = "packages/Stable_Diffusion_version_m_vae_decoder.mlpackage";
    made.succeed(&["verify", package, "--against", MODEL]);
    let fetched = files(&made.repository().join("snapshots").join(COMMIT));
    let weights: Vec<&String> = fetched.keys().filter(|name| name.ends_with(".safetensors")).collect();
    assert_eq!(weights, ["vae/diffusion_pytorch_model.safetensors"]);
}

#[test]
fn download_prints_where_it_is_and_nothing_else() {
    let made = Made::new();
    let ran = made.succeed(&["download", MODEL]);
    let snapshot = made.repository().join("snapshots").join(COMMIT);
    assert_eq!(ran.stdout.trim_end(), text(&snapshot));
    assert!(ran.stderr.contains("fetching hf:someone/model: "), "{}", ran.stderr);
    let ran = made.succeed(&["download", MODEL, "--json", "--offline"]);
    let json: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&json["commit"], &json["fetched_bytes"]), (&COMMIT.into(), &0.into()));
    assert_eq!(ran.stderr, "");
    let ran = made.succeed(&["download", "hf:someone/model/all.safetensors"]);
    assert_eq!(fs::read(ran.stdout.trim_end()).unwrap(), vec![1; 5000]);
    made.succeed(&["download", MODEL, "--all"]);
    assert!(snapshot.join("unet/model.onnx").is_file());
}

#[test]
fn what_is_missing_is_said_before_any_work() {
    let made = Made::new();
    let convert = ["convert", MODEL, "-o", "out", "--offline"];
    made.fail(&convert, &["hf:someone/model: it is not in the cache", "smelt download hf:someone/model"]);
    made.succeed(&["download", MODEL, "--component", "unet"]);
    made.fail(&convert, &["the cache has no weights of text_encoder, vae"]);
    let mut offline = made.command(&["convert", MODEL, "-o", "out"]);
    let ran: Ran = offline.env("HF_HUB_OFFLINE", "1").output().unwrap().into();
    assert!(ran.code == Some(1) && ran.stderr.contains("no weights of text_encoder, vae"), "{}", ran.stderr);
    made.fail(&["download", "models/sd15"], &["models/sd15 is no reference to the Hub", "hf:owner/name"]);
    made.server.set_access(Access::Gated);
    made.fail(&["convert", MODEL, "-o", "out"], &["answered 401", "accept it at", "/someone/model", "hf auth login"]);
    made.server.fail("/api/models", Fault::status(404));
    made.fail(&["generate", "x", "-m", "hf:someone/model@v9"], &["answered 404", "someone/model"]);
    assert!(!made.path("out").exists());
}

#[cfg(unix)]
#[test]
fn after_ctrl_c_the_beginning_of_a_file_is_kept_and_gone_on_with() {
    use std::time::{Duration, Instant};
    let made = Made::new();
    let name = "unet/diffusion_pytorch_model.safetensors";
    made.server.fail("signature", Fault::CutAfter(4000));
    made.server.fail("signature", Fault::Silence(Duration::from_secs(8)));
    let source = format!("{MODEL}/{name}");
    let child = made.command(&["download", &source]).spawn().unwrap();
    let blobs = made.repository().join("blobs");
    let incomplete = blobs.join(format!("{}.incomplete", made.server.etag(name)));
    let start = Instant::now();
    while fs::metadata(&incomplete).map_or(0, |meta| meta.len()) < 4000 {
        assert!(start.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(20));
    }
    let told = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(told.success());
    let ran: Ran = child.wait_with_output().unwrap().into();
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(130), ""), "{}", ran.stderr);
    assert_eq!(names(&blobs), [incomplete.file_name().unwrap().to_str().unwrap()]);
    assert!(!made.repository().join("snapshots").exists() && !made.repository().join("refs").exists());
    made.server.clear_faults();
    drop(made.server.requests());
    let ran = made.succeed(&["download", &source]);
    assert_eq!(fs::read(ran.stdout.trim_end()).unwrap(), fs::read(testkit::demo().join(name)).unwrap());
    let ranges: Vec<Option<String>> = made
        .server
        .requests()
        .into_iter()
        .filter(|r| r.is_elsewhere)
        .map(|r| r.headers.get("range").cloned())
        .collect();
    assert_eq!(ranges, [Some("bytes=4000-".to_owned())]);
}
