//! ComfyUI's weights: `(word)` and `(word:1.2)`; square brackets are text.
//!
//! A number is the weight itself, whatever stands around its brackets; without one a bracket multiplies by 1.1. A bracket
//! that is not closed is text, and `embedding:` before the name of a learned word is no part of it.
// Source of the rules: comfy/sd1_clip.py of ComfyUI, token_weights and parse_parentheses.

use super::{Piece, Section};

/// What brackets multiply a weight by.
const FACTOR: f64 = 1.1;
/// Brackets within brackets; deeper ones are text.
const MAX_DEPTH: usize = 64;
/// What stands before the name of a learned word.
const EMBEDDING: &str = "embedding:";

/// The pieces of a prompt, in order.
pub(super) fn read(prompt: &str) -> Section {
    let mut pieces = Section::new();
    gather(prompt, 1.0, 0, &mut pieces);
    if pieces.is_empty() {
        pieces.push(Piece { text: String::new(), weight: 1.0 });
    }
    pieces
}

fn gather(text: &str, weight: f64, depth: usize, pieces: &mut Section) {
    for part in parts(text) {
        match part.strip_prefix('(').and_then(|part| part.strip_suffix(')')).filter(|_| depth < MAX_DEPTH) {
            Some(inside) => {
                let (inside, number) = number(inside);
                gather(inside, number.unwrap_or(weight * FACTOR), depth + 1, pieces);
            }
            None => {
                let text = part.replace("\\(", "(").replace("\\)", ")").replace(EMBEDDING, "");
                pieces.push(Piece { text, weight });
            }
        }
    }
}

/// What stands in brackets without its weight, and that.
fn number(inside: &str) -> (&str, Option<f64>) {
    let Some((text, number)) = inside.rsplit_once(':').filter(|(text, _)| !text.is_empty()) else {
        return (inside, None);
    };
    match number.trim().parse::<f64>() {
        Ok(number) if number.is_finite() => (text, Some(number)),
        _ => (inside, None),
    }
}

/// Texts outside of brackets, and what stands in the outermost ones with them; brackets behind a backslash are text.
fn parts(text: &str) -> Vec<&str> {
    let (mut parts, mut begin, mut depth) = (Vec::new(), 0, 0_i64);
    let mut is_escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            '(' if !is_escaped => {
                if depth == 0 {
                    parts.push(&text[begin..at]);
                    begin = at;
                }
                depth += 1;
            }
            ')' if !is_escaped => {
                depth -= 1;
                if depth == 0 {
                    parts.push(&text[begin..=at]);
                    begin = at + 1;
                }
            }
            _ => {}
        }
        is_escaped = c == '\\';
    }
    parts.push(&text[begin..]);
    parts.retain(|part| !part.is_empty());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(prompt: &str) -> String {
        let piece = |piece: &Piece| format!("{:?}*{:.3}", piece.text, piece.weight);
        read(prompt).iter().map(piece).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_number_is_the_weight_itself() {
        assert_eq!(said("a (red:1.3) fox"), r#""a "*1.000 "red"*1.300 " fox"*1.000"#);
        assert_eq!(said("((a:0.5) b)"), r#""a"*0.500 " b"*1.100"#);
        assert_eq!(said("((a))"), r#""a"*1.210"#);
        assert_eq!(said("(a:b: 2 )"), r#""a:b"*2.000"#);
        assert_eq!(said("(a:b)"), r#""a:b"*1.100"#);
    }

    #[test]
    fn other_brackets_are_text() {
        assert_eq!(said("[a] \\(b\\) (c"), r#""[a] (b) "*1.000 "(c"*1.000"#);
        assert_eq!(said("a) b"), r#""a) b"*1.000"#);
        assert_eq!(said("embedding:charturner, x"), r#""charturner, x"*1.000"#);
        assert_eq!(said(""), r#"""*1.000"#);
        let deep = format!("{}a{}", "(".repeat(10_000), ")".repeat(10_000));
        assert_eq!(read(&deep).len(), 1);
    }
}
