//! Starting, greeting, stopping.

use std::{
    io::{Read, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    time::Duration,
};

use crate::running::{Place, client, download, upload};

#[tokio::test]
async fn a_newcomer_is_greeted_and_finds_the_file_again_after_a_restart() {
    let place = Place::new();
    let service = place.serve();
    let user = place.development_token("user");
    let id = upload(&place, &user, "hello").await;
    let (status, out, err) = service.stop();
    assert!(status.success(), "{err}");
    let files = place.url("/files");
    for line in [
        format!("curl -H \"Authorization: Bearer {user}\" -F file=@README.md {files}"),
        place.development_token("admin"),
        place.url("/docs"),
    ] {
        assert!(out.contains(&line), "{out}");
    }
    assert!(!err.contains(&user), "the log has a token");

    let service = place.serve();
    assert_eq!(place.development_token("user"), user);
    assert_eq!(
        download(&place, &user, &id).await,
        (200, "hello".to_owned())
    );
    let cookie = client()
        .get(place.url(&format!("/files/{id}")))
        .header("cookie", format!("token={user}"));
    assert_eq!(cookie.send().await.unwrap().status(), 200);
    drop(service);
    let mode = |name: &str| {
        let path = place.data().join(name);
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    };
    assert_eq!(mode(""), 0o700);
    assert_eq!(mode("development-tokens.json"), 0o600);
    assert_eq!(mode("cloakroom.db"), 0o600);
}

#[tokio::test]
async fn with_an_admin_token_nothing_is_made_up() {
    let mut place = Place::new();
    place.set("ADMIN_TOKEN", "of-the-operator");
    place.set("LOG_FORMAT", "json");
    let service = place.serve();
    assert!(!place.data().join("development-tokens.json").exists());
    let cookie = client()
        .get(place.url("/files"))
        .header("cookie", "token=of-the-operator");
    assert_eq!(cookie.send().await.unwrap().status(), 401);
    let (status, out, err) = service.stop();
    assert!(status.success() && out.is_empty(), "{out}");
    for line in err.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(line["level"].is_string() && line["timestamp"].is_string());
    }
    assert!(err.contains("\"message\":\"listening\""), "{err}");
}

#[tokio::test]
async fn a_browser_that_may_not_have_a_file_is_sent_to_the_web_application() {
    let mut place = Place::new();
    place.set("FRONTEND_URL", "https://app.example.com/");
    place.set("PUBLIC_URL", "https://example.com/files");
    let _service = place.serve();
    let client = client();
    let get = |accept: &'static str| {
        let request = client.get(place.url("/files/none"));
        request.header("accept", accept).send()
    };
    let answer = get("text/html,*/*").await.unwrap();
    assert_eq!(answer.status(), 302);
    assert_eq!(
        answer.headers()["location"],
        "https://app.example.com/auth/signin/?redirectUrl=https%3A%2F%2Fexample.com%2Ffiles%2Fnone"
    );
    assert_eq!(get("application/json").await.unwrap().status(), 401);
}

#[test]
fn a_sqlite_file_has_one_service() {
    let place = Place::new();
    let _service = place.serve();
    let said = place.run(&["serve"]);
    assert_eq!(said.code, Some(1));
    assert!(
        said.line().contains("another service uses this database"),
        "{said:?}"
    );
}

#[test]
fn a_taken_address_is_told() {
    let place = Place::new();
    let _service = place.serve();
    let mut second = Place::new();
    second.set("LISTEN", &place.address);
    let said = second.run(&["serve"]);
    assert_eq!(said.code, Some(1));
    assert!(
        said.line()
            .contains(&format!("cannot listen at {}", place.address)),
        "{said:?}"
    );
}

#[test]
fn healthcheck_tells_whether_the_service_is_ready() {
    let place = Place::new();
    assert_eq!(place.run(&["healthcheck"]).code, Some(1));
    let service = place.serve();
    let said = place.run(&["healthcheck", "--json"]);
    assert_eq!(
        (said.code, said.json()["ok"].as_bool()),
        (Some(0), Some(true))
    );
    assert_eq!(place.run(&["healthcheck", "--live"]).code, Some(0));
    drop(service);
}

#[test]
fn a_request_in_flight_ends_well_after_sigterm() {
    let place = Place::new();
    let service = place.serve();
    let token = place.development_token("user");
    let mut client = TcpStream::connect(&place.address).unwrap();
    let head = format!(
        "POST /files?filename=a.txt HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: 10\r\n\r\n"
    );
    client.write_all(head.as_bytes()).unwrap();
    client.write_all(b"01234").unwrap();
    std::thread::sleep(Duration::from_millis(300));
    service.terminate();
    std::thread::sleep(Duration::from_millis(300));
    assert!(
        TcpStream::connect(&place.address).is_err(),
        "new work is taken"
    );
    client.write_all(b"56789").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    let (status, _, err) = service.wait();
    assert!(status.success() && err.contains("stopped"), "{err}");
    let said = place.run(&["fsck", "--verify", "--json"]);
    assert_eq!(
        (said.code, said.json()["rows"].as_u64()),
        (Some(0), Some(1)),
        "{said:?}"
    );
}

#[test]
fn a_request_that_does_not_end_is_cut_off_after_the_shutdown_timeout() {
    let mut place = Place::new();
    place.set("SHUTDOWN_TIMEOUT", "1s");
    let service = place.serve();
    let token = place.development_token("user");
    let mut client = TcpStream::connect(&place.address).unwrap();
    let head = format!(
        "POST /files?filename=a.txt HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: 10\r\n\r\n01"
    );
    client.write_all(head.as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let start = std::time::Instant::now();
    let (status, _, err) = service.stop();
    assert!(status.success(), "{err}");
    assert!(
        start.elapsed() < Duration::from_secs(8),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(place.run(&["fsck"]).code, Some(0));
}
