//! Bodies of requests, bounded in size and in time, and what is wrong with them in plain words.

use std::sync::Arc;

use axum::body::{Bytes, to_bytes};
use axum::extract::{FromRequest, Request};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::app::App;
use crate::fault::Fault;

/// All of a body.
pub(crate) struct Whole(pub(crate) Bytes);

impl FromRequest<Arc<App>> for Whole {
    type Rejection = Fault;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Fault> {
        let (limit, most_time) = (app.options.limits.body_bytes, app.options.limits.request_time);
        let promised = request.headers().get("content-length").and_then(|n| n.to_str().ok()?.parse::<usize>().ok());
        let too_large = || Fault::too_large(format!("a request of more than {limit} bytes is not read here"));
        if promised.is_some_and(|n| n > limit) {
            return Err(too_large());
        }
        match tokio::time::timeout(most_time, to_bytes(request.into_body(), limit)).await {
            Ok(Ok(bytes)) => Ok(Self(bytes)),
            // The limit, or a connection that broke off, which nobody hears of any more.
            Ok(Err(_)) => Err(too_large()),
            Err(_) => Err(Fault::timeout(format!("the request did not come within {} s", most_time.as_secs()))),
        }
    }
}

/// A body as JSON of a type; an empty one is an empty object.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Arc<App>> for Json<T> {
    type Rejection = Fault;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Fault> {
        let Whole(bytes) = Whole::from_request(request, app).await?;
        parse(&bytes).map(Self)
    }
}

/// Reads JSON of a type.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Fault> {
    let bytes = if bytes.iter().all(u8::is_ascii_whitespace) { b"{}" } else { bytes };
    // Structures could be read from lists too, by position, which nobody means.
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    if first.is_some_and(|byte| b"[\"tfn-0123456789".contains(byte)) {
        return Err(Fault::unprocessable("the request is no JSON object: it does not begin with `{`"));
    }
    match serde_json::from_slice(bytes) {
        Ok(read) => Ok(read),
        Err(error) if error.is_data() => Err(Fault::unprocessable(format!("the request: {error}"))),
        Err(error) => Err(Fault::bad(format!("the request is no JSON: {error}"))),
    }
}

/// The value as JSON.
pub(crate) fn json(value: &impl serde::Serialize) -> Result<axum::Json<Value>, Fault> {
    serde_json::to_value(value).map(axum::Json).map_err(|error| Fault::internal(error.to_string()))
}
