//! The service beside a real Django application, through nginx, with two replicas: who may do what.

mod film;
mod pages;
mod sign_out;
mod strangers;

use cloakroom_tests::{
    client::{expect, file_path, refused},
    servers::django::{DJANGO_OWN, DJANGO_REDIS, Session},
    site::{
        Carrier::{self, Cookie, Header},
        Holder, Site,
    },
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// Users of the project's account 1688 who did not upload the files.
const COLIN: u64 = 3686;
const GINA: u64 = 3688;

const RULES: [&str; 4] = ["account", "restricted", "form", "embed"];

/// Everybody, and which of [`RULES`] let them read.
struct Cast {
    olga: Session,
    others: Vec<(&'static str, Holder, [bool; 4])>,
}

impl Cast {
    async fn of(site: &Site) -> Self {
        let django = &site.django;
        let (olga, otto) = (django.sign_in("olga").await, django.sign_in("otto").await);
        let user = async |name| Holder::User(django.sign_in(name).await.token);
        let guest = async |user| Holder::Guest(django.invite(&olga.token, "guest", user).await);
        let public =
            async |who: &Session, kind| Holder::Public(django.invite(&who.token, kind, None).await);
        let (yes, no) = (true, false);
        let others = vec![
            (
                "a colleague on the list",
                user("colin").await,
                [yes, yes, yes, yes],
            ),
            (
                "a colleague off the list",
                user("carla").await,
                [yes, no, yes, yes],
            ),
            (
                "another account's user",
                Holder::User(otto.token.clone()),
                [no; 4],
            ),
            (
                "a guest on the list",
                guest(Some(GINA)).await,
                [no, yes, no, no],
            ),
            ("a guest", guest(None).await, [no; 4]),
            (
                "a public form's visitor",
                public(&olga, "public").await,
                [no, no, yes, no],
            ),
            (
                "an embedded form's visitor",
                public(&olga, "embed").await,
                [no, no, no, yes],
            ),
            (
                "another account's visitor",
                public(&otto, "public").await,
                [no; 4],
            ),
        ];
        Self { olga, others }
    }
}

/// Olga's files, one by each rule.
async fn files(site: &Site, olga: &Session) -> [String; 4] {
    let mut made = Vec::new();
    for rule in RULES {
        let id = site.upload(olga, &format!("{rule} файл.txt"), rule).await;
        let users: &[u64] = if rule == "restricted" {
            &[COLIN, GINA]
        } else {
            &[]
        };
        site.django.attach(&olga.token, &id, rule, users).await;
        made.push(id);
    }
    made.try_into().unwrap()
}

/// Asks once of each replica, since nginx takes them in turn, and answers the one status that both gave.
async fn status(
    site: &Site,
    who: &Holder,
    carrier: Carrier,
    method: &Method,
    id: &str,
) -> (u16, Value) {
    let mut answers = Vec::new();
    for _ in 0..2 {
        let request = site.client().call(method.clone(), &file_path(id));
        let answer = who.ask(carrier, request).send().await.unwrap();
        let status = answer.status().as_u16();
        let code = if status < 400 {
            Value::Null
        } else {
            expect(answer, StatusCode::from_u16(status).unwrap()).await["code"].clone()
        };
        answers.push((status, code));
    }
    assert_eq!(answers[0], answers[1], "{who:?} {carrier:?} {method} {id}");
    answers.remove(0)
}

/// What everybody may, by header and by cookie.
async fn everybody_may_what_the_rules_say(cache: &str, settings: &[(&str, &str)]) {
    let site = Site::start(cache, settings).await;
    let cast = Cast::of(&site).await;
    let forbidden = (403, json!("FILE_002"));
    for carrier in [Header, Cookie] {
        let files = files(&site, &cast.olga).await;
        for (name, who, may_read) in &cast.others {
            for ((id, rule), may) in files.iter().zip(RULES).zip(may_read) {
                let what = format!("{name} by {carrier:?}: the file of rule {rule}");
                let expected = if *may {
                    (200, Value::Null)
                } else {
                    forbidden.clone()
                };
                let read = status(&site, who, carrier, &Method::GET, id).await;
                assert_eq!(read, expected, "read, {what}");
                for action in [Method::PUT, Method::DELETE] {
                    let found = status(&site, who, carrier, &action, id).await;
                    assert_eq!(found, forbidden, "{action}, {what}");
                }
            }
        }
        for id in &files {
            for action in [Method::GET, Method::PUT, Method::DELETE] {
                let found = status(&site, &Holder::Nobody, carrier, &action, id).await;
                assert_eq!(found, (401, json!("AUTH_001")), "{action} by nobody");
            }
        }
        let owner = Holder::User(cast.olga.token.clone());
        for id in &files {
            assert_eq!(
                status(&site, &owner, carrier, &Method::GET, id).await.0,
                200
            );
            assert_eq!(
                status(&site, &owner, carrier, &Method::PUT, id).await.0,
                200
            );
            let delete = site.client().call(Method::DELETE, &file_path(id));
            let answer = owner.ask(carrier, delete).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::NO_CONTENT);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_may_what_the_applications_rules_say_by_header_and_by_cookie() {
    everybody_may_what_the_rules_say(DJANGO_REDIS, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_rules_hold_over_djangos_own_redis_cache_and_asked_in_batches() {
    let batches = [
        ("CLOAKROOM_PERMISSION_PROTOCOL", "batch"),
        (
            "CLOAKROOM_PERMISSION_URL",
            "{django}/attachments/check-permissions",
        ),
    ];
    everybody_may_what_the_rules_say(DJANGO_OWN, &batches).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn visitors_own_what_they_handed_in_with_the_very_same_token_and_nothing_else() {
    let site = Site::start(DJANGO_REDIS, &[]).await;
    let cast = Cast::of(&site).await;
    for carrier in [Header, Cookie] {
        for (name, who, _) in &cast.others {
            let file = site.handed_in(who, carrier, "x.txt").await;
            let file = file.unwrap_or_else(|| panic!("{name} may upload"));
            let id = file["file_id"].as_str().unwrap();
            assert_eq!(
                status(&site, who, carrier, &Method::GET, id).await.0,
                200,
                "{name}"
            );
            for (other, them, _) in cast.others.iter().filter(|(other, ..)| other != name) {
                let found = status(&site, them, carrier, &Method::GET, id).await.0;
                assert_eq!(found, 403, "{other} reads what {name} handed in");
            }
            let olga = Holder::User(cast.olga.token.clone());
            assert_eq!(
                status(&site, &olga, carrier, &Method::GET, id).await.0,
                403,
                "{name}"
            );
        }
        let nobody = site.handed_in(&Holder::Nobody, carrier, "x.txt").await;
        assert!(nobody.is_none(), "{nobody:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_counts_only_in_its_place() {
    let site = Site::start(DJANGO_REDIS, &[]).await;
    let olga = site.django.sign_in("olga").await;
    let embed = site.django.invite(&olga.token, "embed", None).await;
    let guest = site.django.invite(&olga.token, "guest", None).await;
    let wrong = [
        ("Authorization", format!("Bearer {embed}")),
        ("Authorization", format!("Bearer {guest}")),
        ("X-Public-Authorization", format!("Token {}", olga.token)),
        ("X-Guest-Authorization", olga.token.clone()),
    ];
    for (header, value) in wrong {
        // The cookie beside it does not help: who shows a credential is meant by it.
        let cookie = format!("file_service_auth={}", olga.token);
        let request = site
            .client()
            .get("/files")
            .header(header, &value)
            .header("Cookie", cookie);
        refused(request.send().await.unwrap(), 401, "AUTH_001").await;
    }
    // The lists of tokens under the numbers of users are nobody's credential.
    let number = site
        .client()
        .get("/files")
        .header("X-Public-Authorization", "Token 3685");
    refused(number.send().await.unwrap(), 401, "AUTH_001").await;
}
