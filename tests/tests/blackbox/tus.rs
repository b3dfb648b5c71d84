//! tus 1.0.0 as its clients see it.

mod appending;
mod callers;
mod checksums;
mod concatenation;
mod creation;
mod ending;

use cloakroom_tests::{
    client::{Tus, header, refused},
    stand::Stand,
};
use reqwest::{Response, StatusCode};

/// A refusal of tus: a problem, in our version of the protocol.
pub async fn refused_by_tus(answer: Response, status: u16, code: &str) {
    assert_eq!(header(&answer, "tus-resumable"), "1.0.0", "{answer:?}");
    refused(answer, status, code).await;
}

/// An answer of tus with that status.
pub fn assert_answered(answer: &Response, status: StatusCode) {
    assert_eq!(answer.status(), status, "{answer:?}");
    assert_eq!(header(answer, "tus-resumable"), "1.0.0", "{answer:?}");
}

/// A service and its user, speaking tus.
pub async fn stand() -> (Stand, Tus) {
    let stand = Stand::simple().await;
    let tus = Tus::new(&stand.user());
    (stand, tus)
}
