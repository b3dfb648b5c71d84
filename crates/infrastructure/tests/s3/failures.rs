//! What the S3 store makes of servers that fail and lie.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use cloakroom_application::{
    ports::{ObjectStore, StoreError, WriteHints},
    testkit::objects::{collect, sample},
};
use cloakroom_domain::{Bucket, ByteRange, ObjectKey, Timestamp};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{
    fake::{Fake, Reply},
    help::*,
    servers,
};

#[tokio::test]
async fn a_body_that_ends_early_is_an_error() {
    let fake =
        Fake::start(|_| Reply::Cut("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf!")).await;
    let cut = read(&fake, None).await;
    assert!(matches!(cut, Err(StoreError::Broken(_))), "{cut:?}");
}

#[tokio::test]
async fn another_range_than_the_one_asked_for_is_an_error() {
    let range = ByteRange { start: 2, end: 6 };
    let answers = [
        (200, ""),
        (206, "Content-Range: bytes 0-3/10\r\n"),
        (206, "Content-Range: bytes 2-3/4\r\n"),
    ];
    for (status, headers) in answers {
        let fake = Fake::start(move |_| Reply::Answer(status, headers, "abcd".into())).await;
        let other = read(&fake, Some(range)).await;
        assert!(matches!(other, Err(StoreError::Broken(_))), "{other:?}");
    }
    let right = "Content-Range: bytes 2-5/10\r\n";
    let fake = Fake::start(move |_| Reply::Answer(206, right, "abcd".into())).await;
    assert_eq!(read(&fake, Some(range)).await.unwrap(), b"abcd");
}

#[tokio::test]
async fn answers_are_told_apart() {
    type IsRight = fn(&StoreError) -> bool;
    let cases: [(u16, &str, IsRight); 6] = [
        (404, "NoSuchKey", |e| matches!(e, StoreError::NotFound)),
        (404, "NoSuchBucket", |e| matches!(e, StoreError::NotFound)),
        (403, "AccessDenied", |e| matches!(e, StoreError::Refused(_))),
        (503, "SlowDown", |e| matches!(e, StoreError::Unavailable(_))),
        (429, "Whatever", |e| matches!(e, StoreError::Unavailable(_))),
        (416, "InvalidRange", |e| matches!(e, StoreError::Broken(_))),
    ];
    for (status, code, is_right) in cases {
        let fake = Fake::start(move |_| error(status, code)).await;
        let told = read(&fake, None).await.unwrap_err();
        assert!(is_right(&told), "{status} {code} became {told:?}");
    }
}

#[tokio::test]
async fn a_server_that_is_busy_for_a_moment_is_asked_again_with_the_same_bytes() {
    let fake = Fake::start(|asked| match asked.nth {
        0 => error(503, "SlowDown"),
        1 => Reply::Cut(""),
        _ => ok(""),
    })
    .await;
    put(&store(&fake.settings()), &bucket(), sample(3000, 1))
        .await
        .unwrap();
    let asked = fake.asked("PUT", "/files/1688/");
    assert_eq!(asked.len(), 3);
    assert!(asked.iter().all(|asked| asked.body == sample(3000, 1)));
}

#[tokio::test]
async fn a_200_that_carries_an_error_is_a_failure_and_the_upload_is_given_up() {
    let fake = Fake::start(|asked| match asked.target.contains("uploadId") {
        true if asked.method == "POST" => error(200, "InternalError"),
        _ => usual(asked),
    })
    .await;
    let failed = put(&store(&fake.settings()), &bucket(), sample(9 * MIB, 1)).await;
    assert!(
        matches!(failed, Err(StoreError::Unavailable(_))),
        "{failed:?}"
    );
    eventually("given up", || {
        fake.asked("DELETE", "uploadId=u1").len() == 1
    })
    .await;
}

#[tokio::test]
async fn a_lost_answer_to_the_last_request_is_asked_for_again() {
    let fake = Fake::start(|asked| match (asked.method.as_str(), asked.nth) {
        ("POST", 0) if asked.target.contains("uploadId") => Reply::Cut(""),
        ("POST", _) if asked.target.contains("uploadId") => error(404, "NoSuchUpload"),
        ("HEAD", _) => Reply::Cut("HTTP/1.1 200 OK\r\nContent-Length: 9437184\r\n\r\n"),
        _ => usual(asked),
    })
    .await;
    put(&store(&fake.settings()), &bucket(), sample(9 * MIB, 1))
        .await
        .unwrap();
    assert_eq!(fake.asked("POST", "uploadId=u1").len(), 2);
}

#[tokio::test]
async fn a_part_that_is_refused_fails_the_write_and_the_upload_is_given_up() {
    let fake = Fake::start(|asked| match asked.target.contains("partNumber=2") {
        true => error(403, "AccessDenied"),
        false => usual(asked),
    })
    .await;
    let refused = put(&store(&fake.settings()), &bucket(), sample(40 * MIB, 1)).await;
    assert!(
        matches!(refused, Err(StoreError::Refused(_))),
        "{refused:?}"
    );
    eventually("given up", || {
        fake.asked("DELETE", "uploadId=u1").len() == 1
    })
    .await;
    assert!(fake.asked("POST", "uploadId").is_empty());
}

#[tokio::test]
async fn an_upload_whose_opening_is_answered_late_is_given_up_too() {
    let fake = Fake::start(|asked| {
        if asked.target.contains("uploads") {
            std::thread::sleep(Duration::from_millis(500));
        }
        usual(asked)
    })
    .await;
    let store = store(&fake.settings());
    let mut writer = store
        .begin(&bucket(), &key(), WriteHints::default())
        .await
        .unwrap();
    let write = writer.write(sample(9 * MIB, 1));
    let _ = tokio::time::timeout(Duration::from_millis(100), write).await;
    drop(writer);
    eventually("given up", || {
        fake.asked("DELETE", "uploadId=u1").len() == 1
    })
    .await;
}

#[tokio::test]
async fn a_server_that_deletes_one_at_a_time_is_asked_one_at_a_time() {
    let fake = Fake::start(|asked| match asked.method.as_str() {
        "POST" => error(400, "MissingContentMD5"),
        "DELETE" if asked.target.contains("/0/") => error(503, "SlowDown"),
        _ => usual(asked),
    })
    .await;
    let mut keys: Vec<ObjectKey> = (0..5).map(|_| key()).collect();
    keys[3] = ObjectKey::parse("0/0/0").unwrap();
    let answers = store(&fake.settings()).delete(&bucket(), &keys).await;
    let good: Vec<bool> = answers.iter().map(Result::is_ok).collect();
    assert_eq!(good, [true, true, true, false, true]);
}

#[tokio::test]
async fn odd_buckets_are_refused_without_asking() {
    let fake = Fake::start(|_| ok("")).await;
    let store = store(&fake.settings());
    for name in ["ab", "Files", "a_b", "a..b"] {
        let odd = Bucket::parse(name).unwrap();
        let put = put(&store, &odd, sample(1, 1)).await;
        assert!(matches!(put, Err(StoreError::Refused(_))));
        let deleted = store.delete(&odd, &[key()]).await.remove(0);
        assert!(matches!(deleted, Err(StoreError::Refused(_))));
    }
    assert!(fake.asked("PUT", "").is_empty());
}

#[tokio::test]
async fn errors_do_not_tell_the_secret() {
    let fake = Fake::start(|_| error(403, "SignatureDoesNotMatch")).await;
    let mut settings = fake.settings();
    settings.secret_access_key = cloakroom_infrastructure::stores::s3::S3Secret::new("canary-9");
    let failed = store(&settings).head(&bucket(), &key()).await;
    assert!(!format!("{failed:?}").contains("canary-9"));
}

#[tokio::test]
async fn a_connection_cut_in_the_middle_of_a_part_leaves_nothing_in_the_store() {
    let direct = servers::settings("CLOAKROOM_TEST_GARAGE");
    let mut through = direct.clone();
    through.endpoint = cutting_proxy(&direct.endpoint, b"partNumber=2").await;
    let bucket = Bucket::parse(&format!("t-{}", uuid::Uuid::new_v4())).unwrap();
    let cut = put(&store(&through), &bucket, sample(40 * MIB, 1)).await;
    assert!(matches!(cut, Err(StoreError::Unavailable(_))), "{cut:?}");
    tokio::time::sleep(Duration::from_secs(1)).await;
    let direct = store(&direct);
    let in_an_hour = Timestamp::from_micros(i64::MAX);
    let none = BTreeSet::new();
    assert_eq!(direct.reap(&bucket, in_an_hour, &none).await.unwrap(), 0);
    let left = direct.list(&bucket, "", None, 10).await.unwrap();
    assert_eq!(left.objects, []);
}

/// A proxy that cuts every connection on which the words pass to the server. Gives its address.
async fn cutting_proxy(to: &str, words: &'static [u8]) -> String {
    let to: Arc<str> = to.trim_start_matches("http://").into();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            tokio::spawn(relay(client, Arc::clone(&to), words));
        }
    });
    format!("http://127.0.0.1:{port}")
}

async fn relay(client: TcpStream, to: Arc<str>, words: &[u8]) {
    let server = TcpStream::connect(&*to).await.unwrap();
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let back = tokio::spawn(async move {
        let _ = tokio::io::copy(&mut from_server, &mut to_client).await;
    });
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count) = from_client.read(&mut buffer).await {
        let bytes = &buffer[..count];
        if count == 0 || bytes.windows(words.len()).any(|window| window == words) {
            break;
        }
        if to_server.write_all(bytes).await.is_err() {
            break;
        }
    }
    back.abort();
}

#[tokio::test]
async fn an_answer_that_is_no_object_is_read_only_so_far() {
    let filler = "x".repeat(9 * MIB);
    let listed = format!("<ListBucketResult><!--{filler}--></ListBucketResult>");
    let failed = format!("<Error><Code>Odd</Code><Message>{filler}</Message></Error>");
    let fake = Fake::start(move |asked| match asked.target.as_str() {
        target if target.contains("list-type") => ok(&listed),
        target if target.contains("/o/") => ok(&filler),
        _ => Reply::Answer(400, "", failed.clone()),
    })
    .await;
    let store = store(&fake.settings());
    assert!(store.list(&bucket(), "", None, 10).await.is_err());
    let refused = read(&fake, None).await.unwrap_err();
    let told = format!("{refused:?}");
    assert!(told.len() < 2000, "{} bytes are told", told.len());
    let object = ObjectKey::parse("o/large").unwrap();
    let body = store.read(&bucket(), &object, None).await.unwrap();
    assert_eq!(collect(body).await.unwrap().len(), 9 * MIB);
}

#[tokio::test]
async fn a_list_of_unfinished_uploads_that_does_not_go_on_is_left() {
    let fake = Fake::start(|asked| match asked.method.as_str() {
        "GET" => ok(
            "<ListMultipartUploadsResult><IsTruncated>true</IsTruncated>\
             <NextKeyMarker>k</NextKeyMarker><NextUploadIdMarker>u</NextUploadIdMarker>\
             </ListMultipartUploadsResult>",
        ),
        _ => usual(asked),
    })
    .await;
    let store = store(&fake.settings());
    let (none, now) = (BTreeSet::new(), Timestamp::from_micros(1));
    let reaped = store.reap(&bucket(), now, &none).await;
    assert!(matches!(reaped, Err(StoreError::Broken(_))));
    assert_eq!(fake.asked("GET", "uploads").len(), 2);
}

#[tokio::test]
async fn unfinished_uploads_of_others_in_the_bucket_are_left_alone() {
    let ours = key();
    let listed = format!(
        "<ListMultipartUploadsResult>\
         <Upload><Key>{ours}</Key><UploadId>ours</UploadId></Upload>\
         <Upload><Key>backup/2026.tar</Key><UploadId>theirs</UploadId></Upload>\
         </ListMultipartUploadsResult>"
    );
    let fake = Fake::start(move |asked| match asked.method.as_str() {
        "GET" => ok(&listed),
        _ => usual(asked),
    })
    .await;
    let store = store(&fake.settings());
    let now = Timestamp::from_micros(1_700_000_000_000_000);
    let reaped = store.reap(&bucket(), now, &BTreeSet::new()).await;
    assert_eq!(reaped.unwrap(), 1);
    assert_eq!(fake.asked("DELETE", "uploadId=ours").len(), 1);
    assert_eq!(fake.asked("DELETE", "uploadId=theirs").len(), 0);
}
