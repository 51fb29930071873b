//! Options, and the model among them.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json as Answer};
use serde_json::{Map, Value};

use super::settings::Shared;
use crate::app::App;
use crate::blocking::blocking;
use crate::body::Json;
use crate::call::Call;
use crate::client::Client;
use crate::fault::Fault;
use crate::fields::Fields;
use crate::job::Work;

pub(super) async fn get(State(app): State<Arc<App>>, Extension(shared): Extension<Arc<Shared>>) -> Answer<Value> {
    let mut all = shared.get().told();
    if let Some(model) = app.catalogue.chosen() {
        all.insert("sd_model_checkpoint".to_owned(), model.title().into());
        all.insert("sd_checkpoint_hash".to_owned(), model.hash.clone().into());
    }
    Answer(Value::Object(all))
}

/// Changes options; another model is in memory before this answers.
pub(super) async fn set(
    State(app): State<Arc<App>>,
    Extension(shared): Extension<Arc<Shared>>,
    Client(client): Client,
    Json(body): Json<Map<String, Value>>,
) -> Result<Answer<Value>, Fault> {
    let (settings, model, unknown) = shared.get().with(Fields::new(body))?;
    if let Some(name) = unknown.first() {
        return Err(Fault::field(
            name,
            format!("no option is called {name:?} here; GET /sdapi/v1/options says which there are"),
        ));
    }
    // Found before anything changes.
    let model = model.map(|name| app.catalogue.model_of(Some(&name))).transpose()?;
    shared.set(settings);
    if let Some(model) = model {
        app.catalogue.choose(&model);
        run(app, client, Work::Load(model)).await?;
    }
    Ok(Answer(Value::Null))
}

/// Does something and waits for its end.
pub(super) async fn run(app: Arc<App>, client: String, work: Work) -> Result<(), Fault> {
    let job = app.submit(client, work)?;
    Call::new(app, job).end().await.map(drop)
}

/// Drops the chosen model from memory.
pub(super) async fn unload(State(app): State<Arc<App>>, Client(client): Client) -> Result<Answer<Value>, Fault> {
    let name = app.catalogue.chosen().map(|model| model.name.clone());
    run(app, client, Work::Unload(name)).await?;
    Ok(Answer(serde_json::json!({})))
}

/// Loads the chosen model.
pub(super) async fn reload(State(app): State<Arc<App>>, Client(client): Client) -> Result<Answer<Value>, Fault> {
    let model = app.catalogue.model_of(None)?;
    run(app, client, Work::Load(model)).await?;
    Ok(Answer(serde_json::json!({})))
}

/// Looks into the folders of models again; those of other files are looked into whenever they are asked for.
pub(super) async fn refresh(State(app): State<Arc<App>>) -> Result<Answer<Value>, Fault> {
    blocking(move || {
        app.catalogue.refresh();
        Ok(Answer(Value::Null))
    })
    .await
}
