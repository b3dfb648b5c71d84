//! A body of several ranges: `multipart/byteranges` (RFC 9110 §14.6).

use std::sync::Arc;

use bytes::Bytes;
use cloakroom_application::{
    App, Selected, open,
    ports::{Payload, StoreError},
};
use cloakroom_domain::ByteRange;
use futures_util::{Stream, StreamExt, stream};
use uuid::Uuid;

/// A multipart answer: its boundary, its exact length, its bytes.
pub(crate) struct Parts {
    boundary: String,
    heads: Vec<(Bytes, ByteRange)>,
    tail: Bytes,
}

impl Parts {
    pub(crate) fn new(ranges: &[ByteRange], size: u64, content_type: &str) -> Self {
        let boundary = Uuid::new_v4().simple().to_string();
        let heads = ranges.iter().enumerate().map(|(at, range)| {
            let lead = if at == 0 { "" } else { "\r\n" };
            let (first, last) = (range.start, range.end - 1);
            let head = format!(
                "{lead}--{boundary}\r\nContent-Type: {content_type}\r\n\
                 Content-Range: bytes {first}-{last}/{size}\r\n\r\n"
            );
            (Bytes::from(head), *range)
        });
        Self {
            heads: heads.collect(),
            tail: Bytes::from(format!("\r\n--{boundary}--\r\n")),
            boundary,
        }
    }

    pub(crate) fn content_type(&self) -> String {
        format!("multipart/byteranges; boundary={}", self.boundary)
    }

    /// Bytes of the whole answer's body.
    pub(crate) fn len(&self) -> u64 {
        let parts: u64 = self
            .heads
            .iter()
            .map(|(head, range)| head.len() as u64 + range.len())
            .sum();
        parts + self.tail.len() as u64
    }

    /// Reads one range after the other, each when its turn comes. The first is open already.
    pub(crate) fn stream(
        self,
        app: Arc<App>,
        selected: Selected,
        first: Payload,
    ) -> impl Stream<Item = Result<Bytes, StoreError>> {
        let selected = Arc::new(selected);
        let mut first = Some(first);
        let parts = stream::iter(self.heads).flat_map(move |(head, range)| {
            let (app, selected, opened) = (Arc::clone(&app), Arc::clone(&selected), first.take());
            let body = stream::once(async move {
                let payload = match opened {
                    Some(payload) => Ok(payload),
                    None => open(&app, &selected, Some(range)).await,
                };
                payload.map_or_else(
                    |error| {
                        stream::once(async move { Err(StoreError::Broken(error.into())) }).boxed()
                    },
                    Payload::into_stream,
                )
            });
            stream::once(async move { Ok(head) }).chain(body.flatten())
        });
        let tail = self.tail;
        parts.chain(stream::once(async move { Ok(tail) }))
    }
}
