//! Requests as they are sent: JSON, or a form with files.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequest, Multipart, Request};
use axum::http::header::CONTENT_TYPE;
use serde_json::{Map, Value};

use crate::app::App;
use crate::blocking::blocking;
use crate::body::{Whole, parse};
use crate::fault::Fault;
use crate::fields::Fields;
use crate::input;

/// Names of fields that are pictures.
const PICTURES: [&str; 4] = ["image", "image[]", "images", "mask"];

/// A request.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) fields: Fields,
    /// Bytes of pictures' files.
    pub(super) images: Vec<Vec<u8>>,
    pub(super) mask: Option<Vec<u8>>,
}

impl FromRequest<Arc<App>> for Sent {
    type Rejection = Fault;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Fault> {
        let (parts, body) = request.into_parts();
        let kind = parts.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default().to_owned();
        let Whole(bytes) = Whole::from_request(Request::from_parts(parts.clone(), body), app).await?;
        if !kind.starts_with("multipart/form-data") {
            return blocking(move || of_json(parse(&bytes)?)).await;
        }
        let whole = Request::from_parts(parts, Body::from(bytes));
        let form = Multipart::from_request(whole, app).await;
        of_form(form.map_err(|error| Fault::bad(format!("the form: {error}")))?).await
    }
}

async fn of_form(mut form: Multipart) -> Result<Sent, Fault> {
    let (mut texts, mut images, mut mask) = (Map::new(), Vec::new(), None);
    let wrong = |error: axum::extract::multipart::MultipartError| Fault::bad(format!("the form: {error}"));
    while let Some(part) = form.next_field().await.map_err(wrong)? {
        let name = part.name().unwrap_or_default().to_owned();
        let is_picture = PICTURES.contains(&name.as_str());
        let bytes = part.bytes().await.map_err(wrong)?;
        match (is_picture, name.as_str()) {
            (true, "mask") => mask = Some(bytes.to_vec()),
            (true, _) => images.push(bytes.to_vec()),
            (false, _) => {
                let text = String::from_utf8(bytes.to_vec());
                let text = text.map_err(|_| Fault::field(&name, format!("{name}: no text in UTF-8")))?;
                texts.insert(name, text.into());
            }
        }
    }
    Ok(Sent { fields: Fields::new(texts), images, mask })
}

fn of_json(all: Map<String, Value>) -> Result<Sent, Fault> {
    let mut fields = Fields::new(all);
    let mut images = Vec::new();
    for name in ["image", "image[]", "images"] {
        for value in fields.value(name).into_iter().flat_map(flat) {
            images.push(bytes(name, &value)?);
        }
    }
    let mask = fields.value("mask").map(|value| bytes("mask", &value)).transpose()?;
    Ok(Sent { fields, images, mask })
}

/// One, or those of a list.
fn flat(value: Value) -> Vec<Value> {
    match value {
        Value::Array(all) => all,
        one => vec![one],
    }
}

/// A picture's bytes: base64 or a data URI, alone or as `image_url`.
fn bytes(name: &str, value: &Value) -> Result<Vec<u8>, Fault> {
    let inner = ["image_url", "b64_json", "url"].into_iter().find_map(|key| value.get(key));
    match inner.unwrap_or(value) {
        Value::String(text) => input::bytes(name, text),
        _ => Err(Fault::field(name, format!("{name}: a picture is a data URI, or {{\"image_url\": \"data:…\"}}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn sent(value: Value) -> Result<Sent, Fault> {
        let Value::Object(map) = value else { unreachable!() };
        of_json(map)
    }

    #[test]
    fn pictures_in_json_stand_in_several_shapes() {
        for image in [json!("AQI="), json!(["data:image/png;base64,AQI="]), json!([{ "image_url": "AQI=" }])] {
            let found = sent(json!({ "image": image, "mask": { "image_url": "Aw==" }, "n": 2 })).unwrap();
            assert_eq!((found.images, found.mask), (vec![vec![1, 2]], Some(vec![3])));
            assert_eq!(found.fields.names(), ["n"]);
        }
        let error = sent(json!({ "image": "https://example.org/a.png" })).unwrap_err();
        assert!(error.message.contains("not fetched"), "{}", error.message);
        assert!(sent(json!({ "image": 3 })).unwrap_err().message.contains("data URI"));
    }
}
