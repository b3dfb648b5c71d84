//! Bytes that nginx sends itself: the same answers as the service's own, header by header and byte by byte.

use cloakroom_tests::{
    client::{Client, file_path, id, sample},
    servers::{Nginx, garage},
    service::Setup,
    stand::Stand,
};
use reqwest::{Method, Response, StatusCode};
use serde_json::Value;

use super::through;

/// Larger than anything that is kept in memory.
const SIZE: usize = 3_000_000;

/// A service that leaves bodies to the nginx before it.
pub struct Pair {
    pub stand: Stand,
    pub nginx: Nginx,
}

impl Pair {
    pub async fn start(setup: Setup) -> Self {
        Self::start_with(setup, &[]).await
    }

    /// With more settings.
    pub async fn start_with(setup: Setup, more: &[(&str, &str)]) -> Self {
        let settings = [&settings()[..], more].concat();
        let stand = Stand::start_with(setup, &settings).await;
        let nginx = Nginx::before([stand.address()]);
        let nginx = if setup.has_garage() {
            nginx.offload_from_s3(garage::shared().address())
        } else {
            nginx.offload_from(stand.data_dir().join("objects"))
        };
        let nginx = nginx.start().await;
        Self { stand, nginx }
    }

    pub fn user(&self) -> Client {
        through(&self.nginx, &self.stand)
    }

    /// How the service logged its answer to a request of that id: the bytes that it sent itself.
    pub async fn bytes_by_the_service(&self, request: &str) -> u64 {
        let mut found = None;
        let mark = format!("id=\"{request}\"");
        self.stand
            .until("the request is logged", async || {
                let log = self.stand.log();
                let line = log.lines().rev().find(|line| line.contains(&mark));
                found = line.and_then(|line| {
                    let (_, bytes) = line.split_once(" bytes=")?;
                    bytes.split(' ').next()?.parse().ok()
                });
                found.is_some()
            })
            .await;
        found.unwrap()
    }
}

pub fn settings() -> [(&'static str, &'static str); 3] {
    [
        ("CLOAKROOM_TRUSTED_PROXIES", "127.0.0.1"),
        ("CLOAKROOM_OFFLOAD", "x-accel"),
        ("CLOAKROOM_HSTS", "1h"),
    ]
}

/// An answer as far as both ways must agree.
#[derive(Debug, PartialEq, Eq)]
pub struct Seen {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

pub async fn see(answer: Response) -> Seen {
    let status = answer.status().as_u16();
    let of_the_connection = ["date", "server", "connection", "keep-alive"];
    let mut headers: Vec<(String, String)> = answer
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .filter(|(name, _)| !of_the_connection.contains(&name.as_str()))
        .collect();
    headers.sort();
    let mut seen = Seen {
        status,
        headers,
        body: answer.bytes().await.unwrap().to_vec(),
    };
    seen.forget_the_boundary();
    seen
}

impl Seen {
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(other, _)| other == name);
        found.map_or("", |(_, value)| value)
    }

    /// The boundary of a multipart body is another one each time.
    fn forget_the_boundary(&mut self) {
        for (name, value) in &mut self.headers {
            let Some((_, boundary)) = value.split_once("boundary=") else {
                continue;
            };
            if name == "content-type" {
                let (boundary, zeros) = (boundary.to_owned(), "0".repeat(boundary.len()));
                for at in 0..=self.body.len() - boundary.len() {
                    let window = at..at + boundary.len();
                    if &self.body[window.clone()] == boundary.as_bytes() {
                        self.body[window].copy_from_slice(zeros.as_bytes());
                    }
                }
                *value = value.replace(&boundary, &zeros);
            }
        }
    }
}

/// A request, and whether nginx sends the bytes.
struct Row {
    method: Method,
    more: &'static str,
    headers: Vec<(&'static str, String)>,
    sent: bool,
}

fn get(headers: &[(&'static str, &str)], sent: bool) -> Row {
    let owned = |(name, value): &(&'static str, &str)| (*name, (*value).to_owned());
    Row {
        method: Method::GET,
        more: "",
        headers: headers.iter().map(owned).collect(),
        sent,
    }
}

const LARGE: &str = "bytes=1000000-1999999";
const LONG_AGO: &str = "Tue, 14 Nov 2000 22:13:20 GMT";
const AHEAD: &str = "Tue, 14 Nov 2034 22:13:20 GMT";

/// Ranges of every form, and what is none.
const RANGES: [(&str, bool); 19] = [
    (LARGE, true),
    ("bytes=1000000-", true),
    ("bytes=-1000000", true),
    ("bytes=-99999999", true),
    ("bytes=0-2999999", true),
    ("bytes=2000000-999999999999999999", true),
    ("bytes=2000000-9999999999999999999999", false),
    ("BYTES=1000000-1999999", false),
    ("bytes=0-1000000,500000-2000000", false),
    ("bytes=0-99999,200000-299999", false),
    ("bytes=0-9", false),
    ("bytes=3000000-", false),
    ("bytes=-0", false),
    ("bytes=5-2", true),
    ("bytes=--1", true),
    ("bytes=a-b", true),
    ("items=0-99", true),
    ("bytes=", true),
    ("bytes=0-1,x", true),
];

fn rows(file: &Value, modified: &str) -> Vec<Row> {
    let etag = file["etag"].as_str().unwrap();
    let weak = format!("W/{etag}");
    let head = |headers| Row {
        method: Method::HEAD,
        ..get(headers, false)
    };
    let at = |more| Row {
        more,
        ..get(&[], true)
    };
    let mut rows = vec![
        get(&[], true),
        at("?disposition=inline"),
        at("/versions/1"),
        head(&[]),
        head(&[("Range", LARGE)]),
        get(&[("Accept-Encoding", "gzip, br")], true),
        get(&[("Origin", "https://app.example.com")], true),
        get(&[("Content-Length", "0")], false),
        get(
            &[("If-None-Match", "\"other\""), ("If-Modified-Since", AHEAD)],
            true,
        ),
    ];
    rows.extend(RANGES.map(|(value, sent)| get(&[("Range", value)], sent)));
    for (name, value, sent) in [
        ("If-Range", etag, true),
        ("If-Range", modified, true),
        ("If-Range", "\"other\"", true),
        ("If-Range", LONG_AGO, true),
        ("If-Range", AHEAD, true),
        ("If-Range", "yesterday", true),
        ("If-Range", &weak, true),
        ("If-None-Match", etag, false),
        ("If-None-Match", "*", false),
        ("If-None-Match", "\"other\"", true),
        ("If-None-Match", "rubbish", true),
        ("If-Modified-Since", modified, false),
        ("If-Modified-Since", AHEAD, false),
        ("If-Modified-Since", LONG_AGO, true),
        ("If-Modified-Since", "yesterday", true),
        ("If-Match", etag, false),
        ("If-Match", "*", false),
        ("If-Match", "\"other\"", false),
        ("If-Unmodified-Since", modified, false),
        ("If-Unmodified-Since", LONG_AGO, false),
        ("If-Unmodified-Since", "yesterday", false),
    ] {
        rows.push(get(&[(name, value)], sent));
        rows.push(get(&[("Range", LARGE), (name, value)], sent));
    }
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn offloaded_answers_are_those_of_the_service_itself() {
    for setup in [Setup::SqliteFs, Setup::SqliteGarage] {
        let pair = Pair::start(setup).await;
        let direct = pair.stand.user();
        let name = "100% Отчёт \"1\" für uns.txt";
        let file = direct.stored(name, sample(SIZE, 1)).await;
        let path = file_path(id(&file));
        let head = see(direct.get(&path).send().await.unwrap()).await;
        let rows = rows(&file, head.header("last-modified"));
        for (number, row) in rows.into_iter().enumerate() {
            let Row {
                method,
                more,
                headers,
                sent,
            } = row;
            let what = format!("{setup:?}: {method} {more} {headers:?}");
            let ask = async |client: &Client, way: &str| {
                let mut request = client.call(method.clone(), &format!("{path}{more}"));
                for (name, value) in &headers {
                    request = request.header(*name, value);
                }
                let request = request.header("X-Request-Id", format!("{way}-{number}"));
                let mut seen = see(request.send().await.unwrap()).await;
                for (name, value) in &mut seen.headers {
                    if name == "x-request-id" {
                        assert_eq!(*value, format!("{way}-{number}"), "{what}");
                        value.clear();
                    }
                }
                seen
            };
            let (ours, theirs) = (
                ask(&direct, "direct").await,
                ask(&pair.user(), "nginx").await,
            );
            assert_eq!(ours.status, theirs.status, "{what}");
            assert_eq!(ours.headers, theirs.headers, "{what}");
            assert!(ours.body == theirs.body, "{what}: bodies differ");
            let by_the_service = pair.bytes_by_the_service(&format!("nginx-{number}")).await;
            let expected = if sent { 0 } else { ours.body.len() as u64 };
            assert_eq!(by_the_service, expected, "{what}: sent by the service");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn small_bodies_types_that_run_and_public_files_are_the_same_through_nginx() {
    for setup in [Setup::SqliteFs, Setup::SqliteGarage] {
        let pair = Pair::start(setup).await;
        let (direct, nginx) = (pair.stand.user(), pair.user());
        for (name, size) in [
            ("empty.bin", 0),
            ("small.bin", 10),
            ("edge.bin", 65_536),
            ("over.bin", 65_537),
            ("page.html", 2_000_000),
            ("picture.svg", 2_000_000),
            ("film.mp4", 2_000_000),
        ] {
            let path = file_path(id(&direct.stored(name, sample(size, 2)).await));
            let ask = async |client: &Client| {
                let get = client.get(&format!("{path}?disposition=inline"));
                see(get.header("X-Request-Id", "same").send().await.unwrap()).await
            };
            let (ours, theirs) = (ask(&direct).await, ask(&nginx).await);
            assert_eq!(ours, theirs, "{setup:?}: {name}");
        }
        let open = nginx
            .post("/files?filename=open.bin&visibility=public")
            .body(sample(2_000_000, 3));
        let open = open.send().await.unwrap();
        assert_eq!(open.status(), StatusCode::CREATED);
        let open: Value = serde_json::from_str(&open.text().await.unwrap()).unwrap();
        let path = file_path(id(&open));
        let ask = async |client: &Client| {
            let get = client.get(&path).header("X-Request-Id", "same");
            see(get.send().await.unwrap()).await
        };
        let (ours, theirs) = (ask(&direct.with(None)).await, ask(&nginx.with(None)).await);
        assert_eq!(ours, theirs, "{setup:?}: public");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_are_the_service_s_own_and_nothing_is_left_to_nginx() {
    let pair = Pair::start(Setup::SqliteFs).await;
    let (direct, nginx) = (pair.stand.user(), pair.user());
    let path = file_path(id(&direct.stored("a.bin", sample(SIZE, 4)).await));
    let other = pair
        .stand
        .create_token("user", &["--account", "2", "--user", "9"])
        .await;
    for (client, through, path) in [
        (direct.with(None), nginx.with(None), path.as_str()),
        (
            direct.with(Some(&other)),
            nginx.with(Some(&other)),
            path.as_str(),
        ),
        (direct.clone(), nginx.clone(), "/files/unknown"),
        (direct.clone(), nginx.clone(), "/files/a%00b"),
        (direct.clone(), nginx.clone(), "/nowhere"),
    ] {
        let ask = async |client: &Client| {
            let get = client.get(path).header("X-Request-Id", "same");
            see(get.send().await.unwrap()).await
        };
        let (ours, theirs) = (ask(&client).await, ask(&through).await);
        if path.contains("%00") {
            // nginx refuses it before.
            assert_eq!((ours.status, theirs.status), (422, 400));
            continue;
        }
        assert!(ours.status >= 400, "{path}");
        assert_eq!(ours, theirs, "{path}");
    }
}
