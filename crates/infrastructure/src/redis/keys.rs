//! Under which key of Redis a token is kept.

use std::{sync::Arc, time::Duration};

use cloakroom_application::{
    authenticators::ISSUED_PREFIX,
    ports::{Credential, CredentialError},
};
use cloakroom_domain::TokenHash;
use moka::sync::Cache;
use pbkdf2::{pbkdf2_hmac_array, sha2::Sha256};
use tokio::{runtime::Handle, sync::Semaphore, time::timeout};

/// A key in Redis. That of a public token holds the token, so it does not print.
pub(super) type Key = Arc<[u8]>;

/// The longest token that a user may have, in bytes.
const LONGEST: usize = 256;
/// The lengths of public tokens and of those for embedded forms.
const PUBLIC: [usize; 2] = [8, 32];
/// Up to so many rounds a key is made where it is needed, which is faster than remembering it.
const FEW_ROUNDS: u32 = 16;
/// So many keys are remembered where they are dear.
const REMEMBERED: u64 = 10_000;
/// How long a token waits for its turn where others' keys are being made.
const TURN: Duration = Duration::from_millis(500);

/// A token that may be in Redis, by what it makes of its bearer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A user's (of Django REST framework).
    User(&'a str),
    /// A visitor's of a public or embedded form.
    Public(&'a str),
}

impl<'a> Token<'a> {
    /// The token of a credential, unless it cannot be one of the backend's.
    pub(super) fn of(credential: &'a Credential) -> Option<Self> {
        match credential {
            Credential::Bearer(token) | Credential::Cookie(token) => {
                let token = token.reveal();
                let graphic = token.bytes().all(|byte| byte.is_ascii_graphic());
                let good = graphic && (1..=LONGEST).contains(&token.len());
                // Three parts with dots are a JWT, and the other prefix is our own.
                let others = token.split('.').count() == 3 || token.starts_with(ISSUED_PREFIX);
                (good && !others).then_some(Self::User(token))
            }
            Credential::Public(token) | Credential::PublicCookie(token) => {
                let token = token.reveal();
                let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
                let good = PUBLIC.contains(&token.len()) && token.bytes().all(plain);
                good.then_some(Self::Public(token))
            }
            Credential::Guest(_) | Credential::GuestCookie(_) | Credential::Malformed => None,
        }
    }
}

/// Makes keys as the backend does.
pub(super) struct Keys {
    prefix: Vec<u8>,
    salt: Arc<[u8]>,
    rounds: u32,
    dear: Option<Dear>,
}

/// What is there where a key takes many rounds.
struct Dear {
    known: Cache<TokenHash, [u8; 32]>,
    turns: Arc<Semaphore>,
    runtime: Handle,
}

impl Keys {
    /// With the prefix of the backend's cache, its secret key as the salt, and so many rounds of PBKDF2.
    pub(super) fn new(prefix: &str, secret_key: &str, rounds: u32) -> Self {
        let dear = (rounds > FEW_ROUNDS).then(|| Dear {
            known: Cache::new(REMEMBERED),
            turns: Arc::new(Semaphore::new(
                std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2)),
            )),
            runtime: Handle::current(),
        });
        Self {
            prefix: prefix.into(),
            salt: secret_key.as_bytes().into(),
            rounds,
            dear,
        }
    }

    /// The key of a token: the prefix, and the token itself or what PBKDF2-HMAC-SHA256 makes of it in hexadecimal.
    ///
    /// # Errors
    /// Too many tokens that nobody knows are waiting for their keys.
    pub(super) async fn of(&self, token: Token<'_>) -> Result<Key, CredentialError> {
        match token {
            Token::Public(token) => Ok([&self.prefix, token.as_bytes()].concat().into()),
            Token::User(token) => {
                let derived = match &self.dear {
                    None => derive(token.as_bytes(), &self.salt, self.rounds),
                    Some(dear) => self.derive_once(dear, token).await?,
                };
                let mut key = self.prefix.clone();
                key.resize(self.prefix.len() + 64, b'0');
                hex::encode_to_slice(derived, &mut key[self.prefix.len()..])
                    .map_err(|error| CredentialError::Unavailable(error.into()))?;
                Ok(key.into())
            }
        }
    }

    /// Makes the key on a thread that may be busy, a few at a time, and only once for each token.
    async fn derive_once(&self, dear: &Dear, token: &str) -> Result<[u8; 32], CredentialError> {
        let hash = TokenHash::of(token);
        if let Some(known) = dear.known.get(&hash) {
            return Ok(known);
        }
        let busy = |_| CredentialError::Unavailable("too many unknown tokens at once".into());
        let turn = timeout(TURN, dear.turns.clone().acquire_owned()).await;
        let turn = turn.map_err(busy)?;
        if let Some(known) = dear.known.get(&hash) {
            return Ok(known);
        }
        let (token, salt, rounds) = (token.to_owned(), self.salt.clone(), self.rounds);
        let known = dear.known.clone();
        let made = dear.runtime.spawn_blocking(move || {
            let derived = derive(token.as_bytes(), &salt, rounds);
            known.insert(hash, derived);
            // Held by the work itself: a caller that leaves does not make room for another.
            drop(turn);
            derived
        });
        made.await
            .map_err(|error| CredentialError::Unavailable(error.into()))
    }
}

fn derive(token: &[u8], salt: &[u8], rounds: u32) -> [u8; 32] {
    pbkdf2_hmac_array::<Sha256, 32>(token, salt, rounds)
}

#[cfg(test)]
mod tests {
    use cloakroom_application::ports::Presented;

    use super::*;

    fn presented(text: &str) -> Presented {
        Presented::new(text.to_owned())
    }

    #[tokio::test]
    async fn keys_are_those_of_the_backend() {
        let key = async |keys: &Keys, token| {
            let key = keys.of(token).await.unwrap();
            String::from_utf8(key.to_vec()).unwrap()
        };
        // Made by hashlib.pbkdf2_hmac("sha256", b"token", b"secret key", rounds).hex()
        let once = Keys::new(":1:", "secret key", 1);
        assert_eq!(
            key(&once, Token::User("token")).await,
            ":1:d5c9fa03ad628421df8638e94662c828058a67d6592a8def92522ed79bd6b1df"
        );
        let often = Keys::new("app:2:", "secret key", 1000);
        for _ in 0..2 {
            assert_eq!(
                key(&often, Token::User("token")).await,
                "app:2:842e92ac7992dd20c1442c419f3cd80083e82df4c8493b5c6788c35c9c267f70"
            );
        }
        assert_eq!(key(&once, Token::Public("abcdefgh")).await, ":1:abcdefgh");
    }

    #[test]
    fn only_what_can_be_a_token_of_the_backend_is_looked_up() {
        let user = |text: &str| Token::of(&Credential::Bearer(presented(text))).is_some();
        assert!(user("7f3a9c2e51b04d187f3a9c2e51b04d18") && user("a.b"));
        let long = "a".repeat(257);
        for bad in [
            "", "a b", "a\0b", "a\u{e9}", "a\nb", "a.b.c", "ckr_x", &long,
        ] {
            assert!(!user(bad), "{bad}");
        }
        let public = |text: &str| Token::of(&Credential::PublicCookie(presented(text))).is_some();
        assert!(public("abcd-_09") && public(&"a".repeat(32)));
        let (hash, long) = ("0".repeat(64), "a".repeat(33));
        for bad in [
            "",
            "abcdefg",
            "abcd:fgh",
            "abcd\0fgh",
            "abcd fgh",
            "abcdef\u{e9}",
            &hash,
            &long,
        ] {
            assert!(!public(bad), "{bad}");
        }
        assert!(Token::of(&Credential::Guest(presented("abcdefgh"))).is_none());
    }
}
