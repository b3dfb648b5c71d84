//! An issuer that is slow, silent, lying or huge.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use jsonwebtoken::Algorithm::EdDSA;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinHandle,
};

use super::*;
use crate::jwt::testing::{ed25519, published};

/// Answers every connection with the same bytes, and counts.
struct Issuer {
    url: String,
    answer: Arc<Mutex<Vec<u8>>>,
    asked: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Issuer {
    async fn start(answer: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/jwks", listener.local_addr().unwrap());
        let answer = Arc::new(Mutex::new(answer));
        let asked = Arc::new(AtomicUsize::new(0));
        let (says, counts) = (answer.clone(), asked.clone());
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                counts.fetch_add(1, Ordering::SeqCst);
                let answer = says.lock().unwrap().clone();
                tokio::spawn(async move {
                    let _ = stream.read(&mut [0; 4096]).await;
                    let _ = stream.write_all(&answer).await;
                    if answer.is_empty() {
                        // Says nothing, and keeps the line open.
                        std::future::pending::<()>().await;
                    }
                });
            }
        });
        Self {
            url,
            answer,
            asked,
            task,
        }
    }

    fn says(&self, answer: Vec<u8>) {
        *self.answer.lock().unwrap() = answer;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// Its keys, being kept fresh.
    fn keys(&self) -> Arc<RemoteKeys> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let keys = Arc::new(RemoteKeys::new(&self.url, None).unwrap());
        let kept = keys.clone();
        tokio::spawn(async move { kept.keep_fresh(std::future::pending()).await });
        keys
    }
}

fn ok(body: &str) -> Vec<u8> {
    let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/json";
    format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn set(kids: &[&str]) -> Vec<u8> {
    let keys: Vec<_> = kids
        .iter()
        .map(|kid| published(&ed25519(1), EdDSA, kid))
        .collect();
    ok(&json!({ "keys": keys }).to_string())
}

async fn has(keys: &RemoteKeys, kid: &str) -> Result<bool, CredentialError> {
    let found = keys.suitable(Some(kid), EdDSA).await?;
    Ok(!found.is_empty())
}

async fn is_unavailable(keys: &RemoteKeys, kid: &str) -> bool {
    matches!(has(keys, kid).await, Err(CredentialError::Unavailable(_)))
}

#[tokio::test]
async fn fifty_requests_at_once_are_one_fetch_and_made_up_ids_no_more() {
    let issuer = Issuer::start(set(&["a"])).await;
    let begun = std::time::Instant::now();
    let keys = issuer.keys();
    let asking: Vec<_> = (0..50)
        .map(|n| {
            let keys = keys.clone();
            let kid = if n % 2 == 0 {
                "a".to_owned()
            } else {
                format!("made-up-{n}")
            };
            tokio::spawn(async move { (n % 2 == 0, has(&keys, &kid).await.unwrap()) })
        })
        .collect();
    for one in asking {
        let (expected, found) = one.await.unwrap();
        assert_eq!(expected, found);
    }
    for n in 0..500 {
        assert!(!has(&keys, &format!("{n}")).await.unwrap());
    }
    let pauses = begun.elapsed().as_secs() / PAUSE.as_secs();
    assert!(issuer.asked() as u64 <= 1 + pauses, "{}", issuer.asked());
}

#[tokio::test]
async fn a_new_key_is_asked_for_after_a_pause_and_an_old_one_lives_on_while_the_issuer_is_down() {
    let issuer = Issuer::start(set(&["a"])).await;
    let keys = issuer.keys();
    assert!(has(&keys, "a").await.unwrap());
    issuer.says(set(&["a", "b"]));
    assert!(!has(&keys, "b").await.unwrap(), "asked a moment ago");
    tokio::time::sleep(PAUSE + Duration::from_millis(200)).await;
    assert!(has(&keys, "b").await.unwrap());
    assert_eq!(issuer.asked(), 2);

    issuer.says(b"HTTP/1.1 503 Busy\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".to_vec());
    tokio::time::sleep(PAUSE + Duration::from_millis(200)).await;
    assert!(is_unavailable(&keys, "c").await, "nobody knows");
    assert!(has(&keys, "a").await.unwrap() && has(&keys, "b").await.unwrap());
}

#[tokio::test]
async fn an_issuer_that_fails_in_any_way_is_no_refusal_and_takes_no_longer_than_its_limit() {
    let far = "HTTP/1.1 302 Found\r\nConnection: close\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n";
    let endless = format!("{{\"keys\": [\"{}\"]}}", "x".repeat(MAX_ANSWER));
    let cut = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{\"keys\"".to_vec();
    for answer in [
        Vec::new(),
        far.as_bytes().to_vec(),
        ok(&endless),
        ok("<html>"),
        ok("{\"keys\": []}"),
        cut,
        b"rubbish\r\n\r\n".to_vec(),
    ] {
        let issuer = Issuer::start(answer.clone()).await;
        let keys = issuer.keys();
        let begun = std::time::Instant::now();
        let shown = String::from_utf8_lossy(&answer[..answer.len().min(60)]).into_owned();
        assert!(is_unavailable(&keys, "a").await, "{shown}");
        assert!(
            begun.elapsed() < PATIENCE + Duration::from_secs(2),
            "{shown}"
        );
        assert!(is_unavailable(&keys, "a").await, "{shown}");
        assert_eq!(issuer.asked(), 1, "{shown}");
    }
    // Nobody listens.
    let gone = Issuer::start(Vec::new()).await;
    gone.task.abort();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(is_unavailable(&gone.keys(), "a").await);
}

#[test]
fn keys_too_old_are_not_used() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let body = json!({"keys": [published(&ed25519(1), EdDSA, "a")]}).to_string();
        let known = Known {
            keys: Some((
                Arc::new(KeySet::read(body.as_bytes(), None).unwrap()),
                Instant::now(),
            )),
            last: None,
        };
        tokio::time::advance(MAX_AGE - Duration::from_secs(1)).await;
        assert_eq!(known.suitable(Some("a"), EdDSA).len(), 1);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(known.suitable(Some("a"), EdDSA).len(), 0);
    });
}
