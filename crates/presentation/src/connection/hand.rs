//! A request in hand, as its connection sees it: from its head to the last byte of its answer.

use std::{
    cell::RefCell,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use actix_http::Payload;
use actix_web::{
    body::{BodySize, BoxBody, MessageBody},
    error::PayloadError,
    http::header::HeaderValue,
};
use bytes::Bytes;
use futures_util::Stream;

use super::{Connection, IN_HAND, OVER, Refusal, Refused};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Unanswered,
    /// Its answer has begun.
    Answering,
    /// Somebody else holds the request now, or all is said.
    Done,
}

/// Holds a request's connection to its turn: while there is one, what is written is its answer.
///
/// One that goes while its request is unanswered and the body's framing is broken has the connection refused.
pub(crate) struct Hand {
    connection: Option<Rc<Connection>>,
    unread: Option<Unread>,
    stage: Stage,
    id: HeaderValue,
}

impl Hand {
    /// Takes a request in hand, with its body. `id` is what its refusal would carry.
    pub(crate) fn take(
        connection: Option<Rc<Connection>>,
        payload: &mut Payload,
        id: HeaderValue,
    ) -> Self {
        if let Some(connection) = &connection {
            connection.request_taken();
        }
        Self {
            unread: Unread::of(payload, connection.clone()),
            connection,
            stage: Stage::Unanswered,
            id,
        }
    }

    /// The answer begins: it is this request's from now on, whatever comes.
    pub(crate) fn answering(&mut self) {
        self.stage = Stage::Answering;
    }

    /// The answer is whole.
    pub(crate) fn answered(&mut self) {
        if let (Stage::Answering, Some(connection)) = (self.stage, &self.connection) {
            connection.answered();
        }
        self.stage = Stage::Done;
    }

    /// Somebody else takes the same request in hand.
    pub(crate) fn hand_on(mut self) {
        self.stage = Stage::Done;
    }

    /// The request is let go of. If it had no answer yet because its body cannot be read, this is why it will be
    /// refused.
    pub(crate) fn let_go(&mut self) -> Option<Refusal> {
        let stage = std::mem::replace(&mut self.stage, Stage::Done);
        let connection = self.connection.as_ref()?;
        match stage {
            Stage::Done => None,
            Stage::Answering => {
                connection.set(OVER);
                None
            }
            Stage::Unanswered => {
                connection.clear(IN_HAND);
                connection.more_is_wanted();
                if !self.unread.as_ref().is_some_and(Unread::is_broken) {
                    return None;
                }
                let why = Refusal::Malformed;
                connection.refuse(Refused {
                    why,
                    id: self.id.clone(),
                });
                Some(why)
            }
        }
    }
}

impl Drop for Hand {
    fn drop(&mut self) {
        self.let_go();
    }
}

/// A request's body, kept until the answer is through.
///
/// The server reads what is left of a body that everybody has dropped, to its end, however long that is. While
/// somebody still has it, it reads on for the time of a lingering close only. And no more is read off the
/// connection than somebody asks for, but for a few reads ahead.
#[derive(Clone)]
struct Unread(Rc<RefCell<Body>>);

struct Body {
    payload: Payload,
    connection: Option<Rc<Connection>>,
    broken: bool,
}

impl Unread {
    fn of(payload: &mut Payload, connection: Option<Rc<Connection>>) -> Option<Self> {
        if matches!(payload, Payload::None) {
            return None;
        }
        let kept = Self(Rc::new(RefCell::new(Body {
            payload: payload.take(),
            connection,
            broken: false,
        })));
        *payload = Payload::Stream {
            payload: Box::pin(kept.clone()),
        };
        Some(kept)
    }

    /// Whether the body ends with an error, as far as it has come. What it held is lost.
    fn is_broken(&self) -> bool {
        let Ok(mut body) = self.0.try_borrow_mut() else {
            return false;
        };
        let mut cx = Context::from_waker(Waker::noop());
        while !body.broken && matches!(body.poll(&mut cx), Poll::Ready(Some(Ok(_)))) {}
        body.broken
    }
}

impl Body {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, PayloadError>>> {
        let next = Pin::new(&mut self.payload).poll_next(cx);
        self.broken |= matches!(next, Poll::Ready(Some(Err(_))));
        if let (Poll::Pending, Some(connection)) = (&next, &self.connection) {
            connection.more_is_wanted();
        }
        next
    }
}

impl Stream for Unread {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.borrow_mut().poll(cx)
    }
}

/// The body of an answer that keeps its request in hand.
pub(crate) struct Held {
    pub(crate) body: BoxBody,
    pub(crate) hand: Hand,
}

impl MessageBody for Held {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let next = Pin::new(&mut self.body).poll_next(cx);
        if matches!(next, Poll::Ready(None)) {
            self.hand.answered();
        }
        next
    }
}
