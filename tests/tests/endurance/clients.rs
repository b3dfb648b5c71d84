//! Upload clients in a browser whose line is cut again and again and whose service loses a replica.

use std::time::{Duration, Instant};

use cloakroom_tests::{
    client::Repeated,
    front::{Door, Front, PageClient},
    service::Setup,
    trouble,
};
use serde_json::{Value, json};

const NAME: &str = "Отчёт \u{1F4CE} 1.bin";
const PATIENCE: Duration = Duration::from_secs(240);
const CHUNK: u64 = 5 * 1024 * 1024;
const MB: u64 = 1_000_000;

/// What becomes of the replica that works the most, half way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Death {
    No,
    /// It is killed and stays dead.
    Stays,
    /// It is killed and started again after a second.
    ComesBack,
}

/// An upload and its troubles.
#[derive(Debug)]
struct Run {
    client: PageClient,
    setup: Setup,
    door: Door,
    size: u64,
    options: Value,
    /// Uploads of the protocol that the file goes in.
    uploads: usize,
    cuts: u64,
    death: Death,
}

impl Run {
    fn new(client: PageClient, setup: Setup, size: u64, chunk: Option<u64>) -> Self {
        Self {
            client,
            setup,
            size,
            door: Door::Pages,
            options: chunk.map_or_else(|| json!({}), |chunk| json!({ "chunkSize": chunk })),
            uploads: 1,
            cuts: 20,
            death: Death::ComesBack,
        }
    }

    async fn survives(self) {
        let mut front = Front::start(self.setup, self.door).await;
        let body = Repeated::new(7, self.size);
        let input = json!({
            "file": { "seed": body.seed, "size": body.size, "name": NAME },
            "options": self.options_for(&front),
        });
        let mut replicas = std::mem::take(&mut front.replicas);
        let begun = Instant::now();
        let uploading = front.browse(PATIENCE, self.client.upload(), &input);
        let cutting = trouble::cut(&front.line, self.size, self.cuts, 11);
        let cutting = tokio::time::timeout(PATIENCE, cutting);
        let dying = async {
            if self.death == Death::No {
                return 1;
            }
            trouble::reached(&front.line, self.size / 2).await;
            let dead = trouble::kill_the_busiest(&mut replicas).await;
            if self.death == Death::ComesBack {
                tokio::time::sleep(Duration::from_secs(1)).await;
                replicas[dead].restart().await;
            }
            dead
        };
        let (seen, cuts, dead) = tokio::join!(uploading, cutting, dying);
        let took = begun.elapsed();
        front.replicas = replicas;
        let cuts = cuts.unwrap_or_else(|_| panic!("the upload ended before every cut"));
        let watch = &seen["watch"];
        println!("{self:?}: {took:.1?}, cut at {cuts:?}\n  {watch}");
        self.judge(watch);
        let file = front
            .assert_file(1 - dead, seen["url"].as_str().unwrap(), body)
            .await;
        assert_eq!(file["filename"], NAME);
        // A piece that a dead replica was writing goes later than the test could wait.
        front.assert_consistent(1 - dead).await;
        assert_eq!(front.nginx.temporary_bytes(), 0);
        front
            .user(1 - dead)
            .purge(file["file_id"].as_str().unwrap())
            .await;
    }

    fn options_for(&self, front: &Front) -> Value {
        let mut options = self.options.clone();
        if self.door == Door::Tls {
            let bearer = format!("Bearer {}", front.token());
            options["headers"] = json!({ "Authorization": bearer });
        }
        options
    }

    /// What the page showed.
    fn judge(&self, watch: &Value) {
        assert_eq!(watch["shown"], self.size, "{watch}");
        assert_eq!(watch["zeros"], 0, "it began anew: {watch}");
        assert_eq!(
            watch["beneath"], 0,
            "what was acknowledged went away: {watch}"
        );
        let uploads = watch["acknowledged"].as_object().unwrap().len();
        assert_eq!(uploads, self.uploads, "{watch}");
        // A cut between two requests breaks none.
        assert!(
            watch["broken"].as_u64().unwrap() >= self.cuts / 2,
            "{watch}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tus_js_client_sends_500_mb_in_one_request_through_20_cuts_and_a_killed_replica() {
    let _turn = crate::alone().await;
    Run::new(PageClient::Tus, Setup::PostgresGarage, 500 * MB, None)
        .survives()
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uppy_sends_500_mb_in_chunks_of_5_mib_through_20_cuts_and_a_killed_replica() {
    let _turn = crate::alone().await;
    Run {
        death: Death::Stays,
        ..Run::new(
            PageClient::Uppy,
            Setup::PostgresGarage,
            500 * MB,
            Some(CHUNK),
        )
    }
    .survives()
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uppy_sends_one_request_and_tus_js_client_chunks_to_a_folder_through_20_cuts() {
    let _turn = crate::alone().await;
    for (client, chunk) in [(PageClient::Uppy, None), (PageClient::Tus, Some(CHUNK))] {
        Run::new(client, Setup::PostgresFs, 100 * MB, chunk)
            .survives()
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_uploads_at_once_that_are_put_together_go_through_6_cuts_and_a_killed_replica() {
    let _turn = crate::alone().await;
    for setup in [Setup::PostgresGarage, Setup::PostgresFs] {
        Run {
            options: json!({ "parallelUploads": 3, "chunkSize": CHUNK }),
            uploads: 3,
            cuts: 6,
            ..Run::new(PageClient::Tus, setup, 90 * MB, None)
        }
        .survives()
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn http_2_is_cut_10_times_and_nothing_begins_anew() {
    let _turn = crate::alone().await;
    for client in [PageClient::Tus, PageClient::Uppy] {
        Run {
            door: Door::Tls,
            cuts: 10,
            death: Death::No,
            ..Run::new(client, Setup::PostgresFs, 100 * MB, None)
        }
        .survives()
        .await;
    }
}
