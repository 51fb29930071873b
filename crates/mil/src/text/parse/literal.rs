//! Values: a type with a literal, or with a reference to a blob.

use super::{MAX_TYPE_PARTS, Parser};
use crate::{
    constant::{BlobLocation, Const, Literal},
    text::{ParseError, float, lexer::Token},
    types::{Dim, TensorType, Type},
};
use host_tensor::{Bytes, DType, HostTensor, bf16, f16, pack_bits};
use std::sync::Arc;

impl Parser<'_> {
    /// `type(literal)` or `type(BLOBFILE(…))`.
    pub(super) fn value(&mut self) -> Result<Literal, ParseError> {
        self.nest(|p| {
            let start = p.at;
            let ty = p.ty()?;
            p.expect('(')?;
            let literal = if p.token == Token::Name("BLOBFILE") { p.blob(start, &ty)?.into() } else { p.literal(&ty)? };
            p.expect(')')?;
            Ok(literal)
        })
    }

    /// `BLOBFILE(path = string("…"), offset = uint64(…))`.
    fn blob(&mut self, start: usize, ty: &Type) -> Result<Const, ParseError> {
        let tensor = ty.as_tensor().and_then(|t| Some((t.dtype, t.static_shape()?)));
        let Some((dtype, shape)) = tensor else {
            return Err(ParseError::NoLiteral { at: self.lexer.position(start), ty: ty.clone(), form: "a blob" });
        };
        self.advance()?;
        self.expect('(')?;
        self.expect_keyword("path")?;
        self.expect('=')?;
        let (path_at, path) = (self.at, self.value()?);
        let file = path.as_str().ok_or_else(|| self.expected_at(path_at, "a string", &path))?;
        self.expect(',')?;
        self.expect_keyword("offset")?;
        self.expect('=')?;
        let (offset_at, value) = (self.at, self.value()?);
        let offset = as_offset(&value).ok_or_else(|| self.expected_at(offset_at, "an offset", &value))?;
        self.expect(')')?;
        let failed =
            |source| ParseError::Blob { at: self.lexer.position(start), file: file.to_owned(), offset, source };
        let mut found = self.blobs.resolve(file, offset, dtype, &shape).map_err(failed)?;
        if found.dtype() != dtype || found.shape() != shape {
            return Err(failed(format!("the source gave {}", found.ty()).into()));
        }
        found.location = Some(BlobLocation { file: file.into(), offset });
        Ok(found)
    }

    pub(super) fn expected_at(&self, at: usize, expected: &str, found: &Literal) -> ParseError {
        let at = self.lexer.position(at);
        ParseError::Expected { at, expected: expected.to_owned(), found: format!("a value of {}", found.ty()) }
    }

    fn literal(&mut self, ty: &Type) -> Result<Literal, ParseError> {
        self.nest(|p| match ty {
            Type::Tensor(t) => p.tensor(ty, t),
            Type::Strings(dims) => {
                let mut values: Vec<Arc<str>> = Vec::new();
                let shape = p.elements(ty, dims, &mut |p| {
                    values.push(p.string()?.into());
                    Ok(())
                })?;
                Ok(Literal::Strings { shape, values })
            }
            Type::Tuple(types) => p.tuple(types),
            Type::List(element, length) => {
                p.keep_type(ty)?;
                let mut items = Vec::new();
                p.sequence(ty, *length, &mut |p| {
                    items.push(p.literal(element)?);
                    Ok(())
                })?;
                Ok(Literal::List((**element).clone(), items))
            }
            Type::Dict(key, value) => {
                p.keep_type(ty)?;
                let mut entries = Vec::new();
                p.expect('{')?;
                p.list_until('}', |p| {
                    p.expect('{')?;
                    let key = p.literal(key)?;
                    p.expect(',')?;
                    entries.push((key, p.literal(value)?));
                    p.expect('}')
                })?;
                Ok(Literal::Dict((**key).clone(), (**value).clone(), entries))
            }
            Type::State(_) => {
                Err(ParseError::NoLiteral { at: p.lexer.position(p.at), ty: ty.clone(), form: "a literal" })
            }
        })
    }

    fn tuple(&mut self, types: &[Type]) -> Result<Literal, ParseError> {
        let mut items = Vec::with_capacity(types.len());
        self.expect('(')?;
        for (i, ty) in types.iter().enumerate() {
            if i > 0 {
                self.expect(',')?;
            }
            items.push(self.literal(ty)?);
        }
        self.expect(')')?;
        Ok(Literal::Tuple(items))
    }

    /// Counts the parts of a type that a literal keeps a copy of.
    fn keep_type(&mut self, ty: &Type) -> Result<(), ParseError> {
        self.n_type_parts = self.n_type_parts.saturating_add(n_parts(ty));
        if self.n_type_parts <= MAX_TYPE_PARTS {
            return Ok(());
        }
        Err(ParseError::TooLarge { at: self.lexer.position(self.at), ty: ty.clone() })
    }

    fn tensor(&mut self, ty: &Type, t: &TensorType) -> Result<Literal, ParseError> {
        let dtype = t.dtype;
        let mut data = Vec::new();
        let shape = self.elements(ty, &t.shape, &mut |p| p.element(dtype, &mut data))?;
        if dtype.is_sub_byte() {
            data = pack_bits(&data, dtype.bits());
        }
        HostTensor::new(dtype, shape, Bytes::from(data))
            .map(Literal::from)
            .map_err(|_| ParseError::TooLarge { at: self.lexer.position(self.at), ty: ty.clone() })
    }

    fn string(&mut self) -> Result<String, ParseError> {
        match &self.token {
            Token::String(s) => {
                let s = s.clone().into_owned();
                self.advance()?;
                Ok(s)
            }
            _ => Err(self.unexpected("a string")),
        }
    }

    /// Elements in one pair of brackets for each dimension; returns the shape that they have.
    ///
    /// A tensor without elements may be `[]` whatever its shape, and then its unknown dimensions are zero.
    fn elements(
        &mut self,
        ty: &Type,
        dims: &[Dim],
        element: &mut dyn FnMut(&mut Self) -> Result<(), ParseError>,
    ) -> Result<Vec<usize>, ParseError> {
        let known: Vec<Option<usize>> = dims.iter().map(|d| d.size()).collect();
        let mut shape = known.clone();
        let may_be_empty = shape.iter().any(|n| matches!(n, None | Some(0)));
        if may_be_empty && self.is_mark('[') && self.following()? == Token::Mark(']') {
            self.advance()?;
            self.advance()?;
            return Ok(known.into_iter().map(|n| n.unwrap_or(0)).collect());
        }
        self.level(ty, &mut shape, 0, element)?;
        if shape.iter().any(|n| matches!(n, None | Some(0))) {
            shape = known;
        }
        Ok(shape.into_iter().map(|n| n.unwrap_or(0)).collect())
    }

    /// One dimension; sizes that are not known yet become so.
    fn level(
        &mut self,
        ty: &Type,
        shape: &mut [Option<usize>],
        axis: usize,
        element: &mut dyn FnMut(&mut Self) -> Result<(), ParseError>,
    ) -> Result<(), ParseError> {
        let Some(&size) = shape.get(axis) else { return element(self) };
        let length = size.map_or(Dim::Unknown, Dim::Size);
        let n = self.nest(|p| p.sequence(ty, length, &mut |p| p.level(ty, shape, axis + 1, element)))?;
        shape[axis] = Some(n);
        Ok(())
    }

    /// `[item, item, …]`, as many as `length` says; returns how many.
    fn sequence(
        &mut self,
        ty: &Type,
        length: Dim,
        item: &mut dyn FnMut(&mut Self) -> Result<(), ParseError>,
    ) -> Result<usize, ParseError> {
        let mut found = 0;
        self.expect('[')?;
        let wrong_length = |p: &Self, found, expected| ParseError::Length {
            at: p.lexer.position(p.at),
            found,
            expected,
            ty: ty.clone(),
        };
        self.list_until(']', |p| {
            found += 1;
            match length.size() {
                Some(expected) if found > expected => Err(wrong_length(p, found, expected)),
                _ => item(p),
            }
        })?;
        match length.size() {
            Some(expected) if found != expected => Err(wrong_length(self, found, expected)),
            _ => Ok(found),
        }
    }

    /// One number or boolean, appended as little-endian bytes; types narrower than a byte take one.
    fn element(&mut self, dtype: DType, data: &mut Vec<u8>) -> Result<(), ParseError> {
        let text = match self.token {
            Token::Number(text) => text,
            Token::Name(text @ ("true" | "false")) if dtype == DType::Bool => text,
            Token::Name(text @ ("inf" | "nan")) if dtype.is_float() => text,
            _ => return Err(self.unexpected(format!("an element of type {dtype}"))),
        };
        let encoded = if dtype.is_float() { encode_float(dtype, text) } else { encode_int(dtype, text) };
        let Some((bytes, width)) = encoded else {
            let (at, text) = (self.lexer.position(self.at), text.to_owned());
            return Err(ParseError::Number { at, text, dtype: dtype.name() });
        };
        data.extend_from_slice(&bytes[..width]);
        self.advance().map(drop)
    }
}

/// Little-endian bytes of a number, and how many of them count.
type Encoded = ([u8; 8], usize);

fn encode_int(dtype: DType, text: &str) -> Option<Encoded> {
    let value: i128 = match (dtype, text) {
        (DType::Bool, "true") => 1,
        (DType::Bool, "false") => 0,
        (DType::Bool, _) => return None,
        _ => text.parse().ok()?,
    };
    let bits = dtype.bits();
    let range = if dtype.is_signed_int() { -(1 << (bits - 1))..1 << (bits - 1) } else { 0..1i128 << bits };
    range.contains(&value).then(|| ((value as u64).to_le_bytes(), bits.div_ceil(8)))
}

/// `None` for what is no number, and for numbers that would become infinite.
fn encode_float(dtype: DType, text: &str) -> Option<Encoded> {
    let exact = float::parse(text)?;
    let (bits, rounded) = match dtype {
        DType::F16 => (f16::from_f64(exact).to_bits().into(), f16::from_f64(exact).to_f64()),
        DType::BF16 => (bf16::from_f64(exact).to_bits().into(), bf16::from_f64(exact).to_f64()),
        DType::F32 => ((exact as f32).to_bits().into(), f64::from(exact as f32)),
        _ => (exact.to_bits(), exact),
    };
    let says_infinite = text.ends_with("inf");
    (rounded.is_infinite() == says_infinite).then(|| (bits.to_le_bytes(), dtype.bits() / 8))
}

fn as_offset(value: &Literal) -> Option<u64> {
    let constant = value.as_const().filter(|c| c.shape().is_empty())?;
    let number = *value.as_ints()?.first()?;
    if constant.dtype() == DType::U64 { Some(number as u64) } else { u64::try_from(number).ok() }
}

/// Types that `ty` is made of, itself and dimensions included.
fn n_parts(ty: &Type) -> usize {
    match ty {
        Type::Tensor(t) | Type::State(t) => 1 + t.shape.len(),
        Type::Strings(shape) => 1 + shape.len(),
        Type::List(element, _) => 1 + n_parts(element),
        Type::Tuple(types) => 1 + types.iter().map(n_parts).sum::<usize>(),
        Type::Dict(key, value) => 1 + n_parts(key) + n_parts(value),
    }
}
