//! The application's pages in a real browser: files on another origin of the same site.

use base64::{Engine, engine::general_purpose::STANDARD};
use cloakroom_tests::{
    browser,
    client::sha256,
    servers::django::{DJANGO_REDIS, PASSWORD},
    site::Site,
};
use serde_json::{Value, json};

use super::film;

const NAME: &str = "Отчёт \u{1F4CE} 1.png";

/// A PNG of 16 × 16 dots, as Chromium writes it.
const PICTURE: &str = "iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAYAAAAf8/9hAAAALklEQVR4AeyTsQ0AAAjCCC/5kz95rcYbGFggYWVoKKtnlRJiMgCEQRi8Rv4fHAAAAP//8jNqvAAAAAZJREFUAwA59iMxZX+kfAAAAABJRU5ErkJggg==";

/// Bytes behind the picture's end, which no reader minds, so that an upload takes a while.
const MORE: usize = 1_000_000;

fn picture() -> Vec<u8> {
    STANDARD.decode(PICTURE).unwrap()
}

fn input(site: &Site) -> Value {
    json!({
        "app": site.app("/"), "files": site.files("/files"), "password": PASSWORD,
        "name": NAME, "picture": PICTURE, "more": MORE,
    })
}

/// What scripts share: signing in on the page that is open, a file to choose.
const COMMON: &str = "
  const signIn = async (name) => {
    await page.fill('input[name=username]', name);
    await page.fill('input[name=password]', input.password);
    await Promise.all([page.waitForURL(url => !url.pathname.startsWith('/auth/')), page.click('button')]);
  };
  const buffer = Buffer.concat([Buffer.from(input.picture, 'base64'), Buffer.alloc(input.more, 7)]);
  const chosen = { name: input.name, mimeType: 'image/png', buffer };
";

async fn run(script: &str, input: &Value) -> Value {
    browser::run(&format!("{COMMON}{script}"), input).await
}

const UPLOADS: &str = "
  await page.goto(input.app);
  const asked = page.url();
  await signIn('olga');

  // By XMLHttpRequest, at half a megabyte a second.
  const line = await context.newCDPSession(page);
  await line.send('Network.enable');
  await line.send('Network.emulateNetworkConditions',
    { offline: false, latency: 0, downloadThroughput: -1, uploadThroughput: 512 * 1024 });
  await page.evaluate(() => {
    window.progress = [];
    new MutationObserver(() => window.progress.push(document.getElementById('progress').value))
      .observe(document.getElementById('progress'), { attributes: true });
  });
  await page.setInputFiles('#file', chosen);
  await page.waitForFunction(() => document.querySelector('#uploaded img')?.complete);
  const shown = await page.evaluate(() => ({
    width: document.querySelector('#uploaded img').naturalWidth, progress: window.progress }));
  await line.detach();
  await page.reload();
  const listed = await page.locator('li a').count();

  // By fetch, with the same cookie.
  const fetched = await page.evaluate(async (files) => {
    const form = new FormData();
    form.append('file', new Blob(['text'], { type: 'text/plain' }), 'f.txt');
    const made = await fetch(files, { method: 'POST', body: form, credentials: 'include' });
    const file = await made.json();
    const read = await fetch(file.public_url, { credentials: 'include' });
    return { status: made.status, location: made.headers.get('Location') === file.public_url,
      text: await read.text(), etag: read.headers.get('ETag') };
  }, input.files);

  // By a plain form, and back as a download.
  await page.setInputFiles('form input[type=file]', chosen);
  const [answer] = await Promise.all([
    page.waitForResponse(r => r.request().method() === 'POST' && r.url() === input.files), page.click('text=Upload')]);
  const file = JSON.parse(await page.textContent('body'));
  const opening = page.waitForEvent('download');
  await page.goto(file.public_url).catch(() => {});
  const download = await opening;
  const hash = require('crypto').createHash('sha256')
    .update(require('fs').readFileSync(await download.path())).digest('hex');
  const cookie = (await context.cookies(input.files)).find(c => c.name === 'file_service_auth');
  return { asked, shown, listed, fetched, status: answer.status(), file,
    suggested: download.suggestedFilename(), hash, cookie };
";

#[tokio::test(flavor = "multi_thread")]
async fn a_page_uploads_with_progress_by_fetch_and_by_a_plain_form_and_shows_and_downloads() {
    let site = Site::start(DJANGO_REDIS, &[]).await;
    let seen = run(UPLOADS, &input(&site)).await;
    let uploaded = [picture(), vec![7; MORE]].concat();
    assert_eq!(seen["asked"], site.app("/auth/signin/?redirectUrl=/"));
    assert_eq!(seen["shown"]["width"], 16, "{seen}");
    let progress: Vec<f64> = serde_json::from_value(seen["shown"]["progress"].clone()).unwrap();
    assert!(progress.len() > 1 && progress.is_sorted(), "{progress:?}");
    assert!(progress.last() == Some(&1.0), "{progress:?}");
    assert_eq!(seen["listed"], 1, "it is registered");
    assert_eq!(
        (&seen["fetched"]["status"], &seen["fetched"]["text"]),
        (&json!(201), &json!("text"))
    );
    assert_eq!(
        seen["fetched"]["location"], true,
        "headers are exposed: {seen}"
    );
    assert!(seen["fetched"]["etag"].is_string(), "{seen}");
    assert_eq!(seen["status"], 201);
    assert_eq!(
        (&seen["file"]["user_id"], &seen["file"]["account_id"]),
        (&json!(3685), &json!(1688))
    );
    assert_eq!(
        (&seen["file"]["filename"], &seen["suggested"]),
        (&json!(NAME), &json!(NAME))
    );
    assert_eq!(seen["hash"], sha256(&uploaded));
    let cookie = &seen["cookie"];
    assert_eq!(
        (&cookie["httpOnly"], &cookie["sameSite"]),
        (&json!(true), &json!("Lax"))
    );
}

const FILM: &str = "
  const ranges = [];
  page.on('response', (r) => {
    if (r.url() === input.film) ranges.push(r.request().allHeaders().then((sent) => [sent.range, r.status()]));
  });
  await page.goto(input.app);
  await signIn('olga');
  await page.evaluate((film) => {
    const video = document.createElement('video');
    video.muted = true;
    video.src = film;
    document.body.append(video);
  }, input.film);
  await page.waitForFunction(() => document.querySelector('video').readyState >= 2, null, { timeout: 20000 })
    .catch(async () => { throw new Error(await page.evaluate(() => document.querySelector('video').error?.message)); });
  const before = ranges.length;
  const seen = await page.evaluate(() => new Promise((resolve) => {
    const video = document.querySelector('video');
    video.onseeked = () => resolve({ at: video.currentTime, duration: video.duration, width: video.videoWidth });
    video.currentTime = 50.5;
  }));
  // What is answered from here on would be asked about beyond the browser's end.
  page.removeAllListeners('response');
  return { ...seen, ranges: await Promise.all(ranges), before };
";

#[tokio::test(flavor = "multi_thread")]
async fn a_film_is_sought_in_by_ranges() {
    let site = Site::start(DJANGO_REDIS, &[]).await;
    let olga = site.django.sign_in("olga").await;
    let film = film::webm();
    let size = film.len() as u64;
    let id = site.upload(&olga, "film.webm", film).await;
    let mut input = input(&site);
    input["film"] = site
        .files(&format!("/files/{id}?disposition=inline"))
        .into();
    let seen = run(FILM, &input).await;
    println!(
        "ranges asked for: {}, the first {} before the jump",
        seen["ranges"], seen["before"]
    );
    assert_eq!(
        (&seen["at"], &seen["duration"], &seen["width"]),
        (&json!(50.5), &json!(film::SECONDS), &json!(16)),
        "{seen}"
    );
    let ranges: Vec<(String, u16)> = serde_json::from_value(seen["ranges"].clone()).unwrap();
    let before = seen["before"].as_u64().unwrap() as usize;
    let jumped = ranges[before..].iter().any(|(range, status)| {
        let start = range
            .strip_prefix("bytes=")
            .and_then(|r| r.split('-').next());
        let start: u64 = start.and_then(|s| s.parse().ok()).unwrap_or_default();
        *status == 206 && start > size / 2
    });
    assert!(jumped, "no range near the place sought: {ranges:?}");
}

const REDIRECTS: &str = "
  await page.goto(input.file);
  const asked = page.url();
  await signIn('olga');
  const arrived = page.url();
  const width = await page.evaluate(() => document.images[0]?.naturalWidth);

  await page.goto(input.app);
  await page.click('text=Sign out');
  await page.waitForURL('**/auth/signin/**');
  await page.goto(input.file);
  const again = page.url();
  await signIn('carla');
  return { asked, arrived, width, again, refused: page.url() };
";

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_without_a_sign_in_is_sent_there_and_back_and_one_that_may_not_to_the_error_page()
{
    let site = Site::start(DJANGO_REDIS, &[]).await;
    let olga = site.django.sign_in("olga").await;
    let client = site.client().with(Some(&olga.token));
    let uploaded = client.upload(NAME, "image/png", picture()).await;
    let uploaded: Value = uploaded.json::<Value>().await.unwrap();
    let file = format!(
        "{}?disposition=inline",
        uploaded["public_url"].as_str().unwrap()
    );
    let mut input = input(&site);
    input["file"] = file.clone().into();
    let seen = run(REDIRECTS, &input).await;
    let sign_in = site.app("/auth/signin/?redirectUrl=http%3A%2F%2Ffiles.cloakroom.test%3A");
    for page in ["asked", "again"] {
        assert!(seen[page].as_str().unwrap().starts_with(&sign_in), "{seen}");
    }
    assert_eq!(
        (&seen["arrived"], &seen["width"]),
        (&json!(file), &json!(16))
    );
    assert_eq!(seen["refused"], site.app("/error/"));
}
