//! Processes that can be stopped, frozen and killed whole, and that never outlive the one that started them.

use std::{
    collections::{BTreeMap, HashSet},
    ffi::{OsStr, OsString},
    fs::{self, File},
    io,
    net::TcpListener,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{OnceLock, mpsc},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// How long a process that was told to stop may take where nothing else is said.
pub const PATIENCE: Duration = Duration::from_secs(30);

const POLL: Duration = Duration::from_millis(5);

/// The system user that servers which refuse root run as.
pub const SERVER_USER: &str = "postgres";

/// What to start.
#[derive(Debug, Clone)]
pub struct Launch {
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: BTreeMap<OsString, OsString>,
    inherit: bool,
    user: Option<&'static str>,
    folder: Option<PathBuf>,
}

impl Launch {
    /// A program with this process's environment.
    pub fn new(program: impl AsRef<Path>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            arguments: Vec::new(),
            environment: BTreeMap::new(),
            inherit: true,
            user: None,
            folder: None,
        }
    }

    /// A program on one core and no other.
    #[must_use]
    pub fn pinned(core: usize, program: impl AsRef<OsStr>) -> Self {
        Self::new("taskset")
            .args(["--cpu-list", &core.to_string()])
            .args([program])
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<I, S>(mut self, arguments: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let arguments = arguments.into_iter().map(|a| a.as_ref().to_owned());
        self.arguments.extend(arguments);
        self
    }

    /// Adds an option directly followed by a path.
    #[must_use]
    pub fn arg_path(mut self, option: &str, path: &Path) -> Self {
        let mut argument = OsString::from(option);
        argument.push(path);
        self.arguments.push(argument);
        self
    }

    /// Sets a variable.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        let (name, value) = (name.as_ref().to_owned(), value.as_ref().to_owned());
        self.environment.insert(name, value);
        self
    }

    /// Passes on only `PATH`, `HOME`, `TMPDIR` and what [`Launch::env`] sets.
    #[must_use]
    pub fn bare(mut self) -> Self {
        self.inherit = false;
        self
    }

    /// Starts the program in that folder.
    #[must_use]
    pub fn folder(mut self, folder: impl AsRef<Path>) -> Self {
        self.folder = Some(folder.as_ref().to_owned());
        self
    }

    /// Runs as [`SERVER_USER`] where this process is root.
    #[must_use]
    pub fn unprivileged(mut self) -> Self {
        self.user = is_root().then_some(SERVER_USER);
        self
    }

    /// The command, wrapped so that the kernel kills it together with this process.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        if let Some(user) = self.user {
            command.args(["--reuid", user, "--regid", user, "--init-groups"]);
        }
        command.arg("--").arg(&self.program).args(&self.arguments);
        if !self.inherit {
            command.env_clear();
            for name in ["PATH", "HOME", "TMPDIR"] {
                if let Some(value) = std::env::var_os(name) {
                    command.env(name, value);
                }
            }
        }
        command.envs(&self.environment).stdin(Stdio::null());
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        command
    }

    /// Starts the program in a process group of its own, its output appended to the file.
    pub fn spawn(&self, log: &Path) -> Process {
        let output = File::options()
            .create(true)
            .append(true)
            .open(log)
            .unwrap_or_else(|error| panic!("cannot write {}: {error}", log.display()));
        let mut command = self.command();
        command
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .process_group(0);
        let child = spawn(command)
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", self.program.display()));
        Process {
            child,
            log: log.to_owned(),
        }
    }

    /// Runs the program to its end and answers its standard output; panics with all its output if it fails.
    pub fn run(&self) -> String {
        let output = self
            .command()
            .output()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", self.program.display()));
        let (stdout, stderr) = (
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        );
        assert!(
            output.status.success(),
            "{} {:?} failed, {}:\n{stdout}{stderr}",
            self.program.display(),
            self.arguments,
            output.status,
        );
        stdout
    }
}

/// A running process. Dropping it kills it with everything that it started.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has written so far.
    #[must_use]
    pub fn output(&self) -> String {
        fs::read(&self.log).map_or_else(
            |error| format!("cannot read {}: {error}", self.log.display()),
            |bytes| String::from_utf8_lossy(&bytes).into_owned(),
        )
    }

    /// How it ended, `None` while it runs.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Freezes it with all its descendants (SIGSTOP).
    pub fn pause(&self) {
        freeze(self.id());
    }

    /// Lets it and its descendants go on (SIGCONT).
    pub fn resume(&self) {
        for pid in tree(self.id()) {
            send(pid, Signal::CONT);
        }
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        send(self.id(), signal);
    }

    /// Kills it and its descendants (SIGKILL) and waits until it is gone.
    pub fn kill(&mut self) {
        if self.ended().is_none() {
            for pid in freeze(self.id()) {
                send(pid, Signal::KILL);
            }
            self.child.wait().unwrap();
        }
    }

    /// Sends the signal and waits until it has ended; panics if that takes longer than `patience`.
    pub async fn stop(&mut self, signal: Signal, patience: Duration) -> ExitStatus {
        self.resume();
        self.signal(signal);
        if let Some(status) = self.wait(patience).await {
            return status;
        }
        self.kill();
        panic!(
            "did not stop within {patience:?} of {signal:?}:\n{}",
            self.output()
        );
    }

    /// Waits until it has ended; `None` if that takes longer than `patience`.
    pub async fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.ended() {
                return Some(status);
            }
            if begun.elapsed() > patience {
                return None;
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The process and all its descendants that have not ended, parents first.
#[must_use]
pub fn tree(root: u32) -> Vec<u32> {
    let mut children = BTreeMap::<u32, Vec<u32>>::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let pid = entry.file_name().to_str().and_then(|n| n.parse().ok());
        if let Some((pid, parent)) = pid.and_then(|pid| Some((pid, parent_of(pid)?))) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = vec![root];
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        found.extend(children.remove(pid).unwrap_or_default());
        next += 1;
    }
    found
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, so count from its end.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    let ended = fields.next()? == "Z";
    let parent = fields.next()?.parse().ok()?;
    (!ended).then_some(parent)
}

/// Stops a tree until a look at it finds nobody new, and answers who is in it, once all of them stand still.
///
/// The signal only asks: on a busy machine a thread may run on for a tenth of a second.
fn freeze(root: u32) -> Vec<u32> {
    let (begun, mut asked) = (Instant::now(), HashSet::new());
    loop {
        let tree = tree(root);
        let before = asked.len();
        for pid in &tree {
            if asked.insert(*pid) {
                send(*pid, Signal::STOP);
            }
        }
        let settled = asked.len() == before && tree.iter().all(|pid| stands_still(*pid));
        // A thread that waits for a disk stops when that has answered, and does nothing before.
        if settled || begun.elapsed() > Duration::from_secs(5) {
            return tree;
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Whether each thread of the process has stopped or ended.
fn stands_still(pid: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task"));
    threads.into_iter().flatten().flatten().all(|thread| {
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        let state = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
        !state.starts_with(['R', 'S', 'D'])
    })
}

/// Sends a signal to a process, which may have ended meanwhile.
pub fn send(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It may be gone by now, and then there is nobody to tell.
        kill_process(pid, signal).ok();
    }
}

/// Spawns from a thread that lives as long as this process: "the parent's death" that the kernel looks for is that
/// of the thread, and threads of tests end early.
fn spawn(command: Command) -> io::Result<Child> {
    type Order = (Command, mpsc::Sender<io::Result<Child>>);
    static SPAWNER: OnceLock<mpsc::Sender<Order>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (orders, queue) = mpsc::channel::<Order>();
        thread::spawn(move || {
            for (mut command, answer) in queue {
                answer.send(command.spawn()).ok();
            }
        });
        orders
    });
    let (answer, done) = mpsc::channel();
    spawner.send((command, answer)).unwrap();
    done.recv().unwrap()
}

/// Whether this process may become other users.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A temporary folder that other users may pass through but not look into.
#[must_use]
pub fn temporary_folder() -> TempDir {
    use std::os::unix::fs::PermissionsExt;
    tempfile::Builder::new()
        .prefix("cloakroom-")
        .permissions(fs::Permissions::from_mode(0o711))
        .tempdir()
        .unwrap()
}

/// A loopback port that nobody listens at, outside the range of outgoing connections, so that it stays free while
/// the server that it is for is down.
#[must_use]
pub fn free_port() -> u16 {
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    (0..1000)
        .map(|_| rand::random_range(15_000..32_000))
        .find(free)
        .expect("no port is free on the loopback interface")
}

/// Asks again and again until the answer is yes.
///
/// # Panics
/// When `patience` is over; `what` says what did not happen.
pub async fn eventually(what: &str, patience: Duration, mut ask: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !ask().await {
        assert!(
            begun.elapsed() < patience,
            "not within {patience:?}: {what}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
