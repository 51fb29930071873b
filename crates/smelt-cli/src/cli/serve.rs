//! What a server is started with, as it is typed.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
use smelt_serve::PORT;

use super::goal::size;
use crate::engine_args::{EngineArgs, memory};

/// `smelt serve`.
#[derive(Debug, Args)]
#[command(after_help = super::examples::SERVE)]
pub(crate) struct ServeArgs {
    /// Address and port to listen on, or a port of this machine alone; port 0 is any that is free.
    #[arg(long, value_name = "ADDRESS:PORT", default_value_t = here(PORT), value_parser = address)]
    pub(crate) listen: SocketAddr,
    /// The key that requests must have (Authorization: Bearer KEY); needed where other machines reach the address.
    #[arg(long, value_name = "KEY", env = "SMELT_API_KEY", hide_env_values = true)]
    pub(crate) api_key: Option<String>,
    /// Let everybody in who reaches the address.
    #[arg(long, conflicts_with = "api_key")]
    pub(crate) no_auth: bool,
    /// A name that this machine is called by in requests, beside localhost and addresses; repeatable.
    #[arg(long = "host", value_name = "NAME")]
    pub(crate) hosts: Vec<String>,
    /// A site whose pages may send requests, such as https://example.org; repeatable.
    #[arg(long = "origin", value_name = "ORIGIN")]
    pub(crate) origins: Vec<String>,
    #[command(flatten)]
    pub(crate) served: ServedArgs,
}

/// A port that this machine alone reaches.
const fn here(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// An address with a port, or a port.
fn address(text: &str) -> Result<SocketAddr, String> {
    let text = text.replacen("localhost", "127.0.0.1", 1);
    let wrong = || format!("it is no address with a port, such as {} or 0.0.0.0:{PORT}, nor a port", here(PORT));
    text.parse().or_else(|_| text.parse().map(here)).map_err(|_| wrong())
}

/// `smelt app`.
#[derive(Debug, Args)]
#[command(after_help = super::examples::APP)]
pub(crate) struct AppArgs {
    /// Start everything, and leave the browser closed.
    #[arg(long)]
    pub(crate) no_browser: bool,
    #[command(flatten)]
    pub(crate) served: ServedArgs,
}

/// What both serve.
#[derive(Debug, Args)]
pub(crate) struct ServedArgs {
    /// A folder whose folders and files are models, or a model itself; repeatable. The model in the box is there too.
    #[arg(long, value_name = "DIR")]
    pub(crate) models: Vec<PathBuf>,
    /// The model that is used where a request names none; default: the first.
    #[arg(short, long, value_name = "NAME")]
    pub(crate) model: Option<String>,
    /// Folder of LoRAs, which prompts name.
    #[arg(long, value_name = "DIR")]
    pub(crate) lora_dir: Option<PathBuf>,
    /// Folder of new words, which prompts have.
    #[arg(long, value_name = "DIR")]
    pub(crate) embedding_dir: Option<PathBuf>,
    /// Folder of ControlNets.
    #[arg(long, value_name = "DIR")]
    pub(crate) controlnet_dir: Option<PathBuf>,
    /// Folder of upscalers.
    #[arg(long, value_name = "DIR")]
    pub(crate) upscaler_dir: Option<PathBuf>,
    /// Keep finished pictures in files of this folder; default: in memory for a while, and with app in Pictures/Smelt.
    #[arg(long, value_name = "DIR")]
    pub(crate) keep: Option<PathBuf>,
    /// Load each model only for its stage, as generate does.
    #[arg(long)]
    pub(crate) low_memory: bool,
    /// Memory of the process above which models that are not used are dropped; default: the last two stay.
    #[arg(long, value_name = "SIZE", value_parser = memory)]
    pub(crate) memory: Option<u64>,
    /// Fetch models of the Hugging Face Hub when a request asks for it, and offer those of its cache.
    #[arg(long)]
    pub(crate) allow_downloads: bool,
    /// Cancel the job of a client that leaves while it waits for the pictures.
    #[arg(long)]
    pub(crate) cancel_on_disconnect: bool,
    /// Jobs that may wait.
    #[arg(long, value_name = "N", default_value = "1000")]
    pub(crate) queue: NonZeroUsize,
    /// Largest request.
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = size)]
    pub(crate) max_body: u64,
    /// Most pixels of a picture.
    #[arg(long, value_name = "N", default_value = "4194304")]
    pub(crate) max_pixels: NonZeroUsize,
    /// Most minutes that a job may draw.
    #[arg(long, value_name = "N", default_value = "360")]
    pub(crate) max_minutes: NonZeroUsize,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_ports() {
        let read = |text: &str| address(text).map(|address| address.to_string());
        assert_eq!(read("localhost:8000").as_deref(), Ok("127.0.0.1:8000"));
        assert_eq!(read("8000").as_deref(), Ok("127.0.0.1:8000"));
        assert_eq!(read("[::1]:0").as_deref(), Ok("[::1]:0"));
        for wrong in ["localhost", "0.0.0.0", "70000", "example.org:80", ""] {
            assert!(read(wrong).unwrap_err().contains("127.0.0.1:7860"), "{wrong}");
        }
    }
}
