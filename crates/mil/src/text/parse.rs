//! Text to programs: recursive descent, one function per rule of the grammar.
//!
//! Nothing is allocated from a number in the text, only for what the text spells out; nesting is capped.

mod literal;
mod program;
mod ty;

use super::{
    BlobSource, ParseError,
    lexer::{Lexer, Token},
};
use crate::ir::Program;
use std::borrow::Cow;

/// Parses a program in either dialect.
///
/// Constants become values with literals, named as their statements name them.
/// Literals that stand in place of an argument or attribute become constants named after the operation and
/// the parameter, made unique.
/// An operation without a `name` attribute gets the name of its first result.
///
/// # Errors
/// When `text` is not a program, or a constant that it refers to cannot be had from `blobs`.
pub fn parse(text: &str, blobs: &dyn BlobSource) -> Result<Program, ParseError> {
    let mut parser = Parser::new(text, blobs)?;
    let program = parser.program()?;
    match parser.token {
        Token::End => Ok(program),
        _ => Err(parser.unexpected("the end of the text")),
    }
}

/// Types, literals and blocks may nest this deeply.
const MAX_DEPTH: usize = 64;

/// All types kept beside list and map literals may have this many parts: in a text they are written once,
/// in literals once for each.
const MAX_TYPE_PARTS: usize = 1 << 20;

/// The text from the current token on.
struct Parser<'t> {
    lexer: Lexer<'t>,
    blobs: &'t dyn BlobSource,
    token: Token<'t>,
    /// The byte at which `token` begins.
    at: usize,
    depth: usize,
    n_type_parts: usize,
}

impl<'t> Parser<'t> {
    fn new(text: &'t str, blobs: &'t dyn BlobSource) -> Result<Self, ParseError> {
        let mut lexer = Lexer::new(text);
        let (at, token) = lexer.next()?;
        Ok(Self { lexer, blobs, token, at, depth: 0, n_type_parts: 0 })
    }

    /// Takes the current token.
    fn advance(&mut self) -> Result<Token<'t>, ParseError> {
        let (at, token) = self.lexer.next()?;
        self.at = at;
        Ok(std::mem::replace(&mut self.token, token))
    }

    /// The token after the current one.
    fn following(&self) -> Result<Token<'t>, ParseError> {
        Ok(self.lexer.clone().next()?.1)
    }

    fn unexpected(&self, expected: impl Into<String>) -> ParseError {
        let (at, found) = (self.lexer.position(self.at), self.token.describe());
        ParseError::Expected { at, expected: expected.into(), found }
    }

    fn is_mark(&self, mark: char) -> bool {
        self.token == Token::Mark(mark)
    }

    /// Takes `mark` when it is the current token.
    fn accept(&mut self, mark: char) -> Result<bool, ParseError> {
        let is = self.is_mark(mark);
        if is {
            self.advance()?;
        }
        Ok(is)
    }

    fn expect(&mut self, mark: char) -> Result<(), ParseError> {
        if self.accept(mark)? { Ok(()) } else { Err(self.unexpected(format!("`{mark}`"))) }
    }

    fn expect_keyword(&mut self, keyword: &str) -> Result<(), ParseError> {
        if self.token != Token::Name(keyword) {
            return Err(self.unexpected(format!("`{keyword}`")));
        }
        self.advance().map(drop)
    }

    /// A name, with the byte at which it begins.
    fn name(&mut self, what: &str) -> Result<(usize, Cow<'t, str>), ParseError> {
        let at = self.at;
        if !matches!(self.token, Token::Name(_) | Token::Quoted(_)) {
            return Err(self.unexpected(what));
        }
        match self.advance()? {
            Token::Name(name) => Ok((at, Cow::Borrowed(name))),
            Token::Quoted(name) => Ok((at, name)),
            _ => Err(self.unexpected(what)),
        }
    }

    /// `item, item, …` up to `close`, which is taken; `open` has been taken.
    fn list_until(
        &mut self,
        close: char,
        mut item: impl FnMut(&mut Self) -> Result<(), ParseError>,
    ) -> Result<(), ParseError> {
        if self.accept(close)? {
            return Ok(());
        }
        loop {
            item(self)?;
            if self.accept(close)? {
                return Ok(());
            }
            if !self.accept(',')? {
                return Err(self.unexpected(format!("`,` or `{close}`")));
            }
        }
    }

    /// Runs `rule` one level deeper.
    fn nest<T>(&mut self, rule: impl FnOnce(&mut Self) -> Result<T, ParseError>) -> Result<T, ParseError> {
        if self.depth == MAX_DEPTH {
            return Err(ParseError::TooDeep { at: self.lexer.position(self.at), limit: MAX_DEPTH });
        }
        self.depth += 1;
        let result = rule(self);
        self.depth -= 1;
        result
    }

    fn duplicate(&self, at: usize, what: &'static str, name: &str) -> ParseError {
        ParseError::Duplicate { at: self.lexer.position(at), what, name: name.to_owned() }
    }
}
