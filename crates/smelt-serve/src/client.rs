//! Whose turn a request takes.

use std::convert::Infallible;
use std::net::SocketAddr;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;

/// What a request says of itself (`Smelt-Client`), or else who sends it and by which program.
pub(crate) struct Client(pub(crate) String);

impl<S: Sync> FromRequestParts<S> for Client {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
        Ok(Self(match text("smelt-client") {
            Some(name) => format!("named {name}"),
            None => {
                let address = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|from| from.0.ip().to_string());
                format!("{} {}", address.unwrap_or_default(), text("user-agent").unwrap_or_default())
            }
        }))
    }
}
