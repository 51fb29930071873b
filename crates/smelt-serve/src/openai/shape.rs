//! What answers say, whether they come at once or as a stream.

use axum::http::HeaderMap;
use axum::http::header::HOST;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};
use smelt::image::PictureFormat;

use super::asked::{Asked, Deed};
use crate::call::Finished;
use crate::format::about;

/// How a request is answered.
pub(super) struct Shape {
    pub(super) deed: Deed,
    pub(super) format: PictureFormat,
    pub(super) size: Option<String>,
    pub(super) n_tokens: usize,
    pub(super) n_partial: usize,
    /// What addresses begin with, where pictures come as such.
    base: Option<String>,
    pub(super) streams: bool,
}

impl Shape {
    pub(super) fn of(asked: &Asked, deed: Deed, headers: &HeaderMap) -> Self {
        let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
        Self {
            deed,
            format: asked.order.format,
            size: asked.size(),
            n_tokens: asked.n_tokens,
            n_partial: asked.n_partial,
            base: asked.is_url.then(|| format!("http://{host}")),
            streams: asked.streams,
        }
    }

    /// What all answers say of the pictures.
    pub(super) fn facts(&self) -> Map<String, Value> {
        let (size, format) = (self.size.clone(), about(self.format).name);
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

    pub(super) fn data(&self, one: &Finished) -> Value {
        let (seed, picture) = (one.kept.seed, &one.kept);
        match &self.base {
            Some(base) => json!({ "url": format!("{base}{}", picture.url), "revised_prompt": null, "seed": seed }),
            None => {
                json!({ "b64_json": STANDARD.encode(one.bytes.as_slice()), "revised_prompt": null, "seed": seed })
            }
        }
    }
}
