//! What lies around nginx: the line, the clock, the application, and services that are not there.

use std::time::Duration;

use cloakroom_tests::{
    client::{file_path, id},
    hook::{HookServer, Reply},
    jwt::{guest_claims, hs256},
    line::Line,
    service::Setup,
};

use super::{Make, Place, doctor};

/// What guests' tokens are signed with, here.
const SECRET: &str = "a-secret-of-the-application-beside-the-service";
/// What users' tokens are signed with.
const KEY: &str = "a-key-of-the-identity-provider-of-the-application";

/// Sets the clock of every answer 100 days and some back: a date that came by chance would not be as wrong.
fn long_ago(answer: &mut [u8]) {
    replace(answer, b"Sat, 01 Jan 2022 10:00:00 GMT");
}

fn replace(answer: &mut [u8], date: &[u8; 29]) {
    let mark = b"\r\nDate: ";
    let found = answer.windows(mark.len()).position(|window| window == mark);
    if let Some(at) = found.map(|at| at + mark.len())
        && let Some(place) = answer.get_mut(at..at + date.len())
    {
        place.copy_from_slice(date);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_wrong_is_named() {
    let place = Place::simple().await;
    let nginx = place.nginx().start().await;
    let line = Line::changing(nginx.address(), long_ago).await;
    let url = format!("http://{}/files", line.address());
    let seen = doctor(&url, &place.token, None, &["--only", "clock"]).await;
    seen.assert_only_fault("clock", "timedatectl set-ntp true");
    place.look("clock").await.assert_well(&[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_over_http_2_are_as_fast_on_a_long_line_unless_little_may_be_on_its_way() {
    for (preread, buffer, slow) in [
        ("512k", "512k", false),
        ("64k", "16k", true),
        // The line that mends it does.
        ("512k", "16k", false),
    ] {
        let make = Make {
            tls: true,
            ..Make::default()
        };
        let place = Place::start(Setup::SqliteFs, make).await;
        let nginx = place
            .nginx()
            .changed(
                "tls.conf",
                "http2_body_preread_size 512k;",
                format!("http2_body_preread_size {preread};"),
            )
            .changed(
                "proxy.conf",
                "client_body_buffer_size 512k;",
                format!("client_body_buffer_size {buffer};"),
            )
            .start()
            .await;
        let line = Line::long(nginx.address(), Duration::from_millis(20)).await;
        let url = format!("https://localhost:{}/files", line.address().port());
        let certificate = nginx.certificate();
        let more = ["--only", "http2"];
        let seen = doctor(&url, &place.token, Some(&certificate), &more).await;
        if slow {
            seen.assert_only_fault("http2", "http2_body_preread_size 512k;");
        } else {
            seen.assert_well(&[]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_that_is_down_is_named_to_an_admin_and_to_a_user_of_its_own() {
    let hook = HookServer::start().await;
    let url = hook.url();
    let make = Make {
        settings: &[
            ("CLOAKROOM_PERMISSION_URL", &url),
            ("CLOAKROOM_AUTH_SECRET_KEY", SECRET),
            ("CLOAKROOM_JWT_KEY", KEY),
        ],
        ..Make::default()
    };
    let place = Place::start(Setup::SqliteFs, make).await;
    let nginx = place.nginx().start().await;
    let owner = nginx.client().with(Some(&place.token));
    let file = owner.stored("a.txt", "body").await;
    let other = owner.stored("b.txt", "body").await;
    let claims = serde_json::json!({
        "exp": cloakroom_tests::jwt::LATER, "sub": "8", "account_id": 1,
    });
    let colleague = hs256(KEY, &claims);
    let admin = place.service().admin_token();
    let as_admin = ["--account", "1", "--only", "hook"];
    let as_user = ["--hook-file", id(&file), "--only", "hook"];
    for token in [&admin, &colleague] {
        let more = if *token == admin { as_admin } else { as_user };
        doctor(&place.url(), token, None, &more)
            .await
            .assert_well(&[]);
    }
    assert_eq!(hook.count(), 1, "one question, of the user's look");

    hook.will(Reply::Status(500));
    // About another file: the first answer is still kept.
    let as_user = ["--hook-file", id(&other), "--only", "hook"];
    let seen = doctor(&place.url(), &colleague, None, &as_user).await;
    seen.assert_only_fault("hook", "CLOAKROOM_PERMISSION_URL=");
    // Guests ask until the application is left alone, which is what an admin sees.
    for number in 0..40 {
        let guest = hs256(SECRET, &guest_claims(1, Some(100 + number)));
        let nobody = place.service().anonymous();
        let get = nobody
            .get(&file_path(id(&other)))
            .header("X-Guest-Authorization", guest);
        assert_eq!(get.send().await.unwrap().status(), 502);
    }
    let seen = doctor(&place.url(), &admin, None, &as_admin).await;
    seen.assert_only_fault("hook", "CLOAKROOM_PERMISSION_URL=");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_not_there_is_named_and_nobody_there_at_all_is_not_looked_at() {
    let mut place = Place::simple().await;
    let nginx = place.nginx().start().await;
    place.services[0].kill9();
    place
        .look("")
        .await
        .assert_fault("reach", "upstream cloakroom");
    drop(nginx);
    let seen = place.look("").await;
    assert_eq!(seen.code, 2, "{seen:#?}");
    assert_eq!(seen.count("ok") + seen.count("fault"), 0, "{seen:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_nobody_knows_and_an_address_that_is_not_the_last_are_named() {
    let make = Make {
        tls: true,
        ..Make::default()
    };
    let place = Place::start(Setup::SqliteFs, make).await;
    let nginx = place.nginx().start().await;
    place
        .look("")
        .await
        .assert_fault("reach", "ssl_certificate");
    let plain = format!("{}/files", nginx.plain_base());
    let seen = doctor(&plain, &place.token, None, &[]).await;
    seen.assert_fault("reach", "CLOAKROOM_PUBLIC_URL=https://127.0.0.1/files");
}
