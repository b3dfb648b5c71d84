//! Many checks in one question, as JSON: `{"checks":[{"file_id","action"}]}` → `{"results":[{"allow","ttl","reason"}]}`.

use std::time::Duration;

use cloakroom_application::ports::{Check, Keep, PermissionError, Ruling};
use reqwest::Response;
use serde::{Deserialize, Serialize};

use super::{failed, unsent};

/// So many checks fit into one question.
pub(super) const MOST: usize = 100;
/// No answer is read further than this.
const MAX_ANSWER: usize = 64 * 1024;
/// What is kept of a reason, in characters.
const MAX_REASON: usize = 256;

#[derive(Serialize)]
pub(super) struct Question<'a> {
    checks: Vec<Asked<'a>>,
}

#[derive(Serialize)]
struct Asked<'a> {
    file_id: &'a str,
    action: &'static str,
}

pub(super) fn question(checks: &[Check]) -> Question<'_> {
    let checks = checks.iter().map(|check| Asked {
        file_id: check.file.as_str(),
        action: check.action.as_str(),
    });
    Question {
        checks: checks.collect(),
    }
}

#[derive(Deserialize)]
struct Answer {
    results: Vec<Answered>,
}

#[derive(Deserialize)]
struct Answered {
    allow: bool,
    /// Seconds.
    ttl: Option<f64>,
    reason: Option<String>,
}

/// Reads the answer. What `Cache-Control` forbids to keep is not kept, whatever `ttl` says.
pub(super) async fn rulings(
    response: Response,
    keep: Keep,
    count: usize,
) -> Result<Vec<Ruling>, PermissionError> {
    let body = read(response).await?;
    let answer: Answer = serde_json::from_slice(&body)
        .map_err(|_| failed("its answer is not the JSON of the batch protocol"))?;
    if answer.results.len() != count {
        return Err(failed("it gave another number of results than of checks"));
    }
    let rulings = answer.results.into_iter().map(|one| ruling(one, keep));
    rulings.collect()
}

fn ruling(answered: Answered, keep: Keep) -> Result<Ruling, PermissionError> {
    let keep = match (answered.ttl, keep) {
        (None, keep) | (Some(_), keep @ Keep::For(Duration::ZERO)) => keep,
        (Some(ttl), _) if ttl >= 0.0 => {
            Keep::For(Duration::try_from_secs_f64(ttl).unwrap_or(Duration::MAX))
        }
        (Some(_), _) => return Err(failed("a ttl in its answer is below zero")),
    };
    let reason = answered.reason;
    Ok(Ruling {
        allow: answered.allow,
        keep,
        reason: reason.map(|text| text.chars().take(MAX_REASON).collect()),
    })
}

async fn read(mut response: Response) -> Result<Vec<u8>, PermissionError> {
    let too_long = || failed("its answer is longer than 64 KiB");
    let announced = response.content_length().unwrap_or(0);
    if announced > MAX_ANSWER as u64 {
        return Err(too_long());
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| unsent(&error))? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(too_long());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
