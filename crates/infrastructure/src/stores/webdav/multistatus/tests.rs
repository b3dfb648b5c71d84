//! Answers of real servers, and of servers that nobody should meet.

use std::time::Instant;

use super::*;

fn xml(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn answer(responses: &str) -> Bytes {
    let head = r#"<?xml version="1.0" encoding="utf-8"?><D:multistatus xmlns:D="DAV:">"#;
    xml(&format!("{head}{responses}</D:multistatus>"))
}

fn is_broken<T: std::fmt::Debug>(outcome: &Result<T, StoreError>) -> bool {
    matches!(outcome, Err(StoreError::Broken(_)))
}

const RCLONE: &str = r#"<D:response><D:href>/b/0a/</D:href><D:propstat><D:prop><D:resourcetype><D:collection xmlns:D="DAV:"/></D:resourcetype><D:getlastmodified>Fri, 17 Feb 2023 03:37:22 GMT</D:getlastmodified></D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat><D:propstat><D:prop><D:getcontentlength></D:getcontentlength></D:prop><D:status>HTTP/1.1 404 Not Found</D:status></D:propstat></D:response><D:response><D:href>/b/0a/7%7Ef~0a%2Epdf</D:href><D:propstat><D:prop><D:resourcetype></D:resourcetype><D:getcontentlength>12</D:getcontentlength><D:getlastmodified>Fri, 17 Feb 2023 03:37:22 GMT</D:getlastmodified></D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>"#;

const NEXTCLOUD: &str = r#"<?xml version="1.0"?>
<d:multistatus xmlns:d="DAV:" xmlns:s="http://sabredav.org/ns" xmlns:oc="http://owncloud.org/ns">
 <d:response>
  <d:href>/remote.php/dav/files/u/b/0a/x%20y&amp;z&#33;</d:href>
  <d:propstat>
   <d:prop><d:getlastmodified>Fri, 17 Feb 2023 03:37:22 GMT</d:getlastmodified>
    <d:resourcetype/><d:getcontentlength><![CDATA[7]]></d:getcontentlength></d:prop>
   <d:status>HTTP/1.1 200 OK</d:status>
  </d:propstat>
 </d:response>
</d:multistatus>"#;

#[test]
fn answers_of_real_servers_are_understood() {
    let entries = several(&answer(RCLONE)).unwrap();
    let at = Timestamp::from_micros(1_676_605_042_000_000);
    let entry = |name: &str, is_folder, size| Entry {
        name: name.into(),
        is_folder,
        size,
        modified_at: Some(at),
    };
    assert_eq!(
        entries,
        [entry("0a", true, 0), entry("7~f~0a.pdf", false, 12)]
    );
    assert_eq!(
        several(&xml(NEXTCLOUD)).unwrap(),
        [entry("x y&z!", false, 7)]
    );
    let found = one(&xml(NEXTCLOUD)).unwrap();
    assert_eq!((found.size, found.modified_at), (Some(7), Some(at)));
}

#[test]
fn nothing_may_be_declared_and_no_entity_be_used() {
    let bomb = r#"<?xml version="1.0"?><!DOCTYPE m [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><D:multistatus xmlns:D="DAV:"><D:response><D:href>&b;</D:href></D:response></D:multistatus>"#;
    let outside = r#"<!DOCTYPE m SYSTEM "http://169.254.169.254/"><m:multistatus/>"#;
    let undeclared = "<D:response><D:href>&b;</D:href></D:response>";
    let elsewhere = "<D:response><x>&secret;</x></D:response>";
    for hostile in [
        xml(bomb),
        xml(outside),
        answer(undeclared),
        answer(elsewhere),
    ] {
        assert!(is_broken(&several(&hostile)));
        assert!(is_broken(&one(&hostile)));
        assert!(is_broken(&all_done(&hostile)));
    }
}

#[test]
fn what_is_no_answer_is_broken() {
    let deep = format!("{}{}", "<a>".repeat(40), "</a>".repeat(40));
    let long = format!(
        "<D:response><D:href>{}</D:href></D:response>",
        "a".repeat(9000)
    );
    let cases = [
        xml("<html><body>It works!</body></html>"),
        xml("not XML at all <"),
        xml("<D:multistatus xmlns:D=\"DAV:\"><D:response>"),
        xml("<D:multistatus><D:response></D:multistatus>"),
        Bytes::from_static(b"<multistatus>\xff</multistatus>"),
        answer(&deep),
        answer(&long),
        answer("<D:response><D:href>/a</D:href></D:response>"),
        answer("<D:response><D:href>/a</D:href><D:status>fine</D:status></D:response>"),
        answer(&RCLONE.replace(">12<", ">-12<")),
        answer(&RCLONE.replace(">12<", "><")),
        answer(&RCLONE.replace(">12<", ">99999999999999999999<")),
    ];
    for (nth, hostile) in cases.iter().enumerate() {
        assert!(is_broken(&several(hostile)), "case {nth}");
    }
    assert!(is_broken(&one(&xml(""))));
    assert!(is_broken(&one(&answer(""))));
    assert_eq!(several(&answer("")).unwrap(), []);
}

#[test]
fn every_status_inside_is_heard() {
    for status in 100..=599_u16 {
        let of_response = format!(
            "<D:response><D:href>/b/x</D:href><D:status>HTTP/1.1 {status} X</D:status></D:response>"
        );
        let of_properties = RCLONE.replace("200 OK", &format!("{status} X"));
        let good = (200..300).contains(&status);
        assert_eq!(all_done(&answer(&of_response)).is_ok(), good, "{status}");
        // No properties at all, or none that came with a success.
        assert!(one(&answer(&of_response)).is_err(), "{status}");
        assert_eq!(one(&answer(&of_properties)).is_ok(), good, "{status}");
        let listed = several(&answer(&of_response));
        assert_eq!(listed.is_ok(), matches!(status, 404 | 410), "{status}");
    }
}

#[test]
fn names_are_taken_as_they_are_and_trusted_by_nobody() {
    let hrefs = [
        "/b/0a/..%2F..%2Fetc",
        "http://elsewhere/x/%2E%2E",
        "///",
        "%ff",
    ];
    let mut names = Vec::new();
    for href in hrefs {
        let told = RCLONE.replace("/b/0a/7%7Ef~0a%2Epdf", href);
        let entries = several(&answer(&told)).unwrap();
        names.extend(entries.into_iter().skip(1).map(|entry| entry.name));
    }
    assert_eq!(names, ["../../etc", ".."]);
}

#[test]
fn entries_are_read_up_to_a_number() {
    let most = MOST_RESPONSES;
    for (entries, is_read) in [(most, true), (most + 1, false)] {
        let listed = parse(&answer(&"<D:response/>".repeat(entries)));
        assert_eq!(listed.is_ok(), is_read, "{entries}");
    }
}

#[test]
fn eight_mebibytes_are_read_in_a_moment() {
    let begun = Instant::now();
    let size = 8 * 1024 * 1024;
    let fill = |unit: &str| unit.repeat(size / unit.len());
    let namespaces = format!("<a {}/>", fill(r#"xmlns:a="b" "#));
    let attributes = format!(
        "<a {}/>",
        (0..500_000)
            .map(|n| format!("a{n}=\"\" "))
            .collect::<String>()
    );
    for body in [
        fill("<a/>"),
        fill("&amp;"),
        fill("<!---->"),
        fill(RCLONE),
        namespaces,
        attributes,
    ] {
        several(&answer(&body)).ok();
    }
    let took = begun.elapsed();
    assert!(took.as_secs() < 30, "{took:?}");
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(text in ".{0,300}") {
        let _ = several(&xml(&text));
        let _ = several(&answer(&text));
    }

    #[test]
    fn no_damage_makes_it_panic(at in 0..RCLONE.len(), with in ".{0,3}") {
        let mut damaged = RCLONE.as_bytes().to_vec();
        damaged.splice(at..at, with.bytes());
        let damaged = String::from_utf8_lossy(&damaged).into_owned();
        let _ = several(&answer(&damaged));
        let _ = one(&answer(&damaged));
        let _ = all_done(&answer(&damaged[..damaged.floor_char_boundary(at)]));
    }
}
