//! What goes wrong with a request: a status, a word for programs and a sentence for people.
//!
//! Handlers return a [`Fault`]; how it is written is the interface's ([`Surface`]), which puts it into its own shape.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, Response, StatusCode};
use axum::response::IntoResponse;
use serde_json::{Value, json};

/// What goes wrong with a request.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    pub(crate) status: StatusCode,
    /// For programs.
    pub(crate) code: &'static str,
    /// For people: what, where, and what to do.
    pub(crate) message: String,
    /// The field of the request that is at fault.
    pub(crate) field: Option<String>,
    /// When to try again.
    pub(crate) retry_after_s: Option<u64>,
}

impl Fault {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), field: None, retry_after_s: None }
    }

    /// What cannot be done as it is asked for.
    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    /// The same, of a field.
    pub(crate) fn field(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: Some(field.into()), ..Self::bad(message) }
    }

    /// A request that is not what the interface describes.
    pub(crate) fn unprocessable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    pub(crate) fn gone(message: impl Into<String>) -> Self {
        Self::new(StatusCode::GONE, "gone", message)
    }

    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", message)
    }

    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", message)
    }

    pub(crate) fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
    }

    pub(crate) fn too_large(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
    }

    pub(crate) fn method(message: impl Into<String>) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
    }

    pub(crate) fn timeout(message: impl Into<String>) -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "timeout", message)
    }

    /// The queue is full.
    pub(crate) fn busy(message: impl Into<String>, retry_after_s: u64) -> Self {
        let fault = Self::new(StatusCode::TOO_MANY_REQUESTS, "queue_full", message);
        Self { retry_after_s: Some(retry_after_s), ..fault }
    }

    /// The server is at its end.
    pub(crate) fn ending() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "ending", "the server is about to end; nothing new is taken")
    }

    /// Nobody's fault but ours.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", message)
    }

    /// What the library refuses before anything is drawn is the request's fault.
    pub(crate) fn refused(error: &smelt::Error) -> Self {
        Self::bad(error.chain())
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> axum::response::Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status;
        response.extensions_mut().insert(self);
        response
    }
}

/// An interface that faults are written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Surface {
    Native,
    A1111,
    OpenAi,
}

impl Surface {
    /// The interface that a path belongs to.
    pub(crate) fn of(path: &str) -> Self {
        let under =
            |prefix: &str| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        match () {
            () if under("/sdapi") || under("/internal") || under("/controlnet") => Self::A1111,
            () if under("/v1") => Self::OpenAi,
            () => Self::Native,
        }
    }

    /// A fault in the words of the interface.
    pub(crate) fn body(self, fault: &Fault) -> Value {
        let Fault { status, code, message, field, .. } = fault;
        match self {
            Self::Native => json!({ "error": { "code": code, "message": message, "field": field } }),
            Self::A1111 => json!({ "error": "HTTPException", "detail": message, "body": "", "errors": "" }),
            Self::OpenAi => {
                let kind = match status.as_u16() {
                    401 => "authentication_error",
                    403 => "permission_error",
                    429 => "rate_limit_error",
                    400..=499 => "invalid_request_error",
                    _ => "server_error",
                };
                json!({ "error": { "message": message, "type": kind, "param": field, "code": code } })
            }
        }
    }

    /// The response to a fault.
    pub(crate) fn response(self, fault: &Fault) -> axum::response::Response {
        let mut response = Response::new(Body::from(self.body(fault).to_string()));
        *response.status_mut() = fault.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(seconds) = fault.retry_after_s {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if fault.status == StatusCode::UNAUTHORIZED {
            let challenge = if self == Self::A1111 { "Basic realm=\"smelt\"" } else { "Bearer" };
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_interface_has_its_own_words_for_a_fault() {
        let fault = Fault::field("size", "too large");
        assert_eq!(Surface::of("/v1/images/generations").body(&fault)["error"]["param"], "size");
        assert_eq!(Surface::of("/sdapi/v1/txt2img").body(&fault)["detail"], "too large");
        assert_eq!(Surface::of("/v1x").body(&fault)["error"]["field"], "size");
        let busy = Surface::Native.response(&Fault::busy("full", 3));
        assert_eq!((busy.status().as_u16(), busy.headers()[RETRY_AFTER].to_str().unwrap()), (429, "3"));
        assert_eq!(
            Surface::A1111.response(&Fault::unauthorized("x")).headers()[WWW_AUTHENTICATE],
            "Basic realm=\"smelt\""
        );
    }
}
