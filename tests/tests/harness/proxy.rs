//! The proxy's faults, before a server that sends everything back.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use cloakroom_tests::{
    client::Raw,
    process::eventually,
    proxy::{TcpProxy, Towards},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

const SECOND: Duration = Duration::from_secs(1);
const BLINK: Duration = Duration::from_millis(150);

/// An echo behind a proxy, and what the echo has heard.
struct Echo {
    proxy: TcpProxy,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Echo {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = listener.local_addr().unwrap().to_string();
        let heard = Arc::<Mutex<Vec<u8>>>::default();
        let ear = Arc::clone(&heard);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let ear = Arc::clone(&ear);
                tokio::spawn(async move {
                    let mut buffer = [0; 1024];
                    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                        ear.lock().unwrap().extend(&buffer[..read]);
                        if stream.write_all(&buffer[..read]).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        let proxy = TcpProxy::start(server).await;
        Self { proxy, heard }
    }

    async fn connect(&self) -> Raw {
        Raw::connect(&self.proxy.address().to_string()).await
    }
}

/// Says it and hears it again.
async fn echoes(client: &mut Raw, text: &str) -> bool {
    client.send(text).await.unwrap();
    let mut answer = Vec::new();
    while answer.len() < text.len() {
        match client.read_some(text.len() - answer.len(), SECOND).await {
            Ok(read) if !read.is_empty() => answer.extend(read),
            _ => return false,
        }
    }
    answer == text.as_bytes()
}

#[tokio::test]
async fn without_a_fault_bytes_pass_both_ways_and_so_does_the_end() {
    let echo = Echo::start().await;
    let mut client = echo.connect().await;
    assert!(echoes(&mut client, "hello").await);
    client.half_close().await.unwrap();
    assert!(client.closed(SECOND).await);
}

#[tokio::test]
async fn a_delay_holds_bytes_back() {
    let echo = Echo::start().await;
    let mut client = echo.connect().await;
    echo.proxy.delay(BLINK);
    let begun = Instant::now();
    assert!(echoes(&mut client, "hello").await);
    assert!(begun.elapsed() >= 2 * BLINK);
}

#[tokio::test]
async fn a_black_hole_is_silent_to_old_and_new_connections_until_healed() {
    let echo = Echo::start().await;
    let mut old = echo.connect().await;
    assert!(echoes(&mut old, "hello").await);
    echo.proxy.black_hole();
    let mut new = echo.connect().await;
    for client in [&mut old, &mut new] {
        client.send("there?").await.unwrap();
        assert!(client.read_some(1, BLINK).await.is_err());
    }
    echo.proxy.heal();
    for client in [&mut old, &mut new] {
        assert_eq!(client.read_some(9, SECOND).await.unwrap(), b"there?");
    }
}

#[tokio::test]
async fn after_so_many_bytes_the_connection_is_reset() {
    let echo = Echo::start().await;
    let mut client = echo.connect().await;
    assert!(echoes(&mut client, "hello").await);
    echo.proxy.reset_after(Towards::Client, 3);
    client.send("0123456789").await.unwrap();
    let mut read = Vec::new();
    let end = loop {
        match client.read_some(10, SECOND).await {
            Ok(bytes) if bytes.is_empty() => break None,
            Ok(bytes) => read.extend(bytes),
            Err(error) => break Some(error.kind()),
        }
    };
    assert!(b"012".starts_with(&read), "{read:?}");
    assert_eq!(end, Some(std::io::ErrorKind::ConnectionReset));
    assert_eq!(echo.heard.lock().unwrap().len(), 15);
}

#[tokio::test]
async fn requests_are_counted_apart_from_answers() {
    let echo = Echo::start().await;
    let mut client = echo.connect().await;
    echo.proxy.reset_after(Towards::Server, 4);
    client.send("0123456789").await.unwrap();
    assert!(client.closed(SECOND).await || client.read_some(9, SECOND).await.is_ok());
    let heard = || echo.heard.lock().unwrap().clone();
    eventually("the server hears four bytes", SECOND, async || {
        heard() == b"0123"
    })
    .await;
}

#[tokio::test]
async fn a_cut_ends_every_connection_and_heals() {
    let echo = Echo::start().await;
    let mut client = echo.connect().await;
    assert!(echoes(&mut client, "hello").await);
    echo.proxy.cut();
    assert!(client.closed(SECOND).await);
    assert!(echo.connect().await.closed(SECOND).await);
    echo.proxy.heal();
    assert!(echoes(&mut echo.connect().await, "again").await);
}

#[tokio::test]
async fn only_the_answer_is_lost_and_only_once() {
    let echo = Echo::start().await;
    let mut client = echo.connect().await;
    echo.proxy.swallow_answer_after(b"COMMIT");
    assert!(echoes(&mut client, "BEGIN").await);
    // In two pieces: a pattern may come across the border of two reads.
    client.send("xxCOM").await.unwrap();
    assert_eq!(client.read_some(5, SECOND).await.unwrap(), b"xxCOM");
    client.send("MIT").await.unwrap();
    assert!(client.closed(SECOND).await);
    assert_eq!(*echo.heard.lock().unwrap(), b"BEGINxxCOMMIT");
    assert_eq!(echo.proxy.swallowed(), 1);
    assert!(echoes(&mut echo.connect().await, "COMMIT").await);
}

#[tokio::test]
async fn a_url_is_told_to_go_through_the_proxy() {
    let echo = Echo::start().await;
    let address = echo.proxy.address();
    let through = |url: &str| echo.proxy.instead_of(url);
    assert_eq!(
        through("postgres://u:p@localhost:1/db"),
        format!("postgres://u:p@{address}/db")
    );
    assert_eq!(through("http://localhost:2"), format!("http://{address}"));
}
