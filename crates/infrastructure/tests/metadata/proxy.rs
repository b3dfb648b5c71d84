//! A TCP proxy that can stop passing bytes on, as a frozen server or a black hole would.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// What the proxy does with bytes and connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Passes everything on.
    Pass,
    /// Takes connections and bytes, and passes nothing on until it passes again.
    Freeze,
    /// Ends every connection and takes no new one.
    Cut,
}

/// A proxy in front of a server, and what it does.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    mode: watch::Sender<Mode>,
    /// Whether to freeze when a COMMIT went by.
    freeze_at_commit: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn to(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (mode, modes) = watch::channel(Mode::Pass);
        let freeze_at_commit = Arc::new(AtomicBool::new(false));
        let (trap, switch) = (freeze_at_commit.clone(), mode.clone());
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if *modes.borrow() == Mode::Cut {
                    continue;
                }
                let Ok(server) = TcpStream::connect(&server).await else {
                    continue;
                };
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                let trap = Some((trap.clone(), switch.clone()));
                tokio::spawn(pass(from_client, to_server, modes.clone(), trap));
                tokio::spawn(pass(from_server, to_client, modes.clone(), None));
            }
        });
        Self {
            address,
            mode,
            freeze_at_commit,
            task,
        }
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// The next COMMIT is passed on; nothing after it is, its answer included.
    pub(crate) fn lose_the_answer_to_a_commit(&self) {
        self.freeze_at_commit.store(true, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Trap = (Arc<AtomicBool>, watch::Sender<Mode>);

async fn pass(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut modes: watch::Receiver<Mode>,
    trap: Option<Trap>,
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read,
            _ = modes.wait_for(|mode| *mode == Mode::Cut) => return,
        };
        let Ok(read @ 1..) = read else { return };
        if *modes.borrow() == Mode::Freeze
            && modes.wait_for(|mode| *mode != Mode::Freeze).await.is_err()
        {
            return;
        }
        if let Some((armed, switch)) = &trap
            && buffer[..read].windows(7).any(|word| word == b"COMMIT\0")
            && armed.swap(false, Ordering::SeqCst)
        {
            switch.send_replace(Mode::Freeze);
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
