//! Answers of stores that spell the protocol in their own way.
//!
//! The SDK insists on the name of an answer's outermost element. Servers built on a popular Go library call that
//! of an opened upload `InitiateMultipartUpload`, without the `Result` at its end; clients in other languages never noticed.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use aws_sdk_s3::{
    config::{
        ConfigBag, Intercept, RuntimeComponents,
        interceptors::BeforeDeserializationInterceptorContextMut,
    },
    error::BoxError,
    primitives::SdkBody,
};
use bytes::Bytes;
use http_body::{Body, Frame};

/// The longest answer that is looked at, in bytes; a longer one is none to opening an upload.
const MAX_ANSWER: usize = 64 * 1024;

/// Gives the outermost element of an opened upload the name that the SDK knows.
#[derive(Debug)]
pub(super) struct OpenedByAnyName;

impl Intercept for OpenedByAnyName {
    fn name(&self) -> &'static str {
        "OpenedByAnyName"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let answer = context.response_mut();
        if answer.status().is_success() {
            let inner = answer.take_body();
            *answer.body_mut() = SdkBody::from_body_1_x(Renamed {
                inner,
                text: Some(Vec::new()),
            });
        }
        Ok(())
    }
}

struct Renamed {
    inner: SdkBody,
    /// What came so far, `None` once it was passed on.
    text: Option<Vec<u8>>,
}

impl Body for Renamed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        while let Some(text) = &mut this.text {
            match ready!(Pin::new(&mut this.inner).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    text.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
                    if text.len() > MAX_ANSWER {
                        return Poll::Ready(Some(Err("the answer is too long".into())));
                    }
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => {
                    let renamed = renamed(text);
                    this.text = None;
                    return Poll::Ready(Some(Ok(Frame::data(renamed))));
                }
            }
        }
        Poll::Ready(None)
    }
}

/// Text within elements is escaped, so that these can only be the tags themselves.
fn renamed(text: &[u8]) -> Bytes {
    let text = String::from_utf8_lossy(text);
    let named = ["<", "</"].iter().fold(text.into_owned(), |text, open| {
        [">", " "].iter().fold(text, |text, close| {
            text.replace(
                &format!("{open}InitiateMultipartUpload{close}"),
                &format!("{open}InitiateMultipartUploadResult{close}"),
            )
        })
    });
    Bytes::from(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_names_of_an_opened_upload_become_the_one_that_is_known() {
        let known = "<InitiateMultipartUploadResult xmlns=\"x\"><UploadId>1</UploadId></InitiateMultipartUploadResult>";
        let other = known.replace("UploadResult", "Upload");
        assert_eq!(renamed(known.as_bytes()), known);
        assert_eq!(renamed(other.as_bytes()), known);
    }
}
