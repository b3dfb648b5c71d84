//! Uploads whose requests break off, hang, meet each other, or lose the replica under them.

mod connections;
mod dependencies;
mod duels;
mod replicas;

use std::time::Duration;

use cloakroom_tests::{
    client::{OFFSET_STREAM, Raw, Tus},
    stand::Stand,
};

/// A stuck request has two seconds to yield; the rest is for a busy machine.
pub const TURN: Duration = Duration::from_secs(5);

const PATIENCE: Duration = Duration::from_secs(60);

/// A tus PATCH that announces `length` bytes, of which none is sent yet.
pub async fn begun(stand: &Stand, path: &str, offset: u64, length: usize) -> Raw {
    let more = format!(
        "Tus-Resumable: 1.0.0\r\nContent-Type: {OFFSET_STREAM}\r\nUpload-Offset: {offset}\r\n"
    );
    let mut raw = Raw::connect(&stand.base()).await;
    raw.send(stand.head("PATCH", path, &more, length))
        .await
        .unwrap();
    raw
}

/// The offset, asked for until the service answers.
pub async fn offset(stand: &Stand, path: &str) -> u64 {
    let mut found = None;
    let tus = Tus::new(&stand.user());
    let told = async || {
        let answer = tus.client().call(reqwest::Method::HEAD, path).send().await;
        let told = answer.ok().filter(|answer| answer.status().is_success());
        found = told.map(|answer| cloakroom_tests::client::offset_in(&answer));
        found.is_some()
    };
    stand.until("an offset is told", told).await;
    found.unwrap()
}

/// Sends the rest from that offset on and compares the file.
pub async fn complete(stand: &Stand, path: &str, offset: u64, body: &[u8]) {
    let rest = &body[usize::try_from(offset).unwrap()..];
    let tus = Tus::new(&stand.user());
    assert_eq!(tus.patched(path, offset, rest).await, body.len() as u64);
    let found = stand.user().bytes(&path.replace("/uploads", "")).await;
    assert!(found == body, "{path} is not what was sent");
}

/// The stuck request has been told that another took its upload, or its connection is closed.
pub async fn assert_ended(mut stuck: Raw) {
    let answer = stuck.answer(PATIENCE).await;
    if let Ok(answer) = answer {
        assert_eq!(answer.status, 423, "{}", answer.text());
        assert!(answer.text().contains("UPLOAD_003"), "{}", answer.text());
    }
}
