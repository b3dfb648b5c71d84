//! What is answered: statuses, headers, JSON, problems.

use reqwest::{Response, StatusCode};
use serde_json::Value;

/// The JSON of an answer that must have this status; null if its body is empty.
///
/// # Panics
/// It has another, with the body, or is not JSON.
pub async fn expect(answer: Response, status: StatusCode) -> Value {
    let (found, url) = (answer.status(), answer.url().clone());
    let text = answer.text().await.unwrap();
    assert_eq!(found, status, "{url}: {text}");
    if text.is_empty() {
        Value::Null
    } else {
        serde_json::from_str(&text).unwrap()
    }
}

/// The problem of an answer that must be this refusal.
///
/// # Panics
/// Status, code, media type or a member that every problem has are not as the contract says.
pub async fn refused(answer: Response, status: u16, code: &str) -> Value {
    let kind = answer
        .headers()
        .get("content-type")
        .map(|v| v.to_str().unwrap().to_owned());
    let id = answer.headers().contains_key("x-request-id");
    let problem = expect(answer, StatusCode::from_u16(status).unwrap()).await;
    assert_eq!(
        kind.as_deref(),
        Some("application/problem+json"),
        "{problem}"
    );
    assert!(id, "no request id: {problem}");
    assert_eq!(problem["code"], code, "{problem}");
    assert_eq!(problem["status"], status);
    for member in ["type", "title", "detail", "message"] {
        assert!(problem[member].is_string(), "{member}: {problem}");
    }
    assert!(problem["details"]["reason"].is_string(), "{problem}");
    problem
}

/// The header of an answer as text, empty if absent.
///
/// # Panics
/// It is not text.
#[must_use]
pub fn header<'a>(answer: &'a Response, name: &str) -> &'a str {
    answer
        .headers()
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

/// The id in a file's JSON.
///
/// # Panics
/// There is none.
#[must_use]
pub fn id(file: &Value) -> &str {
    file["file_id"].as_str().unwrap()
}
