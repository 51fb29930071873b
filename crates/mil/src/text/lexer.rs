//! Text to tokens.

use super::{ParseError, Position, continues_name, starts_name};
use std::borrow::Cow;

/// One token; names and numbers borrow from the text.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token<'t> {
    /// A name or keyword.
    Name(&'t str),
    /// A name in backquotes, which may hold any characters.
    Quoted(Cow<'t, str>),
    /// Anything that begins like a number, to be read when its type is known; `-inf` and `-nan` too.
    Number(&'t str),
    /// A string in double quotes.
    String(Cow<'t, str>),
    /// A punctuation mark.
    Mark(char),
    /// `->`.
    Arrow,
    /// The end of the text.
    End,
}

impl Token<'_> {
    /// For error messages.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Name(s) | Self::Number(s) => (*s).to_owned(),
            Self::Quoted(s) => format!("`{s}`"),
            Self::String(s) => format!("{s:?}"),
            Self::Mark(c) => format!("`{c}`"),
            Self::Arrow => "`->`".to_owned(),
            Self::End => "the end of the text".to_owned(),
        }
    }
}

/// Reads one token at a time.
#[derive(Debug, Clone)]
pub(super) struct Lexer<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Lexer<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, at: 0 }
    }

    pub(super) fn position(&self, offset: usize) -> Position {
        Position::of(self.text, offset)
    }

    /// The next token and the byte at which it begins.
    pub(super) fn next(&mut self) -> Result<(usize, Token<'t>), ParseError> {
        let bytes = self.text.as_bytes();
        while bytes.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
        let start = self.at;
        let Some(&first) = bytes.get(start) else { return Ok((start, Token::End)) };
        let token = match first {
            b'-' if bytes.get(start + 1) == Some(&b'>') => {
                self.at += 2;
                Token::Arrow
            }
            b'-' | b'0'..=b'9' => Token::Number(self.number()),
            b'"' => Token::String(self.quoted('"')?),
            b'`' => Token::Quoted(self.quoted('`')?),
            b if starts_name(b) => Token::Name(self.take_while(|_, b| continues_name(b))),
            b if b"()[]{}<>,;=?".contains(&b) => {
                self.at += 1;
                Token::Mark(char::from(b))
            }
            _ => {
                let character = self.text[start..].chars().next().unwrap_or_default();
                return Err(ParseError::Character { at: self.position(start), character });
            }
        };
        Ok((start, token))
    }

    fn take_while(&mut self, continues: impl Fn(&[u8], u8) -> bool) -> &'t str {
        let (start, bytes) = (self.at, self.text.as_bytes());
        while self.at < bytes.len() && continues(&bytes[start..self.at], bytes[self.at]) {
            self.at += 1;
        }
        &self.text[start..self.at]
    }

    /// Digits, letters and points after an optional minus, and the sign of an exponent.
    fn number(&mut self) -> &'t str {
        self.take_while(|before, b| match b {
            b'-' if before.is_empty() => true,
            b'+' | b'-' => {
                let digits = before.strip_prefix(b"-").unwrap_or(before);
                let is_hex = digits.starts_with(b"0x") || digits.starts_with(b"0X");
                matches!((is_hex, before.last()), (true, Some(b'p' | b'P')) | (false, Some(b'e' | b'E')))
            }
            b => b.is_ascii_alphanumeric() || b == b'.',
        })
    }

    /// The content between two `quote`s, its escapes replaced.
    fn quoted(&mut self, quote: char) -> Result<Cow<'t, str>, ParseError> {
        let start = self.at;
        let body = start + 1;
        let mut owned: Option<String> = None;
        let mut chars = self.text[body..].char_indices();
        while let Some((i, c)) = chars.next() {
            if c == quote {
                self.at = body + i + 1;
                return Ok(owned.map_or(Cow::Borrowed(&self.text[body..body + i]), Cow::Owned));
            }
            if c == '\\' {
                let out = owned.get_or_insert_with(|| self.text[body..body + i].to_owned());
                let unescaped = unescape(&mut chars).ok_or_else(|| ParseError::Quoted {
                    at: Position::of(self.text, body + i),
                    reason: r#"the escapes are \" \` \\ \n \r \t and \xNN with N below 0x80"#,
                })?;
                out.push(unescaped);
            } else if let Some(out) = &mut owned {
                out.push(c);
            }
        }
        Err(ParseError::Quoted { at: self.position(start), reason: "a quote has no end" })
    }
}

/// The character that an escape stands for, after its backslash.
fn unescape(chars: &mut std::str::CharIndices<'_>) -> Option<char> {
    match chars.next()?.1 {
        c @ ('"' | '`' | '\\') => Some(c),
        'n' => Some('\n'),
        'r' => Some('\r'),
        't' => Some('\t'),
        'x' => {
            let high = chars.next()?.1.to_digit(8)?;
            let low = chars.next()?.1.to_digit(16)?;
            char::from_u32(high * 16 + low)
        }
        _ => None,
    }
}

/// Appends `s` between two `quote`s, with escapes.
pub(super) fn write_quoted(out: &mut String, s: &str, quote: char) {
    out.push(quote);
    for c in s.chars() {
        match c {
            '\\' => out.push_str(r"\\"),
            '\n' => out.push_str(r"\n"),
            '\r' => out.push_str(r"\r"),
            '\t' => out.push_str(r"\t"),
            c if c == quote => out.extend(['\\', c]),
            c if c.is_ascii_control() => out.push_str(&format!(r"\x{:02x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push(quote);
}

#[cfg(test)]
mod tests {
    use super::{Lexer, Token, write_quoted};
    use proptest::prelude::*;

    fn tokens(text: &str) -> Vec<Token<'_>> {
        let mut lexer = Lexer::new(text);
        let mut out = Vec::new();
        loop {
            match lexer.next() {
                Ok((_, Token::End)) => return out,
                Ok((_, token)) => out.push(token),
                Err(e) => panic!("{e}"),
            }
        }
    }

    #[test]
    fn signs_belong_to_numbers_only_where_a_number_can_have_them() {
        assert_eq!(
            tokens("-0x1.8p-3-0x1e-1e+5->-inf"),
            [
                Token::Number("-0x1.8p-3"),
                Token::Number("-0x1e"),
                Token::Number("-1e+5"),
                Token::Arrow,
                Token::Number("-inf"),
            ]
        );
    }

    proptest! {
        #[test]
        fn any_string_survives_quoting(s in any::<String>()) {
            for quote in ['"', '`'] {
                let mut text = String::new();
                write_quoted(&mut text, &s, quote);
                let expected = if quote == '"' { Token::String(s.clone().into()) } else { Token::Quoted(s.clone().into()) };
                prop_assert_eq!(tokens(&text), [expected]);
            }
        }
    }
}
