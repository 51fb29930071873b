//! What there is to choose from.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use serde_json::{Map, Value, json};
use smelt::doctor::Memory;
use smelt::{Enlarge, Spread};

use super::settle::{samplers, schedules};
use crate::app::App;
use crate::blocking::blocking;
use crate::catalogue::{Model, Named, file_name};
use crate::fault::Fault;

/// Does what looks into folders where nobody waits for it.
async fn of(app: Arc<App>, look: impl FnOnce(&App) -> Value + Send + 'static) -> Result<Answer<Value>, Fault> {
    blocking(move || Ok(Answer(look(&app)))).await
}

pub(super) async fn sampler_list() -> Answer<Value> {
    let about = |(sampler, label): (smelt::Sampler, &str)| {
        let schedule = sampler.automatic_spread().map(|spread| json!({ "scheduler": spread.name() }));
        let name = sampler.exact_name();
        let aliases = [name.clone(), format!("k_{}", name.replace('-', "_"))];
        // The second is one only where it is understood.
        let aliases: Vec<&String> = aliases.iter().filter(|alias| alias.parse::<smelt::Sampler>().is_ok()).collect();
        json!({ "name": label, "aliases": aliases, "options": schedule.unwrap_or_else(|| json!({})) })
    };
    Answer(samplers().map(about).collect())
}

pub(super) async fn scheduler_list() -> Answer<Value> {
    let about = |schedule: &super::settle::Schedule| {
        let rho = match schedule.spread {
            Some(Spread::Karras) => 7.0,
            Some(Spread::PolyExponential) => 1.0,
            _ => -1.0,
        };
        let aliases: Vec<&str> =
            schedule.spread.map(Spread::name).filter(|name| *name != schedule.name).into_iter().collect();
        json!({
            "name": schedule.name,
            "label": schedule.label,
            "aliases": aliases,
            "default_rho": rho,
            "need_inner_model": schedule.spread == Some(Spread::SgmUniform),
        })
    };
    Answer(schedules().iter().map(about).collect())
}

/// Models. Their files are called by their names alone: where they lie is nobody's business.
pub(super) async fn models(State(app): State<Arc<App>>) -> Answer<Value> {
    let about = |model: &Arc<Model>| {
        json!({
            "title": model.title(),
            "model_name": model.name,
            "hash": model.hash,
            "sha256": null,
            "filename": file_name(&model.path),
            "config": null,
        })
    };
    Answer(app.catalogue.models().iter().map(about).collect())
}

pub(super) async fn loras(State(app): State<Arc<App>>) -> Result<Answer<Value>, Fault> {
    let about =
        |one: &Named| json!({ "name": one.name, "alias": one.name, "path": file_name(&one.path), "metadata": {} });
    of(app, move |app| app.catalogue.loras().iter().map(about).collect()).await
}

pub(super) async fn embeddings(State(app): State<Arc<App>>) -> Result<Answer<Value>, Fault> {
    let look = |app: &App| {
        let about =
            || json!({ "step": null, "sd_checkpoint": null, "sd_checkpoint_name": null, "shape": 0, "vectors": 0 });
        let loaded: Map<String, Value> = app.catalogue.embeddings().into_iter().map(|word| (word, about())).collect();
        json!({ "loaded": loaded, "skipped": {} })
    };
    of(app, look).await
}

pub(super) async fn upscalers(State(app): State<Arc<App>>) -> Result<Answer<Value>, Fault> {
    let about = |name: &str, path: Option<String>| json!({ "name": name, "model_name": null, "model_path": path, "model_url": null, "scale": 4 });
    let look = move |app: &App| {
        let own = ["None", "Lanczos", "Nearest"].map(|name| about(name, None));
        // How much larger a network makes pictures, its file says, which is read when it is used; the web UI says 4 of all.
        let networks = app.catalogue.upscalers();
        let networks = networks.iter().map(|one| about(&one.name, Some(file_name(&one.path))));
        own.into_iter().chain(networks).collect()
    };
    of(app, look).await
}

pub(super) async fn latent_upscale_modes() -> Answer<Value> {
    let ways = Enlarge::all().filter_map(|(name, _)| name.parse::<Enlarge>().ok());
    let latent = ways.filter(|way| matches!(way, Enlarge::Latents(_)));
    Answer(latent.map(|way| json!({ "name": way.other_name() })).collect())
}

pub(super) async fn scripts() -> Answer<Value> {
    Answer(json!({ "txt2img": ["controlnet"], "img2img": ["controlnet"] }))
}

pub(super) async fn script_info() -> Answer<Value> {
    let of = |is_image: bool| json!({ "name": "controlnet", "is_alwayson": true, "is_img2img": is_image, "args": [] });
    Answer(json!([of(false), of(true)]))
}

pub(super) async fn cmd_flags(State(app): State<Arc<App>>) -> Answer<Value> {
    let limits = &app.options.limits;
    Answer(json!({
        "api": true,
        "nowebui": false,
        "listen": !app.options.listen.ip().is_loopback(),
        "port": app.options.listen.port(),
        "lowvram": app.options.low_memory,
        "medvram": false,
        "api_server_stop": false,
        "queue": limits.queue,
        "version": smelt::SOFTWARE,
    }))
}

pub(super) async fn memory() -> Result<Answer<Value>, Fault> {
    blocking(|| {
        let Memory { total_bytes: total, available_bytes: free } = Memory::look();
        let used = total.saturating_sub(free);
        let none = "this server does not tell the memory of graphics cards";
        Ok(Answer(json!({ "ram": { "free": free, "used": used, "total": total }, "cuda": { "error": none } })))
    })
    .await
}
