//! Reading: bodies are passed on as they come, and counted.

use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use cloakroom_application::ports::{Payload, StoreError};
use cloakroom_domain::{Bucket, ByteRange, ObjectKey};
use futures_util::stream;

use super::{client::Core, failure::classify};

/// How long a body may stand still.
const IDLE: Duration = Duration::from_secs(30);

/// Reads an object or a stretch of it.
pub(super) async fn read(
    core: &Core,
    bucket: &Bucket,
    key: &ObjectKey,
    range: Option<ByteRange>,
) -> Result<Payload, StoreError> {
    let field = range.map(|range| format!("bytes={}-{}", range.start, range.end - 1));
    let get = core.client.get_object();
    let get = get.bucket(bucket.as_str()).key(key.as_str());
    let answer = get
        .set_range(field)
        .send()
        .await
        .map_err(|error| classify(&error))?;
    let length = answer
        .content_length
        .and_then(|length| u64::try_from(length).ok())
        .ok_or_else(|| StoreError::Broken("a body of unknown length".into()))?;
    if let Some(range) = range {
        // A store may cut a range at the end of the object, or give the whole object instead.
        let place = answer.content_range.as_deref().unwrap_or_default();
        if length != range.len() || !states(place, range) {
            return Err(StoreError::Broken(
                "not the range that was asked for".into(),
            ));
        }
    }
    Ok(Payload::Stream(Box::pin(stream::try_unfold(
        Some((answer.body, length)),
        next,
    ))))
}

/// Whether a `Content-Range` field is that of the range.
fn states(field: &str, range: ByteRange) -> bool {
    let stretch = field.strip_prefix("bytes ").and_then(|s| s.split_once('/'));
    let ends = stretch.and_then(|(stretch, _)| stretch.trim().split_once('-'));
    ends.is_some_and(|(first, last)| {
        first.parse() == Ok(range.start) && last.parse() == Ok(range.end - 1)
    })
}

type Rest = Option<(ByteStream, u64)>;

/// The next chunk; an error unless the body ends exactly where it was said to.
async fn next(rest: Rest) -> Result<Option<(Bytes, Rest)>, StoreError> {
    let Some((mut body, left)) = rest else {
        return Ok(None);
    };
    match tokio::time::timeout(IDLE, body.next()).await {
        Err(late) => Err(StoreError::Unavailable(late.into())),
        Ok(Some(Err(error))) => Err(StoreError::Broken(error.into())),
        Ok(None) if left == 0 => Ok(None),
        Ok(None) => Err(StoreError::Broken("the body ended early".into())),
        Ok(Some(Ok(chunk))) => match left.checked_sub(chunk.len() as u64) {
            Some(left) => Ok(Some((chunk, Some((body, left))))),
            None => Err(StoreError::Broken("the body is longer than it said".into())),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A body of which nothing ever comes.
    struct Silent;

    impl http_body::Body for Silent {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
            std::task::Poll::Pending
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stands_still_is_cut_after_thirty_seconds() {
        let begun = tokio::time::Instant::now();
        let body = ByteStream::from_body_1_x(Silent);
        let cut = next(Some((body, 10))).await.map(|_| ());
        assert!(matches!(cut, Err(StoreError::Unavailable(_))), "{cut:?}");
        assert_eq!(begun.elapsed().as_secs(), 30);
    }

    #[test]
    fn only_the_range_asked_for_will_do() {
        let range = ByteRange { start: 5, end: 10 };
        assert!(states("bytes 5-9/100", range));
        assert!(states("bytes 5-9/*", range));
        for other in [
            "",
            "bytes 5-10/100",
            "bytes 0-9/100",
            "items 5-9/100",
            "5-9",
        ] {
            assert!(!states(other, range), "{other}");
        }
    }
}
