//! Reading large bodies, of which nothing is kept but the hash.

use std::time::{Duration, Instant};

use reqwest::{Method, RequestBuilder};
use sha2::{Digest, Sha256};

use super::{
    deployment::{Deployment, LARGEST_ANSWER, LONG, QUICK},
    exchange::{Answer, Trouble},
};

/// How many bytes of a download are read before a pause, if there is one.
const BEFORE_A_PAUSE: u64 = 256 * 1024;

/// A body that was read and not kept.
#[derive(Debug)]
pub(crate) struct Downloaded {
    /// The answer, its body only where it is no success.
    pub(crate) answer: Answer,
    /// In bytes.
    pub(crate) size: u64,
    pub(crate) sha256: [u8; 32],
    /// Until the first byte of the body.
    pub(crate) first_byte: Duration,
    /// Until the last.
    pub(crate) whole: Duration,
    /// Why it ended before its end.
    pub(crate) broken: Option<Trouble>,
}

impl Deployment {
    /// Reads a body of at most `largest` bytes, or 8 MiB, and keeps its hash; with a pause once some of it is there, as
    /// slow clients read.
    ///
    /// # Errors
    /// There is no answer at all.
    pub(crate) async fn download(
        &self,
        request: RequestBuilder,
        largest: u64,
        pause: Duration,
    ) -> Result<Downloaded, Trouble> {
        let (client, request) = request.timeout(LONG).build_split();
        let begun = Instant::now();
        let (mut response, mut answer) = self.head(&client, request?, Method::GET).await?;
        let (mut size, mut hash) = (0, Sha256::new());
        let (mut first_byte, mut broken) = (None, None);
        let mut pause = Some(pause).filter(|pause| !pause.is_zero());
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) => {
                    first_byte.get_or_insert_with(|| begun.elapsed());
                    size += chunk.len() as u64;
                    hash.update(&chunk);
                    if size > largest.max(LARGEST_ANSWER as u64) {
                        broken = Some(Trouble::Endless);
                        break;
                    }
                    if !answer.status.is_success() && size <= LARGEST_ANSWER as u64 {
                        answer.body = [answer.body, chunk].concat().into();
                    }
                    if size >= BEFORE_A_PAUSE
                        && let Some(pause) = pause.take()
                    {
                        tokio::time::sleep(pause).await;
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    broken = Some(error.into());
                    break;
                }
            }
        }
        let whole = begun.elapsed();
        Ok(Downloaded {
            answer,
            size,
            sha256: hash.finalize().into(),
            first_byte: first_byte.unwrap_or(whole),
            whole,
            broken,
        })
    }

    /// Begins a download and leaves once some of it is there.
    ///
    /// # Errors
    /// There is no answer at all.
    pub(crate) async fn begin_and_leave(&self, request: RequestBuilder) -> Result<(), Trouble> {
        let mut response = request.timeout(QUICK).send().await?;
        response.chunk().await?;
        Ok(())
    }
}
