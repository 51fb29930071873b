//! Finished pictures: their files, what is known of them, and a search.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::ErrorBody;
use crate::app::App;
use crate::blocking::blocking;
use crate::body::json;
use crate::fault::Fault;
use crate::store::Kept;

/// Most pictures of a list.
const MOST: usize = 500;

/// A part of the pictures.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(default)]
pub(super) struct Search {
    /// Words that prompt, model or seed have.
    search: String,
    /// Leave so many out.
    skip: usize,
    /// At most so many, up to 500.
    limit: usize,
}

impl Default for Search {
    fn default() -> Self {
        Self { search: String::new(), skip: 0, limit: 60 }
    }
}

/// Pictures.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Pictures {
    /// The newest first.
    pictures: Vec<Kept>,
    /// How many the search finds.
    total: usize,
}

/// Finished pictures, the newest first.
#[utoipa::path(get, path = "/smelt/v1/pictures", tag = "pictures", params(Search), responses(
    (status = 200, body = Pictures), (status = 400, description = "It is not what is described here.", body = ErrorBody),
))]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Query(Search { search, skip, limit }): Query<Search>,
) -> Result<impl IntoResponse, Fault> {
    let (pictures, total) = app.store.list(&search, skip, limit.min(MOST));
    json(&Pictures { pictures, total })
}

fn known(app: &App, id: &str) -> Result<Kept, Fault> {
    app.store.get(id).ok_or_else(|| {
        Fault::not_found(format!(
            "no picture is called {id:?}; in memory they are kept for a while only (--keep DIR keeps them)"
        ))
    })
}

/// A picture's file.
#[utoipa::path(get, path = "/smelt/v1/pictures/{id}", tag = "pictures", params(("id" = String, Path, description = "The picture.")), responses(
    (status = 200, description = "The file, with its settings in it.", content_type = "image/png"),
    (status = 404, description = "There is no such picture.", body = ErrorBody),
    (status = 410, description = "Its file was removed.", body = ErrorBody),
))]
pub(super) async fn file(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<impl IntoResponse, Fault> {
    let kept = known(&app, &id)?;
    let (content_type, name) = (kept.content_type(), kept.file.clone());
    let bytes = blocking(move || kept.bytes().map_err(Fault::gone)).await?;
    let headers = [
        (CONTENT_TYPE, content_type.to_owned()),
        (CONTENT_DISPOSITION, format!("inline; filename=\"{name}\"")),
        (CACHE_CONTROL, "private, max-age=31536000, immutable".to_owned()),
    ];
    Ok((headers, axum::body::Bytes::from_owner(SharedBytes(bytes))))
}

struct SharedBytes(Arc<Vec<u8>>);

impl AsRef<[u8]> for SharedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// What is known of a picture.
#[utoipa::path(get, path = "/smelt/v1/pictures/{id}/about", tag = "pictures", params(("id" = String, Path, description = "The picture.")), responses(
    (status = 200, body = Kept), (status = 404, description = "There is no such picture.", body = ErrorBody),
))]
pub(super) async fn about(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<impl IntoResponse, Fault> {
    json(&known(&app, &id)?)
}

/// Removes a picture, and its file where it is kept in one.
#[utoipa::path(delete, path = "/smelt/v1/pictures/{id}", tag = "pictures", params(("id" = String, Path, description = "The picture.")), responses(
    (status = 204, description = "It is gone."), (status = 404, description = "There is no such picture.", body = ErrorBody),
))]
pub(super) async fn remove(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<StatusCode, Fault> {
    known(&app, &id)?;
    blocking(move || app.store.remove(&id).map_err(Fault::internal)).await?;
    Ok(StatusCode::NO_CONTENT)
}
