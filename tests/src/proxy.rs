//! A TCP proxy that can be slow, silent, abrupt, or lose just the answer.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::watch,
    task::JoinHandle,
};

/// What the proxy does to bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fault {
    None,
    /// Every chunk waits, in both directions.
    Delay(Duration),
    /// Connections are accepted and nothing passes.
    BlackHole,
    /// Connections are reset once so many more bytes have passed this way.
    ResetAfter(Towards, u64),
    /// Every connection is reset, old and new.
    Cut,
    /// Once the server was sent this, its answer is lost and the connection reset. Happens once.
    SwallowAnswerAfter(Vec<u8>),
}

/// A direction of flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Towards {
    /// Answers.
    Client,
    /// Requests.
    Server,
}

/// A proxy on a free loopback port before one server. Dropping it cuts every connection.
#[derive(Debug)]
pub struct TcpProxy {
    address: SocketAddr,
    fault: watch::Sender<Fault>,
    counted: Arc<Counted>,
    accepting: JoinHandle<()>,
}

/// What has happened so far, on all connections.
#[derive(Debug, Default)]
struct Counted {
    /// Answers that were lost.
    swallowed: AtomicU64,
    /// Bytes that went to the server.
    sent: AtomicU64,
}

impl TcpProxy {
    /// Starts before a server at `host:port`, without a fault.
    pub async fn start(server: impl Into<String>) -> Self {
        Self::start_at(crate::process::free_port(), server).await
    }

    /// Starts on that port, from [`free_port`](crate::process::free_port), where others have to know it before.
    pub async fn start_at(port: u16, server: impl Into<String>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (fault, _) = watch::channel(Fault::None);
        let counted = Arc::<Counted>::default();
        let accepting = tokio::spawn(accept(
            listener,
            server.into(),
            fault.clone(),
            Arc::clone(&counted),
        ));
        Self {
            address,
            fault,
            counted,
            accepting,
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same URL with this proxy's host and port instead of the server's.
    #[must_use]
    pub fn instead_of(&self, url: &str) -> String {
        let (scheme, rest) = url.split_once("://").expect("a URL with a scheme");
        let (authority, path) = rest
            .find('/')
            .map_or((rest, ""), |slash| rest.split_at(slash));
        let user = authority
            .rsplit_once('@')
            .map_or(String::new(), |(user, _)| format!("{user}@"));
        format!("{scheme}://{user}{}{path}", self.address)
    }

    /// Holds every chunk back for so long, in both directions.
    pub fn delay(&self, time: Duration) {
        self.fault.send_replace(Fault::Delay(time));
    }

    /// Lets nothing pass from now on; connections stay open, and new ones are accepted.
    pub fn black_hole(&self) {
        self.fault.send_replace(Fault::BlackHole);
    }

    /// Resets each connection after that many more bytes in that direction.
    pub fn reset_after(&self, towards: Towards, bytes: u64) {
        self.fault.send_replace(Fault::ResetAfter(towards, bytes));
    }

    /// Resets every connection, and new ones as they come.
    pub fn cut(&self) {
        self.fault.send_replace(Fault::Cut);
    }

    /// The next time that a client's message with these bytes has passed, loses the answer and resets the
    /// connection. Once; then all is well again.
    pub fn swallow_answer_after(&self, pattern: &[u8]) {
        self.fault
            .send_replace(Fault::SwallowAnswerAfter(pattern.to_owned()));
    }

    /// How many answers were lost so far.
    #[must_use]
    pub fn swallowed(&self) -> u64 {
        self.counted.swallowed.load(Ordering::SeqCst)
    }

    /// How many bytes went to the server so far, on all connections.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.counted.sent.load(Ordering::SeqCst)
    }

    /// Ends the fault. What a black hole held back goes on.
    pub fn heal(&self) {
        self.fault.send_replace(Fault::None);
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        self.cut();
        self.accepting.abort();
    }
}

async fn accept(
    listener: TcpListener,
    server: String,
    fault: watch::Sender<Fault>,
    counted: Arc<Counted>,
) {
    while let Ok((client, _)) = listener.accept().await {
        if *fault.borrow() == Fault::Cut {
            client.set_zero_linger().ok();
            continue;
        }
        let (server, fault) = (server.clone(), fault.clone());
        let counted = Arc::clone(&counted);
        tokio::spawn(async move {
            let Ok(upstream) = TcpStream::connect(&server).await else {
                client.set_zero_linger().ok();
                return;
            };
            serve(client, upstream, &fault, &counted).await;
        });
    }
}

async fn serve(
    mut client: TcpStream,
    mut server: TcpStream,
    fault: &watch::Sender<Fault>,
    counted: &Counted,
) {
    for stream in [&client, &server] {
        stream.set_nodelay(true).ok();
    }
    let (client_in, client_out) = client.split();
    let (server_in, server_out) = server.split();
    let deaf = AtomicBool::new(false);
    let up = Pump {
        towards: Towards::Server,
        fault,
        deaf: &deaf,
        counted,
    };
    let down = Pump {
        towards: Towards::Client,
        ..up
    };
    // One direction may end well and the other go on; a reset ends both.
    let both = async {
        tokio::try_join!(
            up.run(client_in, server_out),
            down.run(server_in, client_out)
        )
    };
    if both.await.is_err() {
        client.set_zero_linger().ok();
        server.set_zero_linger().ok();
    }
}

/// The connection is to be reset.
struct Reset;

#[derive(Clone, Copy)]
struct Pump<'a> {
    towards: Towards,
    fault: &'a watch::Sender<Fault>,
    /// The server's next answer is to be lost.
    deaf: &'a AtomicBool,
    counted: &'a Counted,
}

impl Pump<'_> {
    /// Passes bytes on until the source ends.
    async fn run(self, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> Result<(), Reset> {
        let mut watching = self.fault.subscribe();
        let ended = tokio::select! {
            ended = self.pass(&mut from, &mut to) => ended,
            _ = watching.wait_for(|fault| *fault == Fault::Cut) => Err(Reset),
        };
        if ended.is_ok() {
            to.shutdown().await.ok();
        }
        ended
    }

    async fn pass(&self, from: &mut ReadHalf<'_>, to: &mut WriteHalf<'_>) -> Result<(), Reset> {
        let mut buffer = vec![0; 16 * 1024];
        let mut current = self.fault.subscribe();
        let mut passed = 0;
        let mut tail = Vec::new();
        loop {
            let read = from.read(&mut buffer).await.map_err(|_| Reset)?;
            if current.has_changed().unwrap_or(false) {
                passed = 0;
                tail.clear();
            }
            let mut chunk = &buffer[..read];
            if self.towards == Towards::Client && self.deaf.load(Ordering::SeqCst) {
                self.counted.swallowed.fetch_add(1, Ordering::SeqCst);
                return Err(Reset);
            }
            let fault = current.borrow_and_update().clone();
            match fault {
                Fault::None => {}
                Fault::Delay(time) => tokio::time::sleep(time).await,
                Fault::BlackHole => {
                    let healed = current.wait_for(|fault| *fault != Fault::BlackHole).await;
                    healed.map_err(|_| Reset)?;
                }
                Fault::ResetAfter(towards, limit) if towards == self.towards => {
                    let left = usize::try_from(limit - passed).unwrap_or(usize::MAX);
                    chunk = &chunk[..chunk.len().min(left)];
                }
                Fault::SwallowAnswerAfter(pattern) if self.towards == Towards::Server => {
                    self.listen(&pattern, &mut tail, chunk);
                }
                Fault::ResetAfter(..) | Fault::SwallowAnswerAfter(_) | Fault::Cut => {}
            }
            if read == 0 {
                return Ok(());
            }
            to.write_all(chunk).await.map_err(|_| Reset)?;
            passed += chunk.len() as u64;
            if self.towards == Towards::Server {
                let sent = &self.counted.sent;
                sent.fetch_add(chunk.len() as u64, Ordering::SeqCst);
            }
            if chunk.len() < read {
                return Err(Reset);
            }
        }
    }

    /// Looks for the pattern in what was sent, also across chunks, and makes the pump of the answers deaf.
    fn listen(&self, pattern: &[u8], tail: &mut Vec<u8>, chunk: &[u8]) {
        tail.extend_from_slice(chunk);
        let found = tail.windows(pattern.len()).any(|window| window == pattern);
        if found {
            self.deaf.store(true, Ordering::SeqCst);
            let wanted = Fault::SwallowAnswerAfter(pattern.to_owned());
            self.fault.send_if_modified(|fault| {
                let ours = *fault == wanted;
                if ours {
                    *fault = Fault::None;
                }
                ours
            });
        }
        let keep = pattern.len().saturating_sub(1).min(tail.len());
        tail.drain(..tail.len() - keep);
    }
}
