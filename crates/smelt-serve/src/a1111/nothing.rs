//! Routes of AUTOMATIC1111's that mean nothing here: lists are empty, and what would be done is not.

use std::sync::Arc;

use axum::routing::{get, post};
use axum::{Json as Answer, Router};
use serde_json::{Value, json};

use crate::app::App;
use crate::fault::Fault;

/// Lists of what there is none of.
const LISTS: [&str; 8] = [
    "/sdapi/v1/sd-vae",
    "/sdapi/v1/sd-modules",
    "/sdapi/v1/prompt-styles",
    "/sdapi/v1/face-restorers",
    "/sdapi/v1/hypernetworks",
    "/sdapi/v1/realesrgan-models",
    "/sdapi/v1/extensions",
    "/internal/extensions",
];

/// What is not done, and why.
const DEEDS: [(&str, &str); 10] = [
    ("/sdapi/v1/interrogate", "no model here describes pictures"),
    ("/sdapi/v1/server-kill", "the server ends where it was started, and not by a request"),
    ("/sdapi/v1/server-stop", "the server ends where it was started, and not by a request"),
    ("/sdapi/v1/server-restart", "the server is started again where it was started, and not by a request"),
    ("/sdapi/v1/create/embedding", "nothing is trained here"),
    ("/sdapi/v1/create/hypernetwork", "nothing is trained here"),
    ("/sdapi/v1/train/embedding", "nothing is trained here"),
    ("/sdapi/v1/train/hypernetwork", "nothing is trained here"),
    ("/sdapi/v1/preprocess", "nothing is trained here"),
    ("/sdapi/v1/unload-vae", "a VAE is loaded with its model"),
];

pub(super) fn routes() -> Router<Arc<App>> {
    let lists = LISTS.iter().fold(Router::new(), |router, path| router.route(path, get(async || Answer(json!([])))));
    DEEDS.iter().fold(lists, |router, (path, why)| {
        router.route(path, post(async move || Err::<Answer<Value>, _>(Fault::not_found(format!("{path}: {why}")))))
    })
}
