//! Parts that clients send straight to real stores, by addresses that were signed for them.

use std::time::Duration;

use bytes::Bytes;
use cloakroom_application::{
    ports::{ObjectStore, Presign, PresignedUrl, SignedRequest, StoreError, Unfinished},
    testkit::objects::{collect, sample},
};
use cloakroom_domain::Bucket;
use cloakroom_infrastructure::stores::s3::S3Store;
use reqwest::{Method, StatusCode};

use crate::{
    fake::{Fake, Reply},
    help::*,
    servers,
};

const MINUTE: Duration = Duration::from_secs(60);
const SERVERS: [&str; 2] = ["CLOAKROOM_TEST_GARAGE", "CLOAKROOM_TEST_RCLONE_S3"];

fn client() -> reqwest::Client {
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    reqwest::Client::new()
}

/// Sends the request with a body that need not be what it is for, and gives the status and the tag.
async fn send(request: &SignedRequest, body: Bytes) -> (StatusCode, Option<String>) {
    let method = Method::from_bytes(request.method.as_bytes()).unwrap();
    let mut sending = client().request(method, request.url.reveal()).body(body);
    for (name, value) in &request.headers {
        sending = sending.header(name, value);
    }
    let answer = sending.send().await.unwrap();
    let tag = answer.headers().get("etag");
    let tag = tag.map(|tag| tag.to_str().unwrap().to_owned());
    (answer.status(), tag)
}

fn ability(store: &S3Store) -> &dyn Presign {
    store.presign().unwrap()
}

async fn opened(store: &S3Store) -> Unfinished {
    let bucket = Bucket::parse(&format!("t-{}", uuid::Uuid::new_v4())).unwrap();
    let key = key();
    let write_id = ability(store).open(&bucket, &key).await.unwrap();
    Unfinished {
        bucket,
        key,
        write_id: Some(write_id),
    }
}

async fn part(store: &S3Store, object: &Unfinished, number: u32, size: usize) -> SignedRequest {
    let signed = ability(store).put_part(object, number, size as u64, MINUTE);
    signed.await.unwrap()
}

#[tokio::test]
async fn parts_that_clients_send_become_the_object_and_their_addresses_end() {
    for server in SERVERS {
        let store = store(&servers::settings(server));
        let object = opened(&store).await;
        assert_eq!(ability(&store).parts(&object).await.unwrap(), []);
        let body = sample(6 * MIB + 1234, 1);
        let first = part(&store, &object, 1, 6 * MIB).await;
        let second = part(&store, &object, 2, 1234).await;
        let (status, tag) = send(&first, body.slice(..6 * MIB)).await;
        assert!(status.is_success(), "{server}: {status}");
        // Sent again, as after an answer that was lost.
        let (status, again) = send(&first, body.slice(..6 * MIB)).await;
        assert!(status.is_success(), "{server}: {status}");
        assert_eq!(tag, again, "{server}");
        assert!(send(&second, body.slice(6 * MIB..)).await.0.is_success());
        let parts = ability(&store).parts(&object).await.unwrap();
        let sizes: Vec<_> = parts.iter().map(|part| (part.number, part.size)).collect();
        assert_eq!(sizes, [(1, 6 * MIB as u64), (2, 1234)], "{server}");
        assert_eq!(Some(&parts[0].tag), tag.as_ref(), "{server}");
        let joining = store.resumable().unwrap();
        joining.join(&object, &parts).await.unwrap();
        let (status, _) = send(&second, body.slice(6 * MIB..)).await;
        assert!(!status.is_success(), "{server}: {status}");
        let read = store.read(&object.bucket, &object.key, None).await.unwrap();
        assert!(collect(read).await.unwrap() == body, "{server}");
        let gone = ability(&store).parts(&object).await;
        assert!(matches!(gone, Err(StoreError::NotFound)), "{server}");
    }
}

#[tokio::test]
async fn a_part_of_another_length_and_an_altered_address_are_refused() {
    for server in SERVERS {
        let store = store(&servers::settings(server));
        let object = opened(&store).await;
        let right = part(&store, &object, 1, 1000).await;
        for size in [0, 999, 1001, 50_000] {
            let (status, _) = send(&right, sample(size, 2)).await;
            assert!(status.is_client_error(), "{server}: {size} gave {status}");
        }
        let (url, key) = (right.url.reveal().to_owned(), object.key.as_str());
        let altered = [
            url.replace("partNumber=1", "partNumber=2"),
            url.replace("X-Amz-Expires=60", "X-Amz-Expires=600000"),
            url.replace(key, &key[..key.len() - 1]),
            url[..url.len() - 1].to_owned() + if url.ends_with('0') { "1" } else { "0" },
        ];
        for url in altered {
            let request = SignedRequest {
                url: PresignedUrl::parse(url).unwrap(),
                ..right.clone()
            };
            let (status, _) = send(&request, sample(1000, 2)).await;
            assert!(status.is_client_error(), "{server}: {status}");
        }
        assert_eq!(ability(&store).parts(&object).await.unwrap(), []);
        assert!(send(&right, sample(1000, 2)).await.0.is_success());
    }
}

#[tokio::test]
async fn an_address_ends_with_its_time_and_with_its_object() {
    for server in SERVERS {
        let store = store(&servers::settings(server));
        let object = opened(&store).await;
        let valid = Duration::from_secs(1);
        let brief = ability(&store).put_part(&object, 1, 10, valid);
        let brief = brief.await.unwrap();
        let long = part(&store, &object, 1, 10).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        let (status, _) = send(&brief, sample(10, 3)).await;
        assert!(status.is_client_error(), "{server}: {status}");
        let keys = [object.key.clone()];
        let deleted = store.delete(&object.bucket, &keys).await.remove(0);
        deleted.unwrap();
        let (status, _) = send(&long, sample(10, 3)).await;
        assert!(status.is_client_error(), "{server}: {status}");
    }
}

#[tokio::test]
async fn pages_of_allowed_origins_may_send_to_a_bucket_that_is_made() {
    let mut settings = servers::settings("CLOAKROOM_TEST_GARAGE");
    settings.cors_origins = vec!["https://app.example.com".to_owned()];
    let store = store(&settings);
    let object = opened(&store).await;
    let request = part(&store, &object, 1, 10).await;
    let asked = client()
        .request(Method::OPTIONS, request.url.reveal())
        .header("origin", "https://app.example.com")
        .header("access-control-request-method", "PUT")
        .send();
    let answer = asked.await.unwrap();
    assert!(answer.headers().contains_key("access-control-allow-origin"));
    for (origin, allowed) in [
        ("https://app.example.com", true),
        ("https://evil.test", false),
    ] {
        let sent = client()
            .put(request.url.reveal())
            .header("origin", origin)
            .body(sample(10, 4))
            .send();
        let answer = sent.await.unwrap();
        assert!(answer.status().is_success());
        let header = |name: &str| {
            let value = answer.headers().get(name);
            value.map(|value| value.to_str().unwrap().to_ascii_lowercase())
        };
        let told = header("access-control-allow-origin");
        assert_eq!(told.is_some(), allowed, "{origin}: {told:?}");
        let exposed = header("access-control-expose-headers");
        let exposed = exposed.is_some_and(|names| names.contains("etag"));
        assert_eq!(exposed, allowed, "{origin}");
    }
}

#[tokio::test]
async fn a_store_without_rules_for_pages_makes_buckets_all_the_same() {
    let mut settings = servers::settings("CLOAKROOM_TEST_RCLONE_S3");
    settings.cors_origins = vec!["https://app.example.com".to_owned()];
    opened(&store(&settings)).await;
    let fake = Fake::start(|asked| match asked.method.as_str() {
        "HEAD" => Reply::Cut("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
        "PUT" if asked.target.contains("cors") => error(501, "NotImplemented"),
        _ => usual(asked),
    })
    .await;
    let mut settings = fake.settings();
    settings.cors_origins = vec!["https://app.example.com".to_owned()];
    let store = store(&settings);
    put(&store, &bucket(), sample(MIB, 5)).await.unwrap();
    assert_eq!(fake.asked("PUT", "cors").len(), 1);
}

#[tokio::test]
async fn a_list_of_parts_is_read_to_its_end_but_not_without_one() {
    let page = |from: u32, marker: u32, more: bool| {
        let parts: String = (from..from + 2)
            .map(|n| {
                format!(
                    "<Part><PartNumber>{n}</PartNumber><Size>5</Size><ETag>\"{n}\"</ETag></Part>"
                )
            })
            .collect();
        ok(&format!(
            "<ListPartsResult><IsTruncated>{more}</IsTruncated>\
             <NextPartNumberMarker>{marker}</NextPartNumberMarker>{parts}</ListPartsResult>"
        ))
    };
    let object = Unfinished {
        bucket: bucket(),
        key: key(),
        write_id: Some("u1".to_owned()),
    };
    let fake = Fake::start(move |asked| {
        if asked.target.contains("part-number-marker=2") {
            page(3, 4, false)
        } else {
            page(1, 2, true)
        }
    })
    .await;
    let parts = store(&fake.settings());
    let parts = ability(&parts).parts(&object).await.unwrap();
    let numbers: Vec<u32> = parts.iter().map(|part| part.number).collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
    let fake = Fake::start(move |_| page(1, 2, true)).await;
    let endless = store(&fake.settings());
    let endless = ability(&endless).parts(&object).await;
    assert!(matches!(endless, Err(StoreError::Broken(_))), "{endless:?}");
}
