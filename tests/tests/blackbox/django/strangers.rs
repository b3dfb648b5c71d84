//! Pages of origins that are allowed, that are not, and of another site altogether, in a browser that is signed in.

use cloakroom_tests::{
    browser,
    inspect::count,
    servers::django::{DJANGO_REDIS, PASSWORD},
    site::{DOMAIN, Site},
};
use serde_json::{Value, json};

use crate::browser::serve;

/// Everything that a page might try with the visitor's cookie.
const TRIES: &str = "
  await page.goto(input.app);
  await page.fill('input[name=username]', 'olga');
  await page.fill('input[name=password]', input.password);
  await Promise.all([page.waitForURL(input.app), page.click('button')]);
  const seen = {};
  for (const origin of input.origins) {
    await page.goto(origin);
    const tried = await page.evaluate(async ({ files, file }) => {
      const status = (request) => request.then((r) => r.status, () => 'kept from the page');
      const form = () => { const f = new FormData(); f.append('file', new Blob(['x']), 'stranger.txt'); return f; };
      const sent = (headers) => new Promise((resolve) => {
        const request = new XMLHttpRequest();
        request.open('POST', files);
        request.withCredentials = true;
        request.upload.onprogress = () => {};
        for (const name of headers) request.setRequestHeader(name, 'x');
        request.onload = () => resolve(request.status);
        request.onerror = () => resolve('kept from the page');
        request.send(form());
      });
      const picture = () => new Promise((resolve) => {
        const image = new Image();
        image.onload = () => resolve(image.naturalWidth);
        image.onerror = () => resolve(0);
        image.src = file + '?disposition=inline';
      });
      return {
        read: await status(fetch(file, { credentials: 'include' })),
        upload: await status(fetch(files, { method: 'POST', body: form(), credentials: 'include' })),
        withProgress: await sent([]),
        withHeader: await sent(['Idempotency-Key']),
        remove: await status(fetch(file + '-not', { method: 'DELETE', credentials: 'include' })),
        picture: await picture(),
      };
    }, input);
    await page.setInputFiles('input[type=file]', { name: 'form.txt', mimeType: 'text/plain', buffer: Buffer.from('x') });
    const [answer] = await Promise.all([
      page.waitForResponse(r => r.request().method() === 'POST'), page.click('button')]);
    seen[new URL(origin).hostname.split('.')[0]] = { ...tried, form: answer.status() };
  }
  return seen;
";

/// A PNG of one dot.
const DOT: [u8; 67] = [
    0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0, 0, 0, 0x0d, 0x49, 0x48, 0x44, 0x52, 0, 0, 0,
    1, 0, 0, 0, 1, 8, 6, 0, 0, 0, 0x1f, 0x15, 0xc4, 0x89, 0, 0, 0, 0x0a, 0x49, 0x44, 0x41, 0x54,
    0x78, 0x9c, 0x63, 0, 1, 0, 0, 5, 0, 1, 0x0d, 0x0a, 0x2d, 0xb4, 0, 0, 0, 0, 0x49, 0x45, 0x4e,
    0x44, 0xae, 0x42, 0x60, 0x82,
];

const KEPT: &str = "kept from the page";

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_an_origin_that_is_not_allowed_can_neither_read_nor_write_with_the_visitors_cookie()
 {
    let (forms, site) = allowing_forms().await;
    let olga = site.django.sign_in("olga").await;
    let client = site.client().with(Some(&olga.token));
    let file = client.upload("dot.png", "image/png", DOT).await;
    let file: Value = file.json::<Value>().await.unwrap();
    let before = files(&site).await;
    let page = |host: &str| format!("http://{host}:{}/#{}", forms.port, site.files("/files"));
    let origins = [
        format!("forms.{DOMAIN}"),
        format!("blog.{DOMAIN}"),
        "evil.test".to_owned(),
    ];
    let seen = browser::run(
        TRIES,
        &json!({
            "app": site.app("/"), "files": site.files("/files"), "password": PASSWORD, "file": file["public_url"],
            "origins": origins.map(|host| page(&host)),
        }),
    )
    .await;
    assert_eq!(
        seen["forms"],
        json!({"read": 200, "upload": 201, "withProgress": 201, "withHeader": 201, "remove": 404, "picture": 1, "form": 201}),
        "an allowed origin"
    );
    assert_eq!(
        seen["blog"],
        json!({"read": KEPT, "upload": KEPT, "withProgress": KEPT, "withHeader": KEPT, "remove": KEPT, "picture": 1, "form": 403}),
        "an origin of the same site that is not allowed: the cookie comes, and is not taken"
    );
    let other_site = &seen["evil"];
    for tried in ["read", "upload", "withProgress", "withHeader", "remove"] {
        assert_eq!(other_site[tried], KEPT, "{tried}: {other_site}");
    }
    assert_eq!(other_site["picture"], 0, "resources are for the same site");
    let form = other_site["form"].as_u64().unwrap();
    assert!([401, 403].contains(&form), "{other_site}");
    assert_eq!(
        files(&site).await,
        before + 4,
        "only the allowed origin stored anything"
    );
}

/// The page of others: one form.
struct Page {
    port: u16,
}

/// A site that allows the origin `forms.cloakroom.test`, where a page with a form is served; so it is under any name.
async fn allowing_forms() -> (Page, Site) {
    // The service must know the page's port and the page the service's, so the page learns it from its address.
    let address = serve(
        "<form method='post' enctype='multipart/form-data'><input type='file' name='file'><button>Send</button></form>\
         <script>document.forms[0].action = decodeURIComponent(location.hash.slice(1));</script>"
            .to_owned(),
    )
    .await;
    let port = address.trim_end_matches('/').rsplit(':').next().unwrap();
    let allowed = format!("http://forms.{DOMAIN}:{port}");
    let site = Site::start(DJANGO_REDIS, &[("CLOAKROOM_ALLOWED_ORIGINS", &allowed)]).await;
    let port = port.parse().unwrap();
    (Page { port }, site)
}

/// How many files there are.
async fn files(site: &Site) -> u64 {
    count(
        site.replicas[0].database_url(),
        "SELECT count(*) FROM files",
    )
    .await
}
