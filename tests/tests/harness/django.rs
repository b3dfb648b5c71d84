//! The Django project: its own tests, and that it can be started, called and started again.

use cloakroom_tests::servers::{
    Django, Redis,
    django::{DJANGO_OWN, DJANGO_REDIS},
};
use reqwest::StatusCode;

const SECRET: &str = "a secret of the tests that is long enough";

async fn own_tests_pass(cache: &str) {
    let redis = Redis::start().await;
    let project = Django::over(&redis.url(), SECRET).cache(cache);
    project.run_tests().await;
}

#[tokio::test]
async fn its_own_tests_pass_over_django_redis() {
    own_tests_pass(DJANGO_REDIS).await;
}

#[tokio::test]
async fn its_own_tests_pass_over_djangos_own_redis_cache() {
    own_tests_pass(DJANGO_OWN).await;
}

#[tokio::test]
async fn it_signs_in_and_out_invites_and_keeps_its_data_over_a_restart() {
    let redis = Redis::start().await;
    let mut django = Django::over(&redis.url(), SECRET).start().await;
    let olga = django.sign_in("olga").await;
    let guest = django.invite(&olga.token, "guest", None).await;
    assert_eq!(guest.split('.').count(), 3, "{guest}");
    assert_eq!(django.invite(&olga.token, "public", None).await.len(), 8);
    assert_eq!(django.invite(&olga.token, "embed", None).await.len(), 32);
    let asked = async |django: &Django| {
        let question = django.client(Some(&olga.token));
        let question = question.post("/attachments/check-permission");
        let form = "application/x-www-form-urlencoded";
        let question = question
            .header("Content-Type", form)
            .body("file_id=x&action=read");
        question.send().await.unwrap().status()
    };
    assert_eq!(asked(&django).await, StatusCode::FORBIDDEN);
    django.restart().await;
    assert_eq!(asked(&django).await, StatusCode::FORBIDDEN);
    django.sign_out(&olga).await;
    assert_eq!(asked(&django).await, StatusCode::UNAUTHORIZED);
}
