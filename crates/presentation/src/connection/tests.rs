//! How far ahead a connection is read, and who is told to go on.

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Wake,
};

use tokio::{io::AsyncWriteExt, net::TcpListener};

use super::*;
use crate::navigation::tests::settings;

const PAST_THE_LIMIT: usize = 64 * 1024;

async fn guarded_with(sent: usize) -> (Guarded, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    client.write_all(&vec![b'x'; sent]).await.unwrap();
    let settings = settings("/files", "http://a/files");
    (Guarded::new(stream, Data::new(settings)), client)
}

/// Reads as the server underneath does: on and on, until told to wait.
async fn read_until_told_to_wait(guarded: &mut Guarded) -> usize {
    let mut room = vec![0; 8 * 1024];
    let mut total = 0;
    poll_fn(|cx| {
        loop {
            let mut buf = ReadBuf::new(&mut room);
            match Pin::new(&mut *guarded).poll_read(cx, &mut buf) {
                Poll::Ready(result) => result.unwrap(),
                Poll::Pending if total == 0 => return Poll::Pending,
                Poll::Pending => return Poll::Ready(total),
            }
            total += buf.filled().len();
        }
    })
    .await
}

#[tokio::test]
async fn not_more_than_64_kib_are_read_of_a_body_that_nobody_asks_for_more_of() {
    let (mut guarded, _client) = guarded_with(200_000).await;
    guarded.connection.request_taken();
    let mut total = read_until_told_to_wait(&mut guarded).await;
    assert!(total <= PAST_THE_LIMIT, "{total}");
    assert!(guarded.connection.is(IN_HAND));
    let again = poll_fn(|cx| {
        let mut room = [0; 1];
        let mut buf = ReadBuf::new(&mut room);
        Poll::Ready(Pin::new(&mut guarded).poll_read(cx, &mut buf).is_pending())
    });
    assert!(again.await || total < *AHEAD.end(), "read on unasked");
    // Whoever asks gets the rest, piece by piece.
    while total < 200_000 {
        guarded.connection.more_is_wanted();
        let piece = read_until_told_to_wait(&mut guarded).await;
        assert!(piece <= PAST_THE_LIMIT, "{piece}");
        total += piece;
    }
}

#[tokio::test]
async fn a_body_that_comes_with_its_head_is_looked_at_after_64_kib() {
    let (mut guarded, _client) = guarded_with(200_000).await;
    let total = read_until_told_to_wait(&mut guarded).await;
    assert!(total <= PAST_THE_LIMIT, "{total}");
}

/// Counts how often it is woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn a_client_that_sends_without_reading_is_not_looked_at_without_end() {
    let (mut guarded, _client) = guarded_with(200_000).await;
    read_until_told_to_wait(&mut guarded).await;
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut cx = Context::from_waker(&waker);
    let mut room = [0; 1];
    for (state, at_once) in [(UNFLUSHED, 0), (IN_HAND, 0), (HEAD, 1)] {
        guarded.connection.state.set(state);
        guarded.connection.ahead.set(*AHEAD.end());
        let before = woken.0.load(Ordering::Relaxed);
        let mut buf = ReadBuf::new(&mut room);
        assert!(
            Pin::new(&mut guarded)
                .poll_read(&mut cx, &mut buf)
                .is_pending()
        );
        assert_eq!(woken.0.load(Ordering::Relaxed) - before, at_once, "{state}");
    }
    let before = woken.0.load(Ordering::Relaxed);
    assert!(Pin::new(&mut guarded).poll_flush(&mut cx).is_ready());
    assert_eq!(
        woken.0.load(Ordering::Relaxed) - before,
        1,
        "whoever waits is told"
    );
}
