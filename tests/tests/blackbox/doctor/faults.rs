//! The files that are deployed with one fault in each: it is named, with the line that mends it.

use cloakroom_tests::service::Setup;
use futures_util::future::join_all;

use super::{Make, Place, Seen};

/// The last lines of `proxy.conf`, after which an operator might add some.
const END: &str = "gzip off;\ncharset off;\n";

/// Looks at a deployment with that change in one of its files.
async fn changed(file: &'static str, from: &'static str, to: &str, only: &str) -> Seen {
    let place = Place::simple().await;
    let _nginx = place.nginx().changed(file, from, to).start().await;
    place.look(only).await
}

/// Looks at a deployment with those lines at the end of `proxy.conf`.
async fn with_lines(lines: &str, only: &str) -> Seen {
    changed("proxy.conf", END, &format!("{END}{lines}\n"), only).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_collects_bodies_is_named_by_both_protocols() {
    let place = Place::simple().await;
    let nginx = place.nginx();
    let on = "proxy_request_buffering on;";
    let nginx = nginx.changed("proxy.conf", "proxy_request_buffering off;", on);
    let _nginx = nginx.start().await;
    let seen = place.look("").await;
    for check in ["resume-tus", "resume-draft"] {
        seen.assert_fault(check, "proxy_request_buffering off;");
    }
    assert_eq!(seen.count("fault"), 2, "{seen:#?}");
    place.assert_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_body_size_is_named_also_where_only_the_largest_files_meet_it() {
    for size in ["1m", "10m", "50m"] {
        let place = Place::simple().await;
        let to = format!("client_max_body_size {size};");
        let nginx = place.nginx();
        let nginx = nginx.changed("proxy.conf", "client_max_body_size 0;", to);
        let _nginx = nginx.start().await;
        let seen = place.look("large").await;
        seen.assert_fault("large", "client_max_body_size 0;");
        place.assert_clean().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_headers_of_answers_are_named_each() {
    for (header, check) in [
        ("ETag", "headers"),
        ("Content-Disposition", "headers"),
        ("Repr-Digest", "headers"),
        ("X-Content-Type-Options", "headers"),
        ("Content-Security-Policy", "headers"),
        ("X-Request-Id", "headers"),
        ("Content-Range", "ranges"),
    ] {
        let seen = with_lines(&format!("proxy_hide_header {header};"), check).await;
        seen.assert_only_fault(check, &format!("proxy_pass_header {header};"));
    }
    for check in ["resume-tus", "resume-draft"] {
        let seen = with_lines("proxy_hide_header Upload-Offset;", check).await;
        seen.assert_only_fault(check, "proxy_pass_header Upload-Offset;");
        let seen = with_lines("proxy_hide_header Location;", check).await;
        seen.assert_fault(check, "proxy_pass_header Location;");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_headers_of_requests_are_named_each() {
    for (header, check) in [
        ("Range", "ranges"),
        ("If-None-Match", "conditions"),
        ("If-Match", "conditions"),
        ("If-Range", "conditions"),
        ("Tus-Resumable", "resume-tus"),
        ("Upload-Length", "resume-tus"),
        ("X-HTTP-Method-Override", "resume-tus"),
        ("Upload-Complete", "resume-draft"),
        ("Authorization", "token"),
    ] {
        let seen = with_lines(&format!("proxy_set_header {header} \"\";"), check).await;
        seen.assert_only_fault(check, &format!("proxy_set_header {header} $http_"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn methods_that_are_refused_are_named() {
    for (methods, check, method) in [
        ("GET POST PUT DELETE OPTIONS", "resume-tus", "PATCH"),
        ("GET POST PUT DELETE OPTIONS", "resume-draft", "PATCH"),
        ("GET POST PUT PATCH OPTIONS", "resume-tus", "DELETE"),
        ("GET PUT PATCH DELETE OPTIONS", "store", "POST"),
        ("GET POST PUT PATCH DELETE", "reach", "OPTIONS"),
    ] {
        let lines = format!("limit_except {methods} {{ deny all; }}");
        let seen = with_lines(&lines, check).await;
        seen.assert_fault(check, &format!("let {method} pass"));
        // What cannot be removed then is named.
        let left = seen.found("cleanup", "warning");
        assert_eq!(left.is_empty(), method != "DELETE", "{seen:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn compressed_bodies_are_named() {
    let gzip = "gzip on; gzip_types *; gzip_proxied any;\ncharset off;\n";
    let seen = changed("proxy.conf", END, gzip, "encoding").await;
    seen.assert_only_fault("encoding", "gzip off;");
    assert_eq!(seen.found("encoding", "fault").len(), 2, "{seen:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_public_url_is_named_wherever_it_shows() {
    let make = Make {
        settings: &[("CLOAKROOM_PUBLIC_URL", "http://127.0.0.1:8080/files")],
        ..Make::default()
    };
    let place = Place::start(Setup::SqliteFs, make).await;
    let _nginx = place.nginx().start().await;
    let seen = place.look("addresses,resume-tus,resume-draft").await;
    let line = format!("CLOAKROOM_PUBLIC_URL={}", place.url());
    seen.assert_only_fault("addresses", &line);
    assert!(seen.found("addresses", "fault").len() >= 4, "{seen:#?}");
    place.assert_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_the_proxy_changes_is_not_the_services_fault() {
    let seen = with_lines(
        "proxy_redirect ~^(.*)$ http://elsewhere.example$1;",
        "addresses",
    )
    .await;
    seen.assert_only_fault("addresses", "proxy_redirect off;");
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_are_too_large_for_the_proxy_are_named() {
    let from = "large_client_header_buffers 4 16k;";
    let seen = changed(
        "cloakroom.conf",
        from,
        "large_client_header_buffers 4 8k;",
        "head",
    )
    .await;
    seen.assert_only_fault("head", "large_client_header_buffers 4 16k;");
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_come_twice_are_named() {
    let seen = with_lines("add_header X-Content-Type-Options nosniff;", "headers").await;
    seen.assert_only_fault("headers", "add_header X-Content-Type-Options");
    let seen = with_lines("add_header Access-Control-Allow-Origin *;", "cors").await;
    seen.assert_only_fault("cors", "add_header Access-Control-Allow-Origin");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_that_are_not_allowed_are_named() {
    let make = Make {
        settings: &[("CLOAKROOM_ALLOWED_ORIGINS", "https://other.example.com")],
        ..Make::default()
    };
    let place = Place::start(Setup::SqliteFs, make).await;
    let _nginx = place.nginx().start().await;
    let seen = place.look("cors").await;
    seen.assert_only_fault("cors", "CLOAKROOM_ALLOWED_ORIGINS=https://app.example.com");
    let seen = with_lines("proxy_hide_header Access-Control-Expose-Headers;", "cors").await;
    seen.assert_only_fault("cors", "proxy_pass_header Access-Control-Expose-Headers;");
}

const OFFLOAD: [(&str, &str); 1] = [("CLOAKROOM_OFFLOAD", "x-accel")];

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_only_offload_loses_are_named_with_their_line_of_offload() {
    let looks = ["etag", "disposition", "digest"].map(async |name| {
        let make = Make {
            settings: &OFFLOAD,
            ..Make::default()
        };
        let place = Place::start(Setup::SqliteFs, make).await;
        let (header, line) = match name {
            "etag" => ("ETag", "add_header ETag $cloakroom_etag;"),
            "disposition" => (
                "Content-Disposition",
                "add_header Content-Disposition $cloakroom_disposition;",
            ),
            _ => ("Repr-Digest", "add_header Repr-Digest $cloakroom_digest;"),
        };
        let nginx = place.offloading(Setup::SqliteFs);
        let nginx = nginx.changed("offload-headers.conf", line, "");
        let _nginx = nginx.start().await;
        let seen = place.look("headers").await;
        seen.assert_only_fault("headers", line);
        assert!(seen.found("headers", "fault")[0].0.starts_with(header));
    });
    join_all(looks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offer_of_a_client_that_reaches_the_service_is_named() {
    let make = Make {
        settings: &OFFLOAD,
        ..Make::default()
    };
    let place = Place::start(Setup::SqliteFs, make).await;
    let line = "proxy_set_header X-Cloakroom-Offload $cloakroom_offload;";
    let _nginx = place.nginx().changed("proxy.conf", line, "").start().await;
    place
        .look("internal")
        .await
        .assert_only_fault("internal", line);
}

#[tokio::test(flavor = "multi_thread")]
async fn places_that_are_not_internal_are_named() {
    for (from, to) in [
        ("fs/whole/ {\n    internal;", "fs/whole/ {"),
        ("fs/range/ {\n    internal;", "fs/range/ {"),
    ] {
        let make = Make {
            settings: &OFFLOAD,
            ..Make::default()
        };
        let place = Place::start(Setup::SqliteFs, make).await;
        let nginx = place.offloading(Setup::SqliteFs);
        let _nginx = nginx.changed("offload.conf", from, to).start().await;
        let seen = place.look("internal").await;
        seen.assert_only_fault("internal", &format!("_cloakroom/{to} internal;"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_leaves_slow_readers_is_named() {
    let seen = changed(
        "cloakroom.conf",
        "send_timeout 60s;",
        "send_timeout 1s;",
        "large,download",
    )
    .await;
    seen.assert_only_fault("download", "send_timeout 60s;");
}
