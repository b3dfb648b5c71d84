//! A line to a server that is long, or on which somebody changes what the server says.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep_until},
};

/// So many pieces of 64 KiB may be on their way, so that a long line is not a slow one.
const ON_ITS_WAY: usize = 1024;

/// What is done to the bytes of answers, in place.
pub type Change = fn(&mut [u8]);

/// A line on a free loopback port to one server. Dropping it takes no new connections.
#[derive(Debug)]
pub struct Line {
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Line {
    /// A line on which everything takes so long, each way, however much of it there is.
    pub async fn long(server: SocketAddr, each_way: Duration) -> Self {
        Self::start(server, each_way, |_| {}).await
    }

    /// A line on which answers are changed.
    pub async fn changing(server: SocketAddr, change: Change) -> Self {
        Self::start(server, Duration::ZERO, change).await
    }

    async fn start(server: SocketAddr, each_way: Duration, change: Change) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(server).await else {
                    continue;
                };
                for stream in [&client, &server] {
                    stream.set_nodelay(true).unwrap();
                }
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                tokio::spawn(pass(from_client, to_server, each_way, |_| {}));
                tokio::spawn(pass(from_server, to_client, each_way, change));
            }
        });
        Self { address, accepting }
    }

    /// Where it begins.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Passes on what comes, each piece so much later, until the source ends or the other end is gone.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, delay: Duration, change: Change) {
    let (sender, mut receiver) = mpsc::channel::<(Instant, Vec<u8>)>(ON_ITS_WAY);
    tokio::spawn(async move {
        while let Some((due, piece)) = receiver.recv().await {
            sleep_until(due).await;
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
        to.shutdown().await.ok();
    });
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let mut piece = buffer[..read].to_vec();
        change(&mut piece);
        let due = Instant::now() + delay;
        if sender.send((due, piece)).await.is_err() {
            return;
        }
    }
}
