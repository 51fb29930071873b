//! Types.

use super::Parser;
use crate::{
    text::{ParseError, lexer::Token},
    types::{Dim, TensorType, Type},
};
use host_tensor::DType;

/// No tensor has more elements: a mebi-gigabyte of bytes.
const MAX_ELEMENTS: usize = 1 << 40;

impl Parser<'_> {
    pub(super) fn ty(&mut self) -> Result<Type, ParseError> {
        self.nest(Self::ty_here)
    }

    fn ty_here(&mut self) -> Result<Type, ParseError> {
        let start = self.at;
        let Token::Name(word) = self.token else { return Err(self.unexpected("a type")) };
        if let Some(scalar) = element_type(word, Vec::new()) {
            self.advance()?;
            return Ok(scalar);
        }
        if !matches!(word, "tensor" | "list" | "tuple" | "dict" | "state") {
            return Err(self.unexpected("a type"));
        }
        self.advance()?;
        self.expect('<')?;
        let ty = match word {
            "tensor" => self.tensor_ty(start)?,
            "list" => {
                let element = self.ty()?;
                self.expect(',')?;
                Type::List(Box::new(element), self.dim()?)
            }
            "tuple" => {
                let mut types = Vec::new();
                self.list_until('>', |p| {
                    types.push(p.ty()?);
                    Ok(())
                })?;
                return Ok(Type::Tuple(types));
            }
            "dict" => {
                let key = self.ty()?;
                self.expect(',')?;
                Type::Dict(Box::new(key), Box::new(self.ty()?))
            }
            _ => {
                let at = self.at;
                match self.ty()? {
                    Type::Tensor(t) => Type::State(t),
                    _ => {
                        let (at, found) = (self.lexer.position(at), "another type".to_owned());
                        return Err(ParseError::Expected { at, expected: "a tensor type of numbers".into(), found });
                    }
                }
            }
        };
        self.expect('>')?;
        Ok(ty)
    }

    /// `fp16, [1, ?, 3]` of a tensor type that begins at byte `start`.
    fn tensor_ty(&mut self, start: usize) -> Result<Type, ParseError> {
        let Token::Name(element) = self.token else { return Err(self.unexpected("an element type")) };
        if element_type(element, Vec::new()).is_none() {
            return Err(self.unexpected("an element type"));
        }
        self.advance()?;
        self.expect(',')?;
        self.expect('[')?;
        let mut shape = Vec::new();
        self.list_until(']', |p| {
            shape.push(p.dim()?);
            Ok(())
        })?;
        let count = shape.iter().filter_map(|d| d.size()).try_fold(1usize, usize::checked_mul);
        let is_small = count.is_some_and(|n| n <= MAX_ELEMENTS);
        let ty = element_type(element, shape).ok_or_else(|| self.unexpected("an element type"))?;
        if is_small { Ok(ty) } else { Err(ParseError::TooLarge { at: self.lexer.position(start), ty }) }
    }

    fn dim(&mut self) -> Result<Dim, ParseError> {
        if self.accept('?')? {
            return Ok(Dim::Unknown);
        }
        let size = match self.token {
            Token::Number(text) => text.parse().ok(),
            _ => None,
        };
        let Some(size) = size else { return Err(self.unexpected("a dimension")) };
        self.advance()?;
        Ok(Dim::Size(size))
    }
}

/// The tensor type of this shape whose elements are called `word`.
fn element_type(word: &str, shape: Vec<Dim>) -> Option<Type> {
    match word {
        "string" => Some(Type::Strings(shape)),
        _ => DType::from_name(word).map(|dtype| Type::Tensor(TensorType { dtype, shape })),
    }
}
