//! A real browser with a plain HTML form, as the README shows it.

use cloakroom_tests::browser;
use cloakroom_tests::{
    client::{sample, sha256},
    stand::Stand,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

/// Serves one page at `http://127.0.0.1:PORT/`, for as long as the test runs.
pub async fn serve(page: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let head =
                "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nConnection: close";
            let answer = format!("{head}\r\nContent-Length: {}\r\n\r\n{page}", page.len());
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    address
}

const SCRIPT: &str = "
  await page.goto(input.page);
  await page.setInputFiles('input[type=file]', { name: input.name, mimeType: 'image/png', buffer: Buffer.from(input.body, 'base64') });
  const [answer] = await Promise.all([page.waitForResponse(r => r.request().method() === 'POST'), page.click('button')]);
  const file = JSON.parse(await page.textContent('body'));
  const opening = page.waitForEvent('download');
  await page.goto(file.public_url).catch(() => {});
  const download = await opening;
  const bytes = require('fs').readFileSync(await download.path());
  const hash = require('crypto').createHash('sha256').update(bytes).digest('hex');
  await context.clearCookies();
  const signedOut = await page.goto(file.public_url);
  return { status: answer.status(), file, suggested: download.suggestedFilename(), hash, signedOut: signedOut.status() };
";

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_html_form_uploads_with_the_development_tokens_cookie_and_the_file_downloads_under_its_name()
 {
    let stand = Stand::development().await;
    let service = stand.anonymous().url("");
    let page = serve(format!(
        "<script>document.cookie = 'token={}; path=/; SameSite=Lax';</script>\
         <form action='{service}/files' method='post' enctype='multipart/form-data'>\
         <input type='file' name='file'><button>Upload</button></form>",
        stand.user_token()
    ))
    .await;
    let body = sample(50_000, 1);
    let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &body);
    let input = json!({"page": page, "name": "Отчёт \u{1F4CE} 1.png", "body": encoded});
    let output = browser::run(SCRIPT, &input).await;
    assert_eq!(output["status"], 201);
    assert_eq!(output["file"]["filename"], "Отчёт \u{1F4CE} 1.png");
    assert_eq!(output["suggested"], "Отчёт \u{1F4CE} 1.png");
    assert_eq!(output["hash"], sha256(&body));
    assert_eq!(
        (&output["file"]["user_id"], &output["signedOut"]),
        (&json!(1), &Value::from(401))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documentation_opens_in_a_browser_and_asks_nobody_else() {
    let stand = Stand::development().await;
    let script = "
      const asked = [], broken = [];
      page.on('request', r => asked.push(new URL(r.url()).host));
      page.on('console', m => { if (m.type() === 'error') broken.push(m.text()); });
      await page.goto(input.docs);
      await page.waitForSelector('.opblock-summary-path');
      return { asked: [...new Set(asked.filter(Boolean))], broken, shown: await page.locator('.opblock').count() };";
    let docs = stand.anonymous().url("/docs");
    let output = browser::run(script, &json!({"docs": docs})).await;
    assert_eq!(output["asked"], json!([stand.address().to_string()]));
    assert_eq!(
        output["broken"],
        json!([]),
        "nothing is stopped by the content security policy"
    );
    assert!(output["shown"].as_u64().unwrap() >= 20, "{output}");
}
