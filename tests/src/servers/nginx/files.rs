//! The deployed files with a test's addresses, ports and paths.

use std::{fs, net::SocketAddr, path::Path};

use super::NginxBuilder;
use crate::process::Launch;

/// The repository's folder with the files.
const DEPLOYED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../nginx");

/// Writes everything that nginx reads into the folder, laid out as in `/etc/nginx`. With TLS, plain HTTP has the other
/// port.
pub(super) fn write(nginx: &NginxBuilder, folder: &Path, port: u16, plain: u16) {
    let listen = format!("127.0.0.1:{port}");
    let ours = folder.join("cloakroom");
    for made in [&ours, &folder.join("temp"), &folder.join("none")] {
        fs::create_dir(made).unwrap();
    }
    let offloads = nginx.objects.is_some() || nginx.s3.is_some();
    let site = match &nginx.site {
        Some(text) => text
            .replace("{listen}", &listen)
            .replace("{upstream}", &upstream(&nginx.replicas)),
        None if nginx.tls => cloakroom(nginx, folder, &format!("127.0.0.1:{plain}"), offloads),
        None => cloakroom(nginx, folder, &listen, offloads),
    };
    fs::write(folder.join("cloakroom.conf"), site).unwrap();
    for name in ["proxy.conf", "offload-headers.conf"] {
        fs::write(ours.join(name), deployed(name).text).unwrap();
    }
    fs::write(ours.join("offload.conf"), offload(nginx, folder)).unwrap();
    if nginx.tls {
        fs::write(ours.join("tls.conf"), tls(&listen, &ours)).unwrap();
        make_certificate(&ours);
    }
    fs::write(folder.join("nginx.conf"), main(folder, nginx.silent)).unwrap();
    for change in &nginx.changes {
        let path = match change.file {
            "cloakroom.conf" => folder.join(change.file),
            other => ours.join(other),
        };
        let text = fs::read_to_string(&path).unwrap();
        let mut file = Deployed {
            name: change.file,
            text,
        };
        file.change(change.from, &change.to);
        fs::write(&path, file.text).unwrap();
    }
}

/// The file that a distribution has: everything outside of our files.
fn main(folder: &Path, silent: bool) -> String {
    let place = folder.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("    {kind}_temp_path {place}/temp/{kind};\n"))
        .concat();
    let log = if silent {
        "off".to_owned()
    } else {
        format!("{place}/access.log")
    };
    // As the tests' own user, so that it may read what the service wrote.
    let user = if crate::process::is_root() {
        "user root;\n"
    } else {
        ""
    };
    format!(
        "{user}daemon off;\nworker_processes 1;\npid {place}/pid;\nerror_log {place}/error.log info;\n\
         events {{\n    worker_connections 4096;\n}}\n\
         http {{\n{temporary}    access_log {log};\n    sendfile on;\n    keepalive_requests 100000000;\n\
         \x20   default_type application/octet-stream;\n    include {place}/cloakroom.conf;\n}}\n"
    )
}

fn cloakroom(nginx: &NginxBuilder, folder: &Path, listen: &str, offloads: bool) -> String {
    let mut file = deployed("cloakroom.conf");
    let log = match nginx.silent {
        true => "off".to_owned(),
        false => format!("{}/access.log cloakroom", folder.display()),
    };
    file.change(
        "access_log /var/log/nginx/cloakroom.log cloakroom;",
        &format!("access_log {log};"),
    );
    let replicas = "    server 127.0.0.1:8080 max_fails=5 fail_timeout=1s;  # CHANGE: a line for each replica\n\
                    \x20   server 127.0.0.1:8081 max_fails=5 fail_timeout=1s;  # CHANGE\n";
    file.change(replicas, &servers(&nginx.replicas));
    if let Some(address) = &nginx.s3 {
        file.change("server 127.0.0.1:3900;", &format!("server {address};"));
    }
    let plain = "    listen 80;\n    listen [::]:80;\n";
    file.change(plain, &format!("    listen {listen};\n"));
    if nginx.tls {
        file.change(
            "#include cloakroom/tls.conf;",
            "include cloakroom/tls.conf;",
        );
    }
    if offloads {
        file.change(
            "#include cloakroom/offload.conf;",
            "include cloakroom/offload.conf;",
        );
    }
    file.text
}

fn tls(listen: &str, ours: &Path) -> String {
    let mut file = deployed("tls.conf");
    file.change(
        "listen 443 ssl http2;\nlisten [::]:443 ssl http2;\n",
        &format!("listen {listen} ssl http2;\n"),
    );
    let ours = ours.display();
    for name in ["fullchain.pem", "privkey.pem"] {
        file.change(
            &format!("/etc/nginx/cloakroom/{name}"),
            &format!("{ours}/{name}"),
        );
    }
    file.text
}

fn offload(nginx: &NginxBuilder, folder: &Path) -> String {
    let mut file = deployed("offload.conf");
    let nothing = folder.join("none");
    let objects = nginx.objects.as_ref().unwrap_or(&nothing).display();
    let (whole, range) = (
        "alias /var/lib/cloakroom/objects/;  # CHANGE: CLOAKROOM_DATA_DIR",
        "alias /var/lib/cloakroom/objects/;  # CHANGE\n",
    );
    file.change(whole, &format!("alias {objects}/;  # "));
    file.change(range, &format!("alias {objects}/;\n"));
    file.text
}

fn upstream(replicas: &[SocketAddr]) -> String {
    format!(
        "upstream cloakroom {{\n{}    keepalive 64;\n}}\n",
        servers(replicas)
    )
}

fn servers(replicas: &[SocketAddr]) -> String {
    let line = |replica| format!("    server {replica} max_fails=5 fail_timeout=1s;\n");
    replicas.iter().map(line).collect()
}

struct Deployed {
    name: &'static str,
    text: String,
}

fn deployed(name: &'static str) -> Deployed {
    let file = Path::new(DEPLOYED).join(name);
    let text = fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    Deployed { name, text }
}

impl Deployed {
    /// Puts something else in the place of a text that is there exactly once.
    fn change(&mut self, from: &str, to: &str) {
        let found = self.text.matches(from).count();
        assert_eq!(found, 1, "{}: {from}", self.name);
        self.text = self.text.replace(from, to);
    }
}

fn make_certificate(folder: &Path) {
    Launch::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"])
        .args(["-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
        // Strict clients take no authority for a server, and others take it for its own.
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .args([Path::new("-keyout"), &folder.join("privkey.pem")])
        .args([Path::new("-out"), &folder.join("fullchain.pem")])
        .run();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        process::{free_port, temporary_folder},
        servers::Nginx,
    };

    #[test]
    fn nginx_takes_the_files_with_every_line_that_waits_for_a_choice() {
        let folder = temporary_folder();
        let folder = folder.path();
        let mut nginx = Nginx::before([SocketAddr::from(([127, 0, 0, 1], 8080))]).tls();
        nginx.objects = Some(folder.join("objects"));
        write(&nginx, folder, free_port(), free_port());
        for name in ["offload.conf", "offload-headers.conf"] {
            let file = folder.join("cloakroom").join(name);
            let text = fs::read_to_string(&file).unwrap();
            let uncommented: Vec<&str> = text
                .lines()
                .map(|line| match line.trim_start().strip_prefix('#') {
                    Some(rest) if rest.contains("# CHANGE") => rest,
                    _ => line,
                })
                .collect();
            assert!(uncommented.join("\n") != text.trim_end(), "{name}");
            let text = uncommented.join("\n").replace(
                "proxy_pass http://cloakroom_s3",
                "proxy_pass https://cloakroom_s3",
            );
            let certificate = folder.join("cloakroom/fullchain.pem");
            let text = text.replace(
                "/etc/ssl/certs/ca-certificates.crt",
                &certificate.display().to_string(),
            );
            fs::write(&file, text).unwrap();
        }
        Launch::new("/usr/sbin/nginx")
            .args([
                "-t".as_ref(),
                "-c".as_ref(),
                folder.join("nginx.conf").as_os_str(),
            ])
            .args(["-e".as_ref(), folder.join("error.log").as_os_str()])
            .run();
    }
}
