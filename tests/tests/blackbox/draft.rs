//! Resumable uploads by draft-ietf-httpbis-resumable-upload-11; the tests are named after its sections.

mod appending;
mod creation;
mod digests;
mod retrieval;

use cloakroom_tests::{
    client::{Draft, refused},
    stand::Stand,
};
use reqwest::Response;
use serde_json::Value;

/// Where the problem types of the draft are registered (§6).
const TYPES: &str = "https://iana.org/assignments/http-problem-types#";

/// A service and its user, speaking the draft.
pub async fn stand() -> (Stand, Draft) {
    let stand = Stand::simple().await;
    let draft = Draft::new(&stand.user());
    (stand, draft)
}

/// A refusal of one of the draft's types.
pub async fn refused_as(answer: Response, status: u16, code: &str, kind: &str) -> Value {
    let problem = refused(answer, status, code).await;
    assert_eq!(problem["type"], format!("{TYPES}{kind}"), "{problem}");
    problem
}

/// The value of a key of a dictionary field (RFC 9651 §3.2).
pub fn member(field: &str, key: &str) -> u64 {
    let members = field.split(',').filter_map(|it| it.trim().split_once('='));
    let found = members.clone().find(|(name, _)| *name == key);
    let (_, value) = found.unwrap_or_else(|| panic!("{key} in {field:?}"));
    value.parse().unwrap()
}
