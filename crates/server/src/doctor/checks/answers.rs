//! What an answer that nobody hoped for means: who gave it, why, and what mends it.

use crate::doctor::{
    exchange::{Answer, Trouble},
    finding::Finding,
};

/// The detail of the answer that `nginx/cloakroom.conf` gives by itself.
const NO_REPLICA: &str = "no replica of the service answers";

/// Where a public address belongs that the other side names.
pub(crate) fn moved(answer: &Answer, asked: &str) -> Finding {
    let to = answer.header("location").unwrap_or("elsewhere");
    let what =
        format!("{asked} sends clients on to {to}: the address is not the one that is served");
    let base = to.split('?').next().unwrap_or(to).trim_end_matches('/');
    Finding::fault(what).setting(format!("CLOAKROOM_PUBLIC_URL={base}"))
}

/// What an answer means where another was due. `what` is what was tried.
pub(crate) fn unexpected(what: &str, answer: &Answer) -> Finding {
    let status = answer.status.as_u16();
    match answer.problem() {
        Some((code, detail)) => by_the_service(what, status, &code, &detail),
        None => by_the_proxy(what, answer),
    }
}

fn by_the_service(what: &str, status: u16, code: &str, detail: &str) -> Finding {
    let said = format!("{what}: the service answers {status} {code}: {detail}");
    match (status, code) {
        _ if detail == NO_REPLICA => no_replica(what, status),
        (429, _) => Finding::unknown(format!(
            "{said}; this token has used up its rate limit, so look again later"
        )),
        (401, _) => Finding::fault(format!("{said}: Authorization did not arrive"))
            .nginx("proxy_set_header Authorization $http_authorization;"),
        (405, _) => Finding::fault(format!("{said}: the method arrived as another"))
            .nginx("proxy_method and proxy_cache_convert_head: take them out of the location"),
        (413, _) => Finding::fault(said).setting("CLOAKROOM_MAX_FILE_SIZE=…"),
        (500..=599, _) => Finding::unknown(format!("{said}; its log has the reason")),
        _ => Finding::fault(said),
    }
}

fn no_replica(what: &str, status: u16) -> Finding {
    Finding::fault(format!(
        "{what}: {status}, the proxy reaches no replica of the service"
    ))
    .nginx("upstream cloakroom { server 127.0.0.1:8080; }    # where each replica listens")
}

/// An answer that the service did not give.
fn by_the_proxy(what: &str, answer: &Answer) -> Finding {
    let (status, method) = (answer.status.as_u16(), &answer.method);
    let said = format!("{what}: the proxy answers {status}");
    match status {
        300..=399 => moved(answer, what),
        401 => Finding::fault(format!("{said}, which wants a password of its own"))
            .nginx("auth_basic off;"),
        400 | 414 | 431 | 494 => Finding::fault(said).nginx("large_client_header_buffers 4 16k;"),
        403 | 405 | 501 => Finding::fault(format!("{said}, which refuses {method}")).nginx(format!(
            "limit_except, or `if ($request_method …)`: let {method} pass, or take it out of the location"
        )),
        404 => Finding::fault(said)
            .nginx("location ^~ /files { proxy_pass http://cloakroom; include cloakroom/proxy.conf; }"),
        408 => Finding::fault(said).nginx("client_body_timeout 30s;"),
        411 => Finding::fault(said).nginx("proxy_http_version 1.1;"),
        413 => Finding::fault(format!("{said}: it takes no body of this size"))
            .nginx("client_max_body_size 0;"),
        502 | 503 => no_replica(what, status),
        504 => Finding::fault(said).nginx("proxy_read_timeout 90s;"),
        _ => Finding::fault(said),
    }
}

/// What it means that there was no answer.
pub(crate) fn silence(what: &str, trouble: &Trouble) -> Finding {
    match trouble {
        Trouble::TimedOut => Finding::fault(format!("{what}: no answer in time"))
            .nginx("proxy_read_timeout 90s; proxy_send_timeout 90s;"),
        other => Finding::fault(format!("{what}: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use reqwest::{Method, StatusCode, Version, header::HeaderMap};

    use super::*;
    use crate::doctor::finding::Level;

    fn answer(status: u16, body: &'static str) -> Answer {
        Answer {
            method: Method::PATCH,
            status: StatusCode::from_u16(status).unwrap(),
            version: Version::HTTP_11,
            headers: HeaderMap::new(),
            body: Bytes::from_static(body.as_bytes()),
        }
    }

    #[test]
    fn a_refusal_is_the_proxys_unless_it_is_a_problem_with_a_code() {
        for (status, line) in [
            (413, "client_max_body_size 0;"),
            (403, "limit_except"),
            (502, "upstream cloakroom"),
            (504, "proxy_read_timeout"),
            (401, "auth_basic off;"),
        ] {
            let found = unexpected("it", &answer(status, "<html>"));
            assert_eq!(found.level, Level::Fault);
            assert!(found.mend.unwrap().line.contains(line), "{status}");
        }
        let busy = r#"{"code":"DB_001","detail":"the database does not answer"}"#;
        let found = unexpected("it", &answer(503, busy));
        assert_eq!((found.level, found.mend), (Level::CouldNotLook, None));
        let ours = r#"{"code":"FILE_003","detail":"larger than 10 bytes"}"#;
        let found = unexpected("it", &answer(413, ours));
        assert!(
            found
                .mend
                .unwrap()
                .line
                .starts_with("CLOAKROOM_MAX_FILE_SIZE")
        );
        let nginx = r#"{"code":"INFRA_001","detail":"no replica of the service answers"}"#;
        let found = unexpected("it", &answer(503, nginx));
        assert!(found.mend.unwrap().line.contains("upstream"));
    }
}
