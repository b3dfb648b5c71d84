//! A Django backend, as far as its Redis goes: it signs users in and out, and gives visitors their tokens.

use pbkdf2::{pbkdf2_hmac_array, sha2::Sha256};
use redis::{Cmd, FromRedisValue, cmd};

use crate::servers::{Redis, random_hex};

/// The prefix that Django's cache puts before its keys.
const PREFIX: &str = ":1:";

/// The backend, with a Redis that nobody else uses.
#[derive(Debug)]
pub struct Backend {
    redis: Redis,
    secret_key: String,
}

/// A member of what the backend keeps about a token.
#[derive(Debug, Clone, Copy)]
pub enum Member<'a> {
    /// `None`.
    Nothing,
    /// `True`, `False`.
    Switch(bool),
    /// An integer.
    Number(i32),
    /// Text.
    Text(&'a str),
}

impl Backend {
    /// Starts its Redis.
    pub async fn start() -> Self {
        Self {
            redis: Redis::start().await,
            secret_key: random_hex(25),
        }
    }

    /// Its Redis.
    #[must_use]
    pub const fn redis(&self) -> &Redis {
        &self.redis
    }

    /// Its Redis, to kill.
    pub const fn redis_mut(&mut self) -> &mut Redis {
        &mut self.redis
    }

    /// The secret key.
    #[must_use]
    pub fn secret_key(&self) -> &str {
        &self.secret_key
    }

    /// The key under which a user's token is kept.
    #[must_use]
    pub fn key_of(&self, token: &str) -> String {
        let salt = self.secret_key.as_bytes();
        let key = pbkdf2_hmac_array::<Sha256, 32>(token.as_bytes(), salt, 1);
        format!("{PREFIX}{}", hex::encode(key))
    }

    /// The key under which a visitor's token is kept.
    #[must_use]
    pub fn public_key_of(&self, token: &str) -> String {
        format!("{PREFIX}{token}")
    }

    /// Signs a user in: the token that it comes with from now on.
    pub async fn sign_in(&self, user: i32, account: i32) -> String {
        let token = random_hex(20);
        self.put(&self.key_of(&token), &session(user, account))
            .await;
        token
    }

    /// Signs out whoever has the token.
    pub async fn sign_out(&self, token: &str) {
        self.call::<()>(cmd("DEL").arg(self.key_of(token))).await;
    }

    /// Gives a visitor a token of that many characters.
    pub async fn visitor(&self, length: usize, account: i32) -> String {
        let token = random_hex(length.div_ceil(2))[..length].to_owned();
        let value = pickled(&[("account_id", Member::Number(account))]);
        self.put(&self.public_key_of(&token), &value).await;
        token
    }

    /// Keeps a value.
    pub async fn put(&self, key: &str, value: &[u8]) {
        self.call::<()>(cmd("SET").arg(key).arg(value)).await;
    }

    /// Any command.
    ///
    /// # Panics
    /// Redis refuses it.
    pub async fn call<A: FromRedisValue>(&self, command: &Cmd) -> A {
        let mut connection = self.redis.connection().await;
        command.query_async(&mut connection).await.unwrap()
    }
}

/// What Django keeps about a signed-in user.
#[must_use]
pub fn session(user: i32, account: i32) -> Vec<u8> {
    pickled(&[
        ("user_id", Member::Number(user)),
        ("account_id", Member::Number(account)),
        (
            "user_agent",
            Member::Text("Mozilla/5.0 (X11; Linux x86_64)"),
        ),
        ("user_ip", Member::Text("203.0.113.7")),
        ("for_api_key", Member::Switch(false)),
        ("is_superuser", Member::Switch(false)),
    ])
}

/// A dict as Python pickles it in protocol 5, of texts up to 255 bytes.
#[must_use]
pub fn pickled(members: &[(&str, Member<'_>)]) -> Vec<u8> {
    let mut body = b"}\x94(".to_vec();
    let text = |body: &mut Vec<u8>, text: &str| {
        body.extend([0x8c, u8::try_from(text.len()).unwrap()]);
        body.extend_from_slice(text.as_bytes());
        body.push(0x94);
    };
    for (name, member) in members {
        text(&mut body, name);
        match member {
            Member::Nothing => body.push(b'N'),
            Member::Switch(true) => body.push(0x88),
            Member::Switch(false) => body.push(0x89),
            Member::Number(number) => {
                body.push(b'J');
                body.extend(number.to_le_bytes());
            }
            Member::Text(value) => text(&mut body, value),
        }
    }
    body.extend(b"u.");
    let length = u64::try_from(body.len()).unwrap().to_le_bytes();
    [b"\x80\x05\x95".as_slice(), &length, &body].concat()
}
