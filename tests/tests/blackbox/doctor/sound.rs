//! The files that are deployed, as they are: nothing to find.

use cloakroom_tests::{servers::Nginx, service::Setup};

use super::{Make, PAGE, Place, doctor};

const OFFLOAD: [(&str, &str); 1] = [("CLOAKROOM_OFFLOAD", "x-accel")];

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_behind_the_deployed_nginx_are_well_and_nothing_is_left() {
    let make = Make {
        replicas: 2,
        ..Make::default()
    };
    let place = Place::start(Setup::PostgresGarage, make).await;
    let _nginx = place.nginx().start().await;
    place.look("").await.assert_well(&["http2", "hook"]);
    place.assert_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_and_http_2_all_is_well() {
    let make = Make {
        tls: true,
        replicas: 2,
        ..Make::default()
    };
    let place = Place::start(Setup::PostgresFs, make).await;
    let nginx = place.nginx().start().await;
    let seen = place.look_through(Some(&nginx), "").await;
    seen.assert_well(&["hook"]);
    let over = |check: &str| seen.found(check, "ok")[0].0.clone();
    assert!(over("resume-tus").contains("HTTP/1.1"), "{seen:#?}");
    assert!(over("resume-draft").contains("HTTP/2"), "{seen:#?}");
    assert_eq!(nginx.temporary_bytes(), 0);
    place.assert_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_bytes_sent_by_nginx_from_a_folder_and_from_s3_all_is_well() {
    for setup in [Setup::SqliteFs, Setup::SqliteGarage] {
        let make = Make {
            settings: &OFFLOAD,
            ..Make::default()
        };
        let place = Place::start(setup, make).await;
        let nginx = place.offloading(setup).start().await;
        place.look("").await.assert_well(&["http2", "hook"]);
        assert!(nginx.access_log().contains("/files/"));
        place.assert_clean().await;
    }
}

const BELOW: &str = "{upstream}
server {
    listen {listen};
    location / { return 200 application; }

    set $cloakroom_offload \"\";
    large_client_header_buffers 4 16k;
    location ^~ /attachments/ { proxy_pass http://cloakroom/; include cloakroom/proxy.conf; }
}
";

#[tokio::test(flavor = "multi_thread")]
async fn below_a_prefix_that_the_proxy_takes_away_all_is_well() {
    let port = cloakroom_tests::process::free_port();
    let url = format!("http://127.0.0.1:{port}/attachments");
    let make = Make {
        settings: &[("CLOAKROOM_MOUNT", "/"), ("CLOAKROOM_PUBLIC_URL", &url)],
        ..Make::default()
    };
    let place = Place::start(Setup::SqliteFs, make).await;
    let addresses = [place.service().address()];
    let nginx = Nginx::before(addresses).site(BELOW).port(port);
    let _nginx = nginx.start().await;
    let seen = doctor(&url, &place.token, None, &["--origin", PAGE]).await;
    seen.assert_well(&["http2", "hook"]);
    place.assert_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admins_token_looks_too_for_an_account_that_is_named() {
    let place = Place::simple().await;
    let _nginx = place.nginx().start().await;
    let admin = place.service().admin_token();
    let seen = doctor(&place.url(), &admin, None, &[]).await;
    assert_eq!(seen.code, 2, "{seen:#?}");
    let lines = seen.found("store", "could_not_look");
    assert_eq!(lines[0].1, "--account ID", "{seen:#?}");
    let seen = doctor(&place.url(), &admin, None, &["--account", "1"]).await;
    seen.assert_well(&["http2", "cors"]);
    place.assert_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_takes_small_files_only_is_looked_at_with_small_ones() {
    for limit in ["2000000", "1000", "1"] {
        let make = Make {
            settings: &[("CLOAKROOM_MAX_FILE_SIZE", limit)],
            ..Make::default()
        };
        let place = Place::start(Setup::SqliteFs, make).await;
        let _nginx = place.nginx().start().await;
        let seen = place.look("").await;
        assert_eq!(seen.code, 0, "{limit}: {seen:#?}");
        assert_eq!(seen.count("fault"), 0, "{limit}: {seen:#?}");
        place.assert_clean().await;
    }
}
