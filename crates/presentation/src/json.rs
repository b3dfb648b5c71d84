//! A JSON body with the errors of the contract: 400 for what is not JSON, 422 for what does not fit.

use actix_web::web;
use bytes::BytesMut;
use cloakroom_application::Error;
use futures_util::StreamExt;
use serde::de::DeserializeOwned;

use crate::{
    error::ApiError,
    upload::body::{Inbound, broken},
};

const MAX_BYTES: usize = 64 * 1024;

/// Reads a body of at most 64 KiB as `T`, as patiently as any other body. Its media type is not looked at.
///
/// It is no extractor: whoever may not send it is refused before it is read.
pub(crate) async fn read<T: DeserializeOwned>(payload: web::Payload) -> Result<T, ApiError> {
    read_up_to(MAX_BYTES, payload).await
}

/// As [`read`], for a body of at most so many bytes.
pub(crate) async fn read_up_to<T: DeserializeOwned>(
    limit: usize,
    payload: web::Payload,
) -> Result<T, ApiError> {
    let mut inbound = Inbound::new(payload, None);
    let mut body = BytesMut::new();
    while let Some(chunk) = inbound.next().await {
        let chunk = chunk.map_err(|error| broken(&error))?;
        if body.len() + chunk.len() > limit {
            let limit = limit as u64;
            return Err(Error::TooLarge { limit }.into());
        }
        body.extend_from_slice(&chunk);
    }
    let parsed: Result<T, serde_json::Error> = serde_json::from_slice(&body);
    parsed.map_err(|error| {
        let text = error.to_string();
        if error.is_data() {
            Error::BadValue(text)
        } else {
            Error::Malformed(text)
        }
        .into()
    })
}
