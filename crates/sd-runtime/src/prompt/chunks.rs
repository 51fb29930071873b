//! Prompts in windows: each as many tokens as a text encoder takes at once.
//!
//! Every piece is cut into tokens by itself. A section begins a window of its own, and where a window is full, what follows
//! the last comma near its end goes to the next one, so that phrases stay together.
// Source of the rules: modules/sd_hijack_clip.py, tokenize_line, of AUTOMATIC1111's web UI 1.10.

use super::{Emphasis, Section, TruncatedText};
use crate::error::{Result, RuntimeError};
use crate::tokenizer::{Frame, Token, Tokenizer};

/// Tokens of a word that is cut where a window ends.
// comfy/sd1_clip.py of ComfyUI, `max_word_length`.
const LONG: usize = 8;

/// How near the end of a window a comma must lie, in tokens.
const NEAR: usize = 20;

/// A window of tokens.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Chunk {
    /// Start token, text, end token, padding: as many as a window has.
    pub(crate) ids: Vec<u32>,
    /// The weight of each; 1 of those that are not of the text.
    pub(crate) weights: Vec<f64>,
    /// The piece that each is of.
    pub(crate) pieces: Vec<Option<usize>>,
    /// Tokens of the text.
    pub(crate) n_tokens: usize,
    /// Where its text begins: the piece, and the byte in that.
    begin: Option<(usize, usize)>,
}

/// How prompts are laid out in windows.
pub(crate) struct Layout<'t> {
    tokenizer: &'t dyn Tokenizer,
    /// Tokens of a window, the frame's among them.
    window: usize,
    /// Tokens of the text in it.
    room: usize,
    /// The token of a comma, where phrases stay together.
    comma: Option<u32>,
    /// Whether words of a few tokens stay together.
    keeps_words: bool,
}

/// A token on its way into a window.
#[derive(Clone, Copy)]
struct Entry {
    id: u32,
    weight: f64,
    piece: usize,
    offset: usize,
}

impl<'t> Layout<'t> {
    /// Windows of that length, and no longer than the tokenizer's longest text.
    ///
    /// # Errors
    /// [`RuntimeError::Tokenizer`] if it has no room for a frame.
    pub(crate) fn new(tokenizer: &'t dyn Tokenizer, window: usize) -> Result<Self> {
        let Frame { start, max_length, .. } = tokenizer.frame();
        let longest = window.min(max_length);
        let around = 1 + usize::from(start.is_some());
        let room = longest.checked_sub(around).filter(|room| *room > 0).ok_or_else(|| {
            RuntimeError::Tokenizer(format!("a prompt of {longest} tokens has no room for start and end"))
        })?;
        Ok(Self { tokenizer, window, room, comma: None, keeps_words: false })
    }

    /// As a language lays prompts out.
    ///
    /// # Errors
    /// As [`new`](Self::new) and [`Tokenizer::tokens`].
    pub(crate) fn of(tokenizer: &'t dyn Tokenizer, window: usize, emphasis: Emphasis) -> Result<Self> {
        let layout = Self::new(tokenizer, window)?;
        match emphasis {
            Emphasis::Original | Emphasis::NoNorm | Emphasis::Ignore => layout.at_commas(),
            Emphasis::Comfy => Ok(Self { keeps_words: true, ..layout }),
            Emphasis::Compel | Emphasis::Plain => Ok(layout),
        }
    }

    /// The same, where phrases between commas stay together.
    ///
    /// # Errors
    /// As [`Tokenizer::tokens`].
    pub(crate) fn at_commas(self) -> Result<Self> {
        let comma = self.tokenizer.tokens(",")?;
        Ok(Self { comma: comma.first().filter(|_| comma.len() == 1).map(|token| token.id), ..self })
    }

    /// The windows of a text; at least one.
    ///
    /// # Errors
    /// As [`Tokenizer::tokens`].
    pub(crate) fn chunks(&self, text: &[Section]) -> Result<Vec<Chunk>> {
        let mut filling = Filling { layout: self, chunks: Vec::new(), current: Vec::new(), last_comma: None };
        let mut n_pieces = 0;
        for (section_idx, section) in text.iter().enumerate() {
            if section_idx > 0 {
                filling.close();
            }
            for piece in section {
                let tokens = self.tokenizer.tokens(&piece.text)?;
                let entry =
                    |token: &Token| Entry { id: token.id, weight: piece.weight, piece: n_pieces, offset: token.offset };
                // What a word learned stays together, and where words do, all of it.
                let is_one = |token: &Token, next: &Token| {
                    let between = piece.text.get(token.offset..next.offset).unwrap_or_default();
                    next.is_further || (self.keeps_words && !between.contains(char::is_whitespace))
                };
                for word in tokens.chunk_by(is_one) {
                    let entries: Vec<Entry> = word.iter().map(entry).collect();
                    match self.keeps_words && word.len() >= LONG {
                        true => entries.iter().for_each(|entry| filling.push(std::slice::from_ref(entry))),
                        false => filling.push(&entries),
                    }
                }
                n_pieces += 1;
            }
        }
        if !filling.current.is_empty() || filling.chunks.is_empty() {
            filling.close();
        }
        Ok(filling.chunks)
    }

    /// A window without text.
    pub(crate) fn empty(&self) -> Chunk {
        self.framed(&[])
    }

    fn framed(&self, entries: &[Entry]) -> Chunk {
        let Frame { start, end, pad, .. } = self.tokenizer.frame();
        let before = usize::from(start.is_some());
        let mut ids: Vec<u32> = start.into_iter().chain(entries.iter().map(|entry| entry.id)).chain([end]).collect();
        ids.resize(self.window, pad);
        let mut chunk = Chunk {
            ids,
            weights: vec![1.0; self.window],
            pieces: vec![None; self.window],
            n_tokens: entries.len(),
            begin: entries.first().map(|entry| (entry.piece, entry.offset)),
        };
        for (place, entry) in entries.iter().enumerate() {
            chunk.weights[before + place] = entry.weight;
            chunk.pieces[before + place] = Some(entry.piece);
        }
        chunk
    }
}

/// Windows that are filled.
struct Filling<'l, 't> {
    layout: &'l Layout<'t>,
    chunks: Vec<Chunk>,
    current: Vec<Entry>,
    last_comma: Option<usize>,
}

impl Filling<'_, '_> {
    fn close(&mut self) {
        self.chunks.push(self.layout.framed(&self.current));
        self.current.clear();
        self.last_comma = None;
    }

    /// Puts the tokens of a word in.
    fn push(&mut self, word: &[Entry]) {
        let room = self.layout.room;
        let is_comma = matches!(word, [only] if Some(only.id) == self.layout.comma);
        match self.last_comma {
            _ if is_comma => self.last_comma = Some(self.current.len()),
            Some(comma) if self.current.len() == room && room - comma <= NEAR => {
                let moved = self.current.split_off(comma + 1);
                self.close();
                self.current = moved;
            }
            _ => {}
        }
        if self.current.len() + word.len() > room && !self.current.is_empty() {
            self.close();
        }
        for entry in word {
            if self.current.len() == room {
                self.close();
            }
            self.current.push(*entry);
        }
    }
}

/// What of a text lies in the windows from this one on.
pub(crate) fn cut_off(text: &[Section], chunks: &[Chunk], from: usize) -> Option<TruncatedText> {
    let dropped = chunks.get(from..)?;
    let (piece, offset) = dropped.iter().find_map(|chunk| chunk.begin)?;
    let pieces: Vec<&str> = text.iter().flatten().map(|piece| piece.text.as_str()).collect();
    let first = pieces.get(piece)?;
    let mut rest = first[first.floor_char_boundary(offset)..].to_owned();
    pieces.iter().skip(piece + 1).for_each(|piece| rest.push_str(piece));
    Some(TruncatedText { text: rest, n_tokens: dropped.iter().map(|chunk| chunk.n_tokens).sum() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prompt::parse;

    /// Words of letters are tokens by their length; a comma is 44, `new` has three vectors.
    #[derive(Debug)]
    struct Words;

    impl Tokenizer for Words {
        fn tokens(&self, text: &str) -> Result<Vec<Token>> {
            let spaced = text.replace(',', " , ");
            let words = spaced.split_whitespace().flat_map(|word| match word {
                "," => vec![(44, false)],
                "new" => vec![(100, false), (101, true), (102, true)],
                word => vec![(word.len() as u32, false)],
            });
            Ok(words.map(|(id, is_further)| Token { id, offset: 0, is_further }).collect())
        }

        fn frame(&self) -> Frame {
            Frame { start: Some(90), end: 91, pad: 0, max_length: usize::MAX }
        }
    }

    fn ids(prompt: &str, window: usize, at_commas: bool) -> Vec<Vec<u32>> {
        let layout = Layout::new(&Words, window).unwrap();
        let layout = if at_commas { layout.at_commas().unwrap() } else { layout };
        let parts = parse(prompt, Emphasis::Original).unwrap();
        layout.chunks(&parts[0].texts[0].0).unwrap().into_iter().map(|chunk| chunk.ids).collect()
    }

    #[test]
    fn a_full_window_gives_what_follows_a_comma_to_the_next() {
        assert_eq!(ids("a bb, ccc dddd e", 6, true), [[90, 1, 2, 44, 91, 0], [90, 3, 4, 1, 91, 0]]);
        assert_eq!(ids("a bb, ccc dddd e", 6, false), [[90, 1, 2, 44, 3, 91], [90, 4, 1, 91, 0, 0]]);
        // A comma that does not fit begins a window, and is no place to cut that.
        assert_eq!(
            ids("a a a a, b b b b", 6, true),
            [[90, 1, 1, 1, 1, 91], [90, 44, 1, 1, 1, 91], [90, 1, 91, 0, 0, 0]]
        );
    }

    #[test]
    fn vectors_of_one_word_stay_in_one_window() {
        assert_eq!(ids("a bb new", 6, false), [[90, 1, 2, 91, 0, 0], [90, 100, 101, 102, 91, 0]]);
        assert_eq!(ids("new", 4, false), [[90, 100, 101, 91], [90, 102, 91, 0]]);
    }

    #[test]
    fn a_break_ends_a_window_and_a_last_one_adds_none() {
        assert_eq!(ids("a BREAK bb", 4, true), [[90, 1, 91, 0], [90, 2, 91, 0]]);
        assert_eq!(ids("BREAK a", 4, true), [[90, 91, 0, 0], [90, 1, 91, 0]]);
        assert_eq!(ids("a BREAK", 4, true), [[90, 1, 91, 0]]);
        assert_eq!(ids("", 4, true), [[90, 91, 0, 0]]);
    }

    #[test]
    fn a_window_without_room_is_refused() {
        assert!(Layout::new(&Words, 2).err().unwrap().to_string().contains("no room"));
    }
}
