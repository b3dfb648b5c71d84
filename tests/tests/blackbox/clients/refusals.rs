//! Refusals in the middle of a body, as a browser sees them through nginx.

use std::time::Duration;

use cloakroom_tests::{
    client::Repeated,
    front::{Door, Front},
    service::Setup,
};
use serde_json::json;

use super::{PATIENCE, file};

const DOORS: [Door; 2] = [Door::Pages, Door::Tls];

const TAKEN: &str = "
  await open();
  return await page.evaluate(({ file, headers }) => new Promise((resolve, reject) => {
    let other = null;
    const sending = uploadFile(fileOf(file), { headers, onError: reject,
      onProgress: async (sent, total) => {
        show(sent);
        if (other || sent < total / 3) return;
        // As from another tab.
        const { url } = await sending;
        other ??= fetch(url, { method: 'HEAD', headers: { ...headers, 'Tus-Resumable': '1.0.0' },
          credentials: headers ? 'omit' : 'include' });
      },
      onSuccess: async () => {
        const answer = await other;
        const offset = Number(answer.headers.get('Upload-Offset'));
        resolve({ url: (await sending).url, watch, other: { status: answer.status, offset } });
      } });
  }), input);
";

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_another_tab_asks_about_is_interrupted_and_goes_on() {
    for door in DOORS {
        let front = Front::start(Setup::PostgresFs, door).await;
        front.line.delay(Duration::from_millis(1));
        let body = Repeated::new(13, 30_000_000);
        let input = json!({ "file": file(body), "headers": headers(&front, door) });
        let seen = front.browse(PATIENCE, TAKEN, &input).await;
        println!("{door:?} {seen}");
        front.line.heal();
        assert_eq!(seen["other"]["status"], 200);
        assert!(seen["other"]["offset"].as_u64().unwrap() > 0, "{seen}");
        let watch = &seen["watch"];
        assert_eq!((&watch["zeros"], &watch["beneath"]), (&json!(0), &json!(0)));
        front
            .assert_file(0, seen["url"].as_str().unwrap(), body)
            .await;
    }
}

fn headers(front: &Front, door: Door) -> Option<serde_json::Value> {
    let bearer = format!("Bearer {}", front.token());
    (door == Door::Tls).then(|| json!({ "Authorization": bearer }))
}

const MISPLACED: &str = "
  await open();
  return await page.evaluate(async ({ file, files, headers }) => {
    const ask = (method, url, more, body) => new Promise((resolve) => {
      const xhr = new XMLHttpRequest();
      xhr.open(method, url);
      xhr.withCredentials = true;
      for (const [name, value] of Object.entries({ ...headers, 'Tus-Resumable': '1.0.0', ...more })) {
        xhr.setRequestHeader(name, value);
      }
      const begun = performance.now();
      let sent = 0;
      xhr.upload.onprogress = (event) => { sent = event.loaded; };
      xhr.onloadend = () => resolve({ status: xhr.status, sent, took: performance.now() - begun,
        location: xhr.getResponseHeader('Location'), offset: xhr.getResponseHeader('Upload-Offset'), text: xhr.responseText });
      xhr.send(body);
    });
    const { location } = await ask('POST', files, { 'Upload-Length': String(file.size) });
    const type = { 'Content-Type': 'application/offset+octet-stream' };
    const misplaced = await ask('PATCH', location, { ...type, 'Upload-Offset': '5' }, fileOf(file));
    const asked = await ask('HEAD', location, {});
    const placed = await ask('PATCH', location, { ...type, 'Upload-Offset': '0' }, fileOf({ ...file, size: 1000 }));
    return { misplaced, asked, placed };
  }, input);
";

#[tokio::test(flavor = "multi_thread")]
async fn a_page_reads_why_its_long_body_was_refused_and_goes_on() {
    for door in DOORS {
        let front = Front::start(Setup::PostgresFs, door).await;
        let input = json!({
            "file": file(Repeated::new(14, 100_000_000)),
            "headers": headers(&front, door),
        });
        let seen = front.browse(PATIENCE, MISPLACED, &input).await;
        println!("{door:?} {seen}, {} bytes sent", front.line.sent());
        assert_eq!(seen["misplaced"]["status"], 409, "{seen}");
        assert!(
            seen["misplaced"]["text"]
                .as_str()
                .unwrap()
                .contains("UPLOAD_002")
        );
        assert_eq!(
            (&seen["asked"]["status"], &seen["asked"]["offset"]),
            (&json!(200), &json!("0"))
        );
        assert_eq!(
            (&seen["placed"]["status"], &seen["placed"]["offset"]),
            (&json!(204), &json!("1000"))
        );
    }
}
