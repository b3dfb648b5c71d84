//! A small WebDAV server that does its work in memory, except where a test says otherwise.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use cloakroom_infrastructure::stores::webdav::{WebdavLogin, WebdavSettings};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

/// A request as the server sees it, before its body.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    /// By lower-case names.
    pub(crate) fields: BTreeMap<String, String>,
    /// How many requests with this method there were before.
    pub(crate) nth: usize,
}

impl Asked {
    pub(crate) fn is_chunked(&self) -> bool {
        self.fields.contains_key("transfer-encoding")
    }
}

/// What it does about it.
pub(crate) enum Act {
    /// What a WebDAV server does.
    Usual,
    /// The same, and hangs up without an answer.
    Lost,
    /// A whole answer, once the body was read: status, more lines, body.
    Answer(u16, &'static str, Vec<u8>),
    /// Reads so many bytes of the body, sends these and hangs up.
    Raw(usize, Vec<u8>),
    /// Reads so many bytes of the body, and then nothing more for an hour.
    Freeze(usize),
    /// Sends this, and then the other again and again until nobody listens. Tells how much it could send.
    Flood(&'static str, &'static str),
}

/// What was sent at most before nobody listened.
pub(crate) type Sent = Arc<Mutex<usize>>;

pub(crate) struct Fake {
    pub(crate) endpoint: String,
    pub(crate) files: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    pub(crate) log: Arc<Mutex<Vec<Asked>>>,
    pub(crate) sent: Sent,
}

impl Fake {
    pub(crate) async fn start(rule: impl Fn(&Asked) -> Act + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let fake = Self {
            endpoint: format!("http://{}", listener.local_addr().unwrap()),
            files: Arc::default(),
            log: Arc::default(),
            sent: Arc::default(),
        };
        let server = Server {
            files: Arc::clone(&fake.files),
            log: Arc::clone(&fake.log),
            sent: Arc::clone(&fake.sent),
            rule: Arc::new(rule),
        };
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(server.clone().serve(socket));
            }
        });
        fake
    }

    pub(crate) fn settings(&self) -> WebdavSettings {
        WebdavSettings {
            endpoint: self.endpoint.clone(),
            root: String::new(),
            login: WebdavLogin::None,
        }
    }

    pub(crate) fn asked(&self, method: &str) -> Vec<Asked> {
        let log = self.log.lock().unwrap();
        let of_method = log.iter().filter(|asked| asked.method == method);
        of_method.cloned().collect()
    }

    /// The paths of all files.
    pub(crate) fn paths(&self) -> Vec<String> {
        self.files.lock().unwrap().keys().cloned().collect()
    }
}

#[derive(Clone)]
struct Server {
    files: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    log: Arc<Mutex<Vec<Asked>>>,
    sent: Sent,
    rule: Arc<dyn Fn(&Asked) -> Act + Send + Sync>,
}

impl Server {
    async fn serve(self, socket: TcpStream) {
        let mut socket = BufReader::new(socket);
        while let Some(mut asked) = head(&mut socket).await {
            {
                let mut log = self.log.lock().unwrap();
                let same = |other: &&Asked| other.method == asked.method;
                asked.nth = log.iter().filter(same).count();
                log.push(asked.clone());
            }
            let act = (self.rule)(&asked);
            let (status, lines, content) = match act {
                Act::Lost => {
                    if let Some(content) = body(&mut socket, &asked, usize::MAX).await {
                        self.usual(&asked, content);
                    }
                    return;
                }
                Act::Usual => {
                    let Some(content) = body(&mut socket, &asked, usize::MAX).await else {
                        return;
                    };
                    let (status, content) = self.usual(&asked, content);
                    (status, "", content)
                }
                Act::Answer(status, lines, content) => {
                    if body(&mut socket, &asked, usize::MAX).await.is_none() {
                        return;
                    }
                    (status, lines, content)
                }
                Act::Raw(count, bytes) => {
                    body(&mut socket, &asked, count).await;
                    socket.write_all(&bytes).await.ok();
                    socket.flush().await.ok();
                    return;
                }
                Act::Freeze(count) => {
                    body(&mut socket, &asked, count).await;
                    tokio::time::sleep(Duration::from_secs(3600)).await;
                    return;
                }
                Act::Flood(first, again) => return self.flood(socket, first, again).await,
            };
            let length = content.len();
            let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n{lines}\r\n");
            let mut answer = head.into_bytes();
            if asked.method != "HEAD" {
                answer.extend(content);
            }
            if socket.write_all(&answer).await.is_err() {
                return;
            }
        }
    }

    async fn flood(self, mut socket: BufReader<TcpStream>, first: &str, again: &str) {
        let head = format!("HTTP/1.1 207 X\r\nConnection: close\r\n\r\n{first}");
        socket.write_all(head.as_bytes()).await.ok();
        let block = again.repeat(64 * 1024 / again.len());
        while socket.write_all(block.as_bytes()).await.is_ok() {
            let mut sent = self.sent.lock().unwrap();
            *sent += block.len();
            if *sent > 1 << 30 {
                return;
            }
        }
    }

    fn usual(&self, asked: &Asked, content: Vec<u8>) -> (u16, Vec<u8>) {
        let mut files = self.files.lock().unwrap();
        let path = asked.path.clone();
        match asked.method.as_str() {
            "MKCOL" => (201, Vec::new()),
            "PUT" => {
                files.insert(path, content);
                (201, Vec::new())
            }
            "DELETE" => (
                if files.remove(&path).is_some() {
                    204
                } else {
                    404
                },
                Vec::new(),
            ),
            "MOVE" => {
                let to = asked.fields["destination"].clone();
                let to = to.splitn(4, '/').nth(3).unwrap().to_owned();
                match files.remove(&path) {
                    Some(content) => {
                        files.insert(format!("/{to}"), content);
                        (201, Vec::new())
                    }
                    None => (404, Vec::new()),
                }
            }
            "PROPFIND" => propfind(&files, &path),
            "GET" => match files.get(&path) {
                Some(content) => (200, content.clone()),
                None => (404, Vec::new()),
            },
            _ => (405, Vec::new()),
        }
    }
}

fn propfind(files: &BTreeMap<String, Vec<u8>>, path: &str) -> (u16, Vec<u8>) {
    if let Some(content) = files.get(path) {
        return (207, multistatus(&file(path, content.len())).into_bytes());
    }
    let folder = format!("{}/", path.trim_end_matches('/'));
    let mut told = String::new();
    for (path, content) in files.range(folder.clone()..) {
        let Some(below) = path.strip_prefix(&folder) else {
            break;
        };
        told += &match below.split_once('/') {
            Some((name, _)) => collection(&format!("{folder}{name}/")),
            None => file(path, content.len()),
        };
    }
    if told.is_empty() {
        return (404, Vec::new());
    }
    (
        207,
        multistatus(&(collection(&folder) + &told)).into_bytes(),
    )
}

pub(crate) fn multistatus(responses: &str) -> String {
    format!("<?xml version=\"1.0\"?><D:multistatus xmlns:D=\"DAV:\">{responses}</D:multistatus>")
}

fn response(path: &str, properties: &str) -> String {
    format!(
        "<D:response><D:href>{path}</D:href><D:propstat><D:prop>{properties}<D:getlastmodified>Fri, 17 Feb 2023 \
         03:37:22 GMT</D:getlastmodified></D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>"
    )
}

pub(crate) fn file(path: &str, size: usize) -> String {
    let size = format!("<D:resourcetype/><D:getcontentlength>{size}</D:getcontentlength>");
    response(path, &size)
}

pub(crate) fn collection(path: &str) -> String {
    response(path, "<D:resourcetype><D:collection/></D:resourcetype>")
}

async fn head(socket: &mut BufReader<TcpStream>) -> Option<Asked> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.ok()?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut lines = head.lines();
    let mut words = lines.next()?.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let fields = lines.filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    });
    Some(Asked {
        method,
        path,
        fields: fields.collect(),
        nth: 0,
    })
}

/// The body, or its first so many bytes; `None` if it breaks off.
async fn body(socket: &mut BufReader<TcpStream>, asked: &Asked, most: usize) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        let length = if asked.is_chunked() {
            let mut line = Vec::new();
            while !line.ends_with(b"\r\n") {
                line.push(socket.read_u8().await.ok()?);
            }
            usize::from_str_radix(std::str::from_utf8(&line).ok()?.trim(), 16).ok()?
        } else {
            let field = asked.fields.get("content-length");
            field.map_or(0, |length| length.parse().unwrap())
        };
        let tail = if asked.is_chunked() { 2 } else { 0 };
        let want = length.min(most.saturating_sub(all.len()));
        let begin = all.len();
        all.resize(begin + want, 0);
        socket.read_exact(&mut all[begin..]).await.ok()?;
        if all.len() >= most {
            return Some(all);
        }
        let mut end = vec![0; tail];
        socket.read_exact(&mut end).await.ok()?;
        if length == 0 || !asked.is_chunked() {
            return Some(all);
        }
    }
}
