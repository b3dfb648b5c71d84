//! A client that sends exactly the bytes that it is given, well formed or not.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// A plain TCP connection to the service.
#[derive(Debug)]
pub struct Raw {
    stream: TcpStream,
    unread: Vec<u8>,
}

/// An answer as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers in order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, without its chunking.
    pub body: Vec<u8>,
}

impl Answer {
    /// The first header of that name (lower case).
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(header, _)| header == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Raw {
    /// Connects to `host:port`, or to the base URL of a service.
    pub async fn connect(address: &str) -> Self {
        let address = address.strip_prefix("http://").unwrap_or(address);
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            unread: Vec::new(),
        }
    }

    /// Sends these bytes.
    ///
    /// # Errors
    /// The other side closed or reset the connection.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref()).await
    }

    /// Says that no more will be sent, and stays to read.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn half_close(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }

    /// Resets the connection: whatever is on its way is lost.
    ///
    /// # Panics
    /// The connection is gone already.
    pub fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }

    /// Reads up to `limit` bytes of whatever comes, once; 0 bytes at the end.
    ///
    /// # Errors
    /// Nothing came in time, or the connection was reset.
    pub async fn read_some(&mut self, limit: usize, patience: Duration) -> io::Result<Vec<u8>> {
        if self.unread.is_empty() {
            timeout(patience, self.fill()).await??;
        }
        let len = self.unread.len().min(limit);
        Ok(self.unread.drain(..len).collect())
    }

    /// Reads until the other side closes or resets, or nothing comes for a while: for `patience` at first, for
    /// `pause` once something is there.
    pub async fn read_while(&mut self, patience: Duration, pause: Duration) -> Vec<u8> {
        let mut wait = patience;
        while let Ok(Ok(true)) = timeout(wait, self.fill()).await {
            wait = pause;
        }
        std::mem::take(&mut self.unread)
    }

    /// Reads one answer to a request that was not HEAD, and leaves what follows it. Interim answers (1xx) are
    /// answers too.
    ///
    /// # Errors
    /// It did not come whole in time, or is no HTTP.
    pub async fn answer(&mut self, patience: Duration) -> io::Result<Answer> {
        timeout(patience, self.read_answer()).await?
    }

    /// Reads one answer with a `Content-Length` and keeps nothing of its body: the answer without it, and its size.
    ///
    /// # Errors
    /// It did not come whole in time, or is no HTTP.
    pub async fn skim(&mut self, patience: Duration) -> io::Result<(Answer, u64)> {
        timeout(patience, self.skim_answer()).await?
    }

    /// Whether the other side has closed or reset the connection, within that time and without sending more.
    pub async fn closed(&mut self, patience: Duration) -> bool {
        self.unread.is_empty()
            && matches!(timeout(patience, self.fill()).await, Ok(Ok(false) | Err(_)))
    }

    async fn fill(&mut self) -> io::Result<bool> {
        let mut buffer = [0; 16 * 1024];
        let read = self.stream.read(&mut buffer).await?;
        self.unread.extend_from_slice(&buffer[..read]);
        Ok(read > 0)
    }

    async fn read_answer(&mut self) -> io::Result<Answer> {
        let mut answer = self.head().await?;
        answer.body = self.body(&answer).await?;
        Ok(answer)
    }

    async fn skim_answer(&mut self) -> io::Result<(Answer, u64)> {
        let answer = self.head().await?;
        let length = answer.header("content-length").unwrap_or_default();
        let length: usize = length.parse().map_err(|_| broken(length))?;
        let mut left = length - self.unread.drain(..length.min(self.unread.len())).len();
        let mut buffer = vec![0; 1024 * 1024];
        while left > 0 {
            let room = left.min(buffer.len());
            match self.stream.read(&mut buffer[..room]).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => left -= read,
            }
        }
        Ok((answer, length as u64))
    }

    async fn head(&mut self) -> io::Result<Answer> {
        let head = self.until(b"\r\n\r\n").await?;
        let head = String::from_utf8_lossy(&head).into_owned();
        let mut lines = head.split("\r\n");
        let status_line = lines.next().unwrap_or_default();
        let status = status_line
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.get(..3)?.parse().ok())
            .ok_or_else(|| broken(status_line))?;
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        Ok(Answer {
            status,
            headers,
            body: Vec::new(),
        })
    }

    async fn body(&mut self, answer: &Answer) -> io::Result<Vec<u8>> {
        if answer.status < 200 || [204, 304].contains(&answer.status) {
            return Ok(Vec::new());
        }
        if answer.header("transfer-encoding") == Some("chunked") {
            return self.chunks().await;
        }
        if let Some(length) = answer.header("content-length") {
            let length = length.parse().map_err(|_| broken(length))?;
            return self.exactly(length).await;
        }
        while self.fill().await? {}
        Ok(std::mem::take(&mut self.unread))
    }

    async fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.until(b"\r\n").await?;
            let size = String::from_utf8_lossy(&line).into_owned();
            let size = usize::from_str_radix(&size, 16).map_err(|_| broken(&size))?;
            body.extend(self.exactly(size).await?);
            self.exactly(2).await?;
            if size == 0 {
                return Ok(body);
            }
        }
    }

    /// Everything before the mark, which is taken off.
    async fn until(&mut self, mark: &[u8]) -> io::Result<Vec<u8>> {
        loop {
            let found = self.unread.windows(mark.len()).position(|w| w == mark);
            if let Some(at) = found {
                let before = self.unread.drain(..at).collect();
                self.unread.drain(..mark.len());
                return Ok(before);
            }
            if !self.fill().await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    async fn exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.unread.len() < length {
            if !self.fill().await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.unread.drain(..length).collect())
    }
}

fn broken(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not HTTP: {text:?}"))
}
