//! Requests for the same upload at the same time.

use cloakroom_tests::{
    client::{Tus, sha256},
    inspect,
    service::Setup,
    stand::Stand,
};

#[tokio::test(flavor = "multi_thread")]
async fn two_patches_at_the_same_offset_through_two_replicas_have_one_winner_200_times() {
    let replicas = Stand::replicas(Setup::PostgresFs, 2).await;
    let callers = [Tus::new(&replicas[0].user()), Tus::new(&replicas[1].user())];
    let mut wins = [0; 2];
    for round in 0..200 {
        let path = callers[round % 2].created(20, &[]).await;
        let bodies = [vec![b'A'; 10], vec![b'B'; 10]];
        let send = |n: usize| callers[n].patch(&path, 0, bodies[n].clone()).send();
        let (a, b) = tokio::join!(send(0), send(1));
        let statuses = [a.unwrap().status().as_u16(), b.unwrap().status().as_u16()];
        let winner = statuses.iter().position(|status| *status == 204);
        let winner = winner.unwrap_or_else(|| panic!("round {round}: {statuses:?}"));
        let loser = statuses[1 - winner];
        assert!([409, 423].contains(&loser), "round {round}: {statuses:?}");
        wins[winner] += 1;

        assert_eq!(callers[1 - winner].offset(&path).await, 10, "round {round}");
        callers[round % 2].patched(&path, 10, b"the end...").await;
        let expected = [&bodies[winner][..], b"the end..."].concat();
        let found = replicas[0]
            .user()
            .bytes(&path.replace("/uploads", ""))
            .await;
        assert_eq!(sha256(&found), sha256(&expected), "round {round}");
    }
    println!("wins: {wins:?}");
    let files = "SELECT count(*) FROM files";
    assert_eq!(inspect::count(replicas[0].database_url(), files).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_at_the_last_bytes_makes_one_file() {
    let replicas = Stand::replicas(Setup::PostgresGarage, 2).await;
    for _ in 0..5 {
        let one = Tus::new(&replicas[0].user());
        let path = one.created(10, &[]).await;
        one.patched(&path, 0, b"01234").await;
        let send = |n: usize| {
            let tus = Tus::new(&replicas[n % 2].user());
            let request = tus.patch(&path, 5, "56789");
            async move { request.send().await.unwrap().status().as_u16() }
        };
        let statuses = futures_util::future::join_all((0..12).map(send)).await;
        let allowed = |status: &u16| [204, 403, 409, 423].contains(status);
        assert!(statuses.iter().all(allowed), "{statuses:?}");
        let found = one.offset(&path).await;
        if found < 10 {
            one.patched(&path, found, &b"0123456789"[5..]).await;
        }
        let body = replicas[1]
            .user()
            .bytes(&path.replace("/uploads", ""))
            .await;
        assert_eq!(body, b"0123456789", "{statuses:?}");
    }
}
