//! What the black-box tests stand on: real servers, the real binary, clients, faults, and a look at what is left.
//!
//! A harness has no caller to report to: whatever it cannot do ends the test, with the reason.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a harness that cannot go on ends the test"
)]

pub mod backend;
pub mod browser;
pub mod client;
pub mod documentation;
pub mod front;
pub mod hook;
pub mod inspect;
pub mod jwt;
pub mod line;
pub mod process;
pub mod proxy;
pub mod servers;
pub mod service;
pub mod site;
pub mod stand;
pub mod trouble;
