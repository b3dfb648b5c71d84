//! The browser runs a script and hands back what it returns.

use cloakroom_tests::browser;
use serde_json::json;

#[tokio::test]
async fn a_script_in_the_browser_sees_its_input_and_answers_json() {
    let script = "await page.setContent('<h1>' + input.title + '</h1>'); \
                  return { title: await page.textContent('h1'), twice: input.number * 2 };";
    let output = browser::run(script, &json!({"title": "Größe", "number": 21})).await;
    assert_eq!(output, json!({"title": "Größe", "twice": 42}));
}
