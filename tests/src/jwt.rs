//! JWTs as a backend or an identity provider makes them, and an identity provider that publishes its keys.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, crypto, jwk::Jwk};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinHandle,
};

/// Long after any test.
pub const LATER: u64 = 4_102_444_800;

/// The claims of a guest of that account, good for long.
#[must_use]
pub fn guest_claims(account: u64, user: Option<u64>) -> Value {
    json!({"exp": LATER, "token_type": "guest", "account_id": account, "user_id": user})
}

/// A token by HS256 with that secret.
#[must_use]
pub fn hs256(secret: &str, claims: &Value) -> String {
    signed(
        &json!({"alg": "HS256", "typ": "JWT"}),
        claims,
        &EncodingKey::from_secret(secret.as_bytes()),
        Algorithm::HS256,
    )
}

/// A token with that header, whatever it says, signed so.
///
/// # Panics
/// The key is not for the algorithm.
#[must_use]
pub fn signed(header: &Value, claims: &Value, key: &EncodingKey, how: Algorithm) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(header), part(claims));
    let signature = crypto::sign(signed.as_bytes(), key, how).unwrap();
    format!("{signed}.{signature}")
}

/// An identity provider with Ed25519 keys, that publishes those it is told to.
#[derive(Debug)]
pub struct Issuer {
    url: String,
    published: Arc<Mutex<Option<Vec<u8>>>>,
    asked: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Issuer {
    /// Starts one that publishes its keys of these numbers.
    pub async fn start(numbers: &[u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/jwks.json", listener.local_addr().unwrap());
        let published = Arc::new(Mutex::new(None));
        let asked = Arc::new(AtomicUsize::new(0));
        let (says, counts) = (published.clone(), asked.clone());
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                counts.fetch_add(1, Ordering::SeqCst);
                let answer: Option<Vec<u8>> = says.lock().unwrap().clone();
                tokio::spawn(async move {
                    let _ = stream.read(&mut [0; 4096]).await;
                    match answer {
                        Some(answer) => {
                            let _ = stream.write_all(&answer).await;
                        }
                        None => std::future::pending().await,
                    }
                });
            }
        });
        let issuer = Self {
            url,
            published,
            asked,
            task,
        };
        issuer.publish(numbers);
        issuer
    }

    /// Where its keys are.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// How often it was asked.
    #[must_use]
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// Publishes its keys of these numbers from now on.
    ///
    /// # Panics
    /// A thread panicked while it held the lock.
    pub fn publish(&self, numbers: &[u8]) {
        let keys: Vec<Value> = numbers
            .iter()
            .map(|number| {
                let jwk = Jwk::from_encoding_key(&ed25519(*number), Algorithm::EdDSA).unwrap();
                let mut jwk = serde_json::to_value(jwk).unwrap();
                jwk["kid"] = json!(number.to_string());
                jwk
            })
            .collect();
        let body = json!({ "keys": keys }).to_string();
        let head = format!(
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        *self.published.lock().unwrap() = Some([head, body].concat().into_bytes());
    }

    /// Takes connections from now on and says nothing.
    ///
    /// # Panics
    /// A thread panicked while it held the lock.
    pub fn fall_silent(&self) {
        *self.published.lock().unwrap() = None;
    }

    /// A token that the key of that number signed.
    #[must_use]
    pub fn token(number: u8, claims: &Value) -> String {
        let header = json!({"alg": "EdDSA", "kid": number.to_string()});
        signed(&header, claims, &ed25519(number), Algorithm::EdDSA)
    }
}

/// A signer made of a seed (RFC 8410 §7).
fn ed25519(seed: u8) -> EncodingKey {
    let prefix = [
        0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20,
    ];
    EncodingKey::from_ed_der(&[&prefix[..], &[seed; 32]].concat())
}
