//! AUTOMATIC1111's interface, below `/sdapi/v1`, `/internal` and `/controlnet`: what its clients call means the same here, or
//! is refused.
//!
//! - What a request leaves out, or says with null, the model says: its own size, steps and guidance, and not 512, 50 and 7.
//! - Known fields that have no effect here are refused unless they have none there either (`idle`); unknown ones are named
//!   in `info`.
//! - An interrupted call gets its finished pictures; one that is half done is none.
//!
//! What it deliberately does not do: serve the web UI, or run scripts and extensions other than ControlNet.

mod asked;
mod begin;
mod control;
mod draw;
mod extras;
mod fill;
mod idle;
mod info;
mod lists;
mod nothing;
mod options;
mod png_info;
mod progress;
mod settings;
mod settle;
mod unit;

use std::sync::Arc;

use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use serde_json::json;

use crate::app::App;
use settings::Shared;

/// All routes.
pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .merge(drawing())
        .merge(choosing())
        .merge(controlnet())
        .merge(nothing::routes())
        .layer(Extension(Arc::new(Shared::default())))
}

fn drawing() -> Router<Arc<App>> {
    Router::new()
        .route("/sdapi/v1/txt2img", post(draw::txt2img))
        .route("/sdapi/v1/img2img", post(draw::img2img))
        .route("/sdapi/v1/extra-single-image", post(extras::single))
        .route("/sdapi/v1/extra-batch-images", post(extras::batch))
        .route("/sdapi/v1/png-info", post(png_info::png_info))
        .route("/sdapi/v1/progress", get(progress::progress))
        .route("/sdapi/v1/interrupt", post(progress::interrupt))
        .route("/sdapi/v1/skip", post(progress::skip))
        .route("/internal/progress", post(progress::task))
        .route("/internal/pending-tasks", get(progress::pending))
        .route("/internal/ping", get(async || Json(json!({}))))
}

fn choosing() -> Router<Arc<App>> {
    Router::new()
        .route("/sdapi/v1/options", get(options::get).post(options::set))
        .route("/sdapi/v1/unload-checkpoint", post(options::unload))
        .route("/sdapi/v1/reload-checkpoint", post(options::reload))
        .route("/sdapi/v1/refresh-checkpoints", post(options::refresh))
        .route("/sdapi/v1/refresh-loras", post(options::refresh))
        .route("/sdapi/v1/refresh-embeddings", post(options::refresh))
        .route("/sdapi/v1/refresh-vae", post(options::refresh))
        .route("/sdapi/v1/samplers", get(lists::sampler_list))
        .route("/sdapi/v1/schedulers", get(lists::scheduler_list))
        .route("/sdapi/v1/sd-models", get(lists::models))
        .route("/sdapi/v1/loras", get(lists::loras))
        .route("/sdapi/v1/embeddings", get(lists::embeddings))
        .route("/sdapi/v1/upscalers", get(lists::upscalers))
        .route("/sdapi/v1/latent-upscale-modes", get(lists::latent_upscale_modes))
        .route("/sdapi/v1/scripts", get(lists::scripts))
        .route("/sdapi/v1/script-info", get(lists::script_info))
        .route("/sdapi/v1/cmd-flags", get(lists::cmd_flags))
        .route("/sdapi/v1/memory", get(lists::memory))
}

fn controlnet() -> Router<Arc<App>> {
    Router::new()
        .route("/controlnet/version", get(control::version))
        .route("/controlnet/model_list", get(control::model_list))
        .route("/controlnet/module_list", get(control::module_list))
        .route("/controlnet/control_types", get(control::control_types))
        .route("/controlnet/settings", get(control::settings))
        .route("/controlnet/detect", post(control::detect))
}
