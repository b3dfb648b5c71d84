//! Connections that are used wrongly, half, or several times over.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use cloakroom_tests::{
    client::{Raw, expect, file_path, id, refused, sample},
    service::Setup,
    stand::Stand,
};
use reqwest::StatusCode;

use crate::raw::{assert_refused_connection, send_and_half_close, send_and_read, send_in_pieces};

const PATIENCE: Duration = Duration::from_secs(10);
/// What the server underneath would say by itself.
const BARE: &str = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";

fn chunked(stand: &Stand) -> String {
    stand
        .head("POST", "/files", "Transfer-Encoding: chunked\r\n", 0)
        .replace("Content-Length: 0\r\n", "")
}

async fn connect(to: SocketAddr) -> Raw {
    Raw::connect(&to.to_string()).await
}

#[tokio::test]
async fn a_bad_chunk_in_the_middle_of_a_body_is_400_and_nothing_is_left() {
    let stand = Stand::simple().await;
    let head = chunked(&stand);
    let good = b"3\r\nabc\r\n".as_slice();
    let more = [b"zz\r\n".as_slice(), &sample(1_000_000, 1)].concat();
    for pieces in [
        [head.as_bytes(), good, b"zz\r\nabc\r\n"],
        // Somebody who goes on sending sees the answer and not a reset.
        [head.as_bytes(), good, more.as_slice()],
    ] {
        let answer = send_in_pieces(stand.address(), &pieces).await;
        assert_refused_connection("a bad chunk", &answer, 400);
    }
    stand.settle().await;
    stand.assert_nothing_left().await;
}

#[tokio::test]
async fn a_later_request_with_bad_framing_is_400_after_the_answers_before_it() {
    let stand = Stand::simple().await;
    let good = stand.head("GET", "/health", "", 0);
    let two_lengths = stand.head("POST", "/files", "Content-Length: 4\r\n", 5);
    let bad_chunk = format!("{}zz\r\n", chunked(&stand));
    for (what, bad) in [("two lengths", two_lengths), ("a bad chunk", bad_chunk)] {
        let mut raw = connect(stand.address()).await;
        for _ in 0..2 {
            raw.send(&good).await.unwrap();
            assert_eq!(raw.answer(PATIENCE).await.unwrap().status, 200);
        }
        raw.send(&bad).await.unwrap();
        let rest = raw.read_while(PATIENCE, PATIENCE).await;
        assert_refused_connection(what, &String::from_utf8_lossy(&rest), 400);
        // All at once: the answers in order, the refusal last, and closed.
        let mut raw = connect(stand.address()).await;
        raw.send(format!("{good}{good}{bad}")).await.unwrap();
        for status in [200, 200, 400] {
            let answer = raw.answer(PATIENCE).await.unwrap();
            assert_eq!(answer.status, status, "{what}: {}", answer.text());
        }
        assert!(raw.closed(PATIENCE).await, "{what}: not closed");
    }
}

#[tokio::test]
async fn a_file_that_reads_like_a_refusal_comes_back_as_it_is() {
    let stand = Stand::simple().await;
    let api = stand.user();
    let short = BARE.as_bytes().to_vec();
    let long = BARE.repeat(40_000).into_bytes();
    for body in [short, long] {
        let file = api.stored("a.txt", body.clone()).await;
        let path = format!("/files/{}", id(&file));
        assert_eq!(api.bytes(&path).await, body);
        let get = stand.head("GET", &path, "", 0);
        let mut raw = connect(stand.address()).await;
        raw.send(get.repeat(5)).await.unwrap();
        for _ in 0..5 {
            assert_eq!(raw.answer(PATIENCE).await.unwrap().body, body);
        }
        raw.send(format!("{get}\0\r\n\r\n")).await.unwrap();
        assert_eq!(raw.answer(PATIENCE).await.unwrap().body, body);
        assert_eq!(raw.answer(PATIENCE).await.unwrap().status, 400);
        assert!(raw.closed(PATIENCE).await);
    }
}

#[tokio::test]
async fn a_head_that_is_too_large_is_431() {
    let stand = Stand::simple().await;
    let many = "X-A: b\r\n".repeat(200);
    let head = stand.head("GET", "/health", &many, 0);
    let answer = send_and_read(stand.address(), head.as_bytes()).await;
    assert_refused_connection("many fields", &answer, 431);
    let long = format!("X-A: {}\r\n", "b".repeat(300_000));
    let head = stand.head("GET", "/health", &long, 0);
    let answer = send_and_read(stand.address(), head.as_bytes()).await;
    assert_refused_connection("a long field", &answer, 431);
}

#[tokio::test]
async fn a_client_that_stops_sending_gets_its_answer_and_nothing_after_it() {
    let stand = Stand::simple().await;
    let address = stand.address();
    for (sent, status) in [
        (stand.head("GET", "/health", "", 0), "200"),
        (format!("{}5\r\nhello\r\n0\r\n\r\n", chunked(&stand)), "201"),
        // Cut short: the handler itself says so.
        (stand.head("POST", "/files", "", 100), "400"),
    ] {
        let answer = send_and_half_close(address, sent.as_bytes()).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    }
    for sent in ["", "\r\n", "GET /health HTTP/1.1\r\nHo"] {
        let answer = send_and_half_close(address, sent.as_bytes()).await;
        assert_eq!(answer, "", "{sent:?}");
    }
}

#[tokio::test]
async fn connections_without_a_whole_request_end_silently_when_the_service_stops() {
    let mut stand = Stand::simple().await;
    let mut idle = connect(stand.address()).await;
    idle.send(stand.head("GET", "/health", "", 0))
        .await
        .unwrap();
    assert_eq!(idle.answer(PATIENCE).await.unwrap().status, 200);
    let mut half = connect(stand.address()).await;
    half.send("GET /health HTTP/1.1\r\nHo").await.unwrap();
    let silent = connect(stand.address()).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(stand.terminate().await.code(), Some(0));
    for mut raw in [idle, half, silent] {
        let rest = raw.read_while(PATIENCE, PATIENCE).await;
        assert_eq!(String::from_utf8_lossy(&rest), "");
    }
}

#[tokio::test]
async fn a_body_is_refused_once_64_kib_past_the_limit_have_come() {
    const LIMIT: usize = 1024 * 1024;
    const PAST: usize = 64 * 1024;
    let stand = Stand::with(&[("CLOAKROOM_MAX_FILE_SIZE", "1MiB")]).await;
    let head = chunked(&stand);
    let form = head.replace(
        "Transfer-Encoding",
        "Content-Type: multipart/form-data; boundary=b\r\nTransfer-Encoding",
    );
    let part = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n";
    for (head, lead) in [(head, ""), (form, part)] {
        let mut raw = connect(stand.address()).await;
        raw.send(&head).await.unwrap();
        let mut body = lead.as_bytes().to_vec();
        body.resize(lead.len() + LIMIT + PAST, b'x');
        for piece in body.chunks(4096) {
            let size = format!("{:x}\r\n", piece.len());
            let chunk = [size.as_bytes(), piece, b"\r\n".as_slice()];
            // It may have been refused before all of this came.
            let _ = raw.send(chunk.concat()).await;
        }
        // Nothing more comes, and the body has no end: what was read so far is enough.
        let answer = raw.answer(PATIENCE).await.unwrap();
        assert_eq!(answer.status, 413, "{}", answer.text());
    }
    stand.settle().await;
    stand.assert_nothing_left().await;
}

/// A client that sends a little more than a start, and then drips.
fn dripping() -> reqwest::Body {
    let first = Bytes::from(sample(1_300_000, 1));
    let drops = futures_util::stream::unfold(Some(first), |next| async {
        let chunk = next.unwrap_or_else(|| Bytes::from_static(&[0; 3000]));
        tokio::time::sleep(Duration::from_millis(500)).await;
        Some((Ok::<_, std::io::Error>(chunk), None))
    });
    reqwest::Body::wrap_stream(drops)
}

#[tokio::test]
async fn clients_that_drip_hold_nobody_up_for_long() {
    // Room for two parts.
    let small = ("CLOAKROOM_UPLOAD_BUFFER", "24MiB");
    let stand = Stand::start_with(Setup::SqliteGarage, &[small]).await;
    let user = stand.user();
    let slow: Vec<_> = (0..2)
        .map(|_| tokio::spawn(user.post("/files").body(dripping()).send()))
        .collect();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let body = sample(10_000_000, 2);
    let begun = Instant::now();
    let fast = user.post("/files").body(body.clone()).send();
    let file = expect(fast.await.unwrap(), StatusCode::CREATED).await;
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(45), "{took:?}");
    assert!(user.bytes(&file_path(id(&file))).await == body);
    let (told, _, others) = futures_util::future::select_all(slow).await;
    let problem = refused(told.unwrap().unwrap(), 503, "STORAGE_002").await;
    assert!(problem["detail"].is_string());
    for other in others {
        other.abort();
    }
    stand.settle().await;
}
