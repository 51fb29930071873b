//! Pickles of PyTorch, read as data: a closed set of opcodes, and nothing is ever called.
//!
//! What a pickle calls is kept as the name of what it would call with its arguments; only whoever reads the value knows the
//! few that mean something, and refuses the others by name. An opcode that is not in the list is refused.
//! Known readers for Rust do not keep persistent ids, by which PyTorch refers to its tensors' bytes.
//!
//! What it deliberately does not do: read archives, or know tensors.

use std::collections::HashMap;
use std::sync::Arc;

/// Values within values, as deep as any file of PyTorch goes, several times over.
const MAX_DEPTH: usize = 64;

/// A value of a pickle.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Arc<str>),
    Tuple(Arc<Items>),
    List(Arc<Items>),
    /// Keys and values in turns.
    Dict(Arc<Items>),
    /// Something of a module, by `module.name`.
    Global(Arc<str>),
    /// What a call of the first with the second would give.
    Call(Arc<Items>),
    /// An object of the first's class with the second as its state.
    Object(Arc<Items>),
    /// A reference to something outside of the pickle.
    Persistent(Arc<Items>),
}

/// Values within a value, and how deep they go.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Items {
    values: Vec<Value>,
    depth: usize,
}

impl Items {
    fn new(values: Vec<Value>) -> Result<Self, String> {
        let mut items = Self::default();
        items.extend(values)?;
        Ok(items)
    }

    fn extend(&mut self, values: Vec<Value>) -> Result<(), String> {
        let depth = values.iter().map(|value| value.items().map_or(0, |items| items.depth + 1)).max();
        self.depth = self.depth.max(depth.unwrap_or(0));
        if self.depth > MAX_DEPTH {
            return Err(format!("values are nested more than {MAX_DEPTH} deep"));
        }
        self.values.extend(values);
        Ok(())
    }
}

impl std::ops::Deref for Items {
    type Target = [Value];

    fn deref(&self) -> &[Value] {
        &self.values
    }
}

impl Value {
    fn items(&self) -> Option<&Items> {
        match self {
            Self::Tuple(items)
            | Self::List(items)
            | Self::Dict(items)
            | Self::Call(items)
            | Self::Object(items)
            | Self::Persistent(items) => Some(items),
            _ => None,
        }
    }

    /// Whether a later opcode may change it in place, so that a reference to it is not a copy.
    fn is_changeable(&self) -> bool {
        matches!(self, Self::List(_) | Self::Dict(_) | Self::Object(_))
    }

    /// The entry of a dictionary.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        self.entries().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    /// The entries of a dictionary whose keys are text.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&str, &Self)> {
        let items: &[Self] = match self {
            Self::Dict(items) => items,
            _ => &[],
        };
        items.chunks_exact(2).filter_map(|pair| match &pair[0] {
            Self::Text(key) => Some((&**key, &pair[1])),
            _ => None,
        })
    }
}

/// Reads a pickle.
///
/// # Errors
/// In words, for an opcode that is not read, a pickle that breaks off, and values that do not fit their opcode.
pub(crate) fn read(bytes: &[u8]) -> Result<Value, String> {
    let mut machine =
        Machine { rest: bytes, n_bytes: bytes.len(), stack: Vec::new(), marks: Vec::new(), memo: HashMap::new() };
    loop {
        if let Some(value) = machine.step()? {
            return Ok(value);
        }
    }
}

struct Machine<'a> {
    rest: &'a [u8],
    n_bytes: usize,
    stack: Vec<Value>,
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
}

impl<'a> Machine<'a> {
    /// Obeys one opcode; the last one gives the value.
    ///
    /// Opcodes are those of Python 3.13's pickletools that PyTorch 2.15 writes.
    fn step(&mut self) -> Result<Option<Value>, String> {
        let at = self.n_bytes - self.rest.len();
        match self.byte()? {
            0x80 => match self.byte()? {
                2..=5 => {}
                version => return Err(format!("protocol {version} is not read")),
            },
            b'.' => return self.pop().map(Some),
            b'(' => self.marks.push(self.stack.len()),
            b'q' => {
                let index = self.byte()?;
                self.remember(index.into())?;
            }
            b'r' => {
                let index = u32::from_le_bytes(self.array()?);
                self.remember(index)?;
            }
            b'h' => {
                let index = self.byte()?;
                self.recall(index.into())?;
            }
            b'j' => {
                let index = u32::from_le_bytes(self.array()?);
                self.recall(index)?;
            }
            code if self.scalar(code)? || self.container(code)? => {}
            code => return Err(format!("opcode 0x{code:02x} at byte {at} is not among those that are read")),
        }
        Ok(None)
    }

    /// Obeys an opcode of a value without others in it; false for another.
    fn scalar(&mut self, code: u8) -> Result<bool, String> {
        match code {
            b'N' => self.stack.push(Value::None),
            0x88 => self.stack.push(Value::Bool(true)),
            0x89 => self.stack.push(Value::Bool(false)),
            b'K' => {
                let n = self.byte()?;
                self.stack.push(Value::Int(n.into()));
            }
            b'M' => {
                let n = u16::from_le_bytes(self.array()?);
                self.stack.push(Value::Int(n.into()));
            }
            b'J' => {
                let n = i32::from_le_bytes(self.array()?);
                self.stack.push(Value::Int(n.into()));
            }
            0x8a => self.long()?,
            b'G' => {
                let x = f64::from_be_bytes(self.array()?);
                self.stack.push(Value::Float(x));
            }
            b'X' => {
                let n = u32::from_le_bytes(self.array()?);
                let text = std::str::from_utf8(self.take(n as usize)?).map_err(|_| "a text is not UTF-8")?;
                self.stack.push(Value::Text(text.into()));
            }
            b'c' => {
                let name = format!("{}.{}", self.line()?, self.line()?);
                self.stack.push(Value::Global(name.into()));
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Obeys an opcode of a value that holds others; false for another.
    fn container(&mut self, code: u8) -> Result<bool, String> {
        match code {
            b')' => self.push(Value::Tuple, Vec::new())?,
            b']' => self.push(Value::List, Vec::new())?,
            b'}' => self.push(Value::Dict, Vec::new())?,
            code @ 0x85..=0x87 => {
                let values = self.pop_n(usize::from(code - 0x84))?;
                self.push(Value::Tuple, values)?;
            }
            b't' => {
                let values = self.pop_mark()?;
                self.push(Value::Tuple, values)?;
            }
            b'a' => {
                let values = self.pop_n(1)?;
                self.extend(values)?;
            }
            b'e' | b'u' => {
                let values = self.pop_mark()?;
                self.extend(values)?;
            }
            b's' => {
                let values = self.pop_n(2)?;
                self.extend(values)?;
            }
            b'R' => {
                let values = self.pop_n(2)?;
                self.push(Value::Call, values)?;
            }
            0x81 => {
                let class = self.pop_n(2)?.swap_remove(0);
                self.push(Value::Object, vec![class])?;
            }
            b'b' => self.build()?,
            b'Q' => {
                let values = self.pop_n(1)?;
                self.push(Value::Persistent, values)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn byte(&mut self) -> Result<u8, String> {
        Ok(self.take(1)?[0])
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.rest.split_at_checked(n).ok_or("it breaks off")?;
        self.rest = rest;
        Ok(taken)
    }

    fn line(&mut self) -> Result<String, String> {
        let end = self.rest.iter().position(|&b| b == b'\n').ok_or("it breaks off")?;
        let line = std::str::from_utf8(self.take(end)?).map_err(|_| "a name is not UTF-8")?.to_owned();
        self.byte()?;
        Ok(line)
    }

    /// A whole number of up to eight bytes, little-endian.
    fn long(&mut self) -> Result<(), String> {
        let n = usize::from(self.byte()?);
        let bytes = self.take(n)?;
        if n > 8 {
            return Err(format!("a whole number of {n} bytes is not read"));
        }
        let is_negative = bytes.last().is_some_and(|b| b & 0x80 != 0);
        let mut whole = [if is_negative { 0xff } else { 0 }; 8];
        whole[..n].copy_from_slice(bytes);
        self.stack.push(Value::Int(i64::from_le_bytes(whole)));
        Ok(())
    }

    fn push(&mut self, of: fn(Arc<Items>) -> Value, values: Vec<Value>) -> Result<(), String> {
        self.stack.push(of(Arc::new(Items::new(values)?)));
        Ok(())
    }

    fn pop(&mut self) -> Result<Value, String> {
        Ok(self.pop_n(1)?.swap_remove(0))
    }

    /// The last values, none of which lies below a mark.
    fn pop_n(&mut self, n: usize) -> Result<Vec<Value>, String> {
        let bottom = self.marks.last().copied().unwrap_or(0);
        let start = self.stack.len().checked_sub(n).filter(|&start| start >= bottom).ok_or("a value is missing")?;
        Ok(self.stack.split_off(start))
    }

    fn pop_mark(&mut self) -> Result<Vec<Value>, String> {
        let mark = self.marks.pop().ok_or("a mark is missing")?;
        Ok(self.stack.split_off(mark))
    }

    /// Puts values into the list or dictionary before them.
    fn extend(&mut self, values: Vec<Value>) -> Result<(), String> {
        let n = values.len();
        match self.stack.last_mut() {
            Some(Value::List(items)) => Arc::make_mut(items).extend(values),
            Some(Value::Dict(items)) if n.is_multiple_of(2) => Arc::make_mut(items).extend(values),
            _ => Err("values are put into what is no list or dictionary".to_owned()),
        }
    }

    /// Gives an object its state.
    fn build(&mut self) -> Result<(), String> {
        let state = self.pop_n(1)?;
        match self.stack.last_mut() {
            Some(Value::Object(items)) if items.len() == 1 => Arc::make_mut(items).extend(state),
            _ => Err("a state is given to what is no new object".to_owned()),
        }
    }

    fn remember(&mut self, index: u32) -> Result<(), String> {
        let value = self.stack.last().cloned().ok_or("a value is missing")?;
        self.memo.insert(index, value);
        Ok(())
    }

    fn recall(&mut self, index: u32) -> Result<(), String> {
        match self.memo.get(&index) {
            None => Err(format!("value {index} is used before it is there")),
            Some(value) if value.is_changeable() => {
                Err("a list, dictionary or object is used twice, which is not read".to_owned())
            }
            Some(value) => {
                self.stack.push(value.clone());
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refuses(bytes: &[u8], words: &str) {
        let error = read(bytes).expect_err("refused");
        assert!(error.contains(words), "{error}");
    }

    #[test]
    fn values_of_every_kind_are_read() {
        // pickle.dumps({"a": (1, -2, 300), "b": [True, None, 0.5]}, protocol=2), by Python 3.13.
        let bytes = b"\x80\x02}q\x00(X\x01\x00\x00\x00aq\x01K\x01J\xfe\xff\xff\xffM,\x01\x87q\x02\
            X\x01\x00\x00\x00bq\x03]q\x04(\x88NG?\xe0\x00\x00\x00\x00\x00\x00eu.";
        let value = read(bytes).unwrap();
        let Some(Value::Tuple(a)) = value.get("a") else { panic!("{value:?}") };
        assert_eq!(a[..], [Value::Int(1), Value::Int(-2), Value::Int(300)]);
        let Some(Value::List(b)) = value.get("b") else { panic!("{value:?}") };
        assert_eq!(b[..], [Value::Bool(true), Value::None, Value::Float(0.5)]);
    }

    #[test]
    fn a_call_is_kept_and_never_made() {
        let Value::Call(call) = read(b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00rm\x85R.").unwrap() else { panic!() };
        assert_eq!(call[0], Value::Global("os.system".into()));
        assert_eq!(read(b"\x8a\x02\x00\xff.").unwrap(), Value::Int(-256));
    }

    #[test]
    fn what_is_not_read_is_named() {
        refuses(b"\x80\x02i", "opcode 0x69 at byte 2");
        refuses(b"\x80\x01.", "protocol 1");
        refuses(b"K", "breaks off");
        refuses(b"X\xff\xff\xff\xffa", "breaks off");
        refuses(b".", "a value is missing");
        refuses(b"N(\x85.", "a value is missing");
        refuses(b"h\x00.", "before it is there");
        refuses(b"}q\x00h\x00.", "used twice");
        refuses(b"NNb", "no new object");
        refuses(&[&[b')'][..], &[0x85; 100], b"."].concat(), "nested");
        refuses(&[&[0x8a, 9][..], &[1; 9]].concat(), "9 bytes");
    }

    #[test]
    fn a_value_within_itself_many_times_over_costs_nothing() {
        let mut bytes = b")q\x00".to_vec();
        for _ in 0..60 {
            bytes.extend(b"h\x00\x86q\x00");
        }
        bytes.push(b'.');
        assert!(matches!(read(&bytes), Ok(Value::Tuple(_))));
    }
}
