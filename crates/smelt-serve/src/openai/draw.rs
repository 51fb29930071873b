//! Generations, edits and variations: a request waits for its job, and gets all pictures at once or as they come.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};

use super::asked::{Asked, Deed};
use super::form::Sent;
use super::shape::Shape;
use super::stream;
use crate::app::App;
use crate::blocking::blocking;
use crate::call::{Call, Finished};
use crate::client::Client;
use crate::clock::now;
use crate::fault::Fault;
use crate::job::{Job, Work};

pub(super) async fn generations(
    State(app): State<Arc<App>>,
    client: Client,
    headers: HeaderMap,
    sent: Sent,
) -> Result<Response, Fault> {
    draw(app, client, headers, sent, Deed::Generate).await
}

pub(super) async fn edits(
    State(app): State<Arc<App>>,
    client: Client,
    headers: HeaderMap,
    sent: Sent,
) -> Result<Response, Fault> {
    draw(app, client, headers, sent, Deed::Edit).await
}

pub(super) async fn variations(
    State(app): State<Arc<App>>,
    client: Client,
    headers: HeaderMap,
    sent: Sent,
) -> Result<Response, Fault> {
    draw(app, client, headers, sent, Deed::Vary).await
}

async fn draw(
    app: Arc<App>,
    Client(client): Client,
    headers: HeaderMap,
    sent: Sent,
    deed: Deed,
) -> Result<Response, Fault> {
    let own = app.clone();
    let taken = blocking(move || {
        let asked = Asked::read(sent, deed, &own)?;
        let shape = Shape::of(&asked, deed, &headers);
        let client = match &asked.user {
            Some(user) => format!("user {user}"),
            None => client,
        };
        let job: Arc<Job> = own.submit(client, Work::Draw(Box::new(asked.order)))?;
        Ok((job, shape))
    });
    let (job, shape) = taken.await?;
    let call = Call::new(app, job);
    match shape.streams {
        true => Ok(stream::answer(call, shape).into_response()),
        false => {
            let status = call.end().await?;
            // Files are read, and much is encoded.
            blocking(move || Ok(all(&call.pictures(&status)?, &shape).into_response())).await
        }
    }
}

/// All pictures at once.
fn all(pictures: &[Finished], shape: &Shape) -> Answer<Value> {
    let data: Vec<Value> = pictures.iter().map(|one| shape.data(one)).collect();
    let mut answer = Map::new();
    answer.insert("created".to_owned(), (now() as u64).into());
    answer.insert("data".to_owned(), data.into());
    answer.extend(shape.facts());
    answer.insert("usage".to_owned(), shape.usage());
    Answer(answer.into())
}
