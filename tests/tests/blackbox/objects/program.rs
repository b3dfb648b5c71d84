//! A program in Python that knows nothing but the documentation.

use cloakroom_tests::{
    documentation::example,
    process::{Launch, temporary_folder},
    servers::Nginx,
    stand::Stand,
};
use serde_json::Value;

#[tokio::test(flavor = "multi_thread")]
async fn another_service_keeps_its_objects_by_the_examples_of_the_documentation() {
    let stand = Stand::simple().await;
    let nginx = Nginx::before([stand.address()]).start().await;
    // The commands of the story, with the program's name as it is in the path.
    for line in example("objects.md", "A bucket and a token").lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let Some(at) = words.iter().position(|word| word.ends_with("cloakroom")) else {
            continue;
        };
        let arguments: Vec<&str> = words[at + 1..]
            .iter()
            .map(|word| word.trim_end_matches(')'))
            .collect();
        let ran = stand.run(&[&arguments[..], &["--json"]].concat()).await;
        assert_eq!(ran.code, 0, "{line}: {}", ran.stderr);
        let told: Value = serde_json::from_str(&ran.stdout).unwrap();
        if let Some(token) = told["token"].as_str() {
            let folder = temporary_folder();
            let code = format!("{}\n{}", example("objects.md", "In Python"), STORY);
            let launch = Launch::new("python3")
                .args(["-c", &code])
                .bare()
                .env("PYTHONDONTWRITEBYTECODE", "1")
                .env("CLOAKROOM_URL", nginx.base())
                .env("CLOAKROOM_TOKEN", token);
            let mut process = launch
                .folder(folder.path())
                .spawn(&folder.path().join("log"));
            let status = process.wait(std::time::Duration::from_secs(60)).await;
            let output = process.output();
            assert!(status.is_some_and(|status| status.success()), "{output}");
            assert!(output.contains("ALL GOOD"), "{output}");
            return;
        }
    }
    panic!("the documentation makes no token");
}

/// What the service does with the functions of the example.
const STORY: &str = r#"
import threading

objects = Bucket(os.environ["CLOAKROOM_URL"], "invoices", os.environ["CLOAKROOM_TOKEN"])
assert objects.get("2026/none.pdf") is None
keys = ["2026/a b.pdf", "2026/Отчёт №1.pdf", "2026//x", "2026/x/", "2026/100%.txt", "2026/a+b?c#d"]
for key in keys:
    objects.put(key, key.encode(), "application/pdf", {"customer": "7"})
for key in keys:
    body, headers = objects.get(key)
    assert body == key.encode(), key
    assert headers["X-Meta-Customer"] == "7" and headers["Content-Type"] == "application/pdf"
assert sorted(entry["key"] for entry in objects.list("2026/")) == sorted(keys)
assert [entry["key"] for entry in objects.list("2026/a")] == ["2026/a b.pdf", "2026/a+b?c#d"]
assert objects.put("lock", b"me", if_absent=True) and not objects.put("lock", b"you", if_absent=True)

def count():
    for _ in range(5):
        objects.change("counter", lambda body: str(int(body or b"0") + 1).encode())

threads = [threading.Thread(target=count) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
assert objects.get("counter")[0] == b"20", objects.get("counter")
objects.delete("lock")
assert objects.get("lock") is None
print("ALL GOOD")
"#;
