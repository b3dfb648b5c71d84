//! Rubbish: each gets the contract's status and code within a second, and nothing is left.

use cloakroom_tests::{
    client::{expect, refused, sample},
    stand::Stand,
};
use reqwest::{Method, StatusCode};

use crate::{
    forms::{FILE, form},
    raw,
};

#[tokio::test]
async fn a_body_cut_at_any_byte_leaves_nothing() {
    let stand = Stand::simple().await;
    let body = form(&[(FILE, "hello, world")]);
    let head = stand.head(
        "POST",
        "/files",
        "Content-Type: multipart/form-data; boundary=b\r\n",
        body.len(),
    );
    let whole = [head.into_bytes(), body].concat();
    for cut in (0..whole.len()).step_by(7) {
        raw::send_and_leave(stand.address(), &whole[..cut]).await;
    }
    let raw_head = stand.head("POST", "/files?filename=a", "", 100_000);
    for sent in [0, 1, 65_536, 99_999] {
        let bytes = [raw_head.clone().into_bytes(), sample(sent, 1)].concat();
        raw::send_and_leave(stand.address(), &bytes).await;
        let answer = raw::send_and_half_close(stand.address(), &bytes).await;
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 400"),
            "{sent}: {answer}"
        );
    }
    stand.settle().await;
    stand.assert_nothing_left().await;
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_413_with_and_without_a_length() {
    let stand = Stand::with(&[("CLOAKROOM_MAX_FILE_SIZE", "1MiB")]).await;
    let api = stand.user();
    let exact = sample(1024 * 1024, 1);
    expect(
        api.upload("a", "text/plain", exact.clone()).await,
        StatusCode::CREATED,
    )
    .await;
    expect(
        api.post("/files").body(exact).send().await.unwrap(),
        StatusCode::CREATED,
    )
    .await;
    let over = sample(1024 * 1024 + 1, 1);
    let problem = refused(
        api.post("/files").body(over.clone()).send().await.unwrap(),
        413,
        "FILE_003",
    )
    .await;
    assert!(
        problem["detail"].as_str().unwrap().contains("1048576"),
        "says the limit"
    );
    refused(
        api.upload("a", "text/plain", over.clone()).await,
        413,
        "FILE_003",
    )
    .await;
    let chunks = futures_util::stream::iter(
        over.chunks(8192)
            .map(|c| Ok::<_, std::io::Error>(c.to_vec()))
            .collect::<Vec<_>>(),
    );
    let unknown = api
        .post("/files")
        .body(reqwest::Body::wrap_stream(chunks))
        .send()
        .await
        .unwrap();
    refused(unknown, 413, "FILE_003").await;
    // Announced far beyond the limit: refused before a byte of the body.
    let head = stand.head("POST", "/files", "", 10_000_000_000);
    let answer = raw::send_and_read(stand.address(), head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert_eq!(stand.objects().await, 2);
    stand.assert_consistent().await;
}

#[tokio::test]
async fn one_hundred_continue_comes_only_once_the_request_may_go_on() {
    let stand = Stand::with(&[("CLOAKROOM_MAX_FILE_SIZE", "1MiB")]).await;
    let expects = "Expect: 100-continue\r\n";
    let anonymous =
        "POST /files HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    let answer = raw::send_and_read(stand.address(), anonymous.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    let large = stand.head("POST", "/files", expects, 2_000_000);
    let answer = raw::send_and_read(stand.address(), large.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    let foreign = stand.head("PUT", "/files/nowhere", expects, 5);
    let answer = raw::send_and_read(stand.address(), foreign.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    // What is no upload is held to no upload's limits.
    let page = format!(
        "{{\"ids\": [], \"unknown\": \"{}\"}}",
        "y".repeat(1_200_000)
    );
    let service = stand.create_token("service", &["--account", "1"]).await;
    let head = format!(
        "POST /files/reconcile HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {service}\r\n{expects}\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        page.len()
    );
    let answer = raw::expect_then_send(stand.address(), head.as_bytes(), page.as_bytes()).await;
    assert!(answer.contains("HTTP/1.1 422"), "{answer}");
    let fine = stand.head("POST", "/files", expects, 5);
    let answer = raw::expect_then_send(stand.address(), fine.as_bytes(), b"hello").await;
    assert!(answer.contains("HTTP/1.1 201"), "{answer}");
}

#[tokio::test]
async fn framing_that_could_smuggle_is_400_and_closed() {
    let stand = Stand::simple().await;
    let token = stand.user_token();
    let lead = format!("POST /files HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n");
    for (what, rest) in [
        (
            "length and transfer encoding",
            "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /health HTTP/1.1\r\nHost: x\r\n\r\n",
        ),
        (
            "two lengths",
            "Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
        ),
        (
            "a length that is no number",
            "Content-Length: +4\r\n\r\nabcd",
        ),
        (
            "a bad chunk size",
            "Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
        ),
        (
            "an unknown transfer coding",
            "Transfer-Encoding: chunked, x\r\n\r\n0\r\n\r\n",
        ),
        ("a header without a name", ": x\r\n\r\n"),
        ("NUL in a header", "X-A: a\0b\r\n\r\n"),
        (
            "a chunk longer than it says",
            "Transfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n0\r\n\r\n",
        ),
        (
            "a chunk whose length overflows",
            "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nabc\r\n0\r\n\r\n",
        ),
        (
            "a bad chunk where 100 Continue was not awaited",
            "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n0\r\n\r\n",
        ),
    ] {
        let address = stand.address();
        let bytes = format!("{lead}{rest}");
        let answer = raw::send_and_read(address, bytes.as_bytes()).await;
        raw::assert_refused_connection(what, &answer, 400);
        let answer = raw::send_and_half_close(address, bytes.as_bytes()).await;
        raw::assert_refused_connection(what, &answer, 400);
    }
    stand.settle().await;
    stand.assert_nothing_left().await;
}

#[tokio::test]
async fn ids_that_cannot_be_are_422_and_unknown_ones_404_in_every_spelling() {
    let stand = Stand::simple().await;
    let api = stand.user();
    let (most, more) = ("a".repeat(512), "a".repeat(600));
    for (id, status, code) in [
        ("a%00b", 422, "VAL_001"),
        (more.as_str(), 422, "VAL_001"),
        (most.as_str(), 404, "FILE_001"),
        ("..%2F..%2Fetc%2Fpasswd", 404, "FILE_001"),
        ("%252e%252e", 404, "FILE_001"),
        ("nowhere", 404, "FILE_001"),
    ] {
        for (method, tail) in [
            (Method::GET, ""),
            (Method::PUT, ""),
            (Method::DELETE, ""),
            (Method::GET, "/info"),
            (Method::POST, "/restore"),
            (Method::GET, "/versions"),
            (Method::GET, "/versions/1"),
        ] {
            let answer = api
                .call(method, &format!("/files/{id}{tail}"))
                .send()
                .await
                .unwrap();
            refused(answer, status, code).await;
        }
    }
    let climbing = "GET /files/../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n";
    let answer = raw::send_and_read(stand.address(), climbing.as_bytes()).await;
    assert!(
        answer.starts_with("HTTP/1.1 404") || answer.starts_with("HTTP/1.1 401"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_name_of_ten_thousand_bytes_is_cut_and_an_odd_query_is_422() {
    let stand = Stand::simple().await;
    let api = stand.user();
    let long = "x".repeat(10_000);
    let file = expect(
        api.upload(&format!("{long}.pdf"), "application/pdf", "x")
            .await,
        StatusCode::CREATED,
    )
    .await;
    let name = file["filename"].as_str().unwrap();
    assert!(name.len() <= 255 && name.ends_with("x.pdf"));
    for query in [
        "limit=0",
        "limit=1001",
        "limit=x",
        "cursor=!",
        "created_after=yesterday",
        "deleted=perhaps",
        "type=x",
        "topic=t",
    ] {
        let answer = api.get(&format!("/files?{query}")).send().await.unwrap();
        refused(answer, 422, "VAL_001").await;
    }
    let key = api
        .post("/files")
        .header("Idempotency-Key", "k".repeat(256))
        .body("x");
    refused(key.send().await.unwrap(), 422, "VAL_001").await;
}
