//! What counts as a use of a link, and what limits count.

use cloakroom_tests::{
    client::{Client, expect, file_path, id, refused},
    stand::Stand,
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{made, path_of, uses_of};

async fn status(request: reqwest::RequestBuilder) -> u16 {
    request.send().await.unwrap().status().as_u16()
}

/// A file of ten bytes, its owner, and a link that may be used so often.
async fn limited(stand: &Stand, uses: u64) -> (Client, Value, Value) {
    let owner = stand.user();
    let file = owner.stored("a.txt", "0123456789").await;
    let link = made(&owner, id(&file), json!({"max_uses": uses})).await;
    (owner, file, link)
}

#[tokio::test]
async fn a_use_is_a_get_that_begins_with_the_first_byte_and_is_answered_with_it() {
    let stand = Stand::with(&[("CLOAKROOM_MEMORY_CACHE", "0")]).await;
    let (owner, file, link) = limited(&stand, 100).await;
    let nobody = stand.anonymous();
    let path = path_of(&link);
    let etag = file["etag"].as_str().unwrap();
    let get = |headers: &[(&str, &str)]| {
        let mut request = nobody.get(&path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request
    };
    let mut expected = 0;
    for (headers, answer, counts) in [
        (&[][..], 200, true),
        (&[("Range", "bytes=0-")], 206, true),
        (&[("Range", "bytes=0-0")], 206, true),
        (&[("Range", "bytes=-10")], 206, true),
        (&[("Range", "bytes=-99")], 206, true),
        (&[("Range", "bytes=5-6,0-1")], 206, true),
        (&[("Range", "rubbish")], 200, true),
        (
            &[("Range", "bytes=5-6"), ("If-Range", "\"old\"")],
            200,
            true,
        ),
        (&[("Range", "bytes=1-")], 206, false),
        (&[("Range", "bytes=-9")], 206, false),
        (&[("Range", "bytes=1-2,5-6")], 206, false),
        (&[("Range", "bytes=10-")], 416, false),
        (&[("If-None-Match", etag)], 304, false),
        (&[("If-Match", "\"old\"")], 412, false),
    ] {
        assert_eq!(status(get(headers)).await, answer, "{headers:?}");
        expected += u64::from(counts);
        let uses = uses_of(&owner, id(&file), &link).await;
        assert_eq!(uses, expected, "{headers:?}");
    }
    assert_eq!(status(nobody.call(Method::HEAD, &path)).await, 200);
    assert_eq!(uses_of(&owner, id(&file), &link).await, expected);
    // Bytes that are not there are not sent.
    stand.lose_the_object_of(id(&file));
    refused(get(&[]).send().await.unwrap(), 404, "STORAGE_005").await;
    assert_eq!(uses_of(&owner, id(&file), &link).await, expected);
    // An empty file is used, too.
    let empty = owner.stored("empty", "").await;
    let link = made(&owner, id(&empty), json!({"max_uses": 1})).await;
    assert_eq!(status(nobody.get(&path_of(&link))).await, 200);
    assert_eq!(status(nobody.get(&path_of(&link))).await, 401);
}

#[tokio::test]
async fn a_link_that_is_used_up_ends_what_it_began_and_begins_nothing() {
    let stand = Stand::simple().await;
    let (owner, file, link) = limited(&stand, 1).await;
    let (nobody, path) = (stand.anonymous(), path_of(&link));
    assert_eq!(nobody.bytes(&path).await, b"0123456789");
    for range in ["bytes=0-4", "bytes=-10", "bytes=5-6,0-1"] {
        let begin = nobody.get(&path).header("Range", range);
        refused(begin.send().await.unwrap(), 401, "AUTH_001").await;
    }
    refused(nobody.get(&path).send().await.unwrap(), 401, "AUTH_001").await;
    for range in ["bytes=5-", "bytes=-3"] {
        assert_eq!(status(nobody.get(&path).header("Range", range)).await, 206);
    }
    assert_eq!(status(nobody.call(Method::HEAD, &path)).await, 200);
    assert_eq!(uses_of(&owner, id(&file), &link).await, 1);
}

#[tokio::test]
async fn downloads_by_link_count_by_address_and_refused_links_as_failures() {
    let settings = [
        ("CLOAKROOM_RATE_LIMIT", "on"),
        ("CLOAKROOM_RATE_LIMIT_DOWNLOAD", "8/10000s"),
        ("CLOAKROOM_RATE_LIMIT_AUTH_FAILURE", "4/10000s"),
        ("CLOAKROOM_TRUSTED_PROXIES", "127.0.0.1"),
    ];
    let stand = Stand::with(&settings).await;
    let (_, file, link) = limited(&stand, 100).await;
    let (path, wrong) = (path_of(&link), "A".repeat(64));
    let altered = format!("{}?link={wrong}", file_path(id(&file)));
    let from = |address: &str| stand.anonymous().with_header("X-Real-IP", address);
    let one = from("192.0.2.1");
    for _ in 0..8 {
        assert_eq!(status(one.get(&path)).await, 200);
    }
    let answer = one.get(&path).send().await.unwrap();
    refused(answer, 429, "RATE_001").await;
    let other = from("192.0.2.2");
    assert_eq!(status(other.get(&path)).await, 200);
    for _ in 0..4 {
        assert_eq!(status(other.get(&altered)).await, 401);
    }
    let answer = other.get(&altered).send().await.unwrap();
    refused(answer, 429, "RATE_001").await;
    // What was good a while ago still is.
    assert_eq!(status(other.get(&path)).await, 200);
    let third = from("192.0.2.3");
    assert_eq!(status(third.get(&path)).await, 200);
    let counted = stand.user();
    assert_eq!(status(counted.get(&file_path(id(&file)))).await, 200);
}

#[tokio::test]
async fn links_are_listed_in_pages_without_what_opens_the_file() {
    let stand = Stand::simple().await;
    let owner = stand.user();
    let file = owner.stored("a.txt", "x").await;
    let mut made_ids = Vec::new();
    for _ in 0..5 {
        let link = made(&owner, id(&file), json!({})).await;
        made_ids.push(link["link_id"].clone());
    }
    made_ids.reverse();
    let links = format!("{}/links", file_path(id(&file)));
    let (mut listed, mut more) = (Vec::new(), "?limit=2".to_owned());
    loop {
        let answer = owner.get(&format!("{links}{more}")).send().await.unwrap();
        let page = expect(answer, StatusCode::OK).await;
        for item in page["items"].as_array().unwrap() {
            let mut members: Vec<&String> = item.as_object().unwrap().keys().collect();
            members.sort();
            let expected = [
                "created_at",
                "disposition",
                "expires_at",
                "link_id",
                "max_uses",
                "uses",
                "version",
            ];
            assert_eq!(members, expected);
            listed.push(item["link_id"].clone());
        }
        match page["next_cursor"].as_str() {
            Some(cursor) => more = format!("?limit=2&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(listed.len(), 5);
    // Of the same microsecond, in any one order.
    let sorted = |mut ids: Vec<Value>| {
        ids.sort_by_key(ToString::to_string);
        ids
    };
    assert_eq!(sorted(listed), sorted(made_ids));
    for bad in ["?limit=0", "?limit=1001", "?cursor=x"] {
        let answer = owner.get(&format!("{links}{bad}")).send().await.unwrap();
        refused(answer, 422, "VAL_001").await;
    }
}
