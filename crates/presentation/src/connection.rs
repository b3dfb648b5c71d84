//! A connection below actix-http: what that would refuse bare, or not at all, is refused here as the contract says.
//!
//! actix-http answers heads that it cannot read without a body, closes on a bad chunk without a word, and times the
//! first head only. [`Guarded`] stands between it and the socket, the middleware tells it by a [`Hand`] whose turn it
//! is to write, and what is to be said after actix-http has let go is said by [`farewell`].

mod farewell;
mod hand;
mod refusal;
#[cfg(test)]
mod tests;

use std::{
    cell::{Cell, RefCell},
    io,
    ops::RangeInclusive,
    pin::Pin,
    rc::Rc,
    sync::atomic::{AtomicUsize, Ordering},
    task::{Context, Poll, Waker},
    time::Duration,
};

use actix_web::{http::header::HeaderMap, web::Data};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep},
};

pub(crate) use self::hand::{Hand, Held};
pub use self::refusal::Refusal;
use self::refusal::Refused;
use crate::{Settings, front};

/// A head that takes longer is not waited for.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// What all connections together read before what was read is looked at, in bytes, and the least and the most that one
/// of them does. The server underneath makes room for 8 KiB, and for more once less than 1 KiB of it is free.
const AHEAD_OF_ALL: usize = 4 * 1024 * 1024;
const AHEAD: RangeInclusive<usize> = 7 * 1024..=32 * 1024;

/// Connections that are open in this process.
static OPEN: AtomicUsize = AtomicUsize::new(0);

/// How much one connection reads ahead now.
fn ahead_of_one() -> usize {
    let each = AHEAD_OF_ALL / OPEN.load(Ordering::Relaxed).max(1);
    each.clamp(*AHEAD.start(), *AHEAD.end())
}

/// A request is with us: what is written is its answer.
const IN_HAND: u8 = 1;
/// Bytes of an answer of ours may still wait to be written.
const UNFLUSHED: u8 = 1 << 1;
/// Bytes have come and no request was made of them yet.
const HEAD: u8 = 1 << 2;
/// Nothing may be said any more: the socket failed, it was shut down in order, or an answer broke off.
const OVER: u8 = 1 << 3;

/// What a connection and the requests on it know of one another.
pub(crate) struct Connection {
    state: Cell<u8>,
    /// Requests so far.
    requests: Cell<u32>,
    refused: RefCell<Option<Refused>>,
    /// Bytes read since somebody waited for more.
    ahead: Cell<usize>,
    /// Who is to read on once somebody waits for more.
    reader: Cell<Option<Waker>>,
}

impl Connection {
    fn new() -> Self {
        Self {
            // A client that connects owes a head from then on.
            state: Cell::new(HEAD),
            requests: Cell::new(0),
            refused: RefCell::new(None),
            ahead: Cell::new(0),
            reader: Cell::new(None),
        }
    }

    fn is(&self, flag: u8) -> bool {
        self.state.get() & flag != 0
    }

    fn set(&self, flags: u8) {
        self.state.set(self.state.get() | flags);
    }

    fn clear(&self, flags: u8) {
        self.state.set(self.state.get() & !flags);
    }

    fn request_taken(&self) {
        self.requests.set(self.requests.get().wrapping_add(1));
        self.clear(HEAD);
        self.set(IN_HAND);
    }

    /// The answer lies with the server underneath, to its last byte. What came of a next head before that counts
    /// from its next byte on.
    fn answered(&self) {
        self.clear(IN_HAND | HEAD);
        self.set(UNFLUSHED);
        self.more_is_wanted();
    }

    fn more_is_wanted(&self) {
        self.ahead.set(0);
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    /// Whether enough has been read for now. Where a request is in hand or an answer waits to be written, somebody
    /// else says when to go on; to look again at once would be to look without end.
    fn is_ahead(&self, cx: &Context<'_>) -> bool {
        let ahead = self.ahead.get() >= ahead_of_one();
        if ahead && self.is(IN_HAND | UNFLUSHED) {
            self.reader.set(Some(cx.waker().clone()));
        } else if ahead {
            cx.waker().wake_by_ref();
        }
        ahead
    }

    fn refuse(&self, refused: Refused) {
        self.refused.replace(Some(refused));
    }

    /// Refuses a head, for which there is no other line in the log.
    fn refuse_head(&self, why: Refusal) {
        let id = front::request_id(&HeaderMap::new());
        tracing::info!(
            target: "cloakroom::access",
            id = id.to_str().unwrap_or_default(),
            status = why.status().as_u16(),
            "connection refused: {why}"
        );
        self.refuse(Refused { why, id });
    }
}

/// A client's connection.
pub(crate) struct Guarded {
    /// There until the drop.
    stream: Option<TcpStream>,
    connection: Rc<Connection>,
    settings: Data<Settings>,
    head: Option<HeadTimer>,
}

/// The time limit of the head that followed so many requests.
struct HeadTimer {
    after: u32,
    sleep: Pin<Box<Sleep>>,
}

impl Guarded {
    pub(crate) fn new(stream: TcpStream, settings: Data<Settings>) -> Self {
        OPEN.fetch_add(1, Ordering::Relaxed);
        Self {
            stream: Some(stream),
            connection: Rc::new(Connection::new()),
            settings,
            head: None,
        }
    }

    /// For the data that requests see of their connection.
    pub(crate) fn connection(&self) -> Rc<Connection> {
        Rc::clone(&self.connection)
    }

    fn stream(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        let stream = self.stream.as_mut().map(Pin::new);
        stream.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn head_under_way(&self) -> bool {
        self.connection.state.get() & (HEAD | IN_HAND) == HEAD
    }

    /// Called where everything that has come was looked at: what is there of a head is not whole.
    fn time_head(&mut self, cx: &mut Context<'_>) {
        let after = self.connection.requests.get();
        match &mut self.head {
            Some(timer) if timer.after == after => return,
            Some(timer) => {
                timer.after = after;
                timer.sleep.as_mut().reset(Instant::now() + HEAD_TIMEOUT);
            }
            none => {
                *none = Some(HeadTimer {
                    after,
                    sleep: Box::pin(sleep(HEAD_TIMEOUT)),
                });
            }
        }
        // Only to be woken; whoever is reads, and finds it out of time there.
        let _ = self.out_of_time(cx);
    }

    fn out_of_time(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let after = self.connection.requests.get();
        match &mut self.head {
            Some(timer) if timer.after == after => timer.sleep.as_mut().poll(cx),
            _ => Poll::Pending,
        }
    }

    fn failed(&self, result: &io::Result<impl Sized>) {
        if result.is_err() {
            self.connection.set(OVER);
        }
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.connection.is_ahead(cx) {
            return Poll::Pending;
        }
        let most = ahead_of_one().min(buf.remaining());
        let mut some = ReadBuf::new(buf.initialize_unfilled_to(most));
        match self.stream()?.poll_read(cx, &mut some) {
            Poll::Ready(result) => {
                self.failed(&result);
                let read = some.filled().len();
                buf.advance(read);
                if read > 0 {
                    self.connection.set(HEAD);
                    self.connection.ahead.update(|ahead| ahead + read);
                }
                Poll::Ready(result)
            }
            Poll::Pending if self.head_under_way() && self.out_of_time(cx).is_ready() => {
                self.connection.refuse_head(Refusal::TooSlow);
                // To the server underneath the client has closed, so it lets go.
                Poll::Ready(Ok(()))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if !self.connection.is(IN_HAND | UNFLUSHED) {
            if let Some(why) = Refusal::bare(buf) {
                self.connection.refuse_head(why);
                return Poll::Ready(Ok(buf.len()));
            }
            self.connection.refused.take();
        }
        let written = self.stream()?.poll_write(cx, buf);
        match &written {
            Poll::Ready(Ok(all)) if *all == buf.len() => {}
            Poll::Ready(result) => {
                self.failed(result);
                self.connection.set(UNFLUSHED);
            }
            Poll::Pending => self.connection.set(UNFLUSHED),
        }
        written
    }

    /// The server underneath comes here once it has written all that it has.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection.clear(UNFLUSHED);
        if !self.connection.is(IN_HAND) {
            self.connection.more_is_wanted();
        }
        if self.head_under_way() {
            self.time_head(cx);
        }
        self.stream()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.connection.refused.borrow().is_some() {
            return Poll::Ready(Ok(()));
        }
        self.connection.set(OVER);
        self.stream()?.poll_shutdown(cx)
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::Relaxed);
        let Some(stream) = self.stream.take() else {
            return;
        };
        if self.connection.is(OVER | UNFLUSHED | IN_HAND) {
            return;
        }
        let last_words = self.connection.refused.take();
        let last_words = last_words.map(|refused| refused.spelled(&self.settings));
        farewell::say(stream, last_words.unwrap_or_default());
    }
}
