//! What a server is started with.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use smelt::EngineSpec;

/// What a server is started with.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// Where it listens; port 0 is any that is free.
    pub listen: SocketAddr,
    /// What requests must have.
    pub access: Access,
    /// Names that requests may call this machine by, beside `localhost` and addresses.
    pub hosts: Vec<String>,
    /// Other sites whose pages may send requests, such as `https://example.org`.
    pub origins: Vec<String>,
    /// Folders whose folders and files are models; one may be a model itself.
    pub models: Vec<PathBuf>,
    /// The model that is used where a request names none; default: the first of them, or the model in the box.
    pub model: Option<String>,
    /// Where LoRAs that prompts name are looked up.
    pub lora_dir: Option<PathBuf>,
    /// Where words that prompts have are looked up.
    pub embedding_dir: Option<PathBuf>,
    /// Where ControlNets are looked up.
    pub controlnet_dir: Option<PathBuf>,
    /// Where upscalers are looked up.
    pub upscaler_dir: Option<PathBuf>,
    /// Where finished pictures are kept, each in a file of its own; else they are in memory for a while.
    pub keep: Option<PathBuf>,
    /// What executes models.
    pub engine: EngineSpec,
    /// Load each model only for its stage.
    pub low_memory: bool,
    /// Fetch models of the Hub when a request asks for it, and offer those of its cache.
    pub allow_downloads: bool,
    /// Cancel the job of a client that leaves while it waits for the pictures.
    pub cancel_on_disconnect: bool,
    /// Where hashes of files and the model in the box are kept.
    pub cache: Option<PathBuf>,
    /// What a request may take.
    pub limits: Limits,
}

/// What requests must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Nothing, where no other machine reaches the address; any other address is refused.
    Local,
    /// Nothing, whoever reaches the address.
    Open,
    /// This key: as `Authorization: Bearer`, or as the password of HTTP Basic.
    Key(String),
}

/// What requests may take.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Jobs that wait.
    pub queue: usize,
    /// Bytes of a request.
    pub body_bytes: usize,
    /// Time in which all of a request must have come.
    pub request_time: Duration,
    /// Pixels of a picture that is drawn or given.
    pub pixels: usize,
    /// Characters of a prompt.
    pub prompt: usize,
    /// Steps of a picture.
    pub steps: usize,
    /// Pictures of a request.
    pub pictures: usize,
    /// Time that a job may draw.
    pub job_time: Duration,
    /// Bytes of all pictures that are in memory.
    pub kept_bytes: usize,
    /// How long pictures and jobs that are done are in memory.
    pub kept_time: Duration,
    /// Memory of the process above which models that are not used are dropped.
    pub memory: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            queue: 1000,
            body_bytes: 64 << 20,
            request_time: Duration::from_secs(60),
            pixels: 2048 * 2048,
            prompt: 20_000,
            steps: 1000,
            pictures: 100,
            job_time: Duration::from_secs(6 * 3600),
            kept_bytes: 256 << 20,
            kept_time: Duration::from_secs(24 * 3600),
            memory: None,
        }
    }
}

/// AUTOMATIC1111's port, where its clients look.
pub const PORT: u16 = 7860;

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), PORT),
            access: Access::Local,
            hosts: Vec::new(),
            origins: Vec::new(),
            models: Vec::new(),
            model: None,
            lora_dir: None,
            embedding_dir: None,
            controlnet_dir: None,
            upscaler_dir: None,
            keep: None,
            engine: EngineSpec::default(),
            low_memory: false,
            allow_downloads: false,
            cancel_on_disconnect: false,
            cache: None,
            limits: Limits::default(),
        }
    }
}
