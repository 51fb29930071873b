//! A server in this process, with the model in the box, and what is sent to it.

#![allow(dead_code, reason = "each test file uses some of it")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread::JoinHandle;

use serde_json::Value;
use smelt::Stop;
use smelt_serve::{ServeError, ServeOptions, serve};

/// A server that runs until it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    stop: Stop,
    thread: Option<JoinHandle<Result<(), ServeError>>>,
    agent: ureq::Agent,
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) bytes: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Options of a server on any port.
pub(crate) fn options() -> ServeOptions {
    let cache = Some(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("cache"));
    ServeOptions { listen: SocketAddr::from(([127, 0, 0, 1], 0)), cache, ..ServeOptions::default() }
}

impl Server {
    pub(crate) fn start(options: ServeOptions) -> Self {
        let (stop, (sender, receiver)) = (Stop::new(), mpsc::channel());
        let asked = stop.clone();
        let thread =
            std::thread::spawn(move || serve(options, &asked, |started| sender.send(started.address).unwrap()));
        let address = receiver.recv().expect("the server starts");
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
        Self { address, stop, thread: Some(thread), agent }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Sends a request.
    pub(crate) fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Answer {
        let mut request = ureq::http::Request::builder().method(method).uri(self.url(path));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut response = self.agent.run(request.body(body.into()).unwrap()).unwrap();
        let text = |value: &ureq::http::HeaderValue| value.to_str().unwrap_or_default().to_owned();
        let headers = response.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        let bytes = response.body_mut().with_config().limit(1 << 30).read_to_vec().unwrap();
        Answer { status: response.status().as_u16(), headers, bytes }
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], [])
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, &[("content-type", "application/json")], body.to_string())
    }

    /// Takes a job and tells its id.
    pub(crate) fn job(&self, body: &Value) -> String {
        let answer = self.post("/smelt/v1/jobs", body);
        assert_eq!(answer.status, 202, "{}", answer.text());
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    /// Everything that is told of a job: names and data.
    pub(crate) fn events(&self, id: &str) -> Vec<(String, Value)> {
        let text = self.get(&format!("/smelt/v1/jobs/{id}/events")).text();
        let blocks = text.split("\n\n").filter(|block| block.contains("event:"));
        let field = |block: &str, name: &str| {
            block.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned()
        };
        blocks.map(|block| (field(block, "event:"), serde_json::from_str(&field(block, "data:")).unwrap())).collect()
    }

    /// A job once it is over.
    pub(crate) fn over(&self, id: &str) -> Value {
        self.events(id);
        self.get(&format!("/smelt/v1/jobs/{id}")).json()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.set();
        if let Some(thread) = self.thread.take()
            && !std::thread::panicking()
        {
            thread.join().unwrap().unwrap();
        }
    }
}
