//! A whole installation: the Django project, Redis, and two replicas of the service behind nginx.
//!
//! Browsers know it as `app.cloakroom.test` and `files.cloakroom.test`, which are one site of two origins.

use reqwest::{RequestBuilder, StatusCode};
use serde_json::Value;

use crate::{
    client::{Client, encoded, expect},
    process::free_port,
    servers::{Django, Nginx, Redis, django::Session, random_hex},
    service::{Service, Setup},
};

/// The domain that the application and the files share.
pub const DOMAIN: &str = "cloakroom.test";

/// How a credential travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// In the header of its kind.
    Header,
    /// In the cookie of its kind.
    Cookie,
}

/// A caller's credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// Of a user who signed in.
    User(String),
    /// Of a guest: a JWT.
    Guest(String),
    /// Of a visitor of a public or an embedded form.
    Public(String),
    /// None.
    Nobody,
}

impl Holder {
    /// The request with the credential.
    pub fn ask(&self, carrier: Carrier, request: RequestBuilder) -> RequestBuilder {
        let (header, value, cookie) = match self {
            Self::User(token) => (
                "Authorization",
                format!("Bearer {token}"),
                format!("file_service_auth={token}"),
            ),
            Self::Guest(token) => (
                "X-Guest-Authorization",
                token.clone(),
                format!("guest-token={token}"),
            ),
            Self::Public(token) => (
                "X-Public-Authorization",
                format!("Token {token}"),
                format!("public-token={token}"),
            ),
            Self::Nobody => return request,
        };
        match carrier {
            Carrier::Header => request.header(header, value),
            Carrier::Cookie => request.header("Cookie", cookie),
        }
    }
}

/// The installation.
#[derive(Debug)]
pub struct Site {
    /// The cache that Django writes and the service reads.
    pub redis: Redis,
    /// The application.
    pub django: Django,
    /// Before the replicas.
    pub nginx: Nginx,
    /// Over PostgreSQL and a folder.
    pub replicas: Vec<Service>,
}

impl Site {
    /// With that backend of Django's cache, and more settings of the service; `{django}` in one is the application's
    /// own address.
    ///
    /// # Panics
    /// A part of it does not start.
    pub async fn start(cache: &str, settings: &[(&str, &str)]) -> Self {
        let (redis, secret, port) = (Redis::start().await, random_hex(32), free_port());
        let public = format!("http://files.{DOMAIN}:{port}/files");
        let private = format!("http://127.0.0.1:{port}/files");
        let django = Django::over(&redis.url(), &secret)
            .cache(cache)
            .files(&public, &private)
            .domain(DOMAIN)
            .start()
            .await;
        let frontend = format!("http://app.{DOMAIN}:{}", django.port());
        let builder = Service::builder()
            .setup(Setup::PostgresFs)
            .production()
            .env("CLOAKROOM_PUBLIC_URL", public)
            .env("CLOAKROOM_FRONTEND_URL", frontend)
            .env("CLOAKROOM_REDIS_URL", redis.url())
            .env("CLOAKROOM_AUTH_SECRET_KEY", secret)
            .env(
                "CLOAKROOM_PERMISSION_URL",
                django.url("/attachments/check-permission"),
            )
            .env("CLOAKROOM_TRUSTED_PROXIES", "127.0.0.1")
            .env("CLOAKROOM_RATE_LIMIT", "off");
        let settings = settings.iter();
        let builder = settings.fold(builder, |builder, (name, value)| {
            builder.env(*name, value.replace("{django}", &django.base()))
        });
        let replicas = builder.start_replicas(2).await;
        let nginx = Nginx::before(replicas.iter().map(Service::address));
        Self {
            nginx: nginx.port(port).start().await,
            redis,
            django,
            replicas,
        }
    }

    /// Somebody without a credential, through nginx.
    #[must_use]
    pub fn client(&self) -> Client {
        self.nginx.client()
    }

    /// Uploads through nginx as somebody who has signed in, and answers the file's id.
    ///
    /// # Panics
    /// It is refused.
    pub async fn upload(&self, who: &Session, name: &str, body: impl Into<Vec<u8>>) -> String {
        let client = self.client().with(Some(&who.token));
        let file = client.stored(name, body).await;
        file["file_id"].as_str().unwrap().to_owned()
    }

    /// Uploads through nginx with any credential; `None` if it is refused with 401.
    ///
    /// # Panics
    /// It is refused otherwise.
    pub async fn handed_in(&self, who: &Holder, carrier: Carrier, name: &str) -> Option<Value> {
        let request = self
            .client()
            .post(&format!("/files?filename={}", encoded(name)));
        let answer = who.ask(carrier, request.body("x")).send().await.unwrap();
        if answer.status() == StatusCode::UNAUTHORIZED {
            return None;
        }
        Some(expect(answer, StatusCode::CREATED).await)
    }

    /// An address of the application as browsers know it.
    #[must_use]
    pub fn app(&self, path: &str) -> String {
        format!("http://app.{DOMAIN}:{}{path}", self.django.port())
    }

    /// An address of the service as browsers know it.
    #[must_use]
    pub fn files(&self, path: &str) -> String {
        format!(
            "http://files.{DOMAIN}:{}{path}",
            self.nginx.address().port()
        )
    }
}
