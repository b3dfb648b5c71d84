//! Path parameters, parsed once, at the edge.

use std::{
    future::{Ready, ready},
    ops::Deref,
};

use actix_web::{FromRequest, HttpRequest, dev::Payload, web::Path};
use cloakroom_application::Error;
use cloakroom_domain::{FileId, LinkId, Visibility};
use serde::Deserialize;

use crate::error::ApiError;

#[derive(Deserialize)]
struct RawFile {
    file_id: String,
}

#[derive(Deserialize)]
struct RawVersion {
    version: String,
}

#[derive(Deserialize)]
struct RawLink {
    link_id: String,
}

/// The `{file_id}` of a path, decoded once. One that cannot be an id is 422.
pub(crate) struct FileIdPath(FileId);

impl Deref for FileIdPath {
    type Target = FileId;

    fn deref(&self) -> &FileId {
        &self.0
    }
}

impl FromRequest for FileIdPath {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let raw = Path::<RawFile>::extract(request).into_inner();
        ready(
            raw.map_err(|error| Error::BadValue(error.to_string()).into())
                .and_then(|raw| {
                    FileId::parse(raw.into_inner().file_id)
                        .map_err(|error| Error::BadValue(format!("the file's id {error}")).into())
                })
                .map(FileIdPath),
        )
    }
}

/// The `{version}` of a path: a number from 1 on. Anything else is no version: 404.
pub(crate) struct VersionPath(pub(crate) u64);

impl FromRequest for VersionPath {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let raw = Path::<RawVersion>::extract(request).into_inner();
        let number = raw.ok().and_then(|raw| raw.version.parse().ok());
        ready(
            number
                .filter(|n| (1..=i64::MAX as u64).contains(n))
                .map(VersionPath)
                .ok_or(ApiError::App(Error::NotFound)),
        )
    }
}

/// The `{link_id}` of a path. What is no id is no link: 404.
pub(crate) struct LinkIdPath(pub(crate) LinkId);

impl FromRequest for LinkIdPath {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let raw = Path::<RawLink>::extract(request).into_inner();
        let id = raw.ok().and_then(|raw| LinkId::parse(&raw.link_id).ok());
        ready(id.map(LinkIdPath).ok_or(ApiError::App(Error::NotFound)))
    }
}

/// Reads a visibility.
///
/// # Errors
/// [`Error::BadValue`] names those that there are.
pub(crate) fn visibility(text: &str) -> Result<Visibility, Error> {
    Visibility::parse(text.trim())
        .ok_or_else(|| Error::BadValue("visibility must be public, account or private".to_owned()))
}
