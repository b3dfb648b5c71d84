//! How a look behaves: what it says, what it keeps to itself, and that it removes what it made however it ends.

use std::{fs, time::Duration};

use cloakroom_tests::{
    client::expect,
    hook::HookServer,
    line::Line,
    process::{eventually, temporary_folder},
    service::Setup,
};
use reqwest::StatusCode;
use rustix::process::Signal;

use super::{Make, PATIENCE, Place, doctor, launch};

#[tokio::test(flavor = "multi_thread")]
async fn a_look_that_is_interrupted_removes_what_it_made_and_says_that_it_did_not_see_it_all() {
    let place = Place::simple().await;
    let nginx = place.nginx().start().await;
    // So that it is still at it.
    let line = Line::long(nginx.address(), Duration::from_millis(100)).await;
    let url = format!("http://{}/files", line.address());
    let folder = temporary_folder();
    let (token, log) = (folder.path().join("token"), folder.path().join("log"));
    fs::write(&token, &place.token).unwrap();
    for signal in [Signal::INT, Signal::TERM] {
        let mut process = launch(&url, &token, None, &[]).spawn(&log);
        let api = nginx.client().with(Some(&place.token));
        eventually("it has stored a file", PATIENCE, async || {
            let page = api.get("/files").send().await.unwrap();
            let page = expect(page, StatusCode::OK).await;
            !page["items"].as_array().unwrap().is_empty()
        })
        .await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        let status = process.stop(signal, Duration::from_secs(30)).await;
        assert_eq!(status.code(), Some(2), "{}", process.output());
        assert!(
            process.output().contains("interrupted"),
            "{}",
            process.output()
        );
        place.assert_clean().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_that_takes_too_long_ends_in_time_and_leaves_nothing() {
    let place = Place::simple().await;
    let nginx = place.nginx().start().await;
    let line = Line::long(nginx.address(), Duration::from_millis(100)).await;
    let url = format!("http://{}/files", line.address());
    let seen = doctor(&url, &place.token, None, &["--timeout", "4s"]).await;
    assert_eq!(seen.code, 2, "{seen:#?}");
    assert!(
        seen.count("ok") > 0 && seen.count("could_not_look") > 5,
        "{seen:#?}"
    );
    place.assert_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_says_nothing_holds_up_nobody_for_ever() {
    let place = Place::simple().await;
    let nginx = place.nginx().start().await;
    nginx.pause();
    let seen = place.look("").await;
    nginx.resume();
    assert_eq!(seen.code, 2, "{seen:#?}");
    assert_eq!(seen.count("ok"), 0, "{seen:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_what_needs_none_is_looked_at_and_a_refused_one_is_named() {
    let place = Place::simple().await;
    let _nginx = place.nginx().start().await;
    let seen = doctor(&place.url(), "ckr_nobody", None, &[]).await;
    seen.assert_only_fault(
        "token",
        "proxy_set_header Authorization $http_authorization;",
    );
    assert!(seen.count("ok") >= 3, "{seen:#?}");
    // Beside the service, by its configuration.
    let ran = place.service().run(&["doctor", "--json"]).await;
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    let document: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(document["url"], place.url());
    assert!(
        document["summary"]["ok"].as_u64().unwrap() >= 3,
        "{document}"
    );
    place.assert_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn people_are_told_in_lines_and_never_the_token() {
    let place = Place::simple().await;
    let nginx = place.nginx();
    let nginx = nginx.changed(
        "proxy.conf",
        "client_max_body_size 0;",
        "client_max_body_size 4m;",
    );
    let _nginx = nginx.start().await;
    let folder = temporary_folder();
    let (token, log) = (folder.path().join("token"), folder.path().join("log"));
    fs::write(&token, &place.token).unwrap();
    let mut process = launch(&place.url(), &token, None, &["--only", "large"]).spawn(&log);
    let arguments = fs::read_to_string(format!("/proc/{}/cmdline", process.id())).unwrap();
    assert!(!arguments.contains(&place.token));
    assert_eq!(process.wait(PATIENCE).await.unwrap().code(), Some(1));
    let said = process.output();
    println!("{said}");
    assert!(said.contains("-> nginx: client_max_body_size 0;"), "{said}");
    assert!(
        said.contains("FAULT") && said.contains("3 faults"),
        "{said}"
    );
    assert!(!said.contains(&place.token));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_refused_before_anything_is_asked() {
    let place = Place::simple().await;
    for (arguments, complaint) in [
        (
            vec!["doctor", "--only", "everything"],
            "there is no check everything",
        ),
        (vec!["doctor", "--url", "ftp://x"], "http:// or https://"),
        (vec!["doctor", "--large", "1"], "a size from 1MiB to 1GiB"),
        (vec!["doctor", "--token-file", "/nowhere"], "cannot be read"),
    ] {
        let ran = place.service().run(&arguments).await;
        assert_eq!(ran.code, 2, "{arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(complaint), "{}", ran.stderr);
        assert_eq!(ran.stdout, "", "{arguments:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_goes_to_no_other_address_than_the_one_that_it_was_given_for() {
    let place = Place::simple().await;
    let elsewhere = HookServer::start().await;
    let host = elsewhere
        .url()
        .replace("/attachments/check-permission/", "");
    let line = format!("gzip off;\ncharset off;\nproxy_redirect ~/files(.*)$ {host}/files$1;\n");
    let nginx = place.nginx();
    let nginx = nginx.changed("proxy.conf", "gzip off;\ncharset off;\n", line);
    let _nginx = nginx.start().await;
    let seen = place.look("").await;
    seen.assert_only_fault("addresses", "proxy_redirect off;");
    let told = &seen.found("addresses", "fault")[0].0;
    assert!(told.contains(&host), "{seen:#?}");
    assert_eq!(elsewhere.connections(), 0);
    place.assert_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_fits_into_a_small_rate_limit_and_says_where_one_is_used_up() {
    for (limit, code) in [("10/60s", 0), ("3/10m", 2)] {
        let make = Make {
            settings: &[
                ("CLOAKROOM_RATE_LIMIT", "on"),
                ("CLOAKROOM_RATE_LIMIT_UPLOAD", limit),
            ],
            ..Make::default()
        };
        let place = Place::start(Setup::SqliteFs, make).await;
        let _nginx = place.nginx().start().await;
        let seen = place.look("").await;
        assert_eq!((seen.code, seen.count("fault")), (code, 0), "{seen:#?}");
        let unseen = seen.found("large", "could_not_look");
        assert_eq!(unseen.is_empty(), code == 0, "{seen:#?}");
        assert!(
            unseen.iter().all(|(what, _)| what.contains("rate limit")),
            "{seen:#?}"
        );
        place.assert_clean().await;
    }
}
