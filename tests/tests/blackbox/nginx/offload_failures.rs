//! What nginx was told to send and cannot, and who tries to get at it without being told.

use std::{fs, time::Duration};

use cloakroom_tests::{
    client::{Raw, file_path, id, refused, sample},
    inspect,
    servers::{Nginx, garage},
    service::Setup,
    stand::Stand,
};
use reqwest::StatusCode;

use super::{
    PATIENCE,
    listening::Listening,
    offload::{Pair, see, settings},
    through,
};

const SIZE: usize = 3_000_000;

/// What a presigned address cannot do without.
const SIGNATURE: &str = "X-Amz-";

#[tokio::test(flavor = "multi_thread")]
async fn an_internal_place_is_nothing_to_clients_however_they_spell_it() {
    let pair = Pair::start(Setup::SqliteFs).await;
    let body = sample(SIZE, 1);
    let file = pair.user().stored("a.bin", body.clone()).await;
    let object = inspect::object_path(&pair.stand, id(&file));
    let objects = pair.stand.data_dir().join("objects");
    let below = object.strip_prefix(&objects).unwrap().display().to_string();
    let spellings = [
        format!("/_cloakroom/fs/whole/{below}"),
        format!("/_cloakroom/fs/range/{below}"),
        format!("/%5Fcloakroom/fs/whole/{below}"),
        format!("/_cloakroom%2Ffs%2Fwhole/{below}"),
        format!("//_cloakroom/fs/whole/{below}"),
        format!("/_cloakroom//fs/whole/{below}"),
        format!("/./_cloakroom/fs/whole/{below}"),
        format!("/files/../_cloakroom/fs/whole/{below}"),
        format!("/files/%2e%2e/_cloakroom/fs/whole/{below}"),
        format!("/_cloakroom/fs/../fs/whole/{below}"),
        format!("/_CLOAKROOM/fs/whole/{below}"),
        "/_cloakroom/fs/whole/".to_owned(),
        "/_cloakroom/s3/".to_owned(),
        "/_cloakroom/s3/bucket/key".to_owned(),
        "/@cloakroom_again".to_owned(),
        "/_cloakroom".to_owned(),
    ];
    for path in &spellings {
        for more in ["", "X-Accel-Redirect: /_cloakroom/fs/whole/\r\n"] {
            let head = pair.stand.head("GET", path, more, 0);
            let mut connection = Raw::connect(&pair.nginx.base()).await;
            connection.send(head).await.unwrap();
            let answer = connection.answer(PATIENCE).await.unwrap();
            assert_eq!(answer.status, 404, "{path}");
            assert!(answer.text().contains("\"code\":\"FILE_001\""), "{path}");
            assert!(answer.body.len() < 1000, "{path}");
        }
    }
    assert!(pair.user().bytes(&file_path(id(&file))).await == body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_nginx_does_not_find_is_sent_by_the_service() {
    let stand = Stand::with(&settings()).await;
    // A mistake in the deployment: nginx looks into another folder.
    let empty = stand.data_dir().join("empty");
    fs::create_dir(&empty).unwrap();
    let nginx = Nginx::before([stand.address()])
        .offload_from(&empty)
        .start()
        .await;
    let api = through(&nginx, &stand);
    let path = file_path(id(&api.stored("a b%.txt", sample(SIZE, 2)).await));
    for range in ["", "bytes=1000000-1999999"] {
        let get = |client: &cloakroom_tests::client::Client| {
            let get = client.get(&format!("{path}?disposition=inline"));
            get.header("Range", range).header("X-Request-Id", "same")
        };
        let ours = see(get(&stand.user()).send().await.unwrap()).await;
        let theirs = see(get(&api).send().await.unwrap()).await;
        assert_eq!(ours.headers, theirs.headers);
        assert!(ours == theirs, "{range}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_missing_are_told_as_the_service_tells_it() {
    let fs = Pair::start(Setup::SqliteFs).await;
    let file = fs.user().stored("a.bin", sample(SIZE, 3)).await;
    fs.stand.lose_the_object_of(id(&file));
    let get = fs.user().get(&file_path(id(&file)));
    refused(get.send().await.unwrap(), 404, "STORAGE_005").await;

    let s3 = Pair::start(Setup::SqliteGarage).await;
    let file = s3.user().stored("a.bin", sample(SIZE, 3)).await;
    let object = inspect::objects(&s3.stand).await.remove(0);
    let client = garage::shared().client();
    let delete = client
        .delete_object()
        .bucket(&object.bucket)
        .key(&object.key);
    delete.send().await.unwrap();
    let get = s3.user().get(&file_path(id(&file)));
    let answer = get.send().await.unwrap();
    assert!(!answer.headers().contains_key("etag"));
    assert_eq!(answer.headers()["cache-control"], "no-store");
    assert_eq!(answer.headers().get_all("cache-control").iter().count(), 1);
    assert!(!answer.headers().contains_key("content-disposition"));
    refused(answer, 404, "STORAGE_005").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_frozen_or_down_is_503_in_10_s_through_nginx_and_no_address_is_logged() {
    let mut stand = Stand::with_own_servers(&settings()).await;
    let address = stand.store().access().address().to_owned();
    let nginx = Nginx::before([stand.address()])
        .offload_from_s3(address)
        .start()
        .await;
    let api = through(&nginx, &stand);
    let body = sample(SIZE, 5);
    let path = file_path(id(&api.stored("a.bin", body.clone()).await));
    assert!(api.bytes(&path).await == body);

    stand.store().pause();
    let answer = api.get(&path).timeout(Duration::from_secs(10)).send().await;
    refused(answer.unwrap(), 503, "STORAGE_003").await;
    stand.store().resume();
    stand.store_mut().kill();
    let answer = api.get(&path).timeout(Duration::from_secs(10)).send().await;
    refused(answer.unwrap(), 503, "STORAGE_003").await;
    stand.store_mut().restart().await;
    stand
        .until("the store serves again", async || {
            let answer = api.get(&path).send().await.unwrap();
            answer.status() == StatusCode::OK && answer.bytes().await.unwrap() == body
        })
        .await;

    for (what, log) in [
        ("nginx's error log", nginx.log()),
        ("nginx's access log", nginx.access_log()),
        ("the service's log", stand.log()),
    ] {
        assert!(!log.contains(SIGNATURE), "{what}: {log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_for_bytes_that_moved_out_of_nginx_s_reach_ends_well_under_load() {
    let pair = Pair::start(Setup::SqliteFs).await;
    let api = pair.user();
    let body = sample(300_000, 6);
    let reading: Vec<_> = (0..8)
        .map(|_| {
            let (api, body) = (api.clone(), body.clone());
            tokio::spawn(async move {
                for _ in 0..10 {
                    let id = id(&api.stored("a.bin", body.clone()).await).to_owned();
                    let path = file_path(&id);
                    let (read, ()) = tokio::join!(api.get(&path).send(), api.purge(&id));
                    let read = read.unwrap();
                    match read.status().as_u16() {
                        200 => assert!(read.bytes().await.unwrap() == body),
                        404 => assert!(read.text().await.unwrap().contains("FILE_001")),
                        other => panic!("{other}: {}", read.text().await.unwrap()),
                    }
                }
            })
        })
        .collect();
    for reader in reading {
        reader.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_the_client_goes_to_the_store_and_nothing_but_bytes_comes_from_it() {
    let stand = Stand::start_with(Setup::SqliteGarage, &settings()).await;
    let body = sample(SIZE, 7);
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\nConnection: close\r\nContent-Type: text/html\r\n\
         ETag: \"theirs\"\r\nLast-Modified: Tue, 14 Nov 2000 22:13:20 GMT\r\nAccept-Ranges: none\r\n\
         Cache-Control: public\r\nExpires: Tue, 14 Nov 2034 22:13:20 GMT\r\nSet-Cookie: theirs=1\r\n\
         Content-Disposition: inline\r\nContent-Security-Policy: theirs\r\nVary: Theirs\r\nServer: theirs\r\n\
         Access-Control-Allow-Origin: *\r\nStrict-Transport-Security: max-age=0\r\nX-Request-Id: theirs\r\n\
         X-Accel-Redirect: /_cloakroom/fs/whole/x\r\nX-Accel-Limit-Rate: 1\r\nX-Accel-Charset: theirs\r\n\
         x-amz-request-id: theirs\r\nx-amz-id-2: theirs\r\nx-amz-server-side-encryption: AES256\r\n\
         x-amz-version-id: theirs\r\nx-amz-storage-class: theirs\r\nx-amz-checksum-crc64nvme: theirs\r\n\
         x-goog-generation: 1\r\n\r\n"
    );
    let mut store = Listening::answering([head.into_bytes(), body.clone()].concat()).await;
    let nginx = Nginx::before([stand.address()])
        .offload_from_s3(store.address.to_string())
        .start()
        .await;
    let api = through(&nginx, &stand);
    let path = file_path(id(&api.stored("a.bin", body).await));
    let ours = stand.user().get(&path).header("X-Request-Id", "same");
    let ours = see(ours.send().await.unwrap()).await;
    let get = api
        .get(&path)
        .header("Cookie", "session=canary")
        .header("X-Request-Id", "same")
        .header("Accept-Encoding", "gzip")
        .header("If-None-Match", "\"canary\"");
    let theirs = see(get.send().await.unwrap()).await;
    assert_eq!(ours.headers, theirs.headers);
    assert!(ours == theirs);
    let (first, mut lines) = store.head().await;
    assert!(first.starts_with("GET /"), "{first}");
    assert!(first.contains("X-Amz-Expires=60&"), "{first}");
    lines.sort();
    let host = garage::shared();
    assert_eq!(lines, [format!("host: {}", host.address())]);
}
