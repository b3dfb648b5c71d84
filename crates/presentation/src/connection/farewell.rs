//! The end of a connection that the server underneath has let go of without closing it in order.

use std::{
    convert::Infallible,
    io,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime::Handle,
    time::timeout,
};

/// How long what a client goes on sending is read, so that it sees the answer and not a reset.
const LINGER: Duration = Duration::from_secs(2);
/// Beyond so many that linger, over all workers, connections are closed at once: they count nowhere else.
const MOST: usize = 1024;

static LINGERING: AtomicUsize = AtomicUsize::new(0);

struct Place;

impl Place {
    fn take() -> Option<Self> {
        let place = Self;
        (LINGERING.fetch_add(1, Ordering::Relaxed) < MOST).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        LINGERING.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Writes the last words, which may be none, and closes as gently as there is room for.
pub(super) fn say(stream: TcpStream, last_words: Vec<u8>) {
    let written = stream.try_write(&last_words).unwrap_or(0);
    let (Some(place), Ok(runtime)) = (Place::take(), Handle::try_current()) else {
        return;
    };
    runtime.spawn(async move {
        let _place = place;
        // However it ends, the client is gone then.
        let _ = timeout(LINGER, linger(stream, &last_words[written..])).await;
    });
}

async fn linger(mut stream: TcpStream, rest: &[u8]) -> io::Result<Infallible> {
    stream.write_all(rest).await?;
    stream.shutdown().await?;
    let mut ignored = [0; 4096];
    loop {
        if stream.read(&mut ignored).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}
