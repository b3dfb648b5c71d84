//! The Django project: its own tests, and that it can be started, called and started again.

use std::{fs, path::Path};

use cloakroom_tests::servers::{
    Django, Redis,
    django::{DJANGO_OWN, DJANGO_REDIS},
};
use reqwest::StatusCode;

const SECRET: &str = "a secret of the tests that is long enough";

async fn own_tests_pass(cache: &str) {
    let redis = Redis::start().await;
    let project = Django::over(&redis.url(), SECRET).cache(cache);
    project.run_tests().await;
}

#[tokio::test]
async fn its_own_tests_pass_over_django_redis() {
    own_tests_pass(DJANGO_REDIS).await;
}

#[tokio::test]
async fn its_own_tests_pass_over_djangos_own_redis_cache() {
    own_tests_pass(DJANGO_OWN).await;
}

#[tokio::test]
async fn it_signs_in_and_out_invites_and_keeps_its_data_over_a_restart() {
    let redis = Redis::start().await;
    let mut django = Django::over(&redis.url(), SECRET).start().await;
    let olga = django.sign_in("olga").await;
    let guest = django.invite(&olga.token, "guest", None).await;
    assert_eq!(guest.split('.').count(), 3, "{guest}");
    assert_eq!(django.invite(&olga.token, "public", None).await.len(), 8);
    assert_eq!(django.invite(&olga.token, "embed", None).await.len(), 32);
    let asked = async |django: &Django| {
        let question = django.client(Some(&olga.token));
        let question = question.post("/attachments/check-permission");
        let form = "application/x-www-form-urlencoded";
        let question = question
            .header("Content-Type", form)
            .body("file_id=x&action=read");
        question.send().await.unwrap().status()
    };
    assert_eq!(asked(&django).await, StatusCode::FORBIDDEN);
    django.restart().await;
    assert_eq!(asked(&django).await, StatusCode::FORBIDDEN);
    django.sign_out(&olga).await;
    assert_eq!(asked(&django).await, StatusCode::UNAUTHORIZED);
}

/// The text of a file of the project's.
fn source(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn what_the_documentation_shows_is_taken_from_the_project() {
    let document = source("../docs/django.md");
    // Where a snippet is from stands before it, in the link's target.
    let (mut from, mut shown) = (None, 0);
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        if let Some((_, file)) = line.split_once("(../tests/django/") {
            from = file
                .strip_suffix(')')
                .map(|file| source(&format!("django/{file}")));
        } else if let "```python" | "```html" = line {
            let snippet: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            let whole = from.as_ref().is_some_and(|text| {
                let text: Vec<&str> = text.lines().collect();
                text.windows(snippet.len()).any(|part| part == snippet)
            });
            assert!(
                whole,
                "not in the file named before it:\n{}",
                snippet.join("\n")
            );
            shown += 1;
        }
    }
    assert!(shown >= 10, "only {shown} snippets");
}
