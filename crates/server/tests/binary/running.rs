//! Starting the binary in a folder of its own.

use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(20);

/// A folder, a free port, and settings.
pub(crate) struct Place {
    folder: tempfile::TempDir,
    settings: Vec<(String, String)>,
    pub(crate) address: String,
}

/// What a command said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    /// Standard output as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The single line of standard error.
    pub(crate) fn line(&self) -> &str {
        let mut lines = self.err.lines();
        let line = lines.next().unwrap_or_else(|| panic!("{self:?}"));
        assert_eq!(lines.next(), None, "{self:?}");
        line
    }
}

impl Place {
    /// A new folder and a port that was free a moment ago.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap().to_string();
        let mut place = Self {
            folder,
            settings: Vec::new(),
            address: address.clone(),
        };
        place.set("LISTEN", &address);
        let data = place.data();
        place.set("DATA_DIR", data.to_str().unwrap());
        place
    }

    /// The data folder.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A file in the folder.
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Sets a variable, by its name without the prefix.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.settings.retain(|(known, _)| known != name);
        self.settings.push((name.to_owned(), value.to_owned()));
    }

    /// Takes a variable away.
    pub(crate) fn unset(&mut self, name: &str) {
        self.settings.retain(|(known, _)| known != name);
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cloakroom"));
        command
            .args(arguments)
            .env_clear()
            .current_dir(self.folder.path());
        for (name, value) in &self.settings {
            command.env(format!("CLOAKROOM_{name}"), value);
        }
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Said {
        let output = self
            .command(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        Said {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Starts the service and waits until it answers.
    pub(crate) fn serve(&self) -> Running {
        let mut child = self
            .command(&["serve"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let out = collect(child.stdout.take().unwrap());
        let err = collect(child.stderr.take().unwrap());
        let mut running = Running {
            child,
            out: Some(out),
            err: Some(err),
        };
        let start = Instant::now();
        while std::net::TcpStream::connect(&self.address).is_err() {
            if let Some(status) = running.child.try_wait().unwrap() {
                panic!("the service ended: {status}, {:?}", running.texts());
            }
            assert!(start.elapsed() < PATIENCE, "the service does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        running
    }

    /// The tokens of development mode.
    pub(crate) fn development_token(&self, name: &str) -> String {
        let text = std::fs::read_to_string(self.data().join("development-tokens.json")).unwrap();
        let tokens: Value = serde_json::from_str(&text).unwrap();
        tokens[name].as_str().unwrap().to_owned()
    }

    /// A URL of the service.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

type Collected = std::thread::JoinHandle<String>;

fn collect(pipe: impl std::io::Read + Send + 'static) -> Collected {
    std::thread::spawn(move || {
        let lines = BufReader::new(pipe).lines();
        lines
            .map_while(Result::ok)
            .map(|line| line + "\n")
            .collect()
    })
}

/// A service that runs. Dropping it ends it.
pub(crate) struct Running {
    child: Child,
    out: Option<Collected>,
    err: Option<Collected>,
}

impl Running {
    /// Tells it to stop.
    pub(crate) fn terminate(&self) {
        let id = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &id])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Waits for its end: how it ended, and what it said.
    pub(crate) fn wait(mut self) -> (ExitStatus, String, String) {
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(start.elapsed() < PATIENCE, "the service does not stop");
            std::thread::sleep(Duration::from_millis(10));
        };
        let (out, err) = self.texts();
        (status, out, err)
    }

    /// Tells it to stop and waits.
    pub(crate) fn stop(self) -> (ExitStatus, String, String) {
        self.terminate();
        self.wait()
    }

    fn texts(&mut self) -> (String, String) {
        let text = |pipe: Option<Collected>| pipe.map_or_else(String::new, |it| it.join().unwrap());
        (text(self.out.take()), text(self.err.take()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An HTTP client that follows no redirects.
pub(crate) fn client() -> reqwest::Client {
    // That a provider is there already changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
    client.build().unwrap()
}

/// Uploads a text and gives the file's id.
pub(crate) async fn upload(place: &Place, token: &str, text: &str) -> String {
    let answer = client()
        .post(place.url("/files?filename=a.txt"))
        .bearer_auth(token)
        .body(text.to_owned())
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 201);
    let file: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    file["file_id"].as_str().unwrap().to_owned()
}

/// Downloads a file: status and text.
pub(crate) async fn download(place: &Place, token: &str, id: &str) -> (u16, String) {
    let request = client().get(place.url(&format!("/files/{id}")));
    let answer = request.bearer_auth(token).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

/// Every file below a folder.
pub(crate) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_below(&path));
        } else {
            found.push(path);
        }
    }
    found
}
