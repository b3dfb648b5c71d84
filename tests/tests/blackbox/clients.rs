//! Real upload clients through nginx: tus-js-client and Uppy in a browser, tuspy, curl, and the documentation's own.

mod direct;
mod pages;
mod programs;
mod refusals;
mod stops;

use std::time::Duration;

use cloakroom_tests::client::Repeated;
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(120);
const CHUNK: u64 = 5 * 1024 * 1024;
const NAME: &str = "a.bin";

/// What a page makes such a body from.
fn file(body: Repeated) -> Value {
    json!({ "seed": body.seed, "size": body.size, "name": NAME })
}
