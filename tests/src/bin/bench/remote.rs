//! Bytes in a real S3 server, against the SDK with nothing in between.

use std::time::{Duration, Instant};

use aws_sdk_s3::{Client, primitives::ByteStream};
use bytes::Bytes;
use cloakroom_tests::{
    client::{Raw, Seeded, file_path},
    servers::{Postgres, S3Server, garage},
    service::Service,
};

use crate::{
    compare::{Options, Row, Unit, Work, compare},
    uploads::{Uploader, per_second},
};

const LARGE: u64 = 100 * 1024 * 1024;
const KEY: &str = "bench";
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn measure(options: &Options) -> Vec<Row> {
    let (postgres, garage) = tokio::join!(Postgres::start(), garage::start());
    let service = Service::builder()
        .database(postgres.database().await)
        .s3(garage.access())
        .production()
        .start()
        .await;
    let bare = Bare::new(&garage).await;
    let body = Seeded::new(3, LARGE).bytes();
    let uploader = Uploader::new(&service);
    let work = |name, goal| Work {
        name,
        against: "the SDK alone",
        unit: Unit::Bytes,
        goal,
    };
    let put = compare(
        options,
        work("PUT 100 MiB over S3", 0.7),
        async |time| per_second(time, async || uploader.form(&body).await).await,
        async |time| per_second(time, async || bare.put(&body).await).await,
    )
    .await;

    let (_, id) = uploader.keep_form(&body).await;
    bare.put(&body).await;
    let get = compare(
        options,
        work("GET 100 MiB over S3", 0.8),
        async |time| per_second(time, async || download(&service, &id).await).await,
        async |time| per_second(time, async || bare.get().await).await,
    )
    .await;
    vec![put, get]
}

async fn download(service: &Service, id: &str) -> Duration {
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {}\r\n\r\n",
        file_path(id),
        service.admin_token()
    );
    let begun = Instant::now();
    let mut connection = Raw::connect(&service.base()).await;
    connection.send(request).await.unwrap();
    let (head, size) = connection.skim(PATIENCE).await.unwrap();
    assert_eq!((head.status, size), (200, LARGE));
    begun.elapsed()
}

struct Bare {
    client: Client,
    bucket: String,
}

impl Bare {
    async fn new(garage: &S3Server) -> Self {
        let (client, bucket) = (garage.access().client(), garage.access().bucket_name());
        client.create_bucket().bucket(&bucket).send().await.unwrap();
        Self { client, bucket }
    }

    async fn put(&self, body: &Bytes) -> Duration {
        let begun = Instant::now();
        let put = self.client.put_object().bucket(&self.bucket).key(KEY);
        let put = put.body(ByteStream::from(body.clone()));
        put.send().await.unwrap();
        begun.elapsed()
    }

    async fn get(&self) -> Duration {
        let begun = Instant::now();
        let get = self.client.get_object().bucket(&self.bucket).key(KEY);
        let mut body = get.send().await.unwrap().body;
        let mut size = 0;
        while let Some(chunk) = body.next().await {
            size += chunk.unwrap().len() as u64;
        }
        assert_eq!(size, LARGE);
        begun.elapsed()
    }
}
