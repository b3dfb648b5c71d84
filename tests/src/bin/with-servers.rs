//! Runs a command with a PostgreSQL, a Garage, an `rclone serve s3`, an Azurite and two servers each of WebDAV and SFTP beside it, and ends with
//! its status.
//!
//! `with-servers COMMAND [ARGUMENT…]`. The command finds the servers in `CLOAKROOM_TEST_POSTGRES`,
//! `CLOAKROOM_TEST_GARAGE`, `CLOAKROOM_TEST_RCLONE_S3` and so on. With `CLOAKROOM_TEST_FSYNC=off` PostgreSQL does not flush.
//! Whatever the command leaves running is killed, and its temporary files are removed.

use std::{
    env,
    ffi::OsString,
    io,
    os::unix::process::ExitStatusExt,
    process::{ExitCode, ExitStatus},
    time::{Duration, Instant},
};

use cloakroom_tests::{
    process::{send, temporary_folder, tree},
    servers::{
        AZURITE, Azurite, GARAGE, NGINX_WEBDAV, POSTGRES, Postgres, RCLONE_S3, RCLONE_SFTP,
        RCLONE_WEBDAV, S3Server, SSHD, SftpServer, WebdavServer, garage, rclone,
    },
};
use rustix::process::{Signal, getpid, set_child_subreaper};
use tokio::{
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
};

const FSYNC: &str = "CLOAKROOM_TEST_FSYNC";

/// How long the command may take to end once it is told to.
const GRACE: Duration = Duration::from_secs(10);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    if arguments.is_empty() {
        eprintln!("usage: with-servers COMMAND [ARGUMENT...]");
        return ExitCode::from(2);
    }
    run(&arguments).await.unwrap_or_else(|error| {
        eprintln!("with-servers: {error}");
        ExitCode::FAILURE
    })
}

async fn run(arguments: &[OsString]) -> io::Result<ExitCode> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let told_to_end = async {
        tokio::select! {
            _ = interrupt.recv() => ExitCode::from(130),
            _ = terminate.recv() => ExitCode::from(143),
        }
    };
    tokio::pin!(told_to_end);
    // Orphans of the command become children of this process, which then knows whom to end.
    set_child_subreaper(Some(getpid()))?;

    let fsync = env::var_os(FSYNC).is_none_or(|value| value != "off");
    let servers = tokio::select! {
        servers = Servers::start(fsync) => servers,
        code = &mut told_to_end => return Ok(code),
    };
    let keep = servers.ids();

    let folder = temporary_folder();
    let mut command = Command::new("setpriv")
        .args(["--pdeathsig", "TERM", "--"])
        .args(arguments)
        .env("TMPDIR", folder.path())
        .envs(servers.variables())
        .spawn()?;
    let code = tokio::select! {
        status = command.wait() => exit_code(status?),
        code = &mut told_to_end => {
            wind_down(&mut command, &keep).await;
            code
        }
    };
    end_all(&keep).await;
    Ok(code)
}

/// The servers beside the command.
struct Servers {
    postgres: Postgres,
    garage: S3Server,
    rclone: S3Server,
    rclone_webdav: WebdavServer,
    nginx_webdav: WebdavServer,
    rclone_sftp: SftpServer,
    sshd: SftpServer,
    azurite: Azurite,
}

impl Servers {
    async fn start(fsync: bool) -> Self {
        let of_files = async {
            tokio::join!(
                WebdavServer::rclone(),
                WebdavServer::nginx(),
                SftpServer::rclone(),
                SftpServer::openssh(),
                Azurite::start(),
            )
        };
        let (postgres, garage, rclone, of_files) = tokio::join!(
            Postgres::start_with(fsync),
            garage::start(),
            rclone::start(),
            of_files,
        );
        let (rclone_webdav, nginx_webdav, rclone_sftp, sshd, azurite) = of_files;
        Self {
            postgres,
            garage,
            rclone,
            rclone_webdav,
            nginx_webdav,
            rclone_sftp,
            sshd,
            azurite,
        }
    }

    /// Their first processes.
    fn ids(&self) -> [u32; 8] {
        [
            self.postgres.id(),
            self.garage.id(),
            self.rclone.id(),
            self.rclone_webdav.id(),
            self.nginx_webdav.id(),
            self.rclone_sftp.id(),
            self.sshd.id(),
            self.azurite.id(),
        ]
    }

    /// What tells the command of them.
    fn variables(&self) -> [(&'static str, String); 8] {
        [
            (POSTGRES, self.postgres.access().admin_url().to_owned()),
            (GARAGE, self.garage.access().to_string()),
            (RCLONE_S3, self.rclone.access().to_string()),
            (RCLONE_WEBDAV, self.rclone_webdav.access().to_string()),
            (NGINX_WEBDAV, self.nginx_webdav.access().to_string()),
            (RCLONE_SFTP, self.rclone_sftp.access().to_string()),
            (SSHD, self.sshd.access().to_string()),
            (AZURITE, self.azurite.access().to_string()),
        ]
    }
}

fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok())
        .map_or(ExitCode::FAILURE, ExitCode::from)
}

/// Tells the command and all below it to end, and gives it time to.
async fn wind_down(command: &mut Child, keep: &[u32]) {
    for pid in strangers(keep) {
        send(pid, Signal::TERM);
    }
    tokio::time::timeout(GRACE, command.wait()).await.ok();
}

/// Kills what the command left running, frozen or not, until nothing is.
async fn end_all(keep: &[u32]) {
    let begun = Instant::now();
    while begun.elapsed() < GRACE {
        let left = strangers(keep);
        if left.is_empty() {
            return;
        }
        for pid in left {
            send(pid, Signal::KILL);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The descendants of this process bar the servers'.
fn strangers(keep: &[u32]) -> Vec<u32> {
    let ours: Vec<u32> = keep.iter().flat_map(|server| tree(*server)).collect();
    let mut all = tree(std::process::id());
    all.retain(|pid| *pid != std::process::id() && !ours.contains(pid));
    all
}
