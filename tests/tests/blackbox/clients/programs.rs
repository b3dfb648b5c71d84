//! Programs that upload: Python's tuspy, and curl over HTTP/2.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use cloakroom_tests::{
    client::Repeated,
    front::{Door, Front},
    process::{Launch, temporary_folder},
    servers::installed,
    service::Setup,
    trouble,
};
use sha2::{Digest, Sha256};

use super::{NAME, PATIENCE};

/// Runs a program to its end and answers what it printed.
async fn run(launch: Launch, folder: &Path) -> String {
    let mut process = launch.folder(folder).spawn(&folder.join("log"));
    let status = process.wait(PATIENCE).await;
    let output = process.output();
    assert!(
        status.is_some_and(|it| it.success()),
        "{status:?}\n{output}"
    );
    output
}

/// The folder of tuspy and what it stands on.
fn tuspy() -> PathBuf {
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("tuspy.txt");
    let hash = hex::encode(Sha256::digest(fs::read(list).unwrap()));
    installed(&format!("tuspy-{}", &hash[..16]))
}

#[tokio::test(flavor = "multi_thread")]
async fn tuspy_goes_on_by_the_uploads_url_in_another_process_through_6_cuts_with_checksums() {
    let front = Front::start(Setup::PostgresGarage, Door::Programs).await;
    let folder = temporary_folder();
    let body = Repeated::new(10, 100_000_000);
    let path = folder.path().join("body");
    fs::write(&path, body.bytes()).unwrap();
    let code = front.example("tuspy");
    let python = |call: String| {
        let code = format!("{code}\nprint('URL', {call})");
        Launch::new("python3")
            .args(["-c", &code])
            .bare()
            .env("PYTHONPATH", tuspy())
            .env("PYTHONDONTWRITEBYTECODE", "1")
    };
    let (path, token) = (path.display(), front.token());
    let url_in = |output: String| {
        let line = output.lines().find_map(|line| line.strip_prefix("URL "));
        line.unwrap_or_else(|| panic!("{output}")).to_owned()
    };
    let uploading = async {
        let call = format!("upload('{path}', '{NAME}', '{token}', stop_at=60_000_000)");
        let url = url_in(run(python(call), folder.path()).await);
        let api = front.user(0);
        let id = url.rsplit('/').next().unwrap();
        let head = api
            .call(reqwest::Method::HEAD, &format!("/files/uploads/{id}"))
            .header("Tus-Resumable", "1.0.0");
        let head = head.send().await.unwrap();
        assert_eq!(head.headers()["upload-offset"], "60000000");
        let call = format!("upload('{path}', '{NAME}', '{token}', url='{url}')");
        url_in(run(python(call), folder.path()).await)
    };
    let cutting = trouble::cut(&front.line, body.size, 6, 12);
    let (url, cuts) = tokio::join!(uploading, cutting);
    println!("cut at {cuts:?}, {} bytes sent", front.line.sent());
    let file = front.assert_file(0, &url, body).await;
    assert_eq!(file["filename"], NAME);
    assert_eq!(file["content_type"], "text/plain");
    front.assert_only(1, 1).await;
}

fn bash(front: &Front, script: &str) -> Launch {
    Launch::new("bash")
        .args(["-c", script])
        .bare()
        .env("CURL_CA_BUNDLE", front.nginx.certificate())
        .env("TOKEN", front.token())
        .env("FILES", front.files())
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_speaks_the_ietf_draft_over_http_2_through_4_cuts() {
    for setup in [Setup::PostgresFs, Setup::PostgresGarage] {
        let front = Front::start(setup, Door::Tls).await;
        let folder = temporary_folder();
        let body = Repeated::new(11, 60_000_000);
        fs::write(folder.path().join("body"), body.bytes()).unwrap();
        let script = format!("{}\nupload body '{NAME}' \"$TOKEN\"", front.example("curl"));
        let uploading = run(bash(&front, &script), folder.path());
        let cutting = trouble::cut(&front.line, body.size, 4, 13);
        let (output, cuts) = tokio::join!(uploading, cutting);
        println!(
            "cut at {cuts:?}, {} bytes sent\n{}",
            front.line.sent(),
            front.nginx.access_log()
        );
        let file: serde_json::Value = serde_json::from_str(&output).unwrap();
        assert_eq!(file["filename"], NAME);
        let log = front.nginx.access_log();
        let patches = log.lines().filter(|line| line.contains("\"PATCH "));
        assert!(patches.clone().count() >= 5, "{log}");
        assert!(
            patches.clone().all(|line| line.contains("HTTP/2.0")),
            "{log}"
        );
        front
            .assert_file(0, file["public_url"].as_str().unwrap(), body)
            .await;
        front.assert_only(1, 1).await;
    }
}

const TUS_BY_CURL: &str = r#"
set -euo pipefail
tus() { curl --silent --show-error --header "Authorization: Bearer $TOKEN" --header 'Tus-Resumable: 1.0.0' "$@"; }
url=$(tus --request POST --header "Upload-Length: $(stat --format %s body)" --header "Upload-Metadata: filename $(printf a.bin | base64)" \
  --output /dev/null --write-out '%header{location}' "$FILES")
while
  offset=$(tus --head --output /dev/null --write-out '%header{upload-offset}' "$url") || offset=
  [[ $offset != $(stat --format %s body) ]]
do
  if [[ -n $offset ]]; then
    tail --bytes "+$((offset + 1))" body | tus --request PATCH --header 'Content-Type: application/offset+octet-stream' \
      --header "Upload-Offset: $offset" --data-binary @- --write-out 'PATCH %{http_version} %{response_code}\n' "$url" || true
  fi
  sleep 0.3
done
echo "URL $url"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn tus_goes_through_http_2_and_3_cuts() {
    let front = Front::start(Setup::PostgresGarage, Door::Tls).await;
    let folder = temporary_folder();
    let body = Repeated::new(12, 60_000_000);
    fs::write(folder.path().join("body"), body.bytes()).unwrap();
    let uploading = run(bash(&front, TUS_BY_CURL), folder.path());
    let cutting = tokio::time::timeout(
        Duration::from_secs(60),
        trouble::cut(&front.line, body.size, 3, 14),
    );
    let (output, cuts) = tokio::join!(uploading, cutting);
    println!("cut at {:?}\n{output}", cuts.unwrap());
    assert!(output.contains("PATCH 2 204"), "{output}");
    let url = output.lines().find_map(|line| line.strip_prefix("URL "));
    front.assert_file(0, url.unwrap(), body).await;
    front.assert_only(1, 1).await;
}
