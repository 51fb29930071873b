//! Who may ask: names that this machine is called by, sites whose pages may send requests, and the key.
//!
//! A page of another site can make a browser send requests to this machine. Its name is refused where it has a name of its
//! own for this address (DNS rebinding: `Host`), and it is told by `Origin` and `Sec-Fetch-Site` otherwise.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, COOKIE, HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName, Method, Uri};
use axum::middleware::Next;
use axum::response::Response;
use base64::{Engine, engine::general_purpose::STANDARD};
use subtle::ConstantTimeEq;

use crate::app::App;
use crate::fault::{Fault, Surface};
use crate::options::Access;

/// The cookie that the page has in the place of the key, so that pictures can be shown.
pub(crate) const COOKIE_NAME: &str = "smelt-key";

/// What is served to whoever asks: the page itself, which holds no secrets, and whether the server is there.
fn is_public(path: &str) -> bool {
    path == "/" || path == "/health" || path == "/favicon.ico" || path.starts_with("/page/")
}

/// Lets a request through, or not.
pub(crate) async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    match check(&app, request.method(), request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(fault) => Surface::of(&path).response(&fault),
    }
}

fn check(app: &App, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Fault> {
    let Some(host) = text_of(headers, HOST).or_else(|| uri.authority().map(|name| name.as_str())) else {
        return Err(Fault::bad("the request does not say which host it is for"));
    };
    let name = host_name(host);
    if !is_own(name) && !app.options.hosts.iter().any(|own| own.eq_ignore_ascii_case(name)) {
        return Err(Fault::forbidden(format!(
            "this server is not known as {name:?}; start it with --host {name} if it is meant to be"
        )));
    }
    let origin = text_of(headers, ORIGIN);
    let is_named =
        origin.is_some_and(|origin| app.options.origins.iter().any(|known| known.eq_ignore_ascii_case(origin)));
    let is_of_page =
        origin.is_none_or(|origin| origin.split_once("://").is_some_and(|(_, of)| of.eq_ignore_ascii_case(host)));
    if !is_named && !is_of_page {
        return Err(Fault::forbidden(format!(
            "pages of {} may not send requests; start the server with --origin {} if they shall",
            origin.unwrap_or_default(),
            origin.unwrap_or_default()
        )));
    }
    let is_foreign = text_of(headers, HeaderName::from_static("sec-fetch-site")) == Some("cross-site") && !is_named;
    if is_foreign && !(is_public(uri.path()) && method == Method::GET) {
        return Err(Fault::forbidden("a page of another site sent this request"));
    }
    match &app.options.access {
        Access::Key(key) if !is_public(uri.path()) && method != Method::OPTIONS => {
            check_key(key, Surface::of(uri.path()), headers)
        }
        _ => Ok(()),
    }
}

fn text_of(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The name or address in `Host`, without the port.
fn host_name(host: &str) -> &str {
    match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    }
}

/// An address cannot be rebound, and `localhost` is always this machine.
fn is_own(name: &str) -> bool {
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

/// The key that a request has: a bearer's, the page's cookie, or for clients of AUTOMATIC1111 the password of HTTP Basic.
fn key_of(headers: &HeaderMap, surface: Surface) -> Option<String> {
    if let Some((kind, rest)) = text_of(headers, AUTHORIZATION).and_then(|text| text.split_once(' ')) {
        if kind.eq_ignore_ascii_case("bearer") {
            return Some(rest.trim().to_owned());
        }
        if kind.eq_ignore_ascii_case("basic") && surface == Surface::A1111 {
            let decoded = STANDARD.decode(rest.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok())?;
            return decoded.split_once(':').map(|(_, password)| password.to_owned());
        }
    }
    let cookies = text_of(headers, COOKIE)?;
    let own = cookies.split(';').filter_map(|cookie| cookie.trim().split_once('='));
    let value = own.into_iter().find(|(name, _)| *name == COOKIE_NAME)?.1;
    STANDARD.decode(value).ok().and_then(|bytes| String::from_utf8(bytes).ok())
}

fn check_key(key: &str, surface: Surface, headers: &HeaderMap) -> Result<(), Fault> {
    match key_of(headers, surface) {
        Some(given) if bool::from(given.as_bytes().ct_eq(key.as_bytes())) => Ok(()),
        Some(_) => Err(Fault::unauthorized("the key is not the one that this server was started with")),
        None => Err(Fault::unauthorized("this server asks for a key: send it as `Authorization: Bearer KEY`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_told_from_ports() {
        for (host, name, own) in [
            ("localhost:7860", "localhost", true),
            ("LOCALHOST", "LOCALHOST", true),
            ("127.0.0.1:1", "127.0.0.1", true),
            ("[::1]:7860", "::1", true),
            ("[::1]", "::1", true),
            ("evil.example:7860", "evil.example", false),
            ("127.0.0.1.evil.example", "127.0.0.1.evil.example", false),
            ("localhost.evil.example:80", "localhost.evil.example", false),
        ] {
            assert_eq!((host_name(host), is_own(host_name(host))), (name, own), "{host}");
        }
    }

    #[test]
    fn keys_stand_in_several_places() {
        let of = |name: &'static str, value: &str, surface| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            check_key("secret", surface, &headers).map_err(|fault| fault.status.as_u16())
        };
        assert_eq!(of("authorization", "Bearer secret", Surface::OpenAi), Ok(()));
        assert_eq!(of("authorization", "bearer wrong", Surface::OpenAi), Err(401));
        // user:secret
        assert_eq!(of("authorization", "Basic dXNlcjpzZWNyZXQ=", Surface::A1111), Ok(()));
        assert_eq!(of("authorization", "Basic dXNlcjpzZWNyZXQ=", Surface::Native), Err(401));
        assert_eq!(of("cookie", "a=b; smelt-key=c2VjcmV0", Surface::Native), Ok(()));
        assert_eq!(of("cookie", "a=b", Surface::Native), Err(401));
    }
}
