//! A page that sends parts straight to the store, and one whose store cannot.

use std::time::Duration;

use cloakroom_tests::{
    client::Repeated,
    front::{Door, Front},
    service::Setup,
};
use serde_json::json;

use super::{NAME, PATIENCE, file};

const DIRECT: &str = "
  const requests = [];
  page.on('request', (request) => requests.push([request.method(), new URL(request.url()).host]));
  await open();
  const seen = await page.evaluate(async ({ file, files }) => {
    const shown = [];
    let fellBack = false;
    const instead = (chosen) => new Promise((resolve, reject) => {
      fellBack = true;
      const sending = uploadFile(chosen, { onError: reject, onSuccess: async () => {
        const { url } = await sending;
        const id = url.split('/').pop();
        resolve(await (await fetch(`${files}/${id}/info`, { credentials: 'include' })).json());
      } });
    });
    const stored = await uploadDirect(fileOf(file), { instead, onProgress: (sent) => shown.push(sent) });
    return { stored, shown, fellBack };
  }, input);
  return { ...seen, requests };
";

#[tokio::test(flavor = "multi_thread")]
async fn a_page_sends_parts_straight_to_the_store_and_sends_again_what_was_cut() {
    let front = Front::start(Setup::PostgresGarage, Door::Pages).await;
    let body = Repeated::new(8, 40_000_000);
    let line = front.store_line.as_ref().unwrap();
    let cutting = async {
        for place in [5_000_000, 22_000_000] {
            cloakroom_tests::trouble::reached(line, place).await;
            line.cut();
            tokio::time::sleep(Duration::from_millis(100)).await;
            line.heal();
        }
    };
    let input = json!({ "file": file(body) });
    let (seen, ()) = tokio::join!(front.browse(PATIENCE, DIRECT, &input), cutting);
    assert_eq!(seen["fellBack"], false);
    let shown: Vec<u64> = serde_json::from_value(seen["shown"].clone()).unwrap();
    assert!(shown.is_sorted() && shown.len() > 1, "{shown:?}");
    assert_eq!(shown.last(), Some(&body.size));
    assert_eq!(seen["stored"]["filename"], NAME);
    let store = format!("store.cloakroom.test:{}", line.address().port());
    let sent = seen["requests"].as_array().unwrap().iter();
    let puts = sent.filter(|it| it[0] == "PUT" && it[1] == store).count();
    let (by_line, by_service) = (line.sent(), front.line.sent());
    println!(
        "{puts} PUTs of {} parts; {by_line} bytes to the store, {by_service} to nginx",
        shown.len()
    );
    assert_eq!(puts, shown.len() + 2, "two were cut");
    assert!(by_line > body.size && by_service < 1_000_000);
    let url = seen["stored"]["public_url"].as_str().unwrap();
    front.assert_file(0, url, body).await;
    front.assert_only(1, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_store_cannot_the_page_is_told_409_and_falls_back_to_tus() {
    let front = Front::start(Setup::PostgresFs, Door::Pages).await;
    let body = Repeated::new(9, 10_000_000);
    let input = json!({ "file": file(body) });
    let seen = front.browse(PATIENCE, DIRECT, &input).await;
    assert_eq!(seen["fellBack"], true, "{seen}");
    let url = seen["stored"]["public_url"].as_str().unwrap();
    front.assert_file(1, url, body).await;
    front.assert_only(0, 1).await;
}
