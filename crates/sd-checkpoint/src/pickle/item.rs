//! A value of a pickle, as whoever reads it sees it.

use super::{Made, Node, Pickle, Value};

/// A value and the pickle that it refers to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Item<'a> {
    pickle: &'a Pickle,
    at: At<'a>,
}

#[derive(Debug, Clone, Copy)]
enum At<'a> {
    Value(&'a Value),
    Node(&'a Node),
}

/// What a value is.
#[derive(Debug)]
pub(crate) enum Kind<'a> {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(&'a str),
    /// Something of a module, by `module.name`.
    Global(&'a str),
    Tuple(Items<'a>),
    /// A list or a set.
    List(Items<'a>),
    Dict,
    /// What a call would give.
    Call {
        function: Item<'a>,
        arguments: Item<'a>,
    },
    /// An object of a class.
    Object {
        class: Item<'a>,
    },
    /// A reference to something outside of the pickle.
    Persistent(Item<'a>),
    /// Bytes, or a number of more than 64 bits.
    Other,
}

/// Values side by side.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Items<'a> {
    pickle: &'a Pickle,
    values: &'a [Value],
}

impl<'a> Items<'a> {
    pub(crate) const fn len(self) -> usize {
        self.values.len()
    }

    pub(crate) fn iter(self) -> impl DoubleEndedIterator<Item = Item<'a>> + ExactSizeIterator {
        self.values.iter().map(move |value| Item::new(self.pickle, value))
    }

    pub(crate) fn first(self) -> Option<Item<'a>> {
        self.iter().next()
    }

    /// The first `N`, if there are so many.
    pub(crate) fn head<const N: usize>(self) -> Option<[Item<'a>; N]> {
        let values: &[Value; N] = self.values.first_chunk()?;
        Some(values.each_ref().map(|value| Item::new(self.pickle, value)))
    }

    /// Keys and values, which take turns.
    fn pairs(self) -> impl Iterator<Item = (Item<'a>, Item<'a>)> {
        let item = move |value| Item::new(self.pickle, value);
        self.values.as_chunks().0.iter().map(move |[key, value]| (item(key), item(value)))
    }
}

/// Functions that give a dictionary, and whether their first argument is a list of its entries.
const DICTIONARIES: [(&str, bool); 6] = [
    ("collections.OrderedDict", true),
    ("collections.Counter", true),
    ("collections.defaultdict", false),
    ("builtins.dict", true),
    ("__builtin__.dict", true),
    ("torch.nn.modules.container.ParameterDict", false),
];

/// What makes an object of its first argument in the first two protocols.
const RECONSTRUCTORS: [&str; 2] = ["copy_reg._reconstructor", "copyreg._reconstructor"];

impl<'a> Item<'a> {
    pub(super) fn new(pickle: &'a Pickle, value: &'a Value) -> Self {
        let at = match value {
            Value::Node(index) => pickle.nodes.get(*index).map_or(At::Value(&Value::None), At::Node),
            other => At::Value(other),
        };
        Self { pickle, at }
    }

    pub(super) const fn of_node(pickle: &'a Pickle, node: &'a Node) -> Self {
        Self { pickle, at: At::Node(node) }
    }

    fn to(self, value: &'a Value) -> Self {
        Self::new(self.pickle, value)
    }

    const fn to_all(self, values: &'a [Value]) -> Items<'a> {
        Items { pickle: self.pickle, values }
    }

    /// What it is.
    pub(crate) fn kind(self) -> Kind<'a> {
        match self.at {
            At::Value(Value::None | Value::Node(_)) => Kind::None,
            At::Value(Value::Bool(value)) => Kind::Bool(*value),
            At::Value(Value::Int(value)) => Kind::Int(*value),
            At::Value(Value::Float(value)) => Kind::Float(*value),
            At::Value(Value::Text(text)) => Kind::Text(text),
            At::Value(Value::Global(name)) => Kind::Global(name),
            At::Value(Value::Big | Value::Bytes(_)) => Kind::Other,
            At::Node(Node::Tuple(values)) => Kind::Tuple(self.to_all(values)),
            At::Node(Node::List(values)) => Kind::List(self.to_all(values)),
            At::Node(Node::Dict(_)) => Kind::Dict,
            At::Node(Node::Call(made)) => {
                Kind::Call { function: self.to(&made.of), arguments: self.to(&made.arguments) }
            }
            At::Node(Node::Object(made)) => Kind::Object { class: self.to(&made.of) },
            At::Node(Node::Persistent(id)) => Kind::Persistent(self.to(id)),
        }
    }

    pub(crate) fn text(self) -> Option<&'a str> {
        match self.kind() {
            Kind::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The name of something of a module.
    pub(crate) fn global(self) -> Option<&'a str> {
        match self.at {
            At::Value(Value::Global(name)) => Some(name),
            _ => None,
        }
    }

    /// A call of something of a module, by name, and its arguments.
    pub(crate) fn call(self) -> Option<(&'a str, Items<'a>)> {
        match self.kind() {
            Kind::Call { function, arguments } => match arguments.kind() {
                Kind::Tuple(arguments) => Some((function.global()?, arguments)),
                _ => None,
            },
            _ => None,
        }
    }

    /// The class of an object.
    pub(crate) fn class(self) -> Option<&'a str> {
        match self.kind() {
            Kind::Object { class } => class.global(),
            Kind::Call { .. } => {
                let (name, arguments) = self.call()?;
                RECONSTRUCTORS.contains(&name).then(|| arguments.first()?.global())?
            }
            _ => None,
        }
    }

    fn made(self) -> Option<&'a Made> {
        match self.at {
            At::Node(Node::Call(made) | Node::Object(made)) => Some(made),
            _ => None,
        }
    }

    /// The state of an object, or of what a call gives.
    pub(crate) fn state(self) -> Option<Self> {
        Some(self.to(self.made()?.state.as_ref()?))
    }

    /// Whether it has entries, even if there are none.
    pub(crate) fn is_dictionary(self) -> bool {
        match self.at {
            At::Node(Node::Dict(_)) => true,
            At::Node(Node::Call(made)) => {
                let name = self.to(&made.of).global();
                DICTIONARIES.iter().any(|(known, _)| Some(*known) == name)
            }
            At::Node(Node::Object(made)) => !made.entries.is_empty(),
            _ => false,
        }
    }

    /// The entries of a dictionary, or of an object that is one too.
    pub(crate) fn entries(self) -> impl Iterator<Item = (Self, Self)> {
        let given = self.given();
        let listed = given.and_then(Self::elements).map(|pairs| pairs.iter().filter_map(Self::pair));
        let own = [given.map(Self::own_entries), Some(self.own_entries())];
        listed.into_iter().flatten().chain(own.into_iter().flatten().flat_map(Items::pairs))
    }

    /// What is put into it as entries, once it is there.
    fn own_entries(self) -> Items<'a> {
        let entries: &[Value] = match self.at {
            At::Node(Node::Dict(entries)) => entries,
            At::Node(Node::Call(made) | Node::Object(made)) => &made.entries,
            _ => &[],
        };
        self.to_all(entries)
    }

    /// The entries that are the argument of a call that makes a dictionary.
    fn given(self) -> Option<Self> {
        let (name, arguments) = self.call()?;
        DICTIONARIES.contains(&(name, true)).then(|| arguments.first())?
    }

    fn elements(self) -> Option<Items<'a>> {
        match self.kind() {
            Kind::List(items) | Kind::Tuple(items) => Some(items),
            _ => None,
        }
    }

    fn pair(self) -> Option<(Self, Self)> {
        self.elements()?.head().map(|[key, value]| (key, value))
    }

    /// The entry of a dictionary with this key; the last of several, as in Python.
    pub(crate) fn get(self, key: &str) -> Option<Self> {
        self.entries().filter(|(name, _)| name.text() == Some(key)).last().map(|(_, value)| value)
    }
}
