//! A connection: an `ssh` of this machine, and the client of SFTP that speaks through it.

use std::{
    num::NonZeroUsize,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use openssh::{Child, ControlPersist, KnownHosts, Session, SessionBuilder, Stdio};
use openssh_sftp_client::{
    Error, Sftp, SftpOptions,
    file::{File, OpenOptions},
    fs::Fs,
};
use tokio::{
    sync::oneshot,
    time::{Instant, error::Elapsed},
};

use super::{
    body::Pace,
    failure::{Fault, Unconnected},
    frames::Frames,
};

/// How long connecting may take: for `ssh`, in whole seconds, and for all of it.
const LOGIN: Duration = Duration::from_secs(6);
const CONNECT: Duration = Duration::from_secs(8);

/// How long an `ssh` may take to end by itself.
const GRACE: Duration = Duration::from_secs(1);
const FAREWELL: Duration = Duration::from_secs(3);

/// How often `ssh` asks a silent server whether it is there. It gives up after three times.
const ALIVE: Duration = Duration::from_secs(15);

/// After so many seconds without us `ssh` ends. It outlives a service that was killed by no more than this.
const ALONE: NonZeroUsize = NonZeroUsize::new(15).unwrap();

/// Who logs in where.
#[derive(Debug, Clone)]
pub(super) struct Login {
    /// `ssh://{host}:{port}`, an IPv6 address without brackets.
    pub(super) address: String,
    pub(super) user: String,
    pub(super) key_file: Option<String>,
    pub(super) hosts: KnownHosts,
}

/// A connection that many use at once. It ends when nobody has it any more, or when it is lost.
pub(super) struct Connection {
    sftp: Sftp,
    pub(super) pace: Pace,
    born: Instant,
    /// When the server was last heard, in milliseconds since it was born.
    heard: AtomicU64,
    is_lost: Arc<AtomicBool>,
    /// Requests under way that may take long, behind which some servers let all others wait.
    patient: AtomicUsize,
    /// Ends the session, sent or dropped.
    end: Mutex<Option<oneshot::Sender<()>>>,
}

impl Connection {
    /// Logs in.
    pub(super) async fn open(login: &Login) -> Result<Self, Unconnected> {
        let begun = Instant::now();
        let mut builder = SessionBuilder::default();
        builder
            .user(login.user.clone())
            .known_hosts_check(login.hosts.clone())
            .connect_timeout(LOGIN)
            .server_alive_interval(ALIVE)
            .control_persist(ControlPersist::IdleFor(ALONE));
        if let Some(key) = &login.key_file {
            builder.keyfile(key);
        }
        let session = tokio::time::timeout(CONNECT, builder.connect(&login.address)).await;
        let session = Arc::new(session.map_err(|_| late())??);
        let left = CONNECT.saturating_sub(begun.elapsed());
        match tokio::time::timeout(left, start(&session)).await {
            Ok(Ok((sftp, child))) => Ok(Self::of(sftp, session, child)),
            outcome => {
                close(session).await;
                Err(outcome.map_or_else(|_| late(), |failed| failed.err().unwrap_or_else(late)))
            }
        }
    }

    fn of(sftp: Sftp, session: Arc<Session>, child: Child<Arc<Session>>) -> Self {
        let (connection, ended) = Self::over(sftp);
        let is_lost = Arc::clone(&connection.is_lost);
        tokio::spawn(watch(session, child, is_lost, ended));
        connection
    }

    /// Over a client that speaks already. What is given besides it tells when to end it.
    pub(super) fn over(sftp: Sftp) -> (Self, oneshot::Receiver<()>) {
        let (end, ended) = oneshot::channel();
        let connection = Self {
            sftp,
            pace: Pace::default(),
            born: Instant::now(),
            heard: AtomicU64::new(0),
            is_lost: Arc::default(),
            patient: AtomicUsize::new(0),
            end: Mutex::new(Some(end)),
        };
        (connection, ended)
    }

    /// Whether nothing can be asked of it any more.
    pub(super) fn is_lost(&self) -> bool {
        self.is_lost.load(Ordering::Relaxed)
    }

    /// Whether something is under way on it that may take long.
    pub(super) fn is_slow(&self) -> bool {
        self.patient.load(Ordering::Relaxed) > 0
    }

    pub(super) fn fs(&self) -> Fs {
        self.sftp.fs()
    }

    /// Opens a file to be read.
    pub(super) async fn open_to_read(&self, path: &str) -> Result<File, Error> {
        self.sftp.open(path).await
    }

    /// Makes a file, which must not be there, to be written.
    pub(super) async fn create(&self, path: &str) -> Result<File, Error> {
        let mut options: OpenOptions = self.sftp.options();
        options.write(true).create_new(true).open(path).await
    }

    /// The same for a request that may take long, of which others are told.
    pub(super) async fn ask_patiently<T>(
        &self,
        limit: Duration,
        request: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Fault> {
        let _counted = Counted::new(&self.patient);
        let answer = tokio::time::timeout(limit, request).await;
        self.heard_of(answer, None)
    }

    /// Waits for the answer to a request. A server that was not heard since it was asked counts as lost.
    pub(super) async fn ask<T>(
        &self,
        limit: Duration,
        request: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Fault> {
        let begun = self.age();
        let answer = tokio::time::timeout(limit, request).await;
        self.heard_of(answer, Some(begun))
    }

    /// Draws the conclusions. `begun` is when an impatient request was begun.
    fn heard_of<T>(
        &self,
        answer: Result<Result<T, Error>, Elapsed>,
        begun: Option<u64>,
    ) -> Result<T, Fault> {
        let answer = match answer {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(Fault::from(error)),
            Err(_) => Err(Fault::Late),
        };
        match &answer {
            Ok(_) => self.heard.store(self.age(), Ordering::Relaxed),
            Err(fault) if fault.is_answer() => self.heard.store(self.age(), Ordering::Relaxed),
            // It may only be slow.
            Err(Fault::Late)
                if begun.is_some_and(|begun| {
                    self.is_slow() || self.heard.load(Ordering::Relaxed) > begun
                }) => {}
            Err(_) => self.give_up(),
        }
        answer
    }

    fn age(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Ends it for all who use it.
    fn give_up(&self) {
        self.is_lost.store(true, Ordering::Relaxed);
        let end = self
            .end
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop(end);
    }
}

/// One more, until it is dropped.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

const fn late() -> Unconnected {
    Unconnected::Unavailable("connecting takes too long")
}

async fn start(session: &Arc<Session>) -> Result<(Sftp, Child<Arc<Session>>), Unconnected> {
    let mut command = Session::to_subsystem(Arc::clone(session), "sftp");
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = command.spawn().await?;
    let (Some(stdin), Some(stdout)) = (child.stdin().take(), child.stdout().take()) else {
        return Err(Unconnected::Unavailable("ssh does not start"));
    };
    // Requests wait for nothing.
    let options = SftpOptions::new().flush_interval(Duration::ZERO);
    let sftp = Sftp::new(stdin, Frames::new(stdout), options).await;
    let sftp = sftp.map_err(|_| Unconnected::Unavailable("the server does not speak SFTP"))?;
    Ok((sftp, child))
}

/// Waits until the server or we end it, and leaves nothing behind.
async fn watch(
    session: Arc<Session>,
    child: Child<Arc<Session>>,
    is_lost: Arc<AtomicBool>,
    ended: oneshot::Receiver<()>,
) {
    {
        let waiting = child.wait();
        tokio::pin!(waiting);
        let by_itself = tokio::select! {
            _ = &mut waiting => true,
            _ = ended => false,
        };
        is_lost.store(true, Ordering::Relaxed);
        if !by_itself {
            tokio::time::timeout(GRACE, waiting).await.ok();
        }
    }
    close(session).await;
}

/// Tells the `ssh` in the background to end, and removes its socket. To drop a session instead would wait for that on
/// the thread that drops it.
async fn close(session: Arc<Session>) {
    if let Ok(session) = Arc::try_unwrap(session) {
        match tokio::time::timeout(FAREWELL, session.close()).await {
            Ok(Ok(())) => {}
            // It was gone before.
            Ok(Err(_)) => tracing::debug!("a connection to an SFTP server was cut"),
            Err(_) => tracing::debug!("ssh does not end"),
        }
    }
}
