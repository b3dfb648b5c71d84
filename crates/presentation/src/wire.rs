//! What goes over the wire as JSON, and how domain values become it.

use cloakroom_application::ports::ServiceToken;
use cloakroom_domain::{File, Timestamp, Version};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode, utf8_percent_encode};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use utoipa::ToSchema;

/// RFC 3986 unreserved characters stay.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

const PATH: &AsciiSet = &SEGMENT.remove(b'/');

/// A text as one segment of a path.
#[must_use]
pub(crate) fn segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

/// A path of the file system as that of an address.
#[must_use]
pub(crate) fn path_of(bytes: &[u8]) -> String {
    percent_encode(bytes, PATH).to_string()
}

/// RFC 3339 in UTC, to the microsecond.
pub(crate) fn rfc3339(at: Timestamp) -> String {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(at.micros()) * 1000)
        .ok()
        .and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_default()
}

/// An identifier: a whole number as a number, anything else as a string.
#[derive(Debug)]
pub(crate) struct Id(String);

impl Id {
    pub(crate) fn of(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The identifier as text.
    pub(crate) fn into_text(self) -> String {
        self.0
    }
}

/// Whole numbers and strings.
impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "an id must be a whole number or a string")]
        enum Either {
            Number(u64),
            Text(String),
        }
        Ok(match Either::deserialize(deserializer)? {
            Either::Number(number) => Self(number.to_string()),
            Either::Text(text) => Self(text),
        })
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.parse::<i64>() {
            Ok(number) if number.to_string() == self.0 => serializer.serialize_i64(number),
            _ => serializer.serialize_str(&self.0),
        }
    }
}

/// A file.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FileBody {
    file_id: String,
    filename: String,
    /// Bytes.
    size: u64,
    content_type: String,
    /// Hexadecimal; null for imported bytes that nobody has read yet.
    sha256: Option<String>,
    /// The validator of the bytes, with its quotes.
    etag: String,
    version: u64,
    /// A number where it is one.
    #[schema(value_type = Option<Object>)]
    user_id: Option<Id>,
    /// A number where it is one.
    #[schema(value_type = Object)]
    account_id: Id,
    /// `public`, `account` or `private`.
    visibility: &'static str,
    topics: Vec<String>,
    #[schema(value_type = Object)]
    metadata: Box<RawValue>,
    created_at: String,
    updated_at: String,
    deleted_at: Option<String>,
    /// When it goes to the trash unless the application claims it; absent where it need not be claimed.
    #[serde(skip_serializing_if = "Option::is_none")]
    claim_by: Option<String>,
    public_url: String,
}

impl FileBody {
    /// The file as callers see it; `public_url` is the service's, with the mount.
    ///
    /// # Errors
    /// The kept metadata is not JSON.
    pub(crate) fn new(file: &File, public_url: &str) -> Result<Self, serde_json::Error> {
        let current = &file.current;
        Ok(Self {
            file_id: file.id.as_str().to_owned(),
            filename: file.name.as_str().to_owned(),
            size: current.size,
            content_type: current.content_type.as_str().to_owned(),
            sha256: current.sha256.map(|digest| digest.hex()),
            etag: current.etag().to_string(),
            version: current.number,
            user_id: file.user().map(|user| Id::of(user.as_str())),
            account_id: Id::of(file.account().as_str()),
            visibility: file.visibility.as_str(),
            topics: Vec::new(),
            metadata: RawValue::from_string(file.metadata.as_json().to_owned())?,
            created_at: rfc3339(file.created_at),
            updated_at: rfc3339(file.updated_at),
            deleted_at: file.deleted_at.map(rfc3339),
            claim_by: file.claim_by.map(rfc3339),
            public_url: file_url(public_url, file.id.as_str()),
        })
    }
}

/// The absolute address of a file.
pub(crate) fn file_url(public_url: &str, id: &str) -> String {
    format!("{}/{}", public_url.trim_end_matches('/'), segment(id))
}

/// The absolute address of an upload of several requests.
pub(crate) fn upload_url(public_url: &str, id: &str) -> String {
    format!(
        "{}/uploads/{}",
        public_url.trim_end_matches('/'),
        segment(id)
    )
}

/// The absolute address of a direct upload.
pub(crate) fn direct_url(public_url: &str, id: &str) -> String {
    format!(
        "{}/direct/{}",
        public_url.trim_end_matches('/'),
        segment(id)
    )
}

/// The answer to existing clients of the form upload.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UploadedBody {
    #[serde(flatten)]
    pub(crate) file: FileBody,
}

/// A version of a file.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VersionBody {
    version: u64,
    /// Bytes.
    size: u64,
    content_type: String,
    sha256: Option<String>,
    etag: String,
    created_at: String,
    /// Whether it is the file's current version.
    current: bool,
}

impl VersionBody {
    pub(crate) fn new(version: &Version, file: &File) -> Self {
        Self {
            version: version.number,
            size: version.size,
            content_type: version.content_type.as_str().to_owned(),
            sha256: version.sha256.map(|digest| digest.hex()),
            etag: version.etag().to_string(),
            created_at: rfc3339(version.created_at),
            current: version.id == file.current.id,
        }
    }
}

/// A page of files.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FilePageBody {
    pub(crate) items: Vec<FileBody>,
    /// Hand it back as `cursor` to go on; null at the end.
    pub(crate) next_cursor: Option<String>,
}

/// A page of versions.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VersionPageBody {
    pub(crate) items: Vec<VersionBody>,
    /// Hand it back as `cursor` to go on; null at the end.
    pub(crate) next_cursor: Option<String>,
}

/// A token of the service, without the token.
#[derive(Debug, Serialize)]
pub struct TokenBody {
    token_id: String,
    name: String,
    kind: &'static str,
    account_id: Option<Id>,
    user_id: Option<Id>,
    created_at: String,
    revoked_at: Option<String>,
}

impl From<&ServiceToken> for TokenBody {
    fn from(token: &ServiceToken) -> Self {
        Self {
            token_id: token.id.to_string(),
            name: token.name.clone(),
            kind: token.kind.as_str(),
            account_id: token.account.as_ref().map(|id| Id::of(id.as_str())),
            user_id: token.user.as_ref().map(|id| Id::of(id.as_str())),
            created_at: rfc3339(token.created_at),
            revoked_at: token.revoked_at.map(rfc3339),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_number_is_a_number_and_anything_else_a_string() {
        let json = |text: &str| serde_json::to_string(&Id::of(text)).unwrap();
        assert_eq!(json("1688"), "1688");
        assert_eq!(json("007"), "\"007\"");
        assert_eq!(json("+1"), "\"+1\"");
        assert_eq!(json("a"), "\"a\"");
        assert_eq!(json("99999999999999999999"), "\"99999999999999999999\"");
    }

    #[test]
    fn times_are_rfc_3339_in_utc() {
        assert_eq!(
            rfc3339(Timestamp::from_micros(1_700_000_000_123_456)),
            "2023-11-14T22:13:20.123456Z"
        );
    }
}
