//! The server's own interface: jobs from start to end, what is refused, and who may ask.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::OnceLock;
use std::time::Duration;

use common::{Server, options};
use serde_json::{Value, json};
use smelt::{PipelineOptions, Request, Unwatched};
use smelt_serve::{Access, Limits, ServeError, ServeOptions, serve};

/// The server that most tests ask: its queue lets them draw one after the other.
fn shared() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| Server::start(options()))
}

fn heart(seed: u64) -> Value {
    json!({ "prompt": "red heart", "steps": 2, "seed": seed, "scheduler": "euler" })
}

#[test]
fn a_picture_is_the_librarys_and_its_events_come_in_order() {
    let server = shared();
    let mut asked = heart(7);
    asked["preview_every"] = 1.into();
    let id = server.job(&asked);
    let events = server.events(&id);
    let mut names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    names.retain(|name| *name != "queued" && *name != "loading");
    assert_eq!(names, ["drawing", "step", "preview", "step", "picture", "done"], "{events:?}");
    let status = server.get(&format!("/smelt/v1/jobs/{id}")).json();
    assert_eq!((&status["phase"], &status["steps"]["progress"]), (&json!("done"), &json!(1.0)));
    let file = server.get(status["pictures"][0]["url"].as_str().unwrap());
    assert_eq!(file.header("content-type"), Some("image/png"));
    let guidance = server.get("/smelt/v1/models").json()["models"][0]["recommended"]["guidance"].as_f64().unwrap();
    let request = Request {
        steps: 2,
        seed: 7,
        guidance: guidance as f32,
        scheduler: Some("euler".parse().unwrap()),
        ..Request::new("red heart")
    };
    let mut pipeline = smelt::open(testkit::demo()).unwrap().pipeline(&PipelineOptions::default()).unwrap();
    let drawing = pipeline.draw(&request, &mut Unwatched).unwrap();
    let mut wanted = Vec::new();
    drawing.pictures[0].write_png(&mut wanted).unwrap();
    assert!(file.bytes == wanted, "the picture is another one than the library draws");
    // Whoever comes late is told the end.
    let late: Vec<String> = server.events(&id).into_iter().map(|(name, _)| name).collect();
    assert_eq!(late, ["picture", "done"]);
}

#[test]
fn several_pictures_of_a_job_are_those_of_one_run() {
    let server = shared();
    let mut asked = heart(31);
    asked["count"] = 2.into();
    let status = server.over(&server.job(&asked));
    let found: Vec<Vec<u8>> =
        (0..2).map(|i| server.get(status["pictures"][i]["url"].as_str().unwrap()).bytes).collect();
    let request = Request {
        steps: 2,
        seed: 31,
        guidance: 4.0,
        count: 2,
        scheduler: Some("euler".parse().unwrap()),
        ..Request::new("red heart")
    };
    let mut pipeline = smelt::open(testkit::demo()).unwrap().pipeline(&PipelineOptions::default()).unwrap();
    let drawing = pipeline.draw(&request, &mut Unwatched).unwrap();
    for (idx, (found, wanted)) in found.iter().zip(&drawing.pictures).enumerate() {
        let found = smelt::image::RgbImage::read(std::io::Cursor::new(found)).unwrap();
        let apart = smelt::image::Difference::between(&found, &wanted.image).unwrap();
        assert!(found == wanted.image, "picture {idx}: {apart:?}");
    }
    let list = server.get("/smelt/v1/pictures?search=HEART%2031&limit=1").json();
    assert_eq!((&list["total"], &list["pictures"][0]["prompt"]), (&json!(2), &json!("red heart")));
}

#[test]
fn pictures_begin_with_pictures_and_masks_and_give_their_settings_back() {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let server = shared();
    let first = server.over(&server.job(&heart(1)));
    let file = STANDARD.encode(server.get(first["pictures"][0]["url"].as_str().unwrap()).bytes);
    let mut asked = heart(2);
    asked["prompt"] = "pizza".into();
    asked["image"] =
        json!({ "image": format!("data:image/png;base64,{file}"), "mask": file, "strength": 0.9, "mask_blur": 2.0 });
    let status = server.over(&server.job(&asked));
    assert_eq!(status["phase"], "done", "{status}");
    let second = STANDARD.encode(server.get(status["pictures"][0]["url"].as_str().unwrap()).bytes);
    let told = server.post("/smelt/v1/settings", &json!({ "image": second })).json();
    assert_eq!((&told["image"]["strength"], &told["image"]["mask_blur"]), (&json!(0.9), &json!(2.0)), "{told}");
    let settings = server.post("/smelt/v1/settings", &json!({ "image": file })).json();
    let wanted = json!({ "prompt": "red heart", "seed": 1, "steps": 2, "guidance": 4.0, "scheduler": "euler" });
    assert_eq!((&settings["settings"], &settings["tool"]), (&wanted, &json!("smelt")), "{settings}");
}

#[test]
fn larger_pictures_say_what_the_smaller_ones_said() {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let server = shared();
    let first = server.over(&server.job(&heart(77)));
    let file = STANDARD.encode(server.get(first["pictures"][0]["url"].as_str().unwrap()).bytes);
    let answer = server.post("/smelt/v1/upscale", &json!({ "image": file, "upscaler": "lanczos", "scale": 1.5 }));
    let larger = server.over(answer.json()["id"].as_str().unwrap());
    assert_eq!((&larger["pictures"][0]["width"], &larger["phase"]), (&json!(192), &json!("done")), "{larger}");
    let about = server.get(&format!("{}/about", larger["pictures"][0]["url"].as_str().unwrap())).json();
    assert_eq!((&about["prompt"], &about["seed"], &about["width"]), (&json!("red heart"), &json!(77), &json!(192)));
}

#[test]
fn jobs_are_cancelled_while_they_wait_and_while_they_draw() {
    let server = shared();
    let mut long = heart(1);
    long["steps"] = 500.into();
    let (running, waiting) = (server.job(&long), server.job(&long));
    let cancel = |id: &str| server.send("DELETE", &format!("/smelt/v1/jobs/{id}"), &[], []);
    assert_eq!(cancel(&waiting).json()["phase"], "cancelled");
    assert_eq!(cancel(&running).status, 200);
    assert_eq!(server.over(&running)["phase"], "cancelled");
    assert_eq!(server.events(&waiting), [("cancelled".to_owned(), json!({ "event": "cancelled" }))]);
    assert_eq!(cancel("x").status, 404);
    // The next one is drawn.
    assert_eq!(server.over(&server.job(&heart(5)))["phase"], "done");
}

#[test]
fn a_full_queue_says_when_to_come_again() {
    let limits = Limits { queue: 1, ..Limits::default() };
    let server = Server::start(ServeOptions { limits, ..options() });
    let mut long = heart(1);
    long["steps"] = 900.into();
    // One may run and one waits; the third is too much.
    let answers: Vec<_> = (0..3).map(|_| server.post("/smelt/v1/jobs", &long)).collect();
    let last = &answers[2];
    assert_eq!((last.status, &last.json()["error"]["code"]), (429, &json!("queue_full")));
    assert!(last.header("retry-after").unwrap().parse::<u64>().unwrap() > 0);
}

#[test]
fn what_cannot_be_drawn_is_told_before_it_waits() {
    let server = shared();
    let long = "x".repeat(20_001);
    for (path, body, status, fact) in [
        ("/smelt/v1/jobs", "{", 400, "no JSON"),
        ("/smelt/v1/jobs", "\u{0}\u{1}", 400, "no JSON"),
        ("/smelt/v1/jobs", "[1]", 422, "no JSON object"),
        ("/smelt/v1/jobs", r#"{"prompt": 3}"#, 422, "expected a string"),
        ("/smelt/v1/jobs", r#"{"stepps": 3}"#, 422, "unknown field `stepps`"),
        ("/smelt/v1/jobs", r#"{"steps": -1}"#, 422, "integer `-1`"),
        ("/smelt/v1/jobs", r#"{"steps": 1e99}"#, 422, "expected usize"),
        ("/smelt/v1/jobs", r#"{"steps": 1001}"#, 400, "1 to 1000 are taken here"),
        ("/smelt/v1/jobs", r#"{"steps": 0}"#, 400, "step"),
        ("/smelt/v1/jobs", r#"{"count": 0}"#, 400, "1 to 100"),
        ("/smelt/v1/jobs", r#"{"seed": 18446744073709551615}"#, 400, "seed"),
        ("/smelt/v1/jobs", r#"{"model": "../../etc/passwd"}"#, 404, "no model is called"),
        ("/smelt/v1/jobs", r#"{"scheduler": "magic"}"#, 400, "magic"),
        ("/smelt/v1/jobs", r#"{"width": 100000, "height": 100000}"#, 400, "pixels that are drawn here"),
        ("/smelt/v1/jobs", r#"{"width": 129, "height": 128}"#, 400, "multiples of 8"),
        ("/smelt/v1/jobs", r#"{"guidance": 1, "negative_prompt": "x"}"#, 400, "no effect at guidance 1"),
        ("/smelt/v1/jobs", r#"{"loras": [{"name": "../x"}]}"#, 400, "no LoRA is called"),
        ("/smelt/v1/jobs", r#"{"controls": [{"controlnet": "x", "image": "aaaa"}]}"#, 400, "PNG, JPEG and WebP"),
        ("/smelt/v1/jobs", r#"{"image": {"image": "http://169.254.169.254/"}}"#, 400, "addresses are not fetched"),
        ("/smelt/v1/jobs", r#"{"image": {"image": "/etc/passwd"}}"#, 400, "image:"),
        ("/smelt/v1/upscale", r#"{"image": "", "upscaler": "lanczos"}"#, 400, "image:"),
        ("/smelt/v1/upscale", r#"{"upscaler": "lanczos"}"#, 422, "missing field `image`"),
        ("/smelt/v1/tokens", r#"{"prompt": "a", "model": "b"}"#, 404, "no model is called"),
        ("/smelt/v1/settings", r#"{"image": "aaaa"}"#, 400, "PNG, JPEG and WebP"),
        ("/smelt/v1/models/download", r#"{"source": "hf:a/b"}"#, 403, "--allow-downloads"),
        ("/smelt/v1/models/download", r#"{"source": "/etc"}"#, 400, "no reference to the Hub"),
        ("/smelt/v1/nothing", "{}", 404, "nothing at /smelt/v1/nothing"),
        ("/smelt/v1/capabilities", "{}", 405, "not asked by POST"),
    ] {
        let answer = server.send("POST", path, &[("content-type", "application/json")], body);
        let error = answer.json()["error"].clone();
        assert_eq!(answer.status, status, "{body}: {error}");
        assert!(error["message"].as_str().unwrap().contains(fact), "{body}: {error}");
    }
    let answer = server.post("/smelt/v1/jobs", &json!({ "prompt": "x", "scheduler": "magic" }));
    assert_eq!(answer.json()["error"]["field"], "scheduler");
    let answer = server.post("/smelt/v1/jobs", &json!({ "prompt": long }));
    assert_eq!((answer.status, &answer.json()["error"]["field"]), (400, &json!("prompt")));
    for path in ["/smelt/v1/pictures/..%2f..%2fetc%2fpasswd", "/smelt/v1/jobs/x", "/page/../../Cargo.toml"] {
        assert_eq!(server.get(path).status, 404, "{path}");
    }
    assert_eq!(server.get("/smelt/v1/pictures?limit=x").status, 400);
    assert_eq!(server.get("/smelt/v1/jobs?phase=x").status, 400);
}

#[test]
fn bodies_are_bounded_whatever_they_promise() {
    let limits = Limits { body_bytes: 1000, ..Limits::default() };
    let server = Server::start(ServeOptions { limits, ..options() });
    let answer = server.send("POST", "/smelt/v1/jobs", &[], vec![b' '; 2000]);
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (413, &json!("too_large")));
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.write_all(b"POST /smelt/v1/jobs HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n").unwrap();
    for _ in 0..20 {
        // The server may close before all is sent.
        let _ = stream.write_all(format!("64\r\n{}\r\n", " ".repeat(100)).as_bytes());
    }
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
}

#[test]
fn a_request_that_does_not_come_is_given_up() {
    let limits = Limits { request_time: Duration::from_millis(300), ..Limits::default() };
    let server = Server::start(ServeOptions { limits, ..options() });
    for path in ["/smelt/v1/jobs", "/sdapi/v1/txt2img", "/v1/images/generations"] {
        let mut stream = TcpStream::connect(server.address).unwrap();
        write!(stream, "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{{").unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 408", "{path}");
    }
    // A head that does not come has no path that could be answered.
    let mut stream = TcpStream::connect(server.address).unwrap();
    write!(stream, "GET /health HTTP/1.1\r\nhost: local").unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
}

#[test]
fn only_who_may_ask_is_answered() {
    let access = Access::Key("secret".to_owned());
    let server = Server::start(ServeOptions { access, origins: vec!["https://good.example".into()], ..options() });
    let ask = |path: &str, headers: &[(&str, &str)]| server.send("GET", path, headers, []).status;
    let bearer = ("authorization", "Bearer secret");
    let own = format!("http://{}", server.address);
    for (path, headers, status) in [
        ("/smelt/v1/models", &[][..], 401),
        ("/smelt/v1/models", &[("authorization", "Bearer wrong")], 401),
        ("/smelt/v1/models", &[bearer], 200),
        ("/smelt/v1/models", &[("cookie", "smelt-key=c2VjcmV0")], 200),
        ("/smelt/v1/models", &[bearer, ("origin", own.as_str())], 200),
        ("/smelt/v1/models", &[bearer, ("origin", "https://evil.example")], 403),
        ("/smelt/v1/models", &[bearer, ("origin", "null")], 403),
        ("/smelt/v1/models", &[bearer, ("origin", "https://good.example")], 200),
        ("/smelt/v1/models", &[bearer, ("sec-fetch-site", "cross-site")], 403),
        ("/smelt/v1/models", &[bearer, ("host", "evil.example")], 403),
        ("/smelt/v1/models", &[bearer, ("host", "localhost:1")], 200),
        ("/metrics", &[], 401),
        ("/health", &[], 200),
        ("/", &[], 200),
        ("/", &[("host", "evil.example")], 403),
    ] {
        assert_eq!(ask(path, headers), status, "{path} {headers:?}");
    }
    let answer = server.send("GET", "/smelt/v1/models", &[bearer, ("origin", "https://good.example")], []);
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://good.example"));
}

#[test]
fn addresses_that_others_reach_need_a_key() {
    let listen = "0.0.0.0:0".parse().unwrap();
    let stop = smelt::Stop::new();
    let error = serve(ServeOptions { listen, ..options() }, &stop, |_| {}).unwrap_err();
    assert!(matches!(error, ServeError::Unprotected { .. }), "{error}");
    let error = serve(ServeOptions { model: Some("x".into()), ..options() }, &stop, |_| {}).unwrap_err();
    assert!(error.to_string().contains("sd-emoji"), "{error}");
}

#[test]
fn kept_pictures_are_there_when_the_server_starts_again() {
    let dir = tempfile::tempdir().unwrap();
    let kept = || ServeOptions { keep: Some(dir.path().join("kept")), ..options() };
    let (url, bytes) = {
        let server = Server::start(kept());
        let status = server.over(&server.job(&heart(9)));
        let url = status["pictures"][0]["url"].as_str().unwrap().to_owned();
        (url.clone(), server.get(&url).bytes)
    };
    let server = Server::start(kept());
    assert_eq!(server.get(&url).bytes, bytes);
    assert_eq!(server.get("/smelt/v1/pictures").json()["pictures"][0]["seed"], 9);
    assert_eq!(server.send("DELETE", &url, &[], []).status, 204);
    assert_eq!((server.get(&url).status, std::fs::read_dir(dir.path().join("kept")).unwrap().count()), (404, 0));
}

#[test]
fn models_are_loaded_and_dropped_by_jobs() {
    let server = Server::start(options());
    let loaded = || server.get("/smelt/v1/models").json()["models"][0]["loaded"].clone();
    let job = |what: &str| {
        let answer = server.send("POST", &format!("/smelt/v1/models/sd-emoji/{what}"), &[], []);
        assert_eq!(answer.status, 202, "{}", answer.text());
        server.over(answer.json()["id"].as_str().unwrap())["phase"].clone()
    };
    assert_eq!(loaded(), false);
    assert_eq!((job("load"), loaded()), (json!("done"), json!(true)));
    assert_eq!((job("unload"), loaded()), (json!("done"), json!(false)));
    assert_eq!(server.send("POST", "/smelt/v1/models/x/load", &[], []).status, 404);
}

#[test]
fn the_document_describes_every_route_and_names_nothing_that_is_not_there() {
    let server = shared();
    let document = server.get("/smelt/v1/openapi.json").json();
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() >= 15, "{:?}", paths.keys());
    let mut references = Vec::new();
    collect(&document, &mut references);
    assert!(references.len() > 20);
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
    for (path, methods) in paths {
        assert!(path.starts_with("/smelt/v1/"), "{path}");
        for (method, about) in methods.as_object().unwrap() {
            assert!(about["summary"].is_string() && about["responses"].is_object(), "{method} {path}");
        }
    }
}

fn collect(value: &Value, references: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            references.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|value| collect(value, references));
        }
        Value::Array(items) => items.iter().for_each(|value| collect(value, references)),
        _ => {}
    }
}
