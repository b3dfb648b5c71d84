//! tus-js-client and Uppy in a page of another origin: every way to send, to pause and to give up.

use std::time::Duration;

use cloakroom_tests::{
    client::Repeated,
    front::{Door, Front},
    service::Setup,
};
use serde_json::{Value, json};

use super::{CHUNK, NAME, PATIENCE, file};

const WAYS: &str = "
  await open();
  const seen = [];
  for (const { file, options, stream } of input.ways) {
    seen.push(await page.evaluate(({ file, options, stream }) => new Promise((resolve, reject) => {
      const metadata = { filename: file.name, filetype: 'application/x-test' };
      const source = stream ? fileOf(file).stream().getReader() : fileOf(file);
      const sending = uploadFile(source, { metadata, ...options, onError: reject,
        onSuccess: () => sending.then((upload) => resolve(upload.url)) });
    }), { file, options, stream }));
  }
  return { seen, kept: await page.evaluate(() => localStorage.length) };
";

#[tokio::test(flavor = "multi_thread")]
async fn every_way_in_which_tus_js_client_sends_makes_the_file() {
    let front = Front::start(Setup::PostgresGarage, Door::Pages).await;
    let bearer = format!("Bearer {}", front.token());
    let ways = [
        json!({}),
        json!({ "chunkSize": CHUNK }),
        json!({ "chunkSize": 1_000_000 }),
        json!({ "uploadDataDuringCreation": true }),
        json!({ "uploadDataDuringCreation": true, "chunkSize": CHUNK }),
        json!({ "overridePatchMethod": true, "chunkSize": CHUNK }),
        json!({ "addRequestId": true, "headers": { "Authorization": bearer, "X-Requested-With": "page" } }),
        json!({ "parallelUploads": 3 }),
        json!({ "parallelUploads": 2, "uploadDataDuringCreation": true, "chunkSize": CHUNK }),
        json!({ "uploadLengthDeferred": true, "chunkSize": CHUNK }),
    ];
    let mut bodies: Vec<(Repeated, Value)> = (20..)
        .zip(ways)
        .map(|(seed, options)| (Repeated::new(seed, 12_345_678), options))
        .collect();
    bodies.push((Repeated::new(1, 0), json!({})));
    bodies.push((
        Repeated::new(2, 1),
        json!({ "uploadDataDuringCreation": true }),
    ));
    let ways: Vec<Value> = bodies
        .iter()
        .map(|(body, options)| {
            let stream = options.get("uploadLengthDeferred").is_some();
            json!({ "file": file(*body), "options": options, "stream": stream })
        })
        .collect();
    let seen = front.browse(PATIENCE, WAYS, &json!({ "ways": ways })).await;
    let urls: Vec<String> = serde_json::from_value(seen["seen"].clone()).unwrap();
    assert_eq!(urls.len(), bodies.len());
    for (url, (body, options)) in urls.iter().zip(&bodies) {
        println!("{options}: {url}");
        let file = front.assert_file(0, url, *body).await;
        assert_eq!(file["filename"], NAME, "{options}");
    }
    assert_eq!(seen["kept"], 0, "finished uploads are not remembered");
    front.assert_only(1, urls.len() as u64).await;
}

const RELOADS: &str = "
  const rounds = [];
  for (const { until, pause } of [{ until: 0.3, pause: true }, { until: 0.6, pause: false }, { until: 2 }]) {
    await open();
    rounds.push(await page.evaluate(({ file, options, until, pause }) => new Promise((resolve, reject) => {
      let first = null;
      const done = async (upload) => resolve({ url: upload.url, first, shown: watch.shown, watch });
      const sending = uploadFile(fileOf(file), { ...options, onError: reject,
        onProgress: async (sent) => {
          first ??= sent;
          show(sent);
          if (sent < until * file.size) return;
          const upload = await sending;
          if (pause) await upload.abort();
          done(upload);
        },
        onSuccess: async () => done(await sending) });
    }), { ...input, until, pause }));
  }
  return rounds;
";

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_was_paused_or_just_left_goes_on_after_the_page_is_loaded_again() {
    for (setup, options) in [
        (Setup::PostgresGarage, json!({})),
        (Setup::PostgresFs, json!({ "chunkSize": 1_000_000 })),
        (Setup::PostgresFs, json!({ "parallelUploads": 3 })),
    ] {
        let front = Front::start(setup, Door::Pages).await;
        let body = Repeated::new(3, 40_000_000);
        front.line.delay(Duration::from_millis(1));
        let input = json!({ "file": file(body), "options": options });
        let rounds = front.browse(PATIENCE, RELOADS, &input).await;
        println!("{options} {rounds}");
        let shown = |round: usize, what: &str| rounds[round][what].as_u64().unwrap();
        let parts: u64 = if options.get("parallelUploads").is_some() {
            3
        } else {
            1
        };
        for round in [1, 2] {
            let created = rounds[round]["watch"]["statuses"]["201"].as_u64();
            // The last one puts the parts together.
            let joined = u64::from(parts > 1 && round == 2);
            assert!(created.unwrap_or_default() <= joined, "{rounds}");
            assert!(parts > 1 || shown(round, "first") > 0, "{rounds}");
            assert_eq!(rounds[round]["watch"]["beneath"], 0, "{rounds}");
        }
        front.line.heal();
        let url = rounds[2]["url"].as_str().unwrap();
        front.assert_file(0, url, body).await;
        front.assert_only(1, 1).await;
    }
}

const GIVES_UP: &str = "
  await open();
  return await page.evaluate(({ file, options, uppy }) => new Promise((resolve, reject) => {
    const left = async () => resolve({ url: null, shown: watch.shown, statuses: watch.statuses, kept: localStorage.length });
    if (uppy) {
      const it = makeUppy(options);
      it.on('upload-progress', (file, progress) => {
        show(progress.bytesUploaded);
        if (progress.bytesUploaded > progress.bytesTotal / 3) { it.cancelAll(); setTimeout(left, 1500); }
      });
      it.on('upload-error', (file, error) => reject(error));
      it.addFile({ name: file.name, data: fileOf(file) });
      it.upload().catch(reject);
      return;
    }
    let over = false;
    const sending = uploadFile(fileOf(file), { ...options, onError: reject,
      onSuccess: () => reject(new Error('it came to its end')),
      onProgress: async (sent, total) => {
        show(sent);
        if (over || sent < total / 3) return;
        over = true;
        try { await (await sending).abort(true); setTimeout(left, 500); } catch (error) { reject(error); }
      } });
  }), input);
";

#[tokio::test(flavor = "multi_thread")]
async fn of_an_upload_that_a_page_gives_up_nothing_is_left() {
    for setup in [Setup::PostgresGarage, Setup::PostgresFs] {
        let front = Front::start(setup, Door::Pages).await;
        front.line.delay(Duration::from_millis(1));
        for (options, uppy) in [
            (json!({}), false),
            (json!({ "chunkSize": CHUNK }), false),
            (json!({ "parallelUploads": 3 }), false),
            (json!({}), true),
        ] {
            let body = Repeated::new(4, 40_000_000);
            let input = json!({ "file": file(body), "options": options, "uppy": uppy });
            let seen = front.browse(PATIENCE, GIVES_UP, &input).await;
            println!("{options} {uppy} {seen}");
            assert!(seen["shown"].as_u64().unwrap() > 10_000_000, "{seen}");
            front.assert_only(0, 0).await;
        }
    }
}
