//! Removing what a look made: uploads are ended, files purged, and what came to be unseen is found by its name.

use std::time::Duration;

use reqwest::Method;

use super::deployment::{Deployment, Http};

/// How long what is on its way may take to end.
const ENDING: Duration = Duration::from_secs(4);
/// How long a request may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long all of it may take.
const WHOLE: Duration = Duration::from_secs(15);
const TUS: [(&str, &str); 1] = [("tus-resumable", "1.0.0")];

/// Removes everything that was made, within 15 s. What is left, each in a line.
pub(crate) async fn clean(deployment: &Deployment) -> Vec<String> {
    let removing = tokio::time::timeout(WHOLE, remove(deployment));
    removing.await.unwrap_or_else(|_| {
        let files = deployment.made.files().into_iter();
        let left = files.map(|id| format!("perhaps the file {id}: removing it took too long"));
        left.collect()
    })
}

async fn remove(deployment: &Deployment) -> Vec<String> {
    let made = &deployment.made;
    deployment.stop();
    made.making.close();
    // What does not end is found by its name, or ends by itself.
    let _ = tokio::time::timeout(ENDING, made.making.wait()).await;
    for id in made.uploads() {
        end(deployment, &id).await;
    }
    if deployment.facts.is_admitted() {
        find(deployment).await;
    }
    let mut left = Vec::new();
    for id in made.files() {
        if let Err(why) = purge(deployment, &id).await {
            left.push(format!("the file {id}: {why}"));
        }
    }
    match made.without_a_name() {
        0 => {}
        count => left.push(format!(
            "{count} whose address did not come back; unfinished uploads expire by themselves"
        )),
    }
    left
}

/// Ends an upload, finished or not. What a refusal means shows when its file is purged.
async fn end(deployment: &Deployment, id: &str) {
    let url = deployment.upload_url(id);
    let delete = deployment.call(Http::Best, Method::DELETE, &url);
    let ended = deployment.send(delete.header(TUS[0].0, TUS[0].1), PATIENCE);
    if ended
        .await
        .is_ok_and(|answer| answer.problem().is_some() || answer.is(204))
    {
        return;
    }
    // A proxy that lets no DELETE pass may let this.
    let instead = deployment
        .call(Http::Best, Method::POST, &url)
        .header(TUS[0].0, TUS[0].1)
        .header("x-http-method-override", "DELETE");
    let _ = deployment.send(instead, PATIENCE).await;
}

/// Finds files of this look whose answers were lost.
async fn find(deployment: &Deployment) {
    let url = format!(
        "{}?limit=100&name={}",
        deployment.collection(),
        deployment.made.prefix
    );
    let Ok(answer) = deployment.send(deployment.get(&url), PATIENCE).await else {
        return;
    };
    let page = answer.json().unwrap_or_default();
    for item in page["items"].as_array().into_iter().flatten() {
        let named_by_us = item["filename"]
            .as_str()
            .is_some_and(|name| name.starts_with(&deployment.made.prefix));
        if let Some(id) = item["file_id"].as_str().filter(|_| named_by_us) {
            deployment.made.file(id.to_owned());
        }
    }
}

async fn purge(deployment: &Deployment, id: &str) -> Result<(), String> {
    let url = format!("{}?purge=true", deployment.file_url(id));
    let mut why = String::new();
    for _ in 0..2 {
        let delete = deployment.call(Http::Best, Method::DELETE, &url);
        match deployment.send(delete, PATIENCE).await {
            Ok(answer) if answer.status.is_success() => return Ok(()),
            // An upload that never became a file.
            Ok(answer) if answer.is(404) && answer.problem().is_some() => return Ok(()),
            Ok(answer) => why = format!("DELETE is answered {}", answer.status),
            Err(trouble) => why = trouble.to_string(),
        }
    }
    Err(why)
}
