//! Who may: its creator and nobody else, within limits, from pages that are allowed.

use cloakroom_tests::{
    client::{Client, OFFSET_STREAM, Tus, described, expect, header, path_of, refused},
    jwt::{guest_claims, hs256},
    stand::Stand,
};
use reqwest::{Method, StatusCode};

use super::{assert_answered, refused_by_tus};
use crate::{cors, limits};

const SECRET: &str = "a5f0c2e4-of-the-backend";

async fn every_verb(tus: &Tus, path: &str, status: u16, code: &str) {
    let head = tus.head(path).await;
    assert_eq!(head.status(), status);
    assert_eq!(header(&head, "upload-offset"), "", "no progress is told");
    assert_eq!(header(&head, "upload-length"), "");
    let overridden = tus
        .client()
        .post(path)
        .header("X-HTTP-Method-Override", "DELETE");
    for answer in [
        tus.patch(path, 3, "more").send().await.unwrap(),
        tus.patch(path, 0, "more").send().await.unwrap(),
        tus.patch(path, 3, "").send().await.unwrap(),
        tus.delete(path).await,
        overridden.send().await.unwrap(),
    ] {
        assert_eq!(header(&answer, "upload-offset"), "");
        refused_by_tus(answer, status, code).await;
    }
}

#[tokio::test]
async fn an_upload_is_its_creators_and_nobody_elses() {
    let stand = Stand::with(&[("CLOAKROOM_AUTH_SECRET_KEY", SECRET)]).await;
    let tus = Tus::new(&stand.user());
    let guest = |user| {
        let token = hs256(SECRET, &guest_claims(1, user));
        Tus::new(
            &stand
                .anonymous()
                .with_header("X-Guest-Authorization", &token),
        )
    };
    let others = [
        Tus::new(
            &stand
                .token("user", &["--account", "1", "--user", "8"])
                .await,
        ),
        Tus::new(
            &stand
                .token("user", &["--account", "2", "--user", "7"])
                .await,
        ),
        Tus::new(&stand.token("service", &["--account", "1"]).await),
        Tus::new(&stand.admin()),
        guest(None),
    ];
    for length in [8, 3] {
        let path = tus.created(length, &[]).await;
        tus.patched(&path, 0, b"abc").await;
        for other in &others {
            every_verb(other, &path, 404, "UPLOAD_001").await;
        }
        for nobody in [stand.anonymous(), stand.anonymous().with(Some("no-such"))] {
            every_verb(&Tus::new(&nobody), &path, 401, "AUTH_001").await;
        }
        assert_eq!(tus.offset(&path).await, 3, "untouched");
        // Another token of the same user is the same user.
        let same = stand
            .token("user", &["--account", "1", "--user", "7"])
            .await;
        assert_eq!(Tus::new(&same).offset(&path).await, 3);
    }
    let create = Tus::new(&stand.anonymous()).create(&[("Upload-Length", "1")]);
    refused_by_tus(create.send().await.unwrap(), 401, "AUTH_001").await;
    let unknown = "/files/uploads/no-such";
    every_verb(&Tus::new(&stand.anonymous()), unknown, 401, "AUTH_001").await;

    // Guests have uploads of their own.
    let path = guest(None).created(3, &[]).await;
    guest(None).patched(&path, 0, b"abc").await;
    every_verb(&tus, &path, 404, "UPLOAD_001").await;
}

#[tokio::test]
async fn whoever_has_no_account_names_one() {
    let stand = Stand::simple().await;
    let admin = Tus::new(&stand.admin());
    let nowhere = admin.create(&[("Upload-Length", "1")]).send().await;
    refused_by_tus(nowhere.unwrap(), 422, "VAL_002").await;
    let account = described(&[("account_id", "42")]);
    for (address, metadata) in [
        ("/files", account.as_str()),
        ("/files?account_id=42", ""),
        ("/files?account_id=41", account.as_str()),
    ] {
        let create = admin.client().post(address).header("Upload-Length", 1);
        let created = create.header("Upload-Metadata", metadata).send().await;
        let path = path_of(header(&created.unwrap(), "location"));
        admin.patched(&path, 0, b"x").await;
        let info = format!("{}/info", path.replace("/uploads", ""));
        let info = stand.admin().get(&info).send().await.unwrap();
        assert_eq!(expect(info, StatusCode::OK).await["account_id"], 42);
    }
}

#[tokio::test]
async fn the_limit_counts_uploads_begun_and_not_their_patches() {
    let settings = [limits::ON, ("CLOAKROOM_RATE_LIMIT_UPLOAD", "3/60s")];
    let stand = Stand::with(&settings).await;
    let tus = Tus::new(&stand.user());
    let answer = tus.create(&[("Upload-Length", "20")]).send().await.unwrap();
    assert_eq!(header(&answer, "ratelimit-policy"), "\"upload\";q=3;w=60");
    let path = path_of(header(&answer, "location"));
    let other = tus.created(1, &[]).await;
    tus.created(1, &[]).await;
    let fourth = tus.create(&[("Upload-Length", "1")]).send().await.unwrap();
    assert!(!header(&fourth, "retry-after").is_empty());
    refused_by_tus(fourth, 429, "RATE_001").await;
    for offset in 0..10 {
        assert_eq!(tus.patched(&path, offset, b"x").await, offset + 1);
        assert_eq!(tus.offset(&path).await, offset + 1);
    }
    // Nor those that a POST stands for, whether or not it waits for a word first.
    for offset in 10..20 {
        let mut post = tus
            .client()
            .post(&path)
            .header("X-HTTP-Method-Override", "PATCH")
            .header("Content-Type", OFFSET_STREAM)
            .header("Upload-Offset", offset)
            .body("x");
        if offset % 2 == 0 {
            post = post.header("Expect", "100-continue");
        }
        assert_answered(&post.send().await.unwrap(), StatusCode::NO_CONTENT);
    }
    assert_answered(&tus.delete(&other).await, StatusCode::NO_CONTENT);
}

fn names(list: &str) -> Vec<String> {
    let names = list.split(',').map(|name| name.trim().to_ascii_lowercase());
    names.collect()
}

#[tokio::test]
async fn an_allowed_page_may_upload_with_every_header_and_read_every_answer() {
    let stand = cors::stand().await;
    let asked = [
        "tus-resumable",
        "upload-offset",
        "upload-length",
        "upload-metadata",
        "upload-checksum",
        "upload-concat",
        "upload-defer-length",
        "x-http-method-override",
        "content-type",
        "authorization",
    ];
    for (path, method) in [
        ("/files", "POST"),
        ("/files/uploads/x", "PATCH"),
        ("/files/uploads/x", "HEAD"),
        ("/files/uploads/x", "DELETE"),
    ] {
        let preflight = stand
            .anonymous()
            .call(Method::OPTIONS, path)
            .header("Origin", cors::FORMS)
            .header("Access-Control-Request-Method", method)
            .header("Access-Control-Request-Headers", asked.join(","));
        let answer = preflight.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::NO_CONTENT, "{path}");
        assert_eq!(header(&answer, "access-control-allow-origin"), cors::FORMS);
        assert_eq!(
            header(&answer, "tus-version"),
            "",
            "no answer of the protocol"
        );
        let methods = names(header(&answer, "access-control-allow-methods"));
        assert!(methods.contains(&method.to_ascii_lowercase()));
        let allowed = names(header(&answer, "access-control-allow-headers"));
        for name in asked {
            assert!(allowed.contains(&name.to_owned()), "{name}");
        }
    }
    let page = stand.user().with_header("Origin", cors::FORMS);
    let tus = Tus::new(&page);
    let answer = tus.create(&[("Upload-Length", "5")]).send().await.unwrap();
    let path = path_of(header(&answer, "location"));
    let refusal = tus.patch(&path, 9, "x").send().await.unwrap();
    for answer in [answer, refusal, tus.head(&path).await] {
        let exposed = names(header(&answer, "access-control-expose-headers"));
        for name in [
            "location",
            "upload-offset",
            "upload-length",
            "tus-resumable",
            "upload-expires",
        ] {
            assert!(exposed.contains(&name.to_owned()), "{name}");
        }
    }
}

#[tokio::test]
async fn a_page_that_is_not_allowed_cannot_use_its_visitors_cookie() {
    let stand = cors::stand().await;
    let tus = Tus::new(&stand.user());
    let path = tus.created(5, &[]).await;
    let cookie = format!("token={}", stand.user_token());
    let from = |origin: Option<&str>| -> Client {
        let client = stand.anonymous().with_header("Cookie", &cookie);
        match origin {
            Some(origin) => client.with_header("Origin", origin),
            None => client,
        }
    };
    for origin in [Some("https://evil.example.com"), Some("null")] {
        let page = Tus::new(&from(origin));
        let overridden = page
            .client()
            .post(&path)
            .header("X-HTTP-Method-Override", "DELETE");
        for answer in [
            page.create(&[("Upload-Length", "1")]).send().await.unwrap(),
            page.patch(&path, 0, "x").send().await.unwrap(),
            page.delete(&path).await,
            overridden.send().await.unwrap(),
        ] {
            refused(answer, 403, "PERM_001").await;
        }
    }
    assert_eq!(tus.offset(&path).await, 0);
    for (origin, offset) in [(Some(cors::APP), 0), (Some(cors::FORMS), 1), (None, 2)] {
        let page = Tus::new(&from(origin));
        assert_eq!(page.patched(&path, offset, b"x").await, offset + 1);
    }
    let answer = Tus::new(&from(Some(cors::APP))).delete(&path).await;
    assert_answered(&answer, StatusCode::NO_CONTENT);
}
