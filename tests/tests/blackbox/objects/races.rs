//! Many at once: one wins, all are whole, and none is lost, also where the service is killed among them.

use std::{collections::HashMap, time::Duration};

use cloakroom_tests::{
    client::{Client, refused, sample},
    service::Setup,
    stand::Stand,
};
use futures_util::future::{join, join_all};
use reqwest::{Method, Response};
use serde_json::json;

use super::{ALL, at, boxed, bucket, keys, page, put, service, stored};

/// Two replicas, and a service that calls either.
async fn two() -> (Vec<Stand>, Vec<Client>) {
    let replicas = Stand::replicas(Setup::PostgresGarage, 2).await;
    let rights = json!({"grants": [{"service": "s", "allow": ALL}]});
    bucket(&replicas[0], "box", rights).await;
    let mut apis = Vec::new();
    for replica in &replicas {
        apis.push(service(replica, "s").await);
    }
    (replicas, apis)
}

fn counted(answers: &[Response], status: u16) -> usize {
    let same = answers.iter().filter(|answer| answer.status() == status);
    same.count()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_that_put_a_new_object_at_once_one_does() {
    let (replicas, apis) = two().await;
    let puts = (0..50).map(|n| {
        let request = put(&apis[n % 2], "k").header("If-None-Match", "*");
        request.body(format!("by {n}")).send()
    });
    let answers: Vec<Response> = join_all(puts)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    assert_eq!((counted(&answers, 201), counted(&answers, 412)), (1, 49));
    for answer in answers {
        if answer.status() == 412 {
            refused(answer, 412, "FILE_005").await;
        } else {
            let etag = answer.headers()["etag"].clone();
            let got = apis[1].get(&at("k")).send().await.unwrap();
            assert_eq!(got.headers()["etag"], etag);
        }
    }
    replicas[0].swept().await;
    assert_eq!(replicas[0].objects().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_that_replace_one_version_one_does() {
    let (replicas, apis) = two().await;
    let etag = stored(&apis[0], "k", "first").await["etag"].clone();
    let etag = etag.as_str().unwrap();
    let puts = (0..50).map(|n| {
        let request = put(&apis[n % 2], "k").header("If-Match", etag);
        request.body(format!("by {n}")).send()
    });
    let answers: Vec<Response> = join_all(puts)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    assert_eq!((counted(&answers, 200), counted(&answers, 412)), (1, 49));
    replicas[0].swept().await;
    assert_eq!(replicas[0].objects().await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn puts_at_once_all_succeed_and_readers_see_one_of_them_whole() {
    let (replicas, apis) = two().await;
    let bodies: Vec<Vec<u8>> = (0..4).map(|n| sample(300_000 + n, n as u64)).collect();
    let first = put(&apis[0], "k").body(bodies[0].clone());
    assert_eq!(first.send().await.unwrap().status(), 201);
    let write = join_all((0..24).map(|n| {
        let request = put(&apis[n % 2], "k").body(bodies[n % 4].clone());
        async move { request.send().await.unwrap().status().as_u16() }
    }));
    let read = async {
        for n in 0..24 {
            let body = apis[n % 2].bytes(&at("k")).await;
            assert!(bodies.contains(&body), "{} bytes", body.len());
        }
    };
    let (written, ()) = join(write, read).await;
    assert_eq!(written, [200; 24]);
    replicas[0].swept().await;
    // Every one is a version of the one object.
    assert_eq!(keys(&page(&apis[1], "").await), ["k"]);
    assert_eq!(replicas[0].objects().await, 25);
    replicas[0].assert_consistent().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn puts_and_removals_at_once_leave_a_whole_object_or_none() {
    let (replicas, apis) = two().await;
    let body = sample(100_000, 1);
    for _ in 0..5 {
        let calls = (0..20).map(|n| {
            let request = match n % 3 {
                0 => apis[n % 2].call(Method::DELETE, &at("k")),
                1 => put(&apis[n % 2], "k").body(body.clone()),
                _ => apis[n % 2].get(&at("k")),
            };
            async move {
                let answer = request.send().await.unwrap();
                let (status, bytes) = (answer.status().as_u16(), answer.bytes().await.unwrap());
                (n % 3, status, bytes)
            }
        });
        for (kind, status, bytes) in join_all(calls).await {
            let expected: &[u16] = match kind {
                0 => &[204, 404],
                1 => &[200, 201],
                _ => &[200, 404],
            };
            assert!(expected.contains(&status), "{kind}: {status}");
            assert!(kind != 2 || status != 200 || bytes == body);
        }
    }
    let there = apis[0].get(&at("k")).send().await.unwrap().status() == 200;
    assert_eq!(keys(&page(&apis[1], "").await).len(), usize::from(there));
    replicas[0].assert_consistent().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_among_puts_leaves_every_acknowledged_object_and_half_of_none() {
    let mut stand = Stand::with(&[
        ("CLOAKROOM_PENDING_TTL", "3s"),
        ("CLOAKROOM_UNCERTAIN_DELAY", "2s"),
        ("CLOAKROOM_SWEEP_INTERVAL", "1s"),
        ("CLOAKROOM_DELETE_DELAY", "0s"),
    ])
    .await;
    let api = boxed(&stand).await;
    // The last round in which a put of the key was acknowledged.
    let mut acknowledged: HashMap<usize, u64> = HashMap::new();
    for round in 0..4 {
        let puts = (0..60).map(|n| {
            let request = put(&api, &format!("k{}", n % 20)).body(format!("{round} {n}"));
            async move {
                let answer = request.send().await;
                (n % 20, answer.is_ok_and(|it| it.status().is_success()))
            }
        });
        let kill = async {
            tokio::time::sleep(Duration::from_millis(20 + 30 * round)).await;
            stand.kill9();
        };
        let (answers, ()) = join(join_all(puts), kill).await;
        let good = answers.into_iter().filter(|(_, good)| *good);
        acknowledged.extend(good.map(|(key, _)| (key, round)));
        stand.restart().await;
        let mut there = 0;
        for key in 0..20 {
            let got = api.get(&at(&format!("k{key}"))).send().await.unwrap();
            let last = acknowledged.get(&key);
            if got.status() == 404 {
                assert_eq!(last, None, "k{key} is lost");
                continue;
            }
            there += 1;
            let body = got.text().await.unwrap();
            let (of, number) = body.split_once(' ').unwrap();
            assert_eq!(number.parse::<usize>().unwrap() % 20, key, "{body}");
            let of: u64 = of.parse().unwrap();
            assert!(
                last.is_none_or(|last| of >= *last),
                "k{key} is as it was: {body}"
            );
        }
        assert_eq!(keys(&page(&api, "").await).len(), there);
    }
    assert!(!acknowledged.is_empty(), "nothing was acknowledged");
    stand.swept().await;
    stand.assert_consistent().await;
}
