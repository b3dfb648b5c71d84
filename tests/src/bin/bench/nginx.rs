//! nginx as it serves plain files: one worker, no access log, no cache of open files.

use std::{fs, time::Duration};

use cloakroom_tests::{
    client::{Client, Seeded},
    process::{Launch, Process, eventually, free_port, temporary_folder},
};
use tempfile::TempDir;

use crate::load::SERVER_CORE;

pub(crate) struct Nginx {
    port: u16,
    folder: TempDir,
    _process: Process,
}

impl Nginx {
    pub(crate) async fn start() -> Self {
        let (folder, port) = (temporary_folder(), free_port());
        let place = folder.path().display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("  {kind}_temp_path {place}/temp;\n"))
            .concat();
        let configuration = format!(
            "daemon off;\nworker_processes 1;\npid {place}/pid;\nerror_log {place}/errors;\n\
             events {{ worker_connections 1024; }}\n\
             http {{\n{temporary}  access_log off;\n  sendfile on;\n  keepalive_requests 100000000;\n\
             \x20 default_type application/octet-stream;\n\
             \x20 server {{ listen 127.0.0.1:{port}; root {place}/files; }}\n}}\n"
        );
        let file = folder.path().join("nginx.conf");
        fs::write(&file, configuration).unwrap();
        fs::create_dir(folder.path().join("files")).unwrap();
        let nginx = ["/usr/sbin/nginx", "nginx"].map(std::path::Path::new);
        let nginx = nginx.into_iter().find(|p| p.exists()).unwrap_or(nginx[1]);
        let process = Launch::pinned(SERVER_CORE, nginx)
            .arg_path("-c", &file)
            .arg_path("-e", &folder.path().join("errors"))
            .spawn(&folder.path().join("log"));
        let client = Client::new(&format!("http://127.0.0.1:{port}"));
        let answers = async || client.get("/").send().await.is_ok();
        eventually("nginx answers", Duration::from_secs(10), answers).await;
        Self {
            port,
            folder,
            _process: process,
        }
    }

    /// Puts a file there, and answers its address.
    pub(crate) fn put(&self, name: &str, body: Seeded) -> String {
        fs::write(self.folder.path().join("files").join(name), body.bytes()).unwrap();
        format!("http://127.0.0.1:{}/{name}", self.port)
    }
}
