//! What the two protocols of resumable uploads have of their own: tus 1.0.0, and
//! draft-ietf-httpbis-resumable-upload-11.

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::doctor::deployment::Deployment;

type Headers = Vec<(&'static str, String)>;

/// A protocol.
pub(super) struct Protocol {
    pub(super) name: &'static str,
    /// What the address of an upload is called in a finding.
    pub(super) location: &'static str,
    /// Of its body.
    pub(super) seed: u64,
    /// The header without which the service takes a request for another protocol's.
    pub(super) marker: &'static str,
    /// Whether the name of the file is a header, and not in the address.
    pub(super) is_named_in_headers: bool,
    /// What every request has.
    pub(super) always: &'static [(&'static str, &'static str)],
    /// What the creation of an upload of so many bytes has.
    pub(super) creation: fn(&Deployment, u64) -> Headers,
    /// What bytes at that offset have; whether they are the last.
    pub(super) append: fn(u64, bool) -> Headers,
    /// The status of the answer to the last bytes.
    pub(super) ended: u16,
}

/// tus 1.0.0.
pub(super) const TUS: Protocol = Protocol {
    name: "tus",
    location: "Location of an upload by tus",
    seed: 2,
    marker: "Tus-Resumable",
    is_named_in_headers: true,
    always: &[("tus-resumable", "1.0.0")],
    creation: |deployment, size| {
        let name = format!("{} tus.txt", deployment.made.prefix);
        let mut metadata = format!("filename {}", STANDARD.encode(name));
        if let Some(account) = &deployment.options.account {
            metadata.push_str(",account_id ");
            metadata.push_str(&STANDARD.encode(account));
        }
        vec![
            ("tus-resumable", "1.0.0".to_owned()),
            ("upload-length", size.to_string()),
            ("upload-metadata", metadata),
        ]
    },
    append: |offset, _| {
        vec![
            ("upload-offset", offset.to_string()),
            ("content-type", "application/offset+octet-stream".to_owned()),
        ]
    },
    ended: 204,
};

/// draft-ietf-httpbis-resumable-upload-11.
pub(super) const DRAFT: Protocol = Protocol {
    name: "the IETF draft",
    location: "Location of an upload by the IETF draft",
    seed: 3,
    marker: "Upload-Complete",
    is_named_in_headers: false,
    always: &[],
    creation: |_, size| {
        vec![
            ("upload-complete", "?0".to_owned()),
            ("upload-length", size.to_string()),
            ("content-type", "text/plain".to_owned()),
        ]
    },
    append: |offset, is_last| {
        let complete = if is_last { "?1" } else { "?0" };
        vec![
            ("upload-offset", offset.to_string()),
            ("upload-complete", complete.to_owned()),
            ("content-type", "application/partial-upload".to_owned()),
        ]
    },
    ended: 201,
};
