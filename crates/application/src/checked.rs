//! A body on its way out, held to the length and the checksum that its row states.

use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest};
use futures_util::{StreamExt, stream};

use crate::ports::{ByteStream, LocalFile, Payload, StoreError};

/// Passes `payload` on, one chunk behind, so that a body of another length or checksum breaks before its last bytes.
///
/// # Errors
/// [`StoreError::Broken`] at once for a body that is in memory already and wrong.
pub(crate) fn checked(
    payload: Payload,
    length: u64,
    crc64: Option<u64>,
) -> Result<Payload, StoreError> {
    let mut check = Check::new(length, crc64);
    match payload {
        Payload::Ready(bytes) => {
            check.take(&bytes)?;
            check.end()?;
            Ok(Payload::Ready(bytes))
        }
        Payload::Stream(bytes) => Ok(Payload::Stream(check.stream(bytes))),
        Payload::File(LocalFile { path, bytes }) => Ok(Payload::File(LocalFile {
            path,
            bytes: check.stream(bytes),
        })),
    }
}

struct Check {
    left: u64,
    crc: Option<(Digest, u64)>,
}

impl Check {
    fn new(length: u64, crc64: Option<u64>) -> Self {
        let crc = crc64.map(|expected| (Digest::new(CrcAlgorithm::Crc64Nvme), expected));
        Self { left: length, crc }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.left = self
            .left
            .checked_sub(bytes.len() as u64)
            .ok_or_else(|| StoreError::Broken("more bytes than the row states".into()))?;
        if let Some((digest, _)) = &mut self.crc {
            digest.update(bytes);
        }
        Ok(())
    }

    fn end(&self) -> Result<(), StoreError> {
        if self.left > 0 {
            return Err(StoreError::Broken("fewer bytes than the row states".into()));
        }
        match &self.crc {
            Some((digest, expected)) if digest.finalize() != *expected => {
                tracing::error!("a stored body does not match its checksum");
                Err(StoreError::Broken("the checksum differs".into()))
            }
            _ => Ok(()),
        }
    }

    fn stream(self, bytes: ByteStream) -> ByteStream {
        let state = (bytes, self, None::<Bytes>);
        Box::pin(stream::try_unfold(
            state,
            |(mut bytes, mut check, mut held)| async move {
                loop {
                    match bytes.next().await.transpose()? {
                        Some(chunk) if chunk.is_empty() => {}
                        Some(chunk) => {
                            check.take(&chunk)?;
                            if let Some(ready) = held.replace(chunk) {
                                return Ok(Some((ready, (bytes, check, held))));
                            }
                        }
                        None => {
                            check.end()?;
                            let last = held.take();
                            return Ok(last.map(|ready| (ready, (bytes, check, None))));
                        }
                    }
                }
            },
        ))
    }
}
