//! compel's syntax: `word+`, `word--`, `(phrase)1.3`, `"phrase"+`, `("one", "two").and()` and `.blend(0.7, 0.3)`.
//!
//! A plus multiplies by 1.1, a minus by 0.9. What the syntax has no way to read is text.
//! `.swap()` (a change of attention on the way) and `withLora()` are refused by name.
// Source of the rules: compel 2.5.1, prompt_parser.py; checked by running it.

use super::{Passage, Piece};
use crate::error::{Result, RuntimeError};

/// What a plus multiplies a weight by, and what a minus.
const PLUS: f64 = 1.1;
const MINUS: f64 = 0.9;

/// Brackets within brackets; deeper ones are text.
const MAX_DEPTH: usize = 64;

/// Characters that mean something unless a backslash stands before them.
const SYNTAX: &str = "(),.+-=\"";

/// The parts of a prompt, one after the other.
///
/// # Errors
/// [`RuntimeError::Prompt`] for what compel has and this has not, and for weights that are not as many as there are texts.
pub(super) fn read(prompt: &str) -> Result<Vec<Passage>> {
    let spaced = space_after_commas(prompt);
    let mut parser = Parser { rest: spaced.trim() };
    if let Some(parts) = parser.clone().operator()? {
        return Ok(parts);
    }
    let text = parser.prompt()?;
    Ok(vec![Passage::of(text)])
}

/// White space behind every comma.
fn space_after_commas(prompt: &str) -> String {
    let mut spaced = String::with_capacity(prompt.len());
    let mut chars = prompt.chars().peekable();
    while let Some(c) = chars.next() {
        spaced.push(c);
        if c == ',' && chars.peek().is_some_and(|next| !next.is_whitespace()) {
            spaced.push(' ');
        }
    }
    spaced
}

#[derive(Clone)]
struct Parser<'t> {
    rest: &'t str,
}

/// What was read: pieces with their weights, which come to stand beside one another with spaces between.
type Pieces = Vec<Piece>;

impl<'t> Parser<'t> {
    fn skip_spaces(&mut self) {
        self.rest = self.rest.trim_start();
    }

    /// Takes a text that stands here, if it does.
    fn take(&mut self, text: &str) -> bool {
        self.rest.strip_prefix(text).map(|rest| self.rest = rest).is_some()
    }

    fn take_while(&mut self, is: impl Fn(char) -> bool) -> &'t str {
        let end = self.rest.find(|c| !is(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    /// `("one", "two").and(1, 0.5)` or `.blend(…)`, which must be all there is.
    fn operator(&mut self) -> Result<Option<Vec<Passage>>> {
        if !self.take("(") {
            return Ok(None);
        }
        let mut texts = Vec::new();
        loop {
            self.skip_spaces();
            let Some(pieces) = self.target(0)? else { return Ok(None) };
            texts.push(joined(pieces));
            self.skip_spaces();
            if !self.take(",") {
                break;
            }
        }
        if !self.take(")") {
            return Ok(None);
        }
        self.skip_spaces();
        let blends = match [".and", ".add", ".blend"].into_iter().find(|name| self.take(name)) {
            None => return Ok(None),
            Some(name) => name == ".blend",
        };
        self.skip_spaces();
        let Some((inside, behind)) = self.rest.strip_prefix('(').and_then(|rest| rest.split_once(')')) else {
            return Ok(None);
        };
        if !behind.trim().is_empty() {
            let what = if blends { ".blend(…)" } else { ".and(…)" };
            return fail(format!("{:?} stands behind {what}, which must be all of a prompt", behind.trim()));
        }
        let (weights, normalized) = weights(inside, texts.len(), blends)?;
        let weighted = texts.into_iter().zip(weights);
        Ok(Some(match blends {
            true => vec![Passage::blend(weighted.map(|(text, weight)| (vec![text], weight)).collect(), normalized)],
            false => weighted.map(|(text, weight)| Passage { weight, ..Passage::of(text) }).collect(),
        }))
    }

    /// All of a prompt: words, and what has a weight.
    fn prompt(&mut self) -> Result<Pieces> {
        let mut pieces = Pieces::new();
        loop {
            self.skip_spaces();
            if self.rest.is_empty() {
                return Ok(joined(pieces));
            }
            self.refuse_lora()?;
            match self.weighted(0)? {
                Some(found) => pieces.extend(found),
                None => {
                    let word = self.take_while(|c| !c.is_whitespace());
                    pieces.push(Piece { text: unescaped(word), weight: 1.0 });
                }
            }
        }
    }

    /// A group in brackets or quotes, with a weight or without, or a word with one; nothing for a word without.
    fn weighted(&mut self, depth: usize) -> Result<Option<Pieces>> {
        let mut ahead = self.clone();
        let is_word = !self.rest.starts_with(['(', '"']);
        let Some(pieces) = ahead.target(depth)? else { return Ok(None) };
        if ahead.rest.starts_with(".swap") {
            return fail("compel's .swap() is not implemented: it changes attention on the way; leave it out".into());
        }
        let weight = match ahead.attend() {
            Some(weight) => Some(weight),
            None => ahead.weight(is_word),
        };
        if is_word && weight.is_none() {
            return Ok(None);
        }
        *self = ahead;
        let weight = weight.unwrap_or(1.0);
        Ok(Some(pieces.into_iter().map(|piece| Piece { weight: piece.weight * weight, ..piece }).collect()))
    }

    /// What a weight can be of: a group in brackets or quotes, or a word.
    fn target(&mut self, depth: usize) -> Result<Option<Pieces>> {
        let mut ahead = self.clone();
        let found = match self.rest.chars().next() {
            Some('(') if depth < MAX_DEPTH => ahead.round(depth)?,
            Some('"') if depth < MAX_DEPTH => ahead.quoted(depth)?,
            _ => ahead.word().map(|word| vec![Piece { text: unescaped(word), weight: 1.0 }]),
        };
        if found.is_some() {
            *self = ahead;
        }
        Ok(found)
    }

    /// `(…)`.
    fn round(&mut self, depth: usize) -> Result<Option<Pieces>> {
        self.take("(");
        let pieces = self.group(depth)?;
        self.skip_spaces();
        Ok(self.take(")").then_some(pieces))
    }

    /// `"…"`.
    fn quoted(&mut self, depth: usize) -> Result<Option<Pieces>> {
        self.take("\"");
        let mut end = 0;
        let inside = loop {
            let Some(at) = self.rest[end..].find('"') else { return Ok(None) };
            end += at;
            if !self.rest[..end].ends_with('\\') {
                break &self.rest[..end];
            }
            end += 1;
        };
        let mut inner = Parser { rest: inside };
        let pieces = inner.group(depth)?;
        inner.skip_spaces();
        if !inner.rest.is_empty() {
            return Ok(None);
        }
        self.rest = &self.rest[end + 1..];
        Ok(Some(pieces))
    }

    /// What brackets and quotes hold, as far as it can be read.
    fn group(&mut self, depth: usize) -> Result<Pieces> {
        let mut pieces = Pieces::new();
        loop {
            self.skip_spaces();
            self.refuse_lora()?;
            if let Some(found) = self.weighted(depth + 1)? {
                pieces.extend(found);
            } else if let Some(word) = self.word() {
                pieces.push(Piece { text: unescaped(word), weight: 1.0 });
            } else if self.take(",") {
                pieces.push(Piece { text: ",".into(), weight: 1.0 });
            } else if self.take(".") {
                pieces.push(Piece { text: ".".into(), weight: 1.0 });
            } else {
                return Ok(pieces);
            }
        }
    }

    /// A word without syntax: a plus or minus belongs to it where a letter follows.
    fn word(&mut self) -> Option<&'t str> {
        let mut end = 0;
        let mut chars = self.rest.char_indices();
        while let Some((at, c)) = chars.next() {
            let next = self.rest[at + c.len_utf8()..].chars().next();
            end = match c {
                '\\' if next.is_some_and(|next| SYNTAX.contains(next)) => {
                    chars.next();
                    at + 2
                }
                '+' | '-' if next.is_some_and(|next| !next.is_whitespace() && !SYNTAX.contains(next)) => at + 1,
                c if c.is_whitespace() || SYNTAX.contains(c) => break,
                c => at + c.len_utf8(),
            };
        }
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        (end > 0).then_some(word)
    }

    /// `.attend(1.2)`.
    fn attend(&mut self) -> Option<f64> {
        let mut ahead = self.clone();
        ahead.take(".attend").then_some(())?;
        ahead.skip_spaces();
        ahead.take("(").then_some(())?;
        ahead.skip_spaces();
        let weight = ahead.weight(false)?;
        ahead.skip_spaces();
        ahead.take(")").then_some(())?;
        *self = ahead;
        Some(weight)
    }

    /// Signs, or behind a group a number.
    fn weight(&mut self, signs_alone: bool) -> Option<f64> {
        for (sign, factor) in [('+', PLUS), ('-', MINUS)] {
            let signs = self.take_while(|c| c == sign);
            if !signs.is_empty() {
                return Some(factor.powi(i32::try_from(signs.len()).unwrap_or(i32::MAX)));
            }
        }
        if signs_alone {
            return None;
        }
        let mut ahead = self.clone();
        let number = ahead.take_while(|c| c.is_ascii_digit() || c == '.');
        let end = number.match_indices('.').nth(1).map_or(number.len(), |(at, _)| at);
        let weight = number[..end].parse().ok()?;
        self.rest = &self.rest[end..];
        Some(weight)
    }

    fn refuse_lora(&self) -> Result<()> {
        match ["withLora(", "useLora("].iter().find(|name| self.rest.starts_with(**name)) {
            Some(name) => fail(format!("{name}…) of compel is not read; give the LoRA with --lora FILE:WEIGHT")),
            None => Ok(()),
        }
    }
}

/// The weights of an operator, and whether they are to add up to one.
fn weights(inside: &str, n: usize, blends: bool) -> Result<(Vec<f64>, bool)> {
    let mut normalized = true;
    let mut weights = Vec::new();
    for option in inside.split(',').map(str::trim).filter(|option| !option.is_empty()) {
        match option.parse::<f64>() {
            Ok(weight) if weight.is_finite() => weights.push(weight),
            _ if blends && option == "no_normalize" => normalized = false,
            _ => return fail(format!("{option:?} is no weight of a prompt; write numbers, such as 0.7, 0.3")),
        }
    }
    if weights.is_empty() {
        weights = vec![1.0; n];
    }
    if weights.len() != n {
        return fail(format!("{} weights are given for {n} texts", weights.len()));
    }
    let sum: f64 = weights.iter().sum();
    if blends && normalized && sum == 0.0 {
        return fail("the weights of a blend add up to 0; give others, or no_normalize behind them".into());
    }
    Ok((weights, normalized))
}

/// Neighbours of the same weight as one piece, with a space between.
fn joined(pieces: Pieces) -> Pieces {
    let mut joined = Pieces::new();
    for piece in pieces {
        match joined.last_mut().filter(|last| last.weight == piece.weight) {
            Some(last) => {
                last.text.push(' ');
                last.text.push_str(&piece.text);
            }
            None => joined.push(piece),
        }
    }
    if joined.is_empty() {
        joined.push(Piece { text: String::new(), weight: 1.0 });
    }
    joined
}

/// Brackets and quotes without the backslashes before them.
fn unescaped(word: &str) -> String {
    word.replace("\\(", "(").replace("\\)", ")").replace("\\\"", "\"")
}

fn fail<T>(reason: String) -> Result<T> {
    Err(RuntimeError::Prompt(reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(prompt: &str, expected: &[(&str, f64)]) {
        let parts = read(prompt).unwrap();
        let [Passage { texts, .. }] = &parts[..] else { panic!("{} parts", parts.len()) };
        let pieces: Vec<(&str, f64)> = texts[0].0[0].iter().map(|piece| (piece.text.as_str(), piece.weight)).collect();
        let near = pieces.len() == expected.len()
            && pieces.iter().zip(expected).all(|(a, b)| a.0 == b.0 && (a.1 - b.1).abs() < 1e-12);
        assert!(near, "{prompt:?}: {pieces:?}, not {expected:?}");
    }

    // Checked against compel 2.5.1.
    #[test]
    fn prompts_are_read_as_compel_reads_them() {
        check("a photo, of a cat", &[("a photo, of a cat", 1.0)]);
        check("a,b", &[("a, b", 1.0)]);
        check("a red++ ball", &[("a", 1.0), ("red", 1.1 * 1.1), ("ball", 1.0)]);
        check("red+, blue-", &[("red", 1.1), (",", 1.0), ("blue", 0.9)]);
        check("a-b c+d", &[("a-b c+d", 1.0)]);
        check("(red ball)1.3 x", &[("red ball", 1.3), ("x", 1.0)]);
        check("(red ball)2", &[("red ball", 2.0)]);
        check("(red ball) 2", &[("red ball 2", 1.0)]);
        check("(red)-0.5", &[("red", 0.9), ("0.5", 1.0)]);
        check("\"red ball\"++ x", &[("red ball", 1.1 * 1.1), ("x", 1.0)]);
        check("a (very (old)1.2 tree)+", &[("a", 1.0), ("very", 1.1), ("old", 1.2 * 1.1), ("tree", 1.1)]);
        check("foo(bar) (", &[("foo(bar) (", 1.0)]);
        check("\\(red\\)+", &[("(red)", 1.1)]);
        check("(a cat, a dog)-", &[("a cat , a dog", 0.9)]);
        check("red.attend(1.5) x", &[("red", 1.5), ("x", 1.0)]);
        check("", &[("", 1.0)]);
        check("(a)(b)+", &[("a", 1.0), ("b", 1.1)]);
    }

    #[test]
    fn texts_follow_one_another_or_are_blended() {
        let parts = read("(\"a red+ fox\", \"snow\").and(1, 0.5)").unwrap();
        assert_eq!(parts.iter().map(|part| part.weight).collect::<Vec<_>>(), [1.0, 0.5]);
        assert_eq!(parts[1].texts[0].0[0][0].text, "snow");
        let parts = read("(\"a fox\", \"snow\").blend(3, 1)").unwrap();
        assert_eq!(parts[0].texts.iter().map(|(_, weight)| *weight).collect::<Vec<_>>(), [0.75, 0.25]);
        let parts = read("(\"a fox\", \"snow\").blend(3, 1, no_normalize)").unwrap();
        assert_eq!(parts[0].texts.iter().map(|(_, weight)| *weight).collect::<Vec<_>>(), [3.0, 1.0]);
    }

    #[test]
    fn what_compel_has_and_this_has_not_is_refused() {
        for (prompt, fact) in [
            ("a cat.swap(dog)", ".swap()"),
            ("(a cat).swap(dog) x", ".swap()"),
            ("a withLora(x, 0.5)", "--lora"),
            ("(\"a\", \"b\").blend(1)", "1 weights are given for 2"),
            ("(\"a\", \"b\").blend(1, x)", "no weight"),
            ("(\"a\", \"b\").and() c", "all of a prompt"),
            ("(\"a\", \"b\").blend(1, -1)", "add up to 0"),
        ] {
            let error = read(prompt).unwrap_err().to_string();
            assert!(error.contains(fact), "{prompt}: {error}");
        }
    }
}
