//! Pictures as they come: partial ones, each finished one, or what went wrong, as server-sent events.
//!
//! Partial pictures are what a step foretells, at the size and in the format of the finished one.

use std::convert::Infallible;
use std::io::Cursor;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use base64::{Engine, engine::general_purpose::STANDARD};
use futures_util::{Stream, StreamExt, stream};
use serde_json::{Map, Value, json};
use smelt::image::{Filter, RgbImage, Size};

use super::asked::Deed;
use super::shape::Shape;
use crate::call::Call;
use crate::clock::now;
use crate::fault::{Fault, Surface};
use crate::format::written;
use crate::job::{Drawn, JobEvent, follow};

/// Something is sent that often, so that nobody takes the connection for dead.
const ALIVE: Duration = Duration::from_secs(15);

/// The stream of a job; dropped, it lets the job go as every call does.
pub(super) fn answer(call: Call, shape: Shape) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let mut telling = Telling { call, shape, picture: 0, n_sent: 0, finished: Vec::new() };
    let events = follow(&telling.call.job).flat_map(move |event| {
        let told = telling.event(&event).into_iter();
        stream::iter(told.map(|(name, data)| Ok(Event::default().event(name).data(data.to_string()))))
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
    /// Ids of finished pictures that were sent.
    finished: Vec<String>,
}

impl Telling {
    /// What is told of an event: names, and data.
    fn event(&mut self, event: &JobEvent) -> Vec<(String, Value)> {
        match event {
            JobEvent::Preview { picture, image, .. } => self.preview(*picture, image).into_iter().collect(),
            JobEvent::Picture(drawn) => vec![self.completed(drawn)],
            // Whoever reads slowly may have missed some.
            JobEvent::Done { .. } => {
                let all = self.call.job.status().pictures;
                let missed = all.iter().filter(|drawn| !self.finished.contains(&drawn.id)).cloned().collect::<Vec<_>>();
                missed.iter().map(|drawn| self.completed(drawn)).collect()
            }
            JobEvent::Error(_) | JobEvent::Cancelled => {
                let cancelled = || Fault::conflict("the job was cancelled before its pictures were finished");
                vec![failed(&self.call.job.fault().unwrap_or_else(cancelled))]
            }
            _ => Vec::new(),
        }
    }

    fn preview(&mut self, picture: usize, uri: &str) -> Option<(String, Value)> {
        if picture != self.picture {
            (self.picture, self.n_sent) = (picture, 0);
        }
        let idx = self.n_sent;
        // One that fails is no reason to lose the picture.
        let partial = (idx < self.shape.n_partial).then(|| self.partial(uri)).flatten()?;
        self.n_sent += 1;
        Some(self.told("partial_image", [("partial_image_index", json!(idx)), ("b64_json", json!(partial))]))
    }

    fn completed(&mut self, drawn: &Drawn) -> (String, Value) {
        self.finished.push(drawn.id.clone());
        match self.call.finished(&drawn.id) {
            Ok(one) => {
                let bytes = STANDARD.encode(one.bytes.as_slice());
                let about = [("b64_json", json!(bytes)), ("usage", self.shape.usage()), ("seed", json!(drawn.seed))];
                self.told("completed", about)
            }
            Err(fault) => failed(&fault),
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
        let bytes = STANDARD.decode(uri.split_once(',')?.1).ok()?;
        let small = RgbImage::read(Cursor::new(bytes)).ok()?;
        let size = self.shape.size.as_deref().and_then(size).unwrap_or_else(|| small.size());
        let partial = written(&small.resize(size, Filter::Lanczos), self.shape.format, &[]).ok()?;
        Some(STANDARD.encode(partial))
    }
}

fn size(text: &str) -> Option<Size> {
    let (width, height) = text.split_once('x')?;
    Some(Size { width: width.parse().ok()?, height: height.parse().ok()? })
}

fn failed(fault: &Fault) -> (String, Value) {
    ("error".to_owned(), Surface::OpenAi.body(fault))
}
