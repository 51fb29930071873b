//! Pickles, read as data: a closed set of opcodes, and nothing is ever called.
//!
//! What a pickle calls is kept as the name of what it would call with its arguments; only whoever reads the value knows the
//! few that mean something, and refuses the others by name. An opcode that is not in the list is refused.
//! Values lie side by side and refer to each other by number, so that what is used twice is one value, what lies within
//! itself is no endless one, and nothing needs a stack as deep as a file says.
//! Known readers for Rust do not keep persistent ids, by which PyTorch refers to its tensors' bytes.
//!
//! What it deliberately does not do: read archives, or know tensors.

mod item;
mod machine;

use std::sync::Arc;

pub(crate) use item::{Item, Items, Kind};

/// Opcodes of one pickle, each of which leaves a value of 150 bytes at most; real files of all optimiser states have a
/// fifth of this.
const MAX_OPCODES: usize = 1 << 21;

/// A pickle that was read.
#[derive(Debug)]
pub(crate) struct Pickle {
    nodes: Vec<Node>,
    root: Value,
}

/// A value; those with others in them lie in the pickle.
#[derive(Debug, Clone, PartialEq)]
enum Value {
    None,
    Bool(bool),
    Int(i64),
    /// A whole number of more than eight bytes, which nobody asks for.
    Big,
    Float(f64),
    Text(Arc<str>),
    Bytes(Arc<[u8]>),
    /// Something of a module, by `module.name`.
    Global(Arc<str>),
    Node(usize),
}

/// A value with others in it.
#[derive(Debug)]
enum Node {
    Tuple(Vec<Value>),
    /// A list or a set.
    List(Vec<Value>),
    /// Keys and values in turns.
    Dict(Vec<Value>),
    /// What a call would give.
    Call(Box<Made>),
    /// A new object of a class.
    Object(Box<Made>),
    /// A reference to something outside of the pickle.
    Persistent(Value),
}

/// What a call would give, or an object, and what is put into it afterwards.
#[derive(Debug)]
struct Made {
    /// The function or the class.
    of: Value,
    arguments: Value,
    /// Keys and values in turns.
    entries: Vec<Value>,
    elements: Vec<Value>,
    state: Option<Value>,
}

impl Pickle {
    /// Reads a pickle.
    ///
    /// # Errors
    /// In words, for an opcode that is not read, a pickle that breaks off, and values that do not fit their opcode.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, String> {
        Self::read_first(bytes).map(|(pickle, _)| pickle)
    }

    /// Reads the first of several pickles; and how many bytes it has.
    ///
    /// # Errors
    /// As [`Pickle::read`].
    pub(crate) fn read_first(bytes: &[u8]) -> Result<(Self, usize), String> {
        machine::run(bytes, MAX_OPCODES)
    }

    /// Its value.
    pub(crate) fn root(&self) -> Item<'_> {
        Item::new(self, &self.root)
    }

    /// Every value with others in it, even what the pickle's own value does not lead to.
    pub(crate) fn all(&self) -> impl Iterator<Item = Item<'_>> {
        self.nodes.iter().map(|node| Item::of_node(self, node))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refuses(bytes: &[u8], words: &str) {
        let error = Pickle::read(bytes).expect_err("refused");
        assert!(error.contains(words), "{error}");
    }

    /// A value as text, as deep as the test needs it.
    fn text(item: Item<'_>) -> String {
        let list = |items: Items<'_>| items.iter().map(text).collect::<Vec<_>>().join(" ");
        match item.kind() {
            Kind::None => "none".to_owned(),
            Kind::Bool(value) => value.to_string(),
            Kind::Int(value) => value.to_string(),
            Kind::Float(value) => value.to_string(),
            Kind::Text(value) => format!("'{value}'"),
            Kind::Global(name) => name.to_owned(),
            Kind::Tuple(items) => format!("({})", list(items)),
            Kind::List(items) => format!("[{}]", list(items)),
            Kind::Dict => {
                let entries: Vec<_> = item.entries().map(|(k, v)| format!("{}:{}", text(k), text(v))).collect();
                format!("{{{}}}", entries.join(" "))
            }
            Kind::Call { function, arguments } => format!("{}!{}", text(function), text(arguments)),
            Kind::Object { class } => {
                format!("{}+{}", text(class), item.state().map_or_else(String::new, text))
            }
            Kind::Persistent(id) => format!("@{}", text(id)),
            Kind::Other => "other".to_owned(),
        }
    }

    #[track_caller]
    fn reads(bytes: &[u8], expected: &str) {
        assert_eq!(text(Pickle::read(bytes).unwrap().root()), expected);
    }

    #[test]
    fn values_of_every_kind_are_read() {
        // pickle.dumps({"a": (1, -2, 300), "b": [True, None, 0.5]}, protocol=2), by Python 3.13; the same by protocol 4.
        let second = b"\x80\x02}q\x00(X\x01\x00\x00\x00aq\x01K\x01J\xfe\xff\xff\xffM,\x01\x87q\x02\
            X\x01\x00\x00\x00bq\x03]q\x04(\x88NG?\xe0\x00\x00\x00\x00\x00\x00eu.";
        let fourth =
            b"\x80\x04\x95+\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x01a\x94K\x01J\xfe\xff\xff\xffM,\x01\x87\x94\
            \x8c\x01b\x94]\x94(\x88NG?\xe0\x00\x00\x00\x00\x00\x00eu.";
        for bytes in [&second[..], fourth] {
            reads(bytes, "{'a':(1 -2 300) 'b':[true none 0.5]}");
        }
        reads(b"\x8a\x02\x00\xff.", "-256");
        reads(b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.", "other");
        // Python 2's texts, and protocol 0.
        reads(b"\x80\x02U\x02abT\x01\x00\x00\x00c\x86.", "('ab' 'c')");
        reads(b"(dp0\nS'a'\np1\nI7\nsVb\nI01\ns.", "{'a':7 'b':true}");
        reads(b"(lp0\nL5L\naF0.5\na.", "[5 0.5]");
    }

    #[test]
    fn a_call_is_kept_and_never_made() {
        reads(b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00rm\x85R.", "os.system!('rm')");
        reads(b"(S'rm'\nios\nsystem\n.", "os.system!('rm')");
        reads(b"(cos\nsystem\nS'rm'\no.", "os.system!('rm')");
        reads(b"\x8c\x02os\x8c\x06system\x93)R.", "os.system!()");
        reads(b"cm\nC\n)\x81}b.", "m.C+{}");
        let pickle = Pickle::read(b"cos\nsystem\n)R0N.").unwrap();
        assert!(pickle.all().any(|item| matches!(item.kind(), Kind::Call { .. })), "what is dropped is seen");
    }

    #[test]
    fn what_is_used_twice_is_one_value() {
        reads(b"(}q\x00h\x00X\x01\x00\x00\x00aK\x01st.", "({'a':1} {'a':1})");
        // collections.OrderedDict gets its entries after the call that makes it.
        let ordered = Pickle::read(b"ccollections\nOrderedDict\n)Rq\x00X\x01\x00\x00\x00aK\x01s0h\x00.").unwrap();
        assert_eq!(text(ordered.root().get("a").unwrap()), "1");
        // Python 2 gives them to the call.
        let pairs = Pickle::read(b"ccollections\nOrderedDict\n](](X\x01\x00\x00\x00aK\x02ee\x85R.").unwrap();
        assert_eq!(text(pairs.root().get("a").unwrap()), "2");
    }

    #[test]
    fn a_value_within_itself_ends() {
        let pickle = Pickle::read(b"]q\x00h\x00a.").unwrap();
        let Kind::List(inner) = pickle.root().kind() else { panic!() };
        assert_eq!(inner.len(), 1);
    }

    #[test]
    fn what_is_not_read_is_named() {
        refuses(b"\x80\x02\x82", "opcode 0x82 at byte 2");
        refuses(b"\x80\x06.", "protocol 6");
        refuses(b"K", "breaks off");
        refuses(b"X\xff\xff\xff\xffa", "breaks off");
        refuses(b"\x8e\xff\xff\xff\xff\xff\xff\xff\xffa", "breaks off");
        refuses(b".", "a value is missing");
        refuses(b"N(\x85.", "a value is missing");
        refuses(b"t", "a mark is missing");
        refuses(b"h\x00.", "before it is there");
        refuses(b"NNb", "a state is given");
        refuses(b"NNa", "no list");
        refuses(b"}(Nu.", "no list");
        refuses(&vec![b'N'; MAX_OPCODES + 1], "more than 2097152 opcodes");
        refuses(b"\x8a\x09", "breaks off");
    }

    #[test]
    fn a_value_within_itself_many_times_over_costs_nothing() {
        let mut bytes = b")q\x00".to_vec();
        for _ in 0..1000 {
            bytes.extend(b"h\x00\x86q\x00");
        }
        bytes.push(b'.');
        let pickle = Pickle::read(&bytes).unwrap();
        assert_eq!(pickle.all().count(), 1001);
        assert!(matches!(pickle.root().kind(), Kind::Tuple(_)));
    }
}
