//! A JSON body with the errors of the contract: 400 for what is not JSON, 422 for what does not fit.

use std::{future::Future, pin::Pin};

use actix_web::{FromRequest, HttpRequest, dev::Payload, web};
use bytes::BytesMut;
use cloakroom_application::Error;
use futures_util::StreamExt;
use serde::de::DeserializeOwned;

use crate::error::ApiError;

const MAX_BYTES: usize = 64 * 1024;

/// A body of at most 64 KiB, read as `T`. Its media type is not looked at.
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<T: DeserializeOwned + 'static> FromRequest for JsonBody<T> {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let stream = web::Payload::from_request(request, payload).into_inner();
        Box::pin(async move {
            let mut stream =
                stream.map_err(|error| Error::Malformed(format!("no body: {error}")))?;
            let mut body = BytesMut::new();
            while let Some(chunk) = stream.next().await {
                let chunk =
                    chunk.map_err(|_| Error::Malformed("the body ended early".to_owned()))?;
                if body.len() + chunk.len() > MAX_BYTES {
                    return Err(Error::TooLarge {
                        limit: MAX_BYTES as u64,
                    }
                    .into());
                }
                body.extend_from_slice(&chunk);
            }
            let parsed: Result<T, serde_json::Error> = serde_json::from_slice(&body);
            parsed.map(Self).map_err(|error| {
                let text = error.to_string();
                if error.is_data() {
                    Error::BadValue(text)
                } else {
                    Error::Malformed(text)
                }
                .into()
            })
        })
    }
}
