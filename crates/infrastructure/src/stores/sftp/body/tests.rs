//! Against a server of our own, which answers when it is told to.

use std::sync::Mutex;

use openssh_sftp_client::{Sftp, SftpOptions};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    sync::Semaphore,
};

use super::*;
use crate::stores::sftp::{failure::Fault, frames::Frames};

const OPEN: u8 = 3;
const CLOSE: u8 = 4;
const ASKED_TO_READ: u8 = 5;
const ASKED_TO_WRITE: u8 = 6;
const EXTENDED: u8 = 200;

const SIZE: u64 = 1_000_000;

/// What the server was asked, and how many answers to each kind it may give.
struct Server {
    asked: Mutex<Vec<u8>>,
    writes: Semaphore,
    reads: Semaphore,
    closes: Semaphore,
}

impl Server {
    /// A server with as many answers, and a connection to it.
    async fn start(extension: Option<&str>, answers: [usize; 3]) -> (Arc<Self>, Arc<Connection>) {
        let [writes, reads, closes] = answers.map(Semaphore::new);
        let server = Arc::new(Self {
            asked: Mutex::default(),
            writes,
            reads,
            closes,
        });
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let mut hello = vec![2, 0, 0, 0, 3];
        if let Some(extension) = extension {
            for text in [extension, "1"] {
                hello.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
                hello.extend(text.as_bytes());
            }
        }
        tokio::spawn(Arc::clone(&server).serve(theirs, hello));
        let (answers, requests) = tokio::io::split(ours);
        let options = SftpOptions::new().flush_interval(Duration::ZERO);
        let sftp = Sftp::new(requests, Frames::new(answers), options).await;
        let (connection, _) = Connection::over(sftp.unwrap());
        (server, Arc::new(connection))
    }

    async fn serve(self: Arc<Self>, stream: DuplexStream, hello: Vec<u8>) {
        let (mut requests, answers) = tokio::io::split(stream);
        let answers = Arc::new(tokio::sync::Mutex::new(answers));
        send(&answers, &hello).await;
        frame(&mut requests).await;
        while let Some(request) = frame(&mut requests).await {
            let (this, answers) = (Arc::clone(&self), Arc::clone(&answers));
            self.asked.lock().unwrap().push(request[0]);
            tokio::spawn(async move { send(&answers, &this.answer(&request).await).await });
        }
    }

    async fn answer(&self, request: &[u8]) -> Vec<u8> {
        let gate = match request[0] {
            ASKED_TO_WRITE => Some(&self.writes),
            ASKED_TO_READ => Some(&self.reads),
            CLOSE => Some(&self.closes),
            _ => None,
        };
        if let Some(gate) = gate {
            gate.acquire().await.unwrap().forget();
        }
        let answer = |kind: u8, rest: &[u8]| [&[kind], &request[1..5], rest].concat();
        match request[0] {
            OPEN => answer(102, &[0, 0, 0, 1, b'h']),
            ASKED_TO_READ => {
                let asked = u32::from_be_bytes(request[request.len() - 4..].try_into().unwrap());
                let data = vec![7; usize::try_from(asked).unwrap()];
                answer(103, &[&asked.to_be_bytes()[..], &data].concat())
            }
            _ => answer(101, &[0, 0, 0, 0]),
        }
    }

    fn count(&self, kind: u8) -> usize {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|&&it| it == kind).count()
    }

    /// Waits until it was asked so often, and no oftener.
    async fn until(&self, kind: u8, count: usize) {
        for _ in 0..500 {
            if self.count(kind) >= count {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(self.count(kind), count);
    }
}

async fn send(answers: &tokio::sync::Mutex<impl AsyncWriteExt + Unpin>, answer: &[u8]) {
    let mut answers = answers.lock().await;
    answers
        .write_u32(u32::try_from(answer.len()).unwrap())
        .await
        .ok();
    answers.write_all(answer).await.ok();
}

async fn frame(requests: &mut (impl AsyncReadExt + Unpin)) -> Option<Vec<u8>> {
    let length = requests.read_u32().await.ok()?;
    let mut request = vec![0; usize::try_from(length).unwrap()];
    requests.read_exact(&mut request).await.ok()?;
    Some(request)
}

const ALL: usize = Semaphore::MAX_PERMITS;

#[tokio::test]
async fn a_file_is_closed_when_the_server_says_so() {
    let (server, connection) = Server::start(None, [ALL, 0, 0]).await;
    let file = connection.create("a").await.unwrap();
    let mut writing = Writing::new(connection, file);
    let body = [Bytes::from(vec![1; 300_000]), Bytes::from_static(b"end")];
    writing.append(&body).await.unwrap();
    let closing = tokio::spawn(writing.close());
    server.until(CLOSE, 1).await;
    assert!(!closing.is_finished(), "nobody waited for the answer");
    server.closes.add_permits(1);
    closing.await.unwrap().unwrap();
    assert_eq!(server.count(CLOSE), 1);
    assert_eq!(server.count(EXTENDED), 0);
}

#[tokio::test]
async fn a_file_is_flushed_before_it_is_closed_where_that_can_be_asked_for() {
    let fsync = Some("fsync@openssh.com");
    let (server, connection) = Server::start(fsync, [ALL, 0, ALL]).await;
    let file = connection.create("a").await.unwrap();
    let mut writing = Writing::new(connection, file);
    writing.append(&[Bytes::from_static(b"abc")]).await.unwrap();
    writing.close().await.unwrap();
    let asked = server.asked.lock().unwrap().clone();
    assert_eq!(asked, [OPEN, ASKED_TO_WRITE, EXTENDED, CLOSE]);
}

#[tokio::test]
async fn many_writes_are_under_way_once_their_length_is_known() {
    let (server, connection) = Server::start(None, [0, 0, ALL]).await;
    let file = connection.create("a").await.unwrap();
    let mut writing = Writing::new(connection, file);
    let writing = tokio::spawn(async move {
        let written = writing.append(&[Bytes::from(vec![1; 2_000_000])]).await;
        written.map(|()| writing)
    });
    // The first one shows how much goes in one.
    server.until(ASKED_TO_WRITE, 1).await;
    server.writes.add_permits(1);
    server.until(ASKED_TO_WRITE, 1 + WRITES).await;
    server.writes.add_permits(ALL - WRITES);
    let writing = writing.await.unwrap().unwrap();
    assert_eq!(writing.sent, 2_000_000);
}

#[tokio::test]
async fn no_more_is_read_ahead_than_a_little() {
    let (server, connection) = Server::start(None, [0, 0, ALL]).await;
    let file = connection.open_to_read("a").await.unwrap();
    let range = ByteRange {
        start: 10,
        end: SIZE,
    };
    let bytes = stream(connection, file, range);
    let all = tokio::spawn(async move {
        let pieces: Vec<Bytes> = bytes.try_collect().await?;
        Ok::<usize, StoreError>(pieces.iter().map(Bytes::len).sum())
    });
    server.until(ASKED_TO_READ, READ_AHEAD / READ).await;
    server.reads.add_permits(ALL / 2);
    let length = usize::try_from(SIZE - 10).unwrap();
    assert_eq!(all.await.unwrap().unwrap(), length);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_silent_is_lost() {
    let (_, connection) = Server::start(None, [0, 0, 0]).await;
    let file = connection.create("a").await.unwrap();
    let late = connection.ask(limits::ATTEMPT, file.close()).await;
    assert!(matches!(late, Err(Fault::Late)), "{late:?}");
    assert!(connection.is_lost());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_slow_at_one_thing_is_not_lost() {
    let (_, connection) = Server::start(None, [0, 0, 0]).await;
    let file = connection.create("a").await.unwrap();
    let other = async {
        tokio::time::sleep(limits::ATTEMPT / 2).await;
        let made = connection.create("b");
        connection.ask(limits::ATTEMPT, made).await.map(drop)
    };
    let late = connection.ask(limits::ATTEMPT, file.close());
    let (late, other) = tokio::join!(late, other);
    assert!(matches!(late, Err(Fault::Late)), "{late:?}");
    other.unwrap();
    assert!(!connection.is_lost());
    // Behind what may take long, nothing is concluded from silence until that itself is given up.
    let [one, two] = ["c", "d"].map(|path| connection.create(path));
    let (one, two) = (one.await.unwrap(), two.await.unwrap());
    let patient = connection.ask_patiently(2 * limits::ATTEMPT, one.close());
    let hasty = async {
        assert!(connection.is_slow());
        let late = connection.ask(limits::ATTEMPT, two.close()).await;
        assert!(!connection.is_lost(), "{late:?}");
    };
    let (patient, ()) = tokio::join!(patient, hasty);
    assert!(matches!(patient, Err(Fault::Late)), "{patient:?}");
    assert!(connection.is_lost() && !connection.is_slow());
}
