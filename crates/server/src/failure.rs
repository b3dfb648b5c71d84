//! Why a command did not do what it was asked to, and the exit code that says so.

use std::{error::Error, process::ExitCode};

pub(crate) use cloakroom_application::with_causes;

use crate::config::Problem;

/// Lines for the operator and an exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    lines: Vec<String>,
    code: u8,
}

/// It was tried and failed.
const FAILED: u8 = 1;
/// It could not be tried as it was asked for.
const WRONG: u8 = 2;

impl Failure {
    /// Something failed.
    pub(crate) fn new(line: impl Into<String>) -> Self {
        Self {
            lines: vec![line.into()],
            code: FAILED,
        }
    }

    /// Something failed, with all that is known about why.
    pub(crate) fn because(what: &str, error: &dyn Error) -> Self {
        Self::new(format!("{what}: {}", with_causes(error)))
    }

    /// What was asked for makes no sense.
    pub(crate) fn usage(line: impl Into<String>) -> Self {
        Self::new(line).into_wrong()
    }

    /// The same, with the exit code for what could not even be tried.
    pub(crate) fn into_wrong(self) -> Self {
        Self {
            code: WRONG,
            ..self
        }
    }

    /// Tells the operator on standard error, and gives the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        for line in &self.lines {
            eprintln!("cloakroom: {line}");
        }
        ExitCode::from(self.code)
    }
}

impl From<Vec<Problem>> for Failure {
    fn from(problems: Vec<Problem>) -> Self {
        Self {
            lines: problems.iter().map(ToString::to_string).collect(),
            code: WRONG,
        }
    }
}
