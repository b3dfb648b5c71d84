//! The headers that every kind of resource has, and where browsers are sent.

use cloakroom_tests::{
    client::{Client, header},
    stand::Stand,
};
use reqwest::{Method, Response};

use crate::cors::{APP, FORMS, public_file, stand};

#[tokio::test]
async fn every_kind_of_resource_has_its_headers() {
    let stand = stand().await;
    let (api, nobody) = (stand.user(), stand.anonymous());
    let path = public_file(&api).await;
    let api_policy = "default-src 'none'; frame-ancestors 'none'";
    let file_policy = "sandbox; default-src 'none'";
    for (request, policy, corp) in [
        (nobody.get(&path), file_policy, "cross-origin"),
        (
            nobody.call(Method::HEAD, &path),
            file_policy,
            "cross-origin",
        ),
        (
            nobody.get(&path).header("Range", "bytes=0-1"),
            file_policy,
            "cross-origin",
        ),
        (
            nobody.get(&path).header("If-None-Match", "*"),
            file_policy,
            "cross-origin",
        ),
        (
            nobody.get(&format!("{path}/versions/1")),
            file_policy,
            "cross-origin",
        ),
        (nobody.get("/files"), api_policy, ""),
        (nobody.get("/nowhere"), api_policy, ""),
        (nobody.get("/health"), api_policy, ""),
        (nobody.get("/openapi.json"), api_policy, ""),
        (api.post("/files").body("x"), api_policy, ""),
    ] {
        let answer = request.send().await.unwrap();
        let what = answer.url().to_string();
        assert_eq!(header(&answer, "content-security-policy"), policy, "{what}");
        assert_eq!(
            header(&answer, "cross-origin-resource-policy"),
            corp,
            "{what}"
        );
        assert_fixed_headers(&answer);
    }
    let docs = nobody.get("/docs/").send().await.unwrap();
    let policy = header(&docs, "content-security-policy");
    assert!(policy.starts_with("default-src 'self'"), "{policy}");
    let scripts = policy
        .split(';')
        .find(|part| part.trim().starts_with("script-src"));
    assert!(
        scripts.is_none_or(|part| !part.contains("unsafe-inline")),
        "{policy}"
    );
    assert_fixed_headers(&docs);
}

#[tokio::test]
async fn a_well_formed_request_id_is_kept_and_another_is_not() {
    let stand = Stand::simple().await;
    let nobody = stand.anonymous();
    let given = nobody.get("/health").header("X-Request-Id", "abc-1.2_3");
    assert_eq!(
        header(&given.send().await.unwrap(), "x-request-id"),
        "abc-1.2_3"
    );
    let odd = nobody.get("/health").header("X-Request-Id", "a b<c>");
    assert_ne!(header(&odd.send().await.unwrap(), "x-request-id"), "a b<c>");
}

fn assert_fixed_headers(answer: &Response) {
    let what = answer.url();
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "strict-origin-when-cross-origin"),
        ("strict-transport-security", "max-age=86400"),
        ("server", ""),
        ("x-powered-by", ""),
        ("x-xss-protection", ""),
    ] {
        assert_eq!(header(answer, name), value, "{name}: {what}");
    }
    assert!(
        header(answer, "permissions-policy").contains("camera=()"),
        "{what}"
    );
    assert!(!header(answer, "x-request-id").is_empty(), "{what}");
}

#[tokio::test]
async fn files_are_for_pages_of_the_same_site_unless_another_sites_are_allowed_or_it_is_said() {
    let public = ("CLOAKROOM_PUBLIC_URL", "https://files.example.com/files");
    let same_site = ("CLOAKROOM_ALLOWED_ORIGINS", APP);
    let other_site = ("CLOAKROOM_ALLOWED_ORIGINS", FORMS);
    for (settings, policy) in [
        (vec![public], "same-site"),
        (vec![public, same_site], "same-site"),
        (vec![public, other_site], "cross-origin"),
        (
            vec![public, ("CLOAKROOM_FRONTEND_URL", FORMS)],
            "cross-origin",
        ),
        (
            vec![public, other_site, ("CLOAKROOM_CORP", "same-origin")],
            "same-origin",
        ),
    ] {
        let stand = Stand::with(&settings).await;
        let path = public_file(&stand.user()).await;
        let answer = stand.anonymous().get(&path).send().await.unwrap();
        assert_eq!(
            header(&answer, "cross-origin-resource-policy"),
            policy,
            "{settings:?}"
        );
    }
}

#[tokio::test]
async fn a_browser_is_sent_to_the_applications_pages_by_the_paths_that_are_configured() {
    let settings = [
        ("CLOAKROOM_FRONTEND_URL", "https://app.example.com"),
        ("CLOAKROOM_PUBLIC_URL", "https://files.example.com/files"),
        ("CLOAKROOM_SIGN_IN_PATH", "/login"),
        ("CLOAKROOM_ERROR_PATH", "/oops"),
    ];
    let stand = Stand::with(&settings).await;
    let open = |caller: Client, path: &'static str| async move {
        let answer = caller
            .get(path)
            .header("Accept", "text/html")
            .send()
            .await
            .unwrap();
        (
            answer.status().as_u16(),
            header(&answer, "location").to_owned(),
        )
    };
    let (status, location) = open(stand.anonymous(), "/files/x?a=1").await;
    let back = "https%3A%2F%2Ffiles.example.com%2Ffiles%2Fx%3Fa%3D1";
    assert_eq!(
        (status, location),
        (
            302,
            format!("https://app.example.com/login?redirectUrl={back}")
        )
    );
    let (status, location) = open(stand.user(), "/files/x").await;
    assert_eq!(
        (status, location.as_str()),
        (302, "https://app.example.com/oops")
    );
}
