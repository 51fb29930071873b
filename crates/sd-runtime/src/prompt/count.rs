//! How a prompt lies in windows, for people who write it.

use serde::Serialize;

use super::{Chunk, Course, Emphasis, Layout, parse, stages};
use crate::error::Result;
use crate::tokenizer::Tokenizer;

/// Tokens of a window where the tokenizer's files set no limit: CLIP's.
const WINDOW: usize = 77;

/// A prompt in windows.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct PromptCount {
    /// Tokens of the text.
    pub n_tokens: usize,
    /// How many of them a window has room for.
    pub room: usize,
    /// The windows; a prompt that is cut off has one.
    pub windows: Vec<PromptWindow>,
    /// Tokens that are cut off.
    pub n_cut: usize,
}

/// A window of a prompt.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct PromptWindow {
    /// Tokens of the text.
    pub n_tokens: usize,
    /// What lies in it, piece by piece.
    pub pieces: Vec<CountedPiece>,
}

/// A stretch of text of one weight in a window.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct CountedPiece {
    /// The text of the piece, of which other windows may have a part.
    pub text: String,
    /// Its weight.
    pub weight: f64,
    /// Its tokens in this window.
    pub n_tokens: usize,
}

/// What a prompt says on the way of so many evaluations, in order and without repetition.
#[must_use]
pub fn texts(prompt: &str, emphasis: Emphasis, n_calls: usize) -> Vec<String> {
    if !emphasis.is_of_web_ui() {
        return vec![prompt.to_owned()];
    }
    let mut texts: Vec<String> = Vec::new();
    for stage in stages(prompt, Course { n_calls, n_before: None }) {
        if !texts.contains(&stage.text) {
            texts.push(stage.text);
        }
    }
    texts
}

/// How a text that does not change lies in windows.
///
/// # Errors
/// As [`parse`], and where the tokenizer fails.
pub fn count(tokenizer: &dyn Tokenizer, text: &str, emphasis: Emphasis) -> Result<PromptCount> {
    let frame = tokenizer.frame();
    let window = if frame.max_length == usize::MAX { WINDOW } else { frame.max_length };
    let layout = Layout::of(tokenizer, window, emphasis)?;
    let mut windows = Vec::new();
    for passage in parse(text, emphasis)? {
        // Of texts that are mixed the first stands for all.
        let Some((text, _)) = passage.texts.first() else { continue };
        let pieces: Vec<_> = text.iter().flatten().collect();
        windows.extend(layout.chunks(text)?.iter().map(|chunk| counted(chunk, &pieces)));
    }
    let n_tokens = windows.iter().map(|window: &PromptWindow| window.n_tokens).sum();
    let n_kept = if emphasis == Emphasis::Plain { 1 } else { windows.len() };
    let n_cut = windows[n_kept.min(windows.len())..].iter().map(|window| window.n_tokens).sum();
    windows.truncate(n_kept);
    Ok(PromptCount { n_tokens, room: window - 1 - usize::from(frame.start.is_some()), windows, n_cut })
}

fn counted(chunk: &Chunk, pieces: &[&super::Piece]) -> PromptWindow {
    let mut counted: Vec<(usize, CountedPiece)> = Vec::new();
    for idx in chunk.pieces.iter().flatten() {
        match counted.last_mut().filter(|(last, _)| last == idx) {
            Some((_, piece)) => piece.n_tokens += 1,
            None => {
                let Some(piece) = pieces.get(*idx) else { continue };
                counted.push((*idx, CountedPiece { text: piece.text.clone(), weight: piece.weight, n_tokens: 1 }));
            }
        }
    }
    PromptWindow { n_tokens: chunk.n_tokens, pieces: counted.into_iter().map(|(_, piece)| piece).collect() }
}
