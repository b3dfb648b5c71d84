//! `cloakroom healthcheck`: asks a running service, for Docker and the like.

use std::time::Duration;

use crate::{
    cli::Output,
    config::{Config, within_reach},
    failure::{Failure, with_causes},
    output::{say, say_json},
};

const PATIENCE: Duration = Duration::from_secs(3);

/// Asks `/health/ready`, or `/health/live`.
///
/// # Errors
/// There is no answer within 3 s, or another than 200.
pub(crate) async fn run(config: &Config, live: bool, output: Output) -> Result<(), Failure> {
    let address = within_reach(config.http.listen);
    let what = if live { "live" } else { "ready" };
    let answer = ask(&format!("http://{address}/health/{what}")).await;
    let good = answer.as_ref().is_ok_and(|status| *status == 200);
    if output.json {
        let status = answer.as_ref().ok();
        say_json(&serde_json::json!({ "ok": good, "status": status }))?;
    }
    match answer {
        Ok(_) if good && output.json => Ok(()),
        Ok(_) if good => say(what),
        Ok(status) => Err(Failure::new(format!(
            "{address} is not {what}: it answered {status}"
        ))),
        Err(error) => Err(Failure::new(format!("{address} is not {what}: {error}"))),
    }
}

async fn ask(url: &str) -> Result<u16, String> {
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(PATIENCE)
        .redirect(reqwest::redirect::Policy::none())
        .build();
    let answer = match client {
        Ok(client) => client.get(url).send().await,
        Err(error) => Err(error),
    };
    answer
        .map(|answer| answer.status().as_u16())
        .map_err(|error| with_causes(&error))
}
