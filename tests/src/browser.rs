//! A real browser: Chromium, driven by playwright-core in Node.

use std::{fs, time::Duration};

use serde_json::Value;

use crate::{
    process::{Launch, temporary_folder},
    servers::installed,
};

const PATIENCE: Duration = Duration::from_secs(90);

/// The version of playwright-core that `make test` installs.
pub const PLAYWRIGHT: &str = "playwright-core-1.56.1";

const FRAME: &str = r#"
const { chromium } = require('playwright-core');
(async () => {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
    args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
      '--disable-background-networking',
      '--host-resolver-rules=MAP *.test 127.0.0.1', '--disable-component-update', '--disable-sync'],
  });
  try {
    // Certificates are the tests' own.
    const context = await browser.newContext({ acceptDownloads: true, ignoreHTTPSErrors: true });
    const page = await context.newPage();
    page.setDefaultTimeout(30000);
    const input = JSON.parse(process.env.INPUT);
    const output = await (async () => { SNIPPET })();
    console.log('\nOUTPUT ' + JSON.stringify(output ?? null));
  } finally {
    await browser.close();
  }
})().catch((error) => { console.error(error); process.exit(1); });
"#;

/// Runs a snippet within 90 s; see [`run_within`].
///
/// # Panics
/// As [`run_within`].
pub async fn run(snippet: &str, input: &Value) -> Value {
    run_within(PATIENCE, snippet, input).await
}

/// Runs a snippet of JavaScript, the body of an async function, that finds `browser`, `context`, `page` (of
/// Playwright) and `input`, and answers the JSON of what it returns. Every name in `.test` is this machine.
///
/// # Panics
/// The snippet throws, or takes longer than it may.
pub async fn run_within(patience: Duration, snippet: &str, input: &Value) -> Value {
    let folder = temporary_folder();
    let script = folder.path().join("script.cjs");
    fs::write(&script, FRAME.replace("SNIPPET", snippet)).unwrap();
    let modules = installed(PLAYWRIGHT).join("node_modules");
    let mut node = Launch::new("node")
        .args([&script])
        .bare()
        .env("NODE_PATH", modules)
        .env("INPUT", input.to_string())
        // Without it Chromium gives names outside ASCII up.
        .env("LANG", "C.UTF-8")
        .env("HOME", folder.path())
        .env("TMPDIR", folder.path())
        .folder(folder.path())
        .spawn(&folder.path().join("log"));
    let status = node.wait(patience).await;
    let written = node.output();
    let Some(status) = status else {
        panic!("the browser took longer than {patience:?}:\n{written}");
    };
    assert!(status.success(), "the browser failed, {status}:\n{written}");
    let output = written.lines().find_map(|l| l.strip_prefix("OUTPUT "));
    serde_json::from_str(output.unwrap_or_else(|| panic!("no output:\n{written}"))).unwrap()
}
