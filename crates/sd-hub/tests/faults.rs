//! What goes wrong on networks and disks: gone on with where it can be, refused where it must be, and said.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod made;

use std::fs;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use made::{Made, UNET, VAE, names, only};
use sd_hub::{Event, Hub, HubError, Wanted};
use testkit::hub::{Access, Fault, ID, TOKEN};

/// The file arrives whole whatever happens on the way.
#[track_caller]
fn arrives(made: &mut Made) -> Vec<testkit::hub::Request> {
    drop(made.server.requests());
    let fetched = made.fetch(&only(UNET)).unwrap();
    assert!(fs::read(fetched.path).unwrap() == Made::expected(UNET), "other bytes");
    assert_eq!(names(&made.repository().join("blobs")), [made.server.etag(UNET)]);
    made.server.requests()
}

fn ranges(requests: &[testkit::hub::Request]) -> Vec<Option<&str>> {
    let elsewhere = requests.iter().filter(|request| request.is_elsewhere);
    elsewhere.map(|request| request.headers.get("range").map(String::as_str)).collect()
}

#[test]
fn a_connection_that_is_cut_is_gone_on_with() {
    let mut made = Made::pipeline();
    for n_bytes in [100_000, 1, 0, 300_000] {
        made.server.fail("signature", Fault::CutAfter(n_bytes));
    }
    let requests = arrives(&mut made);
    assert_eq!(
        ranges(&requests),
        [None, Some("bytes=100000-"), Some("bytes=100001-"), Some("bytes=100001-"), Some("bytes=400001-")]
    );
    assert!(made.notes[0].contains("after 100000 of 700000 bytes"), "{:?}", made.notes);
}

#[test]
fn progress_is_patience_and_none_is_not() {
    let mut made = Made::pipeline();
    (0..20).for_each(|_| made.server.fail("signature", Fault::CutAfter(30_000)));
    arrives(&mut made);
    let mut made = Made::pipeline();
    (0..20).for_each(|_| made.server.fail("signature", Fault::CutAfter(0)));
    made.fails(&only(UNET), &["cannot reach", "after 0 of 700000 bytes", "--offline"]);
    assert!(names(&made.repository().join("snapshots")).is_empty());
}

#[test]
fn what_an_earlier_run_left_is_gone_on_with() {
    let mut made = Made::pipeline();
    made.server.fail("signature", Fault::CutAfter(400_000));
    (0..20).for_each(|_| made.server.fail("signature", Fault::status(500)));
    made.fails(&only(UNET), &["answered 500", "goes on where this broke off"]);
    assert_eq!(names(&made.repository().join("blobs")), [format!("{}.incomplete", made.server.etag(UNET))]);
    assert!(!made.repository().join("refs").exists() && !made.repository().join("snapshots").exists());
    made.server.clear_faults();
    assert_eq!(ranges(&arrives(&mut made)), [Some("bytes=400000-")]);
}

#[test]
fn what_lies_there_and_is_another_file_is_begun_anew() {
    for left in [vec![7; 1000], vec![7; 900_000], vec![7; 700_000]] {
        let mut made = Made::pipeline();
        made.fetch(&only("unet/config.json")).unwrap();
        fs::remove_file(made.blob("unet/config.json")).unwrap();
        fs::write(made.blob(UNET).with_extension("incomplete"), left).unwrap();
        arrives(&mut made);
    }
}

#[test]
fn servers_that_know_no_ranges_send_the_whole_again() {
    let mut made = Made::pipeline();
    made.server.fail("signature", Fault::CutAfter(100_000));
    made.server.fail("signature", Fault::NoRange);
    arrives(&mut made);
    let mut made = Made::pipeline();
    made.server.fail("signature", Fault::CutAfter(100_000));
    made.server.fail("signature", Fault::WrongRange);
    made.fails(&only(UNET), &["does not begin at byte 100000"]);
}

/// Nothing of a file is kept that is not what the Hub lists.
#[track_caller]
fn refuses(fault: Fault, parts: &[&str]) {
    let mut made = Made::pipeline();
    made.server.fail("signature", fault);
    made.fails(&only(UNET), parts);
    assert!(names(&made.repository().join("blobs")).is_empty(), "something is kept");
    assert!(names(&made.repository().join("snapshots")).is_empty());
    // The next time is as the first.
    assert_eq!(ranges(&arrives(&mut made)), [None]);
}

#[test]
fn wrong_lengths_and_wrong_bytes_are_refused_and_nothing_of_them_is_kept() {
    refuses(Fault::Length(10), &[UNET, ID, "it is 10 bytes long there, and 700000 in the listing"]);
    refuses(Fault::Length(700_001), &["it is 700001 bytes long there"]);
    refuses(Fault::Flipped, &["its SHA-256 is", "in the listing; nothing of it is kept"]);
    let mut made = Made::pipeline();
    made.server.fail("resolve-cache", Fault::Flipped);
    made.fails(&only("unet/config.json"), &["its Git hash is"]);
    let mut made = Made::pipeline();
    made.server.fail("signature", Fault::Answer(200, vec![("Content-Encoding", "gzip".into())], "x".into()));
    made.fails(&only(UNET), &["it comes compressed"]);
}

#[test]
fn signed_addresses_are_told_neither_the_token_nor_to_anybody() {
    let mut made = Made::pipeline();
    made.settings = made.settings.clone().with_token(TOKEN).unwrap();
    made.server.set_access(Access::Private);
    let requests = arrives(&mut made);
    for request in &requests {
        assert_eq!(request.headers.contains_key("authorization"), !request.is_elsewhere, "{request:?}");
    }
    made.server.fail("signature", Fault::Flipped);
    let error = made.fails(&only(VAE), &["SHA-256"]);
    assert!(!error.contains("signature") && !error.contains(TOKEN), "{error}");
}

#[test]
fn who_may_not_read_is_told_what_to_do() {
    let mut made = Made::pipeline();
    made.server.set_access(Access::Private);
    made.fails(&only(UNET), &["answered 401", "someone/model is not there, or is private", "HF_TOKEN"]);
    made.server.set_access(Access::Gated);
    made.fails(&only(UNET), &["answered 401", "accept its licence", "someone/model, and give a token"]);
    made.settings = made.settings.clone().with_token(TOKEN).unwrap();
    made.fails(&only(UNET), &["answered 403", "the token's account has not", "accept it at http://127.0.0.1"]);
    made.settings = made.settings.clone().with_token("hf_other").unwrap();
    let error = made.fails(&only(UNET), &["answered 401: the token is not known there", "Invalid credentials"]);
    assert!(!error.contains("hf_other"), "{error}");
    assert!(!made.repository().join("snapshots").exists());
}

#[test]
fn what_is_not_there_is_named() {
    let mut made = Made::pipeline();
    made.fails(&only("unet/other.bin"), &["hf:someone/model/unet/other.bin: it has no file or folder unet/other.bin"]);
    let error = made.fetch_at(Some("v2"), &Wanted::default()).unwrap_err().to_string();
    assert!(error.contains("answered 404: someone/model has no revision v2"), "{error}");
    let hub = Hub::new(made.settings.clone());
    let mut quiet = |_: Event<'_>| ControlFlow::Continue(());
    let error = hub.fetch("someone/other", None, &Wanted::default(), &mut quiet).unwrap_err().to_string();
    assert!(error.contains("someone/other is not there, or is private; check the name at"), "{error}");
    made.server.fail("/resolve/", Fault::Answer(404, vec![("X-Error-Code", "EntryNotFound".into())], String::new()));
    made.fails(&only(UNET), &["someone/model has no file unet/diffusion_pytorch_model.safetensors in its revision"]);
}

#[test]
fn too_many_requests_are_waited_for_as_long_as_is_asked_and_bearable() {
    let after = |seconds: &str| Fault::Answer(429, vec![("Retry-After", seconds.into())], String::new());
    let mut made = Made::pipeline();
    made.server.fail("/api/models", after("1"));
    let start = Instant::now();
    arrives(&mut made);
    assert!(start.elapsed() >= Duration::from_secs(1));
    assert!(made.notes[0].contains("answered 429; trying again in 1 s"), "{:?}", made.notes);
    let mut made = Made::pipeline();
    made.server.fail("signature", after("7200"));
    made.fails(&only(UNET), &["answered 429: too many requests from this address, for 7200 s", "A token"]);
}

#[test]
fn faults_of_a_server_pass_or_are_said() {
    let mut made = Made::pipeline();
    for (place, status) in [("/api/models", 503), ("/resolve/", 502), ("signature", 500), ("signature", 408)] {
        made.server.fail(place, Fault::status(status));
    }
    arrives(&mut made);
    assert_eq!(made.notes.len(), 4, "{:?}", made.notes);
    let mut made = Made::pipeline();
    made.server.fail("/api/models", Fault::Answer(418, Vec::new(), r#"{"error": "a \u001b[31mteapot"}"#.into()));
    made.fails(&only(UNET), &["answered 418: nothing is known of such an answer (\"a  [31mteapot\")"]);
}

#[test]
fn redirections_have_an_end_and_leave_no_encryption() {
    let to = |location: &str| Fault::Answer(302, vec![("Location", location.into())], String::new());
    let mut made = Made::pipeline();
    (0..20).for_each(|_| made.server.fail("/resolve/", to("resolve/x")));
    made.fails(&only(UNET), &["more than 10 redirections"]);
    let mut made = Made::pipeline();
    made.server.fail("/resolve/", to("file:///etc/passwd"));
    made.fails(&only(UNET), &["leads to file:///etc/passwd: nothing is fetched from there"]);
}

#[test]
fn a_silent_server_is_left_after_a_while() {
    let mut made = Made::pipeline();
    made.server.fail("signature", Fault::Silence(Duration::from_secs(2)));
    arrives(&mut made);
    assert_eq!(made.notes.len(), 1, "{:?}", made.notes);
}

#[test]
fn a_server_that_is_not_there_is_said_soon() {
    let mut made = Made::pipeline();
    made.settings.endpoint = "http://127.0.0.1:9".to_owned();
    made.fails(&only(UNET), &["cannot reach http://127.0.0.1:9/api/models/someone/model/revision/main", "--offline"]);
    assert_eq!(made.notes.len(), 2);
    assert!(!made.dir.path().join("hub").exists());
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_said_and_nothing_is_taken_for_whole() {
    let mut made = Made::pipeline();
    made.fetch(&only("unet/config.json")).unwrap();
    let incomplete = made.blob(UNET).with_extension("incomplete");
    std::os::unix::fs::symlink("/dev/full", &incomplete).unwrap();
    let error = made.fails(&only(UNET), &["cannot write", "No space left on device", "make room and run it again"]);
    assert_eq!(error.matches("No space left").count(), 1, "{error}");
    assert!(!made.blob(UNET).exists());
    fs::remove_file(incomplete).unwrap();
    let fetched = made.fetch(&only(UNET)).unwrap();
    assert!(fs::read(fetched.path).unwrap() == Made::expected(UNET));
}

#[test]
fn a_file_that_would_not_fit_is_refused_before_anything_comes() {
    let mut made = Made::pipeline();
    let listing = format!(
        r#"{{"sha": "{}", "siblings": [{{"rfilename": "x.ckpt", "size": {}, "blobId": "{}"}}]}}"#,
        testkit::hub::COMMIT,
        u64::MAX / 2,
        "a".repeat(40)
    );
    made.server.fail("/api/models", Fault::Answer(200, Vec::new(), listing));
    made.fails(&only("x.ckpt"), &["needs 9223372036.9 GB more", "make room, or let HF_HUB_CACHE"]);
    assert!(!made.dir.path().join("hub").exists());
}

#[test]
fn whoever_stops_keeps_what_is_there() {
    let made = Made::pipeline();
    made.server.fail("signature", Fault::CutAfter(400_000));
    (0..100).for_each(|_| made.server.fail("signature", Fault::status(500)));
    let settings = made
        .settings
        .clone()
        .with_patience(made::impatient().with_pauses(Duration::from_secs(60), Duration::from_secs(60)));
    let start = Instant::now();
    let result = Hub::new(settings).fetch(ID, None, &only(UNET), &mut |event: Event<'_>| match event {
        Event::Progress { done: 400_000.., .. } => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    assert!(matches!(result, Err(HubError::Stopped)), "{result:?}");
    assert!(start.elapsed() < Duration::from_secs(20));
    assert_eq!(names(&made.repository().join("blobs")), [format!("{}.incomplete", made.server.etag(UNET))]);
    assert!(!made.repository().join("snapshots").exists() && !made.repository().join("refs").exists());
}

#[test]
fn of_two_processes_one_fetches_and_the_other_waits() {
    let mut made = Made::pipeline();
    made.fetch(&only("unet/config.json")).unwrap();
    drop(made.server.requests());
    let lock = made.settings.cache.repository(ID).lock(&made.server.etag(UNET));
    let held = safe_files::Lock::try_take(&lock).unwrap().unwrap();
    let blob = made.blob(UNET);
    let other = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(500));
        fs::write(blob, Made::expected(UNET)).unwrap();
        drop(held);
    });
    made.fetch(&only(UNET)).unwrap();
    other.join().unwrap();
    assert!(made.notes[0].contains("another process fetches"), "{:?}", made.notes);
    assert_eq!(made.server.requests().len(), 1, "only the listing");
}
