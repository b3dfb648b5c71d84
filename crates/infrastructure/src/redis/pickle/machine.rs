//! The machine that runs a pickle's opcodes, as CPython's `_pickle` does for those that only hold values.

use std::borrow::Cow;

use super::{
    MAX_DEPTH, MAX_MEMO, Refusal,
    input::Input,
    literal::{self, Base, IntOrBool},
    stack::Stack,
    value::{Node, Pickle, Place},
};

/// The highest protocol there is.
const HIGHEST_PROTOCOL: u8 = 5;

/// What is known of a value besides what it holds.
#[derive(Debug, Clone, Copy)]
struct Nature {
    /// How deep values lie in it.
    depth: usize,
    /// Whether it may be a key or a member of a set.
    hashable: bool,
}

/// A pickle being read.
pub(super) struct Machine<'a> {
    input: Input<'a>,
    nodes: Vec<Node<'a>>,
    natures: Vec<Nature>,
    stack: Stack,
    memo: Vec<Option<Place>>,
    /// How many places of the memo are taken: where MEMOIZE goes.
    memoized: usize,
}

impl<'a> Machine<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            input: Input::new(bytes),
            nodes: Vec::new(),
            natures: Vec::new(),
            stack: Stack::default(),
            memo: Vec::new(),
            memoized: 0,
        }
    }

    /// Runs to STOP.
    pub(super) fn run(mut self) -> Result<Pickle<'a>, Refusal> {
        loop {
            let opcode = self.input.byte()?;
            if opcode == b'.' {
                let root = self.stack.pop()?;
                return Ok(Pickle {
                    nodes: self.nodes,
                    root,
                });
            }
            self.step(opcode)?;
        }
    }

    fn step(&mut self, opcode: u8) -> Result<(), Refusal> {
        match opcode {
            // PROTO, FRAME
            0x80 if self.input.byte()? <= HIGHEST_PROTOCOL => Ok(()),
            0x95 => {
                let length = self.input.length(8)?;
                // Nothing holds the opcodes to it, but so much must be there.
                let there = self.input.has(length);
                there.then_some(()).ok_or(Refusal::Malformed)
            }
            b'(' => self.stack.mark(),
            b'0' => self.stack.discard(),
            b'1' => self.stack.pop_to_mark().map(drop),
            b'2' => self.stack.top().and_then(|top| self.stack.push(top)),
            b'p' | b'q' | b'r' | 0x94 => self.put(opcode),
            b'g' | b'h' | b'j' => self.get(opcode),
            b't' | 0x85..=0x87 | b')' | 0x91 => self.fixed(opcode),
            b'l' | b'd' | b']' | b'}' | 0x8f => self.container(opcode),
            b'a' | b'e' => self.append(opcode),
            b's' | b'u' => self.set_items(opcode),
            0x90 => self.add_items(),
            // BYTEARRAY8
            0x96 => {
                let node = Node::ByteArray(self.input.counted(8)?);
                self.push(
                    node,
                    Nature {
                        depth: 0,
                        hashable: false,
                    },
                )
            }
            // GLOBAL, INST, OBJ, REDUCE, BUILD, PERSID, BINPERSID, NEWOBJ, EXT1, EXT2, EXT4, NEWOBJ_EX, STACK_GLOBAL,
            // NEXT_BUFFER, READONLY_BUFFER
            b'c'
            | b'i'
            | b'o'
            | b'R'
            | b'b'
            | b'P'
            | b'Q'
            | 0x81..=0x84
            | 0x92
            | 0x93
            | 0x97
            | 0x98 => Err(Refusal::Forbidden(opcode)),
            _ => {
                let node = self.atom(opcode)?;
                self.push(
                    node,
                    Nature {
                        depth: 0,
                        hashable: true,
                    },
                )
            }
        }
    }

    fn push(&mut self, node: Node<'a>, nature: Nature) -> Result<(), Refusal> {
        let place = Place::try_from(self.nodes.len()).map_err(|_| Refusal::Limit("values"))?;
        self.stack.push(place)?;
        self.nodes.push(node);
        self.natures.push(nature);
        Ok(())
    }

    /// A value that holds no others.
    fn atom(&mut self, opcode: u8) -> Result<Node<'a>, Refusal> {
        Ok(match opcode {
            b'N' => Node::None,
            0x88 => Node::Bool(true),
            0x89 => Node::Bool(false),
            b'I' => match literal::int_or_bool(self.input.number()?)? {
                IntOrBool::Int(number) => Node::Int(number),
                IntOrBool::Bool(value) => Node::Bool(value),
            },
            b'J' => Node::Int(i32::from_le_bytes(self.input.array()?).into()),
            b'K' => Node::Int(self.input.byte()?.into()),
            b'M' => Node::Int(u16::from_le_bytes(self.input.array()?).into()),
            b'L' => {
                let line = self.input.number()?;
                let line = line.strip_suffix(b"L").unwrap_or(line);
                Node::Int(literal::python_int(line, Base::Stated)?)
            }
            0x8a => {
                let length = self.input.length(1)?;
                Node::Int(self.input.long(length)?)
            }
            0x8b => {
                let length = self.input.signed_length()?;
                Node::Int(self.input.long(length)?)
            }
            b'F' => Node::Float(literal::float(self.input.number()?)?),
            b'G' => Node::Float(f64::from_be_bytes(self.input.array()?)),
            b'B' => Node::Bytes(self.input.counted(4)?),
            b'C' => Node::Bytes(self.input.counted(1)?),
            0x8e => Node::Bytes(self.input.counted(8)?),
            _ => Node::Text(self.text(opcode)?),
        })
    }

    fn text(&mut self, opcode: u8) -> Result<Cow<'a, [u8]>, Refusal> {
        match opcode {
            b'S' => literal::ascii(literal::quoted(self.input.line()?)?),
            b'T' => {
                let length = self.input.signed_length()?;
                literal::ascii(Cow::Borrowed(self.input.take(length)?))
            }
            b'U' => literal::ascii(Cow::Borrowed(self.input.counted(1)?)),
            b'V' => literal::raw_unicode(self.input.line()?),
            b'X' => literal::utf8(self.input.counted(4)?).map(Cow::Borrowed),
            0x8c => literal::utf8(self.input.counted(1)?).map(Cow::Borrowed),
            0x8d => literal::utf8(self.input.counted(8)?).map(Cow::Borrowed),
            _ => Err(Refusal::Malformed),
        }
    }

    /// TUPLE, TUPLE1 to TUPLE3, EMPTY_TUPLE, FROZENSET: what never changes once it is made.
    fn fixed(&mut self, opcode: u8) -> Result<(), Refusal> {
        let items = match opcode {
            b')' => Vec::new(),
            0x85..=0x87 => self.stack.pop_many(usize::from(opcode - 0x84))?,
            _ => self.stack.pop_to_mark()?,
        };
        let depth = self.depth_over(&items)?;
        let hashable = self.are_hashable(&items);
        if opcode == 0x91 {
            if !hashable {
                return Err(Refusal::Malformed);
            }
            return self.push(Node::FrozenSet(items), Nature { depth, hashable });
        }
        self.push(Node::Tuple(items), Nature { depth, hashable })
    }

    /// LIST, DICT, EMPTY_LIST, EMPTY_DICT, EMPTY_SET.
    fn container(&mut self, opcode: u8) -> Result<(), Refusal> {
        let items = match opcode {
            b'l' | b'd' => self.stack.pop_to_mark()?,
            _ => Vec::new(),
        };
        let depth = self.depth_over(&items)?;
        let node = match opcode {
            b'd' | b'}' => {
                self.check_entries(&items)?;
                Node::Dict(items)
            }
            0x8f => Node::Set(items),
            _ => Node::List(items),
        };
        let nature = Nature {
            depth,
            hashable: false,
        };
        self.push(node, nature)
    }

    /// APPEND, APPENDS.
    fn append(&mut self, opcode: u8) -> Result<(), Refusal> {
        let items = match opcode {
            b'a' => self.stack.pop_many(1)?,
            _ => self.stack.pop_to_mark()?,
        };
        self.extend(&items, |target| match target {
            Node::List(list) => Ok(list),
            Node::ByteArray(_) => Err(Refusal::Unusual("a bytearray that grows")),
            _ => Err(Refusal::Malformed),
        })
    }

    /// SETITEM, SETITEMS.
    fn set_items(&mut self, opcode: u8) -> Result<(), Refusal> {
        let items = match opcode {
            b's' => self.stack.pop_many(2)?,
            _ => self.stack.pop_to_mark()?,
        };
        let entries = self.check_entries(&items);
        self.extend(&items, |target| match target {
            Node::Dict(dict) => entries.map(|()| dict),
            Node::List(_) | Node::ByteArray(_) => Err(Refusal::Unusual("an item replaced")),
            _ => Err(Refusal::Malformed),
        })
    }

    /// ADDITEMS.
    fn add_items(&mut self) -> Result<(), Refusal> {
        let items = self.stack.pop_to_mark()?;
        let hashable = self.are_hashable(&items);
        self.extend(&items, |target| match target {
            Node::Set(set) if hashable => Ok(set),
            _ => Err(Refusal::Malformed),
        })
    }

    /// Lets the value on top grow. Without items it may be any value, but one must be there.
    fn extend(
        &mut self,
        items: &[Place],
        held_by: impl for<'n> FnOnce(&'n mut Node<'a>) -> Result<&'n mut Vec<Place>, Refusal>,
    ) -> Result<(), Refusal> {
        let target = self.stack.top()? as usize;
        if items.is_empty() {
            return Ok(());
        }
        let depth = self.depth_over(items)?;
        let target_node = self.nodes.get_mut(target).ok_or(Refusal::Malformed)?;
        held_by(target_node)?.extend_from_slice(items);
        let nature = &mut self.natures[target];
        nature.depth = nature.depth.max(depth);
        Ok(())
    }

    fn natures<'n>(&'n self, items: &'n [Place]) -> impl Iterator<Item = Nature> + 'n {
        items
            .iter()
            .filter_map(|place| self.natures.get(*place as usize).copied())
    }

    fn depth_over(&self, items: &[Place]) -> Result<usize, Refusal> {
        let depth = self.natures(items).map(|nature| nature.depth + 1).max();
        match depth.unwrap_or_default() {
            depth if depth > MAX_DEPTH => Err(Refusal::Limit("depth")),
            depth => Ok(depth),
        }
    }

    fn are_hashable(&self, items: &[Place]) -> bool {
        self.natures(items).all(|nature| nature.hashable)
    }

    /// Keys and values in turn, the keys hashable.
    fn check_entries(&self, items: &[Place]) -> Result<(), Refusal> {
        let (pairs, odd) = items.as_chunks::<2>();
        let good = odd.is_empty() && pairs.iter().all(|[key, _]| self.are_hashable(&[*key]));
        if good {
            Ok(())
        } else {
            Err(Refusal::Malformed)
        }
    }

    /// PUT, BINPUT, LONG_BINPUT, MEMOIZE.
    fn put(&mut self, opcode: u8) -> Result<(), Refusal> {
        let index = match opcode {
            0x94 => self.memoized,
            _ => self.memo_index(opcode)?,
        };
        let top = self.stack.top()?;
        if index > MAX_MEMO {
            return Err(Refusal::Limit("the memo"));
        }
        if index >= self.memo.len() {
            self.memo.resize(index + 1, None);
        }
        if self.memo[index].replace(top).is_none() {
            self.memoized += 1;
        }
        Ok(())
    }

    /// GET, BINGET, LONG_BINGET.
    fn get(&mut self, opcode: u8) -> Result<(), Refusal> {
        let index = self.memo_index(opcode)?;
        let place = self.memo.get(index).copied().flatten();
        self.stack.push(place.ok_or(Refusal::Malformed)?)
    }

    fn memo_index(&mut self, opcode: u8) -> Result<usize, Refusal> {
        match opcode {
            b'h' | b'q' => self.input.length(1),
            b'j' | b'r' => self.input.length(4),
            _ => {
                let index = literal::python_int(self.input.number()?, Base::Ten)?;
                usize::try_from(index).map_err(|_| Refusal::Malformed)
            }
        }
    }
}
