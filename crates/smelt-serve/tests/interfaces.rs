//! The interfaces of other tools: what their clients send means the same here, or is refused in their words.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::io::{Cursor, Write};
use std::net::TcpStream;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use base64::{Engine, engine::general_purpose::STANDARD};
use common::{Answer, Server, options};
use serde_json::{Value, json};
use smelt::image::{GreyImage, RgbImage, Size};
use smelt::random::RandomKind;
use smelt::{PipelineOptions, Request, Seeds, Unwatched};
use smelt_serve::ServeOptions;

/// The server that most tests ask.
fn shared() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| Server::start(options()))
}

/// A picture out of base64.
fn picture(text: &Value) -> RgbImage {
    RgbImage::read(Cursor::new(STANDARD.decode(text.as_str().unwrap()).unwrap())).unwrap()
}

/// One colour as base64 of a PNG.
fn plain(side: usize) -> String {
    let mut png = Vec::new();
    let pixels = [200, 40, 10].repeat(side * side);
    RgbImage::new(side, side, pixels).unwrap().write_png(&mut png, &[]).unwrap();
    STANDARD.encode(png)
}

/// A mask whose middle is white.
fn mask(side: usize) -> String {
    let is_inside = |i: usize| (side / 4..side * 3 / 4).contains(&i);
    let pixels = (0..side * side).map(|i| if is_inside(i % side) && is_inside(i / side) { 255 } else { 0 }).collect();
    let mut png = Vec::new();
    GreyImage::new(Size { width: side, height: side }, pixels).unwrap().to_rgb().write_png(&mut png, &[]).unwrap();
    STANDARD.encode(png)
}

#[track_caller]
fn info(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.text());
    serde_json::from_str(answer.json()["info"].as_str().unwrap()).unwrap()
}

#[test]
fn a_web_ui_request_is_drawn_as_the_library_draws_it() {
    let asked = json!({
        "prompt": "red (heart:1.2)", "negative_prompt": null, "seed": 7, "steps": 2, "cfg_scale": 4,
        "sampler_name": "Euler", "batch_size": 2, "width": null, "somebody": "else",
    });
    let answer = shared().post("/sdapi/v1/txt2img", &asked);
    let (info, body) = (info(&answer), answer.json());
    assert_eq!(info["all_seeds"], json!([7, 8]));
    assert_eq!((&info["ignored_fields"], &info["sampler_name"]), (&json!(["somebody"]), &json!("Euler")));
    assert_eq!((&body["parameters"]["width"], &body["parameters"]["steps"]), (&json!(128), &json!(2)));
    assert!(
        info["infotexts"][1]
            .as_str()
            .unwrap()
            .contains("Sampler: Euler, Schedule type: Uniform, CFG scale: 4, Seed: 8")
    );
    let request = Request {
        seed: 7,
        steps: 2,
        guidance: 4.0,
        count: 2,
        seeds: Seeds::Each,
        random: RandomKind::Nvidia,
        scheduler: Some("euler-uniform".parse().unwrap()),
        ..Request::new("red (heart:1.2)")
    };
    let mut pipeline = smelt::open(testkit::demo()).unwrap().pipeline(&PipelineOptions::default()).unwrap();
    let drawing = pipeline.draw(&request, &mut Unwatched).unwrap();
    for (found, wanted) in body["images"].as_array().unwrap().iter().zip(&drawing.pictures) {
        assert!(picture(found) == wanted.image, "the picture is another one than the library draws");
    }
}

#[test]
fn steps_from_a_picture_are_counted_as_the_web_ui_counts() {
    let asked = json!({
        "prompt": "red heart", "init_images": [plain(128)], "steps": 4, "denoising_strength": 0.5, "seed": -1,
    });
    let answer = shared().post("/sdapi/v1/img2img", &asked);
    let info = info(&answer);
    // int(0.5 · 4) + 1 = 3 of 4.
    assert!(info["infotexts"][0].as_str().unwrap().contains("Denoising strength: 0.75"), "{}", info["infotexts"]);
    assert_eq!((&info["denoising_strength"], &answer.json()["parameters"]["init_images"]), (&json!(0.5), &Value::Null));
}

#[test]
fn outside_a_mask_nothing_changes() {
    let mut asked = json!({
        "prompt": "red heart", "init_images": [plain(128)], "mask": mask(128), "steps": 2, "mask_blur": 2,
        "inpaint_full_res": false,
    });
    for fill in [0, 1] {
        asked["inpainting_fill"] = fill.into();
        let answer = shared().post("/sdapi/v1/img2img", &asked);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let image = picture(&answer.json()["images"][0]);
        assert_eq!(image.pixels()[..3], [200, 40, 10]);
        assert_ne!(image.pixels()[(64 * 128 + 64) * 3..][..3], [200, 40, 10]);
    }
}

#[test]
fn what_the_web_ui_could_do_and_this_cannot_is_refused() {
    for (path, asked, status, fact) in [
        ("txt2img", json!({ "sampler_name": "Magic" }), 400, "Sampler not found"),
        ("txt2img", json!({ "sampler_name": "Euler", "scheduler": "magic" }), 400, "Scheduler not found"),
        ("txt2img", json!({ "tiling": true }), 400, "tiling"),
        ("txt2img", json!({ "restore_faces": true }), 400, "restore_faces"),
        ("txt2img", json!({ "styles": ["x"] }), 400, "styles"),
        ("txt2img", json!({ "script_name": "x/y/z plot" }), 400, "script_name"),
        ("txt2img", json!({ "enable_hr": true, "hr_upscaler": "magic" }), 400, "latent-nearest"),
        ("txt2img", json!({ "enable_hr": true, "hr_prompt": "x" }), 400, "hr_prompt"),
        ("txt2img", json!({ "override_settings": { "sd_vae": "x.pt" } }), 400, "override_settings.sd_vae"),
        ("txt2img", json!({ "override_settings": { "sd_model_checkpoint": "x" } }), 404, "sd-emoji"),
        ("txt2img", json!({ "alwayson_scripts": { "adetailer": {} } }), 422, "Script 'adetailer' not found"),
        ("txt2img", json!({ "prompt": "<lora:/etc/hostname:1>" }), 400, "no LoRA is called \"/etc/hostname\""),
        ("txt2img", json!({ "prompt": "<lora:../x.safetensors:1>" }), 400, "--lora-dir"),
        ("txt2img", json!({ "batch_size": 1000 }), 400, "pictures"),
        ("txt2img", json!({ "steps": [] }), 422, "steps"),
        ("img2img", json!({}), 404, "Init image not found"),
        ("img2img", json!({ "init_images": ["x!"] }), 400, "init_images"),
        ("img2img", json!({ "init_images": [plain(8)], "resize_mode": 3 }), 400, "resize_mode"),
        ("interrogate", json!({}), 404, "describes"),
        ("server-kill", json!({}), 404, "not by a request"),
    ] {
        let answer = shared().post(&format!("/sdapi/v1/{path}"), &asked);
        let detail = answer.json()["detail"].as_str().unwrap_or_default().to_owned();
        assert!(answer.status == status && detail.contains(fact), "{path} {asked}: {} {detail}", answer.status);
    }
}

#[test]
fn what_cannot_be_meant_is_an_error_and_never_a_fault_of_ours() {
    let unit = json!({ "controlnet": { "args": [{ "image": plain(8), "model": "x", "module": "canny" }] } });
    for (path, asked) in [
        ("sdapi/v1/txt2img", json!([])),
        ("sdapi/v1/txt2img", json!({ "width": 0, "height": 0, "alwayson_scripts": unit })),
        ("sdapi/v1/txt2img", json!({ "width": 1_000_000_000, "height": 1_000_000_000, "alwayson_scripts": unit })),
        ("sdapi/v1/txt2img", json!({ "batch_size": 1e15, "n_iter": 1e15 })),
        ("sdapi/v1/txt2img", json!({ "seed": 1e300 })),
        ("sdapi/v1/txt2img", json!({ "steps": 0 })),
        ("sdapi/v1/txt2img", json!({ "subseed_strength": 7 })),
        ("sdapi/v1/txt2img", json!({ "prompt": "<lora:../../etc/passwd:1>" })),
        ("sdapi/v1/txt2img", json!({ "prompt": "(a:1.5" , "steps": 1, "enable_hr": true, "hr_scale": 1e9 })),
        ("sdapi/v1/txt2img", json!({ "enable_hr": true, "hr_resize_x": 1_000_000_000, "hr_resize_y": 8 })),
        ("sdapi/v1/txt2img", json!({ "alwayson_scripts": { "controlnet": { "args": 3 }, "x": 1 } })),
        ("sdapi/v1/img2img", json!({ "init_images": [plain(8)], "denoising_strength": 1e9 })),
        ("sdapi/v1/img2img", json!({ "init_images": [plain(8)], "mask": "x" })),
        ("sdapi/v1/img2img", json!({ "init_images": [plain(8)], "mask": plain(8), "mask_blur": -1 })),
        ("sdapi/v1/img2img", json!({ "init_images": [{ "a": 1 }] })),
        ("sdapi/v1/extra-single-image", json!({ "image": plain(8), "upscaler_1": "Lanczos", "upscaling_resize": 1e9 })),
        ("sdapi/v1/extra-single-image", json!({ "image": plain(8), "upscaler_1": "Lanczos", "upscaling_resize": -1 })),
        (
            "sdapi/v1/extra-single-image",
            json!({ "image": plain(8), "upscaler_1": "Lanczos", "resize_mode": 1, "upscaling_resize_w": 0 }),
        ),
        ("sdapi/v1/extra-batch-images", json!({ "imageList": [1] })),
        ("controlnet/detect", json!({ "controlnet_input_images": ["?"] })),
        ("internal/progress", json!({ "id_task": 3 })),
        ("v1/images/generations", json!({ "prompt": "x", "size": "99999999999x8" })),
        ("v1/images/generations", json!({ "prompt": "x", "size": "0x0" })),
        ("v1/images/generations", json!({ "prompt": "x", "seed": 1e300 })),
        ("v1/images/generations", json!({ "prompt": "x".repeat(30_000) })),
        ("v1/images/generations", json!({ "prompt": "x", "strength": 0.5 })),
        ("v1/images/edits", json!({ "prompt": "x", "image": plain(8), "strength": -3 })),
    ] {
        let answer = shared().post(&format!("/{path}"), &asked);
        let is_told = answer.json().get("detail").is_some() || answer.json().get("error").is_some();
        assert!(
            (400..500).contains(&answer.status) && is_told,
            "{path} {asked:.200}: {} {:.300}",
            answer.status,
            answer.text()
        );
    }
}

#[test]
fn fields_at_their_defaults_are_no_fault() {
    let asked = json!({
        "prompt": "red heart", "steps": 1, "styles": [], "seed": -1, "subseed": -1, "subseed_strength": 0,
        "seed_resize_from_h": -1, "seed_resize_from_w": 0, "sampler_name": null, "sampler_index": "Euler",
        "scheduler": "Automatic", "n_iter": 1, "restore_faces": false, "tiling": false, "eta": 1.0, "s_churn": 0,
        "s_tmax": 0, "s_tmin": 0, "s_noise": 1, "override_settings": {}, "script_name": null, "script_args": [],
        "enable_hr": false, "hr_scale": 2, "hr_upscaler": "Latent", "hr_sampler_name": "Use same sampler",
        "hr_prompt": "unused", "alwayson_scripts": {}, "save_images": false, "send_images": false,
        "do_not_save_grid": true, "distilled_cfg_scale": 3.5, "refiner_switch_at": 0.8,
    });
    let answer = shared().post("/sdapi/v1/txt2img", &asked);
    assert_eq!((info(&answer)["ignored_fields"].clone(), &answer.json()["images"]), (Value::Null, &json!([])));
}

#[test]
fn a_second_pass_and_a_format_of_options() {
    let asked = json!({
        "prompt": "red heart", "steps": 2, "seed": 3, "enable_hr": true, "hr_scale": 1.5, "denoising_strength": 0.5,
        "override_settings": { "samples_format": "webp", "CLIP_stop_at_last_layers": 2 },
    });
    let answer = shared().post("/sdapi/v1/txt2img", &asked);
    let info = info(&answer);
    let file = STANDARD.decode(answer.json()["images"][0].as_str().unwrap()).unwrap();
    assert_eq!((&file[..4], &file[8..12]), (b"RIFF".as_slice(), b"WEBP".as_slice()));
    assert_eq!((&info["clip_skip"], picture(&answer.json()["images"][0]).width()), (&json!(2), 192));
    assert!(info["infotexts"][0].as_str().unwrap().contains("Clip skip: 2"), "{}", info["infotexts"]);
}

#[test]
fn options_are_told_and_set() {
    let server = Server::start(options());
    let told = server.get("/sdapi/v1/options").json();
    assert_eq!(told["sd_model_checkpoint"], "sd-emoji");
    let answer = server.post("/sdapi/v1/options", &told);
    assert_eq!((answer.status, answer.text()), (200, "null".to_owned()));
    assert_eq!(server.post("/sdapi/v1/options", &json!({ "samples_format": "jpg" })).status, 200);
    assert_eq!(server.get("/sdapi/v1/options").json()["samples_format"], "jpg");
    for (asked, status, fact) in [
        (json!({ "sd_model_checkpoint": "magic" }), 404, "sd-emoji"),
        (json!({ "grid_format": "png" }), 400, "grid_format"),
        (json!({ "sd_vae": "other" }), 400, "sd_vae"),
    ] {
        let answer = server.post("/sdapi/v1/options", &asked);
        assert!(answer.status == status && answer.text().contains(fact), "{asked}: {}", answer.text());
    }
    assert_eq!(server.post("/sdapi/v1/unload-checkpoint", &json!({})).text(), "{}");
    assert_eq!(server.get("/smelt/v1/models").json()["models"][0]["loaded"], false);
    assert_eq!(server.post("/sdapi/v1/reload-checkpoint", &json!({})).status, 200);
}

#[test]
fn a_job_of_a_name_is_followed_and_interrupted() {
    let server = Server::start(options());
    let name = |asked: &Value| server.post("/internal/progress", asked).json();
    assert_eq!(name(&json!({ "id_task": "task(none)" }))["active"], false);
    let asked = json!({ "steps": 20, "n_iter": 30, "sampler_name": "Euler", "force_task_id": "task(a)" });
    std::thread::scope(|scope| {
        let running = scope.spawn(|| server.post("/sdapi/v1/txt2img", &asked));
        let begun = Instant::now();
        let busy = loop {
            let told = server.get("/sdapi/v1/progress").json();
            if told["state"]["job_no"].as_i64() >= Some(1) && !told["current_image"].is_null() {
                break told;
            }
            assert!(begun.elapsed() < Duration::from_secs(120), "{told}");
            std::thread::sleep(Duration::from_millis(20));
        };
        assert_eq!((&busy["state"]["job_count"], &busy["state"]["sampling_steps"]), (&json!(30), &json!(20)));
        assert!(busy["progress"].as_f64().unwrap() > 0.0 && picture(&busy["current_image"]).width() > 0);
        let told = name(&json!({ "id_task": "task(a)" }));
        assert!(told["active"] == true && told["queued"] == false, "{told}");
        assert_eq!(server.post("/sdapi/v1/interrupt", &json!({})).text(), "{}");
        let images = running.join().unwrap().json()["images"].as_array().unwrap().len();
        assert!((1..30).contains(&images), "{images}");
    });
    assert_eq!(name(&json!({ "id_task": "task(a)" }))["completed"], true);
    assert_eq!(server.get("/sdapi/v1/progress").json()["state"]["job_count"], 0);
    assert_eq!(server.get("/internal/pending-tasks").json(), json!({ "size": 0, "tasks": [] }));
}

#[test]
fn who_leaves_takes_the_job_along_where_that_was_asked() {
    let server = Server::start(ServeOptions { cancel_on_disconnect: true, ..options() });
    let body = r#"{"prompt": "x", "steps": 500}"#;
    for path in ["/sdapi/v1/txt2img", "/v1/images/generations"] {
        let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let mut connection = TcpStream::connect(server.address).unwrap();
        connection.write_all(head.as_bytes()).unwrap();
        let job = || server.get("/smelt/v1/jobs").json()["jobs"][0].clone();
        let until = |phase: &str| {
            let begun = Instant::now();
            while job()["phase"] != phase {
                assert!(begun.elapsed() < Duration::from_secs(60), "{}", job());
                std::thread::sleep(Duration::from_millis(20));
            }
        };
        until("drawing");
        drop(connection);
        until("cancelled");
    }
}

#[test]
fn pictures_are_read_and_made_larger() {
    let server = shared();
    let drawn = server.post("/sdapi/v1/txt2img", &json!({ "prompt": "red heart", "steps": 1, "seed": 5 })).json();
    let told = server.post("/sdapi/v1/png-info", &json!({ "image": drawn["images"][0] })).json();
    assert_eq!((&told["parameters"]["Seed"], &told["parameters"]["Size-1"]), (&json!("5"), &json!("128")));
    assert!(told["info"].as_str().unwrap().starts_with("red heart\nSteps: 1"), "{told}");
    assert_eq!(server.post("/sdapi/v1/png-info", &json!({})).status, 422);
    let size = |asked: Value| {
        let answer = server.post("/sdapi/v1/extra-single-image", &asked);
        assert_eq!(answer.status, 200, "{}", answer.text());
        picture(&answer.json()["image"]).size()
    };
    let mut asked = json!({ "image": plain(16), "upscaler_1": "Lanczos", "upscaling_resize": 3 });
    assert_eq!(size(asked.clone()), Size { width: 48, height: 48 });
    asked["resize_mode"] = 1.into();
    (asked["upscaling_resize_w"], asked["upscaling_resize_h"]) = (40.into(), 20.into());
    assert_eq!(size(asked.clone()), Size { width: 40, height: 20 });
    asked["upscaling_crop"] = false.into();
    assert_eq!(size(asked.clone()), Size { width: 40, height: 40 });
    asked["gfpgan_visibility"] = 1.into();
    assert_eq!(server.post("/sdapi/v1/extra-single-image", &asked).status, 400);
    let edges = json!({ "controlnet_module": "canny", "controlnet_input_images": [mask(32)] });
    let found = server.post("/controlnet/detect", &edges).json();
    assert!(picture(&found["images"][0]).pixels().contains(&255), "{found}");
}

#[test]
fn a_generation_has_seeds_tokens_and_addresses() {
    let server = shared();
    let asked = json!({ "model": "gpt-image-1", "prompt": "red heart", "n": 2, "seed": 5, "steps": 1, "size": "auto" });
    let answer = server.post("/v1/images/generations", &asked);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let body = answer.json();
    assert_eq!((&body["data"][1]["seed"], &body["size"]), (&json!(6), &json!("128x128")));
    assert!(body["usage"]["input_tokens"].as_u64() >= Some(2) && picture(&body["data"][0]["b64_json"]).width() == 128);
    let asked = json!({ "prompt": "red heart", "response_format": "url", "output_format": "jpeg", "steps": 1 });
    let body = server.post("/v1/images/generations", &asked).json();
    let path = body["data"][0]["url"].as_str().unwrap().strip_prefix(&server.url("")).unwrap().to_owned();
    assert_eq!(server.get(&path).header("content-type"), Some("image/jpeg"));
    let models = server.get("/v1/models").json();
    assert_eq!((&models["object"], &models["data"][0]["id"]), (&json!("list"), &json!("sd-emoji")));
    assert_eq!(server.get("/v1/models/sd-emoji").json()["object"], "model");
}

#[test]
fn a_stream_has_partial_pictures_and_an_end() {
    let asked = json!({ "prompt": "red heart", "stream": true, "partial_images": 2, "steps": 6 });
    let text = shared().post("/v1/images/generations", &asked).text();
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    let events: Vec<Value> = data.map(|data| serde_json::from_str(data).unwrap()).collect();
    let kinds: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    let partial = "image_generation.partial_image";
    assert_eq!(kinds, [partial, partial, "image_generation.completed"]);
    assert!(events.iter().all(|event| picture(&event["b64_json"]).width() == 128));
    assert_eq!((&events[1]["partial_image_index"], &events[2]["usage"]["output_tokens"]), (&json!(1), &json!(0)));
}

/// A form, as browsers and SDKs send it.
fn form(texts: &[(&str, &str)], files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, text) in texts {
        write!(body, "--edge\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{text}\r\n").unwrap();
    }
    for (name, bytes) in files {
        write!(
            body,
            "--edge\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"a.png\"\r\nContent-Type: image/png\r\n\r\n"
        )
        .unwrap();
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--edge--\r\n");
    body
}

#[test]
fn edits_and_variations_come_as_forms_and_as_json() {
    let server = shared();
    let kind = [("content-type", "multipart/form-data; boundary=edge")];
    let photo = STANDARD.decode(plain(128)).unwrap();
    let texts = [("prompt", "red heart"), ("steps", "2"), ("n", "1")];
    let answer = server.send("POST", "/v1/images/edits", &kind, form(&texts, &[("image[]", &photo)]));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = server.send("POST", "/v1/images/variations", &kind, form(&[("steps", "2")], &[("image", &photo)]));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let asked = json!({
        "prompt": "red heart", "steps": 2, "images": [{ "image_url": format!("data:image/png;base64,{}", plain(128)) }],
    });
    let answer = server.post("/v1/images/edits", &asked);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let opaque = form(&texts, &[("image", &photo), ("mask", &photo)]);
    let answer = server.send("POST", "/v1/images/edits", &kind, opaque);
    assert!(answer.status == 400 && answer.text().contains("no pixel of it is transparent"), "{}", answer.text());
    let answer = server.send("POST", "/v1/images/edits", &kind, b"--edge\r\nbroken".to_vec());
    assert!(answer.status == 400 && answer.text().contains("the form"), "{}", answer.text());
}

#[test]
fn what_openai_could_do_and_this_cannot_is_refused() {
    for (asked, status, param, fact) in [
        (json!({}), 400, "prompt", "Missing required parameter"),
        (json!({ "prompt": "x", "model": "magic" }), 404, "model", "sd-emoji"),
        (json!({ "prompt": "x", "size": "100x100" }), 400, "size", "multiples"),
        (json!({ "prompt": "x", "size": "large" }), 400, "size", "WIDTHxHEIGHT"),
        (json!({ "prompt": "x", "n": 11 }), 400, "n", "1 to 10"),
        (json!({ "prompt": "x", "background": "transparent" }), 400, "background", "transparent"),
        (json!({ "prompt": "x", "quality": "high" }), 400, "quality", "\"auto\""),
        (json!({ "prompt": "x", "output_compression": 50 }), 400, "output_compression", "100"),
        (json!({ "prompt": "x", "partial_images": 2 }), 400, "partial_images", "stream"),
        (json!({ "prompt": "x", "imagination": 9 }), 400, "imagination", "Unknown parameter"),
        (json!({ "prompt": "x", "image": plain(8) }), 400, "image", "/v1/images/edits"),
    ] {
        let answer = shared().post("/v1/images/generations", &asked);
        let error = answer.json()["error"].clone();
        let message = error["message"].as_str().unwrap_or_default();
        assert!(answer.status == status && message.contains(fact), "{asked}: {} {error}", answer.status);
        assert_eq!((&error["param"], &error["type"]), (&json!(param), &json!("invalid_request_error")), "{asked}");
    }
}
