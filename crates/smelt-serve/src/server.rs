//! Start, routes and end.

mod listen;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, HeaderName};
use axum::http::{HeaderValue, Method};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use smelt::Stop;
use tokio::net::TcpListener;
use tower_http::cors::CorsLayer;

use crate::app::App;
use crate::error::ServeError;
use crate::fault::{Fault, Surface};
use crate::guard::guard;
use crate::options::{Access, ServeOptions};
use crate::{a1111, native, openai, page, worker};
use listen::listen;

/// How long what runs beside connections may take to end.
const PATIENCE: Duration = Duration::from_secs(5);

/// A server that has started.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Started {
    /// Where it listens.
    pub address: SocketAddr,
    /// Names of its models.
    pub models: Vec<String>,
}

/// Serves until `stop` is set: the job that runs is ended after its step, jobs that wait are cancelled.
///
/// # Errors
/// When options mean nothing together, there is no model, or the address cannot be listened on.
pub fn serve(options: ServeOptions, stop: &Stop, started: impl FnOnce(Started)) -> Result<(), ServeError> {
    if options.access == Access::Local && !options.listen.ip().is_loopback() {
        return Err(ServeError::Unprotected { address: options.listen });
    }
    if options.access == Access::Key(String::new()) {
        return Err(ServeError::Option("an empty key protects nothing; give another".to_owned()));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(ServeError::Broken)?;
    let app = Arc::new(App::new(options)?);
    let address = app.options.listen;
    let listener =
        runtime.block_on(TcpListener::bind(address)).map_err(|source| ServeError::Listen { address, source })?;
    let address = listener.local_addr().map_err(ServeError::Broken)?;
    let drawing = {
        let app = app.clone();
        std::thread::Builder::new()
            .name("drawing".to_owned())
            .spawn(move || worker::run(&app))
            .map_err(ServeError::Broken)?
    };
    tracing::info!(%address, models = ?app.catalogue.names(), "listening");
    started(Started { address, models: app.catalogue.names() });
    let most_time = app.options.limits.request_time;
    runtime.block_on(listen(listener, routes(app.clone()), most_time, stop, || {
        tracing::info!("ending");
        end(&app);
    }));
    // A thread that panicked was told of already.
    let _ = drawing.join();
    runtime.shutdown_timeout(PATIENCE);
    Ok(())
}

/// Ends all jobs.
fn end(app: &App) {
    for job in app.queue.close() {
        job.cancel();
        job.end(Ok(()));
    }
    if let Some(job) = app.current() {
        job.cancel();
    }
}

/// All routes.
fn routes(app: Arc<App>) -> Router {
    let (native, document) = native::routes();
    let document = Arc::new(serde_json::to_value(document).unwrap_or_default());
    let openapi = get(async move || Json((*document).clone()));
    Router::new()
        .merge(native)
        .merge(a1111::routes())
        .merge(openai::routes())
        .merge(page::routes())
        .route("/smelt/v1/openapi.json", openapi)
        .route("/health", get(health))
        .route("/metrics", get(metrics))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn(written))
        .layer(cors(&app.options.origins))
        .layer(from_fn_with_state(app.clone(), guard))
        .layer(from_fn(logged))
        .with_state(app)
}

/// Pages of sites that were named may read responses.
fn cors(origins: &[String]) -> CorsLayer {
    let origins: Vec<HeaderValue> = origins.iter().filter_map(|origin| origin.parse().ok()).collect();
    if origins.is_empty() {
        return CorsLayer::new();
    }
    let headers = ["authorization", "content-type", "smelt-client"].map(HeaderName::from_static);
    CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        .allow_headers(headers)
}

async fn health(State(app): State<Arc<App>>) -> impl IntoResponse {
    Json(serde_json::json!({ "status": "ok", "software": smelt::SOFTWARE, "waiting": app.queue.len() }))
}

async fn metrics(State(app): State<Arc<App>>) -> impl IntoResponse {
    let text = app.metrics.text(app.queue.len(), app.store.size().0);
    ([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
}

async fn unknown(request: Request) -> Fault {
    Fault::not_found(format!("there is nothing at {}", request.uri().path()))
}

async fn wrong_method(request: Request) -> Fault {
    Fault::method(format!("{} is not asked by {}", request.uri().path(), request.method()))
}

/// Writes faults in the words of the interface that was asked.
async fn written(request: Request, next: Next) -> Response {
    let surface = Surface::of(request.uri().path());
    let response = next.run(request).await;
    match response.extensions().get::<Fault>() {
        Some(fault) => surface.response(fault),
        // What extractors of the framework refuse is plain text.
        None if response.status().is_client_error() && !is_json(&response) => {
            let status = response.status();
            let bytes = axum::body::to_bytes(response.into_body(), 1 << 16).await.unwrap_or_default();
            let fault = Fault { status, ..Fault::bad(String::from_utf8_lossy(&bytes).into_owned()) };
            surface.response(&fault)
        }
        None => response,
    }
}

fn is_json(response: &Response) -> bool {
    response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"))
}

/// Tells the log of each request: what it asks for, and neither its body nor its headers.
async fn logged(request: Request, next: Next) -> Response {
    let begin = std::time::Instant::now();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let response = next.run(request).await;
    tracing::debug!(%method, path, status = response.status().as_u16(), ms = begin.elapsed().as_millis() as u64, "request");
    response
}
