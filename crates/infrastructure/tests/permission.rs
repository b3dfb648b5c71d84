//! The permission backend over HTTP: what is sent, what counts as an answer, and what goes wrong with servers.
#![cfg(test)]

use std::time::{Duration, Instant};

use cloakroom_application::ports::{
    Check, Credential, Keep, PermissionBackend, PermissionError, Presented, Ruling,
};
use cloakroom_domain::{Action, FileId};
use cloakroom_infrastructure::permission::{
    HttpPermissions, PermissionProtocol, PermissionSettings,
};
use cloakroom_tests::hook::{HookServer, Reply};
use serde_json::json;

/// Long enough for a busy machine.
const LIMIT: Duration = Duration::from_secs(5);
/// For servers that do not answer at all.
const SHORT: Duration = Duration::from_millis(500);

fn backend(server: &HookServer, protocol: PermissionProtocol) -> HttpPermissions {
    backend_within(server, protocol, LIMIT)
}

fn backend_within(
    server: &HookServer,
    protocol: PermissionProtocol,
    timeout: Duration,
) -> HttpPermissions {
    let _ = rustls::crypto::ring::default_provider().install_default();
    HttpPermissions::new(PermissionSettings {
        url: server.url(),
        protocol,
        timeout,
        connections: 8,
    })
    .unwrap()
}

fn checks(count: usize) -> Vec<Check> {
    let check = |n| Check {
        file: FileId::parse(format!("a&b= {n}/é")).unwrap(),
        action: Action::Read,
    };
    (0..count).map(check).collect()
}

fn secret(text: &str) -> Presented {
    Presented::new(text.to_owned())
}

fn bearer() -> Credential {
    Credential::Bearer(secret("canary-secret"))
}

async fn ask_form(server: &HookServer) -> Result<Ruling, PermissionError> {
    let backend = backend(server, PermissionProtocol::Form);
    let mut rulings = backend.ask(&bearer(), &checks(1)).await?;
    assert_eq!(rulings.len(), 1);
    Ok(rulings.remove(0))
}

async fn ask_batch(server: &HookServer, count: usize) -> Result<Vec<Ruling>, PermissionError> {
    let backend = backend(server, PermissionProtocol::Batch);
    backend.ask(&bearer(), &checks(count)).await
}

/// The text of a failure, which never has the credential in it.
fn failure<T: std::fmt::Debug>(answer: Result<T, PermissionError>) -> String {
    let Err(PermissionError::Failed(source) | PermissionError::NoRuling(source)) = answer else {
        panic!("{answer:?}");
    };
    let text = format!("{source} {source:?}");
    assert!(!text.contains("canary"), "{text}");
    text
}

#[tokio::test]
async fn a_question_is_a_form_with_the_callers_credential_in_the_header_of_its_kind() {
    let server = HookServer::start().await;
    let backend = backend(&server, PermissionProtocol::Form);
    let guest = "x-guest-authorization";
    let public = "x-public-authorization";
    let kinds = [
        (Credential::Bearer(secret("t")), "authorization", "Bearer t"),
        (Credential::Cookie(secret("t")), "authorization", "Bearer t"),
        (Credential::Guest(secret("a.b.c")), guest, "a.b.c"),
        (Credential::GuestCookie(secret("a.b.c")), guest, "a.b.c"),
        (
            Credential::Public(secret("abcdefgh")),
            public,
            "Token abcdefgh",
        ),
        (
            Credential::PublicCookie(secret("abcdefgh")),
            public,
            "Token abcdefgh",
        ),
    ];
    for (n, (credential, name, value)) in kinds.iter().enumerate() {
        backend.ask(credential, &checks(1)).await.unwrap();
        let asked = server.asked().remove(n);
        assert_eq!(asked.line, "POST /attachments/check-permission/ HTTP/1.1");
        assert_eq!(asked.header(name), *value);
        for other in ["authorization", guest, public] {
            assert!(other == *name || asked.header(other).is_empty());
        }
        assert!(asked.header("cookie").is_empty());
        let kind = asked.header("content-type");
        assert_eq!(kind, "application/x-www-form-urlencoded");
        assert_eq!(asked.body, "file_id=a%26b%3D+0%2F%C3%A9&action=read");
    }
    assert_eq!(server.connections(), 1, "the connection is used again");
}

#[tokio::test]
async fn only_204_and_200_are_a_yes_and_only_401_403_and_404_a_no() {
    let server = HookServer::start().await;
    for (status, allow) in [
        (204, true),
        (200, true),
        (401, false),
        (403, false),
        (404, false),
    ] {
        server.will(Reply::Status(status));
        assert_eq!(ask_form(&server).await.unwrap().allow, allow, "{status}");
    }
    for status in [
        201, 202, 206, 301, 302, 303, 307, 308, 400, 405, 410, 429, 500, 503,
    ] {
        let here = format!("Location: {}\r\n", server.url()).leak();
        server.will(Reply::Full(status, here, "x".to_owned()));
        let before = server.count();
        let text = failure(ask_form(&server).await);
        assert!(text.contains(&status.to_string()), "{text}");
        assert_eq!(server.count(), before + 1, "{status} is not followed");
    }
}

#[tokio::test]
async fn cache_control_says_how_long_an_answer_is_kept() {
    let server = HookServer::start().await;
    let for_secs = |secs| Keep::For(Duration::from_secs(secs));
    for (header, keep) in [
        ("", Keep::Usual),
        ("Cache-Control: private, max-age=60\r\n", for_secs(60)),
        ("Cache-Control: max-age=60, no-store\r\n", for_secs(0)),
    ] {
        for status in [200, 403] {
            server.will(Reply::Full(status, header, String::new()));
            assert_eq!(ask_form(&server).await.unwrap().keep, keep, "{header}");
        }
    }
}

#[tokio::test]
async fn a_backend_that_is_silent_or_stops_half_way_is_timed_out_in_time() {
    let server = HookServer::start().await;
    server.will(Reply::Silence);
    let begun = Instant::now();
    let form = backend_within(&server, PermissionProtocol::Form, SHORT);
    let answer = form.ask(&bearer(), &checks(1)).await;
    assert!(
        matches!(answer, Err(PermissionError::TimedOut)),
        "{answer:?}"
    );
    server.will(Reply::Half);
    let batch = backend_within(&server, PermissionProtocol::Batch, SHORT);
    let answer = batch.ask(&bearer(), &checks(1)).await;
    assert!(
        matches!(answer, Err(PermissionError::TimedOut)),
        "{answer:?}"
    );
    assert!(begun.elapsed() < 2 * SHORT + Duration::from_secs(3));
    // The status of a form's answer is all of it.
    assert!(ask_form(&server).await.unwrap().allow);
}

#[tokio::test]
async fn a_backend_that_hangs_up_or_speaks_no_http_or_is_not_there_failed() {
    let server = HookServer::start().await;
    for reply in [Reply::Close, Reply::Garbage] {
        server.will(reply);
        failure(ask_form(&server).await);
    }
    let url = server.url();
    drop(server);
    let gone = HttpPermissions::new(PermissionSettings {
        url,
        protocol: PermissionProtocol::Form,
        timeout: LIMIT,
        connections: 1,
    });
    let answer = gone.unwrap().ask(&bearer(), &checks(1)).await;
    assert!(answer.is_err());
}

#[tokio::test]
async fn a_connection_that_broke_while_it_was_unused_costs_nobody_an_answer() {
    let server = HookServer::start().await;
    let backend = backend(&server, PermissionProtocol::Form);
    backend.ask(&bearer(), &checks(1)).await.unwrap();
    server.will(Reply::CloseOnce);
    let answer = backend.ask(&bearer(), &checks(1)).await;
    assert!(answer.unwrap()[0].allow);
    assert_eq!(server.count(), 3);
}

#[tokio::test]
async fn a_batch_is_one_json_question_with_a_result_for_every_check() {
    let server = HookServer::start().await;
    server.will(Reply::Results(
        json!({"allow": true, "ttl": 60, "reason": "x".repeat(300), "more": 1}),
    ));
    let rulings = ask_batch(&server, 100).await.unwrap();
    assert_eq!(rulings.len(), 100);
    let expected = Ruling {
        allow: true,
        keep: Keep::For(Duration::from_secs(60)),
        reason: Some("x".repeat(256)),
    };
    assert!(rulings.iter().all(|ruling| *ruling == expected));
    let asked = server.asked().remove(0);
    let body: serde_json::Value = serde_json::from_str(&asked.body).unwrap();
    assert_eq!(body["checks"].as_array().unwrap().len(), 100);
    let first = json!({"file_id": "a&b= 0/é", "action": "read"});
    assert_eq!(body["checks"][0], first);
    assert_eq!(asked.header("authorization"), "Bearer canary-secret");
    assert_eq!(asked.header("content-type"), "application/json");

    server.will(Reply::Results(json!({"allow": false})));
    let rulings = ask_batch(&server, 1).await.unwrap();
    assert_eq!((rulings[0].allow, rulings[0].keep), (false, Keep::Usual));
    server.will(Reply::Status(403));
    assert!(
        ask_batch(&server, 3)
            .await
            .unwrap()
            .iter()
            .all(|ruling| !ruling.allow)
    );
    server.will(Reply::Full(
        200,
        "Cache-Control: no-store\r\n",
        json!({"results": [{"allow": true, "ttl": 60}]}).to_string(),
    ));
    let rulings = ask_batch(&server, 1).await.unwrap();
    assert_eq!(rulings[0].keep, Keep::For(Duration::ZERO));
}

#[tokio::test]
async fn a_batch_answer_of_another_shape_count_or_status_failed() {
    let server = HookServer::start().await;
    let yes = json!({"allow": true});
    let bodies = [
        String::new(),
        "true".to_owned(),
        "[]".to_owned(),
        "{\"results\":{}}".to_owned(),
        "[".repeat(60_000),
        json!({"results": []}).to_string(),
        json!({"results": [yes, yes]}).to_string(),
        json!({"results": [{"allow": 1}]}).to_string(),
        json!({"results": [{"allow": "true"}]}).to_string(),
        json!({"results": [{"ttl": 60}]}).to_string(),
        json!({"results": [{"allow": true, "ttl": -1}]}).to_string(),
        json!({"results": [{"allow": true, "ttl": "60"}]}).to_string(),
        json!({"results": [{"allow": true, "reason": 7}]}).to_string(),
    ];
    for body in bodies {
        server.will(Reply::Full(200, "", body));
        failure(ask_batch(&server, 1).await);
    }
    for status in [204, 302, 500] {
        server.will(Reply::Status(status));
        failure(ask_batch(&server, 1).await);
    }
}

#[tokio::test]
async fn ten_megabytes_are_not_read() {
    let server = HookServer::start().await;
    let size = 10 << 20;
    for announced in [true, false] {
        server.will(Reply::Long { size, announced });
        let begun = Instant::now();
        failure(ask_batch(&server, 1).await);
        assert!(ask_form(&server).await.unwrap().allow);
        assert!(begun.elapsed() < LIMIT);
    }
}
