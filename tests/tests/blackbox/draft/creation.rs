//! §4.1.4 Limits, §4.2 Upload Creation.

use cloakroom_tests::{
    client::{Client, Draft, Raw, expect, file_path, header, id, id_in, path_of, refused, sample},
    inspect,
    stand::Stand,
};
use reqwest::{Method, StatusCode};
use serde_json::json;
use std::time::Duration;

use super::{member, refused_as, stand};

const DAY: u64 = 24 * 3600;

#[tokio::test]
async fn upload_limit_options_name_the_media_type_and_the_limits() {
    let (stand, draft) = stand().await;
    let upload = draft.created(b"", &[]).await;
    for path in ["/files", upload.as_str()] {
        let answer = stand.anonymous().call(Method::OPTIONS, path).send().await;
        let answer = answer.unwrap();
        assert_eq!(answer.status(), StatusCode::NO_CONTENT);
        let types = header(&answer, "accept-patch");
        let mut types = types.split(',').map(str::trim);
        assert!(types.any(|kind| kind == "application/partial-upload"));
        let limit = header(&answer, "upload-limit");
        assert_eq!(member(limit, "max-size"), 104_857_600);
        assert_eq!(member(limit, "max-age"), DAY);
    }
}

#[tokio::test]
async fn upload_limit_every_413_names_the_limit() {
    let stand = Stand::with(&[("CLOAKROOM_MAX_FILE_SIZE", "1000")]).await;
    let draft = Draft::new(&stand.user());
    let api = stand.user();
    let large = || vec![0; 1001];
    let begun = draft.created(&[0; 500], &[]).await;
    for request in [
        draft.create(large()),
        draft.create("x").header("Upload-Length", 1001),
        draft.create(large()).header("Expect", "100-continue"),
        draft.patch(&begun, 500, "?0", vec![0; 501]),
        draft.patch(&begun, 500, "?1", vec![0; 501]),
        draft
            .patch(&begun, 500, "?0", "x")
            .header("Upload-Length", 1001),
        api.post("/files")
            .header("Upload-Complete", "?1")
            .body(large()),
    ] {
        let answer = request.send().await.unwrap();
        assert_eq!(member(header(&answer, "upload-limit"), "max-size"), 1000);
        refused(answer, 413, "FILE_003").await;
    }
    assert_eq!(draft.offset(&begun).await, 500);
    draft.completed(&begun, 500, &[1; 500]).await;
    inspect::assert_only(&stand, 1).await;
    let open = "SELECT count(*) FROM uploads WHERE state IN ('open', 'completing')";
    assert_eq!(inspect::count(stand.database_url(), open).await, 0);
}

#[tokio::test]
async fn upload_creation_of_a_first_part_is_201_at_an_absolute_address() {
    let (stand, draft) = stand().await;
    for body in [&b""[..], b"hello"] {
        let answer = draft.create(body.to_vec()).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::CREATED);
        let location = header(&answer, "location");
        let start = format!("{}/files/uploads/", stand.base());
        assert!(location.starts_with(&start), "{location}");
        assert_eq!(header(&answer, "upload-complete"), "?0");
        assert_eq!(header(&answer, "upload-offset"), body.len().to_string());
        let limit = header(&answer, "upload-limit");
        assert_eq!(member(limit, "max-size"), 104_857_600);
        assert!(member(limit, "max-age") <= DAY);
        assert_eq!(header(&answer, "tus-resumable"), "");
        let path = path_of(location);
        let file = path.replace("/uploads", "");
        let none = draft.client().get(&file).send().await.unwrap();
        refused(none, 404, "FILE_001").await;
    }
}

#[tokio::test]
async fn upload_creation_takes_the_metadata_of_the_first_request() {
    let (_stand, draft) = stand().await;
    let name = "inline; filename=\"x.txt\"; filename*=UTF-8''%D0%9E%D1%82%D1%87%D1%91%D1%82.txt";
    let create = draft
        .client()
        .post("/files?visibility=public")
        .header("Upload-Complete", "?0")
        .header("Content-Disposition", name)
        .header("Content-Type", "text/plain")
        .body("hello ");
    let answer = create.send().await.unwrap();
    let path = path_of(header(&answer, "location"));
    let file = draft.completed(&path, 6, b"world").await;
    assert_eq!(id(&file), id_in(&path), "the upload's id");
    assert_eq!(file["filename"], "Отчёт.txt");
    assert_eq!(file["content_type"], "text/plain");
    assert_eq!(file["visibility"], "public");
    assert_eq!(
        (&file["account_id"], &file["user_id"]),
        (&json!(1), &json!(7))
    );
    let public = draft.client().with(None);
    assert_eq!(public.bytes(&file_path(id(&file))).await, b"hello world");
}

#[tokio::test]
async fn upload_creation_in_one_request_is_an_ordinary_upload() {
    let (stand, draft) = stand().await;
    let api = draft.client();
    let post = || {
        api.post("/files?filename=a.txt")
            .header("Upload-Complete", "?1")
    };
    for request in [
        post().body("hello"),
        post().body("hello").header("Upload-Length", 5),
        api.post("/files?filename=a.txt")
            .header("Upload-Complete", "?1;a=b")
            .body("hello"),
    ] {
        let answer = request.send().await.unwrap();
        assert_eq!(header(&answer, "upload-complete"), "?1");
        let location = path_of(header(&answer, "location"));
        let file = expect(answer, StatusCode::CREATED).await;
        assert_eq!(
            (&file["size"], &file["filename"]),
            (&json!(5), &json!("a.txt"))
        );
        assert_eq!(location, file_path(id(&file)), "the file's own address");
        assert_eq!(api.bytes(&location).await, b"hello");
    }
    let chunks = futures_util::stream::iter([Ok::<_, std::io::Error>("hel"), Ok("lo")]);
    for body in [
        reqwest::Body::from("hello"),
        reqwest::Body::wrap_stream(chunks),
    ] {
        let lying = post().body(body).header("Upload-Length", 6);
        let (answer, kind) = (lying.send().await.unwrap(), "inconsistent-upload-length");
        refused_as(answer, 400, "VAL_004", kind).await;
    }
    // A body shorter than it announced is no file, and nothing is kept: nobody was told of an upload.
    let head = stand.head("POST", "/files", "Upload-Complete: ?1\r\n", 10);
    let mut raw = Raw::connect(&stand.base()).await;
    raw.send(format!("{head}hello")).await.unwrap();
    raw.half_close().await.unwrap();
    let answer = raw.answer(Duration::from_secs(10)).await;
    assert!(!answer.is_ok_and(|answer| answer.status < 300));
    inspect::assert_only(&stand, 3).await;
}

#[tokio::test]
async fn upload_creation_is_only_at_the_collection() {
    let (stand, draft) = stand().await;
    let file = draft.client().stored("a.txt", "hello").await;
    let put = draft.client().call(Method::PUT, &file_path(id(&file)));
    let put = put.header("Upload-Complete", "?0").body("x");
    refused(put.send().await.unwrap(), 400, "VAL_004").await;
    let form = draft
        .client()
        .post("/files")
        .header("Upload-Complete", "?0");
    let form = form.header("Content-Type", "multipart/form-data; boundary=b");
    let form =
        form.body("--b\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nx\r\n--b--\r\n");
    refused(form.send().await.unwrap(), 400, "VAL_004").await;
    let nobody = Draft::new(&Client::new(&stand.base())).create("x");
    refused(nobody.send().await.unwrap(), 401, "AUTH_001").await;
    inspect::assert_only(&stand, 1).await;
}

#[tokio::test]
async fn upload_creation_ignores_fields_that_are_ill_formed() {
    let (stand, draft) = stand().await;
    for complete in ["1", "true", "?2", "", "\"?0\"", "0"] {
        let request = draft.client().post("/files");
        let request = request.header("Upload-Complete", complete).body("x");
        let answer = request.send().await.unwrap();
        assert_eq!(header(&answer, "upload-complete"), "", "{complete}");
        let file = expect(answer, StatusCode::CREATED).await;
        assert_eq!(file["size"], 1, "an ordinary upload");
    }
    for length in ["-1", "1.5", "x", "9999999999999999", "\"5\"", ""] {
        let path = draft.created(b"hello", &[("Upload-Length", length)]).await;
        let answer = draft.head(&path).await;
        assert_eq!(header(&answer, "upload-length"), "", "{length}");
        assert_eq!(draft.completed(&path, 5, b"!").await["size"], 6);
    }
    inspect::assert_only(&stand, 12).await;
}

#[tokio::test]
async fn upload_creation_with_more_bytes_than_its_length_is_an_inconsistent_length() {
    let (stand, draft) = stand().await;
    let kind = "inconsistent-upload-length";
    let announced = draft.create("hello").header("Upload-Length", 4);
    refused_as(announced.send().await.unwrap(), 400, "VAL_004", kind).await;
    let chunks = futures_util::stream::iter([Ok::<_, std::io::Error>("hel"), Ok("lo")]);
    let chunks = draft.create(reqwest::Body::wrap_stream(chunks));
    let chunks = chunks.header("Upload-Length", 4);
    refused_as(chunks.send().await.unwrap(), 400, "VAL_004", kind).await;
    stand.assert_nothing_left().await;
    let open = "SELECT count(*) FROM uploads WHERE state IN ('open', 'completing')";
    assert_eq!(inspect::count(stand.database_url(), open).await, 0);
}

#[tokio::test]
async fn upload_creation_that_is_cut_off_leaves_nothing_for_nobody_knows_its_address() {
    let (stand, _) = stand().await;
    let head = stand.head("POST", "/files", "Upload-Complete: ?0\r\n", 1_000_000);
    let mut raw = Raw::connect(&stand.base()).await;
    raw.send(head).await.unwrap();
    raw.send(sample(500_000, 1)).await.unwrap();
    stand.settle().await;
    drop(raw);
    stand.assert_nothing_left().await;
}
