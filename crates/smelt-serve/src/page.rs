//! The page: files that stand in the program, so that nothing is fetched from anywhere.

use axum::Router;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::response::IntoResponse;
use axum::routing::get;

/// Nothing from elsewhere, and no frames around it.
const POLICY: &str = "default-src 'self'; img-src 'self' blob: data:; style-src 'self'; script-src 'self'; connect-src 'self'; \
                      frame-ancestors 'none'; base-uri 'none'; form-action 'self'";

/// A file of the page.
struct File {
    path: &'static str,
    content_type: &'static str,
    text: &'static str,
}

const FILES: [File; 16] = [
    File { path: "/", content_type: "text/html; charset=utf-8", text: include_str!("page/index.html") },
    File { path: "/page/style.css", content_type: "text/css; charset=utf-8", text: include_str!("page/style.css") },
    File { path: "/page/icon.svg", content_type: "image/svg+xml", text: include_str!("page/icon.svg") },
    script("/page/theme.js", include_str!("page/theme.js")),
    script("/page/app.js", include_str!("page/app.js")),
    script("/page/api.js", include_str!("page/api.js")),
    script("/page/dom.js", include_str!("page/dom.js")),
    script("/page/form.js", include_str!("page/form.js")),
    script("/page/gallery.js", include_str!("page/gallery.js")),
    script("/page/jobs.js", include_str!("page/jobs.js")),
    script("/page/keep.js", include_str!("page/keep.js")),
    script("/page/mask.js", include_str!("page/mask.js")),
    script("/page/models.js", include_str!("page/models.js")),
    script("/page/picture.js", include_str!("page/picture.js")),
    script("/page/rows.js", include_str!("page/rows.js")),
    script("/page/viewer.js", include_str!("page/viewer.js")),
];

const fn script(path: &'static str, text: &'static str) -> File {
    File { path, content_type: "text/javascript; charset=utf-8", text }
}

/// The routes of the page.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    FILES.iter().fold(Router::new(), |router, file| router.route(file.path, get(async || served(file))))
}

fn served(file: &'static File) -> impl IntoResponse {
    let headers = [
        (CONTENT_TYPE, file.content_type),
        (CONTENT_SECURITY_POLICY, POLICY),
        (CACHE_CONTROL, "no-cache"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
    ];
    (headers, file.text)
}
