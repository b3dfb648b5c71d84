//! Requests that no client would send, and whatever comes back.

use std::{net::SocketAddr, time::Duration};

use cloakroom_tests::client::Raw;

const PATIENCE: Duration = Duration::from_secs(10);

/// How long after an answer nothing more is awaited.
const PAUSE: Duration = Duration::from_millis(300);

async fn connect(to: SocketAddr) -> Raw {
    Raw::connect(&to.to_string()).await
}

/// Sends and closes without reading.
pub async fn send_and_leave(to: SocketAddr, bytes: &[u8]) {
    connect(to).await.send(bytes).await.unwrap();
}

/// Sends, closes the sending side, and reads to the end.
pub async fn send_and_half_close(to: SocketAddr, bytes: &[u8]) -> String {
    let mut raw = connect(to).await;
    // The service may have answered and closed before it has everything.
    let _ = raw.send(bytes).await;
    let _ = raw.half_close().await;
    text(&raw.read_while(PATIENCE, PATIENCE).await)
}

/// Sends and reads until the service closes, or one answer is there and nothing more comes for a moment.
pub async fn send_and_read(to: SocketAddr, bytes: &[u8]) -> String {
    let mut raw = connect(to).await;
    let _ = raw.send(bytes).await;
    text(&raw.read_while(PATIENCE, PAUSE).await)
}

/// Sends the pieces with a moment between them, and reads until the service closes.
pub async fn send_in_pieces(to: SocketAddr, pieces: &[&[u8]]) -> String {
    let mut raw = connect(to).await;
    for piece in pieces {
        let _ = raw.send(piece).await;
        tokio::time::sleep(PAUSE).await;
    }
    text(&raw.read_while(PATIENCE, PATIENCE).await)
}

/// One answer that refuses the connection: ours, with its headers and a problem as its body.
pub fn assert_refused_connection(what: &str, answer: &str, status: u16) {
    let answer = answer
        .strip_prefix("HTTP/1.1 100 Continue\r\n\r\n")
        .unwrap_or(answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    let head = head.to_ascii_lowercase();
    assert!(
        head.starts_with(&format!("http/1.1 {status} ")),
        "{what}: {answer}"
    );
    for expected in [
        "connection: close",
        "content-type: application/problem+json",
        "x-content-type-options: nosniff",
        "content-security-policy: ",
        "x-request-id: ",
        &format!("content-length: {}", body.len()),
    ] {
        assert!(
            head.contains(&format!("\r\n{expected}")),
            "{what}: no {expected} in {answer}"
        );
    }
    let problem: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(problem["code"], "VAL_004", "{what}");
    assert_eq!(problem["status"], status, "{what}");
}

/// Sends a head that expects `100 Continue`, the body once told to go on, and reads the answers.
pub async fn expect_then_send(to: SocketAddr, head: &[u8], body: &[u8]) -> String {
    let mut raw = connect(to).await;
    raw.send(head).await.unwrap();
    let go_on = raw.answer(PATIENCE).await.unwrap();
    assert_eq!((go_on.status, go_on.headers), (100, Vec::new()));
    raw.send(body).await.unwrap();
    text(&raw.read_while(PATIENCE, PAUSE).await)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
