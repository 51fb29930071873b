//! The grammar: text, choices and names of files.

use crate::error::{Result, refuse};

/// Choices within one another, at most.
const MAX_DEPTH: usize = 32;

/// A part of a prompt.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Part {
    Text(String),
    Choice(Choice),
    /// A line of a file, by its name without `.txt`.
    Line(String),
}

/// `{least-most$$separator$$weight::option|…}`
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Choice {
    pub(super) least: usize,
    /// None for as many as there are.
    pub(super) most: Option<usize>,
    pub(super) separator: String,
    /// What is chosen of, with weights.
    pub(super) options: Vec<(f64, Vec<Part>)>,
}

/// Reads a prompt.
pub(super) fn parse(prompt: &str) -> Result<Vec<Part>> {
    let mut reader = Reader { all: prompt, at: 0 };
    let parts = reader.parts(0)?;
    match reader.rest().is_empty() {
        true => Ok(parts),
        false => refuse!("}} at character {} has no {{; a plain one is \\}}", reader.character()),
    }
}

struct Reader<'a> {
    all: &'a str,
    /// In bytes.
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.all[self.at..]
    }

    /// Which character comes, from 1.
    fn character(&self) -> usize {
        self.all[..self.at].chars().count() + 1
    }

    fn take(&mut self, text: &str) -> bool {
        let is_there = self.rest().starts_with(text);
        self.at += if is_there { text.len() } else { 0 };
        is_there
    }

    /// Parts up to the end; within choices up to `|` or `}`.
    fn parts(&mut self, depth: usize) -> Result<Vec<Part>> {
        let mut parts = Vec::new();
        let mut text = String::new();
        while let Some(next) = self.rest().chars().next() {
            let part = match next {
                '}' => break,
                '|' if depth > 0 => break,
                '{' => Part::Choice(self.choice(depth + 1)?),
                '$' if self.rest().starts_with("${") => refuse!(
                    "the ${{ at character {} begins a variable, and variables are not known here",
                    self.character()
                ),
                '_' if line_name(self.rest()).is_some() => self.line(),
                '\\' if self.rest()[1..].starts_with(['{', '}', '|']) => {
                    text.push_str(&self.rest()[1..2]);
                    self.at += 2;
                    continue;
                }
                _ => {
                    text.push(next);
                    self.at += next.len_utf8();
                    continue;
                }
            };
            push_text(&mut parts, &mut text);
            parts.push(part);
        }
        push_text(&mut parts, &mut text);
        Ok(parts)
    }

    fn line(&mut self) -> Part {
        let name = line_name(self.rest()).unwrap_or_default();
        self.at += name.len() + 4;
        Part::Line(name.to_owned())
    }

    fn choice(&mut self, depth: usize) -> Result<Choice> {
        let begin = self.character();
        if depth > MAX_DEPTH {
            refuse!("the choices at character {begin} are too deep in one another");
        }
        self.take("{");
        let (least, most, separator) = self.counts()?;
        let mut options = Vec::new();
        loop {
            let weight = self.weight()?;
            options.push((weight, trimmed(self.parts(depth)?)));
            if self.take("}") {
                break;
            }
            if !self.take("|") {
                refuse!("the {{ at character {begin} has no }}; a plain one is \\{{");
            }
        }
        if options.iter().all(|(weight, _)| *weight == 0.0) {
            refuse!("the choice at character {begin} has no weight above 0");
        }
        Ok(Choice { least, most, separator, options })
    }

    /// `2$$`, `1-3$$`, `1-3$$ and $$`: how many are chosen, and what stands between them.
    fn counts(&mut self) -> Result<(usize, Option<usize>, String)> {
        let Some((counts, head)) = self.before("$$").and_then(|head| Some((counts(head.trim())?, head))) else {
            return Ok((1, Some(1), String::new()));
        };
        if let (least, Some(most)) = counts
            && most < least
        {
            refuse!("{head}$$ at character {} asks for {least} to {most} of a choice", self.character());
        }
        self.at += head.len() + 2;
        let end = self.rest().find(['{', '|', '}', '$']).unwrap_or(self.rest().len());
        let (separator, after) = self.rest().split_at(end);
        let is_given = after.starts_with("$$");
        self.at += if is_given { end + 2 } else { 0 };
        Ok((counts.0, counts.1, if is_given { separator } else { ", " }.to_owned()))
    }

    /// `0.5::`; 1 where there is none.
    fn weight(&mut self) -> Result<f64> {
        let Some((weight, head)) = self.before("::").and_then(|head| Some((head.trim().parse::<f64>().ok()?, head)))
        else {
            return Ok(1.0);
        };
        if !(weight.is_finite() && weight >= 0.0) {
            refuse!("{} is no weight, at character {}; weights are 0 and above", head.trim(), self.character());
        }
        self.at += head.len() + 2;
        Ok(weight)
    }

    /// What looks like numbers and stands before a mark.
    fn before(&self, mark: &str) -> Option<&'a str> {
        let is_number = |c: char| c.is_ascii_digit() || " .-".contains(c);
        let end = self.rest().find(|c| !is_number(c))?;
        self.rest()[end..].starts_with(mark).then(|| &self.rest()[..end])
    }
}

/// `2`, `1-3`, `-3` and `1-`: the least and the most, which may be as many as there are.
fn counts(text: &str) -> Option<(usize, Option<usize>)> {
    match text.split_once('-') {
        None => text.parse().ok().map(|n| (n, Some(n))),
        Some(("", most)) => Some((1, Some(most.parse().ok()?))),
        Some((least, "")) => Some((least.parse().ok()?, None)),
        Some((least, most)) => Some((least.parse().ok()?, Some(most.parse().ok()?))),
    }
}

fn push_text(parts: &mut Vec<Part>, text: &mut String) {
    if !text.is_empty() {
        parts.push(Part::Text(std::mem::take(text)));
    }
}

/// An option without the space around it.
fn trimmed(mut parts: Vec<Part>) -> Vec<Part> {
    if let Some(Part::Text(text)) = parts.first_mut() {
        *text = text.trim_start().to_owned();
    }
    if let Some(Part::Text(text)) = parts.last_mut() {
        *text = text.trim_end().to_owned();
    }
    parts
}

/// The name in `__name__`, where that begins a text.
fn line_name(text: &str) -> Option<&str> {
    let (name, _) = text.strip_prefix("__")?.split_once("__")?;
    let is_fine = |c: char| c.is_alphanumeric() || "-_./".contains(c);
    (!name.is_empty() && name.chars().all(is_fine)).then_some(name)
}
