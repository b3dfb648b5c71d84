//! Whether the application answers who may do what. Only questions about somebody else's file are asked of it.

use reqwest::header::RANGE;
use serde_json::Value;

use super::{
    Ended,
    answers::{silence, unexpected},
};
use crate::doctor::{deployment::Deployment, exchange::Answer, finding::Finding};

/// Asks for somebody else's file where one was named, and what an admin may know.
pub(crate) async fn look(deployment: &Deployment, found: &mut Vec<Finding>) -> Ended {
    let Some(sample) = deployment.facts.sample() else {
        return Ok(());
    };
    if let Some(file) = &deployment.options.hook_file {
        let url = deployment.file_url(file);
        let answer = deployment
            .ask(deployment.get(&url).header(RANGE, "bytes=0-0"))
            .await;
        let answer =
            answer.map_err(|trouble| silence("asking for somebody else's file", &trouble))?;
        found.push(asked(&answer));
        return Ok(());
    }
    for base in [deployment.root.as_str(), deployment.base()] {
        let url = format!(
            "{base}/access/explain?kind=guest&account_id=1&file_id={}",
            sample.id
        );
        let Ok(answer) = deployment.ask(deployment.get(&url)).await else {
            continue;
        };
        let hook = answer.json().unwrap_or_default();
        if answer.is(200) && hook["hook"].is_object() {
            found.push(explained(&hook["hook"]));
            return Ok(());
        }
    }
    Err(Finding::skipped(
        "not to be seen: /access/explain wants an admin's token, and a place in the proxy; or --hook-file somebody else's \
         file, with a user's token",
    ))
}

/// What the answer for somebody else's file says.
fn asked(answer: &Answer) -> Finding {
    let code = answer.problem().map(|(code, _)| code).unwrap_or_default();
    match (answer.status.as_u16(), code.as_str()) {
        (200 | 206 | 416, _) => Finding::ok("the application, or a rule before it, said yes"),
        (403, "FILE_002") => Finding::ok("the application, or the lack of one, said no"),
        (404, "FILE_001") => Finding::unknown("there is no such file").doctor("--hook-file ID"),
        (502, "EXT_003") => {
            down("fails: it cannot be reached, or answers what is neither yes nor no")
        }
        (504, "EXT_004") => down("does not answer in time"),
        _ => unexpected("asking for somebody else's file", answer),
    }
}

fn down(how: &str) -> Finding {
    Finding::fault(format!(
        "the application that is asked who may do what {how}"
    ))
    .setting("CLOAKROOM_PERMISSION_URL=http://backend:8000/attachments/check-permission")
}

fn explained(hook: &Value) -> Finding {
    if hook["configured"] != true {
        return Finding::ok("no application is asked: CLOAKROOM_PERMISSION_URL is not set");
    }
    if hook["circuit"] == "open" {
        return down("failed so often that it is left alone for the moment");
    }
    match hook["last_asked"]["said"].as_str() {
        Some("failed") => down("failed when it was last asked"),
        Some("timed_out") => down("did not answer in time when it was last asked"),
        _ => Finding::ok(
            "configured, and the replica that answered does not leave it alone for failing",
        ),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::doctor::finding::Level;

    #[test]
    fn an_open_circuit_or_a_failed_question_is_a_fault() {
        let level = |hook: Value| explained(&hook).level;
        assert_eq!(level(json!({"configured": false})), Level::Ok);
        assert_eq!(
            level(json!({"configured": true, "circuit": "open"})),
            Level::Fault
        );
        let last =
            |said| json!({"configured": true, "circuit": "closed", "last_asked": {"said": said}});
        assert_eq!(level(last("failed")), Level::Fault);
        assert_eq!(level(last("timed_out")), Level::Fault);
        assert_eq!(level(last("no")), Level::Ok);
    }
}
