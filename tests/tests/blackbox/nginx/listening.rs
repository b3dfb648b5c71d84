//! A server that answers whatever it is told to, and tells what it was asked.

use std::net::SocketAddr;

use cloakroom_tests::process::free_port;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::mpsc,
};

use super::PATIENCE;

/// Somebody who answers everything alike and tells what it was asked.
pub struct Listening {
    pub address: SocketAddr,
    heads: mpsc::UnboundedReceiver<String>,
}

impl Listening {
    pub async fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        let listener = TcpListener::bind(("127.0.0.1", free_port())).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, heads) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    match stream.read_u8().await {
                        Ok(byte) => head.push(byte),
                        Err(_) => break,
                    }
                }
                tell.send(String::from_utf8_lossy(&head).into_owned()).ok();
                stream.write_all(&answer).await.ok();
            }
        });
        Self { address, heads }
    }

    /// The next head, with its lines in lower case but the first.
    pub async fn head(&mut self) -> (String, Vec<String>) {
        let head = tokio::time::timeout(PATIENCE, self.heads.recv()).await;
        let head = head.unwrap().unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let first = lines.next().unwrap().to_owned();
        (first, lines.map(str::to_ascii_lowercase).collect())
    }
}
