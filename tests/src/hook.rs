//! A permission backend that answers as it is told: rightly, wrongly, slowly, at length, or not at all.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// A question, as it came.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Method and path.
    pub line: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body as text.
    pub body: String,
}

impl Asked {
    /// The value of a header, empty if it did not come.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        let mut headers = self.headers.iter();
        headers
            .find(|(known, _)| known == name)
            .map_or("", |(_, value)| value)
    }
}

/// What it does about a question.
#[derive(Debug, Clone)]
pub enum Reply {
    /// A status with an empty body.
    Status(u16),
    /// A status, header lines and a body.
    Full(u16, &'static str, String),
    /// The batch protocol: this result for every check.
    Results(Value),
    /// 200 with a body of so many bytes, whose length is announced or not.
    Long {
        /// Bytes.
        size: usize,
        /// Whether by `Content-Length`.
        announced: bool,
    },
    /// The head of a 200 with a body of some length, and nothing more.
    Half,
    /// Nothing; the connection stays.
    Silence,
    /// The connection is closed.
    Close,
    /// The connection is closed, and the next question is answered yes.
    CloseOnce,
    /// Bytes that are no HTTP.
    Garbage,
}

#[derive(Debug)]
struct Shared {
    reply: Mutex<Reply>,
    delay: Mutex<Duration>,
    asked: Mutex<Vec<Asked>>,
    connections: AtomicUsize,
}

/// The server; it ends with its value.
#[derive(Debug)]
pub struct HookServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl HookServer {
    /// Starts one that says yes (204) to everything.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            reply: Mutex::new(Reply::Status(204)),
            delay: Mutex::new(Duration::ZERO),
            asked: Mutex::default(),
            connections: AtomicUsize::new(0),
        });
        let serving = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                serving.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(socket, Arc::clone(&serving)));
            }
        });
        Self {
            address,
            shared,
            task,
        }
    }

    /// Where it is asked.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/attachments/check-permission/", self.address)
    }

    /// What it does from now on.
    pub fn will(&self, reply: Reply) {
        *self.shared.reply.lock().unwrap() = reply;
    }

    /// How long it takes from now on.
    pub fn takes(&self, delay: Duration) {
        *self.shared.delay.lock().unwrap() = delay;
    }

    /// The questions so far.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap().clone()
    }

    /// How many questions came so far.
    #[must_use]
    pub fn count(&self) -> usize {
        self.shared.asked.lock().unwrap().len()
    }

    /// How many connections were made so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }
}

impl Drop for HookServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(socket: TcpStream, shared: Arc<Shared>) {
    let mut socket = BufReader::new(socket);
    while let Some(asked) = receive(&mut socket).await {
        let checks = serde_json::from_str::<Value>(&asked.body).ok();
        let checks = checks.and_then(|body| body["checks"].as_array().map(Vec::len));
        shared.asked.lock().unwrap().push(asked);
        let delay = *shared.delay.lock().unwrap();
        tokio::time::sleep(delay).await;
        let reply = shared.reply.lock().unwrap().clone();
        let answer = match reply {
            Reply::Status(status) => whole(status, "", ""),
            Reply::Full(status, headers, body) => whole(status, headers, &body),
            Reply::Results(one) => {
                let results = vec![one; checks.unwrap_or(0)];
                whole(200, "", &json!({ "results": results }).to_string())
            }
            Reply::Long { size, announced } => {
                let _ = long(&mut socket, size, announced).await;
                return;
            }
            Reply::Half => "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{".to_owned(),
            Reply::Silence => {
                tokio::time::sleep(Duration::from_secs(3600)).await;
                return;
            }
            Reply::Close => return,
            Reply::CloseOnce => {
                *shared.reply.lock().unwrap() = Reply::Status(204);
                return;
            }
            Reply::Garbage => "no such thing\r\n\r\n".to_owned(),
        };
        if socket.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

fn whole(status: u16, headers: &str, body: &str) -> String {
    let length = match status {
        204 | 304 => String::new(),
        _ => format!("Content-Length: {}\r\n", body.len()),
    };
    format!("HTTP/1.1 {status} X\r\n{length}{headers}\r\n{body}")
}

async fn long(
    socket: &mut BufReader<TcpStream>,
    size: usize,
    announced: bool,
) -> std::io::Result<()> {
    let length = if announced {
        format!("Content-Length: {size}\r\n")
    } else {
        "Connection: close\r\n".to_owned()
    };
    let head = format!("HTTP/1.1 200 OK\r\n{length}\r\n");
    socket.write_all(head.as_bytes()).await?;
    let chunk = vec![b' '; 64 * 1024];
    let mut left = size;
    while left > 0 {
        let now = left.min(chunk.len());
        socket.write_all(&chunk[..now]).await?;
        left -= now;
    }
    Ok(())
}

async fn receive(socket: &mut BufReader<TcpStream>) -> Option<Asked> {
    let line = read_line(socket).await?;
    let mut headers = Vec::new();
    loop {
        let line = read_line(socket).await?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = length.map_or(0, |(_, value)| value.parse().unwrap());
    let mut body = vec![0; length];
    socket.read_exact(&mut body).await.ok()?;
    let body = String::from_utf8(body).unwrap();
    Some(Asked {
        line,
        headers,
        body,
    })
}

async fn read_line(socket: &mut BufReader<TcpStream>) -> Option<String> {
    let mut line = String::new();
    let read = socket.read_line(&mut line).await.ok()?;
    (read > 0).then(|| line.trim_end().to_owned())
}
