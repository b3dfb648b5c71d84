//! Buckets, their policies, and who may do what.

use cloakroom_tests::{
    client::{Client, expect, refused},
    stand::Stand,
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{ALL, bucket, service};

/// What a caller gets of an object, of a key that leads to none, and of the list.
async fn asked(api: &Client, bucket: &str) -> [u16; 5] {
    let status = async |method: Method, path: String| {
        let request = api.call(method, &path).body("x");
        request.send().await.unwrap().status().as_u16()
    };
    let key = format!("/objects/{bucket}/k");
    [
        status(Method::GET, key.clone()).await,
        status(Method::GET, format!("/objects/{bucket}/none")).await,
        status(Method::PUT, key.clone()).await,
        status(Method::DELETE, format!("/objects/{bucket}/none")).await,
        status(Method::GET, format!("/objects/{bucket}")).await,
    ]
}

/// What there is for a caller.
struct Row(Client, [u16; 5], [u16; 5]);

const HIDDEN: [u16; 5] = [404; 5];
const READING: [u16; 5] = [200, 404, 403, 403, 403];
const EVERYTHING: [u16; 5] = [200, 404, 200, 404, 200];

/// Callers, and what they get of the bucket that is not public, and of the one that is.
async fn table(stand: &Stand) -> Vec<Row> {
    // A user's token of a service's name is no service.
    let posing = stand
        .run(&[
            "token",
            "create",
            "--json",
            "--kind=user",
            "--name=everything",
            "--account=1",
            "--user=9",
        ])
        .await;
    let posing: Value = serde_json::from_str(&posing.stdout).unwrap();
    let posing = stand.anonymous().with(posing["token"].as_str());
    let named = async |name: &str| service(stand, name).await;
    let refused = stand.anonymous().with(Some("no-such-token"));
    let anybody = [200, 404, 401, 401, 401];
    let (writes, lists) = ([403, 403, 200, 403, 403], [403, 403, 403, 403, 200]);
    let removes = [403, 403, 403, 404, 403];
    let and_reads = |own: [u16; 5]| [200, 404, own[2], own[3], own[4]];
    vec![
        Row(named("reader").await, READING, READING),
        Row(named("writer").await, writes, and_reads(writes)),
        Row(named("remover").await, removes, and_reads(removes)),
        Row(named("lister").await, lists, and_reads(lists)),
        Row(named("everything").await, EVERYTHING, EVERYTHING),
        Row(stand.admin(), EVERYTHING, EVERYTHING),
        Row(named("nothing").await, HIDDEN, READING),
        Row(named("stranger").await, HIDDEN, READING),
        Row(posing, HIDDEN, READING),
        Row(stand.user(), HIDDEN, READING),
        Row(stand.anonymous(), [401; 5], anybody),
        Row(refused, [401; 5], [401; 5]),
    ]
}

#[tokio::test]
async fn a_policy_gives_each_service_what_it_names_and_hides_the_bucket_from_all_others() {
    let stand = Stand::simple().await;
    let grants = json!([
        {"service": "reader", "allow": ["read"]},
        {"service": "writer", "allow": ["write"]},
        {"service": "remover", "allow": ["delete"]},
        {"service": "lister", "allow": ["list"]},
        {"service": "nothing", "allow": []},
        {"service": "everything", "allow": ALL},
    ]);
    for (name, is_public) in [("private", false), ("public", true)] {
        let policy = json!({"grants": grants, "public_read": is_public});
        bucket(&stand, name, policy).await;
        let put = stand
            .admin()
            .call(Method::PUT, &format!("/objects/{name}/k"));
        assert_eq!(put.body("x").send().await.unwrap().status(), 201);
    }
    for (at, Row(caller, private, public)) in table(&stand).await.iter().enumerate() {
        assert_eq!(asked(caller, "private").await, *private, "row {at}");
        assert_eq!(asked(caller, "public").await, *public, "row {at}");
        // Who has no right in a bucket cannot tell it from one that is not there.
        let none = if private[0] == 401 { [401; 5] } else { HIDDEN };
        assert_eq!(asked(caller, "no-such-bucket").await, none, "row {at}");
    }
    let reader = service(&stand, "reader").await;
    for (caller, path, code) in [
        (reader, "/objects/private/k", "FILE_002"),
        (stand.user(), "/objects/public/k", "PERM_001"),
    ] {
        let put = caller.call(Method::PUT, path).body("x");
        refused(put.send().await.unwrap(), 403, code).await;
    }
}

#[tokio::test]
async fn a_policy_holds_from_the_next_request_on_and_a_token_until_it_is_revoked() {
    let stand = Stand::simple().await;
    bucket(&stand, "b", json!({})).await;
    let first = service(&stand, "s").await;
    let list = async |api: &Client| {
        let answer = api.get("/objects/b").send().await.unwrap();
        answer.status().as_u16()
    };
    assert_eq!(list(&first).await, 404);
    bucket(
        &stand,
        "b",
        json!({"grants": [{"service": "s", "allow": ["list"]}]}),
    )
    .await;
    assert_eq!(list(&first).await, 200);
    // Another token of the same name may do the same: so tokens are changed without a gap.
    assert_eq!(list(&service(&stand, "s").await).await, 200);
    bucket(
        &stand,
        "b",
        json!({"grants": [{"service": "other", "allow": ["list"]}]}),
    )
    .await;
    assert_eq!(list(&first).await, 404);
}

#[tokio::test]
async fn an_object_is_had_by_bucket_and_key_alone() {
    let stand = Stand::simple().await;
    let rights = json!({"grants": [{"service": "s", "allow": ALL}]});
    bucket(&stand, "b", rights).await;
    let api = service(&stand, "s").await;
    let put = api.call(Method::PUT, "/objects/b/k").body("x");
    assert_eq!(put.send().await.unwrap().status(), 201);
    let list = async |api: &Client| {
        let answer = api.get("/files").send().await.unwrap();
        expect(answer, StatusCode::OK).await["items"].clone()
    };
    let all = list(&stand.admin()).await;
    let id = all[0]["file_id"].as_str().unwrap();
    let of_account = stand.token("service", &["--account", "1"]).await;
    for caller in [stand.user(), of_account] {
        assert_eq!(list(&caller).await, json!([]));
        for (method, path) in [
            (Method::GET, format!("/files/{id}")),
            (Method::GET, format!("/files/{id}/info")),
            (Method::PUT, format!("/files/{id}")),
            (Method::DELETE, format!("/files/{id}?purge=true")),
            (Method::POST, format!("/files/{id}/links")),
        ] {
            let answer = caller.call(method, &path).body("{}").send().await;
            refused(answer.unwrap(), 403, "FILE_002").await;
        }
    }
    let of_account = stand.token("service", &["--account", "1"]).await;
    let claim = of_account.post(&format!("/files/{id}/claim")).send().await;
    refused(claim.unwrap(), 403, "FILE_002").await;
    let query = format!("/access/explain?file_id={id}&user_id=7&account_id=1");
    let explained = stand.admin().get(&query).send().await.unwrap();
    assert_eq!(expect(explained, StatusCode::OK).await["decision"], "no");
    // An admin may do all that may be done to a file, and the object goes with it.
    let gone = stand.admin().call(Method::DELETE, &format!("/files/{id}"));
    assert_eq!(gone.send().await.unwrap().status(), 204);
    let get = api.get("/objects/b/k").send().await.unwrap();
    refused(get, 404, "FILE_001").await;
    let back = stand.admin().post(&format!("/files/{id}/restore"));
    expect(back.send().await.unwrap(), StatusCode::OK).await;
    assert_eq!(api.bytes("/objects/b/k").await, b"x");
}

#[tokio::test]
async fn buckets_are_made_changed_listed_and_removed() {
    let stand = Stand::simple().await;
    let admin = stand.admin();
    let set = async |name: &str, body: Value| {
        let request = admin.call(Method::PUT, &format!("/buckets/{name}"));
        request.json(&body).send().await.unwrap()
    };
    refused(set("b", json!({})).await, 422, "VAL_002").await;
    let full = json!({
        "account_id": "1", "public_read": true, "max_object_size": 10, "content_types": ["image/*", "Text/Plain"],
        "grants": [{"service": "s", "allow": ["read", "list", "read"]}],
    });
    let made = expect(set("b", full).await, StatusCode::CREATED).await;
    assert_eq!(made["account_id"], 1);
    assert_eq!(made["content_types"], json!(["image/*", "text/plain"]));
    assert_eq!(
        made["grants"],
        json!([{"service": "s", "allow": ["read", "list"]}])
    );
    let changed = expect(set("b", json!({})).await, StatusCode::OK).await;
    assert_eq!(
        (&changed["public_read"], &changed["grants"]),
        (&json!(false), &json!([]))
    );
    assert_eq!(changed["max_object_size"], Value::Null);
    refused(set("b", json!({"account_id": 2})).await, 409, "FILE_006").await;
    for bad in [
        json!({"account_id": 1, "x": 1}),
        json!({"account_id": 1, "content_types": ["image"]}),
        json!({"account_id": 1, "grants": [{"service": "s", "allow": ["chew"]}]}),
        json!({"account_id": 1, "grants": [{"service": "", "allow": []}]}),
        json!({"account_id": 1, "grants": vec![json!({"service": "s", "allow": []}); 2]}),
        json!({"account_id": 1, "max_object_size": u64::MAX}),
        json!({"account_id": ""}),
    ] {
        refused(set("b", bad).await, 422, "VAL_001").await;
    }
    for bad in ["B", "a%2Fb", "-a", "a..", &"a".repeat(64)] {
        refused(set(bad, json!({"account_id": 1})).await, 422, "VAL_001").await;
    }
    for name in ["a", "c"] {
        expect(
            set(name, json!({"account_id": 1})).await,
            StatusCode::CREATED,
        )
        .await;
    }
    let list = async |query: &str| {
        let answer = admin.get(&format!("/buckets{query}")).send().await.unwrap();
        expect(answer, StatusCode::OK).await
    };
    let first = list("?limit=2").await;
    assert_eq!(first["items"][1]["bucket"], "b");
    let cursor = first["next_cursor"].as_str().unwrap();
    let rest = list(&format!("?cursor={cursor}")).await;
    assert_eq!(rest["items"][0]["bucket"], "c");
    assert_eq!(rest["next_cursor"], Value::Null);

    let call = async |method: Method, path: &str| {
        let request = admin.call(method, path).body("x");
        request.send().await.unwrap()
    };
    assert_eq!(call(Method::PUT, "/objects/b/k").await.status(), 201);
    refused(call(Method::DELETE, "/buckets/b").await, 409, "FILE_006").await;
    assert_eq!(call(Method::DELETE, "/objects/b/k").await.status(), 204);
    assert_eq!(call(Method::DELETE, "/buckets/b").await.status(), 204);
    for (method, path) in [
        (Method::DELETE, "/buckets/b"),
        (Method::GET, "/buckets/b"),
        (Method::PUT, "/objects/b/k"),
    ] {
        refused(call(method, path).await, 404, "FILE_001").await;
    }
}

#[tokio::test]
async fn the_command_line_sets_lists_and_removes_buckets() {
    let stand = Stand::simple().await;
    let run = async |arguments: &[&str]| stand.run(&[&["bucket"], arguments].concat()).await;
    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    assert_eq!(run(&["set", "b"]).await.code, 2);
    let made = run(&[
        "set",
        "b",
        "--account",
        "1",
        "--grant",
        "a=read,write",
        "--grant",
        "c=list",
        "--type",
        "image/*",
        "--max-size",
        "1MiB",
        "--public-read",
        "--json",
    ])
    .await;
    assert_eq!(made.code, 0, "{}", made.stderr);
    let made = json(&made.stdout);
    assert_eq!(made["max_object_size"], 1 << 20);
    assert_eq!(
        made["grants"][0],
        json(r#"{"service": "a", "allow": ["read", "write"]}"#)
    );
    let told = stand.admin().get("/buckets/b").send().await.unwrap();
    assert_eq!(expect(told, StatusCode::OK).await, made);
    let listed = run(&["list", "--json"]).await;
    assert_eq!(json(&listed.stdout), json!([made]));
    assert!(
        run(&["list"])
            .await
            .stdout
            .starts_with("b  account 1  public")
    );
    for bad in [
        ["set", "B", "--account=1"],
        ["set", "c", "--grant=a"],
        ["set", "c", "--grant=a=chew"],
        ["set", "c", "--type=image"],
        ["set", "c", "--max-size=much"],
    ] {
        assert_eq!(run(&bad).await.code, 2, "{bad:?}");
    }
    assert_eq!(run(&["set", "b", "--account", "2"]).await.code, 1);
    let removed = run(&["remove", "b", "--json"]).await;
    assert_eq!(
        json(&removed.stdout),
        json(r#"{"bucket": "b", "removed": true}"#)
    );
    assert_eq!(run(&["remove", "b"]).await.code, 1);
}
