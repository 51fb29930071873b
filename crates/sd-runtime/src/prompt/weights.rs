//! AUTOMATIC1111's weights: `(word)`, `[word]`, `(word:1.3)`, escapes, and BREAK between sections.
//!
//! Round and square brackets are counted apart, so they may overlap; what is still open at the end closes there.
// Source of the rules: modules/prompt_parser.py, parse_prompt_attention, of AUTOMATIC1111's web UI 1.10.

use super::{Piece, Section, words};
use crate::error::{Result, RuntimeError};

/// What `(word)` multiplies a weight by.
const ROUND: f64 = 1.1;
/// What `[word]` multiplies it by.
const SQUARE: f64 = 1.0 / 1.1;

/// The word that begins a section.
const BREAK: &str = "BREAK";

/// The sections of a prompt, each in pieces of one weight; neighbours differ in theirs.
///
/// # Errors
/// [`RuntimeError::Prompt`] for a weight that is no number.
pub(super) fn read(prompt: &str) -> Result<Vec<Section>> {
    let mut scan = Scan { rest: prompt, ..Scan::default() };
    while let Some(first) = scan.rest.chars().next() {
        scan.take(first)?;
    }
    while let Some(begin) = scan.round.pop() {
        scan.multiply(begin, ROUND);
    }
    while let Some(begin) = scan.square.pop() {
        scan.multiply(begin, SQUARE);
    }
    if scan.pieces.is_empty() {
        scan.push("");
    }
    Ok(scan.sections())
}

/// A prompt that is read up to somewhere.
#[derive(Default)]
struct Scan<'t> {
    rest: &'t str,
    pieces: Vec<Piece>,
    /// The pieces with which sections begin, but for the first section.
    breaks: Vec<usize>,
    /// How many pieces there were when each bracket was opened that is open.
    round: Vec<usize>,
    square: Vec<usize>,
}

impl<'t> Scan<'t> {
    /// Takes what begins with this character.
    fn take(&mut self, first: char) -> Result<()> {
        match first {
            '\\' => self.take_escape(),
            '(' => {
                self.skip(1);
                self.round.push(self.pieces.len());
            }
            '[' => {
                self.skip(1);
                self.square.push(self.pieces.len());
            }
            ')' => match self.round.pop() {
                Some(begin) => {
                    self.skip(1);
                    self.multiply(begin, ROUND);
                }
                None => self.take_text(1),
            },
            ']' => match self.square.pop() {
                Some(begin) => {
                    self.skip(1);
                    self.multiply(begin, SQUARE);
                }
                None => self.take_text(1),
            },
            ':' => self.take_colon()?,
            _ => {
                let end = self.rest.find(['\\', '(', ')', '[', ']', ':']).unwrap_or(self.rest.len());
                self.take_text(end);
            }
        }
        Ok(())
    }

    fn skip(&mut self, n_bytes: usize) -> &'t str {
        let (taken, rest) = self.rest.split_at(n_bytes);
        self.rest = rest;
        taken
    }

    fn push(&mut self, text: &str) {
        self.pieces.push(Piece { text: text.to_owned(), weight: 1.0 });
    }

    /// A backslash makes text of a bracket or a backslash behind it, and is nothing by itself.
    fn take_escape(&mut self) {
        self.skip(1);
        match self.rest.chars().next() {
            Some('(' | ')' | '[' | ']' | '\\') => {
                let text = self.skip(1);
                self.push(text);
            }
            _ => self.push(""),
        }
    }

    /// So much text, which BREAK may stand in.
    fn take_text(&mut self, n_bytes: usize) {
        let text = self.skip(n_bytes);
        for (idx, part) in split_at_breaks(text).into_iter().enumerate() {
            if idx > 0 {
                self.breaks.push(self.pieces.len());
            }
            self.push(part);
        }
    }

    /// A weight that closes a bracket, or a colon.
    fn take_colon(&mut self) -> Result<()> {
        let Some((number, n_bytes)) = weight(self.rest) else {
            self.take_text(1);
            return Ok(());
        };
        let Some(begin) = self.round.pop() else {
            self.take_text(n_bytes);
            return Ok(());
        };
        let weight: Option<f64> = number.parse().ok().filter(|weight: &f64| weight.is_finite());
        let weight = weight.ok_or_else(|| {
            let text: String = self.rest[..n_bytes].chars().take(40).collect();
            RuntimeError::Prompt(format!(
                "{text:?} is no weight: {number:?} is no number; write one such as (word:1.2)"
            ))
        })?;
        self.skip(n_bytes);
        self.multiply(begin, weight);
        Ok(())
    }

    fn multiply(&mut self, begin: usize, factor: f64) {
        self.pieces[begin..].iter_mut().for_each(|piece| piece.weight *= factor);
    }

    /// The sections, in which neighbours of the same weight are one piece.
    fn sections(self) -> Vec<Section> {
        let mut sections: Vec<Section> = vec![Vec::new()];
        for (idx, piece) in self.pieces.into_iter().enumerate() {
            if self.breaks.contains(&idx) {
                sections.push(Vec::new());
            }
            let Some(section) = sections.last_mut() else { continue };
            match section.last_mut().filter(|last| last.weight == piece.weight) {
                Some(last) => last.text.push_str(&piece.text),
                None => section.push(piece),
            }
        }
        sections
    }
}

/// The number of a weight such as `: 1.2 )`, and how long all of that is.
fn weight(text: &str) -> Option<(&str, usize)> {
    let rest = text.strip_prefix(':')?.trim_start();
    let digits = rest.strip_prefix(['+', '-']).unwrap_or(rest);
    let behind = digits.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let number = &rest[..rest.len() - behind.len()];
    let end = behind.trim_start().strip_prefix(')')?;
    (digits.len() > behind.len()).then_some((number, text.len() - end.len()))
}

/// The parts of a text before, between and behind the words BREAK, without the white space around these.
fn split_at_breaks(text: &str) -> Vec<&str> {
    let (mut parts, mut begin) = (Vec::new(), 0);
    for at in words::places(text, BREAK) {
        let (before, behind) = (&text[..at], &text[at + BREAK.len()..]);
        // White space around a break may belong to the one before too.
        parts.push(text.get(begin..before.trim_end().len()).unwrap_or_default());
        begin = text.len() - behind.trim_start().len();
    }
    parts.push(&text[begin..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(prompt: &str) -> String {
        let piece = |piece: &Piece| format!("{:?}*{}", piece.text, piece.weight);
        let section = |section: &Section| section.iter().map(piece).collect::<Vec<_>>().join(" ");
        read(prompt).unwrap().iter().map(section).collect::<Vec<_>>().join(" | ")
    }

    #[test]
    fn brackets_of_two_kinds_may_overlap() {
        assert_eq!(said("x (a [b) c]"), r#""x "*1 "a "*1.1 "b"*1 " c"*0.9090909090909091"#);
        assert_eq!(said("((a:1.2) b"), r#""a"*1.32 " b"*1.1"#);
    }

    #[test]
    fn a_break_in_brackets_is_a_break() {
        assert_eq!(said("(a BREAK b:1.5) c"), r#""a"*1.5 | "b"*1.5 " c"*1"#);
        assert_eq!(said("BREAK BREAK"), r#""" *1"#.replace(' ', "") + r#" | ""*1 | ""*1"#);
    }

    #[test]
    fn a_weight_that_is_no_number_is_refused() {
        for prompt in ["(a:1.2.3)", "(a:.)", "(a:..)"] {
            let error = read(prompt).unwrap_err().to_string();
            assert!(error.contains("no number"), "{error}");
        }
        let digits = "9".repeat(400);
        assert!(read(&format!("(a:{digits})")).unwrap_err().to_string().contains("no number"));
        assert_eq!(said("(a:1e3)"), r#""a:1e3"*1.1"#);
        assert_eq!(said(":1.2.3)"), r#"":1.2.3)"*1"#);
    }
}
