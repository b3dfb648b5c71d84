//! What Redis tells of changes to what was read (client tracking), and who listens.

use redis::Value;

/// What happened to what was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News<'a> {
    /// The value at this key is not what it was.
    Changed(&'a [u8]),
    /// No value is what it was.
    AllChanged,
    /// The connection is gone: changes are not told.
    Lost,
    /// A new connection is there. What was read before it may have changed, and is not told of.
    Connected,
}

/// Hears the news, in their order, before the answers that Redis gave after them are seen.
pub trait Listener: Send + Sync + 'static {
    /// Must not wait: the connection stands still meanwhile.
    fn hear(&self, news: News<'_>);
}

/// Hands on what an invalidation says: the keys, or nothing for all of them.
pub(super) fn invalidated(listener: &dyn Listener, data: &[Value]) {
    for value in data {
        match value {
            Value::Array(keys) | Value::Set(keys) => keys.iter().for_each(|key| match key {
                Value::BulkString(key) => listener.hear(News::Changed(key)),
                Value::SimpleString(key) => listener.hear(News::Changed(key.as_bytes())),
                _ => listener.hear(News::AllChanged),
            }),
            _ => listener.hear(News::AllChanged),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Default)]
    struct Heard(Mutex<Vec<String>>);

    impl Listener for Heard {
        fn hear(&self, news: News<'_>) {
            self.0.lock().unwrap().push(format!("{news:?}"));
        }
    }

    #[test]
    fn keys_are_handed_on_and_whatever_else_drops_all() {
        let heard = Heard::default();
        let key = || Value::BulkString(b"k".to_vec());
        invalidated(&heard, &[Value::Array(vec![key(), key()])]);
        invalidated(&heard, &[Value::Nil]);
        invalidated(&heard, &[Value::Array(vec![Value::Int(1)])]);
        let heard = heard.0.into_inner().unwrap();
        assert_eq!(
            heard,
            [
                "Changed([107])",
                "Changed([107])",
                "AllChanged",
                "AllChanged"
            ]
        );
    }
}
