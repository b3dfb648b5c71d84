//! What the S3 store makes of servers that fail while an object is written over several requests.

use std::time::{Duration, Instant};

use bytes::Bytes;
use cloakroom_application::{
    ports::{Ending, ObjectStore, PartsWriter, Resume, StoreError, StoredPart, Unfinished},
    testkit::objects::sample,
};
use cloakroom_infrastructure::stores::{WriteBudget, s3::S3Store};

use crate::{
    fake::{Fake, Reply},
    help::*,
};

const PART: usize = 8 * MIB;

fn unfinished(write_id: Option<&str>) -> Unfinished {
    Unfinished {
        bucket: bucket(),
        key: key(),
        write_id: write_id.map(str::to_owned),
    }
}

async fn writer(store: &S3Store, object: &Unfinished, first_number: u32) -> Box<dyn PartsWriter> {
    let resume = Resume {
        first_number,
        ..Resume::default()
    };
    let ability = store.resumable().unwrap();
    ability.resume(object, resume).await.unwrap()
}

async fn join(
    store: &S3Store,
    object: &Unfinished,
    parts: &[StoredPart],
) -> Result<(), StoreError> {
    store.resumable().unwrap().join(object, parts).await
}

fn numbers(parts: &[StoredPart]) -> Vec<u32> {
    parts.iter().map(|part| part.number).collect()
}

#[tokio::test]
async fn a_part_that_fails_takes_nothing_of_those_before_it() {
    let fake = Fake::start(|asked| match asked.target.contains("partNumber=19&") {
        true => error(403, "AccessDenied"),
        false => usual(asked),
    })
    .await;
    let store = store(&fake.settings());
    let object = unfinished(None);
    let mut writer = writer(&store, &object, 17).await;
    let written = writer.write(sample(4 * PART, 1)).await;
    let failed = match written {
        Ok(()) => writer.suspend(Ending::Last).await.map(|_| ()),
        failed => failed,
    };
    assert!(matches!(failed, Err(StoreError::Refused(_))), "{failed:?}");
    assert!(writer.write(sample(1, 1)).await.is_err());
    assert!(writer.suspend(Ending::Last).await.is_err());
    let mut told = Vec::new();
    for _ in 0..100 {
        told.extend(writer.durable().await.unwrap());
        if told.len() == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(numbers(&told), [17, 18]);
    let position = writer.position();
    assert_eq!(position.write_id.as_deref(), Some("u1"));
    assert!(position.next_number >= 20);
    drop(writer);
    tokio::time::sleep(Duration::from_millis(200)).await;
    let given_up = fake.asked("DELETE", "uploadId=u1");
    assert!(given_up.is_empty(), "what was told was given up");
}

#[tokio::test]
async fn a_server_that_freezes_is_unavailable_within_ten_seconds_and_what_came_before_counts() {
    let fake = Fake::start(|asked| match asked.target.contains("partNumber=2&") {
        true => Reply::Freeze,
        false => usual(asked),
    })
    .await;
    let store = store(&fake.settings());
    let mut writer = writer(&store, &unfinished(None), 1).await;
    let begun = Instant::now();
    writer.write(sample(2 * PART + 5, 2)).await.unwrap();
    let frozen = writer.suspend(Ending::More).await;
    assert!(
        matches!(frozen, Err(StoreError::Unavailable(_))),
        "{frozen:?}"
    );
    assert!(begun.elapsed() <= Duration::from_secs(10));
    assert_eq!(numbers(&writer.durable().await.unwrap()), [1]);
}

#[tokio::test]
async fn nothing_is_opened_for_less_than_a_part() {
    let fake = Fake::start(usual).await;
    let store = store(&fake.settings());
    let mut writer = writer(&store, &unfinished(None), 1).await;
    writer.write(sample(PART - 1, 3)).await.unwrap();
    let left = writer.suspend(Ending::More).await.unwrap();
    assert_eq!(left.rest.concat(), sample(PART - 1, 3));
    assert_eq!(writer.position().next_number, 1);
    drop(writer);
    assert!(fake.asked("POST", "").is_empty());
}

#[tokio::test]
async fn an_upload_that_nobody_was_told_of_goes_with_its_writer() {
    for sent in [true, false] {
        let fake = Fake::start(move |asked| match asked.target.contains("partNumber=") {
            true if !sent => Reply::Freeze,
            _ => usual(asked),
        })
        .await;
        let store = store(&fake.settings());
        let mut writer = writer(&store, &unfinished(None), 1).await;
        writer.write(sample(PART + 1, 4)).await.unwrap();
        eventually("sent", || fake.asked("PUT", "partNumber=1&").len() == 1).await;
        assert_eq!(writer.position().write_id, None);
        drop(writer);
        eventually("given up", || {
            fake.asked("DELETE", "uploadId=u1").len() == 1
        })
        .await;
    }
}

#[tokio::test]
async fn ten_thousand_is_the_last_number() {
    let fake = Fake::start(usual).await;
    let store = store(&fake.settings());
    let mut writer = writer(&store, &unfinished(Some("u1")), 10_000).await;
    let size = usize::try_from(writer.until_cut().unwrap()).unwrap();
    let refused = writer.write(sample(size + 1, 5)).await;
    assert!(
        matches!(refused, Err(StoreError::Refused(_))),
        "{refused:?}"
    );
    drop(writer);
    assert!(fake.asked("PUT", "partNumber=10001").is_empty());
    assert!(fake.asked("POST", "uploads").is_empty());
}

#[tokio::test]
async fn whoever_is_suspended_gives_memory_to_who_waits() {
    let fake = Fake::start(usual).await;
    // Room for two parts.
    let store = S3Store::new(&fake.settings(), WriteBudget::new(0)).unwrap();
    let object = unfinished(None);
    let mut holders = Vec::new();
    for _ in 0..2 {
        let mut holder = writer(&store, &object, 1).await;
        holder.write(sample(2 * MIB, 6)).await.unwrap();
        holders.push(holder);
    }
    let mut late = writer(&store, &object, 1).await;
    let write = late.write(sample(2 * MIB, 7));
    tokio::pin!(write);
    let waited = tokio::time::timeout(Duration::from_millis(300), &mut write).await;
    assert!(waited.is_err(), "there was memory for a third");
    let left = holders.remove(0).suspend(Ending::More).await.unwrap();
    // Bytes that have their memory are written where there is none.
    let (bucket, key) = (bucket(), key());
    let put = store.put(&bucket, &key, left.rest);
    let put = tokio::time::timeout(Duration::from_secs(5), put).await;
    put.unwrap().unwrap();
    let written = tokio::time::timeout(Duration::from_secs(5), write).await;
    written.unwrap().unwrap();
}

#[tokio::test]
async fn clients_that_have_sent_little_of_a_large_upload_hold_nobody_up() {
    let fake = Fake::start(usual).await;
    let store = S3Store::new(&fake.settings(), WriteBudget::new(0)).unwrap();
    let object = unfinished(None);
    let mut slow = Vec::new();
    for _ in 0..500 {
        let mut writer = writer(&store, &object, 1).await;
        writer.write(sample(1000, 8)).await.unwrap();
        slow.push(writer);
    }
    let mut fast = writer(&store, &object, 1).await;
    fast.write(sample(20 * MIB, 8)).await.unwrap();
    assert_eq!(fast.suspend(Ending::Last).await.unwrap().parts.len(), 3);
}

#[tokio::test]
async fn a_join_whose_answer_was_lost_is_asked_for_again() {
    for (size, is_made) in [("100", true), ("101", false)] {
        let fake = Fake::start(move |asked| match asked.method.as_str() {
            "POST" => error(404, "NoSuchUpload"),
            "HEAD" if size == "100" => Reply::Cut("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"),
            "HEAD" => Reply::Cut("HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n"),
            _ => usual(asked),
        })
        .await;
        let part = StoredPart {
            number: 3,
            size: 100,
            tag: "\"t\"".to_owned(),
        };
        let joined = join(&store(&fake.settings()), &unfinished(Some("u1")), &[part]).await;
        assert_eq!(joined.is_ok(), is_made, "{joined:?}");
        if !is_made {
            assert!(matches!(joined, Err(StoreError::Refused(_))), "{joined:?}");
        }
    }
}

#[tokio::test]
async fn what_else_is_unfinished_under_the_key_goes_with_the_join() {
    let object = unfinished(Some("u1"));
    let key = object.key.to_string();
    let listed = format!(
        "<ListMultipartUploadsResult><Upload><Key>{key}</Key><UploadId>stray</UploadId></Upload>\
         <Upload><Key>{key}.x</Key><UploadId>other</UploadId></Upload></ListMultipartUploadsResult>"
    );
    let fake = Fake::start(move |asked| match asked.method.as_str() {
        "GET" => Reply::Answer(200, "", listed.clone()),
        _ => usual(asked),
    })
    .await;
    let part = StoredPart {
        number: 1,
        size: 100,
        tag: "\"t\"".to_owned(),
    };
    let store = store(&fake.settings());
    join(&store, &object, &[part]).await.unwrap();
    let body = &fake.asked("POST", "uploadId=u1")[0].body;
    let body = String::from_utf8_lossy(body).into_owned();
    assert!(body.contains("<PartNumber>1</PartNumber>"), "{body}");
    assert_eq!(fake.asked("DELETE", "uploadId=stray").len(), 1);
    assert_eq!(fake.asked("DELETE", "uploadId=other").len(), 0);
}

#[tokio::test]
async fn nothing_is_joined_without_an_upload() {
    let fake = Fake::start(usual).await;
    let store = store(&fake.settings());
    let part = StoredPart {
        number: 1,
        size: 1,
        tag: String::new(),
    };
    let refused = join(&store, &unfinished(None), &[part]).await;
    assert!(matches!(refused, Err(StoreError::Refused(_))));
    let mut writer = writer(&store, &unfinished(None), 1).await;
    writer.write(Bytes::new()).await.unwrap();
    drop(writer);
    assert!(fake.asked("POST", "").is_empty());
}
