//! A model on a server of this machine, a cache of its own, and what is heard on the way.

#![allow(dead_code, reason = "each test takes what it needs")]

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sd_checkpoint::hub::Cache;
use sd_hub::{Event, Fetched, Hub, HubError, Patience, Settings, Wanted};
use testkit::hub::{HubServer, ID};

pub(crate) const INDEX: &str = r#"{"_class_name": "StableDiffusionPipeline", "unet": ["d", "U"], "vae": ["d", "V"]}"#;
pub(crate) const UNET: &str = "unet/diffusion_pytorch_model.safetensors";
pub(crate) const VAE: &str = "vae/diffusion_pytorch_model.safetensors";

/// Bytes that repeat only after a long while.
pub(crate) fn bytes(n: usize, seed: u32) -> Vec<u8> {
    let mut state = seed | 1;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..n).map(next).collect()
}

/// A pipeline as repositories have it: what is needed, and as much that is not.
pub(crate) fn pipeline() -> Vec<(String, Vec<u8>)> {
    let files = [
        ("model_index.json", INDEX.as_bytes().to_vec()),
        ("unet/config.json", b"{\"a\": 1}".to_vec()),
        (UNET, bytes(700_000, 1)),
        ("unet/diffusion_pytorch_model.bin", bytes(900, 2)),
        ("unet/diffusion_pytorch_model.fp16.safetensors", bytes(350_000, 3)),
        ("vae/config.json", b"{\"b\": 2}".to_vec()),
        (VAE, bytes(300_000, 4)),
        ("vae/model.onnx", bytes(900, 5)),
        ("all in one.safetensors", bytes(200_000, 6)),
        ("README.md", b"# A model".to_vec()),
    ];
    files.map(|(name, bytes)| (name.to_owned(), bytes)).into()
}

/// A server, a cache, and what was said.
pub(crate) struct Made {
    pub(crate) server: HubServer,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) settings: Settings,
    pub(crate) notes: Vec<String>,
    pub(crate) found: Vec<(usize, usize, u64)>,
}

pub(crate) fn impatient() -> Patience {
    Patience::default()
        .with_pauses(Duration::from_millis(5), Duration::from_secs(2))
        .with_silence(Duration::from_millis(300))
}

impl Made {
    pub(crate) fn new(files: Vec<(String, Vec<u8>)>) -> Self {
        let (server, dir) = (HubServer::new(files), tempfile::tempdir().unwrap());
        let settings = Settings::at(&server.endpoint(), Cache::at(dir.path().join("hub"))).unwrap();
        let settings = settings.with_patience(impatient());
        Self { server, dir, settings, notes: Vec::new(), found: Vec::new() }
    }

    pub(crate) fn pipeline() -> Self {
        Self::new(pipeline())
    }

    pub(crate) fn fetch(&mut self, wanted: &Wanted) -> Result<Fetched, HubError> {
        self.fetch_at(None, wanted)
    }

    pub(crate) fn fetch_at(&mut self, revision: Option<&str>, wanted: &Wanted) -> Result<Fetched, HubError> {
        let (notes, found) = (&mut self.notes, &mut self.found);
        Hub::new(self.settings.clone()).fetch(ID, revision, wanted, &mut |event: Event<'_>| {
            match event {
                Event::Note(words) => notes.push(words.to_owned()),
                Event::Found { n_files, n_missing, n_bytes } => found.push((n_files, n_missing, n_bytes)),
                Event::Progress { done, total } => assert!(done <= total, "{done} of {total}"),
                _ => {}
            }
            ControlFlow::Continue(())
        })
    }

    /// What a failure says; nothing is there that could be taken for whole.
    #[track_caller]
    pub(crate) fn fails(&mut self, wanted: &Wanted, parts: &[&str]) -> String {
        let error = self.fetch(wanted).unwrap_err().to_string();
        parts.iter().for_each(|part| assert!(error.contains(part), "{error}\n  has no {part:?}"));
        error
    }

    pub(crate) fn blob(&self, name: &str) -> PathBuf {
        self.repository().join("blobs").join(self.server.etag(name))
    }

    pub(crate) fn repository(&self) -> PathBuf {
        self.dir.path().join("hub/models--someone--model")
    }

    pub(crate) fn expected(name: &str) -> Vec<u8> {
        pipeline().into_iter().find(|(other, _)| other == name).unwrap().1
    }
}

/// Just this file.
pub(crate) fn only(name: &str) -> Wanted {
    Wanted { path: Some(name.to_owned()), ..Wanted::default() }
}

/// Names in a folder, sorted.
pub(crate) fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
