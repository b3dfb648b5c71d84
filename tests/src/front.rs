//! Two replicas behind nginx behind a line that can be cut, as upload clients of another origin meet them.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    backend::Backend,
    browser,
    client::{Client, Repeated},
    documentation, inspect,
    process::free_port,
    proxy::TcpProxy,
    servers::{Nginx, garage, installed},
    service::{Service, Setup},
    site::DOMAIN,
};

/// The page's part of what upload clients run in.
const PAGE: &str = include_str!("browser/page.js");
/// Node's part: opens the page.
const OPEN: &str = include_str!("browser/open.js");

/// A client that uploads from a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageClient {
    /// tus-js-client by itself.
    Tus,
    /// Uppy with its plugin for tus.
    Uppy,
}

impl PageClient {
    /// A snippet for [`Front::browse`] that uploads the `file` (seed, size, name) of its input with these `options`
    /// and answers the upload's `url` and what was seen meanwhile, the `watch` of `browser/page.js`.
    #[must_use]
    pub const fn upload(self) -> &'static str {
        match self {
            Self::Tus => include_str!("browser/tus.js"),
            Self::Uppy => include_str!("browser/uppy.js"),
        }
    }
}

/// The clients, as they come from npm. These versions `make test` installs.
const BUNDLES: [&str; 2] = [
    "tus-js-client-4.3.1/dist/tus.min.js",
    "uppy-6.0.1/dist/uppy.min.js",
];

/// Where the documentation's examples send to.
const EXAMPLE: &str = "https://files.example.com/files";

/// An installation: everything goes through the line, then nginx, then to one of the replicas.
#[derive(Debug)]
pub struct Front {
    /// Between clients and nginx.
    pub line: TcpProxy,
    /// Between browsers and the S3 server, where bytes are in one.
    pub store_line: Option<TcpProxy>,
    /// Before the replicas.
    pub nginx: Nginx,
    /// The replicas; none of them is looked for by anybody but nginx.
    pub replicas: Vec<Service>,
    /// Where the user has signed in.
    _backend: Backend,
    token: String,
    page: u16,
    public: String,
    door: Door,
}

/// How clients come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// HTTP/1.1 in the clear, by a name that only browsers know, with a cookie.
    Pages,
    /// HTTP/1.1 in the clear, at 127.0.0.1.
    Programs,
    /// HTTP/2 over TLS, with a certificate for `localhost`.
    Tls,
}

impl Front {
    /// Over that database and store.
    ///
    /// # Panics
    /// A part of it does not start.
    pub async fn start(setup: Setup, door: Door) -> Self {
        let (inside, page) = (free_port(), free_port());
        let line = TcpProxy::start(format!("127.0.0.1:{inside}")).await;
        let store_line = match setup.has_garage() {
            true => Some(TcpProxy::start(address_of(&garage::shared().endpoint)).await),
            false => None,
        };
        let port = line.address().port();
        let public = match door {
            Door::Pages => format!("http://files.{DOMAIN}:{port}"),
            Door::Programs => format!("http://127.0.0.1:{port}"),
            Door::Tls => format!("https://localhost:{port}"),
        };
        let backend = Backend::start().await;
        let token = backend.sign_in(7, 1).await;
        let mut builder = Service::builder()
            .setup(setup)
            .production()
            .sweeping_fast()
            .env("CLOAKROOM_REDIS_URL", backend.redis().url())
            .env("CLOAKROOM_AUTH_SECRET_KEY", backend.secret_key())
            .env("CLOAKROOM_PUBLIC_URL", format!("{public}/files"))
            .env("CLOAKROOM_ALLOWED_ORIGINS", origin(page))
            .env("CLOAKROOM_MAX_FILE_SIZE", "1GiB")
            .env("CLOAKROOM_TRUSTED_PROXIES", "127.0.0.1");
        if let Some(line) = &store_line {
            let store = format!("http://store.{DOMAIN}:{}", line.address().port());
            builder = builder.env("CLOAKROOM_S3_PUBLIC_ENDPOINT", store);
        }
        let replicas = builder.start_replicas(2).await;
        let nginx = Nginx::before(replicas.iter().map(Service::address)).port(inside);
        let nginx = if door == Door::Tls {
            nginx.tls()
        } else {
            nginx
        };
        Self {
            nginx: nginx.start().await,
            line,
            store_line,
            replicas,
            _backend: backend,
            token,
            page,
            public,
            door,
        }
    }

    /// The service's own origin.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.public
    }

    /// Where clients find the service.
    #[must_use]
    pub fn files(&self) -> String {
        format!("{}/files", self.public)
    }

    /// The token of user 7 of account 1, who has signed in to the application.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// That user, straight at a replica, to see what became of an upload.
    #[must_use]
    pub fn user(&self, replica: usize) -> Client {
        self.replicas[replica].anonymous().with(Some(&self.token))
    }

    /// An example of the documentation that sends here. See [`documentation::example`].
    #[must_use]
    pub fn example(&self, title: &str) -> String {
        let text = documentation::example("upload-clients.md", title);
        assert!(text.contains(EXAMPLE), "{title}: no {EXAMPLE}");
        text.replace(EXAMPLE, &self.files())
    }

    /// Runs a snippet as [`browser::run_within`] does, with `open()`, which opens (or opens again) a page of another
    /// origin, allowed and signed in, that has tus-js-client, Uppy and the documentation's examples: `uploadFile`,
    /// `makeUppy` and `uploadDirect`.
    ///
    /// # Panics
    /// The snippet throws, or takes longer.
    pub async fn browse(&self, patience: Duration, snippet: &str, input: &Value) -> Value {
        let mut all = json!({
            "files": self.files(),
            "page": origin(self.page),
            "port": self.page,
            "token": self.token,
            // A page without TLS is another site than one with it, and no cookie goes along.
            "cookie": self.door == Door::Pages,
            "scripts": BUNDLES.map(installed),
            "code": [PAGE.to_owned(), self.clients()],
        });
        for (name, value) in input.as_object().unwrap() {
            all[name] = value.clone();
        }
        browser::run_within(patience, &format!("{OPEN}\n{snippet}"), &all).await
    }

    /// The examples as a page without a bundler has them.
    fn clients(&self) -> String {
        let function = |title, name, parameters, arguments| {
            let text = self.example(title);
            let lines: Vec<&str> = text.lines().filter(|l| !l.starts_with("import ")).collect();
            let body = lines.join("\n");
            format!(
                "window.{name} = (({parameters}) => {{\n{body}\nreturn {name};\n}})({arguments});\n"
            )
        };
        [
            function("tus-js-client", "uploadFile", "tus", "window.tus"),
            function(
                "Uppy",
                "makeUppy",
                "Uppy, Tus",
                "window.Uppy.Uppy, window.Uppy.Tus",
            ),
            function("Straight to the store", "uploadDirect", "", ""),
        ]
        .concat()
    }

    /// Checks a file that an upload's address leads to: its JSON, and what is downloaded. Answers the JSON.
    ///
    /// # Panics
    /// It is not that body.
    pub async fn assert_file(&self, replica: usize, url: &str, body: Repeated) -> Value {
        let id = url.rsplit('/').next().unwrap();
        let api = self.user(replica);
        let answer = api.get(&format!("/files/{id}/info")).send().await.unwrap();
        let file = crate::client::expect(answer, reqwest::StatusCode::OK).await;
        let sha256 = body.sha256();
        assert_eq!(
            (&file["size"], &file["sha256"]),
            (&json!(body.size), &json!(sha256)),
            "{file}"
        );
        let downloaded = api.hash_of(&format!("/files/{id}")).await;
        assert_eq!(downloaded, (body.size, sha256));
        file
    }

    /// Waits until nothing is being written, and then database and store agree; see [`inspect::assert_consistent`].
    ///
    /// # Panics
    /// They do not, or something unfinished is left.
    pub async fn assert_consistent(&self, replica: usize) {
        inspect::assert_consistent(&self.replicas[replica]).await;
    }

    /// Waits until there are so many files and nothing else, neither rows nor bytes.
    ///
    /// # Panics
    /// Something is left.
    pub async fn assert_only(&self, replica: usize, files: u64) {
        inspect::assert_only(&self.replicas[replica], files).await;
    }
}

/// The origin of the application's pages.
fn origin(port: u16) -> String {
    format!("http://app.{DOMAIN}:{port}")
}

fn address_of(url: &str) -> String {
    let (_, address) = url.split_once("://").unwrap();
    address.trim_end_matches('/').to_owned()
}
