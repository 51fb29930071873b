//! What can be wrong with a text.

use super::BlobError;
use crate::types::Type;
use std::fmt;

/// A place in a text, both counted from one; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

impl Position {
    /// The position of byte `offset`.
    pub(super) fn of(text: &str, offset: usize) -> Self {
        let before = &text.as_bytes()[..offset.min(text.len())];
        let line_start = before.iter().rposition(|&b| b == b'\n').map_or(0, |i| i + 1);
        let is_char_start = |b: &&u8| **b & 0xC0 != 0x80;
        Self {
            line: before.iter().filter(|&&b| b == b'\n').count() + 1,
            column: before[line_start..].iter().filter(is_char_start).count() + 1,
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// Why a text is not a program; each says where.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// Something else should stand here.
    #[error("{at}: expected {expected}, found {found}")]
    Expected {
        /// Where.
        at: Position,
        /// What may stand here.
        expected: String,
        /// What stands here.
        found: String,
    },
    /// No token begins with this character.
    #[error("{at}: unexpected character {character:?}")]
    Character {
        /// Where.
        at: Position,
        /// The character.
        character: char,
    },
    /// A string or quoted name has no end, or an escape that does not exist.
    #[error("{at}: {reason}")]
    Quoted {
        /// Where it, or the escape, begins.
        at: Position,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Not `program(1)` or `program(1.x)`.
    #[error("{at}: program version {version} is not 1 or 1.x")]
    Version {
        /// Where.
        at: Position,
        /// The version.
        version: String,
    },
    /// An opset tag that is not known.
    #[error("{at}: unknown opset {tag}")]
    Opset {
        /// Where.
        at: Position,
        /// The tag.
        tag: String,
    },
    /// A name that is already taken.
    #[error("{at}: {what} {name} is defined twice")]
    Duplicate {
        /// Where the second one is.
        at: Position,
        /// What it names: a function, value, argument, attribute.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A value that is not defined before this place, or only in a block that has ended.
    #[error("{at}: {name} is not defined here")]
    Undefined {
        /// Where.
        at: Position,
        /// The name.
        name: String,
    },
    /// An attribute that only other operations have.
    #[error("{at}: {op} has no attribute {attribute}")]
    Attribute {
        /// Where.
        at: Position,
        /// Operation type.
        op: String,
        /// The attribute.
        attribute: String,
    },
    /// A `const` that is no constant.
    #[error("{at}: const {reason}")]
    Const {
        /// Where.
        at: Position,
        /// What it has or lacks.
        reason: &'static str,
    },
    /// A number that its type cannot hold.
    #[error("{at}: {text} is not of type {dtype}")]
    Number {
        /// Where.
        at: Position,
        /// The number.
        text: String,
        /// The type.
        dtype: &'static str,
    },
    /// A literal with more or fewer elements than its type says.
    #[error("{at}: {found} elements where {ty} needs {expected}")]
    Length {
        /// Where the list of elements ends, or becomes too long.
        at: Position,
        /// Elements found so far.
        found: usize,
        /// Elements needed.
        expected: usize,
        /// The type.
        ty: Type,
    },
    /// A tensor type with more elements than any machine holds.
    #[error("{at}: {ty} is too large")]
    TooLarge {
        /// Where.
        at: Position,
        /// The type.
        ty: Type,
    },
    /// Types, literals or blocks nested too deeply.
    #[error("{at}: nested more than {limit} deep")]
    TooDeep {
        /// Where.
        at: Position,
        /// The limit.
        limit: usize,
    },
    /// A constant of another type than declared.
    #[error("{at}: declared {declared}, but the value is {actual}")]
    TypeMismatch {
        /// Where.
        at: Position,
        /// Declared type.
        declared: Type,
        /// Type of the value.
        actual: Type,
    },
    /// A type of which there are no literals or no blobs.
    #[error("{at}: {ty} cannot be written as {form}")]
    NoLiteral {
        /// Where.
        at: Position,
        /// The type.
        ty: Type,
        /// A literal, or a blob.
        form: &'static str,
    },
    /// A constant outside the text that cannot be had.
    #[error("{at}: blob {file} at {offset}: {source}")]
    Blob {
        /// Where.
        at: Position,
        /// File, as the text spells it.
        file: String,
        /// Offset in bytes.
        offset: u64,
        /// Why.
        source: BlobError,
    },
}

impl ParseError {
    /// Where in the text it is.
    #[must_use]
    pub const fn position(&self) -> Position {
        match self {
            Self::Expected { at, .. }
            | Self::Character { at, .. }
            | Self::Quoted { at, .. }
            | Self::Version { at, .. }
            | Self::Opset { at, .. }
            | Self::Duplicate { at, .. }
            | Self::Undefined { at, .. }
            | Self::Attribute { at, .. }
            | Self::Const { at, .. }
            | Self::Number { at, .. }
            | Self::Length { at, .. }
            | Self::TooLarge { at, .. }
            | Self::TooDeep { at, .. }
            | Self::TypeMismatch { at, .. }
            | Self::NoLiteral { at, .. }
            | Self::Blob { at, .. } => *at,
        }
    }
}
