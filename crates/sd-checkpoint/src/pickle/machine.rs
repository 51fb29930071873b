//! The machine that a pickle is a program of.

use std::collections::HashMap;

use super::{Made, Node, Pickle, Value};

/// Obeys a pickle's opcodes until the last; the pickle, and how many bytes it has.
pub(super) fn run(bytes: &[u8], max_opcodes: usize) -> Result<(Pickle, usize), String> {
    let mut machine = Machine {
        rest: bytes,
        n_bytes: bytes.len(),
        nodes: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
    };
    for _ in 0..max_opcodes {
        if let Some(root) = machine.step()? {
            let n = machine.at();
            return Ok((Pickle { nodes: machine.nodes, root }, n));
        }
    }
    Err(format!("it has more than {max_opcodes} opcodes"))
}

struct Machine<'a> {
    rest: &'a [u8],
    n_bytes: usize,
    nodes: Vec<Node>,
    stack: Vec<Value>,
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
}

impl<'a> Machine<'a> {
    /// Obeys one opcode; the last one gives the value.
    ///
    /// Opcodes are those of Python 3.13's pickletools, but for extensions and buffers outside of the file.
    fn step(&mut self) -> Result<Option<Value>, String> {
        let at = self.at();
        match self.byte()? {
            0x80 => match self.byte()? {
                0..=5 => {}
                version => return Err(format!("protocol {version} is not read")),
            },
            // FRAME: how many bytes belong together.
            0x95 => drop(self.array::<8>()?),
            b'.' => return self.pop().map(Some),
            code if self.scalar(code)? || self.container(code)? || self.memory(code)? => {}
            code => return Err(format!("opcode 0x{code:02x} at byte {at} is not among those that are read")),
        }
        Ok(None)
    }

    /// Obeys an opcode of stack and memory; false for another.
    fn memory(&mut self, code: u8) -> Result<bool, String> {
        match code {
            b'(' => self.marks.push(self.stack.len()),
            b'0' => match self.marks.pop_if(|mark| *mark == self.stack.len()) {
                Some(_) => {}
                None => drop(self.pop()?),
            },
            b'1' => drop(self.pop_mark()?),
            b'2' => self.stack.push(self.stack.last().cloned().ok_or("a value is missing")?),
            b'q' | b'r' | b'p' => {
                let index = self.index(code)?;
                self.remember(index)?;
            }
            0x94 => self.remember(u32::try_from(self.memo.len()).map_err(|_| "it has too many values")?)?,
            b'h' | b'j' | b'g' => {
                let index = self.index(code)?;
                let value = self.memo.get(&index).ok_or_else(|| format!("value {index} is used before it is there"))?;
                self.stack.push(value.clone());
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Obeys an opcode of a value without others in it; false for another.
    fn scalar(&mut self, code: u8) -> Result<bool, String> {
        let value = match code {
            b'N' => Value::None,
            0x88 => Value::Bool(true),
            0x89 => Value::Bool(false),
            b'K' => Value::Int(self.byte()?.into()),
            b'M' => Value::Int(u16::from_le_bytes(self.array()?).into()),
            b'J' => Value::Int(i32::from_le_bytes(self.array()?).into()),
            0x8a | 0x8b => self.long(code)?,
            b'G' => Value::Float(f64::from_be_bytes(self.array()?)),
            b'X' | 0x8c | 0x8d => {
                let bytes = self.sized(code)?;
                Value::Text(std::str::from_utf8(bytes).map_err(|_| "a text is not UTF-8")?.into())
            }
            // A str of Python 2 is either.
            b'U' | b'T' => match self.sized(code)? {
                bytes if bytes.is_ascii() => Value::Text(String::from_utf8_lossy(bytes).into()),
                bytes => Value::Bytes(bytes.into()),
            },
            b'B' | b'C' | 0x8e | 0x96 => Value::Bytes(self.sized(code)?.into()),
            b'c' => Value::Global(format!("{}.{}", self.line()?, self.line()?).into()),
            b'I' | b'L' | b'F' | b'S' | b'V' => Self::of_line(code, self.line()?)?,
            _ => return Ok(false),
        };
        self.stack.push(value);
        Ok(true)
    }

    /// Obeys an opcode of a value that holds others; false for another.
    fn container(&mut self, code: u8) -> Result<bool, String> {
        match code {
            b')' => self.push(Node::Tuple(Vec::new())),
            b']' | 0x8f => self.push(Node::List(Vec::new())),
            b'}' => self.push(Node::Dict(Vec::new())),
            0x85..=0x87 => {
                let values = self.pop_n(usize::from(code - 0x84))?;
                self.push(Node::Tuple(values));
            }
            b't' | b'l' | b'd' | 0x91 => {
                let values = self.pop_mark()?;
                self.push(match code {
                    b't' => Node::Tuple(values),
                    b'd' if !values.len().is_multiple_of(2) => return Err("a key has no value".to_owned()),
                    b'd' => Node::Dict(values),
                    _ => Node::List(values),
                });
            }
            b'a' | b'e' | 0x90 => {
                let values = if code == b'a' { self.pop_n(1)? } else { self.pop_mark()? };
                self.add_elements(values)?;
            }
            b's' | b'u' => {
                let values = if code == b's' { self.pop_n(2)? } else { self.pop_mark()? };
                self.add_entries(values)?;
            }
            b'b' => self.build()?,
            b'Q' => {
                let id = self.pop()?;
                self.push(Node::Persistent(id));
            }
            b'P' => {
                let id = Value::Text(self.line()?.into());
                self.push(Node::Persistent(id));
            }
            code => return self.maker(code),
        }
        Ok(true)
    }

    /// Obeys an opcode of a call or a new object; false for another.
    fn maker(&mut self, code: u8) -> Result<bool, String> {
        match code {
            b'R' => {
                let (of, arguments) = self.pop_two()?;
                self.push(Node::Call(Made::new(of, arguments)));
            }
            0x81 => {
                let (of, arguments) = self.pop_two()?;
                self.push(Node::Object(Made::new(of, arguments)));
            }
            // With arguments by name, which nobody asks for.
            0x92 => {
                let _ = self.pop()?;
                let (of, arguments) = self.pop_two()?;
                self.push(Node::Object(Made::new(of, arguments)));
            }
            0x93 => match self.pop_two()? {
                (Value::Text(module), Value::Text(name)) => {
                    self.stack.push(Value::Global(format!("{module}.{name}").into()));
                }
                _ => return Err("a name is no text".to_owned()),
            },
            b'i' => {
                let of = Value::Global(format!("{}.{}", self.line()?, self.line()?).into());
                let arguments = self.pop_mark()?;
                self.push_call(of, arguments);
            }
            b'o' => {
                let mut arguments = self.pop_mark()?;
                if arguments.is_empty() {
                    return Err("a value is missing".to_owned());
                }
                let of = arguments.remove(0);
                self.push_call(of, arguments);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    const fn at(&self) -> usize {
        self.n_bytes - self.rest.len()
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

    /// Bytes behind their number, whose width is the opcode's.
    fn sized(&mut self, code: u8) -> Result<&'a [u8], String> {
        let n = match code {
            b'U' | b'C' | 0x8c => self.byte()?.into(),
            0x8d | 0x8e | 0x96 => usize::try_from(u64::from_le_bytes(self.array()?)).map_err(|_| "it breaks off")?,
            _ => u32::from_le_bytes(self.array()?) as usize,
        };
        self.take(n)
    }

    fn line(&mut self) -> Result<String, String> {
        let end = self.rest.iter().position(|&b| b == b'\n').ok_or("it breaks off")?;
        let line = std::str::from_utf8(self.take(end)?).map_err(|_| "a name is not UTF-8")?.to_owned();
        self.byte()?;
        Ok(line)
    }

    /// A value of protocol 0. Texts keep their escapes.
    fn of_line(code: u8, line: String) -> Result<Value, String> {
        let fail = || format!("{line:?} is no number");
        Ok(match (code, &*line) {
            (b'I', "00") => Value::Bool(false),
            (b'I', "01") => Value::Bool(true),
            (b'I' | b'L', digits) => Value::Int(digits.trim_end_matches('L').parse().map_err(|_| fail())?),
            (b'F', digits) => Value::Float(digits.parse().map_err(|_| fail())?),
            (b'S', quoted) => {
                let quote = quoted.chars().next().filter(|quote| ['\'', '"'].contains(quote));
                let inner = quote.and_then(|quote| quoted.strip_prefix(quote)?.strip_suffix(quote));
                Value::Text(inner.ok_or("a text has no quotes")?.into())
            }
            _ => Value::Text(line.into()),
        })
    }

    /// A whole number, little-endian.
    fn long(&mut self, code: u8) -> Result<Value, String> {
        let n = if code == 0x8a { self.byte()?.into() } else { u32::from_le_bytes(self.array()?) as usize };
        let bytes = self.take(n)?;
        let is_negative = bytes.last().is_some_and(|b| b & 0x80 != 0);
        let mut whole = [if is_negative { 0xff } else { 0 }; 8];
        let Some(low) = whole.get_mut(..n) else { return Ok(Value::Big) };
        low.copy_from_slice(bytes);
        Ok(Value::Int(i64::from_le_bytes(whole)))
    }

    /// The number of a value in the memory.
    fn index(&mut self, code: u8) -> Result<u32, String> {
        match code {
            b'q' | b'h' => Ok(self.byte()?.into()),
            b'r' | b'j' => Ok(u32::from_le_bytes(self.array()?)),
            _ => self.line()?.parse().map_err(|_| "the number of a value is none".to_owned()),
        }
    }

    fn push(&mut self, node: Node) {
        self.stack.push(Value::Node(self.nodes.len()));
        self.nodes.push(node);
    }

    fn push_call(&mut self, of: Value, arguments: Vec<Value>) {
        self.push(Node::Tuple(arguments));
        let arguments = self.stack.pop().unwrap_or(Value::None);
        self.push(Node::Call(Made::new(of, arguments)));
    }

    fn pop(&mut self) -> Result<Value, String> {
        Ok(self.pop_n(1)?.swap_remove(0))
    }

    fn pop_two(&mut self) -> Result<(Value, Value), String> {
        let second = self.pop()?;
        Ok((self.pop()?, second))
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

    /// The value with others in it that comes last.
    fn last_node(&mut self) -> Option<&mut Node> {
        match self.stack.last() {
            Some(Value::Node(index)) => self.nodes.get_mut(*index),
            _ => None,
        }
    }

    /// Puts values into the list before them.
    fn add_elements(&mut self, values: Vec<Value>) -> Result<(), String> {
        match self.last_node() {
            Some(Node::List(elements)) => elements.extend(values),
            Some(Node::Call(made) | Node::Object(made)) => made.elements.extend(values),
            _ => return Err("values are put into what is no list".to_owned()),
        }
        Ok(())
    }

    /// Puts keys and values into the dictionary before them.
    fn add_entries(&mut self, values: Vec<Value>) -> Result<(), String> {
        let is_even = values.len().is_multiple_of(2);
        match self.last_node() {
            Some(Node::Dict(entries)) if is_even => entries.extend(values),
            Some(Node::Call(made) | Node::Object(made)) if is_even => made.entries.extend(values),
            _ => return Err("entries are put into what is no list or dictionary".to_owned()),
        }
        Ok(())
    }

    /// Gives an object its state.
    fn build(&mut self) -> Result<(), String> {
        let state = self.pop()?;
        match self.last_node() {
            Some(Node::Call(made) | Node::Object(made)) if made.state.is_none() => {
                made.state = Some(state);
                Ok(())
            }
            _ => Err("a state is given to what is no new object".to_owned()),
        }
    }

    fn remember(&mut self, index: u32) -> Result<(), String> {
        let value = self.stack.last().cloned().ok_or("a value is missing")?;
        self.memo.insert(index, value);
        Ok(())
    }
}

impl Made {
    fn new(of: Value, arguments: Value) -> Box<Self> {
        Box::new(Self { of, arguments, entries: Vec::new(), elements: Vec::new(), state: None })
    }
}
