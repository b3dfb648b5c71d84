//! Rate limits of one replica, and callers who would rather not be counted.

use std::time::Duration;

use cloakroom_tests::{
    client::{Client, Raw, expect, header, id, refused},
    stand::Stand,
};
use reqwest::{Method, StatusCode};

pub const ON: (&str, &str) = ("CLOAKROOM_RATE_LIMIT", "on");
/// A public file, and its path.
pub async fn public_file(api: &Client) -> String {
    let made = api.post("/files?visibility=public").body("0123456789");
    let file = expect(made.send().await.unwrap(), StatusCode::CREATED).await;
    format!("/files/{}", id(&file))
}

pub async fn status(request: reqwest::RequestBuilder) -> u16 {
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn so_many_pass_and_the_next_is_told_when_to_come_back() {
    let settings = [
        ON,
        ("CLOAKROOM_RATE_LIMIT_UPLOAD", "3/60s"),
        ("CLOAKROOM_RATE_LIMIT_DOWNLOAD", "5/60s"),
    ];
    let stand = Stand::with(&settings).await;
    let api = stand.user();
    let file = api.stored("a.txt", "0123456789").await;
    let path = format!("/files/{}", id(&file));
    let put = api.call(Method::PUT, &path).body("9876543210");
    let answer = put.send().await.unwrap();
    assert_eq!(header(&answer, "ratelimit-policy"), "\"upload\";q=3;w=60");
    assert!(header(&answer, "ratelimit").starts_with("\"upload\";r=1;t="));
    expect(answer, StatusCode::OK).await;
    assert_eq!(api.upload("b.txt", "text/plain", "x").await.status(), 201);
    let answer = api.post("/files").body("x").send().await.unwrap();
    let wait: u64 = header(&answer, "retry-after").parse().unwrap();
    assert!((1..=20).contains(&wait), "{wait}");
    assert!(header(&answer, "ratelimit").starts_with("\"upload\";r=0;t="));
    let problem = refused(answer, 429, "RATE_001").await;
    assert_eq!(problem["retry_after"], wait);
    // Told before the body is asked for.
    let expecting = api
        .post("/files")
        .header("Expect", "100-continue")
        .body("x");
    refused(expecting.send().await.unwrap(), 429, "RATE_001").await;
    assert_eq!(stand.objects().await, 3);

    // Whatever is asked of the bytes counts, and what is asked of the file's data does not.
    let etag = "\"no-such-tag\"";
    assert_eq!(status(api.get(&path)).await, 200);
    assert_eq!(status(api.call(Method::HEAD, &path)).await, 200);
    assert_eq!(
        status(api.get(&path).header("Range", "bytes=1-2")).await,
        206
    );
    assert_eq!(status(api.get(&path).header("If-Match", etag)).await, 412);
    assert_eq!(status(api.get(&format!("{path}/versions/1"))).await, 200);
    let answer = api.get(&path).send().await.unwrap();
    assert_eq!(header(&answer, "ratelimit-policy"), "\"download\";q=5;w=60");
    refused(answer, 429, "RATE_001").await;
    for _ in 0..10 {
        assert_eq!(status(api.get(&format!("{path}/info"))).await, 200);
    }
    // Others have limits of their own, whether they have the same account or no token at all.
    let colleague = stand
        .token("user", &["--account", "1", "--user", "8"])
        .await;
    assert_eq!(status(colleague.get(&path)).await, 403);
    assert_eq!(status(api.with(None).get(&path)).await, 401);
    let same_user = stand
        .token("user", &["--account", "1", "--user", "7"])
        .await;
    assert_eq!(
        status(same_user.get(&path)).await,
        429,
        "another token of the same user"
    );
}

#[tokio::test]
async fn limits_are_off_where_that_is_configured_and_then_nothing_is_said() {
    let stand = Stand::with(&[("CLOAKROOM_RATE_LIMIT_DOWNLOAD", "1/60s")]).await;
    let path = public_file(&stand.user()).await;
    for _ in 0..5 {
        let answer = stand.anonymous().get(&path).send().await.unwrap();
        assert_eq!(header(&answer, "ratelimit"), "");
        assert_eq!(answer.status(), 200);
    }
}

#[tokio::test]
async fn a_forged_address_is_without_effect_unless_the_peer_is_trusted() {
    let limit = ("CLOAKROOM_RATE_LIMIT_DOWNLOAD", "5/10000s");
    let forged = |n: usize| [format!("192.0.2.{n}"), format!("2001:db8:0:{n}::1")];
    let stand = Stand::with(&[ON, limit]).await;
    let path = public_file(&stand.user()).await;
    let nobody = stand.anonymous();
    let mut passed = 0;
    for n in 0..20 {
        for address in forged(n) {
            for name in [
                "X-Real-IP",
                "X-Forwarded-For",
                "Forwarded",
                "True-Client-IP",
            ] {
                let answer = nobody.get(&path).header(name, &address);
                passed += usize::from(status(answer).await == 200);
            }
        }
    }
    assert_eq!(passed, 5);

    let trusted = ("CLOAKROOM_TRUSTED_PROXIES", "10.0.0.0/8,127.0.0.1");
    let stand = Stand::with(&[ON, limit, trusted]).await;
    let path = public_file(&stand.user()).await;
    let nobody = stand.anonymous();
    for n in 0..20 {
        for address in forged(n) {
            let answer = nobody.get(&path).header("X-Real-IP", &address);
            assert_eq!(status(answer).await, 200, "{address}");
        }
    }
    // What a client wrote itself stands left of what the proxy added.
    let mut passed = 0;
    for n in 0..20 {
        let hops = format!("198.51.100.{n}, 203.0.113.7");
        let answer = nobody.get(&path).header("X-Forwarded-For", hops);
        passed += usize::from(status(answer).await == 200);
    }
    assert_eq!(passed, 5);
    // One host has all of its /64.
    let mut passed = 0;
    for n in 0..20 {
        let address = format!("2001:db8:ffff:1::{n}");
        let answer = nobody.get(&path).header("X-Real-IP", address);
        passed += usize::from(status(answer).await == 200);
    }
    assert_eq!(passed, 5);
}

#[tokio::test]
async fn every_spelling_of_a_path_counts_as_the_same() {
    let settings = [ON, ("CLOAKROOM_RATE_LIMIT_DOWNLOAD", "7/10000s")];
    let stand = Stand::with(&settings).await;
    let path = public_file(&stand.user()).await;
    let file = path.trim_start_matches("/files/");
    let first = u32::from(file.as_bytes()[0]);
    let encoded = format!("%{first:02x}{}", &file[1..]);
    let spellings = [
        path.clone(),
        format!("/files/{encoded}"),
        format!("/files/{}", encoded.to_uppercase()),
        format!("/%66iles/{file}"),
        format!("/files/{file}/"),
        format!("//files/{file}"),
        format!("/files//{file}"),
        format!("/files/./{file}"),
        format!("/FILES/{file}"),
        format!("{path}?"),
        format!("{path}?disposition=inline&x=1"),
        format!("{path}/versions/1"),
        format!("{path}/versions/01"),
        format!("{path}#x"),
    ];
    let mut passed = 0;
    for _ in 0..5 {
        for spelling in &spellings {
            let mut raw = Raw::connect(&stand.base()).await;
            let head = format!("GET {spelling} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
            raw.send(head).await.unwrap();
            let answer = raw.answer(Duration::from_secs(10)).await.unwrap();
            passed += usize::from(answer.status == 200);
        }
    }
    // Some lead to no file, and count as well.
    assert!((1..=7).contains(&passed), "{passed}");
    assert_eq!(status(stand.anonymous().get(&path)).await, 429);
}

#[tokio::test]
async fn who_guesses_credentials_is_stopped_and_who_reads_public_files_with_an_old_cookie_is_not() {
    let settings = [ON, ("CLOAKROOM_RATE_LIMIT_AUTH_FAILURE", "6/10000s")];
    let stand = Stand::with(&settings).await;
    let known = stand.user();
    let path = public_file(&known).await;
    let list = |token: &str| {
        let guess = stand.anonymous().with(Some(token));
        async move { guess.get("/files").send().await.unwrap() }
    };
    let cookie = |path: &str, value: &str| {
        let value = format!("file_service_auth={value}; public-token={value}");
        let request = stand.anonymous().get(path).header("Cookie", value);
        async move { request.send().await.unwrap() }
    };
    for n in 0..20 {
        assert_eq!(cookie(&path, &format!("old-{n}")).await.status(), 200);
    }
    for n in 0..3 {
        refused(list(&format!("wrong-{n}")).await, 401, "AUTH_001").await;
        refused(
            cookie("/files", &format!("wrong-{n}")).await,
            401,
            "AUTH_001",
        )
        .await;
    }
    for n in 0..10 {
        let answer = list(&format!("more-{n}")).await;
        assert!(header(&answer, "ratelimit-policy").starts_with("\"auth_failure\";q=6"));
        refused(answer, 429, "RATE_001").await;
        refused(
            cookie("/files", &format!("more-{n}")).await,
            429,
            "RATE_001",
        )
        .await;
    }
    let expecting = stand.anonymous().with(Some("wrong")).post("/files");
    let expecting = expecting.header("Expect", "100-continue").body("x");
    refused(expecting.send().await.unwrap(), 429, "RATE_001").await;

    assert_eq!(cookie(&path, "old").await.status(), 200, "an old cookie");
    assert_eq!(
        status(stand.anonymous().get(&path)).await,
        200,
        "no credential"
    );
    refused(
        stand.anonymous().get("/files").send().await.unwrap(),
        401,
        "AUTH_001",
    )
    .await;
    assert_eq!(
        status(known.get("/files")).await,
        200,
        "one that was recognised before"
    );
}
