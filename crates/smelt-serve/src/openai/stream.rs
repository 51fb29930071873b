//! Pictures as they come: partial ones, each finished one, or what went wrong, as server-sent events.
//!
//! Partial pictures are what a step foretells, at the size and in the format of the finished one.

use std::convert::Infallible;
use std::io::Cursor;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use base64::{Engine, engine::general_purpose::STANDARD};
use futures_util::{Stream, StreamExt};
use serde_json::{Map, Value, json};
use smelt::image::{Filter, PictureFormat, RgbImage, Size};

use super::asked::Deed;
use super::draw::Shape;
use crate::call::Call;
use crate::clock::now;
use crate::fault::{Fault, Surface};
use crate::job::{JobEvent, Work};
use crate::native::follow;

/// Something is sent that often, so that nobody takes the connection for dead.
const ALIVE: Duration = Duration::from_secs(15);

/// The stream of a job; dropped, it lets the job go as every call does.
pub(super) fn answer(call: Call, shape: Shape) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let mut telling = Telling { call, shape, picture: 0, n_sent: 0 };
    let events = follow(&telling.call.job).filter_map(move |event| {
        let told = telling.event(&event);
        async move { told.map(|(name, data)| Ok(Event::default().event(name).data(data.to_string()))) }
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(ALIVE))
}

struct Telling {
    call: Call,
    shape: Shape,
    /// The picture that partial ones foretell.
    picture: usize,
    /// How many of them were sent.
    n_sent: usize,
}

impl Telling {
    /// What is told of an event: its name, and its data.
    fn event(&mut self, event: &JobEvent) -> Option<(String, Value)> {
        match event {
            JobEvent::Preview { picture, image, .. } => {
                if *picture != self.picture {
                    (self.picture, self.n_sent) = (*picture, 0);
                }
                let idx = self.n_sent;
                // One that fails is no reason to lose the picture.
                let partial = (idx < self.shape.n_partial).then(|| self.partial(image)).flatten()?;
                self.n_sent += 1;
                let about = [("partial_image_index", json!(idx)), ("b64_json", json!(partial))];
                Some(self.told("partial_image", about))
            }
            JobEvent::Picture(drawn) => match self.call.finished(&drawn.id) {
                Ok(one) => {
                    let bytes = STANDARD.encode(one.bytes.as_slice());
                    let usage = self.shape.usage();
                    let about = [("b64_json", json!(bytes)), ("usage", usage), ("seed", json!(drawn.seed))];
                    Some(self.told("completed", about))
                }
                Err(fault) => Some(failed(&fault)),
            },
            JobEvent::Error(_) | JobEvent::Cancelled => {
                let cancelled = || Fault::conflict("the job was cancelled before its pictures were finished");
                Some(failed(&self.call.job.fault().unwrap_or_else(cancelled)))
            }
            _ => None,
        }
    }

    fn told<const N: usize>(&self, what: &str, about: [(&str, Value); N]) -> (String, Value) {
        let deed = if self.shape.deed == Deed::Generate { "image_generation" } else { "image_edit" };
        let name = format!("{deed}.{what}");
        let mut data = Map::new();
        data.insert("type".to_owned(), json!(name));
        data.insert("created_at".to_owned(), json!(now() as u64));
        data.extend(self.shape.facts());
        data.extend(about.map(|(key, value)| (key.to_owned(), value)));
        (name, data.into())
    }

    /// A preview as large as the picture, in its format.
    fn partial(&self, uri: &str) -> Option<String> {
        let Work::Draw(order) = &self.call.job.work else { return None };
        let bytes = STANDARD.decode(uri.split_once(',')?.1).ok()?;
        let small = RgbImage::read(Cursor::new(bytes)).ok()?;
        let size = self.shape.size.as_deref().and_then(size).unwrap_or_else(|| small.size());
        written(&small.resize(size, Filter::Lanczos), order.format)
    }
}

fn size(text: &str) -> Option<Size> {
    let (width, height) = text.split_once('x')?;
    Some(Size { width: width.parse().ok()?, height: height.parse().ok()? })
}

fn written(image: &RgbImage, format: PictureFormat) -> Option<String> {
    let mut bytes = Vec::new();
    image.write(&mut bytes, format, &[]).ok()?;
    Some(STANDARD.encode(bytes))
}

fn failed(fault: &Fault) -> (String, Value) {
    ("error".to_owned(), Surface::OpenAi.body(fault))
}
