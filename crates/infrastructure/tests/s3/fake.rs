//! A server that answers as it is told: wrongly, late or not at all.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use cloakroom_infrastructure::stores::s3::{S3Secret, S3Settings};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// A request as the server sees it.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    /// The first 4 KiB of the body.
    pub(crate) body: Vec<u8>,
    /// How many requests with this method and target there were before.
    pub(crate) nth: usize,
}

/// What it does about it.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// A whole answer: status, more header lines, body.
    Answer(u16, &'static str, String),
    /// Bytes as they are, then the end of the connection.
    Cut(&'static str),
    /// Nothing, and the connection stays.
    Freeze,
}

pub(crate) struct Fake {
    port: u16,
    log: Arc<Mutex<Vec<Asked>>>,
}

impl Fake {
    pub(crate) async fn start(handler: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (shared, handler) = (Arc::clone(&log), Arc::new(handler));
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(socket, Arc::clone(&shared), Arc::clone(&handler)));
            }
        });
        Self { port, log }
    }

    pub(crate) fn settings(&self) -> S3Settings {
        S3Settings {
            endpoint: format!("http://127.0.0.1:{}", self.port),
            region: "us-east-1".into(),
            access_key_id: "id".into(),
            secret_access_key: S3Secret::new("secret"),
            path_style: true,
            public_endpoint: None,
            guard: cloakroom_infrastructure::stores::guard::Guard::Open,
            cors_origins: Vec::new(),
        }
    }

    /// The requests so far that went with this method to a target with this text in it.
    pub(crate) fn asked(&self, method: &str, text: &str) -> Vec<Asked> {
        let log = self.log.lock().unwrap();
        log.iter()
            .filter(|asked| asked.method == method && asked.target.contains(text))
            .cloned()
            .collect()
    }
}

async fn serve(
    mut socket: TcpStream,
    log: Arc<Mutex<Vec<Asked>>>,
    handler: Arc<impl Fn(&Asked) -> Reply>,
) {
    while let Some(mut asked) = receive(&mut socket).await {
        {
            let mut log = log.lock().unwrap();
            let same = |a: &&Asked| a.method == asked.method && a.target == asked.target;
            asked.nth = log.iter().filter(same).count();
            log.push(asked.clone());
        }
        match handler(&asked) {
            Reply::Answer(status, headers, body) => {
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
                );
                if socket.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
            Reply::Cut(bytes) => {
                let _ = socket.write_all(bytes.as_bytes()).await;
                return;
            }
            Reply::Freeze => tokio::time::sleep(Duration::from_secs(3600)).await,
        }
    }
}

async fn receive(socket: &mut TcpStream) -> Option<Asked> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.ok()?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut words = head.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let named = name.eq_ignore_ascii_case("content-length");
        named.then(|| value.trim().parse().ok()).flatten()
    });
    let mut left: usize = length.unwrap_or(0);
    let (mut body, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
    while left > 0 {
        let want = left.min(buffer.len());
        let got = socket.read(&mut buffer[..want]).await.ok()?;
        if got == 0 {
            return None;
        }
        left -= got;
        let room = 4096 - body.len().min(4096);
        body.extend_from_slice(&buffer[..got.min(room)]);
    }
    Some(Asked {
        method,
        target,
        body,
        nth: 0,
    })
}
