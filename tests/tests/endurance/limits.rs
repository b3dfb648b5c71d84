//! Time and memory: slow clients, clients that leave, many at once, large files.

use cloakroom_tests::{
    client::{Raw, expect, id, refused, sample},
    inspect,
    service::Setup,
    stand::Stand,
};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use reqwest::StatusCode;
use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const MIB: usize = 1024 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn two_gib_go_in_and_out_in_bounded_memory_and_come_back_right() {
    let _turn = crate::alone().await;
    for setup in [Setup::SqliteFs, Setup::PostgresGarage] {
        let stand = Stand::start_with(setup, &[("CLOAKROOM_MAX_FILE_SIZE", "3GiB")]).await;
        let api = stand.user();
        api.bytes(&format!(
            "/files/{}",
            id(&api.stored("warm", sample(MIB, 1)).await)
        ))
        .await;
        let before = stand.rss_bytes();
        let block = bytes::Bytes::from(sample(MIB, 2));
        let mut hasher = Sha256::new();
        for _ in 0..2048 {
            hasher.update(&block);
        }
        let hash = hex::encode(hasher.finalize());
        let blocks = futures_util::stream::iter(
            (0..2048).map(move |_| Ok::<_, std::io::Error>(block.clone())),
        );
        let request = api
            .post("/files?filename=large.bin")
            .body(reqwest::Body::wrap_stream(blocks));
        let sending = tokio::spawn(request.send());
        let mut most = 0;
        while !sending.is_finished() {
            most = most.max(stand.rss_bytes());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let file = expect(sending.await.unwrap().unwrap(), StatusCode::CREATED).await;
        assert_eq!(
            (&file["size"], &file["sha256"]),
            (
                &serde_json::json!(2_147_483_648_u64),
                &serde_json::json!(hash)
            )
        );
        let answer = api
            .get(&format!("/files/{}", id(&file)))
            .send()
            .await
            .unwrap();
        let mut received = Sha256::new();
        let mut stream = answer.bytes_stream();
        while let Some(chunk) = stream.next().await {
            received.update(chunk.unwrap());
            most = most.max(stand.rss_bytes());
        }
        assert_eq!(hex::encode(received.finalize()), hash);
        let grown = most.saturating_sub(before) / 1024 / 1024;
        println!("{setup:?}: resident memory grew by {grown} MiB over 2 GiB up and down");
        assert!(grown < 64, "{setup:?}: {grown} MiB");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_clients_at_a_byte_a_second_do_not_hold_up_a_fresh_get() {
    let _turn = crate::alone().await;
    let stand = Stand::simple().await;
    let api = stand.user();
    let large = api.stored("large.bin", sample(20 * MIB, 1)).await;
    let small = api.stored("small.txt", "small").await;
    let upload = stand.head("POST", "/files", "", 1_000);
    let download = stand.head("GET", &format!("/files/{}", id(&large)), "", 0);
    let mut slow = Vec::new();
    for n in 0..500 {
        let mut stream = TcpStream::connect(stand.address()).await.unwrap();
        let head = if n % 2 == 0 { &upload } else { &download };
        stream.write_all(head.as_bytes()).await.unwrap();
        slow.push(tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                if n % 2 == 0 {
                    if stream.write_all(b"x").await.is_err() {
                        return;
                    }
                } else if stream.read_u8().await.is_err() {
                    return;
                }
            }
        }));
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut times = Vec::new();
    for _ in 0..5 {
        let start = Instant::now();
        assert_eq!(api.bytes(&format!("/files/{}", id(&small))).await, b"small");
        times.push(start.elapsed());
    }
    times.sort();
    println!("fresh GETs beside 500 slow clients: {times:?}");
    assert!(times[2] < Duration::from_secs(1), "{times:?}");
    println!(
        "resident with 500 slow clients: {} MiB",
        stand.rss_bytes() / 1024 / 1024
    );
    slow.iter().for_each(tokio::task::JoinHandle::abort);
    stand.settle().await;
    stand.assert_consistent().await;
}

/// Sends eight bytes a second until the service has enough of it; its answer.
async fn trickled(mut body: TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    let (mut reading, mut writing) = body.split();
    let trickle = async {
        while writing.write_all(b"xxxx").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        _ = tokio::time::timeout(Duration::from_secs(60), reading.read_to_end(&mut answer)) => {}
        () = trickle => {}
    }
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_slower_than_10_s_and_a_body_below_1_kib_a_second_for_30_s_are_closed() {
    let _turn = crate::alone().await;
    let stand = Stand::simple().await;
    let mut head = TcpStream::connect(stand.address()).await.unwrap();
    head.write_all(b"GET /health HTTP/1.1\r\nHos")
        .await
        .unwrap();
    let mut body = TcpStream::connect(stand.address()).await.unwrap();
    body.write_all(stand.head("POST", "/files", "", 100_000).as_bytes())
        .await
        .unwrap();
    let file = stand.user().stored("a.txt", "x").await;
    let info = format!("/files/{}/info", id(&file));
    let mut silent = TcpStream::connect(stand.address()).await.unwrap();
    silent
        .write_all(stand.head("PATCH", &info, "", 9).as_bytes())
        .await
        .unwrap();
    let mut answer = Vec::new();
    let start = Instant::now();
    tokio::time::timeout(Duration::from_secs(15), head.read_to_end(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert!(
        start.elapsed() > Duration::from_secs(8),
        "{:?}",
        start.elapsed()
    );
    let answer = trickled(body).await;
    let took = start.elapsed();
    assert!(
        answer.starts_with(b"HTTP/1.1 400")
            && took > Duration::from_secs(25)
            && took < Duration::from_secs(50),
        "{took:?}: {}",
        String::from_utf8_lossy(&answer)
    );
    let mut answer = Vec::new();
    let closing = silent.read_to_end(&mut answer);
    tokio::time::timeout(Duration::from_secs(20), closing)
        .await
        .unwrap()
        .unwrap();
    assert!(
        answer.starts_with(b"HTTP/1.1 400"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    stand.settle().await;
    assert_eq!(stand.objects().await, 1);
    stand.assert_consistent().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_head_of_a_connection_slower_than_10_s_is_408_and_closed() {
    let _turn = crate::alone().await;
    let stand = Stand::simple().await;
    let patience = Duration::from_secs(15);
    let whole = stand.head("GET", "/health", "", 0);
    // One that says nothing at all, one whose first head trickles in, one whose second does, and one that is only idle.
    let (mut late, mut kept) = (Vec::new(), Vec::new());
    for (first, half) in [
        ("", ""),
        ("", &whole[..40]),
        (&whole, &whole[..40]),
        (&whole, ""),
    ] {
        let mut raw = Raw::connect(&stand.base()).await;
        if !first.is_empty() {
            raw.send(first).await.unwrap();
            assert_eq!(raw.answer(patience).await.unwrap().status, 200);
        }
        raw.send(half).await.unwrap();
        let list = if first.is_empty() || !half.is_empty() {
            &mut late
        } else {
            &mut kept
        };
        list.push((raw, half.to_owned()));
    }
    let start = Instant::now();
    for second in 0..7 {
        tokio::time::sleep_until((start + Duration::from_secs(second)).into()).await;
        for (raw, half) in &mut late {
            if !half.is_empty() {
                raw.send("x").await.unwrap();
            }
        }
    }
    for (raw, _) in &mut late {
        let answer = raw.answer(patience).await.unwrap();
        assert!(
            start.elapsed() > Duration::from_secs(8),
            "{:?}",
            start.elapsed()
        );
        assert_eq!(answer.status, 408);
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json")
        );
        assert!(raw.closed(patience).await);
    }
    for (raw, _) in &mut kept {
        raw.send(&whole).await.unwrap();
        assert_eq!(raw.answer(patience).await.unwrap().status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_nobody_asked_for_are_refused_at_once_and_not_read_for_long() {
    let _turn = crate::alone().await;
    let stand = Stand::with(&[("CLOAKROOM_MAX_REQUESTS", "2")]).await;
    let mut held = Vec::new();
    for _ in 0..4 {
        let mut stream = TcpStream::connect(stand.address()).await.unwrap();
        let head = b"PATCH /files/x/info HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n";
        stream.write_all(head).await.unwrap();
        let mut first = [0; 12];
        let reading = stream.read_exact(&mut first);
        tokio::time::timeout(Duration::from_secs(2), reading)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(&first, b"HTTP/1.1 401");
        held.push(stream);
    }
    let mut endless = TcpStream::connect(stand.address()).await.unwrap();
    let head = b"POST /files HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    endless.write_all(head).await.unwrap();
    let start = Instant::now();
    let chunk = [b"1000\r\n".as_slice(), &[b'x'; 0x1000], b"\r\n"].concat();
    while endless.write_all(&chunk).await.is_ok() {
        assert!(
            start.elapsed() < Duration::from_secs(8),
            "still read after 8 s"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_clients_that_leave_anywhere_poison_nothing() {
    let _turn = crate::alone().await;
    let stand = Stand::start_with(
        Setup::PostgresFs,
        &[
            ("CLOAKROOM_PENDING_TTL", "2s"),
            ("CLOAKROOM_UNCERTAIN_DELAY", "2s"),
            ("CLOAKROOM_SWEEP_INTERVAL", "500ms"),
        ],
    )
    .await;
    let api = stand.user();
    let file = api.stored("a.bin", sample(200_000, 1)).await;
    let download = stand.head("GET", &format!("/files/{}", id(&file)), "", 0);
    let upload = [
        stand.head("POST", "/files", "", 3_000).into_bytes(),
        sample(3_000, 1),
    ]
    .concat();
    let fds = stand.open_fds();
    let address = stand.address();
    let clients = futures_util::stream::iter(0..10_000_u64).for_each_concurrent(64, |n| {
        let bytes = if n % 2 == 0 {
            download.as_bytes().to_vec()
        } else {
            upload[..upload.len() - usize::try_from(n % 97).unwrap()].to_vec()
        };
        async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(&bytes).await.unwrap();
            tokio::time::sleep(Duration::from_micros((n * 7919) % 8_000)).await;
        }
    });
    clients.await;
    stand
        .until("the crowd is worked off", async || {
            api.post("/files").body("x").send().await.unwrap().status() == StatusCode::CREATED
        })
        .await;
    for _ in 0..50 {
        expect(
            api.post("/files").body("x").send().await.unwrap(),
            StatusCode::CREATED,
        )
        .await;
        assert_eq!(
            api.bytes(&format!("/files/{}", id(&file))).await.len(),
            200_000
        );
    }
    stand
        .until("descriptors are given back", async || {
            stand.open_fds() < fds + 40
        })
        .await;
    stand.swept().await;
    assert_eq!(inspect::idle_in_transaction(&stand).await, 0);
    stand.assert_consistent().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_requests_than_allowed_are_told_to_come_back_at_once() {
    let _turn = crate::alone().await;
    let stand = Stand::with(&[("CLOAKROOM_MAX_REQUESTS", "8")]).await;
    let api = stand.user();
    let head = stand.head("POST", "/files", "", 1_000);
    let mut held = Vec::new();
    for _ in 0..8 {
        let mut stream = TcpStream::connect(stand.address()).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        held.push(stream);
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let start = Instant::now();
    let answer = api.get("/files").send().await.unwrap();
    assert!(start.elapsed() < Duration::from_millis(500));
    assert!(answer.headers().contains_key("retry-after"));
    refused(answer, 503, "INFRA_001").await;
    let live = api.get("/health/live").send().await.unwrap();
    assert_eq!(
        live.status(),
        StatusCode::OK,
        "liveness is answered however busy it is"
    );
    drop(held);
    stand.settle().await;
    expect(api.get("/files").send().await.unwrap(), StatusCode::OK).await;
}
