//! A picture drawn again: the settings of a picture, whatever tool drew it, as a [`Request`] takes them.
//!
//! Settings mean something only together with what their tool does where they say nothing: where its noise comes from, how
//! it counts the steps of a picture that it begins with, which noise levels are its own. These facts are a row for each
//! tool (`tools`). What cannot be taken over is named in [`Like::not_taken`], and nothing is guessed in its place.
//!
//! ```no_run
//! use smelt::{Like, LikeGiven, PipelineOptions, Request, Unwatched};
//!
//! # fn main() -> Result<(), smelt::Error> {
//! let mut like = Like::read("theirs.png".as_ref())?;
//! like.give(&LikeGiven::default())?;
//! let opened = smelt::open("sd15")?;
//! like.settle(&opened)?;
//! let mut request = Request::default();
//! like.apply(&mut request)?;
//! let options = PipelineOptions { sizes: like.sizes(), clip_skips: vec![request.clip_skip], ..PipelineOptions::default() };
//! let mut pipeline = opened.pipeline(&options)?;
//! for warning in like.model_warning(&opened, pipeline.name(), None)? {
//!     println!("{warning}");
//! }
//! pipeline.draw(&request, &mut Unwatched)?.pictures[0].save("again.png")?;
//! # Ok(())
//! # }
//! ```

mod begin;
mod beside;
mod count;
mod made;
mod model;
mod networks;
mod of_no_account;
mod own;
mod sampler;
mod second;
mod settle;
#[cfg(test)]
mod tests;
mod tools;
#[cfg(test)]
mod written;

use std::io::Cursor;
use std::path::Path;

use sd_metadata::{Made, Text, Tool, Unknown};
use sd_runtime::image::RgbImage;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::error::{Context, Result, refuse};
use crate::file::picture_bytes;
use crate::request::Request;
use crate::request_file;
use crate::size::{PictureSize, Sizes};
use begin::Begun;
pub use beside::Given as LikeGiven;
use beside::{Guided, Need};

/// What a picture's settings say, as far as they can be taken over.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Like {
    /// What drew the picture.
    pub tool: Tool,
    /// The model that drew it, by that tool's name.
    pub model: Option<String>,
    /// That model's hash, as the tool writes it.
    pub model_hash: Option<String>,
    /// Its size, of the first pass where there are two.
    pub size: Option<PictureSize>,
    /// What could not be taken over, by the name that it has there, and why where that is not plain.
    pub not_taken: Vec<Unknown>,
    /// What of the file could not be read.
    pub faults: Vec<String>,
    /// Fields of a request.
    settings: Map<String, Value>,
    begun: Begun,
    guided: Vec<Guided>,
    needs: Vec<Need>,
    /// Where it stands, for messages.
    what: String,
}

impl Like {
    /// Reads the settings of a picture: PNG, JPEG or WebP.
    ///
    /// A picture whose settings have no size has that of its pixels.
    ///
    /// # Errors
    /// When the file cannot be read, is something else, or carries no settings.
    pub fn read(path: &Path) -> Result<Self> {
        Self::from_bytes(path.display().to_string(), picture_bytes(path)?)
    }

    /// The same from the bytes of its file; `what` says which it is, for messages.
    ///
    /// # Errors
    /// As [`Like::read`].
    pub fn from_bytes(what: impl Into<String>, bytes: Cursor<Vec<u8>>) -> Result<Self> {
        let what = what.into();
        let texts = sd_metadata::texts(bytes.get_ref()).with_context(|| format!("cannot read {what}"))?;
        let mut like = Self::of(&texts.texts).with_context(|| what.clone())?;
        if like.size.is_none() && !like.is_enlarged() {
            // What is cut off has settings all the same.
            let pixels = RgbImage::read(bytes).ok().map(|image| image.size().to_string());
            like.size = pixels.and_then(|size| size.parse().ok());
        }
        Ok(Self { faults: texts.faults, what, ..like })
    }

    /// The same from the texts of a picture.
    ///
    /// # Errors
    /// When there are no settings among them.
    pub fn of(texts: &[Text]) -> Result<Self> {
        if let Some(own) = own::find(texts) {
            return Ok(own);
        }
        match sd_metadata::recognise(texts) {
            Some(made) => Ok(made::take(&made)),
            None => refuse!(
                "the picture does not say how it was made; smelt metadata shows what it carries, and what is looked for"
            ),
        }
    }

    /// The same from a tool's settings that did not come in a picture, such as a request in its words.
    #[must_use]
    pub fn of_made(made: &Made) -> Self {
        made::take(made)
    }

    /// What a request is given: some of its fields, as its JSON has them.
    #[must_use]
    pub const fn settings(&self) -> &Map<String, Value> {
        &self.settings
    }

    /// Settings of a tool that say nothing yet.
    fn by(tool: Tool) -> Self {
        Self {
            tool,
            model: None,
            model_hash: None,
            size: None,
            not_taken: Vec::new(),
            faults: Vec::new(),
            settings: Map::from_iter([("emphasis".to_owned(), tools::habits(tool).emphasis.name().into())]),
            begun: Begun::default(),
            guided: Vec::new(),
            needs: Vec::new(),
            what: "the picture's settings".to_owned(),
        }
    }

    /// Gives a request what the picture says; all else stays.
    ///
    /// # Errors
    /// For a value that a request does not take.
    pub fn apply(&self, request: &mut Request) -> Result<()> {
        request_file::put(request, &self.settings, &self.what)
    }

    /// Its size as it is asked for; nothing where it has none.
    #[must_use]
    pub fn sizes(&self) -> Sizes {
        Sizes { size: self.size.into_iter().collect(), ..Sizes::default() }
    }

    /// Sets a field of the request.
    fn set(&mut self, field: &str, value: impl Serialize) {
        match serde_json::to_value(value) {
            Ok(value) => drop(self.settings.insert(field.to_owned(), value)),
            Err(error) => self.leave(field, "", &error.to_string()),
        }
    }

    /// Names what is not taken over; without a reason there is nothing like it here.
    fn leave(&mut self, key: impl Into<String>, value: impl ToString, why: &str) {
        let why = Some(why.to_owned()).filter(|why| !why.is_empty());
        self.not_taken.push(Unknown { key: key.into(), value: value.to_string(), why });
    }

    /// Whether it is larger than what was drawn.
    fn is_enlarged(&self) -> bool {
        self.settings.contains_key("hires") || self.not_taken.iter().any(|entry| entry.key.contains("pscale"))
    }
}
