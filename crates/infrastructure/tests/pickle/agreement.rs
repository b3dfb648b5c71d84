//! Whether Python's restricted unpickler and the reader agree on a pickle: on reading it, and on the value.

use std::{
    collections::{HashMap, HashSet},
    io::{Read, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};

use super::pickle::{self, Item, Items, Refusal, Value};

/// A Python that answers what it makes of pickles.
pub(crate) struct Oracle {
    process: Child,
    input: ChildStdin,
    output: ChildStdout,
}

impl Oracle {
    /// Starts it over this script.
    pub(crate) fn start(script: &Path) -> Self {
        let mut process = Command::new("python3")
            .arg(script)
            .arg("serve")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // It warns of escapes that Python will not read for ever.
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self {
            input: process.stdin.take().unwrap(),
            output: process.stdout.take().unwrap(),
            process,
        }
    }

    /// What it makes of a pickle: its value, or `!` and why it is none.
    pub(crate) fn ask(&mut self, pickle: &[u8]) -> String {
        let length = u32::try_from(pickle.len()).unwrap().to_le_bytes();
        let question = [&length, pickle].concat();
        self.input.write_all(&question).unwrap();
        let mut length = [0; 4];
        self.output.read_exact(&mut length).unwrap();
        let mut answer = vec![0; u32::from_le_bytes(length) as usize];
        self.output.read_exact(&mut answer).unwrap();
        String::from_utf8(answer).unwrap()
    }

    /// Panics unless both read the pickle to the same value or both refuse it, or the reader says why it is stricter.
    pub(crate) fn check(&mut self, bytes: &[u8]) -> Verdict {
        match pickle::read(bytes) {
            Ok(read) => {
                let (ours, theirs) = (Description::of(&read), self.ask(bytes));
                assert_eq!(ours, theirs, "{}", hex::encode(bytes));
                Verdict::Read
            }
            // BUILD and READONLY_BUFFER can do nothing, where what they are to change does not change.
            Err(Refusal::Forbidden(b'b' | 0x98)) => Verdict::Stricter,
            Err(Refusal::Limit(_) | Refusal::Unusual(_)) => Verdict::Stricter,
            Err(refusal @ (Refusal::Malformed | Refusal::Forbidden(_))) => {
                let theirs = self.ask(bytes);
                assert!(
                    theirs.starts_with('!'),
                    "{refusal}: {} {theirs}",
                    hex::encode(bytes)
                );
                Verdict::Refused
            }
        }
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// What the two said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Verdict {
    /// Both read the same.
    Read,
    /// Both refused.
    Refused,
    /// The reader has a limit that Python has not.
    Stricter,
}

/// Writes a value as the oracle does.
#[derive(Default)]
pub(crate) struct Description {
    seen: HashMap<u32, usize>,
    exact: HashMap<u32, String>,
    equal: HashMap<u32, String>,
}

impl Description {
    /// The value in JSON, each shared object by a number.
    pub(crate) fn of(pickle: &pickle::Pickle<'_>) -> String {
        Self::default().described(pickle.root()).to_string()
    }

    fn described(&mut self, item: Item<'_>) -> Json {
        let value = item.value();
        match value {
            Value::FrozenSet(items) => return json!(["f", self.members(items)]),
            Value::Tuple(items) if items.iter().next().is_none() => return json!(["t"]),
            _ => {}
        }
        if let Some(atom) = atom(value) {
            return atom;
        }
        let number = self.seen.len();
        if let Some(number) = self.seen.get(&item.number()) {
            return json!(["r", number]);
        }
        self.seen.insert(item.number(), number);
        match value {
            Value::ByteArray(bytes) => json!(["A", number, hex::encode(bytes)]),
            Value::Set(items) => json!(["s", number, self.members(items)]),
            Value::List(items) => json!(["l", number, self.each(items)]),
            Value::Tuple(items) => json!(["t", number, self.each(items)]),
            Value::Dict(entries) => {
                let entries = self.entries(entries.iter());
                let described: Vec<Json> = entries
                    .into_iter()
                    .map(|(key, value)| json!([self.described(key), self.described(value)]))
                    .collect();
                json!(["d", number, described])
            }
            _ => Json::Null,
        }
    }

    fn each(&mut self, items: Items<'_>) -> Vec<Json> {
        items.iter().map(|item| self.described(item)).collect()
    }

    /// Of equal keys the first with the last value, as a dict keeps them.
    fn entries<'p>(
        &mut self,
        entries: impl Iterator<Item = (Item<'p>, Item<'p>)>,
    ) -> Vec<(Item<'p>, Item<'p>)> {
        let mut places = HashMap::new();
        let mut kept: Vec<(Item<'p>, Item<'p>)> = Vec::new();
        for (key, value) in entries {
            let place = *places.entry(self.equality(key)).or_insert(kept.len());
            match kept.get_mut(place) {
                Some(entry) => entry.1 = value,
                None => kept.push((key, value)),
            }
        }
        kept
    }

    /// Of equal members the first.
    fn members(&mut self, items: Items<'_>) -> Vec<String> {
        let mut known = HashSet::new();
        let mut members: Vec<String> = items
            .iter()
            .filter(|item| known.insert(self.equality(*item)))
            .collect::<Vec<_>>()
            .into_iter()
            .map(|item| self.digest(item))
            .collect();
        members.sort();
        members
    }

    fn digest(&mut self, item: Item<'_>) -> String {
        if let Some(digest) = self.exact.get(&item.number()) {
            return digest.clone();
        }
        let parts = match item.value() {
            Value::Tuple(items) => {
                let parts: Vec<String> = items.iter().map(|item| self.digest(item)).collect();
                json!(["t", parts])
            }
            Value::FrozenSet(items) => json!(["f", self.members(items)]),
            value => atom(value).unwrap_or_default(),
        };
        let digest = hex::encode(Sha256::digest(parts.to_string()));
        self.exact.insert(item.number(), digest.clone());
        digest
    }

    /// The same for what Python takes for equal: numbers of all types, and a NaN only with itself.
    fn equality(&mut self, item: Item<'_>) -> String {
        if let Some(digest) = self.equal.get(&item.number()) {
            return digest.clone();
        }
        let parts = match item.value() {
            Value::Tuple(items) => {
                let parts: Vec<String> = items.iter().map(|item| self.equality(item)).collect();
                json!(["t", parts])
            }
            Value::FrozenSet(items) => {
                let parts: HashSet<String> = items.iter().map(|item| self.equality(item)).collect();
                let mut parts: Vec<String> = parts.into_iter().collect();
                parts.sort();
                json!(["f", parts])
            }
            Value::Bool(value) => json!(["=", i128::from(value).to_string()]),
            Value::Int(value) => json!(["=", value.to_string()]),
            Value::Float(value) if value.is_nan() => json!(["nan", item.number()]),
            Value::Float(value) => match whole(value) {
                Some(whole) => json!(["=", whole.to_string()]),
                None => json!(["F", value.to_string()]),
            },
            value => atom(value).unwrap_or_default(),
        };
        let digest = hex::encode(Sha256::digest(parts.to_string()));
        self.equal.insert(item.number(), digest.clone());
        digest
    }
}

/// The integer that a float equals, of those that the reader knows.
fn whole(value: f64) -> Option<i128> {
    let limit = 2f64.powi(127);
    (value.fract() == 0.0 && value.abs() < limit).then_some(value as i128)
}

fn atom(value: Value<'_>) -> Option<Json> {
    Some(match value {
        Value::None => json!(["N"]),
        Value::Bool(value) => json!(["B", value]),
        Value::Int(value) => json!(["I", value.to_string()]),
        Value::Float(value) if value.is_nan() => json!(["F", "nan"]),
        Value::Float(value) => json!(["F", hex::encode(value.to_be_bytes())]),
        Value::Bytes(bytes) => json!(["Y", hex::encode(bytes)]),
        Value::Text(text) => json!(["T", hex::encode(text)]),
        _ => return None,
    })
}
