//! The old links and calls, through the old nginx.

use std::time::Duration;

use cloakroom_tests::{
    client::{encoded, header, part, sha256},
    process::eventually,
    service::Service,
};
use reqwest::{Method, StatusCode, multipart::Form};
use serde_json::Value;

use super::old::{Old, PUBLIC};

/// What one process changed, another may have in its cache for 5 s.
const PATIENCE: Duration = Duration::from_secs(15);

const ODD: &str = "a1b2_Отчёт 2024.pdf";

/// The installation after the switch: imported, running, behind the old nginx.
async fn switched(old: &Old) -> (Service, cloakroom_tests::servers::Nginx) {
    old.sql(format!(
        "INSERT INTO files VALUES ('{ODD}', 26, 'application/pdf', 'Отчёт 2024.pdf', 42, 7, '2024-05-06T07:08:09.123456Z'), \
         ('0b9c1d2e-0000-4000-8000-000000000001', 5, 'text/html', 'visitor.html', NULL, 7, now())"
    ))
    .await;
    old.put(
        7,
        vec![
            (ODD.to_owned(), b"abcdefghijklmnopqrstuvwxyz".to_vec()),
            (
                "0b9c1d2e-0000-4000-8000-000000000001".to_owned(),
                b"<!--x".to_vec(),
            ),
        ],
    )
    .await;
    let imported = old.import(&[]).await;
    assert_eq!(
        (imported.code, imported.counts()),
        (0, [2, 0, 0]),
        "{imported:?}"
    );
    // The scrub would read the bytes at once.
    let service = old.service().env("CLOAKROOM_SCRUB_INTERVAL", "off");
    let service = service.sweeping_fast().start().await;
    let nginx = old.nginx(&service).await;
    (service, nginx)
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "a table of requests")]
async fn old_links_work_as_before_through_the_old_nginx() {
    let old = Old::new().await;
    let (service, nginx) = switched(&old).await;
    let owner = old.user(&nginx.client(), 7, 42).await;
    let path = format!("/files/{}", encoded(ODD));

    let answer = owner.get(&path).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(header(&answer, "content-type"), "application/pdf");
    let disposition = header(&answer, "content-disposition").to_owned();
    let name = "filename*=UTF-8''%D0%9E%D1%82%D1%87%D1%91%D1%82%202024.pdf";
    assert!(
        disposition.starts_with("attachment") && disposition.ends_with(name),
        "{disposition}"
    );
    assert_eq!(
        header(&answer, "last-modified"),
        "Mon, 06 May 2024 07:08:09 GMT"
    );
    assert!(
        answer.headers().get("repr-digest").is_none(),
        "nobody has read the bytes"
    );
    let etag = header(&answer, "etag").to_owned();
    assert!(etag.starts_with("\"v-"), "{etag}");
    assert_eq!(answer.bytes().await.unwrap(), "abcdefghijklmnopqrstuvwxyz");

    let part = owner
        .get(&path)
        .header("Range", "bytes=2-4")
        .send()
        .await
        .unwrap();
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(header(&part, "content-range"), "bytes 2-4/26");
    assert_eq!(header(&part, "etag"), etag, "the tag stays");
    assert_eq!(part.bytes().await.unwrap(), "cde");
    let beyond = owner
        .get(&path)
        .header("Range", "bytes=99-")
        .send()
        .await
        .unwrap();
    assert_eq!(beyond.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    let same = owner
        .get(&path)
        .header("If-None-Match", &etag)
        .send()
        .await
        .unwrap();
    assert_eq!(same.status(), StatusCode::NOT_MODIFIED);
    let head = owner.call(Method::HEAD, &path).send().await.unwrap();
    assert_eq!(
        (head.status(), header(&head, "content-length")),
        (StatusCode::OK, "26")
    );

    let info = owner.get(&format!("{path}/info")).send().await.unwrap();
    let info: Value = info.json().await.unwrap();
    assert_eq!(
        (&info["file_id"], &info["sha256"]),
        (&ODD.into(), &Value::Null),
        "{info}"
    );
    assert_eq!(
        (&info["user_id"], &info["account_id"]),
        (&42.into(), &7.into())
    );
    assert_eq!(info["created_at"], "2024-05-06T07:08:09.123456Z");
    assert_eq!(info["public_url"], format!("{PUBLIC}/{}", encoded(ODD)));

    let scrubbed = service.run(&["scrub", "--once"]).await;
    assert_eq!(scrubbed.code, 0, "{scrubbed:?}");
    eventually("the digest is stated", PATIENCE, async || {
        let answer = owner.get(&path).send().await.unwrap();
        assert_eq!(header(&answer, "etag"), etag, "the tag stays");
        answer.headers().contains_key("repr-digest")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_told_401_and_403_and_browsers_are_sent_away() {
    let old = Old::new().await;
    let (service, nginx) = switched(&old).await;
    let path = format!("/files/{}", encoded(ODD));
    let anonymous = nginx.client();
    let refused = anonymous.get(&path).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    let page = anonymous
        .get(&path)
        .header("Accept", "text/html")
        .send()
        .await
        .unwrap();
    assert_eq!(page.status(), StatusCode::FOUND);
    let back = encoded(&format!("{PUBLIC}/{}", encoded(ODD)));
    let sign_in = format!("https://app.example.com/auth/signin/?redirectUrl={back}");
    assert_eq!(header(&page, "location"), sign_in);

    for (account, who) in [(7, 43), (8, 42)] {
        let other = old.user(&anonymous, account, who).await;
        let refused = other.get(&path).send().await.unwrap();
        assert_eq!(refused.status(), StatusCode::FORBIDDEN, "{account}/{who}");
        let body: Value = refused.json().await.unwrap();
        assert_eq!(body["code"], "FILE_002");
        let page = other
            .get(&path)
            .header("Accept", "text/html")
            .send()
            .await
            .unwrap();
        assert_eq!(header(&page, "location"), "https://app.example.com/error/");
        let missing = other.get("/files/nobodys").send().await.unwrap();
        assert_eq!(missing.status(), StatusCode::NOT_FOUND);
    }
    // Who is told yes by the backend, asked as it always was.
    old.backend_says(204);
    let colleague = old.user(&anonymous, 7, 44).await;
    assert_eq!(colleague.bytes(&path).await, b"abcdefghijklmnopqrstuvwxyz");
    let question = format!("file_id={}&", encoded(ODD).replace("%20", "+"));
    let asked = old.asked();
    assert!(
        asked.iter().any(|body| body.starts_with(&question)),
        "{asked:?}"
    );
    // What a visitor uploaded is nobody's whom we could recognise.
    let visitors = "/files/0b9c1d2e-0000-4000-8000-000000000001";
    let token = service.create_token("service", &["--account", "7"]).await;
    let refused = anonymous
        .with(Some(&token))
        .get(visitors)
        .send()
        .await
        .unwrap();
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_as_the_old_pages_make_them_are_answered_as_before() {
    let old = Old::new().await;
    let (_service, nginx) = switched(&old).await;
    let owner = old.user(&nginx.client(), 7, 42).await;
    for path in ["/files/upload", "/files/upload/"] {
        let form = Form::new().part("file", part("снимок.png", "image/png", b"new".to_vec()));
        let answer = owner.post(path).multipart(form).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        let made: Value = answer.json().await.unwrap();
        let id = made["file_id"].as_str().unwrap();
        assert_eq!(made["public_url"], format!("{PUBLIC}/{id}"));
        assert_eq!(owner.bytes(&format!("/files/{id}")).await, b"new");
    }
    let keys = old.keys(7).await;
    assert_eq!(keys.len(), 4, "new bytes lie beside the old: {keys:?}");
    let nobody = nginx
        .client()
        .post("/files/upload")
        .body("x")
        .send()
        .await
        .unwrap();
    assert_eq!(nobody.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_imported_file_is_a_file_like_any_other() {
    let old = Old::new().await;
    let (service, nginx) = switched(&old).await;
    let owner = old.user(&nginx.client(), 7, 42).await;
    let path = format!("/files/{}", encoded(ODD));

    let put = owner
        .call(Method::PUT, &path)
        .body("second")
        .send()
        .await
        .unwrap();
    assert!(put.status().is_success(), "{put:?}");
    let second: Value = put.json().await.unwrap();
    assert_eq!(second["sha256"], sha256(b"second"));
    assert_eq!(owner.bytes(&path).await, b"second");
    let first = format!("{path}/versions/1");
    assert_eq!(owner.bytes(&first).await, b"abcdefghijklmnopqrstuvwxyz");

    // The old service's objects that have no row are told of, and never removed.
    old.put_more(7, "nobodys-upload", b"left").await;
    let checked = service
        .run(&["fsck", "--repair", "--verify", "--json"])
        .await;
    assert_eq!(checked.code, 1, "{checked:?}");
    assert!(
        checked.stdout.contains("foreign_object") && checked.stdout.contains("\"repaired\":0"),
        "{checked:?}"
    );
    assert!(old.keys(7).await.contains("nobodys-upload"));

    let purged = owner
        .call(Method::DELETE, &format!("{path}?purge=true"))
        .send()
        .await
        .unwrap();
    assert!(purged.status().is_success(), "{purged:?}");
    assert_eq!(
        owner.get(&path).send().await.unwrap().status(),
        StatusCode::NOT_FOUND
    );
    assert!(!old.keys(7).await.contains(ODD), "its bytes are gone");
    // What was purged here does not come back with the old row.
    let again = old.import(&[]).await;
    assert_eq!((again.code, again.counts()), (1, [0, 1, 1]), "{again:?}");
    assert_eq!(again.not_taken[0]["kind"], "missing_object");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_environment_is_listed_at_the_start_and_shown_with_its_names() {
    let old = Old::new().await;
    let mut service = old.service().start().await;
    service.terminate().await;
    let log = service.log();
    for line in [
        "CLOAKROOM_MOUNT is /, from FASTAPI_BASE_URL, SEAWEEDFS_S3_ENDPOINT, KEY_PREFIX_REDIS",
        "CLOAKROOM_DATABASE_SCHEMA is cloakroom, from POSTGRES_USER",
        "CLOAKROOM_S3_SECRET_ACCESS_KEY is ****, from SEAWEEDFS_S3_SECRET_KEY",
        "CLOAKROOM_AUTH_SECRET_KEY is ****, from DJANGO_SECRET_KEY",
        "/attachments/check-permission, from BACKEND_PRIVATE_URL",
        "ALLOWED_ORIGINS has *",
    ] {
        assert!(log.contains(line), "{line}\n{log}");
    }
    let shown = old.service().run(&["config", "show", "--json"]).await;
    let shown: Vec<Value> = serde_json::from_str(&shown.stdout).unwrap();
    let setting = |name: &str| shown.iter().find(|s| s["name"] == name).unwrap();
    assert_eq!(setting("CLOAKROOM_HSTS")["source"], "environment (CONFIG)");
    assert_eq!(setting("CLOAKROOM_HSTS")["value"], "8760h");
    assert_eq!(
        setting("CLOAKROOM_REDIS_URL")["source"],
        "environment (AUTH_REDIS_URL)"
    );
    assert_eq!(setting("CLOAKROOM_RATE_LIMIT")["value"], "on");
    assert_eq!(
        setting("CLOAKROOM_ALLOWED_ORIGINS")["value"],
        "https://form.example.com"
    );
    let listen = old
        .service()
        .without("CLOAKROOM_LISTEN")
        .run(&["config", "check"])
        .await;
    assert_eq!(listen.code, 0, "{listen:?}");
}
