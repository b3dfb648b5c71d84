//! Bodies on their way: counted, and cut when they stand still.

use std::time::Duration;

use bytes::Bytes;
use cloakroom_application::ports::{ByteStream, StoreError};
use futures_util::{StreamExt, stream};

/// How long a body may stand still.
const IDLE: Duration = Duration::from_secs(30);

type Rest = Option<(ByteStream, u64)>;

/// The same bytes, with an error unless there are exactly so many.
pub(in crate::stores) fn counted(bytes: ByteStream, length: u64) -> ByteStream {
    Box::pin(stream::try_unfold(Some((bytes, length)), next))
}

async fn next(rest: Rest) -> Result<Option<(Bytes, Rest)>, StoreError> {
    let Some((mut bytes, left)) = rest else {
        return Ok(None);
    };
    match tokio::time::timeout(IDLE, bytes.next()).await {
        Err(late) => Err(StoreError::Unavailable(late.into())),
        Ok(Some(Err(error))) => Err(error),
        Ok(None) if left == 0 => Ok(None),
        Ok(None) => Err(StoreError::Broken("the body ended early".into())),
        Ok(Some(Ok(chunk))) => match left.checked_sub(chunk.len() as u64) {
            Some(left) => Ok(Some((chunk, Some((bytes, left))))),
            None => Err(StoreError::Broken("the body is longer than it said".into())),
        },
    }
}

#[cfg(test)]
mod tests {
    use cloakroom_application::testkit::objects::collect;

    use super::*;

    fn of(chunks: &'static [&'static [u8]]) -> ByteStream {
        Box::pin(stream::iter(chunks).map(|chunk| Ok(Bytes::from_static(chunk))))
    }

    async fn read(bytes: ByteStream, length: u64) -> Result<Vec<u8>, StoreError> {
        use cloakroom_application::ports::Payload;
        collect(Payload::Stream(counted(bytes, length))).await
    }

    #[tokio::test]
    async fn only_a_body_of_its_length_ends_well() {
        assert_eq!(read(of(&[b"ab", b"", b"c"]), 3).await.unwrap(), b"abc");
        assert_eq!(read(of(&[]), 0).await.unwrap(), b"");
        for (length, chunks) in [(4, of(&[b"ab", b"c"])), (2, of(&[b"ab", b"c"]))] {
            let wrong = read(chunks, length).await;
            assert!(matches!(wrong, Err(StoreError::Broken(_))), "{wrong:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stands_still_is_cut_after_thirty_seconds() {
        let begun = tokio::time::Instant::now();
        let cut = read(Box::pin(stream::pending()), 10).await;
        assert!(matches!(cut, Err(StoreError::Unavailable(_))), "{cut:?}");
        assert_eq!(begun.elapsed().as_secs(), 30);
    }
}
