//! Prompts: what a text says, in pieces of one weight, and as ids in windows of the length that the models take.
//!
//! Which language it is in is an [`Emphasis`]. What becomes of weights is `condition`'s.

mod chunks;
mod comfy;
mod compel;
mod count;
mod emphasis;
mod networks;
mod schedule;
mod weights;
mod window;
mod words;

pub(crate) use chunks::{Chunk, Layout, cut_off};
pub use count::{CountedPiece, PromptCount, PromptWindow, count, texts};
pub use emphasis::Emphasis;
pub use networks::{NamedNetwork, NetworkTag, take_networks};
pub(crate) use schedule::{Course, Stage, stages, text_at};
pub use window::{TruncatedText, Window};
pub use words::has_word;

use crate::error::Result;

/// The input of text encoders that are told what tokens see of others (`Form::Masked`): what is added to scores, [1, 1, L, L].
pub const ATTENTION_MASK: &str = "attention_mask";

/// A stretch of text of one weight.
#[derive(Debug, Clone, PartialEq)]
pub struct Piece {
    /// The text, without brackets.
    pub text: String,
    /// The weight of its words; 1 is as they are.
    pub weight: f64,
}

/// Pieces that follow one another; each section of a text begins a window.
pub type Section = Vec<Piece>;

/// A part of a prompt: a text, or several that are mixed. Parts stand one behind the other for the models.
#[derive(Debug, Clone, PartialEq)]
pub struct Passage {
    /// The texts, and how much of each there is.
    pub texts: Vec<(Vec<Section>, f64)>,
    /// How far its states are from those of the empty prompt; 1 is as they are.
    pub weight: f64,
}

impl Passage {
    /// A part that is one section of one text.
    fn of(section: Section) -> Self {
        Self { texts: vec![(vec![section], 1.0)], weight: 1.0 }
    }

    /// A part of several texts, whose weights add up to 1 where they are to.
    fn blend(texts: Vec<(Vec<Section>, f64)>, is_normalized: bool) -> Self {
        let sum: f64 = texts.iter().map(|(_, weight)| weight).sum();
        let scale = if is_normalized { sum } else { 1.0 };
        Self { texts: texts.into_iter().map(|(text, weight)| (text, weight / scale)).collect(), weight: 1.0 }
    }
}

/// What a prompt says at one moment of its way: `[from:to:when]` and `[a|b]` are text here.
///
/// # Errors
/// [`RuntimeError::Prompt`](crate::RuntimeError::Prompt) for what its language has no meaning for.
pub fn parse(prompt: &str, emphasis: Emphasis) -> Result<Vec<Passage>> {
    match emphasis {
        Emphasis::Original | Emphasis::NoNorm | Emphasis::Ignore => {
            Ok(vec![Passage { texts: vec![(weights::read(prompt)?, 1.0)], weight: 1.0 }])
        }
        Emphasis::Comfy => Ok(vec![Passage::of(comfy::read(prompt))]),
        Emphasis::Compel => compel::read(prompt),
        Emphasis::Plain => Ok(vec![Passage::of(vec![Piece { text: prompt.to_owned(), weight: 1.0 }])]),
    }
}

/// What a prompt says without weights: all its pieces, one after the other.
pub(crate) fn text_of(prompt: &str, emphasis: Emphasis) -> Result<String> {
    let passages = parse(prompt, emphasis)?;
    let texts = passages.iter().flat_map(|passage| &passage.texts);
    let section = |section: &Section| section.iter().map(|piece| piece.text.as_str()).collect::<String>();
    Ok(texts.flat_map(|(text, _)| text).map(section).collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests;
