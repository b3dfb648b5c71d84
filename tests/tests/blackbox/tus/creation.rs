//! Creation: lengths that cannot be, metadata of every kind, the first bytes.

use cloakroom_tests::{
    client::{OFFSET_STREAM, described, expect, header, id_in, path_of, sample, sha256},
    inspect,
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{assert_answered, refused_by_tus, stand};

#[tokio::test]
async fn a_creation_is_201_with_an_absolute_address_and_the_time_when_it_ends() {
    let (stand, tus) = stand().await;
    let answer = tus.create(&[("Upload-Length", "10")]).send().await.unwrap();
    assert_answered(&answer, StatusCode::CREATED);
    let location = header(&answer, "location").to_owned();
    let start = format!("{}/files/uploads/", stand.base());
    assert!(location.starts_with(&start), "{location}");
    let ends = header(&answer, "upload-expires").to_owned();
    assert!(ends.ends_with(" GMT"), "RFC 9110's date: {ends}");
    assert_eq!(answer.bytes().await.unwrap(), "");

    let answer = tus.head(&location).await;
    assert_answered(&answer, StatusCode::OK);
    assert_eq!(header(&answer, "upload-offset"), "0");
    assert_eq!(header(&answer, "upload-length"), "10");
    assert_eq!(header(&answer, "upload-metadata"), "");
    assert_eq!(header(&answer, "upload-concat"), "");
    assert_eq!(header(&answer, "cache-control"), "no-store");
    assert!(header(&answer, "upload-expires").ends_with(" GMT"));
    // It is no file yet.
    let file = path_of(&location).replace("/uploads", "");
    assert_eq!(
        tus.client().get(&file).send().await.unwrap().status(),
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn a_length_that_cannot_be_is_refused_and_leaves_nothing() {
    let (stand, tus) = stand().await;
    let limit = 104_857_600;
    let beyond = (limit + 1).to_string();
    for (headers, status, code) in [
        (&[][..], 400, "VAL_004"),
        (&[("Upload-Length", "-1")], 400, "VAL_004"),
        (&[("Upload-Length", "+1")], 400, "VAL_004"),
        (&[("Upload-Length", "1.5")], 400, "VAL_004"),
        (&[("Upload-Length", "ten")], 400, "VAL_004"),
        (&[("Upload-Length", "")], 400, "VAL_004"),
        (&[("Upload-Length", "0x10")], 400, "VAL_004"),
        (&[("Upload-Length", "18446744073709551616")], 400, "VAL_004"),
        (
            &[("Upload-Length", "99999999999999999999999")],
            400,
            "VAL_004",
        ),
        (
            &[("Upload-Length", "18446744073709551615")],
            413,
            "FILE_003",
        ),
        (&[("Upload-Length", "9223372036854775808")], 413, "FILE_003"),
        (&[("Upload-Length", beyond.as_str())], 413, "FILE_003"),
        (
            &[("Upload-Length", "1"), ("Upload-Length", "2")],
            400,
            "VAL_004",
        ),
        (&[("Upload-Defer-Length", "0")], 400, "VAL_004"),
        (&[("Upload-Defer-Length", "yes")], 400, "VAL_004"),
        (
            &[("Upload-Length", "1"), ("Upload-Defer-Length", "1")],
            400,
            "VAL_004",
        ),
    ] {
        let answer = tus.create(headers).send().await.unwrap();
        assert_eq!(answer.status(), status, "{headers:?}");
        refused_by_tus(answer, status, code).await;
    }
    let exactly = tus.created(limit, &[]).await;
    assert_eq!(tus.delete(&exactly).await.status(), StatusCode::NO_CONTENT);
    stand.assert_nothing_left().await;
    let rows = "SELECT count(*) FROM uploads WHERE state <> 'terminated'";
    assert_eq!(inspect::count(stand.database_url(), rows).await, 0);
}

#[tokio::test]
async fn a_length_may_come_later_and_only_once() {
    let (_stand, tus) = stand().await;
    let create = || tus.create(&[("Upload-Defer-Length", "1")]).send();
    let location = path_of(header(&create().await.unwrap(), "location"));
    let answer = tus.head(&location).await;
    assert_eq!(header(&answer, "upload-defer-length"), "1");
    assert_eq!(header(&answer, "upload-length"), "");
    assert_eq!(tus.patched(&location, 0, b"hello").await, 5);
    for (length, status, code) in [
        ("4", 413, "VAL_004"),
        ("-1", 400, "VAL_004"),
        ("99999999999", 413, "FILE_003"),
    ] {
        let answer = tus.patch(&location, 5, "x").header("Upload-Length", length);
        refused_by_tus(answer.send().await.unwrap(), status, code).await;
        assert_eq!(tus.offset(&location).await, 5, "{length}");
    }
    let answer = tus.patch(&location, 5, " wor").header("Upload-Length", 11);
    assert_answered(&answer.send().await.unwrap(), StatusCode::NO_CONTENT);
    let answer = tus.head(&location).await;
    assert_eq!(header(&answer, "upload-defer-length"), "");
    assert_eq!(header(&answer, "upload-length"), "11");
    let other = tus.patch(&location, 9, "ld").header("Upload-Length", 12);
    refused_by_tus(other.send().await.unwrap(), 413, "VAL_004").await;
    let same = tus.patch(&location, 9, "ld").header("Upload-Length", 11);
    assert_answered(&same.send().await.unwrap(), StatusCode::NO_CONTENT);
    let file = location.replace("/uploads", "");
    assert_eq!(tus.client().bytes(&file).await, b"hello world");

    // The length may be what is there already.
    let location = path_of(header(&create().await.unwrap(), "location"));
    tus.patched(&location, 0, b"all").await;
    let last = tus.patch(&location, 3, "").header("Upload-Length", 3);
    assert_answered(&last.send().await.unwrap(), StatusCode::NO_CONTENT);
    let file = location.replace("/uploads", "");
    assert_eq!(tus.client().bytes(&file).await, b"all");
}

#[tokio::test]
async fn the_metadata_becomes_the_files_and_is_given_back_as_it_came() {
    let (_stand, tus) = stand().await;
    let metadata = format!(
        "{},is_confidential,unknown {}",
        described(&[
            ("filename", "Отчёт 2024.txt"),
            ("filetype", "text/plain"),
            ("visibility", "public"),
            ("metadata", r#"{"case": 17}"#),
        ]),
        "AP8="
    );
    let path = tus.created(5, &[("Upload-Metadata", &metadata)]).await;
    let answer = tus.head(&path).await;
    assert_eq!(header(&answer, "upload-metadata"), metadata);
    tus.patched(&path, 0, b"hello").await;
    let answer = tus.head(&path).await;
    assert_eq!(header(&answer, "upload-metadata"), metadata);
    let file = path.replace("/uploads", "");
    let info = tus.client().get(&format!("{file}/info"));
    let info = expect(info.send().await.unwrap(), StatusCode::OK).await;
    assert_eq!(info["file_id"], id_in(&path), "the upload's id");
    assert_eq!(info["filename"], "Отчёт 2024.txt");
    assert_eq!(info["content_type"], "text/plain");
    assert_eq!(info["visibility"], "public");
    assert_eq!(info["metadata"], json!({"case": 17}));
    assert_eq!(info["sha256"], sha256(b"hello"));
    assert_eq!(
        (&info["account_id"], &info["user_id"]),
        (&json!(1), &json!(7))
    );
    assert_eq!(tus.client().with(None).bytes(&file).await, b"hello");
}

#[tokio::test]
async fn the_keys_of_common_clients_are_understood() {
    let (_stand, tus) = stand().await;
    for (pairs, name, kind) in [
        // Uppy's, tus-js-client's by its README, and one that says nothing.
        (
            &[
                ("name", "a.csv"),
                ("type", "text/csv"),
                ("relativePath", "null"),
            ][..],
            "a.csv",
            "text/csv",
        ),
        (
            &[("filename", "b.csv"), ("name", "c.txt")],
            "b.csv",
            "text/csv",
        ),
        (
            &[("name", "c.txt"), ("filename", "b.csv")],
            "b.csv",
            "text/csv",
        ),
        (
            &[("filename", "d.bin"), ("filetype", "")],
            "d.bin",
            "application/octet-stream",
        ),
        (
            &[("filename", "e.html"), ("filetype", "image/png")],
            "e.html",
            "text/html",
        ),
        (&[], "unnamed_file", "text/plain"),
    ] {
        let body: &[u8] = if name == "e.html" {
            b"<!DOCTYPE html><script>alert(1)</script>"
        } else {
            b"1,2"
        };
        let path = tus
            .created(body.len(), &[("Upload-Metadata", &described(pairs))])
            .await;
        tus.patched(&path, 0, body).await;
        let info = format!("{}/info", path.replace("/uploads", ""));
        let info = tus.client().get(&info).send().await.unwrap();
        let info = expect(info, StatusCode::OK).await;
        assert_eq!(info["filename"], name, "{pairs:?}");
        if name != "unnamed_file" && name != "d.bin" {
            assert_eq!(info["content_type"], kind, "{pairs:?}");
        }
    }
}

#[tokio::test]
async fn hostile_names_become_one_safe_header() {
    let (_stand, tus) = stand().await;
    let long = format!("{}.pdf", "я".repeat(3_000));
    for (given, kept) in [
        ("../../etc/passwd", "etcpasswd"),
        ("a\r\nSet-Cookie: x=y", "aSet-Cookie: x=y"),
        ("evil\u{202E}gpj.exe", "evilgpj.exe"),
        ("nul\0.txt", "nul.txt"),
        ("", "unnamed_file"),
        ("Cafe\u{301}.txt", "Café.txt"),
        (&long, &long.chars().skip(3_000 - 125).collect::<String>()),
    ] {
        let metadata = described(&[("filename", given)]);
        let path = tus.created(1, &[("Upload-Metadata", &metadata)]).await;
        tus.patched(&path, 0, b"x").await;
        let file = path.replace("/uploads", "");
        let info = tus.client().get(&format!("{file}/info"));
        let info = expect(info.send().await.unwrap(), StatusCode::OK).await;
        assert_eq!(info["filename"], kept, "{given:?}");
        let answer = tus.client().get(&file).send().await.unwrap();
        assert!(header(&answer, "content-disposition").is_ascii());
        assert_eq!(header(&answer, "set-cookie"), "");
    }
}

#[tokio::test]
async fn metadata_that_cannot_be_read_is_refused_and_leaves_nothing() {
    let (stand, tus) = stand().await;
    let huge = format!("filename {}", "QUFB".repeat(25_000));
    let twice = described(&[("filename", "a"), ("filename", "b")]);
    for (metadata, status, code) in [
        ("filename w*rld", 400, "VAL_004"),
        ("filename YQ", 400, "VAL_004"),
        ("filename YQ==,,b YQ==", 400, "VAL_004"),
        (",", 400, "VAL_004"),
        (twice.as_str(), 400, "VAL_004"),
        (huge.as_str(), 400, "VAL_004"),
        // The name is not UTF-8, the visibility is none, the metadata are not an object.
        ("filename /w==", 422, "VAL_001"),
        ("visibility eHh4", 422, "VAL_001"),
        ("metadata W10=", 422, "VAL_001"),
        ("topic YQ==", 422, "VAL_001"),
    ] {
        let headers = [("Upload-Length", "1"), ("Upload-Metadata", metadata)];
        let answer = tus.create(&headers).send().await.unwrap();
        assert_eq!(answer.status(), status, "{metadata:.40}");
        refused_by_tus(answer, status, code).await;
    }
    // Two lines are one list.
    let headers = [
        ("Upload-Length", "1"),
        ("Upload-Metadata", "filename YQ=="),
        ("Upload-Metadata", "filename Yg=="),
    ];
    refused_by_tus(tus.create(&headers).send().await.unwrap(), 400, "VAL_004").await;
    stand.assert_nothing_left().await;
    // Spaces that only a Unicode table knows are no way past, for they could not be given back.
    for bytes in [
        b"\xe3\x80\x80filename YQ==".as_slice(),
        b"filename YQ==\xc2\xa0",
        b"filename\xff YQ==",
    ] {
        let value = reqwest::header::HeaderValue::from_bytes(bytes).unwrap();
        let request = tus.create(&[("Upload-Length", "1")]);
        let answer = request.header("Upload-Metadata", value).send().await;
        refused_by_tus(answer.unwrap(), 400, "VAL_004").await;
    }
}

#[tokio::test]
async fn first_bytes_may_come_with_the_creation() {
    let (stand, tus) = stand().await;
    let body = sample(100_000, 1);
    let create = |length: usize, body: &[u8]| {
        let length = length.to_string();
        tus.create(&[("Upload-Length", &length), ("Content-Type", OFFSET_STREAM)])
            .body(body.to_vec())
    };
    let answer = create(body.len(), &body[..40_000]).send().await.unwrap();
    assert_answered(&answer, StatusCode::CREATED);
    assert_eq!(header(&answer, "upload-offset"), "40000");
    assert!(!header(&answer, "upload-expires").is_empty());
    let path = path_of(header(&answer, "location"));
    assert_eq!(tus.patched(&path, 40_000, &body[40_000..]).await, 100_000);
    assert!(tus.client().bytes(&path.replace("/uploads", "")).await == body);

    let answer = create(body.len(), &body).send().await.unwrap();
    assert_answered(&answer, StatusCode::CREATED);
    assert_eq!(header(&answer, "upload-offset"), "100000");
    let path = path_of(header(&answer, "location"));
    assert!(tus.client().bytes(&path.replace("/uploads", "")).await == body);

    // Whoever is refused here learns no address, so nothing is kept.
    refused_by_tus(create(10, &body).send().await.unwrap(), 413, "VAL_004").await;
    let other = tus.create(&[("Upload-Length", "5"), ("Content-Type", "text/plain")]);
    refused_by_tus(other.body("hello").send().await.unwrap(), 415, "VAL_004").await;
    let untyped = tus.create(&[("Upload-Length", "5")]).body("hello");
    refused_by_tus(untyped.send().await.unwrap(), 415, "VAL_004").await;
    let wrong = create(5, b"hello").header("Upload-Checksum", "sha1 AAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    refused_by_tus(wrong.send().await.unwrap(), 460, "VAL_003").await;
    inspect::assert_only(&stand, 2).await;
    let open = "SELECT count(*) FROM uploads WHERE state IN ('open', 'completing')";
    assert_eq!(inspect::count(stand.database_url(), open).await, 0);
}

#[tokio::test]
async fn an_upload_of_no_bytes_is_a_file_at_once() {
    let (stand, tus) = stand().await;
    let metadata = described(&[("filename", "empty.txt")]);
    let path = tus.created(0, &[("Upload-Metadata", &metadata)]).await;
    let answer = tus.head(&path).await;
    assert_eq!(header(&answer, "upload-offset"), "0");
    assert_eq!(header(&answer, "upload-length"), "0");
    let info = format!("{}/info", path.replace("/uploads", ""));
    let info = tus.client().get(&info).send().await.unwrap();
    let info = expect(info, StatusCode::OK).await;
    assert_eq!(
        (&info["size"], &info["sha256"]),
        (&json!(0), &Value::from(sha256(b"")))
    );
    inspect::assert_only(&stand, 1).await;
}

#[tokio::test]
async fn another_version_is_412_and_says_which_there_is() {
    let (stand, tus) = stand().await;
    let path = tus.created(5, &[]).await;
    let other = stand.user().with_header("Tus-Resumable", "0.2.2");
    for (method, path) in [
        (Method::POST, "/files"),
        (Method::HEAD, path.as_str()),
        (Method::PATCH, path.as_str()),
        (Method::DELETE, path.as_str()),
    ] {
        let request = other
            .call(method.clone(), path)
            .header("Upload-Length", 5)
            .header("Upload-Offset", 0)
            .header("Content-Type", OFFSET_STREAM);
        let answer = request.send().await.unwrap();
        assert_answered(&answer, StatusCode::PRECONDITION_FAILED);
        assert_eq!(header(&answer, "tus-version"), "1.0.0", "{method}");
    }
    assert_eq!(tus.offset(&path).await, 0, "nothing was done");
}

#[tokio::test]
async fn options_announce_the_protocols_to_anybody() {
    let (stand, tus) = stand().await;
    let upload = tus.created(5, &[]).await;
    for path in ["/files", "/files/", &upload, "/files/uploads/no-such"] {
        let answer = stand.anonymous().call(Method::OPTIONS, path).send().await;
        let answer = answer.unwrap();
        assert_answered(&answer, StatusCode::NO_CONTENT);
        assert_eq!(header(&answer, "tus-version"), "1.0.0");
        assert_eq!(
            header(&answer, "tus-extension"),
            "creation,creation-with-upload,creation-defer-length,expiration,checksum,termination,concatenation"
        );
        assert_eq!(header(&answer, "tus-checksum-algorithm"), "sha1,sha256,md5");
        assert_eq!(header(&answer, "tus-max-size"), "104857600");
    }
}
