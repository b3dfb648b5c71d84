//! Handing files in: forms, raw bodies, new versions, names, types, digests.

use cloakroom_tests::{
    client::{digest_field, expect, header, id, part, refused, sample, sha256},
    service::Setup,
    stand::Stand,
};
use reqwest::{Method, StatusCode, multipart::Form};
use serde_json::{Value, json};

#[tokio::test]
async fn a_form_comes_back_byte_for_byte_on_every_database_and_store() {
    for setup in Setup::extremes() {
        let stand = Stand::start(setup).await;
        let api = stand.user();
        for size in [0, 1, 65_535, 65_536, 65_537, 300_000, 9_000_000] {
            let body = sample(size, 1);
            let answer = api
                .upload("report.pdf", "application/pdf", body.clone())
                .await;
            let location = header(&answer, "location").to_owned();
            let file = expect(answer, StatusCode::CREATED).await;
            assert_eq!(
                location, file["public_url"],
                "Location is the file's absolute address"
            );
            assert_eq!(file["filename"], "report.pdf");
            assert_eq!(file["size"], size);
            assert_eq!(file["sha256"], sha256(&body));
            assert_eq!(
                (&file["version"], &file["visibility"]),
                (&json!(1), &json!("private"))
            );
            assert_eq!(
                (&file["topics"], &file["deleted_at"]),
                (&json!([]), &Value::Null)
            );
            assert_eq!(
                (&file["account_id"], &file["user_id"]),
                (&json!(1), &json!(7))
            );
            assert!(api.bytes(&location).await == body, "{size} bytes");
        }
        stand.assert_consistent().await;
    }
}

#[tokio::test]
async fn a_raw_body_takes_its_name_from_the_address_or_content_disposition() {
    let stand = Stand::simple().await;
    let api = stand.user();
    let file = api.stored("Отчёт 2024.txt", "hello").await;
    assert_eq!(
        (&file["filename"], &file["content_type"]),
        (&json!("Отчёт 2024.txt"), &json!("text/plain"))
    );
    for (value, name) in [
        ("attachment; filename=\"a b.csv\"", "a b.csv"),
        (
            "attachment; filename=\"x\"; filename*=UTF-8''%E2%82%AC.csv",
            "€.csv",
        ),
    ] {
        let request = api
            .post("/files")
            .header("Content-Disposition", value)
            .body("1,2");
        let file = expect(request.send().await.unwrap(), StatusCode::CREATED).await;
        assert_eq!(file["filename"], name);
        assert_eq!(file["content_type"], "text/csv");
    }
    let file = expect(
        api.post("/files").body("x").send().await.unwrap(),
        StatusCode::CREATED,
    )
    .await;
    assert_eq!(file["filename"], "unnamed_file");
    let chunked = futures_util::stream::iter([Ok::<_, std::io::Error>("ab"), Ok("cd")]);
    let request = api
        .post("/files?filename=c.txt")
        .body(reqwest::Body::wrap_stream(chunked));
    let file = expect(request.send().await.unwrap(), StatusCode::CREATED).await;
    assert_eq!(file["size"], 4, "a body without a length is as good");
}

#[tokio::test]
async fn the_form_of_existing_clients_answers_200_with_public_url_and_file_id() {
    let stand = Stand::simple().await;
    let api = stand.user();
    let form = Form::new().part("file", part("a.txt", "text/plain", "x"));
    let answer = api
        .post("/files/upload")
        .multipart(form)
        .send()
        .await
        .unwrap();
    let body = expect(answer, StatusCode::OK).await;
    assert_eq!(
        body["public_url"],
        format!("{}/{}", api.url("/files"), id(&body))
    );
    assert_eq!(api.bytes(body["public_url"].as_str().unwrap()).await, b"x");
    let raw = api.post("/files/upload").body("x").send().await.unwrap();
    refused(raw, 400, "VAL_004").await;
}

#[tokio::test]
async fn the_parts_before_the_file_say_who_may_see_it_and_what_is_known_of_it() {
    let stand = Stand::simple().await;
    let api = stand.user();
    let form = Form::new()
        .text("visibility", "public")
        .text("metadata", r#"{"case": 17, "tags": ["a"]}"#)
        .text("unknown", "passed over")
        .part("file", part("a.txt", "text/plain", "x"));
    let answer = api.post("/files").multipart(form).send().await.unwrap();
    let file = expect(answer, StatusCode::CREATED).await;
    assert_eq!(file["visibility"], "public");
    assert_eq!(file["metadata"], json!({"case": 17, "tags": ["a"]}));
    assert_eq!(
        api.with(None).bytes(&format!("/files/{}", id(&file))).await,
        b"x"
    );
}

#[tokio::test]
async fn service_and_admin_tokens_name_the_account_they_upload_for() {
    let stand = Stand::simple().await;
    let admin = stand.admin();
    let nowhere = admin.post("/files").body("x").send().await.unwrap();
    refused(nowhere, 422, "VAL_002").await;
    let raw = admin
        .post("/files?account_id=42")
        .body("x")
        .send()
        .await
        .unwrap();
    let file = expect(raw, StatusCode::CREATED).await;
    assert_eq!(
        (&file["account_id"], &file["user_id"]),
        (&json!(42), &Value::Null)
    );
    let form = Form::new()
        .text("account_id", "acme")
        .part("file", part("a", "text/plain", "x"));
    let answer = admin.post("/files").multipart(form).send().await.unwrap();
    assert_eq!(
        expect(answer, StatusCode::CREATED).await["account_id"],
        "acme"
    );
    let service = stand.token("service", &["--account", "5"]).await;
    let own = service.post("/files").body("x").send().await.unwrap();
    assert_eq!(expect(own, StatusCode::CREATED).await["account_id"], 5);
    let user = stand
        .user()
        .post("/files?account_id=42")
        .body("x")
        .send()
        .await
        .unwrap();
    assert_eq!(
        expect(user, StatusCode::CREATED).await["account_id"],
        1,
        "a user's is its own"
    );
}

#[tokio::test]
async fn names_in_every_script_survive_and_dangerous_ones_are_cleaned() {
    let stand = Stand::simple().await;
    let api = stand.user();
    let long = format!("{}.pdf", "я".repeat(5_000));
    for (given, kept) in [
        ("हिन्दी फ़ाइल.txt", "हिन्दी फ़ाइल.txt"),
        ("👩‍👩‍👧 family.png", "👩‍👩‍👧 family.png"),
        ("Cafe\u{301}.txt", "Café.txt"),
        ("../../etc/passwd", "etcpasswd"),
        ("evil\u{202E}gpj.exe", "evilgpj.exe"),
        ("..hidden", "hidden"),
        ("trailing. . ", "trailing"),
        (&long, &long.chars().skip(5_000 - 125).collect::<String>()),
    ] {
        let file = api.stored(given, "x").await;
        assert_eq!(file["filename"], kept, "{given}");
        let answer = api
            .get(&format!("/files/{}", id(&file)))
            .send()
            .await
            .unwrap();
        let disposition = header(&answer, "content-disposition");
        assert!(disposition.is_ascii() && disposition.starts_with("attachment; filename=\""));
        let exact = disposition.rsplit_once("filename*=UTF-8''").unwrap().1;
        let decoded = percent_encoding::percent_decode_str(exact)
            .decode_utf8()
            .unwrap();
        assert_eq!(decoded, kept);
    }
}

/// Name, declared type and body of files that a browser might run, and the type that they are stored under.
const ACTIVE: [(&str, &str, &str, &str); 7] = [
    (
        "a.html",
        "text/html",
        "<!DOCTYPE html><script>alert(1)</script>",
        "text/html",
    ),
    (
        "a.svg",
        "image/svg+xml",
        "<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
        "image/svg+xml",
    ),
    (
        "a.xml",
        "application/xml",
        "<?xml version='1.0'?><a/>",
        "application/xml",
    ),
    (
        "a.xhtml",
        "application/xhtml+xml",
        "<html/>",
        "application/xhtml+xml",
    ),
    ("a.js", "text/javascript", "alert(1)", "text/javascript"),
    (
        "a.png",
        "image/png",
        "<!DOCTYPE html><script>alert(1)</script>",
        "text/html",
    ),
    (
        "a.jpg",
        "image/jpeg",
        "<svg onload='alert(1)'/>",
        "image/svg+xml",
    ),
];

#[tokio::test]
async fn html_svg_xml_and_polyglots_are_attachments_without_a_type_that_runs() {
    let stand = Stand::simple().await;
    let api = stand.user();
    for (name, declared, body, stored) in ACTIVE {
        let file = expect(api.upload(name, declared, body).await, StatusCode::CREATED).await;
        assert_eq!(file["content_type"], stored, "{name}");
        let answer = api
            .get(&format!("/files/{}?disposition=inline", id(&file)))
            .send()
            .await
            .unwrap();
        assert_eq!(
            header(&answer, "content-type"),
            "application/octet-stream",
            "{name}"
        );
        assert!(
            header(&answer, "content-disposition").starts_with("attachment"),
            "{name}"
        );
        assert_eq!(header(&answer, "x-content-type-options"), "nosniff");
        assert_eq!(
            header(&answer, "content-security-policy"),
            "sandbox; default-src 'none'"
        );
    }
}

#[tokio::test]
async fn a_stated_digest_is_verified_and_a_wrong_one_leaves_nothing() {
    let stand = Stand::simple().await;
    let api = stand.user();
    let raw = |field: &str, value: String| api.post("/files").header(field, value).body("hello");
    for field in ["Repr-Digest", "Content-Digest"] {
        let right = raw(field, digest_field(b"hello")).send().await.unwrap();
        expect(right, StatusCode::CREATED).await;
        let wrong = raw(field, digest_field(b"other")).send().await.unwrap();
        refused(wrong, 422, "VAL_003").await;
        let unreadable = raw(field, "sha-256=:!:".to_owned()).send().await.unwrap();
        refused(unreadable, 422, "VAL_001").await;
    }
    // In a form, the request's header speaks of the whole body, the part's of the file.
    let form = |part_digest: &[u8]| {
        format!(
            "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\
             Content-Digest: {}\r\n\r\nhello\r\n--b--\r\n",
            digest_field(part_digest)
        )
    };
    let send = |body: String, whole: Option<Vec<u8>>| {
        let request = api
            .post("/files")
            .header("Content-Type", "multipart/form-data; boundary=b")
            .body(body);
        match whole {
            Some(whole) => request.header("Content-Digest", digest_field(&whole)),
            None => request,
        }
        .send()
    };
    let right = form(b"hello");
    let whole = Some(right.clone().into_bytes());
    expect(
        send(right.clone(), whole).await.unwrap(),
        StatusCode::CREATED,
    )
    .await;
    refused(
        send(right, Some(b"hello".to_vec())).await.unwrap(),
        422,
        "VAL_003",
    )
    .await;
    refused(send(form(b"other"), None).await.unwrap(), 422, "VAL_003").await;
    assert_eq!(stand.objects().await, 3, "only what was acknowledged");
    stand.assert_consistent().await;
}

#[tokio::test]
async fn a_new_version_replaces_the_bytes_and_keeps_the_file() {
    for setup in Setup::extremes() {
        let stand = Stand::start(setup).await;
        let api = stand.user();
        let file = api.stored("a.txt", "one").await;
        let path = format!("/files/{}", id(&file));
        let put = |body: &'static str| api.call(Method::PUT, &path).body(body);
        let second = expect(put("two").send().await.unwrap(), StatusCode::OK).await;
        assert_eq!(
            (&second["version"], &second["filename"]),
            (&json!(2), &json!("a.txt"))
        );
        assert_eq!(second["file_id"], file["file_id"]);
        assert_eq!(api.bytes(&path).await, b"two");

        let stale = put("three").header("If-Match", file["etag"].as_str().unwrap());
        refused(stale.send().await.unwrap(), 412, "FILE_005").await;
        let fresh = put("three").header("If-Match", second["etag"].as_str().unwrap());
        expect(fresh.send().await.unwrap(), StatusCode::OK).await;

        let form = Form::new().part("file", part("b.csv", "text/csv", "1,2"));
        let answer = api
            .call(Method::PUT, &path)
            .multipart(form)
            .send()
            .await
            .unwrap();
        let fourth = expect(answer, StatusCode::OK).await;
        assert_eq!(
            (&fourth["version"], &fourth["filename"]),
            (&json!(4), &json!("b.csv"))
        );
        assert_eq!(stand.objects().await, 4);
        let missing = api
            .call(Method::PUT, "/files/nowhere")
            .body("x")
            .send()
            .await
            .unwrap();
        refused(missing, 404, "FILE_001").await;
        stand.assert_consistent().await;
    }
}
