//! Generations, edits and variations: a request waits for its job, and gets all pictures at once or as they come.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::{ConnectInfo, State};
use axum::http::HeaderMap;
use axum::http::header::HOST;
use axum::response::{IntoResponse, Response};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use super::asked::{Asked, Deed};
use super::form::Sent;
use super::stream;
use crate::app::App;
use crate::call::{Call, Finished};
use crate::clock::now;
use crate::fault::Fault;
use crate::job::{Job, Work};
use crate::native::{blocking, client};

pub(super) async fn generations(
    State(app): State<Arc<App>>,
    from: ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    sent: Sent,
) -> Result<Response, Fault> {
    draw(app, from, headers, sent, Deed::Generate).await
}

pub(super) async fn edits(
    State(app): State<Arc<App>>,
    from: ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    sent: Sent,
) -> Result<Response, Fault> {
    draw(app, from, headers, sent, Deed::Edit).await
}

pub(super) async fn variations(
    State(app): State<Arc<App>>,
    from: ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    sent: Sent,
) -> Result<Response, Fault> {
    draw(app, from, headers, sent, Deed::Vary).await
}

/// How a request is answered.
pub(super) struct Shape {
    pub(super) deed: Deed,
    pub(super) format: &'static str,
    pub(super) size: Option<String>,
    pub(super) n_tokens: usize,
    pub(super) n_partial: usize,
    /// What addresses begin with, where pictures come as such.
    base: Option<String>,
    streams: bool,
}

impl Shape {
    fn of(asked: &Asked, deed: Deed, headers: &HeaderMap) -> Self {
        let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
        Self {
            deed,
            format: asked.format,
            size: asked.size(),
            n_tokens: asked.n_tokens,
            n_partial: asked.n_partial,
            base: asked.is_url.then(|| format!("http://{host}")),
            streams: asked.streams,
        }
    }

    /// What all answers say of the pictures.
    pub(super) fn facts(&self) -> Map<String, Value> {
        let (size, format) = (self.size.clone(), self.format);
        let facts = json!({ "background": "opaque", "output_format": format, "quality": "auto", "size": size });
        facts.as_object().cloned().unwrap_or_default()
    }

    /// Tokens of the prompt; pictures have none here.
    pub(super) fn usage(&self) -> Value {
        let n = self.n_tokens;
        json!({
            "input_tokens": n,
            "input_tokens_details": { "image_tokens": 0, "text_tokens": n },
            "output_tokens": 0,
            "total_tokens": n,
        })
    }

    fn data(&self, one: &Finished) -> Value {
        let (seed, picture) = (one.kept.seed, &one.kept);
        match &self.base {
            Some(base) => json!({ "url": format!("{base}{}", picture.url), "revised_prompt": null, "seed": seed }),
            None => {
                json!({ "b64_json": STANDARD.encode(one.bytes.as_slice()), "revised_prompt": null, "seed": seed })
            }
        }
    }
}

async fn draw(
    app: Arc<App>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
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
            None => client(&headers, address),
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
