//! What a pickle holds: values in an arena, and views of them.

use std::borrow::Cow;

/// The place of a value in the arena.
pub(super) type Place = u32;

/// A value as the machine builds it. Text is UTF-8 in which lone surrogates are let through, as in Python's `str`.
#[derive(Debug)]
pub(super) enum Node<'a> {
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Bytes(&'a [u8]),
    ByteArray(&'a [u8]),
    Text(Cow<'a, [u8]>),
    Tuple(Vec<Place>),
    List(Vec<Place>),
    /// Keys and values in turn.
    Dict(Vec<Place>),
    Set(Vec<Place>),
    FrozenSet(Vec<Place>),
}

/// The value of a pickle, with everything that it holds.
#[derive(Debug)]
pub struct Pickle<'a> {
    pub(super) nodes: Vec<Node<'a>>,
    pub(super) root: Place,
}

impl Pickle<'_> {
    /// The value itself.
    #[must_use]
    pub const fn root(&self) -> Item<'_> {
        Item {
            pickle: self,
            place: self.root,
        }
    }
}

/// A value within a pickle.
#[derive(Debug, Clone, Copy)]
pub struct Item<'p> {
    pickle: &'p Pickle<'p>,
    place: Place,
}

/// What a value is.
#[derive(Debug, Clone, Copy)]
pub enum Value<'p> {
    /// `None`.
    None,
    /// `True`, `False`.
    Bool(bool),
    /// An integer.
    Int(i128),
    /// A float.
    Float(f64),
    /// `bytes`.
    Bytes(&'p [u8]),
    /// A `bytearray`.
    ByteArray(&'p [u8]),
    /// A `str`: UTF-8 in which lone surrogates are let through.
    Text(&'p [u8]),
    /// A tuple.
    Tuple(Items<'p>),
    /// A list.
    List(Items<'p>),
    /// A set, with members that may be equal.
    Set(Items<'p>),
    /// A frozenset, with members that may be equal.
    FrozenSet(Items<'p>),
    /// A dict.
    Dict(Entries<'p>),
}

impl<'p> Item<'p> {
    /// What the value is.
    #[must_use]
    pub fn value(self) -> Value<'p> {
        let items = |places: &'p [Place]| Items {
            pickle: self.pickle,
            places,
        };
        match self.pickle.nodes.get(self.place as usize) {
            None | Some(Node::None) => Value::None,
            Some(Node::Bool(value)) => Value::Bool(*value),
            Some(Node::Int(value)) => Value::Int(*value),
            Some(Node::Float(value)) => Value::Float(*value),
            Some(Node::Bytes(bytes)) => Value::Bytes(bytes),
            Some(Node::ByteArray(bytes)) => Value::ByteArray(bytes),
            Some(Node::Text(text)) => Value::Text(text),
            Some(Node::Tuple(places)) => Value::Tuple(items(places)),
            Some(Node::List(places)) => Value::List(items(places)),
            Some(Node::Set(places)) => Value::Set(items(places)),
            Some(Node::FrozenSet(places)) => Value::FrozenSet(items(places)),
            Some(Node::Dict(places)) => Value::Dict(Entries(items(places))),
        }
    }

    /// A number of its own within the pickle: what is shared has one number wherever it is met.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.place
    }
}

/// The members of a list, tuple or set, in their order.
#[derive(Debug, Clone, Copy)]
pub struct Items<'p> {
    pickle: &'p Pickle<'p>,
    places: &'p [Place],
}

impl<'p> Items<'p> {
    /// Each of them.
    pub fn iter(self) -> impl Iterator<Item = Item<'p>> {
        let pickle = self.pickle;
        self.places.iter().map(move |place| Item {
            pickle,
            place: *place,
        })
    }
}

/// What a dict was filled with, in that order. Of equal keys the last counts.
#[derive(Debug, Clone, Copy)]
pub struct Entries<'p>(Items<'p>);

impl<'p> Entries<'p> {
    /// Each key with its value.
    pub fn iter(self) -> impl Iterator<Item = (Item<'p>, Item<'p>)> {
        let pickle = self.0.pickle;
        let item = move |place: Place| Item { pickle, place };
        let (pairs, _) = self.0.places.as_chunks::<2>();
        pairs
            .iter()
            .map(move |[key, value]| (item(*key), item(*value)))
    }

    /// What the dict holds under a key that is text.
    #[must_use]
    pub fn get(self, key: &str) -> Option<Value<'p>> {
        let same =
            |item: Item<'p>| matches!(item.value(), Value::Text(text) if text == key.as_bytes());
        self.iter()
            .filter(|(found, _)| same(*found))
            .last()
            .map(|(_, value)| value.value())
    }
}
