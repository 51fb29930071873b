//! The server as a user starts and ends it; what it answers is tested where it lives.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command};

use common::{Ran, command};
use serde_json::Value;

fn start(args: &[&str]) -> (Child, Value) {
    let cache = std::env::temp_dir().join("smelt-tests");
    let mut child = command(args).env("SMELT_CACHE", cache).env_remove("SMELT_API_KEY").spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    (child, serde_json::from_str(&line).unwrap())
}

fn ask(url: &str, request: &str) -> String {
    let host = url.strip_prefix("http://").unwrap().trim_end_matches('/');
    let mut stream = TcpStream::connect(host).unwrap();
    write!(stream, "{request} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_server_says_where_it_is_and_ends_when_it_is_asked_to() {
    let dir = tempfile::tempdir().unwrap();
    let kept = common::text(dir.path().join("kept"));
    for (args, signal) in [
        (&["serve", "--listen", "127.0.0.1:0", "--json"][..], "-INT"),
        (&["app", "--no-browser", "--json", "--keep", &kept], "-TERM"),
    ] {
        let (child, told) = start(args);
        assert_eq!(told["models"], serde_json::json!(["sd-emoji"]));
        let url = told["url"].as_str().unwrap();
        assert!(ask(url, "GET /health").starts_with("HTTP/1.1 200"), "{args:?}");
        assert!(ask(url, "GET /").contains("<title>"), "{args:?}");
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        let ran: Ran = child.wait_with_output().unwrap().into();
        assert_eq!(ran.code, Some(130), "{}", ran.stderr);
        // The log is JSON, as everything is that was asked for so.
        assert!(ran.stderr.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{}", ran.stderr);
    }
}
