//! `cloakroom doctor`: looks at a running deployment from outside.

use std::{fs::File, io::Read, path::Path};

use tokio::signal::unix::{SignalKind, signal};

use crate::{
    cli::DoctorArgs,
    config::{Config, Secret, arguments},
    doctor::{self, CHECKS, Check, Deployment, Finding, Options, Report},
    failure::Failure,
};

/// A credential in a file is not longer, in bytes.
const LONGEST_TOKEN: u64 = 16 * 1024;

/// Looks, tells, and removes what it made. Whether there are no faults.
///
/// # Errors
/// It could not look at everything, and found no fault; or what was asked for makes no sense.
pub(crate) async fn run(config: &Config, args: &DoctorArgs) -> Result<bool, Failure> {
    let checks = chosen(&args.only)?;
    let mut interrupts = Interrupts::new()?;
    let deployment = Deployment::new(options(config, args)?).map_err(Failure::into_wrong)?;
    let mut report = Report::new(deployment.base(), args.output);
    let mut current = Current::default();
    let stopped = tokio::select! {
        () = look(&deployment, &checks, &mut report, &mut current) => None,
        () = interrupts.next() => Some("interrupted".to_owned()),
        () = tokio::time::sleep(args.timeout) => Some(format!("{} s are over", args.timeout.as_secs())),
    };
    if let Some(why) = stopped {
        for check in checks.iter().skip(current.at) {
            let mut found = std::mem::take(&mut current.found);
            found.push(Finding::unknown(why.clone()));
            report.found(check.name, found);
        }
    }
    report.progress("removing what was made");
    let left = tokio::select! {
        left = doctor::clean(&deployment) => left,
        () = interrupts.next() => vec![format!("whatever is called {}*: interrupted", deployment.id)],
    };
    report.end(&left)
}

/// The check that is being made.
#[derive(Default)]
struct Current {
    /// Its place in the table.
    at: usize,
    /// What it has found so far.
    found: Vec<Finding>,
}

/// The checks of these names, and what they cannot do without; all of them where none is named.
fn chosen(names: &[String]) -> Result<Vec<&'static Check>, Failure> {
    let is_check = |name: &&String| CHECKS.iter().any(|check| check.name == *name);
    if let Some(name) = names.iter().find(|name| !is_check(name)) {
        let known: Vec<&str> = CHECKS.iter().map(|check| check.name).collect();
        let known = known.join(", ");
        return Err(Failure::usage(format!(
            "--only: there is no check {name}; expected some of {known}"
        )));
    }
    let is_chosen = |check: &&Check| {
        names.is_empty() || check.is_needed() || names.iter().any(|name| name == check.name)
    };
    Ok(CHECKS.iter().filter(is_chosen).collect())
}

/// Makes these checks.
async fn look(
    deployment: &Deployment,
    checks: &[&Check],
    report: &mut Report,
    current: &mut Current,
) {
    for (at, check) in checks.iter().enumerate() {
        current.at = at;
        report.progress(check.title);
        let ended = match check.hindrance(deployment) {
            Some(hindrance) => Err(hindrance),
            None => (check.look)(deployment, &mut current.found).await,
        };
        current.found.extend(ended.err());
        report.found(check.name, std::mem::take(&mut current.found));
    }
}

/// Ctrl-C, and what tells a service to stop.
struct Interrupts {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Interrupts {
    fn new() -> Result<Self, Failure> {
        let heard = |kind| {
            signal(kind)
                .map_err(|error| Failure::because("signals cannot be heard", &error).into_wrong())
        };
        Ok(Self {
            interrupt: heard(SignalKind::interrupt())?,
            terminate: heard(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

fn options(config: &Config, args: &DoctorArgs) -> Result<Options, Failure> {
    let url = args.url.clone().or_else(|| config.http.public_url.clone());
    let url = url.ok_or_else(|| {
        Failure::usage(
            "there is no address to look at; expected --url, or CLOAKROOM_PUBLIC_URL to be set",
        )
    })?;
    let token = match &args.token_file {
        Some(path) => Some(token_in(path)?),
        None => config.doctor.token.clone(),
    };
    let known = config.browsers.allowed_origins.as_ref();
    let known = known.and_then(|origins| origins.first()).cloned();
    Ok(Options {
        url,
        token,
        account: args.account.clone(),
        large: args.large,
        origin: args.origin.clone().or(known),
        hook_file: args.hook_file.clone(),
    })
}

fn token_in(path: &Path) -> Result<Secret, Failure> {
    let complaint = |what: &str| Failure::usage(format!("--token-file: {} {what}", path.display()));
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(LONGEST_TOKEN).read_to_string(&mut text))
        .map_err(|error| complaint(&format!("cannot be read: {error}")))?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        return Err(complaint("is empty"));
    }
    arguments::credential(text)
        .map_err(|expected| complaint(&format!("holds no token; {expected}")))
}
