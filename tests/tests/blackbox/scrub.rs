//! The scrub as an operator sees it: its report, its metrics, its command.

mod rounds;

use std::{
    fs,
    time::{Duration, Instant},
};

use aws_sdk_s3::primitives::ByteStream;
use cloakroom_tests::{
    client::{Client, expect, file_path, header, id, refused, sample},
    inspect,
    process::free_port,
    service::Setup,
    stand::Stand,
};
use reqwest::{Method, StatusCode};
use serde_json::Value;

/// A round every second.
const OFTEN: [(&str, &str); 2] = [
    ("CLOAKROOM_SCRUB_INTERVAL", "1s"),
    ("CLOAKROOM_SCRUB_RATE", "100MiB"),
];

async fn report(admin: &Client) -> Value {
    expect(admin.get("/scrub").send().await.unwrap(), StatusCode::OK).await
}

/// The value of a metric, by its whole name with labels.
async fn metric(admin: &Client, name: &str) -> Option<u64> {
    let answer = admin.get("/metrics").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    value(&answer.text().await.unwrap(), name)
}

fn value(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.rsplit_once(' '));
    let (_, value) = lines.find(|(found, _)| *found == name)?;
    Some(value.parse().unwrap())
}

async fn read_objects(stand: &Stand) -> u64 {
    let name = "cloakroom_scrub_read_objects_total";
    metric(&stand.admin(), name).await.unwrap()
}

/// What is found at the moment: files and kinds.
async fn found(admin: &Client) -> Vec<(String, String)> {
    let report = report(admin).await;
    let text = |finding: &Value, name: &str| finding[name].as_str().unwrap().to_owned();
    let findings = report["findings"].as_array().unwrap().iter();
    findings
        .map(|finding| (text(finding, "file_id"), text(finding, "kind")))
        .collect()
}

/// Changes a file's object behind the service's back; `None` removes it.
async fn tamper(stand: &Stand, file: &str, change: impl FnOnce(Vec<u8>) -> Option<Vec<u8>>) {
    let Some(s3) = stand.s3() else {
        let path = inspect::object_path(stand, file);
        match change(fs::read(&path).unwrap()) {
            Some(bytes) => fs::write(&path, bytes).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        return;
    };
    let (client, bucket) = (s3.client(), stand.setting("CLOAKROOM_S3_BUCKET").unwrap());
    let objects = inspect::objects(stand).await;
    let key = &objects.iter().find(|it| it.key.contains(file)).unwrap().key;
    let body = client.get_object().bucket(bucket).key(key).send().await;
    let body = body.unwrap().body.collect().await.unwrap().to_vec();
    match change(body) {
        Some(bytes) => {
            let put = client.put_object().bucket(bucket).key(key);
            put.body(ByteStream::from(bytes)).send().await.unwrap();
        }
        None => {
            let delete = client.delete_object().bucket(bucket).key(key);
            delete.send().await.unwrap();
        }
    }
}

fn flipped(mut bytes: Vec<u8>) -> Option<Vec<u8>> {
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    Some(bytes)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_and_a_lost_object_are_reported_logged_measured_and_gone_once_mended() {
    for setup in Setup::extremes() {
        let stand = Stand::start_with(setup, &OFTEN).await;
        let (user, admin) = (stand.user(), stand.admin());
        let good = user.stored("good.bin", sample(300_000, 1)).await;
        let flip = user.stored("flip.bin", sample(300_000, 2)).await;
        let lose = user.stored("lose.bin", "lost").await;
        tamper(&stand, id(&flip), flipped).await;
        tamper(&stand, id(&lose), |_| None).await;
        let mut expected = [
            (id(&flip).to_owned(), "wrong_hash".to_owned()),
            (id(&lose).to_owned(), "missing_object".to_owned()),
        ];
        expected.sort();
        let both = async || {
            let mut found = found(&admin).await;
            found.sort();
            found == expected
        };
        stand.until("both are found", both).await;
        let log = stand.log_with("stored bytes that are not as they").await;
        assert!(
            log.contains(id(&flip)) && log.contains("wrong_hash"),
            "{log}"
        );
        for (kind, count) in [("wrong_hash", 1), ("missing_object", 1), ("unreadable", 0)] {
            let name = format!("cloakroom_scrub_findings{{kind=\"{kind}\"}}");
            assert_eq!(metric(&admin, &name).await, Some(count), "{kind}");
        }
        let name = "cloakroom_scrub_read_bytes_total";
        let all_read = async || metric(&admin, name).await >= Some(600_000);
        // What is found first may be found before the round has come to the end.
        stand.until("all is read", all_read).await;
        let told = report(&admin).await;
        let finding = &told["findings"][0];
        assert_eq!(finding["version"], 1);
        assert!(finding["since"].as_str() <= finding["seen_at"].as_str());
        assert_eq!(told["findings_by_kind"]["wrong_hash"], 1);

        tamper(&stand, id(&flip), flipped).await;
        user.purge(id(&lose)).await;
        let none = async || found(&admin).await.is_empty();
        stand.until("nothing is found any more", none).await;
        let since = "cloakroom_scrub_seconds_since_completed_round";
        let since = metric(&admin, since).await;
        assert!(since < Some(20), "{since:?}");
        let body = user.bytes(&file_path(id(&good))).await;
        assert_eq!(body, sample(300_000, 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hashes_that_nobody_knew_are_learned_and_the_etag_stays() {
    for setup in Setup::extremes() {
        let stand = Stand::start_with(setup, &OFTEN).await;
        let (user, body) = (stand.user(), sample(100_000, 3));
        let file = user.stored("old.bin", body.clone()).await;
        let path = file_path(id(&file));
        // As an import leaves it.
        let forget = "UPDATE file_versions SET sha256 = NULL, crc64 = NULL";
        inspect::run(stand.database_url(), forget).await;
        let unknown = "SELECT count(*) FROM file_versions WHERE tagged_by_id";
        let learned = async || inspect::count(stand.database_url(), unknown).await == 1;
        stand.until("the hash is learned", learned).await;
        let stated = async || {
            let answer = user.get(&path).send().await.unwrap();
            answer.headers().contains_key("repr-digest")
        };
        stand.until("it is stated", stated).await;
        let answer = user.get(&path).send().await.unwrap();
        let tag = header(&answer, "etag").to_owned();
        assert!(tag.starts_with("\"v-"), "{tag}");
        assert_eq!(answer.bytes().await.unwrap(), body);
        let again = user.get(&path).header("If-None-Match", &tag).send().await;
        assert_eq!(again.unwrap().status(), StatusCode::NOT_MODIFIED);
        tamper(&stand, id(&file), flipped).await;
        let is_found = async || !found(&stand.admin()).await.is_empty();
        stand
            .until("what was learned is compared with", is_found)
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_come_change_and_go_while_it_reads_are_no_findings() {
    for setup in Setup::extremes() {
        let fast = [
            ("CLOAKROOM_SWEEP_INTERVAL", "200ms"),
            ("CLOAKROOM_DELETE_DELAY", "0s"),
        ];
        let stand = Stand::start_with(setup, &[&OFTEN[..], &fast].concat()).await;
        let (user, until) = (stand.user(), Instant::now() + Duration::from_secs(12));
        let churn = |seed: u64| {
            let user = user.clone();
            async move {
                let mut n = 0;
                while Instant::now() < until {
                    n += 1;
                    let body = sample(20_000, seed * 1000 + n);
                    let file = user.stored("a.bin", body.clone()).await;
                    let path = file_path(id(&file));
                    let put = user.call(Method::PUT, &path).body(body);
                    expect(put.send().await.unwrap(), StatusCode::OK).await;
                    let old = user.call(Method::DELETE, &format!("{path}/versions/1"));
                    assert_eq!(old.send().await.unwrap().status(), 204);
                    if n % 5 > 0 {
                        user.purge(id(&file)).await;
                    }
                }
            }
        };
        futures_util::future::join_all((1..=6).map(churn)).await;
        let admin = stand.admin();
        assert!(found(&admin).await.is_empty());
        let read = read_objects(&stand).await;
        assert!(read > 20, "{read}");
        let round = report(&admin).await["round"].as_u64().unwrap();
        assert!(round > 2, "{round}");
        assert!(
            !stand.log().contains("not as they should be"),
            "{}",
            stand.log()
        );
    }
}

#[tokio::test]
async fn the_command_scrubs_once_and_tells_scripts_what_it_found() {
    let stand = Stand::with(&[("CLOAKROOM_SCRUB_INTERVAL", "off")]).await;
    assert_eq!(report(&stand.admin()).await["state"], "off");
    let untouched = stand.run(&["scrub"]).await;
    assert_eq!(untouched.code, 0, "{}", untouched.stderr);
    assert!(
        untouched.stdout.contains("no round"),
        "{}",
        untouched.stdout
    );
    let file = stand.user().stored("a.bin", sample(50_000, 1)).await;
    let clean = stand.run(&["scrub", "--once"]).await;
    assert_eq!(clean.code, 0, "{}{}", clean.stdout, clean.stderr);
    assert!(
        clean.stdout.contains("1 objects, 50000 bytes; 0 findings"),
        "{}",
        clean.stdout
    );
    stand.flip_a_bit_of(id(&file));
    let damaged = stand.run(&["scrub", "--once", "--json"]).await;
    assert_eq!(damaged.code, 1, "{}{}", damaged.stdout, damaged.stderr);
    let lines: Vec<Value> = damaged
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let [told, state, finding] = &lines[..] else {
        panic!("{lines:?}")
    };
    assert_eq!(
        (&told["event"], &told["is_new"]),
        (&"found".into(), &true.into())
    );
    assert_eq!(
        (&state["round"], &state["findings"]),
        (&2.into(), &1.into())
    );
    assert_eq!(finding["kind"], "wrong_hash");
    assert_eq!(finding["file_id"], id(&file));
    assert_eq!(stand.run(&["scrub"]).await.code, 1);
    assert_eq!(
        found(&stand.admin()).await.len(),
        1,
        "the service tells it, too"
    );
    let held = "UPDATE scrub SET held_until = 9000000000000000";
    inspect::run(stand.database_url(), held).await;
    let busy = stand.run(&["scrub", "--once"]).await;
    assert_eq!(busy.code, 2, "{}", busy.stderr);
    assert!(
        busy.stderr.contains("scrubs at this moment"),
        "{}",
        busy.stderr
    );
}

#[tokio::test]
async fn reports_have_pages_and_refuse_what_is_no_cursor() {
    let stand = Stand::with(&OFTEN).await;
    for n in 0..5 {
        let file = stand.user().stored(&format!("{n}"), "x").await;
        stand.lose_the_object_of(id(&file));
    }
    let admin = stand.admin();
    let all = async || found(&admin).await.len() == 5;
    stand.until("all are found", all).await;
    let (mut seen, mut path) = (0, "/scrub?limit=2".to_owned());
    loop {
        let page = expect(admin.get(&path).send().await.unwrap(), StatusCode::OK).await;
        seen += page["findings"].as_array().unwrap().len();
        let Some(cursor) = page["next_cursor"].as_str() else {
            break;
        };
        path = format!("/scrub?limit=2&cursor={cursor}");
    }
    assert_eq!(seen, 5);
    for wrong in ["limit=0", "limit=1001", "limit=x", "cursor=x", "page=2"] {
        let answer = admin.get(&format!("/scrub?{wrong}")).send().await.unwrap();
        refused(answer, 422, "VAL_001").await;
    }
}

#[tokio::test]
async fn metrics_have_an_address_of_their_own_and_are_for_admins_elsewhere() {
    let own = format!("127.0.0.1:{}", free_port());
    let stand = Stand::with(&[("CLOAKROOM_METRICS_LISTEN", own.as_str())]).await;
    let address = Client::new(&format!("http://{own}"));
    let answer = address.get("/metrics").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(header(&answer, "content-type").starts_with("application/openmetrics-text"));
    let text = answer.text().await.unwrap();
    assert!(text.contains("cloakroom_build_info{version=\""), "{text}");
    assert_eq!(
        value(&text, "cloakroom_scrub_findings{kind=\"wrong_hash\"}"),
        Some(0)
    );
    assert!(text.ends_with("# EOF\n"));
    assert!(!text.contains(&stand.admin_token()));
    for path in ["/", "/health", "/files", "/scrub", "/metrics/x"] {
        let answer = address.get(path).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
    }
    let post = address.call(Method::POST, "/metrics").send().await.unwrap();
    assert!(post.status().is_client_error());
    let anybody = stand.anonymous().get("/metrics").send().await.unwrap();
    refused(anybody, 401, "AUTH_001").await;
    assert!(
        stand
            .admin()
            .get("/metrics")
            .send()
            .await
            .unwrap()
            .status()
            .is_success()
    );
    let mut stand = stand;
    stand.terminate().await;
    assert!(
        address.get("/metrics").send().await.is_err(),
        "it stops with the service"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_told_while_the_database_is_away() {
    let stand = Stand::with_own_servers(&[]).await;
    let name = "cloakroom_scrub_findings{kind=\"missing_object\"}";
    assert_eq!(metric(&stand.admin(), name).await, Some(0));
    stand.postgres().pause();
    let begun = Instant::now();
    let answer = stand.admin().get("/metrics").send().await.unwrap();
    let text = answer.text().await.unwrap();
    stand.postgres().resume();
    assert!(begun.elapsed() < Duration::from_secs(8));
    assert!(text.contains("cloakroom_scrub_read_bytes_total"), "{text}");
    assert_eq!(value(&text, name), None, "what is not known is left out");
}
