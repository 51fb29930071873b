//! `extra-single-image` and `extra-batch-images`: pictures made larger.

use std::io::Cursor;
use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};
use smelt::Enlargement;
use smelt::image::{Filter, Fit, RgbImage, Size};

use super::idle::EXTRAS;
use crate::app::App;
use crate::blocking::blocking;
use crate::body::Json;
use crate::call::Call;
use crate::client::Client;
use crate::enlarge::upscaling;
use crate::fault::Fault;
use crate::fields::Fields;
use crate::format::png;
use crate::input;
use crate::job::Work;

/// How pictures are made larger.
#[derive(Clone)]
struct Asked {
    /// None leaves a picture as it is.
    upscaler: Option<String>,
    to: To,
}

#[derive(Clone, Copy)]
enum To {
    Times(f64),
    /// What stands out is cut off, or the picture is as large as it becomes within its proportions.
    Size(Size, bool),
}

impl Asked {
    fn read(fields: &mut Fields) -> Result<Self, Fault> {
        let mode = fields.count("resize_mode")?.unwrap_or(0);
        let times = fields.number("upscaling_resize")?.unwrap_or(2.0);
        let width = fields.count("upscaling_resize_w")?.unwrap_or(512);
        let height = fields.count("upscaling_resize_h")?.unwrap_or(512);
        let crops = fields.flag("upscaling_crop")?.unwrap_or(true);
        let to = match mode {
            0 => To::Times(times),
            1 if width == 0 || height == 0 => {
                return Err(Fault::field("upscaling_resize_w", format!("{width}x{height} is no size of a picture")));
            }
            1 => To::Size(Size { width, height }, crops),
            _ => {
                let message = format!("resize_mode {mode}; there are 0 (so many times as large) and 1 (to a size)");
                return Err(Fault::field("resize_mode", message));
            }
        };
        let upscaler = fields.word("upscaler_1")?.filter(|name| name != "None");
        fields.check(EXTRAS)?;
        Ok(Self { upscaler, to })
    }

    /// So many times as large as a picture is.
    fn times(&self, own: Size) -> f64 {
        match self.to {
            To::Times(times) => times,
            To::Size(size, _) => {
                let ratio = |wanted: usize, own: usize| wanted as f64 / own.max(1) as f64;
                ratio(size.width, own.width).max(ratio(size.height, own.height))
            }
        }
    }
}

/// A picture made larger, as base64 of a PNG.
async fn larger(app: &Arc<App>, client: &str, given: input::Given, asked: Asked) -> Result<String, Fault> {
    let Some(name) = asked.upscaler.clone() else {
        return blocking(move || Ok(STANDARD.encode(png(&given.image)?))).await;
    };
    let (own, client) = (app.clone(), client.to_owned());
    let times = asked.times(given.image.size());
    let job = blocking(move || {
        let work = upscaling(&own, given, &name, Enlargement::By(times))?;
        own.submit(client, Work::Upscale(Box::new(work)))
    });
    let call = Call::new(app.clone(), job.await?);
    let pictures = call.pictures(&call.end().await?)?;
    let found = pictures.first().ok_or_else(|| Fault::conflict("the job was ended before its picture was finished"))?;
    match asked.to {
        To::Size(size, true) => {
            let bytes = found.bytes.clone();
            blocking(move || {
                let image = RgbImage::read(Cursor::new(bytes.as_slice()));
                let image = image.map_err(|error| Fault::internal(error.to_string()))?;
                Ok(STANDARD.encode(png(&image.fit(size, Fit::Crop, Filter::Lanczos))?))
            })
            .await
        }
        _ => Ok(STANDARD.encode(found.bytes.as_slice())),
    }
}

pub(super) async fn single(
    State(app): State<Arc<App>>,
    Client(client): Client,
    Json(body): Json<Map<String, Value>>,
) -> Result<Answer<Value>, Fault> {
    let mut fields = Fields::new(body);
    let image = fields.text("image")?.ok_or_else(|| Fault::unprocessable("image: a picture in base64 is needed"))?;
    let asked = Asked::read(&mut fields)?;
    let picture = input::picture("image", &image, &app.options.limits)?;
    let image = larger(&app, &client, picture, asked).await?;
    Ok(Answer(json!({ "html_info": "", "image": image })))
}

pub(super) async fn batch(
    State(app): State<Arc<App>>,
    Client(client): Client,
    Json(body): Json<Map<String, Value>>,
) -> Result<Answer<Value>, Fault> {
    let mut fields = Fields::new(body);
    let list = fields.list("imageList")?.unwrap_or_default();
    let asked = Asked::read(&mut fields)?;
    if list.is_empty() || list.len() > app.options.limits.pictures {
        let message = format!("imageList: {} pictures; it has 1 to {}", list.len(), app.options.limits.pictures);
        return Err(Fault::unprocessable(message));
    }
    let mut images = Vec::new();
    for one in &list {
        let data = one.get("data").and_then(Value::as_str);
        let data = data.ok_or_else(|| Fault::unprocessable("imageList: each has its picture in `data`, as base64"))?;
        let picture = input::picture("imageList", data, &app.options.limits)?;
        images.push(larger(&app, &client, picture, asked.clone()).await?);
    }
    Ok(Answer(json!({ "html_info": "", "images": images })))
}
